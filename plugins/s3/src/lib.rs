//! Objects of S3, and of stores that speak its protocol: a source that reads them in ranges, and a sink that
//! makes them appear whole or not at all.
//!
//! Both ask a `store`: operations, each one request (`ask`), signed (`sign`) with the keys that `login` finds, sent
//! by `client` on a thread of the instance's own (`background`), its XML read by `xml`, and what is no success
//! turned into errors by `fault`. Keys and patterns of keys are in `key`.
//!
//! - The sink uploads in parts while its input comes (`upload`), and completes the uploads in `commit`; which
//!   uploads are open is in `ledger`, what `commit` must look at in `publish`.
//! - The source lists, reads ahead (`reading`), and puts away what every sink has (`away`).

mod ask;
mod away;
mod background;
mod checksum;
mod client;
mod config;
mod fault;
mod key;
mod ledger;
mod login;
mod publish;
mod reading;
mod settings;
mod sign;
mod sink;
mod source;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;
mod xml;

pub use sink::S3Sink;
pub use source::S3Source;

engine_sdk::module!("s3": source "s3" => S3Source, sink "s3" => S3Sink);
