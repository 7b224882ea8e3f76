//! Pictures of runs: one bar each, the oldest first.

use maud::{Markup, html};

use super::account::Account;
use super::parts::{between, number};
use crate::view::{RunView, local};

/// So many runs are in a picture.
pub(super) const SHOWN: usize = 30;
/// Room for a bar, and the bar in it.
const STEP: usize = 8;
const BAR: usize = 6;
const HEIGHT: f64 = 40.0;
/// Above the bars, for the mark of a run that did not succeed.
const ABOVE: f64 = 10.0;

/// A run in a picture.
struct Bar {
    value: f64,
    /// It did not succeed: it has a mark, so that colour is not all that tells it.
    marked: bool,
    /// What it stands for.
    title: String,
}

/// How many rows runs have read, and how long they took; of runs from the newest on.
pub(super) fn of_runs(runs: &[RunView], zone: chrono_tz::Tz) -> [Markup; 2] {
    let ended = || runs.iter().filter(|run| run.report.is_some()).take(SHOWN);
    let title = |run: &RunView, value: String| {
        format!("{}: {value}, {}", local(run.started, zone), run.outcome.as_deref().unwrap_or_default())
    };
    let bar = |run: &RunView, value: f64, told: String| Bar {
        value,
        marked: run.outcome.as_deref() != Some("succeeded"),
        title: title(run, told),
    };
    let mut rows: Vec<_> = ended()
        .map(|run| {
            let read = Account::of_report(run.report.as_ref()).read;
            bar(run, read as f64, format!("{} rows", number(read)))
        })
        .collect();
    let mut times: Vec<_> = ended()
        .filter_map(|run| {
            let took = between(run.started, run.ended?);
            Some(bar(run, (run.ended? - run.started).as_seconds_f64(), took))
        })
        .collect();
    rows.reverse();
    times.reverse();
    [bars("Rows read", &rows), bars("Duration", &times)]
}

/// A picture with its title, and what it shows in words.
fn bars(title: &str, bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let highest = bars.iter().max_by(|one, other| one.value.total_cmp(&other.value));
    let marked = bars.iter().filter(|bar| bar.marked).count();
    let said = match (bars.last(), highest) {
        (Some(last), Some(highest)) => format!(
            "{title} of the last {} runs, of which {marked} did not succeed. Most: {}. Last: {}.",
            bars.len(),
            highest.title,
            last.title
        ),
        _ => format!("{title}: no run has ended yet."),
    };
    let width = SHOWN * STEP;
    // The newest stands at the right, however few there are.
    let left = (SHOWN - bars.len().min(SHOWN)) * STEP;
    let low = HEIGHT + ABOVE;
    html! {
        svg.bars role="img" aria-label=(said) viewBox={ "0 0 " (width) " " (low) } preserveAspectRatio="none" {
            line.ground x1="0" x2=(width) y1=(low) y2=(low) {}
            @for (index, bar) in bars.iter().enumerate() {
                @let height = if most > 0.0 { (bar.value / most * HEIGHT).max(1.5) } else { 1.5 };
                @let from = left + index * STEP + (STEP - BAR) / 2;
                g.marked[bar.marked] {
                    title { (bar.title) }
                    rect x=(from) y=(format!("{:.1}", low - height)) width=(BAR) height=(format!("{height:.1}")) {}
                    @if bar.marked {
                        @let top = low - height - 8.0;
                        path d=(format!("M{from} {top:.1}l6 6m0 -6l-6 6")) {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(read: u64, outcome: &'static str) -> RunView {
        RunView {
            id: "1".into(),
            pipeline: "p".into(),
            trigger: "api".into(),
            slot: None,
            reference: None,
            started: "2026-03-01T07:00:00Z".parse().unwrap(),
            ended: "2026-03-01T07:00:05Z".parse().ok(),
            status: outcome,
            outcome: Some(outcome.into()),
            report: Some(json!({"read": read, "sinks": []})),
        }
    }

    #[test]
    fn a_picture_says_what_it_shows_and_marks_what_failed() {
        let runs = [run(10, "succeeded"), run(0, "failed"), run(2_000, "succeeded")];
        let [rows, times] = of_runs(&runs, chrono_tz::UTC).map(Markup::into_string);
        assert!(rows.contains(
            "Rows read of the last 3 runs, of which 1 did not succeed. Most: 2026-03-01 07:00:00 UTC: 2,000 rows"
        ));
        assert!(rows.contains("Last: 2026-03-01 07:00:00 UTC: 10 rows, succeeded."));
        assert_eq!((rows.matches("<rect").count(), rows.matches("<path").count()), (3, 1));
        assert!(times.contains("5.0 s"));
        let [none, _] = of_runs(&[], chrono_tz::UTC).map(Markup::into_string);
        assert!(none.contains("no run has ended yet"));
    }
}
