//! Reading: what our writer wrote, and what other programs did.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use engine_sdk::file_piece;
use engine_sdk::prelude::*;
use engine_sdk::testing::{Host, Rejected};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Excel, batch, written};
use crate::tests::integers;

/// Reads files, and checks that every record is accounted for. Rows as text, columns with their types.
pub fn read_files(host: &Host, config: Value, files: &[(&str, &[u8])]) -> Result<RecordBatch> {
    let mut excel = host.open::<Excel>(config)?;
    let pieces: Vec<_> =
        files.iter().flat_map(|(name, data)| data.chunks(1_000).map(|piece| Ok(file_piece(name, piece)))).collect();
    let before = host.rejections().len();
    let counted = host.records();
    let batches = excel.decode(Batches::new(engine_sdk::files_schema(), pieces.into_iter()))?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    assert!(batches.iter().all(|batch| batch.schema() == schema && (1..=8192).contains(&batch.num_rows())));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let rejected = host.rejections().len() - before;
    assert_eq!(host.records() - counted, (rows + rejected) as u64, "every record is a row or a dead letter");
    // One batch is enough for all tests but those that count.
    Ok(batches.into_iter().next().unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// Rows and dead letters of one file.
fn read(config: Value, data: &[u8]) -> Result<(RecordBatch, Vec<Rejected>)> {
    let host = Host::new();
    let rows = read_files(&host, config, &[("in/a.xlsx", data)])?;
    Ok((rows, host.rejections()))
}

/// `name type`, of every column.
fn columns(rows: &RecordBatch) -> Vec<String> {
    let shown = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
    rows.schema().fields().iter().map(shown).collect()
}

fn texts_of<'a>(rows: &'a RecordBatch, name: &str) -> Vec<Option<&'a str>> {
    rows.column_by_name(name).unwrap().as_string::<i32>().iter().collect()
}

const OPENPYXL: &[u8] = include_bytes!("openpyxl.xlsx");
const LIBREOFFICE: &[u8] = include_bytes!("libreoffice.xlsx");
const XLSXWRITER: &[u8] = include_bytes!("xlsxwriter.xlsx");
const PROTECTED: &[u8] = include_bytes!("protected.xlsx");
const OLD: &[u8] = include_bytes!("old.xls");

const DAY: i64 = 86_400_000_000;

#[test]
fn a_table_of_openpyxl_is_read_where_it_stands() {
    let (rows, letters) = read(json!({"range": "B3"}), OPENPYXL).unwrap();
    assert_eq!(letters, []);
    assert_eq!(
        columns(&rows),
        [
            "number Utf8",
            "day Date32",
            "started Timestamp(µs)",
            "at Utf8",
            "lasted Utf8",
            "cost Float64",
            "H Utf8",
            "paid Boolean",
            "who Utf8",
            "calls Int64"
        ]
    );
    assert_eq!(texts_of(&rows, "number"), [Some("0049123"), Some("007"), Some("1"), Some("2")]);
    let days = rows["day"].as_primitive::<Date32Type>();
    assert_eq!(days.iter().collect::<Vec<_>>(), [Some(20_512), Some(-25_567), None, Some(2_932_896)]);
    let started = rows["started"].as_primitive::<TimestampMicrosecondType>();
    let first = 20_512 * DAY + (13 * 3_600 + 5 * 60 + 9) * 1_000_000 + 250_000;
    let last = 2_932_897 * DAY - 1_000_000;
    assert_eq!(started.iter().collect::<Vec<_>>(), [Some(first), Some(20_512 * DAY), None, Some(last)]);
    assert_eq!(texts_of(&rows, "at"), [Some("13:05:09"), Some("00:00:00"), None, Some("23:59:59")]);
    assert_eq!(texts_of(&rows, "lasted"), [Some("26:30:00"), Some("00:00:01.500"), None, None]);
    assert_eq!(rows["cost"].as_ref(), &Float64Array::from(vec![Some(1.25), Some(3.0), None, Some(0.1)]));
    assert_eq!(texts_of(&rows, "H"), [Some("a note"), None, None, None]);
    assert_eq!(rows["paid"].as_ref(), &BooleanArray::from(vec![Some(true), Some(false), None, None]));
    assert_eq!(texts_of(&rows, "who"), [Some("Zoë"), Some("a bold word"), Some("  <&>\n "), None]);
    assert_eq!(rows["calls"].as_ref(), &Int64Array::from(vec![Some(3), None, Some(4), Some(-5)]));
    // LibreOffice has computed the formula in it, and saved the rest in its own way.
    let (same, letters) = read(json!({"range": "B3", "nulls": ["#DIV/0!"]}), LIBREOFFICE).unwrap();
    assert_eq!((same, letters.len()), (rows, 0));
    let (_, letters) = read(json!({"range": "B3"}), LIBREOFFICE).unwrap();
    assert_eq!((letters.len(), letters[0].code.as_str()), (1, "error_value"));
}

