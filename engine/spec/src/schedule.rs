//! When a pipeline runs by itself: `schedule:` in its file, and the times that this comes to.
//!
//! A *slot* is one of these times, an instant. What becomes of local times that do not exist or exist twice, because
//! clocks are set for summer or winter, is for [`wall_clock`](crate::wall_clock) to say.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::diagnostic::Diagnostic;
use crate::fields::{Fields, Reader};
use crate::names::quoted;
use crate::node::{Entry, NodeKind};
use crate::params;
use crate::source::Span;
use crate::units::format_duration;
use crate::wall_clock::WallClock;

/// What runs more often than this is better a source that receives.
const LEAST_EVERY: Duration = Duration::from_secs(1);
/// Beyond, the times would no longer be those of a machine that starts anew now and then.
const MOST_EVERY: Duration = Duration::from_secs(366 * 86_400);
/// So many times of an expression tell how close they are to one another.
const LOOKED_AT: usize = 1_000;

/// When a pipeline runs by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The times.
    pub times: Times,
    /// Whose local time a `cron` is.
    pub zone: Tz,
    /// It also runs when the engine starts.
    pub on_start: bool,
    /// What becomes of times at which no engine ran.
    pub missed: Missed,
    /// What becomes of a time at which the run before still runs.
    pub overlap: Overlap,
    /// How much later than its time a run begins, at most.
    pub jitter: Duration,
    /// Where it stands.
    pub span: Span,
}

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum Times {
    /// As in `0 7 * * mon-fri`, by the clock on the wall.
    Cron(WallClock),
    /// So long after one another, counted from 1970 in UTC.
    Every(Duration),
}

/// What becomes of times at which no engine ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// One run, for the latest of them.
    #[default]
    Latest,
    /// A run for each.
    All,
    /// Nothing.
    None,
}

impl Missed {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Latest, Self::All, Self::None];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::All => "all",
            Self::None => "none",
        }
    }
}

/// What becomes of a time at which the run before still runs, or waits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// Nothing.
    #[default]
    Skip,
    /// Its run begins once the one before has ended.
    Queue,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Queue];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
        }
    }
}

impl Schedule {
    /// A schedule of nothing but its times.
    ///
    /// # Errors
    /// What is wrong with the cron expression, to stand beside it.
    pub fn of_cron(text: &str, zone: Tz, span: Span) -> Result<Self, String> {
        Ok(Self::of(Times::Cron(WallClock::read(text)?), zone, span))
    }

    fn of(times: Times, zone: Tz, span: Span) -> Self {
        let (missed, overlap) = (Missed::default(), Overlap::default());
        Self { times, zone, on_start: false, missed, overlap, jitter: Duration::ZERO, span }
    }

