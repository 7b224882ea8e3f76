//! MySQL and MariaDB: a source that reads by prepared statements, and a sink that writes by INSERTs of many
//! rows and keeps the delivery's key in the same transaction as the rows.
//!
//! - `connection`: addresses, TLS, what every session has set, timeouts, cancellation
//! - `catalog`: what the server knows about tables and their columns
//! - `name`: names and values as SQL
//! - `kind`: types of columns; `decode`: their values as Arrow
//! - `source`, and its parts: `selection` (what is read, as SQL), `plan` (cursor, splits,
//!   snapshot), `stream` (rows)
//! - the sink's parts: `sink` (deliveries), `target` (the table and how the stream's columns map to it),
//!   `prepare` (values in the forms that it takes), `encode` (rows as SQL), `load` (rows), `commits` (keys),
//!   `replace` (a window's rows in the place of all others), `texts` (what text a column of another type takes)
//! - `state`: what the engine remembers

mod catalog;
mod commits;
mod connection;
mod decode;
mod encode;
mod error;
mod kind;
mod load;
mod name;
mod plan;
mod prepare;
mod replace;
mod selection;
mod sink;
mod source;
mod state;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod texts;

use sink::MysqlSink;
use source::MysqlSource;
use state::MysqlState;

engine_sdk::module!("mysql":
    source "mysql" => MysqlSource,
    sink "mysql" => MysqlSink,
    state "mysql" => MysqlState,
);
