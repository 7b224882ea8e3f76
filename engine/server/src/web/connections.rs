//! The named connections, each to be tried out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use engine_abi::Error;
use maud::html;

use super::fields::{Guest, Sent};
use super::page::{Page, Shown};
use super::parts::key;
use crate::http::answer::{Problem, blocking, waiting};
use crate::http::{Shared, api};

const PATH: &str = "/ui/connections";

pub(super) async fn page(State(shared): State<Arc<Shared>>, guest: Guest) -> Shown {
    let all: Result<Vec<_>, Error> = blocking(move || Ok(shared.connections.list())).await?;
    let content = html! {
        p { "The connections of " span.code { "connections.yaml" } " beside the pipeline files. What is in them is not shown." }
        @match &all {
            Err(error) => section.problem { p { (error) } },
            Ok(all) if all.is_empty() => p { "There is none." },
            Ok(all) => table.stacked {
                caption.hidden { "Connections" }
                thead {
                    tr {
                        th scope="col" { "Name" }
                        th scope="col" { "Component" }
                        @if guest.visitor.operates() { th scope="col" { "Try out" } }
                    }
                }
                tbody {
                    @for (name, component) in all {
                        tr {
                            th scope="row" { (name) }
                            td data-label="Component" { (component) }
                            @if guest.visitor.operates() {
                                td data-label="Try out" {
                                    form.inline method="post" action={ (PATH) "/check" } {
                                        (key(&guest.visitor))
                                        input type="hidden" name="name" value=(name);
                                        button { "Check " (name) }
                                    }
                                }
                            }
                        }
                    }
                }
            },
        }
    };
    Ok(Page::new("Connections", PATH).show(&guest, &content))
}

pub(super) async fn check(State(shared): State<Arc<Shared>>, sent: Sent) -> Response {
    let name = sent.fields.owned("name").unwrap_or_default();
    let service = Arc::clone(&shared);
    let outcome = waiting(move || {
        let checked = api::connections::checked_connection(&service, name)?;
        let said = format!("connection {}: {}", checked.name, checked.message);
        if checked.ok { Ok(said) } else { Err(Problem::bad_request(said)) }
    })
    .await;
    shared.notices.lead(PATH, outcome)
}
