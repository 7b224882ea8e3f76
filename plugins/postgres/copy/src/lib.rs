//! PostgreSQL's binary COPY, straight from and to Arrow.
//!
//! - [`Kind`]: which of PostgreSQL's types cross in binary, and as which Arrow types
//! - [`Decoder`]: what a `COPY … TO STDOUT` sends, as batches
//! - [`Encoder`]: arrays as what a `COPY … FROM STDIN` takes, each in its [`Form`]
//!
//! No connection, no SQL and nothing of the engine is in here: bytes on one side, arrays on the other.

mod column;
mod decode;
mod encode;
mod kind;
mod numeric;
mod show;

pub use decode::{Decoded, Decoder, Malformed, Refused};
pub use encode::{Encoder, Form, HEADER, TRAILER};
pub use kind::{EPOCH_DAYS, EPOCH_MICROSECONDS, Kind, MAX_PRECISION, SHORT_PRECISION};
