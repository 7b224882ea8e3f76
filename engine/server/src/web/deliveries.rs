//! The ledger of deliveries, and what can be delivered once more.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use engine_state::DeliveryFilter;
use maud::{Markup, html};

use super::fields::{Guest, Sent};
use super::page::{Page, Shown};
use super::parts::{Zones, address, badge, key, number, paging, pipeline_choice, pipeline_link, shortened, size, time};
use super::runs::limit_choice;
use crate::http::Shared;
use crate::http::answer::{Problem, blocking};
use crate::http::api::deliveries::{DeliveryView, Resend, begin_resend, delivery, delivery_named};
use crate::http::guard::Visitor;

const PATH: &str = "/ui/deliveries";
/// How many can be shown at a time.
const LIMITS: [usize; 3] = [50, 200, 1_000];
/// The fields that say which ones are shown.
const FIELDS: [&str; 5] = ["pipeline", "sink", "window", "unsettled", "limit"];

pub(super) async fn page(State(shared): State<Arc<Shared>>, guest: Guest) -> Shown {
    let query = &guest.query;
    let limit = query.number("limit").filter(|limit| LIMITS.contains(limit)).unwrap_or(LIMITS[0]);
    let filter = DeliveryFilter {
        pipeline: query.owned("pipeline"),
        sink: query.owned("sink"),
        window: query.number("window"),
        unsettled: query.has("unsettled"),
        after: query.text("after").and_then(delivery_named),
        // One more than is shown tells whether there are more.
        limit: limit + 1,
    };
    let of = filter.clone();
    let (deliveries, more, zones) = blocking(move || {
        let records = shared.service.state.deliveries(&of)?;
        let more = records.len() > limit;
        let shown = records.into_iter().take(limit).map(|record| delivery(&shared, record));
        Ok((shown.collect::<Result<Vec<_>, _>>()?, more, Zones::of(&shared)))
    })
    .await?;
    let path = |after: Option<String>| {
        let mut fields: Vec<_> = FIELDS.iter().map(|name| (*name, query.owned(name))).collect();
        fields.push(("after", after));
        address(PATH, &fields)
    };
    let back = path(query.owned("after"));
    let first = filter.after.as_ref().map(|_| path(None));
    let next = deliveries.last().filter(|_| more).map(|last| path(Some(last.name())));
    let content = html! {
        form.filter method="get" action=(PATH) {
            (pipeline_choice(&zones.names(), filter.pipeline.as_deref()))
            label for="sink" { "Sink" }
            input #sink name="sink" type="text" value=[&filter.sink];
            label for="window" { "Window" }
            input #window name="window" type="text" inputmode="numeric" size="6" value=[filter.window];
            label.check { input type="checkbox" name="unsettled" value="yes" checked[filter.unsettled]; " only what has not arrived" }
            (limit_choice(&LIMITS, limit))
            button { "Show" }
        }
        @if deliveries.is_empty() { p { "There is none of these." } } @else {
            table.stacked {
                caption.hidden { "Deliveries, those of the newest windows first" }
                thead {
                    tr {
                        @for name in ["Window", "Pipeline", "Sink", "Split", "Status"] { th scope="col" { (name) } }
                        @for name in ["Attempts", "Rows", "Bytes"] { th.number scope="col" { (name) } }
                        th scope="col" { "Arrived" }
                        th scope="col" { "Where, or why not" }
                        @if guest.visitor.operates() { th scope="col" { "Once more" } }
                    }
                }
                tbody { @for delivery in &deliveries { (row(delivery, &zones, &guest.visitor, &back)) } }
            }
        }
        (paging(first.as_deref(), next.as_deref()))
    };
    Ok(Page::new("Deliveries", PATH).show(&guest, &content))
}

fn row(delivery: &DeliveryView, zones: &Zones, visitor: &Visitor, back: &str) -> Markup {
    html! {
        tr {
            th scope="row" { (delivery.window) }
            td data-label="Pipeline" { (pipeline_link(&delivery.pipeline)) }
            td data-label="Sink" { (delivery.sink) }
            td.code data-label="Split" { (delivery.split) }
            td data-label="Status" {
                (badge(delivery.status))
                @if delivery.kept { span.about { "its files are kept" } }
            }
            td.number data-label="Attempts" { (number(delivery.attempts)) }
            td.number data-label="Rows" { (number(delivery.rows)) }
            td.number data-label="Bytes" { (size(delivery.bytes)) }
            td data-label="Arrived" {
                @match delivery.settled {
                    Some(settled) => (time(settled, zones.zone(&delivery.pipeline))),
                    None => "–",
                }
            }
            td data-label="Where, or why not" {
                @if let Some(location) = &delivery.location { span.code { (shortened(location)) } }
                @if let Some(failure) = &delivery.failure { span.bad { (shortened(failure)) } }
            }
            @if visitor.operates() { td data-label="Once more" { (once_more(delivery, visitor, back)) } }
        }
    }
}

/// What has not arrived can be completed; what has can be sent again while its files are kept.
fn once_more(delivery: &DeliveryView, visitor: &Visitor, back: &str) -> Markup {
    let settled = delivery.settled.is_some();
    html! {
        @if settled && !delivery.kept { span.aside { "–" } } @else {
            form.inline method="post" action={ (PATH) "/resend" } {
                (key(visitor))
                input type="hidden" name="back" value=(back);
                input type="hidden" name="pipeline" value=(delivery.pipeline);
                input type="hidden" name="window" value=(delivery.window);
                input type="hidden" name="sink" value=(delivery.sink);
                @if settled {
                    label.check { input type="checkbox" name="again" value="yes" required; " again: whoever got it gets it twice" }
                    button { "Send window " (delivery.window) " again" }
                } @else { button { "Deliver window " (delivery.window) } }
            }
        }
    }
}

pub(super) async fn resend(State(shared): State<Arc<Shared>>, sent: Sent) -> Response {
    let fields = sent.fields;
    let back = fields.back(PATH);
    let service = Arc::clone(&shared);
    let outcome = blocking(move || {
        let (Some(pipeline), Some(window)) = (fields.owned("pipeline"), fields.number("window")) else {
            return Err(Problem::bad_request("the form names no pipeline and window"));
        };
        let sinks = fields.all("sink").map(str::to_owned).collect();
        let said = begin_resend(&service, Resend { pipeline, window, sinks, again: fields.has("again") })?;
        Ok(format!("{said}; the run that does it is listed under Runs"))
    })
    .await;
    shared.notices.lead(&back, outcome)
}