    /// The first slot after a time. `None`: there is none any more.
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Cron(times) => times.next_after(time, self.zone),
            Times::Every(every) => self.last_until(time)?.checked_add_signed(TimeDelta::from_std(*every).ok()?),
        }
    }

    /// The last slot that is no later than a time.
    pub fn last_until(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Cron(times) => times.last_until(time, self.zone),
            Times::Every(every) => {
                let every = i64::try_from(every.as_millis()).ok()?;
                let at = time.timestamp_millis();
                DateTime::from_timestamp_millis(at - at.rem_euclid(every))
            }
        }
    }

    /// How much later than its slot the run of a pipeline begins: the same each time that it is asked for, and spread
    /// evenly over pipelines and slots.
    pub fn delay(&self, pipeline: &str, slot: DateTime<Utc>) -> Duration {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        if most == 0 {
            return Duration::ZERO;
        }
        // FNV-1a, and the finish of SplitMix64: no release of a library may move a slot.
        let bytes = pipeline.bytes().chain(slot.timestamp_millis().to_le_bytes());
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis((hash ^ (hash >> 31)) % most)
    }

    pub(crate) fn read(reader: &mut Reader<'_>, entry: &Entry, zone: Tz) -> Option<Self> {
        const KEYS: [&str; 7] = ["cron", "every", "timezone", "on_start", "missed", "overlap", "jitter"];
        let fields = reader.fields(&entry.value, "`schedule`", &KEYS)?;
        let zone = fields.get("timezone").and_then(|entry| params::zone(reader, entry)).unwrap_or(zone);
        let on_start = fields.get("on_start").and_then(|entry| boolean(reader, entry));
        let missed = fields.get("missed").and_then(|entry| reader.choice(entry, &Missed::ALL, Missed::as_str));
        let overlap = fields.get("overlap").and_then(|entry| reader.choice(entry, &Overlap::ALL, Overlap::as_str));
        let jitter = fields.get("jitter").and_then(|entry| reader.duration(entry));
        let schedule = Self {
            on_start: on_start.unwrap_or_default(),
            missed: missed.unwrap_or_default(),
            overlap: overlap.unwrap_or_default(),
            jitter: jitter.unwrap_or_default(),
            ..Self::of(Times::read(reader, &fields, entry)?, zone, entry.key_span.clone())
        };
        schedule.check_comes(reader, &fields);
        if let Some(entry) = fields.get("jitter") {
            schedule.check_jitter(reader, entry);
        }
        Some(schedule)
    }

    /// Refuses `0 0 31 2 *`.
    fn check_comes(&self, reader: &mut Reader<'_>, fields: &Fields<'_>) {
        if let Some(entry) = fields.get("cron")
            && self.next_after(DateTime::UNIX_EPOCH).is_none()
        {
            let found = Diagnostic::error("bad-cron", "this time never comes").at(&entry.value.span);
            reader.diagnostics.push(found.hint("no month that it names has such a day"));
        }
    }

    /// A run that could begin after the next slot would make slots and runs part ways.
    fn check_jitter(&self, reader: &mut Reader<'_>, entry: &Entry) {
        let Some(apart) = self.times.least_apart() else { return };
        if self.jitter >= apart {
            let message = format!("a jitter of {} reaches the next time", format_duration(self.jitter));
            let found = Diagnostic::error("out-of-range", message).at(&entry.value.span);
            reader.diagnostics.push(found.hint(format!("it must be shorter than {}", format_duration(apart))));
        }
    }
}

impl Times {
    /// The least time from one to the next, on a clock that is never set.
    fn least_apart(&self) -> Option<Duration> {
        let times = match self {
            Self::Cron(times) => times,
            Self::Every(every) => return Some(*every),
        };
        let next = |time: DateTime<Utc>| times.next_after(time, Tz::UTC);
        let slots = std::iter::successors(next(DateTime::UNIX_EPOCH), |slot| next(*slot)).take(LOOKED_AT);
        let slots: Vec<_> = slots.collect();
        slots.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok()).min()
    }

    fn read(reader: &mut Reader<'_>, fields: &Fields<'_>, whole: &Entry) -> Option<Self> {
        let (cron, every) = (fields.get("cron"), fields.get("every"));
        match (cron, every) {
            (Some(cron), Some(every)) => {
                let found = Diagnostic::error("conflicting-keys", "`cron` and `every` say both when");
                let found = found.at(&every.key_span).note_at("the other is here", &cron.key_span);
                reader.diagnostics.push(found.hint("keep one of them"));
                None
            }
            (Some(entry), None) => {
                let text = reader.text(entry)?;
                let read = WallClock::read(&text).map(Self::Cron).map_err(|problem| {
                    let found = Diagnostic::error("bad-cron", format!("{} is no cron expression", quoted(&text)));
                    reader.diagnostics.push(found.at(&entry.value.span).hint(problem));
                });
                read.ok()
            }
            (None, Some(entry)) => {
                let every = reader.duration(entry)?;
                if (LEAST_EVERY..=MOST_EVERY).contains(&every) {
                    return Some(Self::Every(every));
                }
                let found = Diagnostic::error("out-of-range", "`every` is a duration from 1s to 366d");
                reader.diagnostics.push(found.at(&entry.value.span));
                None
            }
            (None, None) => {
                let hint = "add `cron:`, such as \"0 7 * * mon-fri\", or `every:`, such as 15m";
                let found = Diagnostic::error("missing-key", "`schedule` needs `cron` or `every`").at(&whole.key_span);
                reader.diagnostics.push(found.hint(hint));
                None
            }
        }
    }
}

/// As a pipeline says it.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(times) => f.write_str(times.text()),
            Self::Every(every) => write!(f, "every {}", format_duration(*every)),
        }
    }
}

fn boolean(reader: &mut Reader<'_>, entry: &Entry) -> Option<bool> {
    match entry.value.kind {
        NodeKind::Bool(value) => Some(value),
        _ => {
            reader.wrong_type(&entry.value, &format!("`true` or `false` for `{}`", entry.key), None);
            None
        }
    }
}