#[test]
fn what_xlsxwriter_writes_is_read_with_days_from_1904_and_the_values_of_formulas() {
    let (rows, letters) = read(json!({}), XLSXWRITER).unwrap();
    assert_eq!(columns(&rows), ["day Date32", "twice Int64", "text Utf8", "no Utf8", "flag Utf8"]);
    assert_eq!(rows["day"].as_ref(), &Date32Array::from(vec![Some(20_512), None, None]));
    assert_eq!(rows["twice"].as_ref(), &Int64Array::from(vec![Some(42), None, None]));
    assert_eq!(texts_of(&rows, "text"), [Some("ab"), Some("_x0041_\r\n\u{b}"), Some("a bold word")]);
    // What was not found is no value.
    assert_eq!(texts_of(&rows, "no"), [None, None, None]);
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].code.as_str(), letters[0].reason.as_str()),
        ("error_value", "sheet Übersicht, cell B3: twice: \"#DIV/0!\" is an error")
    );
    // It can be read again alone, and says the same, until the settings say otherwise.
    let (none, again) = read(json!({}), &letters[0].data).unwrap();
    assert_eq!((none.num_rows(), again[0].reason.as_str()), (0, letters[0].reason.as_str()));
    assert!(again[0].data == letters[0].data);
    let (rows, _) = read(json!({"nulls": ["#DIV/0!"], "types": {"twice": "integer"}}), &letters[0].data).unwrap();
    assert_eq!(rows["day"].as_ref(), &Date32Array::from(vec![-24_107]));
    assert!(rows["twice"].is_null(0));
}

#[test]
fn files_of_other_kinds_are_named() {
    for (bytes, message) in [
        (PROTECTED, "in/a.xlsx is protected with a password"),
        (OLD, "in/a.xlsx is no workbook of the kind .xlsx: it is a workbook of the format before 2007 (.xls)"),
        (b"id,name\n".as_slice(), "in/a.xlsx is no workbook of the kind .xlsx: it begins with other bytes"),
        (b"PK".as_slice(), "in/a.xlsx cannot be read: it is cut short: its end is missing, which says what is in it"),
    ] {
        let error = read(json!({}), bytes).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, message));
        assert!(error.hint.is_some());
    }
    let host = Host::new();
    let mut excel = host.open::<Excel>(json!({})).unwrap();
    let error = excel.decode(Batches::once(file_piece("a.xlsx", b""))).err().unwrap();
    assert_eq!(error.message, "a.xlsx is no workbook of the kind .xlsx: it is empty");
    let none = excel.decode(Batches::empty(engine_sdk::files_schema())).unwrap();
    assert!(none.schema().fields().is_empty());
}

#[test]
fn sheets_are_named_by_name_or_place_and_all_of_them_by_a_star() {
    let host = Host::new();
    let rows = batch(&[("region", super::texts(&["N", "N", "S"])), ("n", integers(1..=3))]);
    let book = written(&host, json!({"sheets_by": "region"}), vec![rows]).unwrap();
    let numbers = |config| {
        let host = Host::new();
        let rows = read_files(&host, config, &[("a", &book)]).unwrap();
        (rows["n"].as_primitive::<Int64Type>().values().to_vec(), host.log().len())
    };
    assert_eq!(numbers(json!({})), (vec![1, 2], 1));
    assert_eq!(numbers(json!({"sheet": "s"})), (vec![3], 0));
    assert_eq!(numbers(json!({"sheet": 2})), (vec![3], 0));
    assert_eq!(numbers(json!({"sheet": "*"})), (vec![1, 2, 3], 0));
    for (config, message) in [
        (json!({"sheet": "W"}), "in/a.xlsx has no sheet `W`"),
        (json!({"sheet": 3}), "in/a.xlsx has no sheet number 3 with cells"),
    ] {
        let error = read(config, &book).unwrap_err();
        assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, Some("its sheets are: N, S")));
    }
    // A hidden one is read where it is named, and not by itself.
    let (hidden, _) = read(json!({"sheet": "Notes"}), OPENPYXL).unwrap();
    assert_eq!((columns(&hidden), hidden.num_rows()), (vec!["not shown Utf8".to_owned()], 0));
}

