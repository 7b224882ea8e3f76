//! Workbooks, read back by another library.

use std::io::{Cursor, Read as _};
use std::sync::Arc;

use arrow_array::types::{Decimal128Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int64Array, ListArray, PrimitiveArray,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use calamine::{Data, Range, Reader, Xlsx};
use engine_sdk::file_pieces;
use engine_sdk::testing::Host;

use super::*;

mod hostile;
mod openpyxl;
mod read;

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().map(|(name, column)| (*name, Arc::clone(column)))).unwrap()
}

/// The workbook that becomes of rows.
fn written(host: &Host, config: Value, batches: Vec<RecordBatch>) -> Result<Vec<u8>> {
    let mut excel: Excel = host.open(config)?;
    let schema = batches[0].schema();
    let mut bytes = Vec::new();
    for piece in excel.encode(Batches::new(schema, batches.into_iter().map(Ok)))? {
        for (name, data) in file_pieces(&piece?)? {
            assert_eq!(name, "");
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

fn workbook(config: Value, batches: Vec<RecordBatch>) -> Xlsx<Cursor<Vec<u8>>> {
    Xlsx::new(Cursor::new(written(&Host::new(), config, batches).unwrap())).unwrap()
}

/// The only sheet.
fn sheet(config: Value, batches: Vec<RecordBatch>) -> Range<Data> {
    let mut book = workbook(config, batches);
    let names = book.sheet_names();
    assert_eq!(names.len(), 1);
    book.worksheet_range(&names[0]).unwrap()
}

fn cell(sheet: &Range<Data>, row: u32, column: u32) -> Data {
    sheet.get_value((row, column)).cloned().unwrap_or_default()
}

fn batch_of_nulls(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, column)| (*name, Arc::clone(column), true)))
        .unwrap()
}

/// The widths of the columns of the first sheet, in characters.
fn widths(config: Value, batches: Vec<RecordBatch>) -> Vec<f64> {
    let bytes = written(&Host::new(), config, batches).unwrap();
    let name = b"xl/worksheets/sheet1.xml";
    let begin = bytes.windows(name.len()).position(|it| it == name).unwrap() + name.len();
    let mut sheet = String::new();
    // What stands behind the sheet is not packed with it.
    let _ = flate2::read::DeflateDecoder::new(&bytes[begin..]).read_to_string(&mut sheet);
    sheet.split(" width=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0.parse().unwrap()).collect()
}

fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn integers(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

#[test]
fn values_are_cells_of_their_kind() {
    let decimals: PrimitiveArray<Decimal128Type> = [Some(123_450), Some(-5), None].into_iter().collect();
    let kinds: DictionaryArray<Int32Type> = [Some("in"), Some("out"), None].into_iter().collect();
    let columns: [(&str, ArrayRef); 8] = [
        ("id", Arc::new(Int64Array::from(vec![Some(1), Some(-7), None]))),
        ("name", Arc::new(StringArray::from(vec![Some("=1+1"), Some(" Zo\u{eb} <&>\n\"2\" "), None]))),
        ("amount", Arc::new(decimals.with_precision_and_scale(10, 2).unwrap())),
        ("rate", Arc::new(Float64Array::from(vec![Some(0.1), Some(1e300), None]))),
        ("paid", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_512), Some(-25_509), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(43_200_000_000), Some(0), None]))),
        ("kind", Arc::new(kinds)),
    ];
    let sheet = sheet(json!({}), vec![batch(&columns)]);
    let row = |number: u32| (0..8).map(|column| cell(&sheet, number, column)).collect::<Vec<_>>();
    let titles: Vec<_> = columns.iter().map(|(name, _)| Data::String((*name).into())).collect();
    assert_eq!(row(0), titles);
    let first = row(1);
    assert_eq!(
        first[..5],
        [Data::Float(1.0), Data::String("=1+1".into()), Data::Float(1234.5), Data::Float(0.1), Data::Bool(true)]
    );
    let Data::DateTime(day) = &first[5] else { panic!("{:?}", first[5]) };
    assert_eq!(day.as_f64(), 46_081.0);
    let Data::DateTime(time) = &first[6] else { panic!("{:?}", first[6]) };
    assert_eq!((time.as_f64(), &first[7]), (0.5, &Data::String("in".into())));
    let second = row(2);
    assert_eq!(second[1], Data::String(" Zo\u{eb} <&>\n\"2\" ".into()));
    assert_eq!((&second[2], &second[3], &second[4]), (&Data::Float(-0.05), &Data::Float(1e300), &Data::Bool(false)));
    // Excel knows no 1900-02-28 that others know too.
    assert_eq!(second[5], Data::String("1900-02-28".into()));
    assert!(row(3).iter().all(|it| *it == Data::Empty));
}

