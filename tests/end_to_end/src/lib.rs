//! What tests of the whole program need: a place of its own for each, the engine
//! as a process, servers that can be stopped, an exchange that calls.
//!
//! The program under test is the one that `make build` made, with the modules
//! beside it. One that is missing or older than its sources fails the test:
//! a suite that passes on yesterday's program has shown nothing.

mod build;
mod engine;
mod exchange;
mod mariadb;
mod mongodb;
mod place;
mod post;
mod postgres;
mod report;
mod services;
mod tables;
mod tmpfs;
mod wait;
mod web;

pub use self::mongodb::MongoDatabase;
pub use build::{example_module, faulty_module, module, program, workspace};
pub use engine::{Ended, Engine};
pub use exchange::{Caller, line, lines};
pub use mariadb::MariaDatabase;
pub use place::Place;
pub use post::Post;
pub use postgres::{Database, Locked, Server};
pub use report::{Report, SinkReport};
pub use services::{environment, sftp_host_key};
pub use tables::{csv_rows, sqlite_count, sqlite_rows};
pub use tmpfs::Tmpfs;
pub use wait::{LIMIT, until, until_some};
pub use web::{Answered, Web};
