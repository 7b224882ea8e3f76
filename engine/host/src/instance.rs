//! An open component. Every answer that comes in is checked here.

use std::sync::{Arc, Mutex, PoisonError};

use engine_abi::ffi::{self, ExchangeFn, FFI_ArrowArrayStream, NotifyFn, Reply, Status, Text};
use engine_abi::message::{
    AcquireRequest, Acquired, Begun, CheckReport, Delivered, Delivery, OpenRequest, Plan, PlanRequest, Receipt,
    ReleaseRequest, RunBegun, Sandbox, Scoped, Sealed, SinkRun, Split, StoreRequest,
};
use engine_abi::stream::{self, Batches};
use engine_abi::{Cuts, Error, ErrorKind, Result, Scope, cut, message, table};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bounded::Bounded;
use crate::callbacks::{Host, Table};
use crate::component::{Carrier, Component};

/// Which way `apply` works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Transforms: rows to rows.
    Apply,
    /// Formats: files to rows.
    Decode,
    /// Formats: rows to files.
    Encode,
    /// Formats: one file to the places at which it can be cut.
    Cut,
}

impl Direction {
    const fn number(self) -> i32 {
        match self {
            Self::Apply => ffi::direction::APPLY,
            Self::Decode => ffi::direction::DECODE,
            Self::Encode => ffi::direction::ENCODE,
            Self::Cut => ffi::direction::CUT,
        }
    }

    pub(crate) fn from_number(number: i32) -> Result<Self> {
        let known = [Self::Apply, Self::Decode, Self::Encode, Self::Cut];
        known.into_iter().find(|it| it.number() == number).ok_or_else(table::wrong_direction)
    }
}

/// An open component, used by one thread at a time. Streams that it returned
/// keep it open until they are dropped.
pub struct Instance {
    open: Arc<Open>,
}

/// The module's instance; closed when the last user is gone.
struct Open {
    raw: *mut ffi::Instance,
    component: Arc<Component>,
    /// Behind the pointer that the instance was opened with.
    table: Box<Table>,
}

// SAFETY: `plugin.h` allows an instance to move between threads; one at a time
// uses it, which `&mut Instance` and the contract of streams keep.
unsafe impl Send for Open {}
// SAFETY: shared only between an `Instance` and its own streams, which the same
// thread uses (see the contract of `Instance`).
unsafe impl Sync for Open {}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(close) = self.component.table().close
            && !self.raw.is_null()
        {
            // SAFETY: what `open` gave, for the last time; all streams are gone.
            unsafe { close(self.raw) }
        }
    }
}

impl Open {
    /// What the instance says of its last failure, if it says anything.
    fn last_error(&self) -> Option<Error> {
        let last_error = self.component.table().last_error.filter(|_| !self.raw.is_null())?;
        let mut text = Vec::new();
        // SAFETY: plugin.h; the reply collects into `text` until the call returns.
        unsafe { last_error(self.raw, Reply::collect(&mut text)) }
        serde_json::from_slice(&text).ok()
    }

    /// The error of a call that answered with `status`, which decides the kind.
    fn error(&self, status: Status) -> Error {
        let kind = match ErrorKind::from_status(status) {
            // Only the engine cancels: an answer nobody asked for would make the
            // work vanish instead of fail.
            ErrorKind::Cancelled if !self.table.cancelled() => ErrorKind::Unavailable,
            kind => kind,
        };
        match self.last_error() {
            Some(error) => Error { kind, ..error },
            None => Error::new(kind, format!("{} failed without saying why", self.component.name())),
        }
    }

    fn unsupported(&self, call: &str) -> Error {
        Error::config(format!("{} `{}` has no {call}", self.component.kind(), self.component.name()))
    }

    fn answer<A: DeserializeOwned>(&self, call: &str, status: Status, text: &[u8]) -> Result<A> {
        if status != ffi::OK {
            return Err(self.error(status));
        }
        serde_json::from_slice(text).map_err(|error| {
            let name = self.component.name();
            Error::internal(format!("{name} answered {call} with something that cannot be read: {error}"))
                .hint("this is a bug in the module; report it to its author")
        })
    }

    fn exchange<M: Serialize, A: DeserializeOwned>(&self, call: &str, f: Option<ExchangeFn>, message: &M) -> Result<A> {
        let f = f.ok_or_else(|| self.unsupported(call))?;
        let message = message::write(message)?;
        let mut reply = Vec::new();
        // SAFETY: plugin.h; message and reply live until the call returns.
        let status = unsafe { f(self.raw, Text::new(&message), Reply::collect(&mut reply)) };
        self.answer(call, status, &reply)
    }

    fn notify<M: Serialize>(&self, call: &str, f: Option<NotifyFn>, message: &M) -> Result<()> {
        let f = f.ok_or_else(|| self.unsupported(call))?;
        let message = message::write(message)?;
        // SAFETY: plugin.h; the message lives until the call returns.
        match unsafe { f(self.raw, Text::new(&message)) } {
            ffi::OK => Ok(()),
            status => Err(self.error(status)),
        }
    }
}

