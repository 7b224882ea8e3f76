//! Sends rows by mail, one message for each row or one for all of a delivery, and files as attachments.
//!
//! The settings are in `sink`; `letter` makes a message of rows or files, `server` talks to
//! the mail server and says what its answers mean; who has got which message, so
//! that nobody gets it again when a delivery is repeated, is in `ledger`.

mod attachment;
mod ledger;
mod letter;
mod server;
mod sink;
mod table;
#[cfg(test)]
mod tests;

use sink::SmtpSink;

engine_sdk::module!("smtp": sink "smtp" => SmtpSink);
