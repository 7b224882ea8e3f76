//! What stands behind an instance of a guest: the engine's side of its imports,
//! its limits, and what is worth knowing once it has failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::ffi::{self, Host, Record, Rejection, Text, log_level, record_state};
use engine_abi::message::Sandbox;
use engine_abi::{Batches, Error, ErrorKind, Result, RowForm};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::{host, input, spool, types};
use crate::http::Outgoing;
use crate::rows::Writer;
use crate::waiting::Waiting;
use crate::{access, json_rows};

/// Files, requests, timers and the like that a guest may hold at once. They lie in the engine's own
/// memory, and some take one of its file descriptors.
const MAX_RESOURCES: usize = 256;
/// Bytes of a request's headers.
const MAX_HEADERS: usize = 32 << 10;
/// Memories and tables of a guest: a language's runtime takes a handful.
const MAX_MEMORIES: usize = 100;
/// What is left of a call that may take as long as it wants.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a guest may go on after it was asked to stop.
const GRACE: Duration = Duration::from_secs(2);

/// The data of a guest's store.
pub struct State {
    /// The engine; NULL while a module describes itself.
    engine: Engine,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    resources: ResourceTable,
    outgoing: Outgoing,
    /// The cap on memory, and whether it was hit.
    pub memory: Memory,
    /// When the present call is over.
    pub clock: Arc<Clock>,
    /// What the stream in progress takes in.
    pub input: Option<Input>,
    /// How rows cross.
    pub rows: RowForm,
    /// The last thing that the guest logged as an error: a panic's message, if it panicked.
    pub last_words: Option<String>,
}

/// What a guest asks for its input from.
pub struct Input {
    pub batches: Batches,
    pub writer: Writer,
}

impl State {
    pub fn new(engine: *const Host, sandbox: &Sandbox, rows: RowForm) -> Result<Self> {
        let engine = Engine(engine);
        let clock = Arc::new(Clock::new(Duration::from_millis(sandbox.limits.deadline_ms)));
        Ok(Self {
            wasi: access::wasi(&sandbox.permissions, engine)?,
            http: {
                let mut http = WasiHttpCtx::new();
                http.set_field_size_limit(MAX_HEADERS);
                http
            },
            resources: {
                let mut resources = ResourceTable::new();
                resources.set_max_capacity(MAX_RESOURCES);
                resources
            },
            outgoing: Outgoing::new(&sandbox.permissions, Arc::clone(&clock))?,
            memory: Memory::new(usize::try_from(sandbox.limits.memory_bytes).unwrap_or(usize::MAX)),
            clock,
            engine,
            input: None,
            rows,
            last_words: None,
        })
    }

    /// What it takes to wait within the limits of the call.
    pub fn waiting(&mut self) -> Waiting<'_> {
        Waiting { table: &mut self.resources, clock: Arc::clone(&self.clock), engine: self.engine }
    }

    /// Whether the engine asks to stop.
    pub fn cancelled(&self) -> bool {
        self.engine.cancelled()
    }

    /// What the pipeline refused the guest since the last call.
    pub fn take_denied(&mut self) -> Option<Error> {
        self.outgoing.take_denied()
    }

    /// Runs at each tick while the guest works.
    pub fn at_tick(store: StoreContextMut<'_, Self>) -> wasmtime::Result<UpdateDeadline> {
        let state = store.data();
        if state.clock.ends(state.cancelled()) {
            return Ok(UpdateDeadline::Interrupt);
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.resources, ctx: &mut self.http }
    }
}

/// The time that a call may take, without what it waits for its input.
pub struct Clock {
    limit: Duration,
    call: Mutex<Call>,
}

/// The present call.
struct Call {
    /// When its time is over; none: it may take as long as it wants.
    until: Option<Instant>,
    /// When it was first seen that it should stop.
    stopping: Option<Instant>,
}

impl Clock {
    fn new(limit: Duration) -> Self {
        Self { limit, call: Mutex::new(Call { until: Some(Instant::now() + limit), stopping: None }) }
    }

    fn call(&self) -> std::sync::MutexGuard<'_, Call> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit, for messages.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// A call begins.
    pub fn begin(&self) {
        *self.call() = Call { until: Some(Instant::now() + self.limit), stopping: None };
    }

    /// A call begins that lasts until the engine asks to stop.
    pub fn begin_endless(&self) {
        *self.call() = Call { until: None, stopping: None };
    }

