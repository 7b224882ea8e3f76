//! The same data for every pipeline: pipelines, runs, the queue, deliveries, dead letters, connections.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use engine_runtime::Kept;
use engine_state::{
    DeadLetter, DeadLetterFilter, DeadLetterStatus, DeliveryFilter, DeliveryRecord, MAX_PAGE, Mark, Payload,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::answer::{Answer, Asked, Named, Problem, Said, blocking};
use super::basic::{Trigger, Triggered, triggered};
use crate::service::Refusal;
use crate::view::{PipelineView, QueuedView, RunView};

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

/// Every pipeline.
#[utoipa::path(get, path = "/api/pipelines", tag = "pipelines", responses((status = OK, body = Vec<PipelineView>)))]
pub(crate) async fn pipelines(State(shared): State<Arc<Shared>>) -> Json<Vec<PipelineView>> {
    Json(shared.service.pipelines())
}

/// One pipeline.
#[utoipa::path(get, path = "/api/pipelines/{name}", tag = "pipelines", params(("name" = String, Path, description = "The pipeline")), responses((status = OK, body = PipelineView), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn pipeline(State(shared): State<Arc<Shared>>, Named(name): Named<String>) -> Answer<PipelineView> {
    Ok(Json(super::basic::one(&shared, Some(&name))?))
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

const fn twenty() -> u16 {
    20
}

fn checked(limit: u16) -> Result<usize, Problem> {
    match limit {
        1..=1000 => Ok(limit.into()),
        _ => Err(Problem::bad_request("`limit` is a number from 1 to 1000")),
    }
}

/// The latest runs, those at work included.
#[utoipa::path(get, path = "/api/runs", tag = "runs", params(RunsQuery), responses((status = OK, body = Vec<RunView>), (status = BAD_REQUEST, body = Problem)))]
pub(crate) async fn runs(State(shared): State<Arc<Shared>>, Asked(query): Asked<RunsQuery>) -> Answer<Vec<RunView>> {
    let limit = checked(query.limit)?;
    blocking(move || {
        let runs = shared.service.runs(query.pipeline, limit)?;
        Ok(Json(runs.into_iter().map(RunView::from).collect()))
    })
    .await
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

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// Only of this pipeline.
    pipeline: Option<String>,
    /// Only to this sink.
    sink: Option<String>,
    /// Only of this window.
    window: Option<u64>,
    /// Only those that have not arrived.
    #[serde(default)]
    unsettled: bool,
    /// How many, of the newest windows first.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default = "twenty")]
    limit: u16,
}

/// A delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// The window.
    pub(crate) window: u64,
    /// The sink.
    pub(crate) sink: String,
    /// The split; `run` where the sink publishes a window at a time.
    pub(crate) split: String,
    /// `delivered`, `failed`, `begun`, `skipped` or `given_up`.
    #[schema(example = "delivered")]
    pub(crate) status: &'static str,
    /// How often it was tried.
    pub(crate) attempts: u64,
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// When it was known to have arrived.
    pub(crate) settled: Option<DateTime<Utc>>,
    /// The hash of what was sent.
    pub(crate) sha256: Option<String>,
    /// Where it is.
    pub(crate) location: Option<String>,
    /// Why the last attempt has failed.
    pub(crate) failure: Option<String>,
    /// Whether what was sent is kept, to be sent again.
    pub(crate) kept: bool,
}

pub(crate) fn delivery(shared: &Shared, record: DeliveryRecord) -> Result<DeliveryView, Problem> {
    let kept = Kept::of(&shared.folder, &record.delivery)?.is_some();
    let status = record.status();
    let sealed = record.sealed.and_then(|sealed| sealed.sha256);
    let (of_receipt, location) = record.receipt.map(|receipt| (receipt.sha256, receipt.location)).unwrap_or_default();
    Ok(DeliveryView {
        pipeline: record.delivery.pipeline,
        window: record.delivery.window,
        sink: record.delivery.sink,
        split: record.delivery.split,
        status,
        attempts: record.attempts.into(),
        rows: record.rows,
        bytes: record.bytes,
        settled: record.settled,
        sha256: of_receipt.or(sealed),
        location,
        failure: record.failure.map(|failure| format!("{}: {}", failure.kind, failure.message)),
        kept,
    })
}

