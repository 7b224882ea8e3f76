//! The stages of a pipeline, from its source to its sinks.

use maud::{Markup, html};

use super::account::Account;
use super::parts::count;
use crate::view::StageView;

/// A list that is drawn as a graph: it reads the same with eyes and ears. `account`: what the run at work, or else the
/// last one, has done.
pub(super) fn stages(stages: &[StageView], account: &Account) -> Markup {
    let of = |kind: &str| stages.iter().filter(move |stage| stage.kind == kind).collect::<Vec<_>>();
    let (sources, transforms, sinks) = (of("source"), of("transform"), of("sink"));
    html! {
        ol.graph aria-label="Stages, in the order in which rows pass them" {
            @for stage in &sources {
                li { (one(stage, (account.read > 0).then(|| format!("{} read", count(account.read, "row", "rows"))))) }
            }
            @for stage in &transforms { li { (one(stage, None)) } }
            li {
                ul aria-label="Sinks, each of which gets all rows" {
                    @for stage in &sinks {
                        @let name = stage.name.strip_prefix("sinks.").unwrap_or(&stage.name);
                        @let sink = account.sinks.iter().find(|sink| sink.name == name);
                        li { (one(stage, sink.map(|sink| format!("{} written", count(sink.written, "row", "rows"))))) }
                    }
                }
            }
        }
    }
}

fn one(stage: &StageView, done: Option<String>) -> Markup {
    html! {
        div.stage.(stage.kind) {
            span.kind { (stage.kind) }
            strong { (stage.component) }
            @if let Some(format) = &stage.format { span.format { "format " (format) } }
            @if stage.name != stage.kind { span.code { (stage.name) } }
            @if let Some(done) = done { span.done { (done) } }
        }
    }
}
