//! Answers: JSON in the shapes that are promised, and one shape for everything that goes wrong.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine_abi::{Error, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::service::Refusal;

/// What is told when something does not go.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `error`.
    #[schema(example = "error")]
    pub(crate) status: &'static str,
    /// What happened, and what to do about it.
    pub(crate) message: String,
    /// The same in a word, to act on: `not_found`, `already_running`, `unauthorized`, …
    #[schema(example = "not_found")]
    pub(crate) error: String,
    #[serde(skip)]
    pub(crate) code: StatusCode,
}

impl Problem {
    pub(crate) fn new(code: StatusCode, error: &str, message: impl Into<String>) -> Self {
        Self { status: "error", message: message.into(), error: error.to_owned(), code }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

/// The one table from kinds of errors to statuses.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = match error.kind {
            ErrorKind::Config | ErrorKind::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Denied => StatusCode::BAD_GATEWAY,
            ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(code, &error.kind.to_string(), error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(name) => {
                Self::not_found(format!("there is no `{name}`; /api/pipelines lists what there is"))
            }
            Refusal::Busy(why) => Self::new(StatusCode::CONFLICT, "already_running", why),
            Refusal::Broken(problem) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "broken",
                format!("it cannot be used as it is now: {problem}"),
            ),
            Refusal::Stopping => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the service stops; try again when it runs")
            }
            Refusal::Error(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.code, Json(self)).into_response()
    }
}

/// What a handler comes to.
pub(crate) type Answer<T> = std::result::Result<Json<T>, Problem>;

/// Does what may block, away from the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Problem> + Send + 'static,
) -> std::result::Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::internal("the answer could not be made; this is a bug of the engine").into()))
}

/// The same for what waits for others than the engine itself: a catalogue's database, a place that is tried out. Where
/// too many of these wait already, the next ones do so without a thread, so that there are some left for all else.
pub(crate) async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Problem> + Send + 'static,
) -> std::result::Result<T, Problem> {
    static PLACES: Semaphore = Semaphore::const_new(super::WAITING_THREADS);
    let place = PLACES.acquire().await;
    blocking(move || {
        // Until the work ends, also when nobody waits for the answer any longer.
        let _place = place;
        work()
    })
    .await
}

/// The query of an address, of which every part is known.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// A part of the path.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// A body of JSON; none stands for an empty object.
#[derive(Debug)]
pub(crate) struct Said<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request.headers().get(header::CONTENT_TYPE).map(|kind| {
            let kind = kind.to_str().unwrap_or_default();
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        let bytes = bytes::Bytes::from_request(request, state).await.map_err(|error| {
            let code = error.status();
            let word = if code == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_request" };
            Problem::new(code, word, error.body_text())
        })?;
        if bytes.is_empty() || bytes.trim_ascii() == b"null" {
            return serde_json::from_str("{}").map(Self).map_err(|error| unreadable(&error));
        }
        if is_json != Some(true) {
            let message = "a body is JSON, and says so: `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        // A list would be taken for an object's members in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::bad_request("the body is not a JSON object"));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("the body cannot be read: {error}"))
}

/// `?pipeline=name`; without it the only or the first one.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfPipeline {
    /// Which pipeline; without it the only or the first one.
    pub(crate) pipeline: Option<String>,
}
