//! Tables that have too little space.

use super::*;

/// The warnings of a report, and the report.
fn told(config: Value, rows: RecordBatch) -> (Vec<String>, Report) {
    let host = Host::new();
    let report = Report::of(written(&host, config, vec![rows]).unwrap());
    (host.log().into_iter().map(|(_, message)| message).collect(), report)
}

/// A table of whole numbers, some of which are totalled.
fn numbers(columns: usize, of: impl Fn(usize) -> Vec<i64>) -> (RecordBatch, Value) {
    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let rows: Vec<(&str, ArrayRef)> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), integers(of(at)))).collect();
    let sums = names.iter().map(|name| (name.clone(), json!("sum"))).collect();
    (batch(&rows), sums)
}

#[test]
fn titles_that_are_higher_than_a_page_leave_space_for_the_rows() {
    let question = "how satisfied are you with the responsiveness of our support during the last twelve months?";
    let names: Vec<String> = (0..45).map(|at| format!("Question {at:02}: {question}")).collect();
    let columns: Vec<(&str, ArrayRef)> = names.iter().map(|name| (name.as_str(), integers(101..=130))).collect();
    let (warnings, report) = told(json!({}), batch(&columns));
    let words = report.words();
    for number in 101..=130 {
        let count = words.iter().filter(|word| word.text == number.to_string()).count();
        assert_eq!(count, 45, "{number} is not in every column");
    }
    // Nothing stands in the band at the bottom but the number of the page.
    let low = words.iter().filter(|word| word.bottom > word.size.1 - 55.0);
    assert!(low.into_iter().all(|word| ["Page", "of", "1", "2", "3"].contains(&word.text.as_str())));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("and 44 more: the title is cut") && warnings[0].contains("`titles`"), "{warnings:?}");
}

#[test]
fn a_long_name_of_the_totals_is_cut() {
    let rows = batch(&[("a", texts(["x"])), ("n", integers([1]))]);
    let label = "all of the branches together ".repeat(300);
    let (_, report) = told(json!({"totals": {"n": "sum"}, "total_label": label}), rows);
    assert_eq!(report.pages(), 1);
    assert!(report.text().contains('\u{2026}'));
}

#[test]
fn sums_have_space_beside_each_other() {
    let (rows, totals) = numbers(24, |at| (0..700).map(|row| (row * 7 + at as i64) % 9 + 1).collect());
    let formats: Value = (0..24).map(|at| (format!("c{at}"), json!("#,##0.00"))).collect();
    let (warnings, report) = told(json!({"totals": totals, "formats": formats}), rows);
    let words = report.words();
    let sums = words.iter().filter(|word| word.text.contains(',') && word.text.ends_with(".00")).count();
    assert_eq!((sums, warnings), (24, Vec::new()), "{}", report.page(report.pages()));
}

#[test]
fn numbers_that_come_late_are_smaller_and_not_broken() {
    let large = 123_456_789_012_345;
    let (rows, totals) = numbers(12, |_| [vec![1; 600], vec![large; 2]].concat());
    let (warnings, report) = told(json!({"totals": totals}), rows);
    let words = report.words();
    for whole in [large, 2 * large + 600] {
        assert_eq!(words.iter().filter(|word| word.text == whole.to_string()).count() % 12, 0, "{whole}");
        assert!(words.iter().any(|word| word.text == whole.to_string()), "{whole}");
    }
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn numbers_that_no_letters_are_small_enough_for_are_broken_and_told() {
    let (rows, _) = numbers(3, |_| vec![123_456_789_012_345]);
    let widths = json!({"c0": 1, "c1": 40, "c2": 40});
    let (warnings, report) = told(json!({"widths": widths}), rows);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("column `c0`: 1 value broken") && warnings[0].contains("`widths`"), "{warnings:?}");
    assert_eq!(report.text().matches("123456789012345").count(), 2);
}

#[test]
fn pages_are_turned_for_the_space_of_totals() {
    let rows = |columns| numbers(columns, |_| vec![99; 600]);
    let portrait = |columns, with_totals: bool| {
        let (rows, totals) = rows(columns);
        let config = if with_totals { json!({"totals": totals}) } else { json!({}) };
        let word = told(config, rows).1.word("c0");
        word.size.0 < word.size.1
    };
    let most = (1..40).take_while(|columns| portrait(*columns, false)).last().unwrap();
    assert!(!portrait(most, true), "{most} columns");
}
