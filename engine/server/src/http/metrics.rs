//! Figures for Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::answer::{Problem, blocking};
use crate::figures::Family;

/// Figures of runs, rows, bytes, lag, queues, retries, dead letters and durations, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = OK, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let text = blocking(move || Ok(exposition(&shared.service.figures()?))).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The text form, version 0.0.4.
fn exposition(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let _ = writeln!(text, "# HELP {} {}", family.name, escaped(family.help, false));
        let _ = writeln!(text, "# TYPE {} {}", family.name, family.kind.as_str());
        for sample in &family.samples {
            let labels: Vec<_> =
                sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{}{}{labels} {}", family.name, sample.suffix, sample.value);
        }
    }
    text
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}
