//! What tests send from and send to: a telephone exchange, which writes the call records that an Avaya
//! PBX would write, an API ([`http`]), and a line to a server that can be cut ([`mod@line`]).
//!
//! Everything here is deterministic. [`log`] makes the quickstart's log file, with the irregularities
//! of real exchanges; [`sequence`] makes numbered calls whose arrival can be checked one by one.

pub mod http;
pub mod line;
pub mod log;
pub mod random;
pub mod record;
pub mod sequence;
