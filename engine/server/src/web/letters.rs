//! Dead letters: what was refused and why, to be tried again or given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use engine_state::{DeadLetter, DeadLetterFilter, DeadLetterStatus};
use maud::{Markup, html};

use super::fields::{Fields, Guest, Sent};
use super::page::{Page, Shown};
use super::parts::{Zones, address, badge, key, paging, pipeline_choice, pipeline_link, run_link, shortened, time};
use crate::http::Shared;
use crate::http::answer::{Named, Problem, blocking};
use crate::http::api::letters::{DeadLetterView, Letters, begin_replay, give_up, letter_of};
use crate::http::guard::Visitor;

const PATH: &str = "/ui/dead-letters";
/// So many are on a page.
const PAGE: usize = 50;
/// How often a letter is looked at that waits, in seconds.
const REFRESH: u32 = 1;
const STATUSES: [(DeadLetterStatus, &str); 4] = [
    (DeadLetterStatus::Final, "final: waits for a decision"),
    (DeadLetterStatus::Pending, "pending: of a delivery that is not done"),
    (DeadLetterStatus::Replayed, "replayed: was tried again"),
    (DeadLetterStatus::Dropped, "dropped: was given up"),
];

/// Which letters are asked for.
#[derive(Clone)]
struct Wanted {
    pipeline: Option<String>,
    stage: Option<String>,
    status: DeadLetterStatus,
    after: Option<i64>,
}

impl Wanted {
    fn of(query: &Fields) -> Self {
        let status = query.text("status").and_then(DeadLetterStatus::from_text);
        Self {
            pipeline: query.owned("pipeline"),
            stage: query.owned("stage"),
            status: status.unwrap_or(DeadLetterStatus::Final),
            after: query.number("after"),
        }
    }

    fn path(&self, after: Option<i64>) -> String {
        let fields = [
            ("pipeline", self.pipeline.clone()),
            ("stage", self.stage.clone()),
            ("status", Some(self.status.as_str().to_owned())),
            ("after", after.map(|after| after.to_string())),
        ];
        address(PATH, &fields)
    }
}

pub(super) async fn list(State(shared): State<Arc<Shared>>, guest: Guest) -> Shown {
    let wanted = Wanted::of(&guest.query);
    let of = wanted.clone();
    let (letters, zones, sinks) = blocking(move || {
        let Wanted { pipeline, stage, status, after } = of;
        let sinks = pipeline.as_deref().map(|name| sinks_of(&shared, name)).unwrap_or_default();
        // One more than is shown tells whether there are more.
        let filter = DeadLetterFilter {
            pipeline,
            stage,
            status: Some(status),
            after,
            limit: PAGE + 1,
            ..DeadLetterFilter::default()
        };
        Ok((shared.service.state.dead_letters(&filter)?, Zones::of(&shared), sinks))
    })
    .await?;
    let shown = letters.get(..PAGE).unwrap_or(&letters);
    let next = shown.last().filter(|_| letters.len() > PAGE).map(|last| wanted.path(Some(last.id)));
    let first = wanted.after.map(|_| wanted.path(None));
    let can_decide = guest.visitor.operates() && wanted.status == DeadLetterStatus::Final && !shown.is_empty();
    let content = html! {
        (filter(&wanted, &zones))
        @if shown.is_empty() {
            p { "There is none of these." }
        } @else if can_decide {
            form #letters method="post" action=(PATH) {
                (key(&guest.visitor))
                input type="hidden" name="back" value=(wanted.path(wanted.after));
                (table(shown, &zones, true))
                (sink_choice(&sinks))
                p.buttons {
                    button.main name="decision" value="replay" { "Replay the selected ones" }
                    button name="decision" value="drop" { "Drop the selected ones" }
                }
            }
            @if let Some(pipeline) = &wanted.pipeline { (all(&guest.visitor, &wanted, pipeline, &sinks)) } @else {
                p.aside { "To decide on all at once, choose a pipeline above." }
            }
        } @else {
            (table(shown, &zones, false))
        }
        (paging(first.as_deref(), next.as_deref()))
    };
    Ok(Page::new("Dead letters", PATH).show(&guest, &content))
}

