//! The list of runs.

use std::sync::Arc;

use axum::extract::State;
use chrono_tz::Tz;
use maud::{Markup, html};

use super::account::Account;
use super::fields::Guest;
use super::page::{Page, Shown};
use super::parts::{Zones, badge, between, number, pipeline_choice, pipeline_link, run_link, time};
use crate::http::Shared;
use crate::http::answer::blocking;
use crate::view::RunView;

/// How often it is brought up to date, in seconds.
const REFRESH: u32 = 3;
/// How many can be shown at a time.
const LIMITS: [usize; 3] = [50, 200, 1_000];

pub(super) async fn page(State(shared): State<Arc<Shared>>, guest: Guest) -> Shown {
    let pipeline = guest.query.owned("pipeline");
    let limit = guest.query.number("limit").filter(|limit| LIMITS.contains(limit)).unwrap_or(LIMITS[0]);
    let of = pipeline.clone();
    let (zones, runs) = blocking(move || Ok((Zones::of(&shared), shared.service.runs(of, limit)?))).await?;
    let content = html! {
        form.filter method="get" action="/ui/runs" {
            (pipeline_choice(&zones.names(), pipeline.as_deref()))
            (limit_choice(&LIMITS, limit))
            button { "Show" }
        }
        div data-part="runs" { (table(&runs, &|pipeline| zones.zone(pipeline), true)) }
    };
    Ok(Page::new("Runs", "/ui/runs").refreshed(REFRESH).show(&guest, &content))
}

/// The choice of how many lines a list has.
pub(super) fn limit_choice(limits: &[usize], chosen: usize) -> Markup {
    html! {
        label for="limit" { "At most" }
        select #limit name="limit" {
            @for limit in limits { option value=(limit) selected[*limit == chosen] { (number(*limit as u64)) } }
        }
    }
}

/// Runs, the newest first, the times of each in the zone of its pipeline.
pub(super) fn table(runs: &[RunView], zone: &dyn Fn(&str) -> Tz, with_pipeline: bool) -> Markup {
    html! {
        @if runs.is_empty() { p { "There has been no run yet." } } @else {
            table.stacked {
                caption.hidden { "Runs, the newest first" }
                thead {
                    tr {
                        th scope="col" { "Run" }
                        @if with_pipeline { th scope="col" { "Pipeline" } }
                        th scope="col" { "Outcome" }
                        th scope="col" { "Began" }
                        th.number scope="col" { "Took" }
                        th scope="col" { "Trigger" }
                        th.number scope="col" { "Read" }
                        th.number scope="col" { "Written" }
                    }
                }
                tbody { @for run in runs { (row(run, zone(&run.pipeline), with_pipeline)) } }
            }
        }
    }
}

fn row(run: &RunView, zone: Tz, with_pipeline: bool) -> Markup {
    let account = Account::of_report(run.report.as_ref());
    let written = account.sinks.iter().map(|sink| sink.written).max().unwrap_or_default();
    html! {
        tr {
            th scope="row" { (run_link(&run.id)) }
            @if with_pipeline { td data-label="Pipeline" { (pipeline_link(&run.pipeline)) } }
            td data-label="Outcome" { (badge(run.status)) }
            td data-label="Began" { (time(run.started, zone)) }
            td.number data-label="Took" { @if let Some(ended) = run.ended { (between(run.started, ended)) } @else { "–" } }
            td data-label="Trigger" { (run.trigger) }
            @for (label, figure) in [("Read", account.read), ("Written", written)] {
                td.number data-label=(label) { @if run.report.is_some() { (number(figure)) } @else { "–" } }
            }
        }
    }
}
