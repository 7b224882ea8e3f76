//! Sends rows to an HTTP API, as JSON, one request for one or several rows.
//!
//! The sink builds requests (`body`) and gives them to a thread that sends several
//! at a time (`sender`) with one client (`client`). What an answer means is
//! decided in one place (`answer`); which requests need not be sent again when a
//! delivery is repeated is in `ledger`.

mod answer;
mod body;
mod client;
mod ledger;
mod rules;
mod sender;
mod sink;
#[cfg(test)]
mod tests;

use sink::HttpSink;

engine_sdk::module!("http": sink "http" => HttpSink);
