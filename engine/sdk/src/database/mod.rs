//! What sources and sinks of databases share, so that the same words mean the
//! same in each: settings ([`Mode`], [`Create`], [`Cursor`], [`Parameters`]),
//! what a source reads ([`Extraction`]), positions and windows of a cursor
//! ([`Position`], [`Window`]), splits by a key ([`Cut`], [`Range`]), placeholders in
//! queries ([`Statement`]), names and near misses ([`TableName`], [`suggestion`]).
//!
//! Nothing here talks to a server or knows one's SQL beyond how its texts,
//! names and comments are quoted ([`Quoting`]).

mod cursor;
mod extraction;
mod names;
mod scalar;
mod settings;
mod splits;
mod statement;

pub use cursor::{Compared, Cursor, Growth, Position, Window};
pub use extraction::{Extraction, Selection};
pub use names::{TableName, nearest, shortened, suggestion};
pub use scalar::Scalar;
pub use settings::{Create, Ddl, Mode, default_batch, default_connect_timeout};
pub use splits::{Cut, Range};
pub use statement::{Parameters, Quoting, Statement, WINDOW_END, WINDOW_START};
