//! Counts down, some numbers a run.

use std::sync::Arc;

use arrow_array::Int64Array;
use engine_sdk::prelude::*;

/// What to count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The first number; the last one is 1.
    from: u32,

    /// At most this many numbers in one run; the next run goes on below them.
    #[serde(default = "million")]
    per_run: u32,
}

fn million() -> u32 {
    1_000_000
}

/// How many splits a run has. After a crash, those that have arrived are not read again.
const SPLITS: u32 = 4;
/// How many rows a batch has.
const BATCH_ROWS: u32 = 4096;

/// What a split holds: the numbers from `first` down to the one above `end`.
#[derive(Serialize, Deserialize)]
struct Piece {
    first: u32,
    end: u32,
}

struct Countdown {
    config: Config,
    cx: Context,
}

impl Component for Countdown {
    type Config = Config;
    const SUMMARY: &'static str = "Counts down, some numbers a run";

    fn examples() -> Vec<Example> {
        vec![example("from ten to one", json!({"from": 10}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.per_run == 0 {
            return Err(Error::config("`per_run` is 0: no run would give anything").hint("write 1 or more"));
        }
        Ok(Self { config, cx })
    }
}

impl Source for Countdown {
    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        // The cursor is how many numbers are left. At first there is none: all are.
        let left: u32 = request.cursor_as()?.unwrap_or(self.config.from);
        let upper = left.saturating_sub(self.config.per_run);
        let length = (left - upper).div_ceil(SPLITS);
        let mut splits = Vec::new();
        let mut first = left;
        while first > upper {
            let end = first.saturating_sub(length).max(upper);
            splits.push(Split::new(format!("{:04}", splits.len()), Piece { first, end })?);
            first = end;
        }
        // When no number is left: no splits, and the cursor as it came.
        Ok(Plan { upper: Some(json!(upper)), splits, ..Plan::default() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let Piece { first, end } = split.spec_as()?;
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let (cx, columns) = (self.cx.clone(), Arc::clone(&schema));
        let batches = (end + 1..=first).rev().step_by(BATCH_ROWS as usize).map(move |top| {
            cx.check_cancelled()?;
            let above = top.saturating_sub(BATCH_ROWS).max(end);
            let numbers = Int64Array::from_iter_values((above + 1..=top).rev().map(i64::from));
            Ok(RecordBatch::try_new(Arc::clone(&columns), vec![Arc::new(numbers)])?)
        });
        Ok(Batches::new(schema, batches))
    }
}

engine_sdk::module!("countdown": source "countdown" => Countdown);

#[cfg(test)]
mod tests {
    use engine_sdk::testing::Host;

    use super::*;

    /// All numbers of one run, in order, and where the next one begins.
    fn run(countdown: &mut Countdown, cursor: Option<Value>) -> (Vec<i64>, Option<Value>) {
        let plan = countdown.plan(&PlanRequest { cursor, ..PlanRequest::default() }).unwrap();
        let mut numbers = Vec::new();
        for batch in plan.splits.iter().flat_map(|split| countdown.read(split).unwrap()) {
            numbers.extend(batch.unwrap().column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
        }
        (numbers, plan.upper)
    }

    #[test]
    fn every_run_goes_on_where_the_last_one_ended_and_the_last_one_finds_nothing() {
        let host = Host::new();
        let mut countdown: Countdown = host.open(json!({"from": 10, "per_run": 7})).unwrap();
        let (numbers, upper) = run(&mut countdown, None);
        assert_eq!((numbers, &upper), (vec![10, 9, 8, 7, 6, 5, 4], &Some(json!(3))));
        let (numbers, upper) = run(&mut countdown, upper);
        assert_eq!((numbers, &upper), (vec![3, 2, 1], &Some(json!(0))));
        assert_eq!(run(&mut countdown, upper), (vec![], Some(json!(0))));
    }

    #[test]
    fn a_split_of_many_batches_has_every_number_once() {
        let host = Host::new();
        let mut countdown: Countdown = host.open(json!({"from": 50_000})).unwrap();
        assert!(run(&mut countdown, None).0.into_iter().eq((1..=50_000).rev()));
    }

    #[test]
    fn it_stops_when_it_is_asked_to() {
        let host = Host::new();
        let mut countdown: Countdown = host.open(json!({"from": 10})).unwrap();
        let split = countdown.plan(&PlanRequest::default()).unwrap().splits.remove(0);
        let mut rows = countdown.read(&split).unwrap();
        host.cancel();
        assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    }
}
