//! The engine as one stage of a run sees it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::{Error, Result};
use engine_host::{Arrival, ArrivalState, Host, Level, Rejection};
use engine_state::spool::{Framing, Record};
use engine_state::{Delivery, Spool, State};

use crate::letters::Letters;
use crate::stop::Stop;

/// What the parts of one delivery's receipt may take together: they are kept in the state, and come
/// back in one message.
const RECEIPT_BYTES: usize = 64 << 20;

/// What a stage may remember: a login, not data.
const REMEMBERED_BYTES: usize = 64 << 10;

/// Where the parts of a delivery's receipt are kept.
struct Receipts {
    state: Arc<State>,
    delivery: Delivery,
    bytes: usize,
}

impl Receipts {
    fn add(&mut self, part: &serde_json::Value) -> Result<()> {
        self.bytes += part.to_string().len();
        if self.bytes > RECEIPT_BYTES {
            return Err(Error::internal(format!("the receipt of one delivery is larger than {RECEIPT_BYTES} bytes"))
                .hint("a receipt says where the rows are, and does not hold them; this is a bug in the module"));
        }
        self.state.add_answer(&self.delivery, part)
    }
}

/// What a stage counted since its split began.
#[derive(Debug, Default)]
pub struct Counts {
    records: AtomicU64,
    bytes: AtomicU64,
    filtered: AtomicU64,
    rejected: AtomicU64,
}

impl Counts {
    /// Records taken in, as the component says.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    /// Bytes moved, as the component says.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Rows left out on purpose.
    pub fn filtered(&self) -> u64 {
        self.filtered.load(Ordering::SeqCst)
    }

    /// Records that became dead letters.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::SeqCst)
    }

    /// A split begins.
    pub fn reset(&self) {
        for count in [&self.records, &self.bytes, &self.filtered, &self.rejected] {
            count.store(0, Ordering::SeqCst);
        }
    }
}

/// Serves the instances of one stage.
pub struct StageHost {
    pipeline: String,
    stage: String,
    stop: Mutex<Stop>,
    letters: Letters,
    /// Where the stage keeps what it wants to have again.
    memory: Option<Arc<State>>,
    spool: Option<Arc<Spool>>,
    until: Mutex<Option<Instant>>,
    receipts: Mutex<Option<Receipts>>,
    /// Where it was made: what its lines are about.
    span: tracing::Span,
    /// What the stage counted.
    pub counts: Counts,
}

impl StageHost {
    /// A stage whose refused records go to `letters`.
    pub fn new(pipeline: &str, stage: &str, stop: &Stop, letters: Letters) -> Arc<Self> {
        Arc::new(Self::make(pipeline, stage, stop, letters))
    }

    /// A stage that finds again in `state` what it remembers.
    pub fn with_memory(pipeline: &str, stage: &str, state: &Arc<State>, stop: &Stop, letters: Letters) -> Arc<Self> {
        Arc::new(Self { memory: Some(Arc::clone(state)), ..Self::make(pipeline, stage, stop, letters) })
    }

    /// A push source, whose records go to `spool`.
    pub fn with_spool(
        pipeline: &str,
        state: &Arc<State>,
        stop: &Stop,
        letters: Letters,
        spool: Arc<Spool>,
    ) -> Arc<Self> {
        let memory = Some(Arc::clone(state));
        Arc::new(Self { memory, spool: Some(spool), ..Self::make(pipeline, "source", stop, letters) })
    }

    fn make(pipeline: &str, stage: &str, stop: &Stop, letters: Letters) -> Self {
        Self {
            span: tracing::Span::current(),
            pipeline: pipeline.into(),
            stage: stage.into(),
            stop: Mutex::new(stop.clone()),
            letters,
            memory: None,
            spool: None,
            until: Mutex::default(),
            receipts: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// What the stage has kept last. None: nothing is kept.
    pub fn remembered(&self) -> Result<Option<serde_json::Value>> {
        self.memory.as_ref().map(|state| state.remembered(&self.pipeline, &self.stage)).transpose()
    }

    /// Binds the stage to a pass that can be stopped alone.
    pub fn set_stop(&self, stop: &Stop) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
    }

    /// Limits the operation that begins.
    pub fn set_deadline(&self, deadline: Option<Duration>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = deadline.map(|time| Instant::now() + time);
    }

    /// From now on, parts of receipts belong to this delivery. Answers those that earlier attempts have kept.
    pub fn begin_delivery(&self, state: &Arc<State>, delivery: &Delivery) -> Result<Vec<serde_json::Value>> {
        let answered = state.answers(delivery)?;
        let bytes = answered.iter().map(|part| part.to_string().len()).sum();
        let receipts = Receipts { state: Arc::clone(state), delivery: delivery.clone(), bytes };
        *self.receipts.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipts);
        Ok(answered)
    }

