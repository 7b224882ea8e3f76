//! The page of a pipeline: what it is, how it stands, and what can be asked of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine_state::DeadLetterStatus;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::account::Account;
use super::fields::{Fields, Guest, Sent};
use super::notices::Notice;
use super::page::{Page, Shown};
use super::parts::{address, badge, button, count, key, next_run, pipeline_path, run_link, time};
use super::{graph, picture, runs, schedule};
use crate::http::answer::{Named, Problem, blocking};
use crate::http::guard::Visitor;
use crate::http::{Shared, api};
use crate::service::Refusal;
use crate::view::{ParamView, PipelineView, RunView, Status};

/// How often it is brought up to date, in seconds.
const REFRESH: u32 = 1;
/// So many runs are listed; all are on a page of their own.
const LISTED: usize = 10;
/// The trigger of runs that somebody asked for on a page.
const TRIGGER: &str = "web";

/// All that is shown of a pipeline.
struct Seen {
    pipeline: PipelineView,
    runs: Vec<RunView>,
    waiting_letters: u64,
}

fn look_up(shared: &Shared, name: &str) -> Result<Seen, Problem> {
    let pipeline = shared.service.pipeline(name).ok_or_else(|| Problem::not_found(missing(name)))?;
    let runs = shared.service.runs(Some(name.to_owned()), picture::SHOWN)?;
    let counts = shared.service.state.dead_letter_counts(Some(name))?;
    let waiting = counts.iter().filter(|counted| counted.status == DeadLetterStatus::Final);
    let waiting_letters = waiting.map(|counted| counted.count).sum();
    Ok(Seen { pipeline, runs, waiting_letters })
}

fn missing(name: &str) -> String {
    format!("there is no pipeline `{name}`; its file may have been removed or renamed")
}

pub(super) async fn page(State(shared): State<Arc<Shared>>, Named(name): Named<String>, guest: Guest) -> Shown {
    let seen = blocking(move || look_up(&shared, &name)).await?;
    let content = content(&seen, &guest.visitor, &Fields::default());
    Ok(Page::new(&seen.pipeline.name, "/ui").refreshed(REFRESH).show(&guest, &content))
}

fn content(seen: &Seen, visitor: &Visitor, values: &Fields) -> Markup {
    let Seen { pipeline, runs, waiting_letters } = seen;
    let zone = pipeline.zone();
    let account = match &pipeline.run {
        Some(run) => Account::of_live(&run.figures),
        None => Account::of_report(pipeline.last_run.as_ref().and_then(|run| run.report.as_ref())),
    };
    let named = |path: &str| address(path, &[("pipeline", Some(pipeline.name.clone()))]);
    let [rows, times] = picture::of_runs(runs, zone);
    html! {
        div data-part="about" { @if let Some(description) = &pipeline.description { p.lead { (description) } } }
        div data-part="status" role="status" { (status(pipeline)) }
        div data-part="problem" { (problem(pipeline)) }
        div data-part="alarms" role="status" {
            @for alarm in &pipeline.alarms { p.bad { strong { "Alarm: " (alarm.alarm) } ", " (alarm.message) } }
        }
        div data-part="graph" { (graph::stages(&pipeline.stages, &account)) }
        dl.facts {
            div { dt { "File" } dd.code { (pipeline.file) } }
            div { dt { "Schedule" } dd { (times_of(pipeline)) } }
            div { dt { "Next run" } dd data-part="next" { (next_run(pipeline)) } }
            div { dt { "Time zone" } dd { (pipeline.timezone) } }
            div {
                dt { "Runs" }
                dd data-part="tally" {
                    (count(pipeline.runs.total, "has ended", "have ended")) ": "
                    (pipeline.runs.succeeded) " succeeded, " (pipeline.runs.failed) " failed"
                }
            }
            div {
                dt { "Dead letters" }
                dd data-part="letters" {
                    a href=(named("/ui/dead-letters")) { (count(*waiting_letters, "waits", "wait")) " for a decision" }
                }
            }
            div {
                dt { "More" }
                dd {
                    a href=(named("/ui/deliveries")) { "Deliveries" } " · "
                    a href=(named("/ui/runs")) { "All runs" } " · " a href=(named("/ui/logs")) { "Log" }
                }
            }
        }
        @if visitor.operates() { (actions(pipeline, visitor, values)) }
        section aria-labelledby="pictures" {
            h2 #pictures { "The last runs" }
            div.pictures data-part="pictures" {
                figure { figcaption { "Rows read" } (rows) }
                figure { figcaption { "Duration" } (times) }
            }
            div data-part="runs" { (runs::table(runs.get(..LISTED).unwrap_or(runs), &|_| zone, false)) }
        }
    }
}

fn status(pipeline: &PipelineView) -> Markup {
    let zone = pipeline.zone();
    html! {
        p {
            (badge(pipeline.status.as_str()))
            @if let Some(run) = &pipeline.run {
                " since " (time(run.started, zone)) " (" (run.trigger) ")"
                @if !run.id.is_empty() { ": " (run_link(&run.id)) }
            } @else if let Some(last) = &pipeline.last_run {
                " Last run: " (badge(last.outcome.as_deref().unwrap_or("stopped"))) " " (run_link(&last.id))
            }
        }
    }
}

