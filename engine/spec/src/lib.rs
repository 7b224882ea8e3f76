//! Pipeline files: YAML text in, a typed pipeline and diagnostics out.
//!
//! Nothing here touches the system. Files come in as bytes, components as
//! descriptions in a [`Catalogue`], the environment as an [`Environment`]. The
//! way of a pipeline:
//!
//! 1. [`parse`] reads the YAML within fixed budgets; every value knows its place.
//! 2. [`check`] finds everything that is wrong, all at once, and gives the typed
//!    [`Pipeline`] when nothing is. References to the environment stay as written.
//! 3. [`resolve()`] puts in what they refer to. From here on secrets are in memory;
//!    [`secrets`] lists them, so that logs can be kept clean.
//! 4. [`definition()`] and [`from_definition`] carry a pipeline through the state
//!    store without its secrets.
//!
//! [`pipeline_schema`] and [`connections_schema`] say the same to editors.
//!
//! No diagnostic, no `Debug` and no stored definition shows the value of a secret.

mod alarms;
mod catalogue;
mod check;
mod config_check;
mod connections;
mod definition;
mod diagnostic;
mod dotenv;
mod editor_schema;
mod fields;
mod fit;
mod grants;
mod names;
mod node;
mod params;
mod pipeline;
mod reader;
mod references;
mod render;
mod resolve;
mod sandbox;
mod sandbox_schema;
mod scalar;
mod schedule;
mod schema_errors;
mod schema_walk;
mod source;
mod state_file;
mod template;
mod units;
mod wall_clock;
mod yaml;

pub use alarms::Alarms;
pub use catalogue::Catalogue;
pub use check::{Parsed, check, parse, parse_made};
pub use connections::{Connection, Connections, check_connections, parse_connections, resolve_connection};
pub use definition::{definition, from_definition};
pub use diagnostic::{Diagnostic, Diagnostics, Note, Severity};
pub use dotenv::parse_dotenv;
pub use editor_schema::{connections_schema, pipeline_schema, state_schema};
pub use grants::ResolvedSandbox;
pub use names::nearest;
pub use node::{Config, Entry, Node, NodeKind, Place};
pub use params::{OF_EVERY_RUN, Param, ParamKind, Params, TimeRange};
pub use pipeline::{
    Burst, ConnectionUse, Event, FormatUse, Growth, Notice, OnEmpty, OnExhausted, OnSchemaChange, Pipeline, Position,
    Retry, SpoolOptions, Stage, TestCase, TestInput, Unfinished,
};
pub use references::{Environment, resolve_text};
pub use render::Style;
pub use resolve::{ResolvedConfig, ResolvedFormat, ResolvedNotice, ResolvedPipeline, ResolvedStage, resolve, secrets};
pub use sandbox::{Grant, Grants, Isolation, LimitWords, PermissionWords, SandboxWords};
pub use schedule::{Missed, Overlap, Schedule, Times};
pub use source::{Source, Span};
pub use state_file::{StateUse, check_state, parse_state, resolve_state};
pub use template::{TemplateVariables, literal, render_burst, render_template};
pub use units::{format_bytes, format_duration, parse_bytes, parse_duration};
pub use wall_clock::WallClock;
pub use yaml::{MAX_ALIAS_BYTES, MAX_BYTES, MAX_DEPTH, MAX_NODES};
