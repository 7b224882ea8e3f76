//! ADBC: a source and a sink for every database that has a driver with the C interface of Arrow
//! Database Connectivity. The driver is a shared library that the user names; rows cross its
//! border as Arrow, and nothing here knows one database from another beyond what the driver says.
//!
//! - `driver`, with `options`: loading drivers, connections
//! - `error`: what a driver's errors mean, and what their messages must not show
//! - `name`, `value`, `sql`: names, values and whole statements in the form that a driver takes
//! - `worker`: calls of a driver that can be given up
//! - `source`, with `plan` for what a run reads
//! - `sink`, with `ingest` for how rows are written, `commits` for the keys of deliveries and
//!   `replace` for windows that take the place of what is there

mod commits;
mod driver;
mod error;
mod ingest;
mod name;
mod options;
mod plan;
mod replace;
mod sink;
mod source;
mod sql;
#[cfg(test)]
mod tests;
mod value;
mod worker;

use sink::AdbcSink;
use source::AdbcSource;

engine_sdk::module!("adbc": source "adbc" => AdbcSource, sink "adbc" => AdbcSink);
