//! What every service of this kind has: what it is, how it is, what it did last, its log, a trigger.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::answer::{Answer, Asked, OfPipeline, Problem, Said, blocking};
use super::body::values;
use super::logs;
use crate::service::Refusal;
use crate::view::{PipelineView, Status, local, local_rfc3339, outcome_word};

/// What the service is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct About {
    /// Its name.
    #[schema(example = "engine")]
    service: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Always `running`.
    #[schema(example = "running")]
    status: &'static str,
    /// Where to ask for what.
    endpoints: Map<String, Value>,
}

const ENDPOINTS: [(&str, &str); 13] = [
    ("health", "/health"),
    ("status", "/status"),
    ("logs", "/logs"),
    ("trigger", "/trigger"),
    ("metrics", "/metrics"),
    ("docs", "/docs"),
    ("openapi", "/openapi.json"),
    ("pipelines", "/api/pipelines"),
    ("runs", "/api/runs"),
    ("queue", "/api/queue"),
    ("deliveries", "/api/deliveries"),
    ("dead_letters", "/api/dead-letters"),
    ("web", "/ui"),
];

/// What the service is. A browser is led to its pages.
#[utoipa::path(get, path = "/", tag = "service", responses((status = OK, body = About), (status = SEE_OTHER, description = "A browser is led to the pages")))]
pub(crate) async fn about(headers: HeaderMap) -> Response {
    let wants = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if wants.contains("text/html") {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, "/ui"), (header::VARY, "Accept")]).into_response();
    }
    let endpoints = ENDPOINTS.iter().map(|(name, path)| ((*name).to_owned(), Value::from(*path))).collect();
    let about = About { service: "engine", version: env!("CARGO_PKG_VERSION"), status: "running", endpoints };
    ([(header::VARY, "Accept")], Json(about)).into_response()
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`, or `stopping` once it was asked to.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Whether schedules are followed.
    scheduler_running: bool,
    /// The time, in the time zone of the only or first pipeline.
    #[schema(example = "2026-02-13T23:23:35+05:30")]
    timestamp: String,
}

/// How the service is. Needs no token.
#[utoipa::path(get, path = "/health", tag = "service", security(()), responses((status = OK, body = Health)))]
pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Json<Health> {
    let running = shared.service.is_running();
    Json(Health {
        status: if running { "healthy" } else { "stopping" },
        scheduler_running: running,
        timestamp: local_rfc3339(Utc::now(), shared.service.first_zone()),
    })
}

/// How a pipeline is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    scheduler: SchedulerStatus,
    job_statistics: JobStatistics,
    last_execution: LastExecution,
}

/// The schedule.
#[derive(Debug, Serialize, ToSchema)]
struct SchedulerStatus {
    /// Whether schedules are followed.
    running: bool,
    /// The next time; none where there is no schedule, or it is paused.
    #[schema(example = "2026-02-13 23:33:35 IST")]
    next_run: Option<String>,
}

/// How often it ran.
#[derive(Debug, Serialize, ToSchema)]
struct JobStatistics {
    total_runs: u64,
    successful_runs: u64,
    failed_runs: u64,
    #[schema(example = "100.00%")]
    success_rate: String,
}

/// The last run that ended.
#[derive(Debug, Serialize, ToSchema)]
struct LastExecution {
    /// When it began.
    #[schema(example = "2026-02-13 23:23:35 IST")]
    timestamp: Option<String>,
    /// `success`, `failed` or `stopped`.
    #[schema(example = "success")]
    status: Option<String>,
    /// What its sinks tell as `matched`; else rows delivered.
    matched_records: i64,
    /// What its sinks tell as `unmatched`; else dead letters.
    unmatched_records: i64,
    /// Whether a run is at work now.
    currently_running: bool,
}

/// How a pipeline is.
#[utoipa::path(get, path = "/status", tag = "service", params(OfPipeline), responses((status = OK, body = StatusAnswer), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn status(State(shared): State<Arc<Shared>>, Asked(of): Asked<OfPipeline>) -> Answer<StatusAnswer> {
    let pipeline = one(&shared, of.pipeline.as_deref())?;
    Ok(Json(status_of(&pipeline, shared.service.is_running())))
}

fn status_of(pipeline: &PipelineView, running: bool) -> StatusAnswer {
    let zone = pipeline.zone();
    let runs = pipeline.runs;
    let rate = if runs.total == 0 { 0.0 } else { runs.succeeded as f64 * 100.0 / runs.total as f64 };
    let (matched_records, unmatched_records) = pipeline.matched();
    let last = pipeline.last_run.as_ref();
    StatusAnswer {
        scheduler: SchedulerStatus { running, next_run: pipeline.next_run.map(|next| local(next, zone)) },
        job_statistics: JobStatistics {
            total_runs: runs.total,
            successful_runs: runs.succeeded,
            failed_runs: runs.failed,
            success_rate: format!("{rate:.2}%"),
        },
        last_execution: LastExecution {
            timestamp: last.map(|last| local(last.started, zone)),
            status: last.and_then(|last| last.outcome.as_deref()).map(|outcome| outcome_word(outcome).to_owned()),
            matched_records,
            unmatched_records,
            currently_running: matches!(pipeline.status, Status::Running | Status::Listening),
        },
    }
}

/// The pipeline that is meant: the named one, else the only or the first one.
pub(crate) fn one(shared: &Shared, named: Option<&str>) -> Result<PipelineView, Problem> {
    match named {
        Some(name) => shared.service.pipeline(name).ok_or_else(|| Refusal::Unknown(name.to_owned()).into()),
        None => {
            let mut all = shared.service.pipelines();
            // One that has never been right is first only where there is no other.
            let at = all.iter().position(|it| it.status != Status::Broken).unwrap_or_default();
            let first = (at < all.len()).then(|| all.swap_remove(at));
            first.ok_or_else(|| Problem::not_found("the service has no pipeline yet"))
        }
    }
}

/// Which lines of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// How many lines, the newest.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default = "default_lines")]
    lines: u16,
    /// Only lines of this pipeline.
    pipeline: Option<String>,
}

const fn default_lines() -> u16 {
    50
}

/// Lines of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logs {
    /// The file of this day.
    log_file: String,
    /// How many lines it has.
    total_lines: u64,
    /// How many of them are shown.
    showing: usize,
    /// The newest lines, in order.
    #[schema(example = json!(["2026-02-13 23:23:35 - INFO - calls: run succeeded after 0.4 s"]))]
    logs: Vec<String>,
}

/// The newest lines of this day's log.
#[utoipa::path(get, path = "/logs", tag = "service", params(LogsQuery), responses((status = OK, body = Logs), (status = BAD_REQUEST, body = Problem)))]
pub(crate) async fn logs_answer(State(shared): State<Arc<Shared>>, Asked(query): Asked<LogsQuery>) -> Answer<Logs> {
    if !(1..=1000).contains(&query.lines) {
        return Err(Problem::bad_request("`lines` is a number from 1 to 1000"));
    }
    blocking(move || {
        let tail = logs::tail(&shared.folder, query.lines.into(), query.pipeline.as_deref())?;
        Ok(Json(Logs { log_file: tail.file, total_lines: tail.total, showing: tail.lines.len(), logs: tail.lines }))
    })
    .await
}

/// How a run is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    /// Values of the pipeline's parameters, by name.
    #[serde(default)]
    #[schema(schema_with = values)]
    pub(crate) params: Map<String, Value>,
}

/// What has become of a trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Triggered {
    /// `triggered`, or `already_running`.
    #[schema(example = "triggered")]
    status: &'static str,
    /// The same, for a person.
    message: String,
}

/// Asks for a run, and answers at once. It begins when there is room.
#[utoipa::path(post, path = "/trigger", tag = "service", params(OfPipeline), request_body = Option<Trigger>, responses((status = OK, body = Triggered), (status = CONFLICT, description = "It runs already", body = Triggered), (status = NOT_FOUND, body = Problem), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
pub(crate) async fn trigger(
    State(shared): State<Arc<Shared>>,
    Asked(of): Asked<OfPipeline>,
    Said(said): Said<Trigger>,
) -> Result<(StatusCode, Json<Triggered>), Problem> {
    let name = one(&shared, of.pipeline.as_deref())?.name;
    blocking(move || triggered(&shared, &name, said)).await
}

pub(crate) fn triggered(shared: &Shared, name: &str, said: Trigger) -> Result<(StatusCode, Json<Triggered>), Problem> {
    match shared.service.trigger(name, "api", Value::Object(said.params), None) {
        Ok(()) => {
            let message = format!("a run of {name} was asked for");
            Ok((StatusCode::OK, Json(Triggered { status: "triggered", message })))
        }
        Err(Refusal::Busy(message)) => {
            Ok((StatusCode::CONFLICT, Json(Triggered { status: "already_running", message })))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

impl crate::service::Service {
    /// The time zone of the only or first pipeline.
    pub(crate) fn first_zone(&self) -> Tz {
        self.pipelines().first().map_or(Tz::UTC, PipelineView::zone)
    }
}