#[test]
fn numbers_that_excel_would_round_are_texts() {
    let decimals: PrimitiveArray<Decimal128Type> =
        [Some(1_500_000_000_000_000_000_000), Some(1_234_567_890_123_456)].into_iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("whole", integers([999_999_999_999_999, 9_007_199_254_740_993])),
        ("unsigned", Arc::new(UInt64Array::from(vec![1, u64::MAX]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 20).unwrap())),
        ("float", Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NAN]))),
    ];
    let sheet = sheet(json!({"header": false}), vec![batch(&columns)]);
    assert_eq!(cell(&sheet, 0, 0), Data::Float(999_999_999_999_999.0));
    assert_eq!(cell(&sheet, 1, 0), Data::String("9007199254740993".into()));
    assert_eq!(cell(&sheet, 1, 1), Data::String("18446744073709551615".into()));
    assert_eq!(cell(&sheet, 0, 2), Data::Float(15.0));
    assert_eq!(cell(&sheet, 1, 2), Data::String("0.00001234567890123456".into()));
    assert_eq!((cell(&sheet, 0, 3), cell(&sheet, 1, 3)), (Data::String("inf".into()), Data::String("NaN".into())));
}

#[test]
fn moments_are_shown_in_a_time_zone() {
    // 2026-03-29T00:30:00.250Z, before the clocks of Dublin go forward, and an hour later.
    let moments = [1_774_744_200_250_000, 1_774_747_800_250_000];
    let plain: ArrayRef = Arc::new(TimestampMicrosecondArray::from(moments.to_vec()));
    let zoned: PrimitiveArray<TimestampMicrosecondType> = moments.into_iter().map(Some).collect();
    let columns = [("plain", plain), ("zoned", Arc::new(zoned.with_timezone("UTC")) as ArrayRef)];
    let sheet = sheet(json!({"timezone": "Europe/Dublin"}), vec![batch(&columns)]);
    let shown = |row, column| {
        let Data::DateTime(it) = cell(&sheet, row, column) else { panic!("no date") };
        it.as_datetime().unwrap().format("%F %T%.3f").to_string()
    };
    assert_eq!((shown(1, 0), shown(1, 1)), ("2026-03-29 00:30:00.250".into(), "2026-03-29 00:30:00.250".into()));
    assert_eq!((shown(2, 0), shown(2, 1)), ("2026-03-29 01:30:00.250".into(), "2026-03-29 02:30:00.250".into()));
}

#[test]
fn a_column_can_say_which_sheet_a_row_goes_to() {
    let regions = texts(&["North", "North", "a/b", "A:B", ""]);
    let rows = batch(&[("region", regions), ("n", integers(1..=5))]);
    let config = json!({"sheets_by": "region", "columns": ["n"], "totals": {"n": "sum"}});
    let mut book = workbook(config.clone(), vec![rows.slice(0, 1), rows.slice(1, 4)]);
    assert_eq!(book.sheet_names(), ["North", "a_b", "A_B (2)", "(empty)"]);
    let north = book.worksheet_range("North").unwrap();
    assert_eq!([cell(&north, 1, 0), cell(&north, 2, 0), cell(&north, 3, 0)], [1.0, 2.0, 3.0].map(Data::Float));
    assert_eq!(book.worksheet_formula("North").unwrap().get_value((3, 0)).unwrap(), "SUBTOTAL(109,A2:A3)");
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![None, None, Some(""), Some("a")]));
    let rows = batch_of_nulls(&[("region", nulls), ("n", integers(1..=4))]);
    let mut book = workbook(json!({"sheets_by": "region", "columns": ["n"]}), vec![rows]);
    assert_eq!(book.sheet_names(), ["(empty)", "(empty) (2)", "a"]);
    assert_eq!(book.worksheet_range("(empty)").unwrap().height(), 3);
    let mixed = batch(&[("region", texts(&["a", "b", "a"])), ("n", integers(1..=3))]);
    let error = written(&Host::new(), config, vec![mixed]).unwrap_err();
    assert_eq!(error.message, "`sheets_by`: the rows of \"a\" do not come together");
}

