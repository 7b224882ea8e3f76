//! What every page has around its content.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets::address;
use super::fields::Guest;
use super::notices::Notice;
use super::parts;
use crate::http::answer::Problem;
use crate::http::guard::Visitor;
use crate::tokens::Role;

/// The parts of the navigation: where each leads, and what it is called.
const SECTIONS: [(&str, &str); 7] = [
    ("/ui", "Pipelines"),
    ("/ui/runs", "Runs"),
    ("/ui/dead-letters", "Dead letters"),
    ("/ui/deliveries", "Deliveries"),
    ("/ui/connections", "Connections"),
    ("/ui/logs", "Logs"),
    ("/docs", "API"),
];

/// How often a browser without scripts loads a page anew that changes, in seconds.
const RELOAD: u32 = 3;

/// What a handler of pages comes to.
pub(super) type Shown = Result<Response, Failed>;

/// A page.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// The address in the navigation that it belongs to.
    pub(super) section: &'a str,
    /// How often its parts are brought up to date, in seconds, where it tells of something at work.
    pub(super) refresh: Option<u32>,
    /// Without scripts it is loaded anew instead. Not where somebody may be filling in a form.
    pub(super) reload: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(title: &'a str, section: &'a str) -> Self {
        Self { title, section, refresh: None, reload: false }
    }

    /// One whose parts are brought up to date every `seconds`.
    pub(super) fn refreshed(self, seconds: u32) -> Self {
        Self { refresh: Some(seconds), ..self }
    }

    pub(super) fn show(&self, guest: &Guest, content: &Markup) -> Response {
        Html(self.render(&guest.visitor, guest.notice.as_ref(), content).into_string()).into_response()
    }

    pub(super) fn render(&self, visitor: &Visitor, notice: Option<&Notice>, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – engine" }
                    link rel="icon" href=(address("icon.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(address("style.css"));
                    script src=(address("script.js")) defer {}
                    @if self.reload { noscript { meta http-equiv="refresh" content=(RELOAD); } }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        a.brand href="/ui" { img src=(address("icon.svg")) alt="" width="24" height="24"; "engine" }
                        nav aria-label="Pages" {
                            ul {
                                @for (path, name) in SECTIONS {
                                    @let here = (path == self.section).then_some("page");
                                    li { a href=(path) aria-current=[here] { (name) } }
                                }
                            }
                        }
                        (who(visitor))
                    }
                    main #main tabindex="-1" data-refresh=[self.refresh] {
                        h1 { (self.title) }
                        @if let Some(notice) = notice {
                            @let (tone, word) = if notice.good { ("good", "Done") } else { ("bad", "Not done") };
                            p.notice.(tone) role=(if notice.good { "status" } else { "alert" }) {
                                strong { (word) ": " } (notice.text)
                            }
                        }
                        p.notice.bad #unreachable hidden role="alert" {
                            "The service does not answer. What is shown may be old; it is asked again all the time."
                        }
                        (content)
                    }
                    footer.bottom {
                        p {
                            "engine " (env!("CARGO_PKG_VERSION")) " · "
                            a href="/docs" { "HTTP API" } " · " a href="/openapi.json" { "openapi.json" } " · "
                            a href="/metrics" { "metrics" }
                        }
                    }
                }
            }
        }
    }
}

/// Whose token it is, and the way out.
fn who(visitor: &Visitor) -> Markup {
    html! {
        @if let Some(name) = &visitor.name {
            form.who method="post" action="/ui/logout" {
                (parts::key(visitor))
                span { (name) " (" (visitor.role.as_str()) ")" }
                button.quiet { "Log out" }
            }
        }
    }
}

/// What is wrong, as a page.
#[derive(Debug)]
pub(super) struct Failed(Problem);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<engine_abi::Error> for Failed {
    fn from(error: engine_abi::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let title = match self.0.code {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "Not understood",
            _ => "Not done",
        };
        let nobody = Visitor { role: Role::Read, name: None, form_key: String::new() };
        let content = html! { p { (self.0.message) } p { a href="/ui" { "To the pipelines" } } };
        let page = Page::new(title, "").render(&nobody, None, &content);
        (self.0.code, Html(page.into_string())).into_response()
    }
}
