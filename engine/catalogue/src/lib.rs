//! Reports that another service keeps in tables of a MySQL or MariaDB database: each becomes a pipeline in the engine's
//! own form, and what became of its executions is written back.
//!
//! # Invariants
//!
//! - A row that is wrong disables its report and nothing else.
//! - Rows are data. Nothing in one is read as a reference to the environment or a file, as a template but in the places
//!   that are templates, or as SQL but in the query; values are bound.
//! - Executions are written from what the state holds, under ids that stay the same however often they are written.
//!   What cannot be written now is written later, also by another process.
//! - Only [`make_tables`] makes anything in that database, and nothing changes or drops a table.

mod address;
mod database;
mod datasource;
mod delivery;
mod execution;
mod facts;
mod journal;
mod parameters;
mod placeholders;
mod query;
mod record;
mod report;
mod reports;
mod tables;
mod texts;
mod write;

pub use address::Address;
pub use database::Database;
pub use record::Recorder;
pub use report::{Report, ReportDelivery, Scheduled, is_report, reports};
pub use reports::Catalogued;
pub use tables::{make_tables, read};