#[test]
fn totals_stand_below_and_are_right_without_being_computed_again() {
    let columns: [(&str, ArrayRef); 4] = [
        ("who", texts(&["a", "b", "c"])),
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(4)]))),
        ("m", integers([3, 2, 1])),
        ("day", Arc::new(Date32Array::from(vec![20_512, 20_510, 20_511]))),
    ];
    let config = json!({"totals": {"n": "average", "m": "count", "day": "max"}});
    let sheet = sheet(config, vec![batch(&columns)]);
    assert_eq!(
        [cell(&sheet, 4, 0), cell(&sheet, 4, 1), cell(&sheet, 4, 2)],
        [Data::String("Total".into()), Data::Float(2.5), Data::Float(3.0)]
    );
    let Data::DateTime(day) = cell(&sheet, 4, 3) else { panic!("no date") };
    assert_eq!(day.as_f64(), 46_081.0);
}

#[test]
fn columns_are_as_wide_as_their_formats_and_totals_ask_for() {
    let amounts: PrimitiveArray<Decimal128Type> = (0..900).map(|at| Some(at * 1_000)).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("day", Arc::new(Date32Array::from(vec![20_512; 900]))),
        ("amount", Arc::new(amounts.with_precision_and_scale(12, 2).unwrap())),
        ("n", integers([1_234; 900])),
        ("text", texts(&["日本語日本語"; 900])),
        ("flag", Arc::new(BooleanArray::from(vec![false; 900]))),
    ];
    let formats = json!({"day": "dddd, d mmmm yyyy", "amount": "#,##0.00 \"EUR\"", "n": "#,##0.00"});
    let config = json!({"formats": formats, "autofilter": false});
    let longest = |shown: [&str; 3]| shown.map(|text| text.len() as f64 + 1.7);
    let found = widths(config.clone(), vec![batch(&columns)]);
    assert_eq!(found[..3], longest(["Wednesday, 28 September 2026", "8,990.00 EUR", "1,234.00"]));
    assert_eq!(found[3..], [12.0, 6.0].map(|it| it + 1.7));
    // All rows are known, so that their sums are.
    let mut config = config;
    config["totals"] = json!({"amount": "sum", "n": "sum"});
    let found = widths(config.clone(), vec![batch(&columns)]);
    assert_eq!(found[1..3], longest(["4,045,500.00 EUR", "1,110,600.00", ""])[..2]);
    // Where others will come, there may be a million of them.
    let found = widths(config, vec![batch(&columns); 2]);
    assert_eq!(found[1..3], longest(["4,713,845,000.00 EUR", "1,293,942,784.00", ""])[..2]);
}

#[test]
fn moments_that_are_texts_are_those_of_the_same_clocks() {
    // 1850-06-02T12:00:00.250Z; clocks of Kolkata were 5:53:28 ahead.
    let moments: PrimitiveArray<TimestampMicrosecondType> = [Some(-3_773_649_599_750_000)].into_iter().collect();
    let rows = batch(&[("at", Arc::new(moments.with_timezone("UTC")) as ArrayRef)]);
    let found = sheet(json!({"timezone": "Asia/Kolkata", "header": false}), vec![rows.clone()]);
    assert_eq!(cell(&found, 0, 0), Data::String("1850-06-02 17:53:28.250".into()));
    let found = sheet(json!({"header": false}), vec![rows]);
    assert_eq!(cell(&found, 0, 0), Data::String("1850-06-02 12:00:00.250".into()));
}

#[test]
fn the_last_moment_of_a_day_stays_in_it() {
    // 2024-01-01T23:59:59.999999, 9999-12-31T23:59:59.999999 and 1900-03-01T00:00:00.0005
    let moments = [1_704_153_599_999_999, 253_402_300_799_999_999, -2_203_891_199_999_500];
    let rows = batch(&[("at", Arc::new(TimestampMicrosecondArray::from(moments.to_vec())))]);
    let sheet = sheet(json!({"header": false}), vec![rows]);
    let shown: Vec<_> = (0..3)
        .map(|row| {
            let Data::DateTime(it) = cell(&sheet, row, 0) else { panic!("no date") };
            it.as_datetime().unwrap().format("%F %T%.3f").to_string()
        })
        .collect();
    assert_eq!(shown, ["2024-01-01 23:59:59.999", "9999-12-31 23:59:59.999", "1900-03-01 00:00:00.000"]);
}