#[test]
fn columns_are_called_as_the_settings_the_header_or_excel_calls_them() {
    let host = Host::new();
    let rows = batch(&[("a", integers([1, 2])), ("b", integers([3, 4]))]);
    let book = written(&host, json!({}), vec![rows.clone()]).unwrap();
    let plain = written(&host, json!({"header": false}), vec![rows]).unwrap();
    for (config, data, names) in [
        (json!({}), &book, ["a Int64", "b Int64"].as_slice()),
        (json!({"columns": ["x", "y"]}), &book, &["x Int64", "y Int64"]),
        (json!({"header": false}), &plain, &["A Int64", "B Int64"]),
        (json!({"header": false, "range": "B:C"}), &plain, &["B Int64", "C Utf8"]),
        (json!({"header": false, "columns": ["x", "y"]}), &plain, &["x Int64", "y Int64"]),
        (json!({"range": "B"}), &book, &["b Int64"]),
        (json!({"range": "A:C"}), &book, &["a Int64", "b Int64", "C Utf8"]),
    ] {
        let (rows, letters) = read(config.clone(), data).unwrap();
        assert_eq!(
            (columns(&rows).as_slice(), letters.len(), rows.num_rows()),
            (names.map_owned().as_slice(), 0, 2),
            "{config}"
        );
    }
    for (config, message) in [
        (
            json!({"columns": ["x"]}),
            "in/a.xlsx, sheet Sheet1: row 1, the header, names 2 columns, but `columns` names 1",
        ),
        (json!({"types": {"c": "text"}}), "`types` names `c`, but there is no such column"),
        (json!({"columns": ["x", "x"]}), "in/a.xlsx, sheet Sheet1: two columns are named `x`"),
    ] {
        assert_eq!(read(config, &book).unwrap_err().message, message);
    }
    let error = read(json!({"header": false, "range": "B:C", "columns": ["x", "y", "z"]}), &plain).unwrap_err();
    assert_eq!(error.message, "`columns` names 3 columns, and `range` has 2");
    assert_eq!(read(json!({"range": "A1:A1"}), &book).unwrap().0.num_rows(), 0);
}

trait Owned {
    fn map_owned(&self) -> Vec<String>;
}

impl Owned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|it| (*it).to_owned()).collect()
    }
}

#[test]
fn a_value_beside_the_table_refuses_its_row_unless_the_range_leaves_it_out() {
    let (_, letters) = read(json!({"range": "B3:F"}), OPENPYXL).unwrap();
    assert_eq!(letters, []);
    let host = Host::new();
    let title = super::hostile::book(
        "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>Report</t></is></c></row>\
         <row r=\"2\"><c r=\"A2\"><v>1</v></c><c r=\"B2\"><v>2</v></c></row>\
         <row r=\"3\"><c r=\"A3\"><v>3</v></c></row>",
    );
    let rows = read_files(&host, json!({}), &[("a", &title)]).unwrap();
    assert_eq!(rows["Report"].as_ref(), &Int64Array::from(vec![3]));
    let letters = host.rejections();
    assert_eq!(
        (letters.len(), letters[0].code.as_str(), letters[0].reason.as_str()),
        (
            1,
            "outside",
            "sheet Sheet1, cell B2: \"2\" stands outside of the columns; say with `range` where the table is"
        )
    );
}

