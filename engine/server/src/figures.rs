//! Figures of the service, each said once: for `/metrics`, and for whoever collects them otherwise.

use std::collections::BTreeMap;

use chrono::Utc;
use engine_abi::Result;
use engine_runtime::{Figures, Meters, RunReport};
use engine_state::{DeadLetterStatus, Outcome};

use crate::alarms::Alarm;
use crate::pipelines::{Pipeline, Ready};
use crate::service::Service;

/// Upper bounds of how long runs take, in seconds.
const DURATIONS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];

/// Upper bounds of how late runs begin, in seconds.
const DELAYS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];

/// Every family: its name, what its figures do, what they are.
pub const FAMILIES: [(&str, Kind, &str); 23] = [
    ("engine_info", Kind::Gauge, "The version, as a label."),
    ("engine_runs_at_work", Kind::Gauge, "Runs at work, without those of sources that receive."),
    ("engine_runs_most", Kind::Gauge, "The most runs at a time."),
    ("engine_runs_waiting", Kind::Gauge, "Runs that wait for room."),
    ("engine_queue_bytes", Kind::Gauge, "What the queues between stages hold, in bytes."),
    ("engine_runs_total", Kind::Counter, "Runs that ended, by how they ended."),
    ("engine_run_duration_seconds", Kind::Histogram, "How long runs took."),
    (
        "engine_run_delay_seconds",
        Kind::Histogram,
        "How late runs began: after their time in the schedule, its jitter included, or after they were asked for.",
    ),
    ("engine_records_read_total", Kind::Counter, "Records read, dead letters included."),
    ("engine_rows_filtered_total", Kind::Counter, "Rows left out on purpose."),
    ("engine_dead_letters_total", Kind::Counter, "Records that became dead letters."),
    ("engine_retries_total", Kind::Counter, "Outside operations that were tried again."),
    ("engine_rows_written_total", Kind::Counter, "Rows delivered."),
    ("engine_bytes_written_total", Kind::Counter, "Bytes delivered."),
    ("engine_deliveries_total", Kind::Counter, "Deliveries made."),
    ("engine_slots_overlapped_total", Kind::Counter, "Times at which the run before still ran."),
    ("engine_pipeline_running", Kind::Gauge, "1 while a run is at work."),
    ("engine_pipeline_broken", Kind::Gauge, "1 while its file cannot be used."),
    ("engine_alarm", Kind::Gauge, "1 while an alarm is raised."),
    (
        "engine_spool_bytes",
        Kind::Gauge,
        "What the spool holds, in bytes: received, and not yet delivered to every sink.",
    ),
    ("engine_next_run_timestamp_seconds", Kind::Gauge, "When the next time of its schedule is, in seconds since 1970."),
    (
        "engine_lag_seconds",
        Kind::Gauge,
        "How long ago the last run began that succeeded, in seconds; its slot, where it was for one.",
    ),
    ("engine_dead_letters_waiting", Kind::Gauge, "Dead letters that wait for a decision."),
];

/// Figures of one kind.
#[derive(Debug, Clone)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What its figures are.
    pub help: &'static str,
    /// What they do.
    pub kind: Kind,
    /// They themselves.
    pub samples: Vec<Sample>,
}

/// What a figure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts how often something was below bounds.
    Histogram,
}

impl Kind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Behind the family's name: `_bucket`.
    pub suffix: &'static str,
    /// What it is of.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: f64,
}

/// What the runs of a pipeline have done that have ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    outcomes: BTreeMap<&'static str, u64>,
    durations: Histogram<{ DURATIONS.len() }>,
    delays: Histogram<{ DELAYS.len() }>,
    retries: u64,
    done: Done,
}

/// What was read and written.
#[derive(Debug, Clone, Default)]
struct Done {
    read: u64,
    filtered: u64,
    dead_letters: u64,
    /// Rows, bytes, deliveries.
    sinks: BTreeMap<String, [u64; 3]>,
}

/// How often something was below bounds.
#[derive(Debug, Clone)]
struct Histogram<const BOUNDS: usize> {
    below: [u64; BOUNDS],
    sum: f64,
    count: u64,
}