/// What went where: the ledger.
#[utoipa::path(get, path = "/api/deliveries", tag = "deliveries", params(DeliveriesQuery), responses((status = OK, body = Vec<DeliveryView>), (status = BAD_REQUEST, body = Problem)))]
pub(crate) async fn deliveries(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<DeliveriesQuery>,
) -> Answer<Vec<DeliveryView>> {
    let limit = checked(query.limit)?;
    blocking(move || {
        let DeliveriesQuery { pipeline, sink, window, unsettled, .. } = query;
        let filter = DeliveryFilter { pipeline, sink, window, unsettled, limit };
        let records = shared.service.state.deliveries(&filter)?;
        Ok(Json(records.into_iter().map(|record| delivery(&shared, record)).collect::<Result<_, _>>()?))
    })
    .await
}

/// What is to be delivered once more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resend {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// The window.
    pub(crate) window: u64,
    /// Only to these sinks; to all when empty.
    #[serde(default)]
    pub(crate) sinks: Vec<String>,
    /// Also what has arrived already: whoever got it gets it again.
    #[serde(default)]
    pub(crate) again: bool,
}

/// Asks for a window to be delivered once more, and answers at once; the run that does it is listed under `/api/runs`.
#[utoipa::path(post, path = "/api/deliveries/resend", tag = "deliveries", request_body = Resend, responses((status = ACCEPTED, body = Done), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn resend(
    State(shared): State<Arc<Shared>>,
    Said(said): Said<Resend>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    blocking(move || {
        let message = begin_resend(&shared, said)?;
        Ok((StatusCode::ACCEPTED, Done::said(message)))
    })
    .await
}

pub(crate) fn begin_resend(shared: &Arc<Shared>, said: Resend) -> Result<String, Problem> {
    let Resend { pipeline, window, sinks, again } = said;
    super::basic::one(shared, Some(&pipeline))?;
    if shared.service.state.window(&pipeline, window)?.is_none() {
        return Err(Problem::not_found(format!("{pipeline} has no window {window}")));
    }
    let message = format!("window {window} of {pipeline} is delivered once more");
    let service = Arc::clone(&shared.service);
    in_background(move || {
        if let Err(error) = service.resend(&pipeline, window, sinks, again) {
            tracing::error!(pipeline, kind = %error.kind, "window {window} was not delivered once more: {error}");
        }
    })?;
    Ok(message)
}

fn in_background(work: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let thread = std::thread::Builder::new().name("asked".into()).spawn(work);
    thread.map(|_| ()).map_err(|error| engine_abi::Error::from(error).context("a thread cannot be started").into())
}

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLettersQuery {
    /// Only of this pipeline.
    pub(crate) pipeline: Option<String>,
    /// Only of this stage, such as `source` or `sinks.postgres`.
    pub(crate) stage: Option<String>,
    /// Only with this status: `final` (what waits for a decision; the default), `pending`, `replayed` or `dropped`.
    pub(crate) status: Option<StatusWord>,
    /// Only with a greater number: the last one of the page before.
    pub(crate) after: Option<i64>,
    /// How many, the oldest first.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default = "twenty")]
    pub(crate) limit: u16,
}

/// Where a dead letter stands.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusWord {
    /// Of a delivery that is not done.
    Pending,
    /// It waits for a decision.
    Final,
    /// It was tried again.
    Replayed,
    /// It was given up.
    Dropped,
}

impl From<StatusWord> for DeadLetterStatus {
    fn from(word: StatusWord) -> Self {
        match word {
            StatusWord::Pending => Self::Pending,
            StatusWord::Final => Self::Final,
            StatusWord::Replayed => Self::Replayed,
            StatusWord::Dropped => Self::Dropped,
        }
    }
}

