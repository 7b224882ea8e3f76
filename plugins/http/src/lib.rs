//! HTTP APIs: a sink that sends rows to them, as JSON, or files, and a source that asks them.
//!
//! Both have one client (`client`), its logins (`login`, `aws`, and `pledge`, which
//! puts them into requests), and one place in which
//! it is decided what an answer means (`answer`, with the pipeline's own `rules`).
//!
//! - The sink builds requests (`body`, `template`) and gives them to a thread that sends several
//!   at a time (`sender`, `tally`), or sends files (`upload`); which of them need not be sent again when a delivery is
//!   repeated is in `ledger`.
//! - The source (`questions`) asks (`asker`) for one page after the other (`paging`), and passes on
//!   what stands at the place of the records (`records`). `leadpier` is the same with
//!   the settings of one API, and makes rows of what it answers.

mod answer;
mod asker;
mod aws;
mod body;
mod client;
mod leadpier;
mod ledger;
mod login;
mod paging;
mod pledge;
mod questions;
mod records;
mod rules;
mod sender;
mod sink;
mod source;
mod tally;
mod template;
#[cfg(test)]
mod tests;
mod upload;

use leadpier::LeadPier;
use sink::HttpSink;
use source::HttpSource;

engine_sdk::module!("http": source "http" => HttpSource, source "leadpier" => LeadPier, sink "http" => HttpSink);
