//! The page of a run: what it does while it is at work, and what it came to.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use chrono_tz::Tz;
use maud::{Markup, html};

use super::account::{self, Account};
use super::fields::{Guest, Sent};
use super::page::{Page, Shown};
use super::parts::{badge, between, button, count, pipeline_link, run_path, time};
use super::progress::{self, Progress};
use crate::http::answer::{Named, Problem, blocking};
use crate::http::{Shared, api};
use crate::view::{LiveView, RunView};

/// How often a run at work is brought up to date, in seconds.
const REFRESH: u32 = 1;

/// All that is shown of a run.
struct Seen {
    run: RunView,
    /// It is at work, and this is what it does.
    live: Option<LiveView>,
    progress: Progress,
    zone: Tz,
}

fn look_up(shared: &Shared, id: &str) -> Result<Seen, Problem> {
    let found = shared.service.run_of(id)?;
    let run = found.ok_or_else(|| {
        Problem::not_found(format!(
            "there is no run {id}; of each pipeline the newest {} are kept",
            engine_state::KEPT_RUNS
        ))
    })?;
    let pipeline = shared.service.pipeline(&run.pipeline);
    let zone = pipeline.as_ref().map_or(Tz::UTC, |pipeline| pipeline.zone());
    // What replays, resends, or receives has no id of its own in the service; a pipeline does one thing at a time.
    let live = pipeline.and_then(|pipeline| pipeline.run);
    let live = live.filter(|live| run.status == "running" && (live.id == id || live.id.is_empty()));
    let progress = progress::of_run(shared, &run, live.is_some())?;
    Ok(Seen { run, live, progress, zone })
}

pub(super) async fn page(State(shared): State<Arc<Shared>>, Named(id): Named<String>, guest: Guest) -> Shown {
    let seen = blocking(move || look_up(&shared, &id)).await?;
    let Seen { run, live, progress, zone } = &seen;
    let account = match live {
        Some(live) => Account::of_live(&live.figures),
        None => Account::of_report(run.report.as_ref()),
    };
    let can_stop = live.as_ref().is_some_and(|live| live.id == run.id);
    let content = html! {
        div data-part="status" role="status" { (status(&seen)) }
        div data-part="cancel" {
            @if can_stop { (button(&guest.visitor, &format!("{}/cancel", run_path(&run.id)), "Cancel this run")) }
        }
        div data-part="facts" { (facts(&seen)) }
        div data-part="failure" { (failure(run)) }
        section aria-labelledby="figures" {
            h2 #figures { "Figures" }
            div data-part="figures" {
                @if let Some(live) = live {
                    p { (count(live.passing, "row has", "rows have")) " passed on the way to the sinks, those of repeated attempts included." }
                }
                @if account.sinks.is_empty() { p { "It has told no figures." } } @else { (account.table(live.is_some())) }
                @if account.resumed > 0 {
                    p { (count(account.resumed, "window was", "windows were")) " begun by an earlier run and taken up by this one." }
                }
            }
        }
        section aria-labelledby="splits" {
            h2 #splits { "Splits and sinks" }
            div data-part="splits" { (progress.table(*zone)) }
        }
        div data-part="notes" {
            @let notes = account::notes(run.report.as_ref());
            @if !notes.is_empty() { h2 { "Notes" } ul { @for note in &notes { li { (note) } } } }
        }
    };
    let page = Page::new("Run", "/ui/runs");
    let page = if run.status == "running" { Page { reload: true, ..page.refreshed(REFRESH) } } else { page };
    Ok(page.show(&guest, &content))
}

fn status(seen: &Seen) -> Markup {
    let run = &seen.run;
    html! {
        p {
            (badge(run.status))
            @if run.status == "interrupted" { " It was begun and never ended; the next run takes up what it left." }
            " " (pipeline_link(&run.pipeline))
        }
    }
}

fn facts(seen: &Seen) -> Markup {
    let Seen { run, live, zone, .. } = seen;
    html! {
        dl.facts {
            div { dt { "Run" } dd.code { (run.id) } }
            div { dt { "Trigger" } dd { (run.trigger) } }
            @if let Some(slot) = run.slot { div { dt { "For the time" } dd { (time(slot, *zone)) } } }
            @if let Some(reference) = &run.reference { div { dt { "Reference" } dd { (reference) } } }
            div { dt { "Began" } dd { (time(run.started, *zone)) } }
            @if let Some(ended) = run.ended {
                div { dt { "Ended" } dd { (time(ended, *zone)) } }
                div { dt { "Took" } dd { (between(run.started, ended)) } }
            } @else if live.is_some() {
                div { dt { "For" } dd { (between(run.started, Utc::now())) } }
            }
        }
    }
}

fn failure(run: &RunView) -> Markup {
    let errors = account::errors(run.report.as_ref());
    html! {
        @if !errors.is_empty() {
            section.problem aria-labelledby="errors" {
                h2 #errors { "What went wrong" }
                ul {
                    @for error in &errors {
                        li {
                            strong { (error.kind) @if let Some(stage) = &error.stage { " in " (stage) } ": " }
                            span.said { (error.message) }
                            @if let Some(hint) = &error.hint { p.hint { strong { "What to do: " } (hint) } }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn cancel(State(shared): State<Arc<Shared>>, Named(id): Named<String>, _: Sent) -> Response {
    let outcome = api::runs::stopped(&shared, &id);
    shared.notices.lead(&run_path(&id), outcome)
}