/// A dead letter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterView {
    /// Its number.
    pub(crate) id: i64,
    /// The pipeline.
    pub(crate) pipeline: String,
    /// The stage that refused it.
    pub(crate) stage: String,
    /// Where it stands.
    #[schema(example = "final")]
    pub(crate) status: &'static str,
    /// Why, in a word.
    pub(crate) code: String,
    /// Why.
    pub(crate) reason: String,
    /// The record for a person.
    pub(crate) record: String,
    /// The window.
    pub(crate) window: u64,
    /// The split.
    pub(crate) split: String,
    /// The run.
    pub(crate) run: String,
    /// When it was stored.
    pub(crate) created: DateTime<Utc>,
    /// The bytes of it as text, where one is asked for by its number and it is not a row.
    pub(crate) text: Option<String>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            pipeline: letter.pipeline,
            stage: letter.stage,
            status: letter.status.as_str(),
            code: letter.code,
            reason: letter.reason,
            record: letter.display,
            window: letter.window,
            split: letter.split,
            run: letter.run,
            created: letter.created,
            text: None,
        }
    }
}

/// Records that were refused.
#[utoipa::path(get, path = "/api/dead-letters", tag = "dead letters", params(DeadLettersQuery), responses((status = OK, body = Vec<DeadLetterView>), (status = BAD_REQUEST, body = Problem)))]
pub(crate) async fn dead_letters(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<DeadLettersQuery>,
) -> Answer<Vec<DeadLetterView>> {
    let limit = checked(query.limit)?;
    blocking(move || {
        let DeadLettersQuery { pipeline, stage, status, after, .. } = query;
        let status = Some(status.unwrap_or(StatusWord::Final).into());
        let filter = DeadLetterFilter { pipeline, stage, status, after, limit, ..DeadLetterFilter::default() };
        let letters = shared.service.state.dead_letters(&filter)?;
        Ok(Json(letters.into_iter().map(DeadLetterView::from).collect()))
    })
    .await
}

/// One dead letter, whole.
#[utoipa::path(get, path = "/api/dead-letters/{id}", tag = "dead letters", params(("id" = i64, Path, description = "Its number")), responses((status = OK, body = DeadLetterView), (status = BAD_REQUEST, body = Problem), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn dead_letter(State(shared): State<Arc<Shared>>, Named(id): Named<i64>) -> Answer<DeadLetterView> {
    blocking(move || Ok(Json(letter_of(&shared, id)?))).await
}

pub(crate) fn letter_of(shared: &Shared, id: i64) -> Result<DeadLetterView, Problem> {
    let state = &shared.service.state;
    let letter = state.dead_letter(id)?.ok_or_else(|| Problem::not_found(format!("there is no dead letter {id}")))?;
    let mut view = DeadLetterView::from(letter);
    if let Some(Payload::Raw { bytes, .. }) = state.payload(id)? {
        view.text = Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(view)
}

/// Which dead letters are tried again, or given up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Letters {
    /// The pipeline whose letters they are.
    pub(crate) pipeline: String,
    /// These; all that wait for a decision when empty.
    #[serde(default)]
    pub(crate) ids: Vec<i64>,
    /// Only of this stage.
    #[serde(default)]
    pub(crate) stage: Option<String>,
    /// Replays: only into these sinks; into all when empty.
    #[serde(default)]
    pub(crate) sinks: Vec<String>,
}

/// Asks for dead letters to be tried again through the pipeline as its file says now, and answers at once; the run that does it is listed under `/api/runs`.
#[utoipa::path(post, path = "/api/dead-letters/replay", tag = "dead letters", request_body = Letters, responses((status = ACCEPTED, body = Done), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn replay(
    State(shared): State<Arc<Shared>>,
    Said(said): Said<Letters>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    blocking(move || {
        let message = begin_replay(&shared, said)?;
        Ok((StatusCode::ACCEPTED, Done::said(message)))
    })
    .await
}

