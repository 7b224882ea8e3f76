//! Deliveries: what went where, and the same once more.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use engine_runtime::Kept;
use engine_state::{Delivery, DeliveryFilter, DeliveryRecord};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Done, checked, in_background, twenty};
use crate::http::answer::{Answer, Asked, Problem, Said, blocking};
use crate::http::body::whole;
use crate::http::{Shared, basic};

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
    /// Only those that are listed after this one, `PIPELINE/WINDOW/SINK/SPLIT`: the last one of the page before. Not
    /// found, where its window is kept no longer: then begin anew.
    #[param(pattern = "^[^/]*/[0-9]{1,18}/[^/]*/")]
    after: Option<String>,
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

impl DeliveryView {
    /// What [`delivery_named`] finds it by.
    pub(crate) fn name(&self) -> String {
        let Self { pipeline, window, sink, split, .. } = self;
        format!("{pipeline}/{window}/{sink}/{split}")
    }
}

/// The delivery that is meant by `PIPELINE/WINDOW/SINK/SPLIT`.
pub(crate) fn delivery_named(name: &str) -> Option<Delivery> {
    let mut parts = name.splitn(4, '/');
    let (pipeline, window) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    let (sink, split) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(Delivery { pipeline, sink, window, split })
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
#[utoipa::path(get, path = "/api/deliveries", tag = "deliveries", params(DeliveriesQuery), responses((status = OK, body = Vec<DeliveryView>), (status = BAD_REQUEST, body = Problem), (status = NOT_FOUND, body = Problem)))]
pub(crate) async fn deliveries(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<DeliveriesQuery>,
) -> Answer<Vec<DeliveryView>> {
    let limit = checked(query.limit)?;
    if query.window.is_some_and(|window| i64::try_from(window).is_err()) {
        return Err(Problem::bad_request("`window` is a number below 2^63"));
    }
    let after = query.after.as_deref().map(|name| {
        delivery_named(name)
            .ok_or_else(|| Problem::bad_request("`after` is the PIPELINE/WINDOW/SINK/SPLIT of a delivery"))
    });
    let after = after.transpose()?;
    blocking(move || {
        let DeliveriesQuery { pipeline, sink, window, unsettled, .. } = query;
        let state = &shared.service.state;
        if let Some(after) = &after
            && state.window(&after.pipeline, after.window)?.is_none()
        {
            let message = "the window of `after` is kept no longer, or never was; begin anew without it";
            return Err(Problem::not_found(message));
        }
        let filter = DeliveryFilter { pipeline, sink, window, unsettled, after, limit };
        let records = state.deliveries(&filter)?;
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
    #[serde(deserialize_with = "whole")]
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
    basic::one(shared, Some(&pipeline))?;
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
