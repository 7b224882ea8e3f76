//! All that the author of a native connector needs.
//!
//! A connector is one typed configuration, one or two trait implementations and
//! one line that exports them:
//!
//! ```
//! use arrow_array::BooleanArray;
//! use arrow_select::filter::filter_record_batch;
//! use engine_sdk::prelude::*;
//!
//! /// Leaves out rows without a value in `column`.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// The column to look at.
//!     column: String,
//! }
//!
//! struct DropNulls {
//!     config: Config,
//!     cx: Context,
//! }
//!
//! impl Component for DropNulls {
//!     type Config = Config;
//!     const SUMMARY: &'static str = "Leaves out rows without a value";
//!
//!     fn examples() -> Vec<Example> {
//!         vec![example("rows without a number", json!({"column": "number"}))]
//!     }
//!
//!     fn open(config: Config, cx: Context) -> Result<Self> {
//!         Ok(Self { config, cx })
//!     }
//! }
//!
//! impl Transform for DropNulls {
//!     fn apply(&mut self, input: Batches) -> Result<Batches> {
//!         let schema = input.schema();
//!         let column = engine_sdk::find_column(&schema, &self.config.column)?;
//!         let cx = self.cx.clone();
//!         let output = input.map(move |batch| {
//!             cx.check_cancelled()?;
//!             let batch = batch?;
//!             let Some(nulls) = batch.column(column).logical_nulls() else { return Ok(batch) };
//!             // Rows in = rows out + filtered: the engine adds up.
//!             cx.filtered(nulls.null_count() as u64);
//!             Ok(filter_record_batch(&batch, &BooleanArray::new(nulls.into_inner(), None))?)
//!         });
//!         Ok(Batches::new(schema, output))
//!     }
//! }
//!
//! engine_sdk::module!("drop_nulls": transform "drop_nulls" => DropNulls);
//!
//! # fn main() -> Result<()> {
//! // A test of its author's: `Host` stands for the engine.
//! let host = engine_sdk::testing::Host::new();
//! let mut drop_nulls: DropNulls = host.open(json!({"column": "number"}))?;
//! let numbers = arrow_array::create_array!(Int64, [Some(1), None, Some(3)]) as _;
//! let input = Batches::once(RecordBatch::try_from_iter([("number", numbers)])?);
//! let output = drop_nulls.apply(input)?.collect::<Result<Vec<_>>>()?;
//! assert_eq!(output[0].column(0), &(arrow_array::create_array!(Int64, [1, 3]) as _));
//! assert_eq!(host.filtered(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! The configuration struct is the JSON Schema, the reference page and the
//! check of what a user wrote, all at once. The contract of each trait stands
//! in its doc comment. [`testing`] runs a component without an engine.

#[cfg(feature = "columns")]
pub mod columns;
mod context;
#[cfg(feature = "database")]
pub mod database;
#[doc(hidden)]
pub mod export;
mod files;
mod inbox;
#[cfg(feature = "listen")]
pub mod listen;
mod lookup;
mod manifest;
pub mod marks;
#[cfg(feature = "record-template")]
pub mod record_template;
mod rows;
#[cfg(feature = "async")]
mod runtime;
mod schema;
#[cfg(feature = "spool")]
pub mod spool;
pub mod state;
pub mod testing;
mod traits;
pub mod types;

pub use context::{Arrival, Context, Level};
pub use engine_abi::{
    Batches, ByteRange, Cut, Cuts, Error, ErrorKind, Example, Promise, Result, Scope, Shape, Takes, Unit,
};
pub use engine_abi::{hexadecimal, message};
pub use files::{file_name, file_piece, file_pieces, files_schema, media_type, packed_name, some_published};
pub use inbox::{After, Newest, leave_out_undelivered, names_for_moving};
pub use lookup::{chosen_columns, find_column, find_text_column, named_once};
#[cfg(feature = "record-template")]
pub use minijinja;
pub use rows::{Verdict, map_text};
#[cfg(feature = "async")]
pub use runtime::Runtime;
pub use traits::{Component, Decoder, Documents, Encoder, PushSource, Sink, Source, StateStore, Transform, example};

/// Everything a connector's file usually names.
pub mod prelude {
    pub use crate::types::{ByteSize, Duration, Secret, Template};
    pub use crate::{
        Arrival, Batches, ByteRange, Component, Context, Cut, Cuts, Decoder, Encoder, Error, ErrorKind, Example, Level,
        Promise, PushSource, Result, Scope, Shape, Sink, Source, StateStore, Takes, Transform, Unit, Verdict, example,
        map_text,
    };
    pub use arrow_array::{Array, RecordBatch};
    pub use arrow_schema::{DataType, Field, Schema, SchemaRef};
    pub use engine_abi::message::{
        Alert, Begun, CheckReport, Delivered, Delivery, GivenUp, Plan, PlanRequest, Receipt, Sealed, SinkRun, Split,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};
}

/// `1 column`, `2 columns`: for messages.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The error of an answer that was waited for as long as a source's setting `timeout` says.
pub fn too_late(limit: std::time::Duration) -> Error {
    Error::unavailable(format!("there was no answer within {limit:?}"))
        .hint("make the query cheaper, with an index or a narrower window, or raise `timeout`")
}
