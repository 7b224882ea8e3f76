//! SQLite: a source that reads a table or a query, and a sink that keeps the
//! delivery's key in the same transaction as the rows.
//!
//! - `database`: opening files, what SQLite's errors mean, names in SQL
//! - `kind`: declared types of columns, and values to Arrow
//! - `source`, with `plan` for what a run reads and `watch` for what takes too long
//! - `sink`, with `bind` for what is written, `table` for where, `commits` for the keys and `replace` for the mode

mod bind;
mod commits;
mod database;
mod kind;
mod plan;
mod replace;
mod sink;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use sink::SqliteSink;
use source::SqliteSource;

engine_sdk::module!("sqlite": source "sqlite" => SqliteSource, sink "sqlite" => SqliteSink);
