//! PostgreSQL: a source that reads with `COPY … TO STDOUT`, and a sink that
//! loads with `COPY … FROM STDIN` and keeps the delivery's key in the same
//! transaction as the rows.
//!
//! - `connection`: addresses, TLS, timeouts, cancellation
//! - `catalog`: what the server knows about tables and their columns
//! - `engine_postgres_copy`, a crate of its own in `copy/`: the binary COPY format, straight from
//!   and to Arrow
//! - `source`, and its parts: `selection` (what is read, as SQL), `plan` (cursor, splits,
//!   snapshot), `stream` (rows)
//! - the sink's parts: `sink` (deliveries), `target` (the table
//!   and how the stream's columns map to it), `prepare` (values in the forms that it takes, `decimal`
//!   where these are long decimals), `load` (rows), `commits` (keys),
//!   `replace` (a window's rows in the place of all others)
//! - `state`: what the engine remembers

mod catalog;
mod commits;
mod connection;
mod decimal;
mod error;
mod load;
mod name;
mod nodelay;
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

use sink::PostgresSink;
use source::PostgresSource;
use state::PostgresState;

engine_sdk::module!("postgres":
    source "postgres" => PostgresSource,
    sink "postgres" => PostgresSink,
    state "postgres" => PostgresState,
);