pub(crate) fn begin_replay(shared: &Arc<Shared>, said: Letters) -> Result<String, Problem> {
    super::basic::one(shared, Some(&said.pipeline))?;
    let letters = chosen(shared, &said)?;
    let message = format!("{} of {} tried again", are(letters.len()), said.pipeline);
    let service = Arc::clone(&shared.service);
    in_background(move || {
        if let Err(error) = service.replay(&said.pipeline, letters, said.sinks) {
            tracing::error!(pipeline = said.pipeline, kind = %error.kind, "dead letters were not tried again: {error}");
        }
    })?;
    Ok(message)
}

/// Gives dead letters up: they stay listed as dropped.
#[utoipa::path(post, path = "/api/dead-letters/drop", tag = "dead letters", request_body = Letters, responses((status = OK, body = Done), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn drop_letters(State(shared): State<Arc<Shared>>, Said(said): Said<Letters>) -> Answer<Done> {
    blocking(move || Ok(Done::said(give_up(&shared, &said)?))).await
}

pub(crate) fn give_up(shared: &Shared, said: &Letters) -> Result<String, Problem> {
    let ids: Vec<_> = chosen(shared, said)?.into_iter().map(|letter| letter.id).collect();
    let dropped = shared.service.state.mark(&ids, Mark::Dropped)?;
    Ok(format!("{} of {} given up", are(dropped as usize), said.pipeline))
}

fn are(number: usize) -> String {
    if number == 1 { "1 dead letter is".into() } else { format!("{number} dead letters are") }
}

/// The letters that are meant, all of which wait for a decision.
fn chosen(shared: &Shared, said: &Letters) -> Result<Vec<DeadLetter>, Problem> {
    let mut letters = Vec::new();
    let mut after = None;
    loop {
        let page = shared.service.state.dead_letters(&DeadLetterFilter {
            pipeline: Some(said.pipeline.clone()),
            stage: said.stage.clone(),
            status: Some(DeadLetterStatus::Final),
            after,
            limit: MAX_PAGE,
            ..DeadLetterFilter::default()
        })?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        letters.extend(page.into_iter().filter(|letter| said.ids.is_empty() || said.ids.contains(&letter.id)));
    }
    if let Some(missing) = said.ids.iter().find(|id| letters.iter().all(|letter| letter.id != **id)) {
        let message = format!("dead letter {missing} is not one of {} that waits for a decision", said.pipeline);
        return Err(Problem::not_found(message));
    }
    if letters.is_empty() {
        return Err(Problem::not_found(format!("no dead letter of {} waits for a decision", said.pipeline)));
    }
    Ok(letters)
}

/// A named connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionView {
    /// Its name.
    pub(crate) name: String,
    /// The component that it is for.
    pub(crate) component: String,
}

/// The named connections, without what is in them.
#[utoipa::path(get, path = "/api/connections", tag = "connections", responses((status = OK, body = Vec<ConnectionView>)))]
pub(crate) async fn connections(State(shared): State<Arc<Shared>>) -> Answer<Vec<ConnectionView>> {
    blocking(move || {
        let all = shared.connections.list()?;
        Ok(Json(all.into_iter().map(|(name, component)| ConnectionView { name, component }).collect()))
    })
    .await
}

/// What trying a connection out came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checked {
    /// Its name.
    pub(crate) name: String,
    /// Whether it works.
    pub(crate) ok: bool,
    /// What was found, or what is wrong.
    pub(crate) message: String,
}

/// Tries a connection out.
#[utoipa::path(post, path = "/api/connections/{name}/check", tag = "connections", params(("name" = String, Path, description = "The connection")), responses((status = OK, body = Checked), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn check(State(shared): State<Arc<Shared>>, Named(name): Named<String>) -> Answer<Checked> {
    blocking(move || Ok(Json(checked_connection(&shared, name)?))).await
}

pub(crate) fn checked_connection(shared: &Shared, name: String) -> Result<Checked, Problem> {
    match shared.connections.check(&name) {
        None => Err(Problem::not_found(format!("there is no connection `{name}`"))),
        Some(Ok(message)) => Ok(Checked { name, ok: true, message }),
        Some(Err(error)) => Ok(Checked { name, ok: false, message: format!("{}: {error}", error.kind) }),
    }
}
