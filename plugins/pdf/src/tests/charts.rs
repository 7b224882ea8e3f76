//! Charts of values that are many, large, small or none.

use arrow_array::Float64Array;

use super::*;

/// The warnings of a report, and the report.
fn told(config: Value, batches: Vec<RecordBatch>) -> (Vec<String>, Report) {
    let host = Host::new();
    let report = Report::of(written(&host, config, batches).unwrap());
    (host.log().into_iter().map(|(_, message)| message).collect(), report)
}

fn floats(values: &[f64]) -> RecordBatch {
    let names: Vec<String> = (0..values.len()).map(|at| format!("name{at}")).collect();
    let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    batch(&[("name", texts(names.iter().map(String::as_str))), ("value", values)])
}

#[test]
fn neighbours_are_joined_where_there_are_too_many_values_with_an_order() {
    let rows = batch(&[("t", integers(0..12_000)), ("n", integers([1; 12_000]))]);
    let config = json!({"chart": {"type": "line", "x": "t", "y": "n"}, "columns": ["n"]});
    let (warnings, report) = told(config, vec![rows]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("neighbours are shown as one"), "{warnings:?}");
    // The names go on to the end of the line.
    let words = report.words();
    let last = words.iter().filter(|word| word.page == 1 && word.top < 220.0).filter_map(|it| it.text.parse().ok());
    assert!(last.max().is_some_and(|last: i64| last > 11_000), "{}", report.page(1));
}

#[test]
fn what_is_not_in_the_chart_is_told() {
    let names: Vec<String> = (0..10_050).map(|at| format!("n{at}")).collect();
    let rows = batch(&[("name", texts(names.iter().map(String::as_str))), ("n", integers(0..10_050))]);
    let config = json!({"chart": {"type": "bar", "x": "name", "y": "n", "total": "max"}, "columns": ["n"]});
    let (warnings, report) = told(config, vec![rows]);
    assert!(warnings[0].contains("50 rows had others: they are not in the chart"), "{warnings:?}");
    assert!(!report.page(1).contains("Others"));
}

#[test]
fn bars_have_space_however_the_rows_are_sorted() {
    let names: Vec<String> = (0..1_100).map(|at| format!("Region-{:02}", at / 100)).collect();
    let rows = batch(&[("region", texts(names.iter().map(String::as_str))), ("n", integers(0..1_100))]);
    let config = json!({"chart": {"type": "bar", "x": "region", "y": "n"}, "columns": ["n"]});
    let (_, report) = told(config, vec![rows]);
    for name in ["Region-10", "Region-01"] {
        let word = report.word(name);
        assert!(word.bottom - word.top > 8.0, "{name} is {} points high", word.bottom - word.top);
    }
}

#[test]
fn a_chart_that_a_page_has_no_space_for_shows_fewer_bars() {
    let names: Vec<String> = (0..60).map(|at| format!("name{at}")).collect();
    let rows = batch(&[("name", texts(names.iter().map(String::as_str))), ("n", integers(1..61))]);
    let config = json!({
        "margin": 60, "orientation": "landscape", "columns": ["n"],
        "chart": {"type": "bar", "x": "name", "y": "n", "top": 50},
    });
    let (warnings, report) = told(config, vec![rows]);
    assert!(warnings[0].contains("the chart has space for 25 bars, and `top` is 50"), "{warnings:?}");
    let margin = 60.0 * 72.0 / 25.4;
    let words = report.words();
    let names: Vec<&Word> = words.iter().filter(|word| word.text.starts_with("name") && word.text.len() > 4).collect();
    assert_eq!(names.len(), 25);
    for word in names {
        assert!(word.top > margin && word.bottom < word.size.1 - margin - 20.0, "{}", word.text);
    }
    assert!(words.iter().any(|word| word.text == "Others"));
}

#[test]
fn values_of_every_size_are_drawn() {
    for kind in ["bar", "line"] {
        for values in [&[5e-324, 0.0][..], &[0.0; 3], &[1e300, -1e300], &[f64::MAX; 2], &[f64::INFINITY, 1.0]] {
            let config = json!({"chart": {"type": kind, "x": "name", "y": "value"}, "columns": ["name"]});
            let (_, report) = told(config, vec![floats(values)]);
            for word in report.words() {
                assert!(word.left >= 0.0 && word.right <= word.size.0, "{kind} of {values:?}: {}", word.text);
                assert!(word.text.len() < 20, "{kind} of {values:?}: {}", word.text);
            }
        }
    }
    let (_, report) = told(json!({"chart": {"type": "bar", "x": "name", "y": "value"}}), vec![floats(&[0.0, 0.0])]);
    // The values of bars that have no length stand beside the names.
    let (name, value) = (report.word("name0"), report.word("0"));
    assert!(value.left > name.right && value.left < name.right + 30.0, "{} {}", name.right, value.left);
}

#[test]
fn names_below_a_chart_are_not_cut_at_the_edge() {
    let names = [
        "A name that is longer than a third of it, at the left",
        "middle",
        "And another one that is as long as that, at the end",
    ];
    let rows = batch(&[("name", texts(names)), ("n", integers([1, 2, 3]))]);
    let config = json!({"chart": {"type": "line", "x": "name", "y": "n"}, "columns": ["n"], "margin": 30});
    let (_, report) = told(config, vec![rows]);
    let (first, last) = (report.word("A"), report.word("end"));
    let margin = 30.0 * 72.0 / 25.4;
    assert!(first.left > margin - 0.1 && last.right < last.size.0 - margin + 0.1);
}

#[test]
fn a_summary_shows_all_totals_on_as_many_lines_as_they_need() {
    let names: Vec<String> = (0..8).map(|at| format!("c{at}")).collect();
    let columns: Vec<(&str, ArrayRef)> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), integers([5_000 + at as i64]))).collect();
    let totals: Value = names.iter().map(|name| (name.clone(), json!("sum"))).collect();
    let (_, report) = told(json!({"summary": true, "totals": totals}), vec![batch(&columns)]);
    let text = report.text();
    for at in 0..8 {
        // As a figure, in its row, and as a total.
        assert_eq!(text.matches(&format!("500{at}")).count(), 3, "{text}");
    }
    assert!(report.word("5007").top > report.word("5000").top + 40.0);
}
