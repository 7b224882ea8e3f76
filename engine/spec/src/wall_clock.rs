//! Times by the clock on the wall: cron expressions, and what becomes of them when clocks are set.
//!
//! A library reads the expression and finds the times that it names on a clock that is never set. Which instants these
//! are in a time zone is decided here:
//!
//! - **Hours are named** (`30 1 * * *`, `0 2,14 * * *`): each named time is one slot a day. One that clocks skip comes
//!   at the moment at which they are set; one that they show twice comes the first time.
//! - **Every hour is meant** (the field of hours begins with `*`): slots follow the time that passes. What clocks skip
//!   does not come, and what they show twice comes twice.

use chrono::{DateTime, DurationRound, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Year};

/// Clocks are set by no more than this: some islands have left out a whole day.
const REACH: TimeDelta = TimeDelta::hours(26);
const SECOND: TimeDelta = TimeDelta::seconds(1);
/// The width of a gap is looked for in steps of this, which every change of clocks is a multiple of since 1972.
const STEP: TimeDelta = TimeDelta::minutes(1);

/// A cron expression.
#[derive(Debug, Clone)]
pub struct WallClock {
    text: String,
    cron: Box<Cron>,
    every_hour: bool,
}

impl PartialEq for WallClock {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl WallClock {
    /// Reads an expression of 5 or 6 fields, or a word such as `@daily`.
    ///
    /// # Errors
    /// What is wrong with it, to stand beside it.
    pub fn read(text: &str) -> Result<Self, String> {
        const FORM: &str = "it has 5 fields (minute, hour, day of the month, month, day of the week), \
                            or 6 with seconds in front, such as `0 7 * * mon-fri`";
        let text = text.trim();
        let fields: Vec<_> = text.split_whitespace().collect();
        let is_word = text.starts_with('@');
        if !is_word && !matches!(fields.len(), 5 | 6) {
            let found = match fields.len() {
                1 => "1 field".to_owned(),
                number => format!("{number} fields"),
            };
            return Err(format!("found {found}; {FORM}"));
        }
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|problem| {
            let problem = problem.to_string();
            let problem = problem.split_once(": ").map_or(problem.as_str(), |(_, what)| what).trim_end_matches('.');
            format!("{problem}; {FORM}")
        })?;
        let every_hour = if is_word {
            matches!(text.to_lowercase().as_str(), "@hourly")
        } else {
            fields[fields.len() - 4].starts_with('*')
        };
        Ok(Self { text: text.to_owned(), cron: Box::new(cron), every_hour })
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first slot after an instant. `None`: there is none any more.
    pub fn next_after(&self, time: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut from = wall(time, zone);
        let mut earliest = time + TimeDelta::nanoseconds(1);
        if !self.every_hour {
            from = from.max(shown_twice_until(time, zone));
        } else if let Some(change) = change_within(time, time + REACH, zone) {
            // What is shown before clocks are set, then what they show from there on, were it for the second time.
            let found = self.named_after(from)?.and_utc() - offset(time, zone);
            if found < change {
                return Some(found);
            }
            (from, earliest) = (wall(change, zone) - SECOND, change);
        }
        loop {
            from = self.named_after(from)?;
            if let Some(found) = self.slots_of(from, zone).into_iter().find(|slot| *slot >= earliest) {
                return Some(found);
            }
        }
    }

    /// The last slot that is no later than an instant.
    pub fn last_until(&self, time: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut until = wall(time, zone);
        let mut latest = time;
        if !self.every_hour {
            until = until.max(shown_twice_until(time, zone));
        } else if let Some(change) = change_within(time - REACH, time, zone) {
            let found = self.named_until(until)?.and_utc() - offset(time, zone);
            if found >= change {
                return Some(found);
            }
            latest = change - SECOND;
            until = wall(latest, zone);
        }
        loop {
            let named = self.named_until(until)?;
            if let Some(found) = self.slots_of(named, zone).into_iter().rev().find(|slot| *slot <= latest) {
                return Some(found);
            }
            until = named - SECOND;
        }
    }

    /// The slots of a time that the expression names.
    fn slots_of(&self, named: NaiveDateTime, zone: Tz) -> Vec<DateTime<Utc>> {
        let utc = |time: DateTime<Tz>| time.with_timezone(&Utc);
        match zone.from_local_datetime(&named) {
            MappedLocalTime::Single(time) => vec![utc(time)],
            MappedLocalTime::Ambiguous(first, _) if !self.every_hour => vec![utc(first)],
            MappedLocalTime::Ambiguous(first, second) => vec![utc(first), utc(second)],
            MappedLocalTime::None if self.every_hour => Vec::new(),
            MappedLocalTime::None => end_of_gap(named, zone).into_iter().collect(),
        }
    }

    /// The next time that the expression names, on a clock that is never set.
    fn named_after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&time.and_utc(), false).ok().map(|found| found.naive_utc())
    }

    fn named_until(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        // It looks at whole seconds.
        let second = time.duration_trunc(TimeDelta::seconds(1)).ok()?;
        self.cron.find_previous_occurrence(&second.and_utc(), true).ok().map(|found| found.naive_utc())
    }
}

/// What clocks show at an instant.
fn wall(time: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    time.with_timezone(&zone).naive_local()
}

/// How far clocks are ahead of UTC at an instant.
fn offset(time: DateTime<Utc>, zone: Tz) -> TimeDelta {
    TimeDelta::seconds(zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc().into())
}

/// When clocks are set, after one instant and up to another one, no further apart than [`REACH`].
fn change_within(after: DateTime<Utc>, until: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let before = offset(after, zone);
    if offset(until, zone) == before {
        return None;
    }
    // In whole seconds: the first at which it is so.
    let mut second = after.timestamp();
    let mut last = until.timestamp();
    while last - second > 1 {
        let middle = second + (last - second) / 2;
        let is_before = DateTime::from_timestamp(middle, 0).is_some_and(|at| offset(at, zone) == before);
        if is_before { second = middle } else { last = middle }
    }
    DateTime::from_timestamp(last, 0)
}

/// The last second that clocks have shown for the first time, where they show at an instant what they have shown
/// before; else one that has passed.
fn shown_twice_until(time: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    match change_within(time - REACH, time, zone) {
        Some(change) => wall(change - SECOND, zone),
        None => NaiveDateTime::MIN,
    }
}

/// The moment at which clocks are set past a local time.
fn end_of_gap(named: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let mut local = named.duration_trunc(STEP).ok()?;
    let end = named + REACH;
    while local <= end {
        local += STEP;
        if let Some(time) = zone.from_local_datetime(&local).earliest() {
            return Some(time.with_timezone(&Utc));
        }
    }
    None
}