/// The names of a pipeline's sinks.
fn sinks_of(shared: &Shared, pipeline: &str) -> Vec<String> {
    let stages = shared.service.pipeline(pipeline).map(|pipeline| pipeline.stages).unwrap_or_default();
    stages.iter().filter_map(|stage| Some(stage.name.strip_prefix("sinks.")?.to_owned())).collect()
}

fn filter(wanted: &Wanted, zones: &Zones) -> Markup {
    html! {
        form.filter method="get" action=(PATH) {
            (pipeline_choice(&zones.names(), wanted.pipeline.as_deref()))
            label for="stage" { "Stage" }
            input #stage name="stage" type="text" placeholder="such as sinks.postgres" value=[&wanted.stage];
            label for="status" { "Status" }
            select #status name="status" {
                @for (status, words) in STATUSES {
                    option value=(status.as_str()) selected[status == wanted.status] { (words) }
                }
            }
            button { "Show" }
        }
    }
}

fn table(letters: &[DeadLetter], zones: &Zones, selectable: bool) -> Markup {
    html! {
        table.stacked {
            caption.hidden { "Dead letters, the oldest first" }
            thead {
                tr {
                    @if selectable { th scope="col" { "Select" } }
                    @for name in ["Number", "Pipeline", "Stage", "Reason", "Record", "Stored"] { th scope="col" { (name) } }
                }
            }
            tbody {
                @for letter in letters {
                    tr {
                        @if selectable {
                            td data-label="Select" {
                                input type="checkbox" name="id" value=(letter.id) aria-label={ "Select dead letter " (letter.id) };
                            }
                        }
                        th scope="row" { a href={ (PATH) "/" (letter.id) } { (letter.id) } }
                        td data-label="Pipeline" { (pipeline_link(&letter.pipeline)) }
                        td.code data-label="Stage" { (letter.stage) }
                        td data-label="Reason" { span.code { (letter.code) } " " (shortened(&letter.reason)) }
                        td.code.record data-label="Record" { (shortened(&letter.display)) }
                        td data-label="Stored" { (time(letter.created, zones.zone(&letter.pipeline))) }
                    }
                }
            }
        }
    }
}

/// Where replayed letters go, where that is a choice.
fn sink_choice(sinks: &[String]) -> Markup {
    html! {
        @if sinks.len() > 1 {
            fieldset {
                legend { "Replay only into these sinks; into all when none is chosen" }
                @for sink in sinks { label { input type="checkbox" name="sink" value=(sink); " " (sink) } }
            }
        }
    }
}

/// Decides on every letter that the filter means, also those on other pages.
fn all(visitor: &Visitor, wanted: &Wanted, pipeline: &str, sinks: &[String]) -> Markup {
    html! {
        details {
            summary { "Decide on all of " (pipeline) @if let Some(stage) = &wanted.stage { ", stage " (stage) } }
            form method="post" action=(PATH) {
                (key(visitor))
                input type="hidden" name="back" value=(wanted.path(None));
                input type="hidden" name="pipeline" value=(pipeline);
                @if let Some(stage) = &wanted.stage { input type="hidden" name="stage" value=(stage); }
                (sink_choice(sinks))
                p { label { input type="checkbox" name="all" value="yes" required; " All that wait for a decision, those on other pages too" } }
                p.buttons {
                    button name="decision" value="replay" { "Replay all" }
                    button name="decision" value="drop" { "Drop all" }
                }
            }
        }
    }
}

