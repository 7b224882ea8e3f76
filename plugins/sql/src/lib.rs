//! SQL over the rows that pass: filters, expressions, joins with small files, groups, windows, sorts.
//!
//! The query is parsed once, when an instance is opened, and planned once a stream, when the columns
//! are known. A query that looks at one row at a time is worked on batch by batch by `rows`, any
//! other runs as a whole in `stream`, within bounded memory and disk.

mod checked;
mod config;
mod depth;
mod error;
mod feed;
mod function;
mod kept;
mod lookup;
mod output;
mod query;
mod rows;
mod scope;
mod session;
mod stream;
mod transform;
mod workspace;

#[cfg(test)]
mod tests;

use transform::Sql;

engine_sdk::module!("sql": transform "sql" => Sql);
