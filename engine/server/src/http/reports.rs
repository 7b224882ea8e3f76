//! Reports of a catalogue: executions on demand, what became of them, and the schedules.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Shared;
use super::answer::{Answer, Named, Problem, Said, waiting};
use super::body::values;
use crate::reports::{Execution, ExecutionStatus, ReportEntry, Reports, Which, Wish};
use crate::view::{QueuedView, Status};

/// What was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
    /// Always `success`.
    #[schema(example = "success")]
    status: &'static str,
    /// What was done, for a person.
    message: String,
    /// What there is to know.
    data: T,
}

fn success<T>(message: impl Into<String>, data: T) -> Json<Envelope<T>> {
    Json(Envelope { status: "success", message: message.into(), data })
}

/// The catalogue.
fn reports(shared: &Shared) -> Result<&dyn Reports, Problem> {
    shared.reports.as_deref().ok_or_else(|| {
        Problem::not_found("this service has no catalogue of reports; start it with `engine serve --catalogue`")
    })
}

/// How an execution is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Execute {
    /// Values of the report's parameters, by name.
    #[serde(default)]
    #[schema(schema_with = values)]
    parameters: Map<String, Value>,
    /// Who wants it.
    #[serde(default)]
    #[schema(max_length = 255)]
    executed_by: Option<String>,
}

/// The longest name of somebody who wants an execution.
const LONGEST_NAME: usize = 255;

fn wish(said: Execute) -> Result<Wish, Problem> {
    let Execute { parameters, executed_by } = said;
    if executed_by.as_ref().is_some_and(|name| name.chars().count() > LONGEST_NAME) {
        let message = format!("`executed_by` has at most {LONGEST_NAME} characters");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "config", message));
    }
    Ok(Wish { parameters, executed_by })
}

/// An execution that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Started {
    /// Its id: `/api/execution/…` tells what becomes of it.
    execution_id: String,
    /// The report.
    config_id: i64,
    /// `RUNNING`, also while it waits for room.
    status: ExecutionStatus,
}

/// Asks for an execution of a report, and answers at once. It begins when there is room.
#[utoipa::path(post, path = "/api/execute/{config_id}", tag = "reports", params(("config_id" = i64, Path, description = "The report")), request_body = Option<Execute>, responses((status = OK, body = Envelope<Started>), (status = CONFLICT, description = "Too many wait already", body = Problem), (status = NOT_FOUND, body = Problem), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
pub(crate) async fn execute(
    State(shared): State<Arc<Shared>>,
    Named(config_id): Named<i64>,
    Said(said): Said<Execute>,
) -> Answer<Envelope<Started>> {
    waiting(move || {
        let wish = wish(said)?;
        let execution_id = reports(&shared)?.execute(&shared.service, Which::Config(config_id), wish)?;
        let started = Started { execution_id, config_id, status: ExecutionStatus::Running };
        Ok(success("Report execution started", started))
    })
    .await
}

/// What has become of an execution.
#[utoipa::path(get, path = "/api/execution/{execution_id}", tag = "reports", params(("execution_id" = String, Path, description = "The execution")), responses((status = OK, body = Envelope<Execution>), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn execution(
    State(shared): State<Arc<Shared>>,
    Named(execution_id): Named<String>,
) -> Answer<Envelope<Execution>> {
    waiting(move || {
        let found = reports(&shared)?.execution(&execution_id)?;
        let found = found.ok_or_else(|| Problem::not_found(format!("there is no execution {execution_id}")))?;
        Ok(success("Execution found", found))
    })
    .await
}

/// What a try came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tried {
    /// Its id.
    id: i64,
    /// What answered.
    summary: String,
}

fn tried(what: &str, id: i64, outcome: Option<engine_abi::Result<String>>) -> Answer<Envelope<Tried>> {
    let outcome = outcome.ok_or_else(|| Problem::not_found(format!("there is no {what} {id}")))?;
    Ok(success(format!("The {what} answers"), Tried { id, summary: outcome? }))
}

/// Tries out whether a datasource answers.
#[utoipa::path(post, path = "/api/test-datasource/{id}", tag = "reports", params(("id" = i64, Path, description = "The datasource")), responses((status = OK, body = Envelope<Tried>), (status = NOT_FOUND, body = Problem), (status = BAD_GATEWAY, description = "It refuses the login", body = Problem), (status = SERVICE_UNAVAILABLE, description = "It does not answer", body = Problem), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
pub(crate) async fn test_datasource(
    State(shared): State<Arc<Shared>>,
    Named(id): Named<i64>,
) -> Answer<Envelope<Tried>> {
    waiting(move || tried("datasource", id, reports(&shared)?.test_datasource(id))).await
}

/// Tries out whether the place of a delivery answers, and sends nothing.
#[utoipa::path(post, path = "/api/test-delivery/{id}", tag = "reports", params(("id" = i64, Path, description = "The delivery")), responses((status = OK, body = Envelope<Tried>), (status = NOT_FOUND, body = Problem), (status = BAD_GATEWAY, description = "It refuses the login", body = Problem), (status = SERVICE_UNAVAILABLE, description = "It does not answer", body = Problem), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
pub(crate) async fn test_delivery(State(shared): State<Arc<Shared>>, Named(id): Named<i64>) -> Answer<Envelope<Tried>> {
    waiting(move || tried("delivery", id, reports(&shared)?.test_delivery(id))).await
}

