//! Dead letters: what was refused, tried again or given up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use engine_state::{DeadLetter, DeadLetterFilter, DeadLetterStatus, MAX_PAGE, Mark, Payload};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Done, checked, in_background, twenty};
use crate::http::answer::{Answer, Asked, Named, Problem, Said, blocking};
use crate::http::body::wholes;
use crate::http::{Shared, basic};

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
    #[serde(default, deserialize_with = "wholes")]
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
    basic::one(shared, Some(&said.pipeline))?;
    let letters = chosen(shared, &said)?;
    let message = format!("{} tried again", are(letters.len(), &said.pipeline));
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
    Ok(format!("{} given up", are(dropped as usize, &said.pipeline)))
}

fn are(number: usize, pipeline: &str) -> String {
    let (letters, are) = if number == 1 { ("letter", "is") } else { ("letters", "are") };
    format!("{number} dead {letters} of {pipeline} {are}")
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
