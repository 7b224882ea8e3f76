//! Old windows, read once more, without a step of the live cursor.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use engine_abi::message::PlanRequest;
use engine_abi::{Error, Result};
use engine_state::{Backfill, WindowKind};
use serde_json::{Value, json};

use crate::bounded::{self, Ending};
use crate::run::{Run, RunReport, covered, report};
use crate::shared::Shared;
use crate::spans;
use crate::upstream::Feed;

/// The most windows of one backfill: more are a mistake.
const MOST_WINDOWS: usize = 100_000;

/// How far each window of a backfill goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A length of time.
    Time(Duration),
    /// A distance between numbers.
    Number(i64),
}

impl Run {
    /// Reads what lies above `range.lower` up to `range.upper` once more, `step` by step,
    /// each a window of its own. One that was stopped goes on where it was, when it is
    /// asked for again with the same words.
    ///
    /// # Errors
    /// `Config` where the source cannot, or the range is none; and when the state itself fails.
    pub fn backfill(self, range: &Backfill, step: Option<Step>) -> Result<RunReport> {
        let Self { state, assembly, revive, stop, meters, options, requests: _, begun: _ } = self;
        if !assembly.source.part.component.description().ranges {
            let message =
                format!("the source `{}` cannot read old windows again", assembly.source.part.component.name());
            return Err(Error::config(message).hint("sources with a `cursor` can, such as postgres").at("source"));
        }
        let reached = state.backfilled(&assembly.name, range)?;
        let windows = match &reached {
            Some(reached) if *reached == range.upper => Vec::new(),
            reached => windows(reached.as_ref().unwrap_or(&range.lower), &range.upper, step)?,
        };
        let (clock, started) = (Instant::now(), Utc::now());
        let unfinished = state.unfinished_windows(&assembly.name)?;
        let run = state.begin_run(&assembly.name, "backfill", started)?;
        let _span = spans::of_run(&assembly.name, &run).entered();
        let about = assembly.range(covered(&state, &assembly.name, started)?, None, started);
        let before = assembly.variables(&run, started, about)?;
        let shared = Shared::new(state, assembly, revive, meters, stop, before, options, Feed::Source);
        let mut ending = Ending::default();
        if let Some(reached) = reached {
            ending.notes.push(format!("went on above {reached}, where this backfill was stopped"));
        }
        let is_over = |ending: &Ending| ending.source.is_some() || !ending.sinks.is_empty() || shared.stop.draining();
        for window in unfinished {
            shared.meters.window(true);
            bounded::deliver(&shared, shared.job(window)?, None, &mut ending)?;
            if is_over(&ending) {
                break;
            }
        }
        for (lower, upper) in windows {
            if is_over(&ending) {
                break;
            }
            let request = PlanRequest { cursor: Some(lower), upper: Some(upper), ..PlanRequest::default() };
            match bounded::new_window(&shared, WindowKind::Backfill, request, Some(range), None) {
                Ok(Some((job, upstream))) => {
                    shared.meters.window(false);
                    bounded::deliver(&shared, job, Some(upstream), &mut ending)?;
                }
                Ok(None) => {}
                Err(error) => ending.source = Some(error),
            }
        }
        if !is_over(&ending) {
            shared.state.end_backfill(shared.pipeline(), range)?;
        }
        let report = report(&shared, ending, clock, started)?;
        shared.state.end_run(&run, report.outcome, &serde_json::to_value(&report).unwrap_or_default())?;
        Ok(report)
    }
}

/// Cuts a range: above each first value, up to each second one.
fn windows(lower: &Value, upper: &Value, step: Option<Step>) -> Result<Vec<(Value, Value)>> {
    let nothing = || {
        Error::config(format!("nothing lies between {lower} and {upper}"))
            .hint("the first must be smaller: what is larger than it is read, up to the second")
    };
    let Some(step) = step else {
        return match (Place::of(lower), Place::of(upper)) {
            (Ok(from), Ok(to)) if from >= to => Err(nothing()),
            _ => Ok(vec![(lower.clone(), upper.clone())]),
        };
    };
    // As the ends are written: a database may compare them as texts.
    let separator = if lower.as_str().is_some_and(|text| text.contains('T')) { "T" } else { " " };
    let (from, to) = (Place::of(lower)?, Place::of(upper)?);
    let mut windows = Vec::new();
    let mut at = from;
    while at < to {
        if windows.len() == MOST_WINDOWS {
            return Err(
                Error::config(format!("the range has more than {MOST_WINDOWS} steps")).hint("take a longer one")
            );
        }
        let next = at.plus(step)?.min(to);
        // The ends as they were written: they are what is compared and remembered.
        let shown = |place: Place| if place == to { upper.clone() } else { place.value(separator) };
        windows.push((if at == from { lower.clone() } else { at.value(separator) }, shown(next)));
        at = next;
    }
    if windows.is_empty() { Err(nothing()) } else { Ok(windows) }
}