impl<const BOUNDS: usize> Default for Histogram<BOUNDS> {
    fn default() -> Self {
        Self { below: [0; BOUNDS], sum: 0.0, count: 0 }
    }
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    fn add(&mut self, value: f64, bounds: [f64; BOUNDS]) {
        for (below, bound) in self.below.iter_mut().zip(bounds) {
            *below += u64::from(value <= bound);
        }
        self.sum += value;
        self.count += 1;
    }

    fn samples(&self, of: (&'static str, &str), bounds: [f64; BOUNDS]) -> Vec<Sample> {
        let bounds = bounds.iter().map(ToString::to_string).zip(self.below);
        let buckets = bounds.chain([("+Inf".to_owned(), self.count)]);
        let mut samples: Vec<_> =
            buckets.map(|(bound, count)| sample("_bucket", &[of, ("le", &bound)], count as f64)).collect();
        samples.push(sample("_sum", &[of], self.sum));
        samples.push(sample("_count", &[of], self.count as f64));
        samples
    }
}

impl Totals {
    /// Records read.
    pub(crate) fn read(&self) -> u64 {
        self.done.read
    }

    /// A run has begun, so many seconds after it was to.
    pub(crate) fn began(&mut self, late: f64) {
        self.delays.add(late.max(0.0), DELAYS);
    }

    /// Adds a run that has ended.
    pub(crate) fn add(&mut self, report: &RunReport, meters: &Meters) {
        *self.outcomes.entry(report.outcome.as_str()).or_default() += 1;
        self.durations.add(report.seconds, DURATIONS);
        self.retries += meters.retries();
        self.done.add(&report.figures);
    }
}

impl Done {
    fn add(&mut self, figures: &Figures) {
        self.read += figures.read;
        self.filtered += figures.filtered;
        self.dead_letters += figures.dead_letters;
        for sink in &figures.sinks {
            self.dead_letters += sink.dead_letters;
            let sums = self.sinks.entry(sink.name.clone()).or_default();
            for (sum, more) in sums.iter_mut().zip([sink.written, sink.bytes, sink.deliveries]) {
                *sum += more;
            }
        }
    }
}

/// The families as they are filled.
struct Collected(Vec<Family>);

impl Collected {
    fn new() -> Self {
        let families = FAMILIES.into_iter();
        Self(families.map(|(name, kind, help)| Family { name, help, kind, samples: Vec::new() }).collect())
    }

    fn samples(&mut self, name: &str) -> Option<&mut Vec<Sample>> {
        let family = self.0.iter_mut().find(|family| family.name == name);
        debug_assert!(family.is_some(), "{name} is in no table");
        family.map(|family| &mut family.samples)
    }

