//! What a run has done, in figures that add up: for each sink that has everything,
//! read = filtered + dead letters + written + refused.

use engine_abi::Error;
use maud::{Markup, html};
use serde_json::Value;

use super::parts::{number, size, wide};
use crate::view::{FiguresView, SinkView};

/// The figures of a run.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) read: u64,
    filtered: u64,
    /// Refused before the sinks.
    dead_letters: u64,
    pub(super) sinks: Vec<SinkView>,
    /// Windows of an earlier run that it has taken up.
    pub(super) resumed: u64,
}

impl Account {
    /// Those of a run at work.
    pub(super) fn of_live(figures: &FiguresView) -> Self {
        let of_sinks: u64 = figures.sinks.iter().map(|sink| sink.dead_letters).sum();
        let FiguresView { read, filtered, dead_letters, sinks } = figures.clone();
        Self { read, filtered, dead_letters: dead_letters - of_sinks.min(dead_letters), sinks, resumed: 0 }
    }

    /// Those that a run has reported.
    pub(super) fn of_report(report: Option<&Value>) -> Self {
        let Some(report) = report else { return Self::default() };
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
        let text = |of: &Value, name: &str| of[name].as_str().map(str::to_owned);
        let sinks = report["sinks"].as_array().into_iter().flatten();
        Self {
            read: number(report, "read"),
            filtered: number(report, "filtered"),
            dead_letters: number(report, "dead_letters"),
            resumed: number(report, "resumed"),
            sinks: sinks
                .map(|sink| SinkView {
                    name: text(sink, "name").unwrap_or_default(),
                    written: number(sink, "written"),
                    bytes: number(sink, "bytes"),
                    dead_letters: number(sink, "dead_letters"),
                    deliveries: number(sink, "deliveries"),
                    location: text(sink, "location"),
                    error: text(sink, "error"),
                })
                .collect(),
        }
    }

    /// Rows that a sink does not have yet. None: it has got more than was read, of what an earlier run began.
    fn missing(&self, sink: &SinkView) -> Option<u64> {
        self.read.checked_sub(self.filtered + self.dead_letters + sink.written + sink.dead_letters)
    }

    /// A table of one row a sink.
    pub(super) fn table(&self, at_work: bool) -> Markup {
        let table = html! {
            table {
                caption { "Rows: read = filtered + dead letters + written + refused" }
                thead {
                    tr {
                        th scope="col" { "Sink" }
                        @for name in ["Read", "Filtered", "Dead letters", "Written", "Refused", "Bytes", "Deliveries"] {
                            th.number scope="col" { (name) }
                        }
                        th scope="col" { "Sum" }
                        th scope="col" { "Where, or why not" }
                    }
                }
                tbody {
                    @for sink in &self.sinks {
                        tr {
                            th scope="row" { (sink.name) }
                            @for figure in [self.read, self.filtered, self.dead_letters, sink.written, sink.dead_letters] {
                                td.number { (number(figure)) }
                            }
                            td.number { (size(sink.bytes)) }
                            td.number { (number(sink.deliveries)) }
                            td { (self.sum(sink, at_work)) }
                            td {
                                @if let Some(location) = &sink.location { span.code { (location) } }
                                @if let Some(error) = &sink.error { " " span.bad { (error) } }
                            }
                        }
                    }
                }
            }
        };
        wide("Rows by sink", &table)
    }

    fn sum(&self, sink: &SinkView, at_work: bool) -> String {
        match self.missing(sink) {
            Some(0) if self.read == 0 && sink.written == 0 => "–".into(),
            Some(0) => "adds up".into(),
            Some(missing) if at_work => format!("{} on their way", number(missing)),
            Some(missing) => format!("{} not delivered", number(missing)),
            None => "with rows of earlier runs".into(),
        }
    }
}

/// Why a run has failed: each error with what to do about it.
pub(super) fn errors(report: Option<&Value>) -> Vec<Error> {
    let errors = report.and_then(|report| report["errors"].as_array()).into_iter().flatten();
    errors.filter_map(|error| serde_json::from_value(error.clone()).ok()).collect()
}

/// What a person should know of a run: its notes, and what the other sides told.
pub(super) fn notes(report: Option<&Value>) -> Vec<String> {
    let Some(report) = report else { return Vec::new() };
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let notes = list(&report["notes"]).into_iter().filter_map(|note| note.as_str().map(str::to_owned));
    let of_sinks = list(&report["sinks"]).into_iter().flat_map(|sink| {
        let name = sink["name"].as_str().unwrap_or_default().to_owned();
        let alerts = list(&sink["alerts"]);
        let told = sink["figures"].as_object().cloned().unwrap_or_default();
        let told = told.into_iter().map(|(figure, value)| format!("{figure}: {value}"));
        let alerts = alerts.into_iter().filter_map(|alert| alert["message"].as_str().map(str::to_owned));
        alerts.chain(told).map(move |text| format!("{name}: {text}")).collect::<Vec<_>>()
    });
    notes.chain(of_sinks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_adds_up_or_says_what_is_missing() {
        let sink =
            |written: u64| json!({"name": "db", "written": written, "bytes": 7, "dead_letters": 1, "deliveries": 1});
        let report = json!({"read": 10, "filtered": 2, "dead_letters": 3, "sinks": [sink(4), sink(2), sink(9)]});
        let account = Account::of_report(Some(&report));
        let sums: Vec<_> = account.sinks.iter().map(|sink| account.sum(sink, false)).collect();
        assert_eq!(sums, ["adds up", "2 not delivered", "with rows of earlier runs"]);
        assert_eq!(account.sum(&account.sinks[1], true), "2 on their way");
        assert!(Account::of_report(Some(&json!({"interrupted": true}))).sinks.is_empty());
    }

    #[test]
    fn errors_and_what_sinks_tell_are_read_from_a_report() {
        let report = json!({
            "errors": [{"kind": "config", "message": "no table", "hint": "make it", "stage": "sinks.db"}],
            "notes": ["one"],
            "sinks": [{"name": "api", "alerts": [{"key": "k", "message": "slow"}], "figures": {"matched": 3}}],
        });
        assert_eq!(errors(Some(&report))[0].hint.as_deref(), Some("make it"));
        assert_eq!(notes(Some(&report)), ["one", "api: slow", "api: matched: 3"]);
        assert!(errors(None).is_empty() && notes(None).is_empty());
    }
}
