//! Runs a component without an engine, for the tests of its author.
//!
//! ```ignore
//! let host = Host::new();
//! let mut source = host.open::<FileSource>(json!({"path": "calls.log"})).unwrap();
//! let plan = source.plan(&PlanRequest::default()).unwrap();
//! assert_eq!(host.rejections().len(), 0);
//! ```

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use engine_abi::ffi::{self, Record, Rejection, Status, Text};
use engine_abi::message::OpenRequest;
use engine_abi::{Result, Shape, stream};

use crate::{Component, Context, schema};

/// A record that a component refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The short word to group by.
    pub code: String,
    /// What is wrong.
    pub reason: String,
    /// Decoders: the file or peer.
    pub name: String,
    /// Decoders: the record's bytes.
    pub data: Vec<u8>,
    /// Everything else: the rows.
    pub rows: Option<RecordBatch>,
}

/// What a push source handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// One of `engine_abi::ffi::record_state`.
    pub state: i32,
    /// Which connection.
    pub connection: u64,
    /// Who sent it.
    pub peer: String,
    /// How many records.
    pub records: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    cancelled: AtomicBool,
    records: AtomicU64,
    filtered: AtomicU64,
    rejections: Mutex<Vec<Rejected>>,
    appended: Mutex<Vec<Appended>>,
    log: Mutex<Vec<(i32, String)>>,
    receipts: Mutex<Vec<serde_json::Value>>,
    remembered: Mutex<serde_json::Value>,
}

/// An engine of the test's own: it collects what a component tells it.
pub struct Host {
    // Both are boxed so that their addresses stay while the host moves.
    table: Box<ffi::Host>,
    seen: Box<Seen>,
    folder: String,
    takes: Option<Shape>,
}

// SAFETY: the table points at `seen`, which is made of atomics and mutexes.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host whose relative paths are relative to the present folder.
    pub fn new() -> Self {
        let seen = Box::new(Seen::default());
        let table = Box::new(ffi::Host {
            size: size_of::<ffi::Host>() as u32,
            context: std::ptr::from_ref::<Seen>(&seen).cast_mut().cast(),
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
        });
        Self { table, seen, folder: String::new(), takes: None }
    }

    /// A host whose relative paths are relative to `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.display().to_string(), ..Self::new() }
    }

    /// A host of a pipeline that gives files to a sink that takes either.
    pub fn of_files() -> Self {
        Self { takes: Some(Shape::Files), ..Self::new() }
    }

    /// Opens a component. It must be dropped before the host.
    pub fn open<T: Component>(&self, config: serde_json::Value) -> Result<T> {
        let context = self.context(config.clone());
        T::open(schema::read(config)?, context)
    }

    /// What a component with this configuration is opened with.
    pub(crate) fn context(&self, config: serde_json::Value) -> Context {
        let request = OpenRequest {
            config,
            pipeline: "test".into(),
            stage: "test".into(),
            folder: self.folder.clone(),
            remembered: Some(self.remembered()),
            takes: self.takes,
            nameless: false,
        };
        // SAFETY: the table stays at its address; tests drop the component first.
        unsafe { Context::new(&raw const *self.table, &request) }
    }

    /// Asks the component to stop.
    pub fn cancel(&self) {
        self.seen.cancelled.store(true, Ordering::SeqCst);
    }

    /// Records counted with [`Context::progress`].
    pub fn records(&self) -> u64 {
        self.seen.records.load(Ordering::SeqCst)
    }

    /// Rows counted with [`Context::filtered`].
    pub fn filtered(&self) -> u64 {
        self.seen.filtered.load(Ordering::SeqCst)
    }

    /// What was refused so far.
    pub fn rejections(&self) -> Vec<Rejected> {
        lock(&self.seen.rejections).clone()
    }

    /// What a push source handed over so far.
    pub fn appended(&self) -> Vec<Appended> {
        lock(&self.seen.appended).clone()
    }

    /// What was logged so far: `(level, message)`.
    pub fn log(&self) -> Vec<(i32, String)> {
        lock(&self.seen.log).clone()
    }

    /// What was kept with [`Context::remember`] last.
    pub fn remembered(&self) -> serde_json::Value {
        lock(&self.seen.remembered).clone()
    }

    /// Puts a value in the place of what was kept with [`Context::remember`].
    pub fn remember(&self, value: serde_json::Value) {
        *lock(&self.seen.remembered) = value;
    }

    /// Parts of receipts so far.
    pub fn receipts(&self) -> Vec<serde_json::Value> {
        lock(&self.seen.receipts).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Safety
/// `context` must be the one of a [`Host`] that is still there.
unsafe fn seen<'a>(context: *mut c_void) -> &'a Seen {
    // SAFETY: passed on to the caller.
    unsafe { &*context.cast::<Seen>() }
}

unsafe extern "C" fn log(context: *mut c_void, level: i32, message: Text) {
    // SAFETY: our own context; the text lives for the call.
    unsafe { lock(&seen(context).log).push((level, message.read())) }
}

unsafe extern "C" fn cancelled(context: *mut c_void) -> i32 {
    // SAFETY: our own context.
    i32::from(unsafe { seen(context) }.cancelled.load(Ordering::SeqCst))
}

unsafe extern "C" fn deadline(_: *mut c_void) -> i64 {
    -1
}

unsafe extern "C" fn progress(context: *mut c_void, records: u64, _: u64) {
    // SAFETY: our own context.
    unsafe { seen(context) }.records.fetch_add(records, Ordering::SeqCst);
}

unsafe extern "C" fn filtered(context: *mut c_void, rows: u64) {
    // SAFETY: our own context.
    unsafe { seen(context) }.filtered.fetch_add(rows, Ordering::SeqCst);
}

unsafe extern "C" fn reject(context: *mut c_void, rejection: *const Rejection) -> Status {
    // SAFETY: our own context; the rejection and all behind it live for the call.
    unsafe {
        let rejection = &*rejection;
        let rows = if rejection.rows.is_null() {
            None
        } else {
            Some(stream::copy_rows(&*rejection.rows, &*rejection.schema).expect("refused rows are readable"))
        };
        lock(&seen(context).rejections).push(Rejected {
            code: rejection.code.read(),
            reason: rejection.reason.read(),
            name: rejection.name.read(),
            data: rejection.data.bytes().to_vec(),
            rows,
        });
    }
    ffi::OK
}

unsafe extern "C" fn receipt(context: *mut c_void, part: Text) -> Status {
    // SAFETY: our own context; the text lives for the call.
    unsafe {
        let part = serde_json::from_slice(part.bytes()).expect("a receipt is JSON");
        lock(&seen(context).receipts).push(part);
    }
    ffi::OK
}

unsafe extern "C" fn remember(context: *mut c_void, value: Text) -> Status {
    // SAFETY: our own context; the text lives for the call.
    unsafe {
        *lock(&seen(context).remembered) = serde_json::from_slice(value.bytes()).expect("what is kept is JSON");
    }
    ffi::OK
}

unsafe extern "C" fn append(context: *mut c_void, record: *const Record, sequence: *mut u64) -> Status {
    // SAFETY: our own context; the record and all behind it live for the call.
    unsafe {
        let record = &*record;
        let mut appended = lock(&seen(context).appended);
        appended.push(Appended {
            state: record.state,
            connection: record.connection,
            peer: record.peer.read(),
            records: record.records,
            data: record.data.bytes().to_vec(),
        });
        if !sequence.is_null() {
            *sequence = appended.len() as u64;
        }
    }
    ffi::OK
}

unsafe extern "C" fn durable(_: *mut c_void, _: u64) -> Status {
    ffi::OK
}