impl Instance {
    pub(crate) fn open(
        component: Arc<Component>,
        request: &OpenRequest,
        sandbox: &Sandbox,
        host: Arc<dyn Host>,
    ) -> Result<Self> {
        let host: Arc<dyn Host> = Arc::new(Bounded::new(host));
        let table = Table::new(Arc::clone(&host));
        let mut raw = std::ptr::null_mut();
        let (serving, host) = (host, &raw const table.table);
        let status = match component.carrier() {
            Carrier::Native => {
                let open =
                    component.table().open.ok_or_else(|| Error::internal("a component without `open` was loaded"))?;
                let request = message::write(request)?;
                // SAFETY: plugin.h; the host's table is boxed and kept until after `close`.
                unsafe { open(host, Text::new(&request), &raw mut raw) }
            }
            Carrier::Loader(held) => {
                let named = (component.kind(), component.name());
                // SAFETY: as above.
                unsafe { held.open(named, host, (request, sandbox), &raw mut raw) }?
            }
            Carrier::Process(module) => {
                let named = (component.kind(), component.name());
                // SAFETY: `raw` is a place for an instance.
                unsafe { table::open(&raw mut raw, || module.open(named, (request, sandbox), serving)) }
            }
        };
        let open = Arc::new(Open { raw, component, table });
        if status != ffi::OK {
            return Err(open.error(status));
        }
        if raw.is_null() {
            return Err(Error::internal(format!("{} opened without an instance", open.component.name())));
        }
        debug_assert!(open.table.table.size > 0);
        Ok(Self { open })
    }

    /// The component that this is an instance of.
    pub fn component(&self) -> &Arc<Component> {
        &self.open.component
    }

    /// Tries what is needed to work, and changes nothing.
    pub fn check(&mut self) -> Result<CheckReport> {
        let check = self.open.component.table().check.ok_or_else(|| self.open.unsupported("check"))?;
        let mut reply = Vec::new();
        // SAFETY: plugin.h; the reply lives until the call returns.
        let status = unsafe { check(self.open.raw, Reply::collect(&mut reply)) };
        self.open.answer("check", status, &reply)
    }

    /// Transforms: how much of the stream it must see as it is configured.
    pub fn scope(&mut self) -> Result<Scope> {
        let component = &self.open.component;
        let described = component.description();
        // plugin.wit has no such call: a WASM module sees what it may need.
        let asks = described.narrows && !matches!(component.carrier(), Carrier::Loader(_));
        let Some(scope) = component.table().scope.filter(|_| asks) else { return Ok(described.scope) };
        let mut reply = Vec::new();
        // SAFETY: plugin.h; the reply lives until the call returns.
        let status = unsafe { scope(self.open.raw, Reply::collect(&mut reply)) };
        self.open.answer::<Scoped>("scope", status, &reply).map(|answer| answer.scope)
    }

