//! Pipelines: how each stands, a run of it, its schedule.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Done;
use crate::http::Shared;
use crate::http::answer::{Answer, Named, Problem, Said, blocking};
use crate::http::basic::{self, Trigger, Triggered, triggered};
use crate::view::PipelineView;

/// Every pipeline.
#[utoipa::path(get, path = "/api/pipelines", tag = "pipelines", responses((status = OK, body = Vec<PipelineView>)))]
pub(crate) async fn pipelines(State(shared): State<Arc<Shared>>) -> Json<Vec<PipelineView>> {
    Json(shared.service.pipelines())
}

/// One pipeline.
#[utoipa::path(get, path = "/api/pipelines/{name}", tag = "pipelines", params(("name" = String, Path, description = "The pipeline")), responses((status = OK, body = PipelineView), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn pipeline(State(shared): State<Arc<Shared>>, Named(name): Named<String>) -> Answer<PipelineView> {
    Ok(Json(basic::one(&shared, Some(&name))?))
}

/// Asks for a run of a pipeline, and answers at once.
#[utoipa::path(post, path = "/api/pipelines/{name}/trigger", tag = "pipelines", params(("name" = String, Path, description = "The pipeline")), request_body = Option<Trigger>, responses((status = OK, body = Triggered), (status = CONFLICT, description = "It runs already", body = Triggered), (status = NOT_FOUND, body = Problem), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
pub(crate) async fn trigger(
    State(shared): State<Arc<Shared>>,
    Named(name): Named<String>,
    Said(said): Said<Trigger>,
) -> Result<(StatusCode, Json<Triggered>), Problem> {
    blocking(move || triggered(&shared, &name, said)).await
}

/// Pauses the schedule of a pipeline: its times are passed over.
#[utoipa::path(post, path = "/api/pipelines/{name}/pause", tag = "pipelines", params(("name" = String, Path, description = "The pipeline")), responses((status = OK, body = Done), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn pause(State(shared): State<Arc<Shared>>, Named(name): Named<String>) -> Answer<Done> {
    set_paused(shared, name, true).await
}

/// Lets the schedule of a pipeline go on.
#[utoipa::path(post, path = "/api/pipelines/{name}/unpause", tag = "pipelines", params(("name" = String, Path, description = "The pipeline")), responses((status = OK, body = Done), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn unpause(State(shared): State<Arc<Shared>>, Named(name): Named<String>) -> Answer<Done> {
    set_paused(shared, name, false).await
}

async fn set_paused(shared: Arc<Shared>, name: String, paused: bool) -> Answer<Done> {
    Ok(Done::said(self::paused(shared, name, paused).await?))
}

pub(crate) async fn paused(shared: Arc<Shared>, name: String, paused: bool) -> Result<String, Problem> {
    blocking(move || {
        shared.service.pause(&name, paused)?;
        Ok(format!("the schedule of {name} {}", if paused { "is paused" } else { "goes on" }))
    })
    .await
}

/// Looks at the pipeline files, and at all that is around them, now.
#[utoipa::path(post, path = "/api/reload", tag = "pipelines", responses((status = OK, body = Done)))]
pub(crate) async fn reload(State(shared): State<Arc<Shared>>) -> Answer<Done> {
    blocking(move || Ok(Done::said(looked_anew(&shared)?))).await
}

pub(crate) fn looked_anew(shared: &Shared) -> Result<String, Problem> {
    // Whatever is wrong with the rest: a token that was taken away is taken away.
    shared.read_tokens()?;
    shared.service.reload(true)?;
    let pipelines = shared.service.pipelines();
    let broken = pipelines.iter().filter(|pipeline| pipeline.problem.is_some()).count();
    Ok(format!("{} pipelines, {broken} of which cannot be used as their files are now", pipelines.len()))
}
