//! The first page: how every pipeline stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use engine_state::DeadLetterStatus;
use maud::{Markup, html};

use super::fields::{Guest, Sent};
use super::page::{Page, Shown};
use super::parts::{address, badge, between, button, count, next_run, pipeline_link, run_path, time};
use super::{picture, schedule};
use crate::http::answer::{Problem, blocking};
use crate::http::{Shared, api};
use crate::view::{PipelineView, RunView};

/// How often it is brought up to date, in seconds.
const REFRESH: u32 = 3;

/// A pipeline with its latest runs, the newest first.
struct Line {
    pipeline: PipelineView,
    runs: Vec<RunView>,
    waiting_letters: u64,
}

pub(super) async fn page(State(shared): State<Arc<Shared>>, guest: Guest) -> Shown {
    let (lines, queue) = blocking(move || {
        let mut waiting = waiting_letters(&shared)?;
        let line = |pipeline: PipelineView| {
            let runs = shared.service.runs(Some(pipeline.name.clone()), picture::SHOWN)?;
            let waiting_letters = waiting.remove(&pipeline.name).unwrap_or_default();
            Ok(Line { pipeline, runs, waiting_letters })
        };
        let lines = shared.service.pipelines().into_iter().map(line).collect::<Result<Vec<_>, Problem>>()?;
        Ok((lines, queue(&shared)))
    })
    .await?;
    let content = html! {
        div data-part="queue" { (queue) }
        div data-part="pipelines" {
            @if lines.is_empty() {
                p { "There is no pipeline file in the folders of this service yet. Put one there: it is noticed by itself." }
            } @else { (table(&lines)) }
        }
        @if guest.visitor.operates() {
            div.row { (button(&guest.visitor, "/ui/reload", "Look at the files now")) }
        }
    };
    Ok(Page::new("Pipelines", "/ui").refreshed(REFRESH).show(&guest, &content))
}

/// How many dead letters of each pipeline wait for a decision.
fn waiting_letters(shared: &Shared) -> Result<BTreeMap<String, u64>, Problem> {
    let mut waiting = BTreeMap::new();
    for counted in shared.service.state.dead_letter_counts(None)? {
        if counted.status == DeadLetterStatus::Final {
            *waiting.entry(counted.pipeline).or_default() += counted.count;
        }
    }
    Ok(waiting)
}

fn table(lines: &[Line]) -> Markup {
    html! {
        table.stacked {
            caption.hidden { "Pipelines" }
            thead {
                tr {
                    @for name in ["Pipeline", "Status", "Schedule", "Next run", "Last run", "Rows", "Duration", "Dead letters"] {
                        th scope="col" { (name) }
                    }
                }
            }
            tbody { @for line in lines { (row(line)) } }
        }
    }
}

fn row(line: &Line) -> Markup {
    let Line { pipeline, runs, waiting_letters } = line;
    let zone = pipeline.zone();
    let [rows, times] = picture::of_runs(runs, zone);
    html! {
        tr {
            th scope="row" {
                (pipeline_link(&pipeline.name))
                @if let Some(description) = &pipeline.description { span.about { (description) } }
            }
            td data-label="Status" {
                (badge(pipeline.status.as_str()))
                @if pipeline.problem.is_some() && pipeline.status.as_str() != "broken" {
                    span.about.bad { "its file as it is now cannot be used" }
                }
                @for alarm in &pipeline.alarms { span.about.bad title=(alarm.message) { "alarm: " (alarm.alarm) } }
            }
            td data-label="Schedule" {
                @match &pipeline.schedule {
                    Some(schedule) => (schedule::in_words(schedule)),
                    None => span.aside { "on demand" },
                }
            }
            td data-label="Next run" { (next_run(pipeline)) }
            td data-label="Last run" { (last_run(pipeline)) }
            td.picture data-label="Rows" { (rows) }
            td.picture data-label="Duration" { (times) }
            td.number data-label="Dead letters" {
                @if *waiting_letters == 0 { span.aside { "none" } } @else {
                    a href=(address("/ui/dead-letters", &[("pipeline", Some(pipeline.name.clone()))])) {
                        (count(*waiting_letters, "waits", "wait"))
                    }
                }
            }
        }
    }
}

/// The last run that ended: how, when, and how long it took.
fn last_run(pipeline: &PipelineView) -> Markup {
    html! {
        @match &pipeline.last_run {
            Some(run) => {
                a href=(run_path(&run.id)) { (badge(run.outcome.as_deref().unwrap_or("stopped"))) }
                " " (time(run.started, pipeline.zone()))
                @if let Some(ended) = run.ended { span.about { "took " (between(run.started, ended)) } }
            }
            None => span.aside { "none yet" },
        }
    }
}

/// What is at work, and what waits.
fn queue(shared: &Shared) -> Markup {
    let (at_work, most) = shared.service.at_work();
    let waiting = shared.service.queue();
    html! {
        p {
            "Runs at work: " strong { (at_work) } " of at most " (most) ". Waiting: " strong { (waiting.len()) } ". "
            span.aside { "The service has been running since " (time(shared.service.started, shared.service.first_zone())) "." }
            @if !shared.service.is_running() { " " strong.bad { "The service stops: nothing new begins." } }
        }
        @if !waiting.is_empty() {
            ol.queue {
                @for task in &waiting {
                    @let zone = shared.service.pipeline(&task.pipeline).map_or(chrono_tz::UTC, |it| it.zone());
                    li {
                        (pipeline_link(&task.pipeline)) " (" (task.trigger) "), since " (time(task.since, zone))
                        @if let Some(slot) = task.slot { ", for " (time(slot, zone)) }
                        @if task.from > task.since { ", not before " (time(task.from, zone)) }
                    }
                }
            }
        }
    }
}

pub(super) async fn reload(State(shared): State<Arc<Shared>>, _: Sent) -> Response {
    let service = Arc::clone(&shared);
    let outcome = blocking(move || api::pipelines::looked_anew(&service)).await;
    shared.notices.lead("/ui", outcome)
}
