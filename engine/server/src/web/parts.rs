//! Small pieces that pages share.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use crate::http::Shared;
use crate::http::guard::Visitor;
use crate::view::{PipelineView, local, local_rfc3339};

/// The most that a cell shows of a text; the rest is on the page of its own.
const LONGEST_CELL: usize = 300;

/// A time, as people of a zone write it.
pub(super) fn time(at: DateTime<Utc>, zone: Tz) -> Markup {
    html! { time datetime=(local_rfc3339(at, zone)) { (local(at, zone)) } }
}

/// A whole number in groups of three digits.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).filter_map(|group| std::str::from_utf8(group).ok());
    let groups: Vec<_> = Some(head).filter(|head| !head.is_empty()).into_iter().chain(groups).collect();
    groups.join(",")
}

/// A number of things: `1 row`, `1,200 rows`.
pub(super) fn count(number_of: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(number_of), if number_of == 1 { one } else { several })
}

/// A size in bytes, in the unit that makes it short.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1_000.0, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_000.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time span, with as much of it as matters.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds.max(0.0) * 1_000.0),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// From one time to another.
pub(super) fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    span((to - from).as_seconds_f64())
}

/// A word for how something stands, in the colour that goes with it.
pub(super) fn badge(word: &str) -> Markup {
    let tone = match word {
        "succeeded" | "delivered" | "replayed" | "works" => "good",
        "failed" | "broken" | "given_up" | "fails" => "bad",
        "running" | "listening" | "queued" | "begun" | "pending" => "busy",
        "paused" | "stopped" | "interrupted" | "final" => "held",
        _ => "quiet",
    };
    html! { span.badge.(tone) { (word.replace('_', " ")) } }
}

/// The beginning of a long text.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_CELL) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let part = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(part).collect()
}

/// The page of a pipeline.
pub(super) fn pipeline_path(name: &str) -> String {
    format!("/ui/pipelines/{}", encoded(name))
}

/// The page of a run.
pub(super) fn run_path(id: &str) -> String {
    format!("/ui/runs/{}", encoded(id))
}

pub(super) fn pipeline_link(name: &str) -> Markup {
    html! { a href=(pipeline_path(name)) { (name) } }
}

pub(super) fn run_link(id: &str) -> Markup {
    html! { a.code href=(run_path(id)) { (id) } }
}

/// An address with those of the fields that have a value.
pub(super) fn address(path: &str, fields: &[(&str, Option<String>)]) -> String {
    let set = fields.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
    let query: Vec<_> = set.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// What every form carries.
pub(super) fn key(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="form_key" value=(visitor.form_key); }
}

/// A button that sends a form of nothing else.
pub(super) fn button(visitor: &Visitor, action: &str, label: &str) -> Markup {
    html! {
        @if visitor.operates() {
            form.inline method="post" action=(action) { (key(visitor)) button { (label) } }
        }
    }
}

/// Something wide, which is moved to and fro by itself.
pub(super) fn wide(label: &str, content: &Markup) -> Markup {
    html! { div.wide role="region" aria-label=(label) tabindex="0" { (content) } }
}

/// The ways to other parts of a list: to its first one, where this is another, and to the next one.
pub(super) fn paging(first: Option<&str>, next: Option<&str>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav.paging aria-label="Parts of the list" {
                @if let Some(first) = first { a href=(first) { "From the first one on" } }
                @if let Some(next) = next { a rel="next" href=(next) { "The next ones" } }
            }
        }
    }
}

/// The choice of a pipeline in a form that filters.
pub(super) fn pipeline_choice(names: &[String], chosen: Option<&str>) -> Markup {
    html! {
        label for="pipeline" { "Pipeline" }
        select #pipeline name="pipeline" {
            option value="" { "all" }
            @for name in names { option value=(name) selected[chosen == Some(name.as_str())] { (name) } }
            // Its file may be gone; what it has left behind is not.
            @if let Some(other) = chosen.filter(|chosen| names.iter().all(|name| name != chosen)) {
                option value=(other) selected { (other) }
            }
        }
    }
}

/// The names of pipelines, and the zone in which the times of each are shown.
pub(super) struct Zones(BTreeMap<String, Tz>);

impl Zones {
    pub(super) fn of(shared: &Shared) -> Self {
        let pipelines = shared.service.pipelines();
        Self(pipelines.into_iter().map(|pipeline| (pipeline.name.clone(), pipeline.zone())).collect())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn zone(&self, pipeline: &str) -> Tz {
        self.0.get(pipeline).copied().unwrap_or(Tz::UTC)
    }
}

/// The next time of a pipeline, and how long that is from now.
pub(super) fn next_run(pipeline: &PipelineView) -> Markup {
    html! {
        @match pipeline.next_run {
            Some(next) => { (time(next, pipeline.zone())) span.about { "in " (between(Utc::now(), next)) } }
            None => span.aside { "none" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_units_fit() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678"), (123_456, "123,456")];
        cases.iter().for_each(|(value, text)| assert_eq!(number(*value), *text));
        let cases = [(999, "999 B"), (1_000, "1.0 kB"), (999_960, "1.0 MB"), (2_500_000_000, "2.5 GB")];
        cases.iter().for_each(|(value, text)| assert_eq!(size(*value), *text));
        let cases = [
            (0.0, "0 ms"),
            (-3.0, "0 ms"),
            (0.0364, "36 ms"),
            (0.9996, "1.0 s"),
            (9.96, "10 s"),
            (59.7, "1 min 0 s"),
            (3_725.0, "1 h 2 min"),
            (90_000.0, "1 d 1 h"),
        ];
        cases.iter().for_each(|(value, text)| assert_eq!(span(*value), *text));
    }

    #[test]
    fn a_name_of_any_kind_is_one_part_of_an_address() {
        assert_eq!(pipeline_path("a/b?c=\"é"), "/ui/pipelines/a%2Fb%3Fc%3D%22%C3%A9");
        assert_eq!(
            address("/ui/runs", &[("pipeline", Some("a b".into())), ("stage", None)]),
            "/ui/runs?pipeline=a%20b"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "é".repeat(LONGEST_CELL + 1);
        assert_eq!(shortened(&long), format!("{}…", "é".repeat(LONGEST_CELL)));
        assert_eq!(shortened("short"), "short");
    }
}
