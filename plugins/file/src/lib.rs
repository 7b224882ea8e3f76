//! Files of this machine: a source that reads them piece by piece, and a sink
//! that makes them appear whole or not at all.

mod away;
mod disk;
mod planned;
mod sink;
mod source;
#[cfg(test)]
mod tests;

pub use sink::FileSink;
pub use source::FileSource;

engine_sdk::module!("file": source "file" => FileSource, sink "file" => FileSink);