#[test]
fn values_that_do_not_fit_their_types_are_dead_letters_that_can_be_read_again() {
    let host = Host::new();
    let all = super::texts(&["12.50", "x", "", "7"]);
    let book =
        written(&host, json!({"sheet": "Prices"}), vec![batch(&[("n", integers(1..=4)), ("price", all)])]).unwrap();
    let config = json!({"sheet": "Prices", "types": {"price": "decimal(8,2)", "n": "integer"}});
    let (rows, letters) = read(config.clone(), &book).unwrap();
    let prices = rows["price"].as_primitive::<Decimal128Type>();
    assert_eq!(prices.iter().collect::<Vec<_>>(), [Some(1250), None, Some(700)]);
    assert_eq!(
        (letters.len(), letters[0].code.as_str(), letters[0].reason.as_str(), letters[0].name.as_str()),
        (1, "bad_decimal", "sheet Prices, cell B3: price: \"x\" is not a decimal number", "in/a.xlsx")
    );
    // A replay ends each of them as if it were a line.
    let (rows, again) = read(config, &[letters[0].data.as_slice(), b"\n"].concat()).unwrap();
    assert_eq!((rows.num_rows(), again.len()), (0, 1));
    let (rows, _) = read(json!({"sheet": 1}), &letters[0].data).unwrap();
    assert_eq!((texts_of(&rows, "price"), rows["n"].as_ref()), (vec![Some("x")], &Int64Array::from(vec![2]) as _));
    // A place among sheets is the same in what was refused.
    let second = written(
        &host,
        json!({"sheets_by": "n"}),
        vec![batch(&[("n", integers([1, 2])), ("t", super::texts(&["a", "b"]))])],
    )
    .unwrap();
    let config = json!({"sheet": 2, "types": {"t": "date"}});
    let (_, letters) = read(config.clone(), &second).unwrap();
    let (_, again) = read(config, &letters[0].data).unwrap();
    assert_eq!(
        (again[0].reason.as_str(), again[0].data == letters[0].data),
        ("sheet 2, cell B2: t: \"b\" is not a date (YYYY-MM-DD)", true)
    );
}

#[test]
fn types_are_learned_from_all_cells_and_not_from_the_first_ones() {
    let host = Host::new();
    let mut codes: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    codes.push("A7".into());
    let book = {
        let numbers: Vec<String> = codes
            .iter()
            .enumerate()
            .map(|(at, code)| match code.parse::<i64>() {
                Ok(number) => format!("<row r=\"{0}\"><c r=\"A{0}\"><v>{number}</v></c></row>", at + 2),
                Err(_) => format!("<row r=\"{0}\"><c r=\"A{0}\" t=\"str\"><v>{code}</v></c></row>", at + 2),
            })
            .collect();
        super::hostile::book(&format!("<row r=\"1\"><c t=\"str\"><v>code</v></c></row>{}", numbers.concat()))
    };
    let mut excel = host.open::<Excel>(json!({})).unwrap();
    let batches = excel.decode(Batches::once(file_piece("a", &book))).unwrap().collect::<Result<Vec<_>>>().unwrap();
    let found: Vec<_> =
        batches.iter().flat_map(|rows| rows["code"].as_string::<i32>().iter().flatten().map(str::to_owned)).collect();
    assert_eq!(found, codes);
}

#[test]
fn files_and_sheets_of_one_stream_have_the_same_columns_and_the_types_of_the_first() {
    let host = Host::new();
    let one = written(&host, json!({}), vec![batch(&[("n", integers([1]))])]).unwrap();
    let two = written(&host, json!({}), vec![batch(&[("n", super::texts(&["x", "2"]))])]).unwrap();
    let empty = written(&host, json!({"header": false}), vec![batch(&[("n", integers([]))])]).unwrap();
    let rows = read_files(&host, json!({}), &[("0", &empty), ("1", &one), ("e", &empty), ("2", &two)]).unwrap();
    assert_eq!(rows["n"].as_ref(), &Int64Array::from(vec![1, 2]));
    assert_eq!(host.rejections()[0].reason, "sheet Sheet1, cell A2: n: \"x\" is not a whole number of 64 bits");
    let other = written(&host, json!({}), vec![batch(&[("m", integers([1]))])]).unwrap();
    let error = read_files(&host, json!({}), &[("1", &one), ("2", &other)]).unwrap_err();
    assert_eq!(error.message, "2, sheet Sheet1, has the columns m, but 1, sheet Sheet1 has n");
    let none = read_files(&host, json!({"header": false}), &[("0", &empty)]).unwrap();
    assert_eq!((none.num_columns(), none.num_rows()), (0, 0));
}

#[test]
fn moments_with_a_zone_come_back_by_the_clocks_of_it() {
    let host = Host::new();
    let moments =
        TimestampMicrosecondArray::from(vec![1_774_744_200_250_000, 1_774_747_800_250_000, -3_773_649_599_750_000])
            .with_timezone("UTC");
    let rows = batch(&[("at", Arc::new(moments) as ArrayRef)]);
    let book = written(&host, json!({"timezone": "Europe/Dublin"}), vec![rows.clone()]).unwrap();
    let config = json!({"timezone": "Europe/Dublin", "types": {"at": "timestamptz"}});
    let (found, letters) = read(config, &book).unwrap();
    assert_eq!((found["at"].as_ref(), letters.len()), (rows["at"].as_ref(), 0));
}

