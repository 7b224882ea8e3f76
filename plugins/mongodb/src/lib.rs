//! MongoDB: a source that reads documents straight into columns, and a sink
//! that stages a delivery beside the collection before it moves it there.
//!
//! - `connection`: addresses, TLS, timeouts, cancellation
//! - `error`: what the server's codes mean
//! - `json`, `decimal`: BSON as Extended JSON, and its decimals
//! - the source, `source`, and its parts: `kind` (types of columns, named or found out), `query` (what
//!   is read, as commands), `plan` (cursor, splits, snapshot), `value` (what windows go by), `decode`
//!   (documents into batches) and `columns` (their builders), `rows` (a split on its way)
//! - the sink, `sink`, and its parts: `encode` (rows into documents), `stage` (documents beside the
//!   collection), `moving` (from there into it), `store` (what is kept beside it: stages, keys)
//! - the state, `state`, and its parts: `state_document` (its documents as BSON) and `operations` (what
//!   other programs read of it)

mod columns;
mod connection;
mod decimal;
mod decode;
mod encode;
mod error;
mod json;
mod kind;
mod moving;
mod operations;
mod plan;
mod query;
mod rows;
mod sink;
mod source;
mod stage;
mod state;
mod state_document;
mod store;
#[cfg(test)]
mod tests;
mod value;

use sink::MongoSink;
use source::MongoSource;
use state::MongoState;

engine_sdk::module!("mongodb": source "mongodb" => MongoSource, sink "mongodb" => MongoSink, state "mongodb" => MongoState);
