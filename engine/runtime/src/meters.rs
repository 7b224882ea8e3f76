//! What a run has done so far, readable while it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::message::{Alert, Receipt};
use serde::Serialize;

use crate::upstream::SplitCounts;

/// The alerts of a sink that a run keeps apart. One that raises more has said enough.
const MOST_ALERTS: usize = 1_000;

/// One sink's part of it.
#[derive(Debug, Default)]
pub struct SinkMeter {
    rows: AtomicU64,
    bytes: AtomicU64,
    dead_letters: AtomicU64,
    deliveries: AtomicU64,
    status: Mutex<SinkStatus>,
    told: Mutex<Told>,
}

/// What the other side has told.
#[derive(Debug, Default)]
struct Told {
    figures: BTreeMap<String, i64>,
    /// By their keys.
    alerts: BTreeMap<String, String>,
}

/// How a sink is doing, in words.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SinkStatus {
    /// Where the last delivery went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Why it is behind or has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SinkMeter {
    pub(crate) fn delivered(&self, rows: u64, bytes: u64, dead_letters: u64, location: Option<&str>) {
        self.rows.fetch_add(rows, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.dead_letters.fetch_add(dead_letters, Ordering::SeqCst);
        self.deliveries.fetch_add(1, Ordering::SeqCst);
        let mut status = lock(&self.status);
        status.error = None;
        if let Some(location) = location {
            status.location = Some(location.to_owned());
        }
    }

    /// The alerts of a receipt that this run has not told of yet, each key once.
    pub(crate) fn news<'a>(&self, receipt: &'a Receipt) -> Vec<&'a Alert> {
        let told = lock(&self.told);
        let room = MOST_ALERTS.saturating_sub(told.alerts.len());
        let mut news = BTreeMap::new();
        for alert in receipt.alerts.iter().filter(|alert| !told.alerts.contains_key(&alert.key)) {
            news.entry(&alert.key).or_insert(alert);
        }
        news.into_values().take(room).collect()
    }

    /// Takes what a receipt tells besides its rows.
    pub(crate) fn told(&self, receipt: &Receipt) {
        let mut told = lock(&self.told);
        for (name, number) in &receipt.figures {
            let sum = told.figures.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*number);
        }
        for alert in &receipt.alerts {
            if told.alerts.len() < MOST_ALERTS {
                told.alerts.entry(alert.key.clone()).or_insert_with(|| alert.message.clone());
            }
        }
    }

    pub(crate) fn failed(&self, error: &engine_abi::Error) {
        lock(&self.status).error = Some(error.to_string());
    }
}

/// A sink's figures at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct SinkFigures {
    /// Its name in the pipeline.
    pub name: String,
    /// Rows delivered.
    pub written: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Rows that it refused.
    pub dead_letters: u64,
    /// Deliveries made.
    pub deliveries: u64,
    /// Numbers that the other side told, summed up.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, i64>,
    /// What somebody should know, each key once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// How it is doing.
    #[serde(flatten)]
    pub status: SinkStatus,
}

/// A run's figures at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Records read, dead letters included.
    pub read: u64,
    /// Rows left out on purpose.
    pub filtered: u64,
    /// Records that became dead letters before the sinks.
    pub dead_letters: u64,
    /// How long it took, from the run's begin, until the last split was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_seconds: Option<f64>,
    /// Windows stored or resumed.
    pub windows: u64,
    /// Windows of an earlier run that this one took up.
    pub resumed: u64,
    /// Each sink's.
    pub sinks: Vec<SinkFigures>,
}

#[derive(Debug, Default)]
struct Read {
    total: SplitCounts,
    windows: u64,
    resumed: u64,
    /// When the last split was read to its end, since the meters began.
    until: Option<Duration>,
    /// Splits counted already, of windows that a slower sink may read again.
    counted: BTreeMap<u64, BTreeSet<String>>,
}

/// Shared by the stages of a run.
#[derive(Debug)]
pub struct Meters {
    began: Instant,
    read: Mutex<Read>,
    /// Rows that went to the fan-out, also those of attempts that failed.
    passing: AtomicU64,
    /// Outside operations that were tried again.
    retries: AtomicU64,
    /// What the spool of a push source holds, in bytes.
    spooled: AtomicU64,
    sinks: Vec<(String, Arc<SinkMeter>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meters {
    /// Meters for the sinks of these names.
    pub fn new<'a>(sinks: impl IntoIterator<Item = &'a str>) -> Self {
        let sinks = sinks.into_iter().map(|name| (name.to_owned(), Arc::default())).collect();
        let (passing, retries, spooled) = Default::default();
        Self { began: Instant::now(), read: Mutex::default(), passing, retries, spooled, sinks }
    }

    /// The meter of a sink. One that the pipeline no longer has gets its own,
    /// which no report shows.
    pub(crate) fn sink(&self, name: &str) -> Arc<SinkMeter> {
        self.sinks.iter().find(|(of, _)| of == name).map(|(_, meter)| Arc::clone(meter)).unwrap_or_default()
    }

    pub(crate) fn window(&self, resumed: bool) {
        let mut read = lock(&self.read);
        read.windows += 1;
        read.resumed += u64::from(resumed);
    }

    pub(crate) fn passing(&self, rows: u64) {
        self.passing.fetch_add(rows, Ordering::SeqCst);
    }

    /// A split was read to its end; counted once, however often that happens.
    pub(crate) fn split(&self, window: u64, split: &str, counts: SplitCounts) {
        let mut read = lock(&self.read);
        if read.counted.entry(window).or_default().insert(split.to_owned()) {
            read.total.read += counts.read;
            read.total.filtered += counts.filtered;
            read.total.dead_letters += counts.dead_letters;
            read.total.rows += counts.rows;
            read.until = Some(self.began.elapsed());
        }
    }

    /// Every sink has the window: nobody reads it again.
    pub(crate) fn window_done(&self, window: u64) {
        lock(&self.read).counted.remove(&window);
    }

    /// Rows that have passed the fan-out so far, for a progress display.
    pub fn rows_passing(&self) -> u64 {
        self.passing.load(Ordering::SeqCst)
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Outside operations that were tried again so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn spool_holds(&self, bytes: u64) {
        self.spooled.store(bytes, Ordering::Relaxed);
    }

    /// What the spool of a push source holds, in bytes; 0 for other sources.
    pub fn spool_bytes(&self) -> u64 {
        self.spooled.load(Ordering::Relaxed)
    }

    /// All figures as they are now.
    pub fn figures(&self) -> Figures {
        let read = lock(&self.read);
        let sinks = self.sinks.iter().map(|(name, meter)| {
            let told = lock(&meter.told);
            let alerts = told.alerts.iter().map(|(key, message)| Alert { key: key.clone(), message: message.clone() });
            SinkFigures {
                name: name.clone(),
                written: meter.rows.load(Ordering::SeqCst),
                bytes: meter.bytes.load(Ordering::SeqCst),
                dead_letters: meter.dead_letters.load(Ordering::SeqCst),
                deliveries: meter.deliveries.load(Ordering::SeqCst),
                figures: told.figures.clone(),
                alerts: alerts.collect(),
                status: lock(&meter.status).clone(),
            }
        });
        Figures {
            read: read.total.read,
            filtered: read.total.filtered,
            dead_letters: read.total.dead_letters,
            read_seconds: read.until.map(|until| until.as_secs_f64()),
            windows: read.windows,
            resumed: read.resumed,
            sinks: sinks.collect(),
        }
    }
}
