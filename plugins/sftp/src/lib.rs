//! Files of SFTP servers: a source that reads them piece by piece, and a sink that makes them appear whole or not at
//! all.
//!
//! From below: `wire` writes and reads packets, `session` is the SSH connection (`host_key` and `login` say who is at
//! either end), `sftp` puts requests and answers together, `files` and `transfer` are what is done with them, and
//! `remote` connects when that is needed.

mod algorithms;
mod away;
mod fault;
mod files;
mod find;
mod host_key;
mod login;
mod part;
mod path;
mod remote;
mod session;
mod settings;
mod sftp;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod transfer;
mod wire;

pub use sink::SftpSink;
pub use source::SftpSource;

engine_sdk::module!("sftp": source "sftp" => SftpSource, sink "sftp" => SftpSink);
