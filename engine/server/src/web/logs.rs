//! The end of the log.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::fields::Guest;
use super::page::{Page, Shown};
use super::parts::{Zones, count, pipeline_choice};
use super::runs::limit_choice;
use crate::http::answer::blocking;
use crate::http::{Shared, logs};

/// How often it is brought up to date, in seconds.
const REFRESH: u32 = 3;
/// How many lines can be shown.
const LIMITS: [usize; 3] = [100, 500, 1_000];

pub(super) async fn page(State(shared): State<Arc<Shared>>, guest: Guest) -> Shown {
    let pipeline = guest.query.owned("pipeline");
    let limit = guest.query.number("limit").filter(|limit| LIMITS.contains(limit)).unwrap_or(LIMITS[0]);
    let of = pipeline.clone();
    let (tail, zones) =
        blocking(move || Ok((logs::tail(&shared.folder, limit, of.as_deref())?, Zones::of(&shared)))).await?;
    let content = html! {
        form.filter method="get" action="/ui/logs" {
            (pipeline_choice(&zones.names(), pipeline.as_deref()))
            (limit_choice(&LIMITS, limit))
            button { "Show" }
        }
        div data-part="lines" {
            @if tail.lines.is_empty() { p { "There is no line of this day yet." } } @else {
                p {
                    "The newest " (count(tail.lines.len() as u64, "line", "lines")) " of " (count(tail.total, "line", "lines"))
                    " in " span.code { (tail.file) } ", the newest first."
                }
                ol.log reversed tabindex="0" aria-label="Lines of the log" {
                    @for line in tail.lines.iter().rev() { li.(tone(line)) { (line) } }
                }
            }
        }
    };
    Ok(Page::new("Logs", "/ui/logs").refreshed(REFRESH).show(&guest, &content))
}

/// How much a line matters, by its level.
fn tone(line: &str) -> &'static str {
    match line.split(" - ").nth(1) {
        Some("ERROR") => "bad",
        Some("WARNING" | "WARN") => "held",
        _ => "plain",
    }
}
