//! A telephone exchange for tests: it writes the call records that an Avaya PBX would write.
//!
//! Everything here is deterministic. [`log`] makes the quickstart's log file, with the irregularities
//! of real exchanges; [`sequence`] makes numbered calls whose arrival can be checked one by one.

pub mod log;
pub mod random;
pub mod record;
pub mod sequence;
