//! The service around runs: schedules, the queue, and what others see of it.
//!
//! # Invariants
//!
//! - What is decided is stored before it is done: a slot is decided on once, and a run that has begun is in the state.
//! - A pipeline does one thing at a time; of all runs so many at a time as the service is told.
//! - Nothing of one pipeline stops another, and nothing of any pipeline stops the service.
//! - Nothing here knows a connector, where pipelines come from, or the command line.

mod alarms;
mod asked;
mod clock;
mod due;
mod figures;
mod http;
mod left;
mod pipelines;
mod queue;
mod reports;
mod roster;
mod scheduler;
mod service;
mod tokens;
mod view;
mod web;
mod work;

pub use clock::{Clock, SetClock, SystemClock};
pub use due::{Due, MOST_MISSED, ON_TIME, SET_BACK, due};
pub use figures::{FAMILIES, Family, Kind, Sample};
pub use http::{Connections, Http, Listening, start};
pub use pipelines::{Begun, Entry, Group, Loader, Ready, Tally, Watcher};
pub use reports::{DeliveryLog, Execution, ExecutionStatus, LogStatus, ReportEntry, Reports, Which, Wish};
pub use service::{MOST_WAITING, Options, RESUME, Refusal, Service};
pub use tokens::{Role, Token, Tokens};
pub use view::{PipelineView, QueuedView, Status};
