//! The pages that people see: made here, whole, so that they can be read and used without JavaScript.
//!
//! A form is sent to this service, which does what it asks for and leads back to a page with a notice. What scripts
//! add is that pages of things at work bring themselves up to date.
//!
//! # Invariants
//!
//! - Every text is escaped by the templates; no page holds a script or a style of its own, which its
//!   Content-Security-Policy would refuse.
//! - A form is taken only with the key of its visitor's pages, and only from one who may do more than look.

mod account;
mod assets;
mod connections;
mod deliveries;
mod docs;
mod fields;
mod graph;
mod letters;
mod login;
mod logs;
mod notices;
mod overview;
mod page;
mod parts;
mod picture;
mod pipeline;
mod progress;
mod run;
mod runs;
mod schedule;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use utoipa::openapi::OpenApi as Document;

use crate::http::Shared;
use crate::http::answer::Problem;

pub(crate) use notices::Notices;

/// Every page, and every form that is sent to one.
pub(crate) fn routes(document: &Document) -> Router<Arc<Shared>> {
    let documentation = Arc::new(docs::content(document));
    Router::new()
        .route("/ui", get(overview::page))
        .route("/ui/pipelines/{name}", get(pipeline::page))
        .route("/ui/pipelines/{name}/trigger", post(pipeline::trigger))
        .route("/ui/pipelines/{name}/pause", post(pipeline::pause))
        .route("/ui/pipelines/{name}/unpause", post(pipeline::unpause))
        .route("/ui/reload", post(overview::reload))
        .route("/ui/runs", get(runs::page))
        .route("/ui/runs/{id}", get(run::page))
        .route("/ui/runs/{id}/cancel", post(run::cancel))
        .route("/ui/dead-letters", get(letters::list).post(letters::decide))
        .route("/ui/dead-letters/{id}", get(letters::page))
        .route("/ui/deliveries", get(deliveries::page))
        .route("/ui/deliveries/resend", post(deliveries::resend))
        .route("/ui/connections", get(connections::page))
        .route("/ui/connections/check", post(connections::check))
        .route("/ui/logs", get(logs::page))
        .route("/ui/login", get(login::page).post(login::log_in))
        .route("/ui/logout", post(login::log_out))
        .route("/ui/style.css", get(assets::style))
        .route("/ui/script.js", get(assets::script))
        .route("/ui/icon.svg", get(assets::icon))
        .route("/ui/{*other}", get(missing))
        .route("/docs", get(move |guest| docs::page(guest, Arc::clone(&documentation))))
}

async fn missing() -> page::Failed {
    Problem::not_found("there is no such page; choose one of those above").into()
}

/// Whether a request is a person's, who sees an answer as a page.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/ui" || path == "/docs" || path.starts_with("/ui/")
}

/// What is wrong with a request, for a person.
pub(crate) fn refused(problem: Problem) -> Response {
    page::Failed::from(problem).into_response()
}
