//! SQLite: a source that reads a table or a query, and a sink that keeps the
//! delivery's key in the same transaction as the rows.
//!
//! - `database`: opening files, what SQLite's errors mean, names in SQL
//! - `kind`: declared types of columns, and values to Arrow
//! - `source`, with `plan` for what a run reads; `sink`, with `bind` for what is written and `table` for where

mod bind;
mod database;
mod kind;
mod plan;
mod sink;
mod source;
mod table;
#[cfg(test)]
mod tests;

use sink::SqliteSink;
use source::SqliteSource;

engine_sdk::module!("sqlite": source "sqlite" => SqliteSource, sink "sqlite" => SqliteSink);
