//! Figures of the service, each said once: for `/metrics`, and for whoever collects them otherwise.

use std::collections::BTreeMap;

use chrono::Utc;
use engine_abi::Result;
use engine_runtime::{Figures, Meters, RunReport};
use engine_state::{DeadLetterStatus, Outcome};

use crate::pipelines::Pipeline;
use crate::service::Service;

/// Upper bounds of how long runs take, in seconds.
const DURATIONS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];

/// Upper bounds of how late runs begin, in seconds.
const DELAYS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];

/// Figures of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

/// What a figure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts how often something was below bounds.
    Histogram,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Behind the family's name: `_bucket`.
    pub(crate) suffix: &'static str,
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: f64,
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
#[derive(Default)]
struct Collected(Vec<Family>);

impl Collected {
    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Vec<Sample> {
        let at = self.0.iter().position(|family| family.name == name).unwrap_or_else(|| {
            self.0.push(Family { name, help, kind, samples: Vec::new() });
            self.0.len() - 1
        });
        &mut self.0[at].samples
    }

    fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: u64) {
        self.family(name, Kind::Counter, help).push(sample("", labels, value as f64));
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.family(name, Kind::Gauge, help).push(sample("", labels, value));
    }
}

fn sample(suffix: &'static str, labels: &[(&'static str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Sample { suffix, labels, value }
}

/// All figures as they are now.
///
/// # Errors
/// Those of the state.
pub(crate) fn families(service: &Service) -> Result<Vec<Family>> {
    let letters = service.state.dead_letter_counts(None)?;
    let mut all = Collected::default();
    all.gauge("engine_info", "The version, as a label.", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let (at_work, most) = service.at_work();
    all.gauge("engine_runs_at_work", "Runs at work, without those of sources that receive.", &[], at_work as f64);
    all.gauge("engine_runs_most", "The most runs at a time.", &[], most as f64);
    all.gauge("engine_runs_waiting", "Runs that wait for room.", &[], service.queue().len() as f64);
    let queued = engine_runtime::queued_bytes() as f64;
    all.gauge("engine_queue_bytes", "What the queues between stages hold, in bytes.", &[], queued);
    {
        let inner = service.inner();
        for (name, pipeline) in &inner.pipelines {
            of_pipeline(&mut all, name, pipeline);
        }
    }
    for count in letters.iter().filter(|count| count.status == DeadLetterStatus::Final) {
        let labels = [("pipeline", count.pipeline.as_str()), ("stage", count.stage.as_str())];
        all.gauge("engine_dead_letters_waiting", "Dead letters that wait for a decision.", &labels, count.count as f64);
    }
    Ok(all.0)
}

fn of_pipeline(all: &mut Collected, name: &str, pipeline: &Pipeline) {
    let of = ("pipeline", name);
    let totals = &pipeline.totals;
    for outcome in [Outcome::Succeeded, Outcome::Failed, Outcome::Stopped] {
        let word = outcome.as_str();
        let count = totals.outcomes.get(word).copied().unwrap_or_default();
        all.counter("engine_runs_total", "Runs that ended, by how they ended.", &[of, ("outcome", word)], count);
    }
    let durations = all.family("engine_run_duration_seconds", Kind::Histogram, "How long runs took.");
    durations.extend(totals.durations.samples(of, DURATIONS));
    let help =
        "How late runs began: after their time in the schedule, its jitter included, or after they were asked for.";
    all.family("engine_run_delay_seconds", Kind::Histogram, help).extend(totals.delays.samples(of, DELAYS));
    let live = pipeline.active.as_ref().map(|active| &active.meters);
    let mut done = totals.done.clone();
    live.iter().for_each(|meters| done.add(&meters.figures()));
    let retries = totals.retries + live.map_or(0, |meters| meters.retries());
    all.counter("engine_records_read_total", "Records read, dead letters included.", &[of], done.read);
    all.counter("engine_rows_filtered_total", "Rows left out on purpose.", &[of], done.filtered);
    all.counter("engine_dead_letters_total", "Records that became dead letters.", &[of], done.dead_letters);
    all.counter("engine_retries_total", "Outside operations that were tried again.", &[of], retries);
    for (sink, [rows, bytes, deliveries]) in &done.sinks {
        let labels = [of, ("sink", sink.as_str())];
        all.counter("engine_rows_written_total", "Rows delivered.", &labels, *rows);
        all.counter("engine_bytes_written_total", "Bytes delivered.", &labels, *bytes);
        all.counter("engine_deliveries_total", "Deliveries made.", &labels, *deliveries);
    }
    let overlapped = pipeline.tally.overlapped;
    all.counter("engine_slots_overlapped_total", "Times at which the run before still ran.", &[of], overlapped);
    all.gauge("engine_pipeline_running", "1 while a run is at work.", &[of], f64::from(u8::from(live.is_some())));
    let broken = pipeline.broken.is_some();
    all.gauge("engine_pipeline_broken", "1 while its file cannot be used.", &[of], f64::from(u8::from(broken)));
    for alarm in crate::alarms::Alarm::ALL {
        let is_raised = pipeline.watched.raised.iter().any(|(raised, _)| *raised == alarm);
        let labels = [of, ("alarm", alarm.as_str())];
        all.gauge("engine_alarm", "1 while an alarm is raised.", &labels, f64::from(u8::from(is_raised)));
    }
    if let Some(meters) = live.filter(|_| pipeline.ready.as_ref().is_some_and(crate::pipelines::Ready::is_push)) {
        let help = "What the spool holds, in bytes: received, and not yet delivered to every sink.";
        all.gauge("engine_spool_bytes", help, &[of], meters.spool_bytes() as f64);
    }
    if let Some(next) = pipeline.next.filter(|_| !pipeline.paused) {
        let help = "When the next time of its schedule is, in seconds since 1970.";
        all.gauge("engine_next_run_timestamp_seconds", help, &[of], next.timestamp_millis() as f64 / 1000.0);
    }
    if let Some(last) = pipeline.last_good {
        let help = "How long ago the last run began that succeeded, in seconds; its slot, where it was for one.";
        let lag = (Utc::now() - last).num_milliseconds() as f64 / 1000.0;
        all.gauge("engine_lag_seconds", help, &[of], lag.max(0.0));
    }
}
