//! Named connections: which there are, and whether each works.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::answer::{Answer, Named, Problem, blocking, waiting};

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
    waiting(move || Ok(Json(checked_connection(&shared, name)?))).await
}

pub(crate) fn checked_connection(shared: &Shared, name: String) -> Result<Checked, Problem> {
    match shared.connections.check(&name) {
        None => Err(Problem::not_found(format!("there is no connection `{name}`"))),
        Some(Ok(message)) => Ok(Checked { name, ok: true, message }),
        Some(Err(error)) => Ok(Checked { name, ok: false, message: format!("{}: {error}", error.kind) }),
    }
}
