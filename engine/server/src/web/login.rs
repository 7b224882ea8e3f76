//! The way in for a browser: a token becomes a cookie that no script sees and no other site sends.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::fields::{Fields, Guest, Unchecked, own};
use super::notices::{Notice, led};
use super::page::{Page, Shown};
use crate::http::Shared;
use crate::http::guard::{COOKIE, Visitor};

/// How long a browser keeps the cookie, in seconds: 30 days.
const KEPT: u32 = 30 * 24 * 60 * 60;

pub(super) async fn page(State(shared): State<Arc<Shared>>, guest: Guest) -> Response {
    Page::new("Log in", "").show(&guest, &content(&shared, &guest.visitor))
}

fn content(shared: &Shared, visitor: &Visitor) -> Markup {
    html! {
        @if shared.tokens().list().is_empty() {
            p { "This service has no tokens and is reached from this machine only: there is nothing to log in to." }
            p { a href="/ui" { "To the pipelines" } }
        } @else {
            @if let Some(name) = &visitor.name { p { "You are logged in with the token " strong { (name) } "." } }
            form.login method="post" action="/ui/login" {
                div.field {
                    label for="token" { "Token" }
                    input #token name="token" type="password" autocomplete="current-password" required aria-describedby="token-help";
                    span.about #token-help { "Whoever runs the service makes one with " span.code { "engine tokens add" } "." }
                }
                button.main { "Log in" }
            }
        }
    }
}

/// Takes a token. The form needs no key: who is not logged in has none, and other sites' forms do not get this far.
pub(super) async fn log_in(State(shared): State<Arc<Shared>>, sent: Unchecked) -> Response {
    let token = sent.fields.text("token").unwrap_or_default().trim();
    let known = shared.tokens().find(token).is_some();
    if !known {
        let said = "there is no such token: look whether it was copied whole, or ask for another one";
        let notice = Some(Notice { good: false, text: said.to_owned() });
        let guest = Guest { visitor: sent.visitor, query: Fields::default(), notice };
        let page = Page::new("Log in", "").show(&guest, &content(&shared, &guest.visitor));
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    ([(header::SET_COOKIE, cookie(&shared, token, KEPT))], led("/ui")).into_response()
}

/// Forgets the token in this browser; it stays valid.
pub(super) async fn log_out(State(shared): State<Arc<Shared>>, sent: Unchecked) -> Shown {
    own(&sent.visitor, &sent.fields)?;
    Ok(([(header::SET_COOKIE, cookie(&shared, "", 0))], led("/ui/login")).into_response())
}

fn cookie(shared: &Shared, token: &str, kept: u32) -> String {
    let secure = if shared.has_tls { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; Max-Age={kept}; HttpOnly; SameSite=Strict{secure}")
}
