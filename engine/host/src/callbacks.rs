//! The engine as an instance sees it: the host table of `plugin.h` in front of
//! a [`Host`].

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use engine_abi::ffi::{self, Record, Status, Text};
use engine_abi::{Error, ErrorKind, Result, stream};

/// How much a message of a component matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something a person should look at.
    Warn,
    /// What happened, once a unit of work.
    Info,
    /// What helps an author.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The level of a number of `plugin.h`; an unknown one matters least.
    pub(crate) const fn from_number(number: i32) -> Self {
        match number {
            ffi::log_level::ERROR => Self::Error,
            ffi::log_level::WARN => Self::Warn,
            ffi::log_level::INFO => Self::Info,
            ffi::log_level::DEBUG => Self::Debug,
            _ => Self::Trace,
        }
    }

    /// Its number in `plugin.h`.
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::Error => ffi::log_level::ERROR,
            Self::Warn => ffi::log_level::WARN,
            Self::Info => ffi::log_level::INFO,
            Self::Debug => ffi::log_level::DEBUG,
            Self::Trace => ffi::log_level::TRACE,
        }
    }
}

/// What a component refused.
#[derive(Debug)]
pub enum Payload {
    /// A decoder's record, as it came.
    Bytes {
        /// The file or peer.
        name: String,
        /// The record.
        data: Vec<u8>,
    },
    /// One or more rows, as they came in.
    Rows(RecordBatch),
}

/// A refused record or some refused rows, with one reason.
#[derive(Debug)]
pub struct Rejection {
    /// A short stable word to group by.
    pub code: String,
    /// What is wrong, for a person.
    pub reason: String,
    /// What was refused.
    pub payload: Payload,
}

/// Whether what arrived is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalState {
    /// Whole records.
    Complete,
    /// The peer went away in the middle of a record.
    Partial,
    /// The beginning of a record that is longer than the cap.
    Oversize,
}

impl ArrivalState {
    /// The state of a number of `plugin.h`.
    pub(crate) fn from_number(number: i32) -> Result<Self> {
        match number {
            ffi::record_state::COMPLETE => Ok(Self::Complete),
            ffi::record_state::PARTIAL => Ok(Self::Partial),
            ffi::record_state::OVERSIZE => Ok(Self::Oversize),
            other => Err(Error::internal(format!("a record has the unknown state {other}"))),
        }
    }

    /// Its number in `plugin.h`.
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::Complete => ffi::record_state::COMPLETE,
            Self::Partial => ffi::record_state::PARTIAL,
            Self::Oversize => ffi::record_state::OVERSIZE,
        }
    }
}

/// What a push source received.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Whether it is whole.
    pub state: ArrivalState,
    /// Unique within one `listen`.
    pub connection: u64,
    /// How many records.
    pub records: u32,
    /// Who sent it.
    pub peer: &'a str,
    /// The bytes.
    pub data: &'a [u8],
}

/// What the engine offers an instance. Called from the instance's threads.
pub trait Host: Send + Sync {
    /// Writes to the log.
    fn log(&self, level: Level, message: &str);
    /// Whether the work should stop soon.
    fn cancelled(&self) -> bool;
    /// What is left of the operation's time, if it is limited.
    fn deadline(&self) -> Option<Duration>;
    /// Counts records taken in and bytes moved.
    fn progress(&self, records: u64, bytes: u64);
    /// Counts rows left out on purpose.
    fn filtered(&self, rows: u64);
    /// Keeps a refused record.
    fn reject(&self, rejection: Rejection) -> Result<()>;
    /// Adds a part to the present delivery's receipt.
    fn receipt(&self, part: serde_json::Value) -> Result<()>;
    /// Keeps a value for the stage, in the place of the one before.
    fn remember(&self, value: serde_json::Value) -> Result<()>;
    /// Takes over what a push source received; answers with its place.
    fn append(&self, arrival: Arrival<'_>) -> Result<u64>;
    /// Returns when everything up to `sequence` is on disk.
    fn durable(&self, sequence: u64) -> Result<()>;
}

/// A host and the table that stands for it. Its address must not change while
/// an instance holds the table.
pub(crate) struct Table {
    pub(crate) table: ffi::Host,
    host: Arc<dyn Host>,
}

impl Table {
    /// Whether the engine asks the instance to stop.
    pub(crate) fn cancelled(&self) -> bool {
        self.host.cancelled()
    }

