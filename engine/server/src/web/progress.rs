//! How far each split of a run's windows has got with each sink.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use engine_abi::Unit;
use engine_state::{DeliveryFilter, DeliveryRecord, RUN_SPLIT, Window, WindowSink};
use maud::{Markup, html};

use super::parts::{badge, count, time, wide};
use crate::http::Shared;
use crate::http::answer::Problem;
use crate::view::RunView;

/// The most windows that are shown of a run, the newest.
const MOST_WINDOWS: usize = 5;
/// The most splits that are shown of a window, and deliveries that are looked up.
const MOST_SPLITS: usize = 100;
const MOST_DELIVERIES: usize = 1_000;

/// The windows of a run with their deliveries.
pub(super) struct Progress {
    windows: Vec<(Window, Ledger)>,
    /// There are more than are shown.
    more: bool,
}

/// Deliveries by sink and split.
type Ledger = BTreeMap<(String, String), DeliveryRecord>;

/// Those that the run has made; while it is at work also those of earlier runs that it completes.
pub(super) fn of_run(shared: &Shared, run: &RunView, at_work: bool) -> Result<Progress, Problem> {
    let state = &shared.service.state;
    let mut windows = state.windows_of_run(&run.pipeline, &run.id, MOST_WINDOWS + 1)?;
    // One of many windows shows only the newest, and those are its own.
    if at_work && windows.len() <= MOST_WINDOWS {
        let earlier = state.unfinished_windows(&run.pipeline)?;
        windows.extend(earlier.into_iter().filter(|window| window.run != run.id));
    }
    let more = windows.len() > MOST_WINDOWS;
    windows.truncate(MOST_WINDOWS);
    let with_ledger = |window: Window| {
        let filter = DeliveryFilter {
            pipeline: Some(run.pipeline.clone()),
            window: Some(window.id),
            limit: MOST_DELIVERIES,
            ..DeliveryFilter::default()
        };
        let records = state.deliveries(&filter)?.into_iter();
        let ledger =
            records.map(|record| ((record.delivery.sink.clone(), record.delivery.split.clone()), record)).collect();
        Ok((window, ledger))
    };
    Ok(Progress { windows: windows.into_iter().map(with_ledger).collect::<Result<_, Problem>>()?, more })
}

impl Progress {
    pub(super) fn table(&self, zone: Tz) -> Markup {
        html! {
            @if self.windows.is_empty() {
                p { "It has begun no window: nothing was to be read, it worked on those of earlier runs, or they are kept no longer." }
            }
            @for (window, ledger) in &self.windows {
                p {
                    strong { "Window " (window.id) } " of " (count(window.splits.len() as u64, "split", "splits"))
                    ", since " (time(window.created, zone))
                    @match window.finished {
                        Some(finished) => { ", finished " (time(finished, zone)) }
                        None => ", not finished",
                    }
                }
                (wide(&format!("Window {}", window.id), &of_window(window, ledger)))
                @if window.splits.len() > MOST_SPLITS {
                    p { "Shown are the first " (MOST_SPLITS) " splits." }
                }
            }
            @if self.more { p { "It has more windows. Shown are the newest " (MOST_WINDOWS) "." } }
        }
    }
}

fn of_window(window: &Window, ledger: &Ledger) -> Markup {
    let whole = window.sinks.iter().any(|sink| sink.unit == Unit::Run);
    let by_split = window.sinks.iter().any(|sink| sink.unit == Unit::Split);
    let splits = window.splits.iter().take(MOST_SPLITS).filter(|_| by_split);
    html! {
        table {
            caption { "Deliveries of window " (window.id) }
            thead {
                tr {
                    th scope="col" { "Split" }
                    @for sink in &window.sinks { th scope="col" { (sink.name) } }
                }
            }
            tbody {
                @for split in splits { (row(&split.id, &split.id, Unit::Split, window, ledger)) }
                @if whole { (row(RUN_SPLIT, "the window as a whole", Unit::Run, window, ledger)) }
            }
        }
    }
}

fn row(split: &str, name: &str, unit: Unit, window: &Window, ledger: &Ledger) -> Markup {
    html! {
        tr {
            th.code scope="row" { (name) }
            @for sink in &window.sinks {
                td { @if sink.unit == unit { (cell(split, sink, ledger)) } @else { span.aside { "–" } } }
            }
        }
    }
}

/// One delivery, which may not have begun.
fn cell(split: &str, sink: &WindowSink, ledger: &Ledger) -> Markup {
    let record = ledger.get(&(sink.name.clone(), split.to_owned()));
    html! {
        @match record {
            Some(record) => {
                @let word = record.status();
                (badge(word))
                @if word == "delivered" { " " (count(record.rows, "row", "rows")) }
                @if record.attempts > 1 { " " span.aside { "attempt " (record.attempts) } }
                @if let Some(failure) = &record.failure { span.about.bad { (failure.kind) ": " (failure.message) } }
            }
            None if sink.committed.contains(split) => (badge("delivered")),
            None => span.aside { "waits" },
        }
    }
}
