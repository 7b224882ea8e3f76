//! Alarms: what should have happened and has not.

use chrono::{DateTime, TimeDelta, Utc};
use engine_spec::format_duration;

use crate::pipelines::Pipeline;

/// What is wrong with a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// No run for a time of the schedule has succeeded in time.
    Late,
    /// No record was read for too long.
    Silence,
}

impl Alarm {
    pub(crate) const ALL: [Self; 2] = [Self::Late, Self::Silence];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Silence => "silence",
        }
    }
}

/// What is known of a pipeline for its alarms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    /// Since when the service watches it.
    since: Option<DateTime<Utc>>,
    /// How many records its runs have read, when that was last looked at.
    read: u64,
    /// When it was last seen that there were more.
    heard: Option<DateTime<Utc>>,
    /// Those that are raised, each with what was said.
    pub(crate) raised: Vec<(Alarm, String)>,
}

impl Watched {
    /// It has read records at a time that an earlier service knew.
    pub(crate) fn heard_at(&mut self, time: Option<DateTime<Utc>>) {
        self.heard = self.heard.max(time);
    }
}

/// What has changed since the last look: alarms that are raised now, and those that are over.
pub(crate) fn look(pipeline: &mut Pipeline, now: DateTime<Utc>) -> Vec<(Alarm, bool, String)> {
    let since = *pipeline.watched.since.get_or_insert(now);
    let read = pipeline.records_read();
    if read > pipeline.watched.read {
        pipeline.watched.heard = Some(now);
    }
    pipeline.watched.read = read;
    let mut changes = Vec::new();
    for alarm in Alarm::ALL {
        let wrong = match alarm {
            Alarm::Late => late(pipeline, since, now),
            Alarm::Silence => silent(pipeline, since, now),
        };
        let raised = pipeline.watched.raised.iter().position(|(of, _)| *of == alarm);
        match (wrong, raised) {
            (Some(said), None) => {
                pipeline.watched.raised.push((alarm, said.clone()));
                changes.push((alarm, true, said));
            }
            (None, Some(at)) => {
                let (_, said) = pipeline.watched.raised.remove(at);
                changes.push((alarm, false, format!("is over: {said}")));
            }
            _ => {}
        }
    }
    changes
}

/// What is said of a slot for which no run has succeeded in time.
fn late(pipeline: &Pipeline, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    let assembly = &pipeline.ready.as_ref()?.assembly;
    let (schedule, late) = (assembly.schedule.as_ref()?, assembly.alarms.as_ref()?.late?);
    if pipeline.paused {
        return None;
    }
    let slot = schedule.last_until(now.checked_sub_signed(TimeDelta::from_std(late).ok()?)?)?;
    // What came before the service is for its last run to answer for, if there was one.
    let good = pipeline.last_good.unwrap_or(since);
    let in_zone = crate::view::local(slot, schedule.zone);
    (good < slot).then(|| format!("no run for {in_zone} has succeeded within {}", format_duration(late)))
}

fn silent(pipeline: &Pipeline, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    let silence = pipeline.ready.as_ref()?.assembly.alarms.as_ref()?.silence?;
    let heard = pipeline.watched.heard.unwrap_or(since);
    (now - heard > TimeDelta::from_std(silence).ok()?)
        .then(|| format!("no record has come for longer than {}", format_duration(silence)))
}