    pub(crate) fn new(host: Arc<dyn Host>) -> Box<Self> {
        let mut table = Box::new(Self {
            table: ffi::Host {
                size: size_of::<ffi::Host>() as u32,
                context: std::ptr::null_mut(),
                log,
                cancelled,
                deadline,
                progress,
                filtered,
                reject,
                receipt,
                remember,
                append,
                durable,
            },
            host,
        });
        table.table.context = std::ptr::from_mut::<Self>(&mut table).cast();
        table
    }
}

/// Runs the engine's side of a callback. A panic in it must not unwind into
/// the module.
///
/// # Safety
/// `context` must be the one of a [`Table`] that is still there.
unsafe fn with<R>(context: *mut c_void, fallback: R, work: impl FnOnce(&dyn Host) -> R) -> R {
    // SAFETY: passed on to the caller; only shared access is ever taken.
    let host = unsafe { &(*context.cast::<Table>()).host };
    catch_unwind(AssertUnwindSafe(|| work(host.as_ref()))).unwrap_or(fallback)
}

/// The status that a module gets; what went wrong is in the engine's log.
pub(crate) fn status(result: Result<()>) -> Status {
    match result {
        Ok(()) => ffi::OK,
        Err(error) => {
            if error.kind != ErrorKind::Cancelled {
                tracing::error!(kind = %error.kind, "{error}");
            }
            error.kind.status()
        }
    }
}

unsafe extern "C" fn log(context: *mut c_void, level: i32, message: Text) {
    // SAFETY: plugin.h: our context, and a text that lives for the call.
    unsafe { with(context, (), |host| host.log(Level::from_number(level), &message.read())) }
}

unsafe extern "C" fn cancelled(context: *mut c_void) -> i32 {
    // SAFETY: plugin.h: our context.
    unsafe { with(context, 1, |host| i32::from(host.cancelled())) }
}

unsafe extern "C" fn deadline(context: *mut c_void) -> i64 {
    let milliseconds = |left: Duration| i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: plugin.h: our context.
    unsafe { with(context, -1, |host| host.deadline().map_or(-1, milliseconds)) }
}

unsafe extern "C" fn progress(context: *mut c_void, records: u64, bytes: u64) {
    // SAFETY: plugin.h: our context.
    unsafe { with(context, (), |host| host.progress(records, bytes)) }
}

unsafe extern "C" fn filtered(context: *mut c_void, rows: u64) {
    // SAFETY: plugin.h: our context.
    unsafe { with(context, (), |host| host.filtered(rows)) }
}

unsafe extern "C" fn reject(context: *mut c_void, rejection: *const ffi::Rejection) -> Status {
    // SAFETY: plugin.h: our context; the rejection and all behind it live for the call.
    unsafe {
        with(context, ErrorKind::Internal.status(), |host| {
            status(read_rejection(rejection).and_then(|it| host.reject(it)))
        })
    }
}

/// # Safety
/// As `plugin.h` says of `EngineRejection`.
unsafe fn read_rejection(rejection: *const ffi::Rejection) -> Result<Rejection> {
    // SAFETY: passed on to the caller.
    unsafe {
        let rejection = rejection.as_ref().ok_or_else(|| Error::internal("a rejection is NULL"))?;
        if (rejection.size as usize) < size_of::<ffi::Rejection>() {
            return Err(Error::internal(format!("a rejection has {} bytes", rejection.size)));
        }
        let payload = match (rejection.rows.as_ref(), rejection.schema.as_ref()) {
            (Some(rows), Some(schema)) => Payload::Rows(stream::copy_rows(rows, schema)?),
            _ => Payload::Bytes { name: rejection.name.read(), data: rejection.data.bytes().to_vec() },
        };
        Ok(Rejection { code: rejection.code.read(), reason: rejection.reason.read(), payload })
    }
}

unsafe extern "C" fn receipt(context: *mut c_void, part: Text) -> Status {
    // SAFETY: plugin.h: our context; the text lives for the call.
    unsafe {
        with(context, ErrorKind::Internal.status(), |host| {
            let part = serde_json::from_slice(part.bytes())
                .map_err(|error| Error::internal(format!("a receipt is not JSON: {error}")));
            status(part.and_then(|part| host.receipt(part)))
        })
    }
}

unsafe extern "C" fn remember(context: *mut c_void, value: Text) -> Status {
    // SAFETY: plugin.h: our context; the text lives for the call.
    unsafe {
        with(context, ErrorKind::Internal.status(), |host| {
            let value = serde_json::from_slice(value.bytes())
                .map_err(|error| Error::internal(format!("what is to be remembered is not JSON: {error}")));
            status(value.and_then(|value| host.remember(value)))
        })
    }
}

unsafe extern "C" fn append(context: *mut c_void, record: *const Record, sequence: *mut u64) -> Status {
    // SAFETY: plugin.h: our context; the record and all behind it live for the call;
    // `sequence` is NULL or a place for a number.
    unsafe {
        with(context, ErrorKind::Internal.status(), |host| {
            let appended = read_record(record).and_then(|arrival| host.append(arrival));
            status(appended.map(|place| {
                if let Some(sequence) = sequence.as_mut() {
                    *sequence = place;
                }
            }))
        })
    }
}

/// # Safety
/// As `plugin.h` says of `EngineRecord`.
unsafe fn read_record<'a>(record: *const Record) -> Result<Arrival<'a>> {
    // SAFETY: passed on to the caller.
    unsafe {
        let record = record.as_ref().ok_or_else(|| Error::internal("a record is NULL"))?;
        if (record.size as usize) < size_of::<Record>() {
            return Err(Error::internal(format!("a record has {} bytes", record.size)));
        }
        let state = ArrivalState::from_number(record.state)?;
        let peer = std::str::from_utf8(record.peer.bytes())
            .map_err(|_| Error::internal("the peer of a record is not UTF-8"))?;
        Ok(Arrival { state, connection: record.connection, records: record.records, peer, data: record.data.bytes() })
    }
}

unsafe extern "C" fn durable(context: *mut c_void, sequence: u64) -> Status {
    // SAFETY: plugin.h: our context.
    unsafe { with(context, ErrorKind::Internal.status(), |host| status(host.durable(sequence))) }
}
