//! SQL Server: a source that reads by statements with their values beside them, and a sink that writes by bulk loads
//! and keeps the delivery's key in the same transaction as the rows.
//!
//! - `connection`: addresses, what every session has set, timeouts, cancellation; `transport`: the first exchange, TLS
//! - `catalog`: what the server knows about tables, queries and their columns; `questions`: how it is asked
//! - `name`: names as SQL, values as arguments
//! - `kind`: types of columns; `decode`: their values as Arrow
//! - `source`, and its parts: `selection` (what is read, as SQL), `plan` (cursor, splits,
//!   snapshot), `stream` (rows)
//! - the sink's parts: `sink` (deliveries), `target` (the table and how the stream's columns map to it),
//!   `create` (the table that is made for a stream),
//!   `prepare` (values in the forms that it takes), `encode` (rows as the driver's values), `load` (rows), `commits`
//!   (keys), `replace` (a window's rows in the place of all others), `texts` (what text a column of another type takes)

mod catalog;
mod commits;
mod connection;
mod create;
mod decode;
mod encode;
mod error;
mod kind;
mod load;
mod name;
mod plan;
mod prepare;
mod questions;
mod replace;
mod selection;
mod sink;
mod source;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod texts;
mod transport;

use sink::SqlServerSink;
use source::SqlServerSource;

engine_sdk::module!("sqlserver":
    source "sqlserver" => SqlServerSource,
    sink "sqlserver" => SqlServerSink,
);