    /// What is left of the call.
    pub fn left(&self) -> Duration {
        self.call().until.map_or(DAY, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether the call has taken too long.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Whether the call is to be ended: it has taken too long, or goes on although it was asked to stop.
    pub fn ends(&self, cancelled: bool) -> bool {
        let asked = cancelled.then(|| *self.call().stopping.get_or_insert_with(Instant::now));
        self.is_over() || asked.is_some_and(|since| since.elapsed() >= GRACE)
    }

    /// Does something of the engine's meanwhile, which costs the guest nothing.
    fn pause<R>(&self, work: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = work();
        if let Some(until) = &mut self.call().until {
            *until += began.elapsed();
        }
        result
    }
}

/// The cap on a guest's memory, of all its memories and tables together.
pub struct Memory {
    cap: usize,
    held: usize,
    hit: bool,
}

impl Memory {
    fn new(cap: usize) -> Self {
        Self { cap, held: 0, hit: false }
    }

    /// The cap, once the guest asked for more.
    pub fn exceeded(&self) -> Option<usize> {
        self.hit.then_some(self.cap)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let held = self.held.saturating_add(desired.saturating_sub(current));
        if held > self.cap {
            self.hit = true;
            // Ends the guest here: most would only turn a refusal into a trap that says less.
            return Err(wasmtime::Error::msg("out of memory"));
        }
        self.held = held;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // An element takes a pointer of the engine's own memory.
        let bytes = |elements: usize| elements.saturating_mul(size_of::<usize>());
        self.memory_growing(bytes(current), bytes(desired), None)
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }

    fn tables(&self) -> usize {
        MAX_MEMORIES
    }
}

/// The host table of the instance.
#[derive(Clone, Copy)]
pub struct Engine(*const Host);

// SAFETY: plugin.h: the functions of the table may be called from any thread
// of the component until `close`, where the guest is dropped.
unsafe impl Send for Engine {}
// SAFETY: as above.
unsafe impl Sync for Engine {}

impl Engine {
    fn table(&self) -> Option<&Host> {
        // SAFETY: NULL, or valid until `close`.
        unsafe { self.0.as_ref() }
    }

    pub fn log(&self, level: i32, message: &str) {
        if let Some(host) = self.table() {
            // SAFETY: the text lives for the call.
            unsafe { (host.log)(host.context, level, Text::new(message)) }
        }
    }

    pub fn cancelled(&self) -> bool {
        // SAFETY: the host's own context.
        self.table().is_some_and(|host| unsafe { (host.cancelled)(host.context) != 0 })
    }

    fn ask(&self, call: impl FnOnce(&Host) -> ffi::Status) -> Result<(), types::Error> {
        let Some(host) = self.table() else {
            return Err(Error::internal("a component that is not open can ask for nothing").into());
        };
        match call(host) {
            ffi::OK => Ok(()),
            status => {
                let kind = ErrorKind::from_status(status);
                Err(Error::new(kind, "the engine could not do what the component asked for").into())
            }
        }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) {
        let level = match level {
            host::Level::Error => {
                self.last_words = Some(message.clone());
                log_level::ERROR
            }
            host::Level::Warn => log_level::WARN,
            host::Level::Info => log_level::INFO,
            host::Level::Debug => log_level::DEBUG,
            host::Level::Trace => log_level::TRACE,
        };
        self.engine.log(level, &message);
    }

    fn cancelled(&mut self) -> bool {
        self.engine.cancelled()
    }

    fn deadline(&mut self) -> Option<u64> {
        let host = self.engine.table()?;
        // SAFETY: the host's own context.
        u64::try_from(unsafe { (host.deadline)(host.context) }).ok()
    }

    fn progress(&mut self, records: u64, bytes: u64) {
        if let Some(host) = self.engine.table() {
            // SAFETY: the host's own context.
            unsafe { (host.progress)(host.context, records, bytes) }
        }
    }

    fn filtered(&mut self, rows: u64) {
        if let Some(host) = self.engine.table() {
            // SAFETY: the host's own context.
            unsafe { (host.filtered)(host.context, rows) }
        }
    }

    fn reject_record(&mut self, code: String, reason: String, name: String, data: Vec<u8>) -> Result<(), types::Error> {
        let rejection = Rejection {
            size: size_of::<Rejection>() as u32,
            reason: Text::new(&reason),
            code: Text::new(&code),
            name: Text::new(&name),
            data: Text { data: data.as_ptr(), length: data.len() },
            rows: std::ptr::null(),
            schema: std::ptr::null(),
        };
        // SAFETY: everything that the rejection points to lives for the call.
        self.engine.ask(|host| unsafe { (host.reject)(host.context, &raw const rejection) })
    }

    fn reject_rows(&mut self, code: String, reason: String, rows: Vec<u8>) -> Result<(), types::Error> {
        for batch in self.refused(rows)? {
            let rows = arrow_array::StructArray::from(batch);
            let (array, schema) = arrow_array::ffi::to_ffi(&arrow_array::Array::to_data(&rows))
                .map_err(|error| Error::internal(format!("refused rows cannot be handed over: {error}")))?;
            let rejection = Rejection {
                size: size_of::<Rejection>() as u32,
                reason: Text::new(&reason),
                code: Text::new(&code),
                name: Text::new(""),
                data: Text::new(""),
                rows: &raw const array,
                schema: &raw const schema,
            };
            // SAFETY: everything that the rejection points to lives for the call.
            self.engine.ask(|host| unsafe { (host.reject)(host.context, &raw const rejection) })?;
        }
        Ok(())
    }

    fn receipt(&mut self, part: String) -> Result<(), types::Error> {
        // SAFETY: the text lives for the call.
        self.engine.ask(|host| unsafe { (host.receipt)(host.context, Text::new(&part)) })
    }

    fn remember(&mut self, value: String) -> Result<(), types::Error> {
        // SAFETY: the text lives for the call.
        self.engine.ask(|host| unsafe { (host.remember)(host.context, Text::new(&value)) })
    }
}

impl State {
    /// Rows that a guest refused, in the columns of its input.
    fn refused(&self, rows: Vec<u8>) -> Result<Vec<arrow_array::RecordBatch>> {
        match self.rows {
            RowForm::Arrow => engine_abi::ipc::read_whole(rows),
            RowForm::Json => {
                let input = self.input.as_ref();
                let schema = input.map(|input| input.batches.schema()).ok_or_else(|| {
                    Error::internal("the module refused rows, but has no input").hint("this is a bug in the module")
                })?;
                Ok(json_rows::read(&rows, &json_rows::seen(&schema))?.into_iter().collect())
            }
        }
    }
}

impl input::Host for State {
    fn next(&mut self) -> Result<Option<Vec<u8>>, types::Error> {
        let Some(input) = &mut self.input else { return Ok(None) };
        match self.clock.pause(|| input.batches.next()) {
            Some(batch) => Ok(Some(input.writer.batch(&batch?)?)),
            None => Ok(None),
        }
    }
}

impl spool::Host for State {
    fn append(&mut self, arrival: spool::Arrival) -> Result<u64, types::Error> {
        let record = Record {
            size: size_of::<Record>() as u32,
            state: match arrival.state {
                spool::RecordState::Complete => record_state::COMPLETE,
                spool::RecordState::Partial => record_state::PARTIAL,
                spool::RecordState::Oversize => record_state::OVERSIZE,
            },
            connection: arrival.connection,
            records: arrival.records,
            peer: Text::new(&arrival.peer),
            data: Text { data: arrival.data.as_ptr(), length: arrival.data.len() },
        };
        let mut sequence = 0;
        self.clock.pause(|| {
            // SAFETY: everything that the record points to lives for the call.
            self.engine.ask(|host| unsafe { (host.append)(host.context, &raw const record, &raw mut sequence) })
        })?;
        Ok(sequence)
    }

    fn durable(&mut self, sequence: u64) -> Result<(), types::Error> {
        // SAFETY: the host's own context.
        self.clock.pause(|| self.engine.ask(|host| unsafe { (host.durable)(host.context, sequence) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let mut memory = Memory::new(1 << 20);
        assert!(memory.memory_growing(0, 512 << 10, None).unwrap());
        assert!(memory.memory_growing(512 << 10, 768 << 10, None).unwrap());
        assert!(memory.table_growing(0, 16 << 10, None).unwrap());
        assert_eq!(memory.exceeded(), None);
        assert!(memory.memory_growing(0, 256 << 10, None).is_err(), "a second memory");
        assert_eq!(memory.exceeded(), Some(1 << 20));
    }

    #[test]
    fn who_was_asked_to_stop_has_a_grace_and_a_listener_no_deadline() {
        let clock = Clock::new(Duration::ZERO);
        assert!(clock.ends(false));
        clock.begin_endless();
        assert!(!clock.ends(false) && !clock.ends(true));
        clock.call().stopping = Instant::now().checked_sub(GRACE);
        assert!(clock.ends(true));
        clock.begin_endless();
        assert!(!clock.ends(true), "each call has a grace of its own");
    }
}
