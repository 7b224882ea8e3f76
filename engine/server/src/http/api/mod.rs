//! The same data for every pipeline, as programs get it.

pub(crate) mod connections;
pub(crate) mod deliveries;
pub(crate) mod letters;
pub(crate) mod pipelines;
pub(crate) mod runs;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Problem;

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Always `success`.
    #[schema(example = "success")]
    pub(crate) status: &'static str,
    /// What, for a person.
    pub(crate) message: String,
}

impl Done {
    pub(crate) fn said(message: impl Into<String>) -> Json<Self> {
        Json(Self { status: "success", message: message.into() })
    }
}

/// How many are listed where nobody says.
const fn twenty() -> u16 {
    20
}

fn checked(limit: u16) -> Result<usize, Problem> {
    match limit {
        1..=1000 => Ok(limit.into()),
        _ => Err(Problem::bad_request("`limit` is a number from 1 to 1000")),
    }
}

/// Does what takes longer than an answer may.
fn in_background(work: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let thread = std::thread::Builder::new().name("asked".into()).spawn(work);
    thread.map(|_| ()).map_err(|error| engine_abi::Error::from(error).context("a thread cannot be started").into())
}
