//! `schemas/plugin.h`, struct by struct. The rules of every call stand there.

use std::ffi::c_void;

pub use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
pub use arrow_array::ffi_stream::FFI_ArrowArrayStream;

/// `EngineStatus`: 0, or the number of an [`crate::ErrorKind`].
pub type Status = i32;

/// The call did what it should.
pub const OK: Status = 0;

/// `ENGINE_LOG_…`
pub mod log_level {
    /// Something failed.
    pub const ERROR: i32 = 1;
    /// Something a person should look at.
    pub const WARN: i32 = 2;
    /// What happened, once a unit of work.
    pub const INFO: i32 = 3;
    /// What helps an author.
    pub const DEBUG: i32 = 4;
    /// Everything.
    pub const TRACE: i32 = 5;
}

/// `ENGINE_RECORD_…`
pub mod record_state {
    /// Whole records.
    pub const COMPLETE: i32 = 0;
    /// The peer went away in the middle of a record.
    pub const PARTIAL: i32 = 1;
    /// Longer than the cap; only the beginning is there.
    pub const OVERSIZE: i32 = 2;
}

/// Directions of `apply`.
pub mod direction {
    /// Transforms: rows to rows.
    pub const APPLY: i32 = 0;
    /// Formats: files to rows.
    pub const DECODE: i32 = 1;
    /// Formats: rows to files.
    pub const ENCODE: i32 = 2;
    /// Formats: one file to the places at which it can be cut.
    pub const CUT: i32 = 3;
}

/// `EngineText`: borrowed UTF-8.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// May be null when `length` is 0.
    pub data: *const u8,
    /// In bytes.
    pub length: usize,
}

// SAFETY: a `Text` is a borrowed, immutable pair; who makes one promises that
// the text outlives the call (or the process, in a static table).
unsafe impl Send for Text {}
// SAFETY: as above; nothing is ever written through it.
unsafe impl Sync for Text {}

impl Text {
    /// Lends a text. The caller keeps it alive for the call.
    pub const fn new(text: &str) -> Self {
        Self { data: text.as_ptr(), length: text.len() }
    }

    /// The bytes behind it.
    ///
    /// # Safety
    /// `data` must point at `length` readable bytes that live as long as `'a`.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: the caller promises that the pair is a readable slice.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }

    /// The text behind it; what is not UTF-8 is replaced, never refused,
    /// because messages must always get through.
    ///
    /// # Safety
    /// As for [`Text::bytes`].
    pub unsafe fn read(self) -> String {
        // SAFETY: passed on to the caller.
        String::from_utf8_lossy(unsafe { self.bytes() }).into_owned()
    }
}

/// `EngineBytes`: borrowed bytes. The same pair as [`Text`], without the promise of UTF-8.
pub type Bytes = Text;

/// `EngineReply`: where a text goes that a call answers with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Reply {
    /// Handed back to `put`.
    pub context: *mut c_void,
    /// Copies a piece of the answer.
    pub put: unsafe extern "C" fn(context: *mut c_void, text: Text),
}

impl Reply {
    /// A reply that collects into `into`.
    pub fn collect(into: &mut Vec<u8>) -> Self {
        unsafe extern "C" fn put(context: *mut c_void, text: Text) {
            // SAFETY: `context` is the vector that `collect` was given; the
            // caller of the component keeps it alive and unshared meanwhile,
            // and `text` is readable for the call.
            unsafe { (*context.cast::<Vec<u8>>()).extend_from_slice(text.bytes()) }
        }
        Self { context: std::ptr::from_mut(into).cast(), put }
    }

    /// Answers with a text.
    ///
    /// # Safety
    /// The reply must be one that is still being waited for.
    pub unsafe fn send(self, text: &str) {
        // SAFETY: `text` lives until `put` returns.
        unsafe { (self.put)(self.context, Text::new(text)) }
    }
}

/// `EngineInstance`: the module's own.
#[repr(C)]
pub struct Instance {
    _opaque: [u8; 0],
}

/// `EngineRejection`
#[repr(C)]
pub struct Rejection {
    /// Of this struct.
    pub size: u32,
    /// What is wrong.
    pub reason: Text,
    /// A short stable word to group by.
    pub code: Text,
    /// Decoders: the file or peer.
    pub name: Text,
    /// Decoders: the bytes of the record.
    pub data: Bytes,
    /// Everything else: the refused rows, borrowed.
    pub rows: *const FFI_ArrowArray,
    /// Their columns, borrowed.
    pub schema: *const FFI_ArrowSchema,
}

/// `EngineRecord`
#[repr(C)]
pub struct Record {
    /// Of this struct.
    pub size: u32,
    /// One of [`record_state`].
    pub state: i32,
    /// Unique within one `listen`.
    pub connection: u64,
    /// How many records `data` holds.
    pub records: u32,
    /// Who sent it.
    pub peer: Text,
    /// Whole records with their ends.
    pub data: Bytes,
}