pub(super) async fn page(State(shared): State<Arc<Shared>>, Named(id): Named<String>, guest: Guest) -> Shown {
    let (letter, zones, sinks) = blocking(move || {
        let number = id.parse().map_err(|_| Problem::not_found(format!("`{id}` is no number of a dead letter")))?;
        let letter = letter_of(&shared, number)?;
        let sinks = sinks_of(&shared, &letter.pipeline);
        Ok((letter, Zones::of(&shared), sinks))
    })
    .await?;
    let waits = letter.status == DeadLetterStatus::Final.as_str();
    let title = format!("Dead letter {}", letter.id);
    let content = html! {
        p role="status" data-part="status" { (badge(letter.status)) @if waits { " It waits for a decision." } }
        dl.facts {
            div { dt { "Pipeline" } dd { (pipeline_link(&letter.pipeline)) } }
            div { dt { "Stage" } dd.code { (letter.stage) } }
            div { dt { "Run" } dd { (run_link(&letter.run)) } }
            div { dt { "Window and split" } dd { (letter.window) ", " span.code { (letter.split) } } }
            div { dt { "Stored" } dd { (time(letter.created, zones.zone(&letter.pipeline))) } }
        }
        section.problem aria-labelledby="reason" {
            h2 #reason { "Why it was refused" }
            p { span.code { (letter.code) } " " (letter.reason) }
        }
        h2 { "The record" }
        pre tabindex="0" { (letter.record) }
        @if let Some(text) = &letter.text { h2 { "Its bytes as text" } pre tabindex="0" { (text) } }
        div data-part="decide" { @if waits && guest.visitor.operates() { (decision(&letter, &guest.visitor, &sinks)) } }
    };
    let page = Page::new(&title, PATH);
    let unsettled = waits || letter.status == DeadLetterStatus::Pending.as_str();
    Ok(if unsettled { page.refreshed(REFRESH) } else { page }.show(&guest, &content))
}

fn decision(letter: &DeadLetterView, visitor: &Visitor, sinks: &[String]) -> Markup {
    html! {
        form method="post" action=(PATH) {
            (key(visitor))
            input type="hidden" name="back" value={ (PATH) "/" (letter.id) };
            input type="hidden" name="id" value=(letter.id);
            p { "Mend the cause first: a replay sends the record through the pipeline as its file says now." }
            @if letter.stage.strip_prefix("sinks.").is_none() { (sink_choice(sinks)) }
            p.buttons {
                button.main name="decision" value="replay" { "Replay" }
                button name="decision" value="drop" { "Drop" }
            }
        }
    }
}

pub(super) async fn decide(State(shared): State<Arc<Shared>>, sent: Sent) -> Response {
    let fields = sent.fields;
    let back = fields.back(PATH);
    let service = Arc::clone(&shared);
    let outcome = blocking(move || decided(&service, &fields)).await;
    shared.notices.lead(&back, outcome)
}

/// Does what a form asks for, pipeline by pipeline.
fn decided(shared: &Arc<Shared>, fields: &Fields) -> Result<String, Problem> {
    let replays = match fields.text("decision") {
        Some("replay") => true,
        Some("drop") => false,
        _ => return Err(Problem::bad_request("choose whether to replay or to drop")),
    };
    let sinks: Vec<String> = fields.all("sink").map(str::to_owned).collect();
    let mut said = Vec::new();
    for (pipeline, ids) in chosen(shared, fields)? {
        let stage = fields.owned("stage").filter(|_| ids.is_empty());
        let letters = Letters { pipeline, ids, stage, sinks: sinks.clone() };
        said.push(if replays { begin_replay(shared, letters)? } else { give_up(shared, &letters)? });
    }
    Ok(format!("{}{}", said.join("; "), if replays { "; the run that does it is listed under Runs" } else { "" }))
}

/// The letters that were selected, by pipeline; no number means all of the pipeline.
fn chosen(shared: &Shared, fields: &Fields) -> Result<BTreeMap<String, Vec<i64>>, Problem> {
    if fields.has("all") {
        let pipeline = fields.owned("pipeline").ok_or_else(|| Problem::bad_request("choose a pipeline first"))?;
        return Ok(BTreeMap::from([(pipeline, Vec::new())]));
    }
    let mut chosen = BTreeMap::<String, Vec<i64>>::new();
    for id in fields.all("id") {
        let known = id.parse().ok().map(|id| shared.service.state.dead_letter(id)).transpose()?.flatten();
        let letter = known.ok_or_else(|| Problem::not_found(format!("there is no dead letter {id}")))?;
        chosen.entry(letter.pipeline).or_default().push(letter.id);
    }
    if chosen.is_empty() {
        return Err(Problem::bad_request("none was selected; mark the ones that you mean"));
    }
    Ok(chosen)
}
