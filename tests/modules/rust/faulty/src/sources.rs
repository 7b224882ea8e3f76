//! A source that counts, and what can be wrong with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::{ArrayRef, Int64Array, StringArray};
use engine_sdk::prelude::*;

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Gives all splits one id.
pub const SAME_IDS: u8 = 1;
/// Announces numbers and sends texts.
pub const OTHER_TYPES: u8 = 2;
/// Announces that nothing is null and sends nulls.
pub const FORBIDDEN_NULLS: u8 = 3;
/// Announces two columns and sends one.
pub const FEWER_COLUMNS: u8 = 4;
/// Panics at its second batch.
pub const PANICS: u8 = 5;
/// Gives other rows each time, although it says that it does not.
pub const CHANGES: u8 = 6;
/// Plans everything again after its own cursor.
pub const STANDS_STILL: u8 = 7;
/// Never asks whether to stop.
pub const NEVER_STOPS: u8 = 8;

/// Knows only what it has planned itself.
pub const KNOWS_ITS_OWN: u8 = 9;

/// Plans again what it was not told of.
pub const PLANS_AGAIN: u8 = 10;

const BATCH_ROWS: i64 = 10;

/// How far to count.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How many rows each of the two splits has.
    rows: i64,
}

/// Counts in two splits; `FAULT` says what is wrong with it.
pub struct Count<const FAULT: u8> {
    config: Config,
    cx: Context,
    planned: bool,
}

impl<const FAULT: u8> Component for Count<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Counts";

    fn examples() -> Vec<Example> {
        vec![example("two splits of 25 rows", json!({"rows": 25}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self { config, cx, planned: false })
    }
}

impl<const FAULT: u8> Source for Count<FAULT> {
    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.planned = true;
        let upper = json!(self.config.rows * 2);
        if request.cursor.as_ref() == Some(&upper) && FAULT != STANDS_STILL {
            return Ok(Plan { upper: Some(upper), splits: vec![], ..Plan::default() });
        }
        let split = |number: i64| {
            let id = if FAULT == SAME_IDS { "0000".into() } else { format!("{number:04}") };
            Ok(Split::new(id, number * self.config.rows + 1)?.rows(self.config.rows as u64))
        };
        let splits = (0..2).map(split).collect::<Result<_>>()?;
        let upper = (FAULT != PLANS_AGAIN).then_some(upper);
        Ok(Plan { upper, splits, tell: matches!(FAULT, SOUND | KNOWS_ITS_OWN | PLANS_AGAIN) })
    }

    fn delivered(&mut self, _: &Delivered) -> Result<()> {
        match FAULT == KNOWS_ITS_OWN && !self.planned {
            true => Err(Error::internal("this instance has planned nothing")),
            false => Ok(()),
        }
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        static READS: AtomicI64 = AtomicI64::new(0);
        let first: i64 = split.spec_as()?;
        let first = if FAULT == CHANGES { first + READS.fetch_add(1, Ordering::SeqCst) } else { first };
        let (end, cx) = (first + self.config.rows, self.cx.clone());
        let mut next = first;
        let batches = std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            if FAULT != NEVER_STOPS && cx.cancelled() {
                return Some(Err(Error::cancelled()));
            }
            assert!(FAULT != PANICS || next == first, "the second batch is one too many");
            let numbers = next..end.min(next + BATCH_ROWS);
            next = numbers.end;
            Some(Ok(batch::<FAULT>(numbers)))
        });
        Ok(Batches::new(announced(), batches))
    }
}

fn announced() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("text", DataType::Utf8, false)]))
}

fn batch<const FAULT: u8>(numbers: std::ops::Range<i64>) -> RecordBatch {
    let texts = StringArray::from_iter_values(numbers.clone().map(|n| format!("row {n}")));
    let numbers: ArrayRef = match FAULT {
        OTHER_TYPES => Arc::new(texts.clone()),
        FORBIDDEN_NULLS => Arc::new(numbers.map(|n| (n % 2 == 0).then_some(n)).collect::<Int64Array>()),
        _ => Arc::new(numbers.collect::<Int64Array>()),
    };
    let columns: Vec<(&str, ArrayRef)> = vec![("n", numbers), ("text", Arc::new(texts))];
    let sent = if FAULT == FEWER_COLUMNS { 1 } else { 2 };
    RecordBatch::try_from_iter(columns.into_iter().take(sent)).expect("columns of one length")
}