#[test]
fn a_batch_of_wide_rows_has_few_of_them() {
    // All columns that a sheet has, and hardly a value in them.
    let rows: String = (2..102).map(|row| format!("<row r=\"{row}\"><c r=\"A{row}\"><v>{row}</v></c></row>")).collect();
    let header = r#"<row r="1"><c r="A1" t="str"><v>a</v></c><c r="XFD1" t="str"><v>z</v></c></row>"#;
    let book = super::hostile::book(&format!("{header}{rows}"));
    let host = Host::new();
    let mut excel = host.open::<Excel>(json!({})).unwrap();
    let batches = excel.decode(Batches::once(file_piece("a", &book))).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    assert!(batches.iter().all(|it| it.num_columns() == 16_384 && it.num_rows() <= 32), "{}", batches[0].num_rows());
}

#[test]
fn it_stops_when_it_is_asked_to() {
    let host = Host::new();
    let book = written(&host, json!({}), vec![batch(&[("n", integers(0..20_000))])]).unwrap();
    let mut excel = host.open::<Excel>(json!({})).unwrap();
    let mut reading = excel.decode(Batches::once(file_piece("a", &book))).unwrap();
    reading.next().unwrap().unwrap();
    host.cancel();
    assert_eq!(reading.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    drop(reading);
    assert_eq!(excel.decode(Batches::once(file_piece("a", &book))).err().unwrap().kind, ErrorKind::Cancelled);
}

/// Values as our writer takes them and Excel keeps them: whole numbers with up to 15 digits, moments to a millisecond.
type Values = (String, Option<i64>, Option<f64>, Option<bool>, Option<i32>, Option<i64>);

fn row() -> impl Strategy<Value = Values> {
    use proptest::option::of;
    let floats = any::<f64>().prop_filter("finite", |it| it.is_finite());
    let moments = -2_203_891_200_000..253_402_300_800_000_i64;
    (
        any::<String>(),
        of(-999_999_999_999_999..=999_999_999_999_999_i64),
        of(floats),
        of(any::<bool>()),
        of(-25_508..=2_932_896),
        of(moments.prop_map(|it| it * 1_000)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96, rng_seed: RngSeed::Fixed(60), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_back_the_same(rows in proptest::collection::vec(row(), 1..60), header in any::<bool>()) {
        let columns: [(&str, ArrayRef); 6] = [
            ("A", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0)))),
            ("B", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
            ("C", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
            ("D", Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>())),
            ("E", Arc::new(rows.iter().map(|row| row.4).collect::<Date32Array>())),
            ("F", Arc::new(rows.iter().map(|row| row.5).collect::<TimestampMicrosecondArray>())),
        ];
        let sent = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let book = written(&Host::new(), json!({"header": header}), vec![sent.clone()]).unwrap();
        // Types that no cell has shown cannot be learned.
        let types = json!({"A": "text", "B": "integer", "C": "number", "D": "boolean", "E": "date", "F": "timestamp"});
        let (found, letters) = read(json!({"header": header, "range": "A:F", "types": types, "nulls": []}), &book).unwrap();
        prop_assert_eq!(letters, []);
        prop_assert_eq!(&found, &sent);
        let (learned, letters) = read(json!({"header": header, "range": "A:F", "nulls": []}), &book).unwrap();
        prop_assert_eq!((learned.num_rows(), letters.len()), (sent.num_rows(), 0));
        for (at, field) in sent.schema().fields().iter().enumerate() {
            let (found, sent) = (learned.column(at), sent.column(at));
            if found.data_type() == field.data_type() {
                prop_assert_eq!(found, sent);
            } else {
                // Nothing but empty texts or no values; floating-point numbers that are all whole; days at midnight.
                let is_whole = |it: Option<f64>| it.is_none_or(|it| it.fract() == 0.0);
                let whole = field.name() == "C" && sent.as_primitive::<arrow_array::types::Float64Type>().iter().all(is_whole);
                prop_assert!(sent.null_count() == sent.len() || whole, "{}", field.name());
            }
        }
    }
}
