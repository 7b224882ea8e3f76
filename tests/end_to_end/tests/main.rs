//! The engine as its users have it: one test for each thing that they can do,
//! and one for each thing that goes wrong around them.

mod backfill;
mod call_records;
mod commands;
mod compression;
mod conformance;
mod dead_letters;
mod everyday;
mod exchange;
mod full_disk;
mod incidents;
mod isolation;
mod leads;
mod locks;
mod memory;
mod messages;
mod modules;
mod notices;
mod outages;
mod parallel;
mod quickstart;
mod quoting;
mod ranges;
mod remote_state;
mod resume;
mod sandbox;
mod schema_changes;
mod secrets;
mod select;
mod sql;
mod stopping;
mod uploads;
mod webhooks;
mod windows;