    /// Sources: cuts what there is to read.
    pub fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.open.exchange("plan", self.open.component.table().plan, request)
    }

    /// Sources: opens a split.
    pub fn read(&mut self, split: &Split) -> Result<Batches> {
        let read = self.open.component.table().read.ok_or_else(|| self.open.unsupported("read"))?;
        let split = message::write(split)?;
        let mut out = FFI_ArrowArrayStream::empty();
        // SAFETY: plugin.h; the split lives until the call returns, `out` is a place for a stream.
        match unsafe { read(self.open.raw, Text::new(&split), &raw mut out) } {
            ffi::OK => self.batches(out, None),
            status => Err(self.open.error(status)),
        }
    }

    /// Sources whose plan asked for it: every sink has all of a window.
    pub fn delivered(&mut self, window: &Delivered) -> Result<()> {
        self.open.notify("delivered", self.open.component.table().delivered, window)
    }

    /// Push sources: receives until the host says that it is cancelled.
    pub fn listen(&mut self) -> Result<()> {
        let listen = self.open.component.table().listen.ok_or_else(|| self.open.unsupported("listen"))?;
        // SAFETY: plugin.h.
        match unsafe { listen(self.open.raw) } {
            ffi::OK => Ok(()),
            status => Err(self.open.error(status)),
        }
    }

    /// Transforms and formats: puts itself in front of a stream.
    pub fn apply(&mut self, direction: Direction, input: Batches) -> Result<Batches> {
        let apply = self.open.component.table().apply.ok_or_else(|| self.open.unsupported("apply"))?;
        let (input, fault) = Input::watch(input);
        let mut input = std::mem::ManuallyDrop::new(stream::export(input));
        let mut out = FFI_ArrowArrayStream::empty();
        // SAFETY: plugin.h; the callee takes `input` over, `out` is a place for a stream.
        match unsafe { apply(self.open.raw, direction.number(), &raw mut *input, &raw mut out) } {
            ffi::OK => self.batches(out, Some(fault)),
            status => Err(fault.or(self.open.error(status))),
        }
    }

    /// Formats: finds where a file can be cut.
    pub fn cut(&mut self, file: Batches) -> Result<Cuts> {
        self.apply(Direction::Cut, file).and_then(cut::from_batches)
    }

    /// Sinks: before the first delivery of a window.
    pub fn begin_run(&mut self, run: &SinkRun) -> Result<RunBegun> {
        self.open.exchange("begin_run", self.open.component.table().begin_run, run)
    }

    /// Sinks: has this delivery arrived before?
    pub fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.open.exchange("begin_split", self.open.component.table().begin_split, delivery)
    }

    /// Sinks: takes the input and makes it ready.
    pub fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let write = self.open.component.table().write.ok_or_else(|| self.open.unsupported("write"))?;
        let delivery = message::write(delivery)?;
        let (input, fault) = Input::watch(input);
        let mut input = std::mem::ManuallyDrop::new(stream::export(input));
        let mut reply = Vec::new();
        // SAFETY: plugin.h; the callee takes `input` over, the texts live until the call returns.
        let status = unsafe { write(self.open.raw, Text::new(&delivery), &raw mut *input, Reply::collect(&mut reply)) };
        match (status, fault.take()) {
            // A sink that swallowed its input's error would commit half a split.
            (_, Some(error)) => Err(error),
            (status, None) => self.open.answer("write", status, &reply),
        }
    }

    /// Sinks: makes a delivery visible.
    pub fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        self.open.exchange("commit", self.open.component.table().commit, delivery)
    }

    /// Sinks: throws away what an unfinished delivery left.
    pub fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        self.open.notify("abort", self.open.component.table().abort, delivery)
    }

    /// Sinks: after the last commit of a window.
    pub fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        self.open.notify("finish_run", self.open.component.table().finish_run, run)
    }

    /// States: takes the state.
    pub fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired> {
        self.open.exchange("acquire", self.open.component.table().acquire, request)
    }

    /// States: opens the stream of all documents.
    pub fn load(&mut self) -> Result<Batches> {
        let load = self.open.component.table().load.ok_or_else(|| self.open.unsupported("load"))?;
        let mut out = FFI_ArrowArrayStream::empty();
        // SAFETY: plugin.h; `out` is a place for a stream.
        match unsafe { load(self.open.raw, &raw mut out) } {
            ffi::OK => self.batches(out, None),
            status => Err(self.open.error(status)),
        }
    }

    /// States: takes one change.
    pub fn store(&mut self, request: &StoreRequest) -> Result<()> {
        self.open.notify("store", self.open.component.table().store, request)
    }

    /// States: gives the state back.
    pub fn release(&mut self, request: &ReleaseRequest) -> Result<()> {
        self.open.notify("release", self.open.component.table().release, request)
    }

    /// The rows of a module's stream: validated, with the full error behind a
    /// failure, and with the input's error in front of its consequences.
    fn batches(&self, out: FFI_ArrowArrayStream, input: Option<Input>) -> Result<Batches> {
        let open = Arc::clone(&self.open);
        let swallowed = input.clone();
        let convert = move |fault: stream::Fault| {
            if let Some(error) = input.as_ref().and_then(Input::take) {
                return error;
            }
            match fault.code {
                stream::CANCELLED if open.table.cancelled() => Error::cancelled(),
                stream::CANCELLED => Error::unavailable(format!("{} stopped unasked", open.component.name())),
                // The reader's own finding about a batch, not the module's.
                code if code < 0 => {
                    Error::internal(format!("{} `{}`: {}", open.component.kind(), open.component.name(), fault.message))
                        .hint("this is a bug in the module; report it to its author")
                }
                _ => open.last_error().unwrap_or_else(|| Error::internal(fault.message)),
            }
        };
        // What comes from elsewhere was checked when it was read from Arrow IPC or JSON.
        let validate = matches!(self.open.component.carrier(), Carrier::Native);
        let mut reader = stream::Reader::new(out, validate).map_err(&convert)?;
        let schema = reader.schema();
        let mut failed = false;
        let until_error = std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let item = match reader.next() {
                Some(item) => item.map_err(&convert),
                // A component that swallowed its input's error would pass half
                // a stream off as a whole one.
                None => Err(swallowed.as_ref().and_then(Input::take)?),
            };
            failed = item.is_err();
            Some(item)
        });
        Ok(Batches::new(schema, until_error))
    }
}

/// Watches an input stream for its error, so that a component that fails
/// because its input failed is not blamed.
#[derive(Clone, Default)]
struct Input(Arc<Mutex<Option<Error>>>);

impl Input {
    fn watch(input: Batches) -> (Batches, Self) {
        let seen = Self::default();
        let keep = seen.clone();
        let schema = input.schema();
        let watched = input.inspect(move |item| {
            if let Err(error) = item {
                *keep.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            }
        });
        (Batches::new(schema, watched), seen)
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn or(&self, own: Error) -> Error {
        self.take().unwrap_or(own)
    }
}