/// The schedules of reports, as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SchedulerView {
    /// Whether schedules are followed.
    running: bool,
    /// How many schedules there are.
    jobs: usize,
    /// When the next report runs.
    next_run: Option<DateTime<Utc>>,
    /// Reports that are at work.
    executions: Vec<AtWork>,
    /// What waits for room, in order.
    waiting: Vec<QueuedView>,
}

/// A report that is at work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AtWork {
    /// The pipeline that does it.
    pipeline: String,
    /// The run.
    run: String,
    /// When it began.
    started: DateTime<Utc>,
}

/// How the schedules of reports stand.
#[utoipa::path(get, path = "/api/scheduler/status", tag = "reports", responses((status = OK, body = Envelope<SchedulerView>), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn scheduler_status(State(shared): State<Arc<Shared>>) -> Answer<Envelope<SchedulerView>> {
    let entries = reports(&shared)?.list();
    let of_report = |pipeline: &str| entries.iter().any(|entry| entry.pipeline == pipeline);
    let pipelines = shared.service.pipelines();
    let views = || pipelines.iter().filter(|pipeline| of_report(&pipeline.name));
    let executions = views().filter_map(|pipeline| {
        let run = pipeline.run.as_ref()?;
        Some(AtWork { pipeline: pipeline.name.clone(), run: run.id.clone(), started: run.started })
    });
    let waiting = shared.service.queue().into_iter().filter(|task| of_report(&task.pipeline));
    let view = SchedulerView {
        running: shared.service.is_running(),
        jobs: entries.iter().filter(|entry| entry.schedule.is_some()).count(),
        next_run: views().filter_map(|pipeline| pipeline.next_run).min(),
        executions: executions.collect(),
        waiting: waiting.collect(),
    };
    Ok(success("Scheduler status", view))
}

/// What a reload came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// How many schedules there are.
    jobs: usize,
    /// How many reports cannot run as their rows are now.
    broken: usize,
}

/// Reads the catalogue now, and looks at the pipeline files.
#[utoipa::path(post, path = "/api/scheduler/reload", tag = "reports", responses((status = OK, body = Envelope<Reloaded>), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn scheduler_reload(State(shared): State<Arc<Shared>>) -> Answer<Envelope<Reloaded>> {
    waiting(move || {
        let catalogue = reports(&shared)?;
        shared.service.reload(true)?;
        catalogue.reached()?;
        let entries = catalogue.list();
        let is_broken = |entry: &&ReportEntry| {
            shared.service.pipeline(&entry.pipeline).is_some_and(|pipeline| pipeline.problem.is_some())
        };
        let broken = entries.iter().filter(is_broken).count();
        let jobs = entries.iter().filter(|entry| entry.schedule.is_some()).count();
        Ok(success("Schedules reloaded", Reloaded { jobs, broken }))
    })
    .await
}

/// A schedule of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    /// The schedule.
    schedule_id: i64,
    /// The report.
    config_id: i64,
    /// What the report is called.
    report_name: String,
    /// Its pipeline.
    pipeline: String,
    /// When it runs.
    cron_expression: String,
    /// Whose local time that is.
    timezone: String,
    /// How it stands.
    status: Status,
    /// Its next time.
    next_run: Option<DateTime<Utc>>,
    /// When its last run began.
    last_run: Option<DateTime<Utc>>,
    /// How its last run ended.
    last_outcome: Option<String>,
    /// What is wrong with its rows.
    problem: Option<String>,
}

/// Every schedule of a report.
#[utoipa::path(get, path = "/api/scheduler/jobs", tag = "reports", responses((status = OK, body = Envelope<Vec<Job>>), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn scheduler_jobs(State(shared): State<Arc<Shared>>) -> Answer<Envelope<Vec<Job>>> {
    let jobs = reports(&shared)?.list().into_iter().filter_map(|entry| {
        let view = shared.service.pipeline(&entry.pipeline)?;
        let (schedule_id, cron_expression, timezone) = entry.schedule?;
        Some(Job {
            schedule_id,
            config_id: entry.config_id,
            report_name: entry.name,
            pipeline: entry.pipeline,
            cron_expression,
            timezone,
            status: view.status,
            next_run: view.next_run,
            last_run: view.last_run.as_ref().map(|run| run.started),
            last_outcome: view.last_run.and_then(|run| run.outcome),
            problem: view.problem,
        })
    });
    let jobs: Vec<_> = jobs.collect();
    Ok(success(format!("{} jobs", jobs.len()), jobs))
}

/// What was triggered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggeredSchedule {
    /// The execution.
    execution_id: String,
    /// The schedule.
    schedule_id: i64,
    /// `RUNNING`, also while it waits for room.
    status: ExecutionStatus,
}

/// Asks for an execution as a schedule would, and answers at once.
#[utoipa::path(post, path = "/api/scheduler/trigger/{schedule_id}", tag = "reports", params(("schedule_id" = i64, Path, description = "The schedule")), request_body = Option<Execute>, responses((status = OK, body = Envelope<TriggeredSchedule>), (status = CONFLICT, description = "It runs already", body = Problem), (status = NOT_FOUND, body = Problem), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
pub(crate) async fn scheduler_trigger(
    State(shared): State<Arc<Shared>>,
    Named(schedule_id): Named<i64>,
    Said(said): Said<Execute>,
) -> Answer<Envelope<TriggeredSchedule>> {
    waiting(move || {
        let wish = wish(said)?;
        let execution_id = reports(&shared)?.execute(&shared.service, Which::Schedule(schedule_id), wish)?;
        let triggered = TriggeredSchedule { execution_id, schedule_id, status: ExecutionStatus::Running };
        Ok(success("Schedule triggered", triggered))
    })
    .await
}