/// A value that steps can be counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Number(i64),
    Day(NaiveDate),
    Local(NaiveDateTime),
    Moment(DateTime<Utc>),
}

impl Place {
    fn of(value: &Value) -> Result<Self> {
        if let Some(number) = value.as_i64() {
            return Ok(Self::Number(number));
        }
        let text = value.as_str().unwrap_or_default();
        let spaced = text.replacen(' ', "T", 1);
        if let Ok(day) = text.parse() {
            return Ok(Self::Day(day));
        }
        if let Ok(moment) = DateTime::parse_from_rfc3339(&spaced) {
            return Ok(Self::Moment(moment.with_timezone(&Utc)));
        }
        let local = spaced.parse().or_else(|_| NaiveDateTime::parse_from_str(&spaced, "%Y-%m-%dT%H:%M"));
        local.map(Self::Local).map_err(|_| {
            Error::config(format!("{value} is no value that steps can be counted from"))
                .hint("write a number, a day such as 2026-01-31, or a time such as 2026-01-31T12:00:00, or leave the step out")
        })
    }

    fn plus(self, step: Step) -> Result<Self> {
        let unfit = || {
            Error::config("the step does not fit the range")
                .hint("a range of times takes a length of time such as 1d or 6h, one of days whole days, one of numbers a number")
        };
        match (self, step) {
            (Self::Number(number), Step::Number(step)) if step > 0 => Ok(Self::Number(number.saturating_add(step))),
            (Self::Day(_) | Self::Local(_) | Self::Moment(_), Step::Time(step)) if !step.is_zero() => {
                let step = TimeDelta::from_std(step).map_err(|_| unfit())?;
                let moved = match self {
                    Self::Day(day) if TimeDelta::days(step.num_days()) == step => {
                        day.checked_add_signed(step).map(Self::Day)
                    }
                    Self::Local(local) => local.checked_add_signed(step).map(Self::Local),
                    Self::Moment(moment) => moment.checked_add_signed(step).map(Self::Moment),
                    Self::Day(_) | Self::Number(_) => None,
                };
                moved.ok_or_else(unfit)
            }
            _ => Err(unfit()),
        }
    }

    fn value(self, separator: &str) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Day(day) => json!(day.to_string()),
            Self::Local(local) => json!(local.to_string().replacen(' ', separator, 1)),
            Self::Moment(moment) => {
                json!(moment.to_rfc3339_opts(SecondsFormat::AutoSi, true).replacen('T', separator, 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Step = Step::Time(Duration::from_secs(86_400));

    fn cut(lower: Value, upper: Value, step: Step) -> Vec<String> {
        let windows = windows(&lower, &upper, Some(step)).unwrap();
        windows.iter().map(|(lower, upper)| format!("{lower}..{upper}")).collect()
    }

    #[test]
    fn ranges_are_cut_into_steps_that_meet() {
        assert_eq!(cut(json!(0), json!(25), Step::Number(10)), ["0..10", "10..20", "20..25"]);
        assert_eq!(
            cut(json!("2026-02-27"), json!("2026-03-01"), DAY),
            ["\"2026-02-27\"..\"2026-02-28\"", "\"2026-02-28\"..\"2026-03-01\""]
        );
        assert_eq!(
            cut(json!("2026-01-01 00:00:00"), json!("2026-01-01T09:30"), Step::Time(Duration::from_secs(21_600))).len(),
            2
        );
        let moments = cut(json!("2026-10-25T00:00:00+01:00"), json!("2026-10-26T00:00:00Z"), DAY);
        assert_eq!(moments[0], "\"2026-10-25T00:00:00+01:00\"..\"2026-10-25T23:00:00Z\"");
        assert_eq!(windows(&json!("x"), &json!("y"), None).unwrap(), [(json!("x"), json!("y"))]);
    }

    #[test]
    fn steps_that_do_not_fit_are_refused() {
        for (lower, upper, step) in [
            (json!(0), json!(9), DAY),
            (json!("2026-01-01"), json!("2026-01-09"), Step::Number(1)),
            (json!("2026-01-01"), json!("2026-01-09"), Step::Time(Duration::from_secs(3_600))),
            (json!("2026-01-09"), json!("2026-01-01"), DAY),
            (json!("a"), json!("b"), DAY),
            (json!(0), json!(1_000_000), Step::Number(1)),
            (json!(0), json!(1), Step::Number(0)),
        ] {
            assert!(windows(&lower, &upper, Some(step)).is_err(), "{lower} {upper} {step:?}");
        }
    }
}