    fn count(&mut self, name: &str, labels: &[(&'static str, &str)], value: u64) {
        self.gauge(name, labels, value as f64);
    }

    fn gauge(&mut self, name: &str, labels: &[(&'static str, &str)], value: f64) {
        self.samples(name).into_iter().for_each(|samples| samples.push(sample("", labels, value)));
    }
}

fn sample(suffix: &'static str, labels: &[(&'static str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Sample { suffix, labels, value }
}

impl Service {
    /// All figures as they are now; families without a figure are left out.
    ///
    /// # Errors
    /// Those of the state.
    pub fn figures(&self) -> Result<Vec<Family>> {
        let letters = self.state.dead_letter_counts(None)?;
        let mut all = Collected::new();
        all.gauge("engine_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let (at_work, most) = self.at_work();
        all.gauge("engine_runs_at_work", &[], at_work as f64);
        all.gauge("engine_runs_most", &[], most as f64);
        all.gauge("engine_runs_waiting", &[], self.queue().len() as f64);
        all.gauge("engine_queue_bytes", &[], engine_runtime::queued_bytes() as f64);
        {
            let inner = self.inner();
            for (name, pipeline) in &inner.pipelines {
                of_pipeline(&mut all, name, pipeline);
            }
        }
        for count in letters.iter().filter(|count| count.status == DeadLetterStatus::Final) {
            let labels = [("pipeline", count.pipeline.as_str()), ("stage", count.stage.as_str())];
            all.gauge("engine_dead_letters_waiting", &labels, count.count as f64);
        }
        all.0.retain(|family| !family.samples.is_empty());
        Ok(all.0)
    }
}

fn of_pipeline(all: &mut Collected, name: &str, pipeline: &Pipeline) {
    let of = ("pipeline", name);
    let truth = |value: bool| f64::from(u8::from(value));
    let totals = &pipeline.totals;
    for outcome in [Outcome::Succeeded, Outcome::Failed, Outcome::Stopped] {
        let word = outcome.as_str();
        let count = totals.outcomes.get(word).copied().unwrap_or_default();
        all.count("engine_runs_total", &[of, ("outcome", word)], count);
    }
    for (family, samples) in [
        ("engine_run_duration_seconds", totals.durations.samples(of, DURATIONS)),
        ("engine_run_delay_seconds", totals.delays.samples(of, DELAYS)),
    ] {
        all.samples(family).into_iter().for_each(|all| all.extend(samples.clone()));
    }
    let live = pipeline.active.as_ref().map(|active| &active.meters);
    let mut done = totals.done.clone();
    live.iter().for_each(|meters| done.add(&meters.figures()));
    all.count("engine_records_read_total", &[of], done.read);
    all.count("engine_rows_filtered_total", &[of], done.filtered);
    all.count("engine_dead_letters_total", &[of], done.dead_letters);
    all.count("engine_retries_total", &[of], totals.retries + live.map_or(0, |meters| meters.retries()));
    for (sink, [rows, bytes, deliveries]) in &done.sinks {
        let labels = [of, ("sink", sink.as_str())];
        all.count("engine_rows_written_total", &labels, *rows);
        all.count("engine_bytes_written_total", &labels, *bytes);
        all.count("engine_deliveries_total", &labels, *deliveries);
    }
    all.count("engine_slots_overlapped_total", &[of], pipeline.tally.overlapped);
    all.gauge("engine_pipeline_running", &[of], truth(live.is_some()));
    all.gauge("engine_pipeline_broken", &[of], truth(pipeline.broken.is_some()));
    for alarm in Alarm::ALL {
        let is_raised = pipeline.watched.raised.iter().any(|(raised, _)| *raised == alarm);
        all.gauge("engine_alarm", &[of, ("alarm", alarm.as_str())], truth(is_raised));
    }
    if let Some(meters) = live.filter(|_| pipeline.ready.as_ref().is_some_and(Ready::is_push)) {
        all.gauge("engine_spool_bytes", &[of], meters.spool_bytes() as f64);
    }
    if let Some(next) = pipeline.next.filter(|_| !pipeline.paused) {
        all.gauge("engine_next_run_timestamp_seconds", &[of], next.timestamp_millis() as f64 / 1000.0);
    }
    if let Some(last) = pipeline.last_good {
        let lag = (Utc::now() - last).num_milliseconds() as f64 / 1000.0;
        all.gauge("engine_lag_seconds", &[of], lag.max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_below_its_bounds() {
        let mut histogram = Histogram::default();
        [0.05, 0.7, 100_000.0].into_iter().for_each(|value| histogram.add(value, DURATIONS));
        let samples = histogram.samples(("pipeline", "p"), DURATIONS);
        let bucket = |bound: &str| {
            let of_bound = samples.iter().find(|sample| sample.labels.contains(&("le", bound.to_owned())));
            of_bound.map(|sample| sample.value)
        };
        assert_eq!(
            (bucket("0.1"), bucket("0.5"), bucket("1"), bucket("14400"), bucket("+Inf")),
            (Some(1.0), Some(1.0), Some(2.0), Some(2.0), Some(3.0))
        );
        let last: Vec<_> = samples.iter().rev().take(2).map(|sample| (sample.suffix, sample.value)).collect();
        assert_eq!(last, [("_count", 3.0), ("_sum", 100_000.75)]);
    }
}