    fn stop(&self) -> Stop {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Host for StageHost {
    fn log(&self, level: Level, message: &str) {
        let (pipeline, stage) = (self.pipeline.as_str(), self.stage.as_str());
        // A thread of the component's own knows no span.
        let _span = tracing::Span::current().is_none().then(|| self.span.clone().entered());
        match level {
            Level::Error => tracing::error!(pipeline, stage, "{message}"),
            Level::Warn => tracing::warn!(pipeline, stage, "{message}"),
            Level::Info => tracing::info!(pipeline, stage, "{message}"),
            Level::Debug => tracing::debug!(pipeline, stage, "{message}"),
            Level::Trace => tracing::trace!(pipeline, stage, "{message}"),
        }
    }

    fn cancelled(&self) -> bool {
        let stop = self.stop();
        // A listener begins something new with every record.
        if self.spool.is_some() { stop.draining() } else { stop.stopped() }
    }

    fn deadline(&self) -> Option<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn progress(&self, records: u64, bytes: u64) {
        self.counts.records.fetch_add(records, Ordering::SeqCst);
        self.counts.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn filtered(&self, rows: u64) {
        self.counts.filtered.fetch_add(rows, Ordering::SeqCst);
    }

    fn reject(&self, rejection: Rejection) -> Result<()> {
        let records = self.letters.keep(rejection)?;
        self.counts.rejected.fetch_add(records, Ordering::SeqCst);
        Ok(())
    }

    fn receipt(&self, part: serde_json::Value) -> Result<()> {
        match &mut *self.receipts.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(receipts) => receipts.add(&part),
            None => Err(Error::internal("a part of a receipt came outside of a delivery")
                .hint("this is a bug in the module; report it to its author")),
        }
    }

    fn remember(&self, value: serde_json::Value) -> Result<()> {
        let bytes = value.to_string().len();
        if bytes > REMEMBERED_BYTES {
            return Err(Error::internal(format!("{bytes} bytes are to be remembered, more than {REMEMBERED_BYTES}"))
                .hint("this is a bug in the module; report it to its author"));
        }
        // Where nothing is kept, as in a check, there is nothing to come back to.
        self.memory.as_ref().map_or(Ok(()), |state| state.remember(&self.pipeline, &self.stage, &value))
    }

    fn append(&self, arrival: Arrival<'_>) -> Result<u64> {
        let spool = self.spool.as_ref().ok_or_else(|| Error::config("only a push source can hand over records"))?;
        let received = chrono::Utc::now().timestamp_micros();
        spool.append(&Record {
            connection: arrival.connection,
            peer: arrival.peer,
            received,
            frames: arrival.records,
            framing: match arrival.state {
                ArrivalState::Complete => Framing::Complete,
                ArrivalState::Partial => Framing::Partial,
                ArrivalState::Oversize => Framing::Oversize,
            },
            bytes: arrival.data,
        })
    }

    fn durable(&self, sequence: u64) -> Result<()> {
        match &self.spool {
            Some(spool) => spool.wait_durable(sequence),
            None => Err(Error::config("only a push source can hand over records")),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine_abi::Unit;
    use engine_abi::message::{Receipt, Split};
    use engine_state::{NewWindow, SinkPlan, WindowKind};
    use serde_json::{Value, json};

    use super::*;

    fn delivery(state: &State) -> Delivery {
        let new = NewWindow {
            pipeline: "p".into(),
            run: "run".into(),
            kind: WindowKind::Read,
            lower: None,
            upper: None,
            splits: vec![Split { id: "0000".into(), ..Split::default() }],
            definition: Value::Null,
            context: Value::Null,
            sinks: vec![SinkPlan { name: "s".into(), unit: Unit::Split }],
            replays: vec![],
            backfill: None,
            tells: false,
            about: None,
        };
        let window = state.create_window(&new).unwrap().id;
        Delivery { pipeline: "p".into(), sink: "s".into(), window, split: "0000".into() }
    }

    fn host() -> Arc<StageHost> {
        StageHost::new("p", "sinks.s", &Stop::new(), Letters::Nowhere)
    }

    #[test]
    fn parts_of_a_receipt_come_back_until_the_delivery_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let (first, second) = (delivery(&state), delivery(&state));
        assert_eq!(host().receipt(json!(1)).unwrap_err().kind, engine_abi::ErrorKind::Internal, "no delivery");
        for part in [json!({"n": 1}), json!({"n": 2})] {
            // Each by an attempt of its own.
            let host = host();
            host.begin_delivery(&state, &first).unwrap();
            host.receipt(part).unwrap();
        }
        assert_eq!(host().begin_delivery(&state, &first).unwrap(), [json!({"n": 1}), json!({"n": 2})]);
        assert!(host().begin_delivery(&state, &second).unwrap().is_empty());
        state.settle(&first, &Receipt::default(), 1, 1).unwrap();
        assert!(host().begin_delivery(&state, &first).unwrap().is_empty());
    }

    #[test]
    fn the_parts_of_a_receipt_have_a_bound_together() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let delivery = delivery(&state);
        let part = Value::from("x".repeat(RECEIPT_BYTES / 4));
        let first = host();
        first.begin_delivery(&state, &delivery).unwrap();
        for _ in 0..3 {
            first.receipt(part.clone()).unwrap();
        }
        // Another attempt begins with what the first one kept.
        let second = host();
        second.begin_delivery(&state, &delivery).unwrap();
        let error = second.receipt(part).unwrap_err();
        assert!(error.message.contains("receipt") && error.hint.is_some(), "{error}");
        assert_eq!(state.answers(&delivery).unwrap().len(), 3);
    }
}
