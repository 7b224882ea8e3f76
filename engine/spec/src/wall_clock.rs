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
        let local = time.with_timezone(&zone).naive_local();
        let mut from = local;
        if !is_steady(time, zone) {
            if let Some(found) = self.slots_around(local, zone).into_iter().find(|slot| *slot > time) {
                return Some(found);
            }
            from = local + REACH;
        }
        loop {
            from = self.named_after(from)?;
            if let Some(found) = self.slots_of(from, zone).into_iter().find(|slot| *slot > time) {
                return Some(found);
            }
        }
    }

    /// The last slot that is no later than an instant.
    pub fn last_until(&self, time: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let local = time.with_timezone(&zone).naive_local();
        let mut until = local;
        if !is_steady(time, zone) {
            if let Some(found) = self.slots_around(local, zone).into_iter().rev().find(|slot| *slot <= time) {
                return Some(found);
            }
            until = local - REACH;
        }
        loop {
            let named = self.named_until(until)?;
            if let Some(found) = self.slots_of(named, zone).into_iter().rev().find(|slot| *slot <= time) {
                return Some(found);
            }
            until = named - TimeDelta::seconds(1);
        }
    }

    /// The slots within a day of a local time, in order.
    fn slots_around(&self, local: NaiveDateTime, zone: Tz) -> Vec<DateTime<Utc>> {
        let mut slots = Vec::new();
        let mut from = local - REACH;
        while let Some(named) = self.named_after(from)
            && named <= local + REACH
        {
            slots.extend(self.slots_of(named, zone));
            from = named;
        }
        slots.sort_unstable();
        slots.dedup();
        slots
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

/// Whether no clock of a zone is set near an instant.
fn is_steady(time: DateTime<Utc>, zone: Tz) -> bool {
    let offset = |time: DateTime<Utc>| zone.offset_from_utc_datetime(&time.naive_utc()).fix();
    let here = offset(time);
    // Twice as far, so that all times around it are of one offset too.
    offset(time - REACH * 2) == here && offset(time + REACH * 2) == here
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
