//! Runs: the latest ones, what is at work, what waits.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Done, checked, twenty};
use crate::http::Shared;
use crate::http::answer::{Answer, Asked, Named, Problem, blocking};
use crate::service::Refusal;
use crate::view::{QueuedView, RunView};

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunsQuery {
    /// Only of this pipeline.
    pipeline: Option<String>,
    /// How many, the newest.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default = "twenty")]
    limit: u16,
}

/// The latest runs, those at work included.
#[utoipa::path(get, path = "/api/runs", tag = "runs", params(RunsQuery), responses((status = OK, body = Vec<RunView>), (status = BAD_REQUEST, body = Problem)))]
pub(crate) async fn runs(State(shared): State<Arc<Shared>>, Asked(query): Asked<RunsQuery>) -> Answer<Vec<RunView>> {
    let limit = checked(query.limit)?;
    blocking(move || Ok(Json(shared.service.runs(query.pipeline, limit)?))).await
}

/// One run.
#[utoipa::path(get, path = "/api/runs/{id}", tag = "runs", params(("id" = String, Path, description = "The run")), responses((status = OK, body = RunView), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn run(State(shared): State<Arc<Shared>>, Named(id): Named<String>) -> Answer<RunView> {
    blocking(move || {
        let found = shared.service.run_of(&id)?;
        Ok(Json(found.ok_or_else(|| Problem::not_found(format!("there is no run {id}")))?))
    })
    .await
}

/// Asks a run to stop at once. What it has not delivered is delivered by the next one.
#[utoipa::path(post, path = "/api/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, description = "A run at work")), responses((status = OK, body = Done), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn cancel(State(shared): State<Arc<Shared>>, Named(id): Named<String>) -> Answer<Done> {
    Ok(Done::said(stopped(&shared, &id)?))
}

pub(crate) fn stopped(shared: &Shared, id: &str) -> Result<String, Problem> {
    shared.service.cancel(id).map_err(|refusal| match refusal {
        Refusal::Unknown(_) => Problem::not_found(format!("no run {id} is at work")),
        other => other.into(),
    })?;
    Ok(format!("run {id} was asked to stop"))
}

/// What waits for room to run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queue {
    /// Runs at work, without those of sources that receive.
    at_work: usize,
    /// The most at a time.
    most: usize,
    /// What waits, in order.
    waiting: Vec<QueuedView>,
}

/// What waits for room to run, in order.
#[utoipa::path(get, path = "/api/queue", tag = "runs", responses((status = OK, body = Queue)))]
pub(crate) async fn queue(State(shared): State<Arc<Shared>>) -> Json<Queue> {
    let (at_work, most) = shared.service.at_work();
    Json(Queue { at_work, most, waiting: shared.service.queue() })
}