fn problem(pipeline: &PipelineView) -> Markup {
    html! {
        @if let Some(problem) = &pipeline.problem {
            section.problem aria-labelledby="problem" {
                h2 #problem { "Its file cannot be used as it is now" }
                @if pipeline.status != Status::Broken { p { "It goes on as it was before. Mend the file: that is noticed by itself." } }
                pre tabindex="0" { (problem) }
            }
        }
    }
}

fn times_of(pipeline: &PipelineView) -> Markup {
    html! {
        @match &pipeline.schedule {
            Some(schedule) => {
                (schedule::in_words(schedule)) ", " (schedule.timezone)
                span.about { (schedule::exceptions(schedule)) }
            }
            None => "none: it runs on demand",
        }
    }
}

fn actions(pipeline: &PipelineView, visitor: &Visitor, values: &Fields) -> Markup {
    let path = pipeline_path(&pipeline.name);
    let receives = pipeline.stages.is_empty() || pipeline.status == Status::Listening;
    if receives && pipeline.schedule.is_none() {
        return html! {};
    }
    html! {
        section.actions aria-labelledby="actions" {
            h2 #actions { "Ask for something" }
            @if let Some(schedule) = &pipeline.schedule {
                @let (said, way, label) = match schedule.paused {
                    true => ("The schedule is paused: its times are passed over.", "unpause", "Let the schedule go on"),
                    false => ("The schedule is followed.", "pause", "Pause the schedule"),
                };
                div.row { span { (said) } (button(visitor, &format!("{path}/{way}"), label)) }
            }
            @if !receives {
                form.trigger method="post" action={ (path) "/trigger" } {
                    (key(visitor))
                    @for param in &pipeline.params { (input(param, values)) }
                    button.main #trigger { "Run now" }
                }
            }
        }
    }
}

/// The value of a parameter, in words.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// One input of the form for a run.
fn input(param: &ParamView, values: &Fields) -> Markup {
    let name = format!("param.{}", param.name);
    let id = format!("param-{}", param.name);
    let help = format!("{id}-help");
    let value = values.text(&name);
    let default = param.default.as_ref().map(shown);
    let mode = match param.r#type.as_str() {
        "integer" => Some("numeric"),
        "number" => Some("decimal"),
        _ => None,
    };
    html! {
        div.field {
            label for=(id) { (param.name) " " span.aside { "(" (param.r#type) ")" } }
            @if param.r#type == "boolean" {
                select id=(id) name=(name) aria-describedby=(help) {
                    option value="" { @if default.is_some() { "the default" } @else { "choose" } }
                    @for choice in ["true", "false"] { option value=(choice) selected[value == Some(choice)] { (choice) } }
                }
            } @else {
                input id=(id) name=(name) type="text" inputmode=[mode] autocomplete="off" value=[value]
                    placeholder=[&default] required[default.is_none()] aria-describedby=(help);
            }
            span.about id=(help) {
                @if let Some(description) = &param.description { (description) ". " }
                @match &default {
                    Some(default) => { "Left empty: " span.code { (default) } }
                    None => "Has no default.",
                }
            }
        }
    }
}

pub(super) async fn trigger(State(shared): State<Arc<Shared>>, Named(name): Named<String>, sent: Sent) -> Shown {
    let Sent { visitor, fields } = sent;
    let params: Map<String, Value> =
        fields.below("param.").map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let (service, of) = (Arc::clone(&shared), name.clone());
    let asked = blocking(move || match service.service.trigger(&of, TRIGGER, Value::Object(params), None) {
        Err(Refusal::Unknown(name)) => Err(Problem::not_found(missing(&name))),
        outcome => Ok(outcome?),
    });
    match asked.await {
        Ok(()) => {
            let said = format!("a run of {name} was asked for; it begins when there is room");
            Ok(shared.notices.lead(&pipeline_path(&name), Ok(said)))
        }
        // What was filled in stays.
        Err(problem) => {
            let code = problem.code;
            let seen = blocking(move || look_up(&shared, &name)).await?;
            let content = content(&seen, &visitor, &fields);
            let guest = Guest { visitor, query: Fields::default(), notice: Some(Notice::of(Err(problem))) };
            Ok((code, Page::new(&seen.pipeline.name, "/ui").show(&guest, &content)).into_response())
        }
    }
}

pub(super) async fn pause(State(shared): State<Arc<Shared>>, Named(name): Named<String>, _: Sent) -> Response {
    set_paused(shared, name, true).await
}

pub(super) async fn unpause(State(shared): State<Arc<Shared>>, Named(name): Named<String>, _: Sent) -> Response {
    set_paused(shared, name, false).await
}

async fn set_paused(shared: Arc<Shared>, name: String, paused: bool) -> Response {
    let page = pipeline_path(&name);
    let outcome = api::pipelines::paused(Arc::clone(&shared), name, paused).await;
    shared.notices.lead(&page, outcome)
}