#[test]
fn binary_values_are_as_long_as_they_are_shown() {
    let host = Host::new();
    let blobs: ArrayRef = Arc::new(arrow_array::BinaryArray::from_vec(vec![&[7; 24_573], &[7; 24_576]]));
    let bytes = written(&host, json!({"header": false}), vec![batch(&[("blob", blobs)])]).unwrap();
    let mut book = Xlsx::new(Cursor::new(bytes)).unwrap();
    assert_eq!(book.worksheet_range("Sheet1").unwrap().height(), 1);
    assert_eq!(host.rejections().len(), 1);
}

#[test]
fn totals_of_texts_and_too_many_sheets_are_refused() {
    let many: Vec<String> = (0..1_001).map(|at| format!("a value with a long beginning {at}")).collect();
    let rows = batch(&[("text", Arc::new(StringArray::from(many)) as ArrayRef), ("n", integers(0..1_001))]);
    let error = written(&Host::new(), json!({"totals": {"text": "sum"}}), vec![rows.clone()]).unwrap_err();
    assert_eq!(error.message, "`totals`: column `text` is of the type Utf8, whose values are no numbers");
    let error = written(&Host::new(), json!({"sheets_by": "text"}), vec![rows]).unwrap_err();
    assert_eq!(error.message, "there would be more than 1000 sheets");
}

#[test]
fn a_total_that_leaves_values_out_says_so() {
    let host = Host::new();
    let rows = batch(&[("n", integers([1, 9_007_199_254_740_993])), ("m", integers([1, 9_007_199_254_740_993]))]);
    written(&host, json!({"totals": {"n": "sum", "m": "count"}}), vec![rows]).unwrap();
    let told: Vec<_> = host.log().into_iter().map(|(_, text)| text).collect();
    assert_eq!(told, ["sheet `Sheet1`: the total of `n` leaves out 1 value that stands as a text"]);
}

#[test]
fn without_rows_there_is_a_sheet_with_the_header() {
    let empty = RecordBatch::new_empty(batch(&[("a", integers([1])), ("b", texts(&["x"]))]).schema());
    let found = sheet(json!({"sheet": "Calls"}), vec![empty.clone()]);
    assert_eq!((found.height(), cell(&found, 0, 1)), (1, Data::String("b".into())));
    let mut book = workbook(json!({"header": false, "totals": {"a": "sum"}}), vec![empty]);
    assert_eq!(book.sheet_names(), ["Sheet1"]);
    assert!(book.worksheet_range("Sheet1").unwrap().is_empty());
    // A source that found nothing may not know of any columns.
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let config = json!({
        "columns": ["a"], "sheets_by": "b", "formats": {"a": "0.0"}, "widths": {"a": 9}, "totals": {"a": "sum"},
    });
    let mut book = workbook(config, vec![nothing]);
    assert!(book.worksheet_range("Sheet1").unwrap().is_empty());
}

#[test]
fn a_text_that_no_cell_takes_is_a_dead_letter_and_its_neighbours_are_written() {
    let host = Host::new();
    let long = "\u{e4}".repeat(32_768);
    let fits = "\u{1f980}".repeat(16_383);
    let rows = batch(&[("n", integers([1, 2, 3])), ("text", texts(&[&fits, &long, "x"]))]);
    let bytes = written(&host, json!({}), vec![rows]).unwrap();
    let mut book = Xlsx::new(Cursor::new(bytes)).unwrap();
    let sheet = book.worksheet_range("Sheet1").unwrap();
    assert_eq!((cell(&sheet, 1, 1), cell(&sheet, 2, 0)), (Data::String(fits), Data::Float(3.0)));
    let rejected = host.rejections();
    assert_eq!(rejected.len(), 1);
    assert_eq!(
        (rejected[0].code.as_str(), rejected[0].reason.as_str()),
        ("too_long", "column `text` has 32768 characters, and a cell takes 32767")
    );
}

