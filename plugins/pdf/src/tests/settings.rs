//! What a user can choose, and what is refused.

use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{BooleanArray, Float64Array, ListArray, PrimitiveArray};

use super::*;

fn sales() -> RecordBatch {
    batch(&[
        ("day", days([20_512, 20_513, 20_540])),
        ("region", texts(["North", "South", "North"])),
        ("orders", integers([1_200, 7, 30])),
        ("amount", amounts([123_456_789, -550, 1_000])),
        ("rate", Arc::new(Float64Array::from(vec![Some(0.125), None, Some(1.0 / 3.0)]))),
        ("paid", Arc::new(BooleanArray::from(vec![true, false, true]))),
    ])
}

#[test]
fn values_are_shown_as_their_formats_say() {
    let config = json!({
        "formats": {"day": "d mmmm yyyy", "amount": "#,##0.00", "rate": "0.0%", "orders": "#,##0"},
        "decimal_mark": ",", "thousands_mark": ".",
    });
    let text = report(config, vec![sales()]).text();
    for part in ["28 February 2026", "1.234.567,89", "-5,50", "12,5%", "33,3%", "1.200", "true", "false"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let text = report(json!({}), vec![sales()]).text();
    for part in ["2026-02-28", "1234567.89", "0.125", "0.3333333333333333"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn moments_are_shown_in_a_time_zone() {
    let moments = [1_774_744_200_250_000, 1_774_747_800_000_000];
    let zoned: PrimitiveArray<TimestampMicrosecondType> = moments.into_iter().map(Some).collect();
    let rows = batch(&[("at", Arc::new(zoned.with_timezone("UTC")) as ArrayRef)]);
    let text = report(json!({"timezone": "Europe/Dublin"}), vec![rows.clone()]).text();
    assert!(text.contains("2026-03-29 00:30:00.250") && text.contains("2026-03-29 02:30:00"), "{text}");
    let config = json!({"timezone": "Asia/Kolkata", "formats": {"at": "dd.mm.yyyy hh:mm"}});
    let text = report(config, vec![rows]).text();
    assert!(text.contains("29.03.2026 06:00") && text.contains("29.03.2026 07:00"), "{text}");
}

#[test]
fn totals_stand_below_and_as_figures_on_top() {
    let config = json!({
        "totals": {"amount": "sum", "orders": "average", "day": "max"}, "formats": {"amount": "#,##0.00"},
        "summary": true, "rows_label": "Bookings", "titles": {"amount": "Turnover"}, "total_label": "In all",
    });
    let text = report(config, vec![sales()]).text();
    let last = text.lines().find(|line| line.contains("In all")).unwrap_or_else(|| panic!("{text}"));
    for part in ["1,234,572.39", "412.333", "2026-03-28"] {
        assert!(last.contains(part), "{part} is not in {last}");
        assert_eq!(text.matches(part).count(), if part == "2026-03-28" { 3 } else { 2 }, "{text}");
    }
    assert!(text.contains("Bookings") && text.contains("Turnover"), "{text}");
}

#[test]
fn columns_can_be_chosen_and_named() {
    let config = json!({"columns": ["amount", "region"], "titles": {"region": "Where"}, "header": true});
    let text = report(config, vec![sales()]).text();
    let head = text.lines().find(|line| line.contains("Where")).unwrap();
    assert!(head.find("amount") < head.find("Where") && !text.contains("orders"), "{text}");
    let text = report(json!({"columns": ["region"], "header": false}), vec![sales()]).text();
    assert!(!text.contains("region") && text.contains("North"), "{text}");
}

#[test]
fn pages_have_the_size_and_lie_as_the_user_says() {
    for (config, size) in [
        (json!({}), "595.28 x 841.89 pts (A4)"),
        (json!({"orientation": "landscape"}), "841.89 x 595.28 pts (A4)"),
        (json!({"page": "letter"}), "612 x 792 pts (letter)"),
        (json!({"page": "a3"}), "841.89 x 1190.55 pts (A3)"),
        (json!({"page": "legal"}), "612 x 1008 pts (legal)"),
    ] {
        let found = report(config.clone(), vec![sales()]).info("Page size").unwrap();
        assert!(found.starts_with(&size[..10]), "{config}: {found}");
    }
}

#[test]
fn the_file_says_what_it_is_and_of_when() {
    let config = json!({"title": "Sales (\u{e9})", "subtitle": "Week 9", "date": "2026-03-01T06:30:00+02:00"});
    let dated = report(config, vec![sales()]);
    assert_eq!(dated.info("Title").unwrap(), "Sales (\u{e9})");
    assert_eq!(dated.info("Subject").unwrap(), "Week 9");
    assert_eq!(dated.info("CreationDate").unwrap(), "2026-03-01T04:30:00Z");
    assert!(dated.text().contains("2026-03-01T06:30:00+02:00"));
    let config = json!({"date": "in spring", "page_footer": "Internal", "page_number": ""});
    let undated = report(config, vec![sales()]);
    assert_eq!(undated.info("CreationDate"), None);
    assert!(undated.text().contains("Internal") && !undated.text().contains("Page 1"));
}

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    let list = ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>([Some([Some(1)])]);
    let nested = batch(&[("list", Arc::new(list) as ArrayRef)]);
    for (config, part) in [
        (json!({"accent": "red"}), "`accent`"),
        (json!({"margin": 900}), "`margin`"),
        (json!({"font_size": 1}), "`font_size`"),
        (json!({"timezone": "Mars"}), "`timezone`"),
        (json!({"logo": "no/such.png"}), "no/such.png"),
        (json!({"fonts": "no/such/folder"}), "no/such/folder"),
        (json!({"font": "No Such Family"}), "No Such Family"),
        (json!({"columns": ["nope"]}), "`nope`"),
        (json!({"columns": ["day", "region", "day"]}), "`day` twice"),
        (json!({"titles": {"nope": "x"}}), "`titles`"),
        (json!({"totals": {"region": "sum"}}), "`totals`"),
        (json!({"totals": {"day": "sum"}}), "`day`"),
        (json!({"formats": {"amount": "abc"}}), "\"abc\""),
        (json!({"formats": {"region": "0"}}), "`region`"),
        (json!({"chart": {"type": "bar", "x": "region", "y": "region"}}), "`chart`"),
        (json!({"chart": {"type": "bar", "x": "nope", "y": "amount"}}), "`nope`"),
        (json!({"chart": {"type": "bar", "x": "nope", "y": "amount"}, "formats": {"nope": "dd.mm.yyyy"}}), "`nope`"),
        (json!({"chart": {"type": "bar", "x": "region", "y": "amount", "top": 0}}), "`top`"),
    ] {
        let error = written(&Host::new(), config.clone(), vec![sales()]).unwrap_err();
        assert!(error.message.contains(part), "{config}: {error}");
        assert_eq!(error.kind, engine_sdk::ErrorKind::Config, "{config}");
        assert!(error.hint.is_some(), "{config}: {error}");
    }
    assert!(written(&Host::new(), json!({}), vec![nested]).unwrap_err().message.contains("`list`"));
}
