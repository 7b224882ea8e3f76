//! The host table of `plugin.h` in front of the imports of `plugin.wit`, so that
//! a component sees the same [`Context`](crate::Context) in both worlds.

use std::ffi::c_void;
use std::sync::Once;

use engine_abi::ffi::{self, Host, Record, Rejection, Status, Text, log_level, record_state};
use engine_abi::{Error, Result, ipc, stream};

use super::bindings::engine::plugin::{host, spool, types};

/// The one host of a guest.
pub(super) fn table() -> *const Host {
    struct Shared(Host);
    // SAFETY: the table holds no data; its context is NULL.
    unsafe impl Sync for Shared {}
    static TABLE: Shared = Shared(Host {
        size: size_of::<Host>() as u32,
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
    });
    &raw const TABLE.0
}

/// A guest's panic is a trap, which has no text: the log gets it just before,
/// and the engine quotes it.
pub(super) fn keep_panic_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
            let what = info.payload_as_str().unwrap_or("no message");
            host::log(host::Level::Error, &format!("the component panicked{place}: {what}"));
        }));
    });
}

fn status(answer: Result<(), types::Error>) -> Status {
    own(answer.map_err(Error::from))
}

fn own(answer: Result<()>) -> Status {
    answer.map_or_else(|error| error.kind.status(), |()| ffi::OK)
}

unsafe extern "C" fn log(_: *mut c_void, level: i32, message: Text) {
    let level = match level {
        log_level::ERROR => host::Level::Error,
        log_level::WARN => host::Level::Warn,
        log_level::INFO => host::Level::Info,
        log_level::DEBUG => host::Level::Debug,
        _ => host::Level::Trace,
    };
    // SAFETY: the text lives for the call.
    host::log(level, &unsafe { message.read() });
}

unsafe extern "C" fn cancelled(_: *mut c_void) -> i32 {
    i32::from(host::cancelled())
}

unsafe extern "C" fn deadline(_: *mut c_void) -> i64 {
    host::deadline().map_or(-1, |left| i64::try_from(left).unwrap_or(i64::MAX))
}

unsafe extern "C" fn progress(_: *mut c_void, records: u64, bytes: u64) {
    host::progress(records, bytes);
}

unsafe extern "C" fn filtered(_: *mut c_void, rows: u64) {
    host::filtered(rows);
}

unsafe extern "C" fn reject(_: *mut c_void, rejection: *const Rejection) -> Status {
    // SAFETY: the rejection and all behind it live for the call.
    unsafe {
        let rejection = &*rejection;
        let (code, reason) = (rejection.code.read(), rejection.reason.read());
        let (Some(rows), Some(schema)) = (rejection.rows.as_ref(), rejection.schema.as_ref()) else {
            return status(host::reject_record(&code, &reason, &rejection.name.read(), rejection.data.bytes()));
        };
        let rows = stream::copy_rows(rows, schema).map_err(Error::from).and_then(|rows| ipc::whole(&rows));
        match rows {
            Ok(rows) => status(host::reject_rows(&code, &reason, &rows)),
            Err(error) => own(Err(error)),
        }
    }
}

unsafe extern "C" fn receipt(_: *mut c_void, part: Text) -> Status {
    // SAFETY: the text lives for the call.
    status(host::receipt(&unsafe { part.read() }))
}

unsafe extern "C" fn remember(_: *mut c_void, value: Text) -> Status {
    // SAFETY: the text lives for the call.
    status(host::remember(&unsafe { value.read() }))
}

unsafe extern "C" fn append(_: *mut c_void, record: *const Record, sequence: *mut u64) -> Status {
    // SAFETY: the record and all behind it live for the call; `sequence` is NULL or a place for a number.
    unsafe {
        let record = &*record;
        let arrival = spool::Arrival {
            state: match record.state {
                record_state::PARTIAL => spool::RecordState::Partial,
                record_state::OVERSIZE => spool::RecordState::Oversize,
                _ => spool::RecordState::Complete,
            },
            connection: record.connection,
            records: record.records,
            peer: record.peer.read(),
            data: record.data.bytes().to_vec(),
        };
        status(spool::append(&arrival).map(|place| {
            if let Some(sequence) = sequence.as_mut() {
                *sequence = place;
            }
        }))
    }
}

unsafe extern "C" fn durable(_: *mut c_void, sequence: u64) -> Status {
    status(spool::durable(sequence))
}
