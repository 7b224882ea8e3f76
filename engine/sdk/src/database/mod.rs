//! What sources and sinks of databases share, so that the same words mean the
//! same in each: settings ([`Mode`], [`Create`], [`Cursor`], [`Parameters`]),
//! what a source reads ([`Extraction`]), positions and windows of a cursor
//! ([`Position`], [`Window`]), splits by a key ([`Cut`], [`Range`]), placeholders in
//! queries ([`Statement`]), names and near misses ([`TableName`], [`suggestion`]),
//! what a table takes of a batch ([`converted`], [`Misfits`]).
//!
//! With the feature `async` also what is built on a connection (`Server`): the rows
//! of a split (`Rows`), and sinks that keep a delivery's key in the transaction of
//! its rows (`TableSink`).
//!
//! Nothing here knows a server's SQL beyond how its texts, names and comments are
//! quoted ([`Quoting`]).

mod cursor;
mod extraction;
mod fit;
mod names;
#[cfg(feature = "async")]
mod rows;
mod scalar;
#[cfg(feature = "async")]
mod server;
mod settings;
mod splits;
mod statement;
#[cfg(feature = "async")]
mod table_sink;

pub use cursor::{Compared, Cursor, Growth, Position, Window};
pub use extraction::{Extraction, Selection};
pub use fit::{Misfits, Piece, converted, shown};
pub use names::{TableName, nearest, shortened, suggestion};
#[cfg(feature = "async")]
pub use rows::{Decoded, Home, Part, Refused, Rows, Session};
pub use scalar::Scalar;
#[cfg(feature = "async")]
pub use server::{Endpoint, Server};
pub use settings::{Create, Ddl, Mode, default_batch, default_connect_timeout};
pub use splits::{Cut, Range};
pub use statement::{Parameters, Quoting, Statement, WINDOW_END, WINDOW_START};
#[cfg(feature = "async")]
pub use table_sink::{Delivering, Loaded, TableSink};
