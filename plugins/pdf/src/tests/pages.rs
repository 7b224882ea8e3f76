//! Many rows, high rows, no rows.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

fn numbered(range: std::ops::Range<i64>) -> RecordBatch {
    let names: Vec<String> = range.clone().map(|at| format!("customer-{at}")).collect();
    batch(&[
        ("id", integers(range.clone())),
        ("customer", texts(names.iter().map(String::as_str))),
        ("amount", amounts(range.map(|at| i128::from(at) * 101))),
    ])
}

#[test]
fn every_row_is_there_and_every_page_has_titles_and_its_number() {
    let config = json!({"title": "Many rows", "date": "2026-03-31", "totals": {"amount": "sum"}});
    let report = report(config, vec![numbered(0..1_000), numbered(1_000..2_000)]);
    let pages = report.pages();
    assert!((30..80).contains(&pages), "{pages}");
    let text = report.text();
    let all: Vec<&str> = text.split_whitespace().collect();
    for at in 0..2_000 {
        assert!(all.contains(&format!("customer-{at}").as_str()), "{at}");
    }
    for (at, page) in text.split('\u{c}').take(pages).enumerate() {
        assert!(page.contains(&format!("Page {} of {pages}", at + 1)), "{page}");
        assert!(page.contains("Many rows") && page.contains("2026-03-31"), "{page}");
        let head = page.lines().find(|line| line.contains("customer") && line.contains("amount"));
        assert!(head.is_some_and(|head| head.contains("id")), "{page}");
    }
    assert!(report.page(pages).contains("2018990.00"), "{}", report.page(pages));
}

#[test]
fn the_same_rows_become_the_same_bytes_however_they_come() {
    let config = json!({
        "title": "T", "summary": true, "totals": {"amount": "sum"},
        "chart": {"type": "bar", "x": "customer", "y": "amount", "top": 5},
    });
    let rows = numbered(0..1_500);
    let whole = written(&Host::new(), config.clone(), vec![rows.clone()]).unwrap();
    let pieces = (0..15).map(|at| rows.slice(at * 100, 100)).collect();
    assert!(written(&Host::new(), config.clone(), pieces).unwrap() == whole);
    assert!(written(&Host::new(), config, vec![rows]).unwrap() == whole);
}

#[test]
fn pieces_leave_while_rows_come() {
    let (host, asked) = (Host::new(), Rc::new(Cell::new(0)));
    let mut pdf: Pdf = host.open(json!({})).unwrap();
    let counter = Rc::clone(&asked);
    let batches = (0..40).map(move |at| {
        counter.set(at + 1);
        Ok(numbered(at * 1_000..(at + 1) * 1_000))
    });
    // Batches of a test stay in its thread.
    struct Here<T>(T);
    // SAFETY: nothing of it is sent anywhere.
    unsafe impl<T> Send for Here<T> {}
    impl<T: Iterator> Iterator for Here<T> {
        type Item = T::Item;

        fn next(&mut self) -> Option<T::Item> {
            self.0.next()
        }
    }
    let mut output = pdf.encode(Batches::new(numbered(0..1).schema(), Here(batches))).unwrap();
    output.next().unwrap().unwrap();
    assert!(asked.get() < 40, "all rows were asked for before the first piece");
    assert!(output.count() > 1);
}

#[test]
fn a_row_that_is_higher_than_a_page_goes_on_on_the_next() {
    let words: Vec<String> = (0..4_000).map(|at| format!("word{at}")).collect();
    let long = words.join(" ");
    let rows = batch(&[("id", integers([1, 2, 3])), ("note", texts(["short", long.as_str(), "last"]))]);
    let report = report(json!({}), vec![rows]);
    assert!(report.pages() >= 3, "{}", report.pages());
    let text = report.raw();
    let mut rest = text.as_str();
    for word in &words {
        let at = rest.find(word.as_str()).unwrap_or_else(|| panic!("{word} is missing, or in another place"));
        rest = &rest[at + word.len()..];
    }
    assert!(rest.contains("last"));
    for page in 1..=report.pages() {
        assert!(report.page(page).contains("note"), "the titles are missing on page {page}");
    }
}

#[test]
fn a_value_of_many_pages_is_cut_with_a_mark_and_told() {
    let host = Host::new();
    let long = "lorem ipsum ".repeat(20_000);
    let rows = batch(&[("note", texts([long.as_str(), "short"]))]);
    let report = Report::of(written(&host, json!({}), vec![rows]).unwrap());
    assert!(report.pages() < 40, "{}", report.pages());
    assert_eq!(report.text().matches('\u{2026}').count(), 1);
    let (_, message) = &host.log()[0];
    assert!(message.contains("`note`: 1 value of more than 100000 characters"), "{message}");
}

#[test]
fn a_word_that_is_wider_than_its_column_is_broken() {
    let long = "x".repeat(3_000);
    let rows = batch(&[("id", integers([1])), ("note", texts([long.as_str()]))]);
    let report = report(json!({}), vec![rows]);
    assert_eq!(report.text().matches('x').count(), 3_000);
}

#[test]
fn a_report_without_rows_says_so() {
    let rows = numbered(0..1).slice(0, 0);
    let config = json!({
        "title": "Nothing", "summary": true, "totals": {"amount": "sum"},
        "chart": {"type": "line", "x": "id", "y": "amount"},
    });
    let report = report(config, vec![rows.clone(), rows]);
    assert_eq!(report.pages(), 1);
    let text = report.text();
    for part in ["Nothing", "customer", "There are no rows.", "Page 1 of 1", "Rows"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("Total") && report.word("0").top < report.word("customer").top);
}

#[test]
fn an_input_that_knows_no_columns_is_one_without_rows() {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let config = json!({
        "title": "Nothing", "summary": true, "totals": {"amount": "sum"}, "formats": {"amount": "#,##0.00"},
        "widths": {"amount": 9}, "titles": {"amount": "Amount"}, "columns": ["day", "amount"],
        "chart": {"type": "bar", "x": "day", "y": "amount"},
    });
    let report = report(config, vec![nothing]);
    let text = report.text();
    assert!(text.contains("There are no rows.") && text.contains("Rows"), "{text}");
}

#[test]
fn many_columns_and_long_descriptions_stay_on_the_pages() {
    let names: Vec<String> = (0..60).map(|at| format!("column{at}")).collect();
    let columns: Vec<(&str, ArrayRef)> = names.iter().map(|name| (name.as_str(), integers([12_345; 3]))).collect();
    let config = json!({"description": "Long words of a description. ".repeat(500), "title": "Wide"});
    let report = report(config, vec![batch(&columns)]);
    let (width, height, pixels) = report.picture(report.pages());
    assert!(width > height, "a wide table lies across");
    // Nothing is written over the edge.
    for row in pixels.chunks_exact(width * 3) {
        assert!(row[..width / 20 * 3].iter().chain(&row[row.len() - width / 40 * 3..]).all(|it| *it == 255));
    }
}

#[test]
fn a_run_that_is_stopped_ends() {
    let host = Host::new();
    let mut pdf: Pdf = host.open(json!({})).unwrap();
    let rows = numbered(0..100);
    let mut output = pdf.encode(Batches::new(rows.schema(), std::iter::repeat_with(move || Ok(rows.clone())))).unwrap();
    host.cancel();
    let error = output.find_map(|piece| piece.err()).unwrap();
    assert_eq!(error.kind, engine_sdk::ErrorKind::Cancelled);
}