/// `EngineHost`
#[repr(C)]
pub struct Host {
    /// Of this struct.
    pub size: u32,
    /// Handed back to every function.
    pub context: *mut c_void,
    /// Writes to the engine's log.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: i32, message: Text),
    /// 1 once the work should stop soon.
    pub cancelled: unsafe extern "C" fn(context: *mut c_void) -> i32,
    /// Milliseconds left; -1: no limit.
    pub deadline: unsafe extern "C" fn(context: *mut c_void) -> i64,
    /// Adds records taken in and bytes moved.
    pub progress: unsafe extern "C" fn(context: *mut c_void, records: u64, bytes: u64),
    /// Adds rows left out on purpose.
    pub filtered: unsafe extern "C" fn(context: *mut c_void, rows: u64),
    /// Keeps a refused record.
    pub reject: unsafe extern "C" fn(context: *mut c_void, rejection: *const Rejection) -> Status,
    /// Adds a part to the delivery's receipt.
    pub receipt: unsafe extern "C" fn(context: *mut c_void, part: Text) -> Status,
    /// Keeps a value for the stage.
    pub remember: unsafe extern "C" fn(context: *mut c_void, value: Text) -> Status,
    /// Push sources: takes a record over.
    pub append: unsafe extern "C" fn(context: *mut c_void, record: *const Record, sequence: *mut u64) -> Status,
    /// Push sources: waits until it is on disk.
    pub durable: unsafe extern "C" fn(context: *mut c_void, sequence: u64) -> Status,
}

/// `describe`
pub type DescribeFn = unsafe extern "C" fn(reply: Reply) -> Status;
/// `open`
pub type OpenFn = unsafe extern "C" fn(host: *const Host, request: Text, instance: *mut *mut Instance) -> Status;
/// `check`, `scope`: a message out.
pub type CheckFn = unsafe extern "C" fn(instance: *mut Instance, reply: Reply) -> Status;
/// `plan`, `begin_run`, `begin_split`, `commit`, `acquire`: a message in, a message out.
pub type ExchangeFn = unsafe extern "C" fn(instance: *mut Instance, request: Text, reply: Reply) -> Status;
/// `read`
pub type ReadFn = unsafe extern "C" fn(instance: *mut Instance, split: Text, out: *mut FFI_ArrowArrayStream) -> Status;
/// `load`
pub type LoadFn = unsafe extern "C" fn(instance: *mut Instance, out: *mut FFI_ArrowArrayStream) -> Status;
/// `listen`
pub type ListenFn = unsafe extern "C" fn(instance: *mut Instance) -> Status;
/// `apply`
pub type ApplyFn = unsafe extern "C" fn(
    instance: *mut Instance,
    direction: i32,
    input: *mut FFI_ArrowArrayStream,
    output: *mut FFI_ArrowArrayStream,
) -> Status;
/// `abort`, `finish_run`, `store`, `release`, `delivered`: a message in.
pub type NotifyFn = unsafe extern "C" fn(instance: *mut Instance, request: Text) -> Status;
/// `write`
pub type WriteFn = unsafe extern "C" fn(
    instance: *mut Instance,
    delivery: Text,
    input: *mut FFI_ArrowArrayStream,
    reply: Reply,
) -> Status;
/// `last_error`
pub type LastErrorFn = unsafe extern "C" fn(instance: *mut Instance, reply: Reply);
/// `close`
pub type CloseFn = unsafe extern "C" fn(instance: *mut Instance);

/// `EngineComponent`. Pointers that a kind does not have are `None`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Component {
    /// Of this struct, as the module's maker knew it.
    pub size: u32,
    /// [`crate::ComponentKind::number`]
    pub kind: i32,
    /// As written in `use:`.
    pub name: Text,
    /// All kinds.
    pub describe: Option<DescribeFn>,
    /// All kinds.
    pub open: Option<OpenFn>,
    /// All kinds.
    pub check: Option<CheckFn>,
    /// Sources.
    pub plan: Option<ExchangeFn>,
    /// Sources.
    pub read: Option<ReadFn>,
    /// Push sources.
    pub listen: Option<ListenFn>,
    /// Transforms and formats.
    pub apply: Option<ApplyFn>,
    /// Sinks.
    pub begin_run: Option<ExchangeFn>,
    /// Sinks.
    pub begin_split: Option<ExchangeFn>,
    /// Sinks.
    pub write: Option<WriteFn>,
    /// Sinks.
    pub commit: Option<ExchangeFn>,
    /// Sinks.
    pub abort: Option<NotifyFn>,
    /// Sinks.
    pub finish_run: Option<NotifyFn>,
    /// All kinds.
    pub last_error: Option<LastErrorFn>,
    /// All kinds.
    pub close: Option<CloseFn>,
    /// States.
    pub acquire: Option<ExchangeFn>,
    /// States.
    pub load: Option<LoadFn>,
    /// States.
    pub store: Option<NotifyFn>,
    /// States.
    pub release: Option<NotifyFn>,
    /// Transforms that narrow their scope.
    pub scope: Option<CheckFn>,
    /// Sources whose plans ask for it.
    pub delivered: Option<NotifyFn>,
}

/// `EngineModule`
#[repr(C)]
pub struct Module {
    /// Of this struct.
    pub size: u32,
    /// [`crate::ABI_VERSION`] of the header that the module was built with.
    pub abi_version: u32,
    /// The module's name.
    pub name: Text,
    /// The module's own version.
    pub version: Text,
    /// How many components follow.
    pub component_count: usize,
    /// Pointers to the components.
    pub components: *const *const Component,
}

// SAFETY: a module's table is static and never written.
unsafe impl Sync for Module {}

/// `engine_module_v1`
pub type ModuleFn = unsafe extern "C" fn() -> *const Module;
