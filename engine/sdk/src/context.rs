//! What the engine offers a component while it works.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::{Array, RecordBatch, StructArray};
use engine_abi::ffi::{self, Host, Record, Rejection, Text};
use engine_abi::{Error, ErrorKind, Result, Shape};

/// How much a message of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Level {
    /// Something failed.
    Error = ffi::log_level::ERROR,
    /// Something a person should look at.
    Warn = ffi::log_level::WARN,
    /// What happened, once a unit of work.
    Info = ffi::log_level::INFO,
    /// What helps an author.
    Debug = ffi::log_level::DEBUG,
}

/// The engine, as a component sees it. Cheap to clone; valid as long as the
/// component itself, so it must not be kept beyond it (a thread that uses it is
/// joined before the component is dropped).
#[derive(Clone)]
pub struct Context {
    host: *const Host,
    pipeline: String,
    stage: String,
    folder: PathBuf,
    remembered: Option<serde_json::Value>,
    takes: Option<Shape>,
    nameless: bool,
}

// SAFETY: `plugin.h` allows every function of the host table from any thread
// of the component.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// What a push source has received: whole records of one connection.
#[derive(Debug, Clone, Copy)]
pub enum Arrival<'a> {
    /// Whole records with their ends, and how many they are.
    Complete {
        /// The bytes as they came.
        data: &'a [u8],
        /// How many records they hold.
        records: u32,
    },
    /// The peer went away in the middle of this record.
    Partial(&'a [u8]),
    /// The beginning of a record that is longer than the cap.
    Oversize(&'a [u8]),
}

impl Context {
    /// # Safety
    /// `host` must stay valid until the component and all clones are dropped.
    pub(crate) unsafe fn new(host: *const Host, request: &engine_abi::message::OpenRequest) -> Self {
        Self {
            host,
            pipeline: request.pipeline.clone(),
            stage: request.stage.clone(),
            folder: PathBuf::from(&request.folder),
            remembered: request.remembered.clone(),
            takes: request.takes,
            nameless: request.nameless,
        }
    }

    fn host(&self) -> &Host {
        // SAFETY: promised to `new`.
        unsafe { &*self.host }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The stage's name, such as `sinks.postgres`.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// A path of the configuration: relative ones are relative to the pipeline file.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    /// Sinks that take either: whether files come, and not rows.
    pub fn takes_files(&self) -> bool {
        self.takes == Some(Shape::Files)
    }

    /// Sinks with a setting `filename`: an error where it is not set, and the files that come have no names, since
    /// a format makes them.
    pub fn require_filename(&self, is_set: bool) -> Result<()> {
        if self.nameless && !is_set {
            return Err(Error::config("the file that `format` makes has no name")
                .hint("give it one with `filename`, such as `calls.csv`"));
        }
        Ok(())
    }

    /// Writes to the engine's log.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        let host = self.host();
        // SAFETY: the text lives for the call.
        unsafe { (host.log)(host.context, level as i32, Text::new(message.as_ref())) }
    }

    /// Whether the work should stop soon. Cheap enough for every batch.
    pub fn cancelled(&self) -> bool {
        let host = self.host();
        // SAFETY: the host's own context.
        unsafe { (host.cancelled)(host.context) != 0 }
    }

    /// [`Error::cancelled`] once the work should stop, for use with `?`.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// How long the present operation may still take, if there is a limit.
    pub fn deadline(&self) -> Option<Duration> {
        let host = self.host();
        // SAFETY: the host's own context.
        let milliseconds = unsafe { (host.deadline)(host.context) };
        u64::try_from(milliseconds).ok().map(Duration::from_millis)
    }

    /// Counts records taken in and bytes moved. A decoder counts every record
    /// that it framed; rows and rejections must add up to it.
    pub fn progress(&self, records: u64, bytes: u64) {
        let host = self.host();
        // SAFETY: the host's own context.
        unsafe { (host.progress)(host.context, records, bytes) }
    }

    /// Counts rows left out on purpose.
    pub fn filtered(&self, rows: u64) {
        let host = self.host();
        // SAFETY: the host's own context.
        unsafe { (host.filtered)(host.context, rows) }
    }

    /// Decoders: keeps a record that cannot be read as a dead letter. `name` is
    /// the file's or peer's, `data` the record as it came, with what it takes to
    /// read it alone (a header line, say): a replay decodes it as a file of its
    /// own. `code` is a short stable word such as `bad_date`.
    pub fn reject_bytes(&self, name: &str, data: &[u8], code: &str, reason: &str) -> Result<()> {
        self.reject(&Rejection {
            size: size_of::<Rejection>() as u32,
            reason: Text::new(reason),
            code: Text::new(code),
            name: Text::new(name),
            data: Text { data: data.as_ptr(), length: data.len() },
            rows: std::ptr::null(),
            schema: std::ptr::null(),
        })
    }

    /// Everything else: keeps refused rows, as they came in, as dead letters.
    pub fn reject_rows(&self, rows: &RecordBatch, code: &str, reason: &str) -> Result<()> {
        let rows = StructArray::from(rows.clone());
        let (array, schema) = arrow_array::ffi::to_ffi(&rows.to_data())
            .map_err(|error| Error::internal(format!("refused rows cannot be handed over: {error}")))?;
        self.reject(&Rejection {
            size: size_of::<Rejection>() as u32,
            reason: Text::new(reason),
            code: Text::new(code),
            name: Text::new(""),
            data: Text::new(""),
            rows: &raw const array,
            schema: &raw const schema,
        })
    }

    fn reject(&self, rejection: &Rejection) -> Result<()> {
        let host = self.host();
        // SAFETY: everything the rejection points to lives for the call.
        status(unsafe { (host.reject)(host.context, rejection) }, "a dead letter could not be kept")
    }

    /// Sinks: keeps what the other side answered for a piece of the delivery,
    /// durably. It comes back in `delivery.answered`, should the delivery be made
    /// again, and is gone once it is settled.
    pub fn receipt(&self, part: &serde_json::Value) -> Result<()> {
        let host = self.host();
        let part = part.to_string();
        // SAFETY: the text lives for the call.
        status(unsafe { (host.receipt)(host.context, Text::new(&part)) }, "a receipt could not be kept")
    }

    /// Keeps a value for this stage, in the place of the one before, durably and
    /// readable to the engine's user alone: what would be costly to get again, such
    /// as a login. `null` forgets it.
    pub fn remember(&self, value: &serde_json::Value) -> Result<()> {
        let host = self.host();
        let value = value.to_string();
        // SAFETY: the text lives for the call.
        status(unsafe { (host.remember)(host.context, Text::new(&value)) }, "a value could not be kept")
    }

    /// What this stage had kept with [`Context::remember`] when it was opened; `null`
    /// where there is none: on another machine, or where it was forgotten.
    pub fn remembered(&self) -> &serde_json::Value {
        self.remembered.as_ref().unwrap_or(&serde_json::Value::Null)
    }

    /// Whether what is kept with [`Context::remember`] comes back. It does not in a check or a preview.
    pub fn remembers(&self) -> bool {
        self.remembered.is_some()
    }

    /// Push sources: hands over what was received. Returns the place to pass to
    /// [`Context::durable`]. Blocks while the spool is full.
    pub fn append(&self, connection: u64, peer: &str, arrival: Arrival<'_>) -> Result<u64> {
        let host = self.host();
        let (state, data, records) = match arrival {
            Arrival::Complete { data, records } => (ffi::record_state::COMPLETE, data, records),
            Arrival::Partial(data) => (ffi::record_state::PARTIAL, data, 1),
            Arrival::Oversize(data) => (ffi::record_state::OVERSIZE, data, 1),
        };
        let record = Record {
            size: size_of::<Record>() as u32,
            state,
            connection,
            records,
            peer: Text::new(peer),
            data: Text { data: data.as_ptr(), length: data.len() },
        };
        let mut sequence = 0;
        // SAFETY: everything the record points to lives for the call.
        let taken = unsafe { (host.append)(host.context, &raw const record, &raw mut sequence) };
        status(taken, "what was received could not be stored")?;
        Ok(sequence)
    }

    /// Push sources: returns when everything up to `sequence` is on disk, which
    /// is when a peer that can send again may be told so.
    pub fn durable(&self, sequence: u64) -> Result<()> {
        let host = self.host();
        // SAFETY: the host's own context.
        status(unsafe { (host.durable)(host.context, sequence) }, "what was received could not be stored")
    }
}

fn status(status: ffi::Status, message: &str) -> Result<()> {
    match status {
        ffi::OK => Ok(()),
        status => match ErrorKind::from_status(status) {
            ErrorKind::Cancelled => Err(Error::cancelled()),
            kind => Err(Error::new(kind, message).hint("the engine's log says why")),
        },
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("pipeline", &self.pipeline).field("stage", &self.stage).finish_non_exhaustive()
    }
}