#[test]
fn texts_that_xml_cannot_hold_come_back() {
    let all = ["\u{1}\u{b}", "_x0041_", "_x00", "\r\n", "]]>", "\u{fffe}", "\u{202e}abc", "&amp;", "\t"];
    let sheet = sheet(json!({"header": false}), vec![batch(&[("text", texts(&all))])]);
    for (row, text) in all.iter().enumerate() {
        assert_eq!(cell(&sheet, row as u32, 0), Data::String((*text).into()), "{text:?}");
    }
}

#[test]
fn rows_beyond_the_last_of_a_sheet_go_on_in_the_next_and_pieces_come_before_the_end() {
    let host = Host::new();
    let mut excel: Excel = host.open(json!({"autofilter": false})).unwrap();
    let part = batch(&[("n", integers(0..8192))]);
    let schema = part.schema();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let given = Arc::clone(&count);
    let input = (0..129).map(move |_| {
        given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(part.clone())
    });
    let mut pieces = excel.encode(Batches::new(schema, input)).unwrap();
    let mut bytes = file_pieces(&pieces.next().unwrap().unwrap()).unwrap().next().unwrap().1.to_vec();
    assert!(count.load(std::sync::atomic::Ordering::SeqCst) < 100);
    for piece in pieces {
        bytes.extend_from_slice(file_pieces(&piece.unwrap()).unwrap().next().unwrap().1);
    }
    let mut book = Xlsx::new(Cursor::new(bytes)).unwrap();
    assert_eq!(book.sheet_names(), ["Sheet1", "Sheet1 (2)"]);
    // Row 1 is the header, and the last one is kept for totals.
    let mut cells = book.worksheet_cells_reader("Sheet1 (2)").unwrap();
    let mut rows = 0;
    while let Some(found) = cells.next_cell().unwrap() {
        rows = found.get_position().0;
    }
    assert_eq!(rows, 129 * 8192 - (1_048_576 - 2));
}

#[test]
fn the_same_rows_become_the_same_bytes() {
    let rows = || (0..20).map(|at| batch(&[("n", integers(at * 1000..at * 1000 + 1000))])).collect::<Vec<_>>();
    let config = json!({"formats": {"n": "#,##0"}, "widths": {"n": 12.5}});
    let (first, second) = (written(&Host::new(), config.clone(), rows()), written(&Host::new(), config, rows()));
    assert!(first.unwrap() == second.unwrap());
}

#[test]
fn what_is_wrong_is_told_before_a_byte_is_written() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let rows = batch(&[("n", integers([1])), ("list", Arc::new(list)), ("text", texts(&["x"]))]);
    for (config, message) in [
        (json!({}), "column `list` is of the type List(Int32), which does not fit into one cell"),
        (json!({"columns": ["n", "m"]}), "`columns`: there is no column `m`"),
        (json!({"columns": ["n", "n"]}), "`columns` names `n` twice"),
        (
            json!({"columns": ["text"], "formats": {"text": "0.0"}}),
            "`formats`: `text` has \"0.0\": the column is of the",
        ),
        (json!({"columns": ["n"], "widths": {"m": 3}}), "`widths`: there is no column `m`"),
        (json!({"columns": ["n"], "sheets_by": "m"}), "`sheets_by`: there is no column `m`"),
        (json!({"timezone": "Dublin"}), "`timezone`: there is no time zone `Dublin`"),
        (json!({"widths": {"n": 256}}), "`widths`: `n` is 256 characters wide"),
        (json!({"sheet": " "}), "`sheet` is empty"),
        (json!({"columns": ["n"], "totals": {"list": "sum"}}), "`totals`: there is no column `list`"),
        (json!({"columns": ["n"], "formats": {"n": ""}}), "`formats`: `n` has \"\", which is no number format"),
        (json!({"columns": ["n"], "formats": {"n": "0\"x"}}), "`formats`: `n` has \"0\\\"x\""),
    ] {
        let error = written(&Host::new(), config, vec![rows.clone()]).unwrap_err();
        assert_eq!((error.kind, error.hint.is_some()), (ErrorKind::Config, true), "{error}");
        assert!(error.message.starts_with(message), "{error}");
    }
}
