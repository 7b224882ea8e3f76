//! Workbooks that are damaged, or made to do harm.

use arrow_array::{Date32Array, Int64Array, TimestampMicrosecondArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;

use super::read::read_files;
use super::{Excel, batch, integers, texts, written};
use crate::zip::Archive;

const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// Looks: none, a day, a moment, a duration.
const STYLES: &str = r#"<styleSheet><cellStyleXfs><xf numFmtId="22"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="46"/></cellXfs></styleSheet>"#;

/// An archive with these parts.
fn packed(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Archive::default();
    parts.iter().for_each(|(name, content)| archive.add(*name, content).unwrap());
    archive.finish().unwrap();
    archive.out().to_vec()
}

/// A workbook of one sheet, with this part for its sheet and shared texts.
fn workbook(sheet: &str, strings: &str) -> Vec<u8> {
    let related = format!(
        r#"<Relationships><Relationship Id="a" Type="{RELATIONS}/worksheet" Target="/xl/s.xml"/><Relationship Id="b" Type="{RELATIONS}/sharedStrings" Target="t.xml"/><Relationship Id="c" Type="{RELATIONS}/styles" Target="l.xml"/></Relationships>"#
    );
    let package = format!(
        r#"<Relationships><Relationship Id="x" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
    );
    packed(&[
        ("_rels/.rels", &package),
        ("xl/workbook.xml", r#"<workbook><sheets><sheet name="Sheet1" r:id="a"/></sheets></workbook>"#),
        ("xl/_rels/workbook.xml.rels", &related),
        ("xl/s.xml", sheet),
        ("xl/t.xml", strings),
        ("xl/l.xml", STYLES),
    ])
}

/// A workbook with these rows.
pub fn book(rows: &str) -> Vec<u8> {
    workbook(&format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"), "<sst/>")
}

fn read(config: Value, bytes: &[u8]) -> Result<RecordBatch> {
    read_files(&Host::new(), config, &[("a.xlsx", bytes)])
}

/// Why a workbook is refused, without what is the same for all.
fn refused(bytes: &[u8]) -> String {
    let error = read(json!({}), bytes).unwrap_err();
    assert_eq!((error.kind, error.hint.is_some()), (ErrorKind::Config, true), "{error}");
    error.message.strip_prefix("a.xlsx cannot be read: ").unwrap_or(&error.message).to_owned()
}

fn sample() -> Vec<u8> {
    let rows = batch(&[("n", integers(1..=30)), ("text", texts(&["one"; 30]))]);
    written(&Host::new(), json!({"totals": {"n": "sum"}}), vec![rows]).unwrap()
}

#[test]
fn a_workbook_that_is_cut_short_anywhere_is_an_error() {
    let file = sample();
    for length in 0..file.len() {
        let host = Host::new();
        let mut excel = host.open::<Excel>(json!({})).unwrap();
        let input = Batches::once(engine_sdk::file_piece("a.xlsx", &file[..length]));
        let error = excel.decode(input).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config, "{length}: {error}");
    }
}

#[test]
fn a_workbook_that_is_changed_anywhere_gives_rows_or_an_error() {
    let (file, mut read_well) = (sample(), 0);
    for at in 0..file.len() {
        for change in [1 << (at % 8), 0xff] {
            let mut changed = file.clone();
            changed[at] ^= change;
            match read(json!({}), &changed) {
                Ok(_) => read_well += 1,
                Err(error) => {
                    assert_eq!((error.kind, error.hint.is_some()), (ErrorKind::Config, true), "{at}: {error}");
                    assert!(error.message.starts_with("a.xlsx"), "{at}: {error}");
                }
            }
        }
    }
    // Lengths and times in the heads of entries matter to nobody, nor do parts that say nothing of the rows.
    assert!(read_well < file.len(), "{read_well} of {}", file.len() * 2);
}

#[test]
fn what_is_packed_may_be_large_and_memory_stays_small() {
    // A text of 8 MiB is some 8 KiB in the archive.
    let long = "x".repeat(8 << 20);
    assert_eq!(
        refused(&book(&format!("<row><c t=\"str\"><v>{long}</v></c></row>"))),
        "sheet Sheet1: a text or a tag in it is longer than 4 MiB"
    );
    assert_eq!(
        refused(&workbook("<worksheet/>", &format!("<sst><si><t>{long}</t></si></sst>"))),
        "a text or a tag in it is longer than 4 MiB"
    );
    assert!(refused(&book(&format!("<row r=\"{long}\"/>"))).contains("longer than 4 MiB"));
    // Many cells that share a long text are more than a row can be.
    let text = "x".repeat(1 << 20);
    let shared = format!("<sst><si><t>{text}</t></si></sst>");
    let cells = "<c t=\"s\"><v>0</v></c>".repeat(30);
    let header = "<c t=\"str\"><v>a</v></c>";
    let names: String = (0..30).map(|at| header.replace('a', &format!("a{at}"))).collect();
    let sheet = format!("<worksheet><sheetData><row>{names}</row><row>{cells}</row></sheetData></worksheet>");
    assert_eq!(refused(&workbook(&sheet, &shared)), "sheet Sheet1: row 2 has more than 16 MiB of text");
    let own = format!("<c t=\"str\"><v>{text}</v></c>").repeat(17);
    assert_eq!(refused(&book(&format!("<row>{own}</row>"))), "sheet Sheet1: row 1 has more than 16 MiB of text");
}

#[test]
fn texts_that_cells_share_are_bounded_by_a_setting() {
    let strings = format!("<sst>{}</sst>", "<si><t>0123456789</t></si>".repeat(1_000));
    let file = workbook("<worksheet/>", &strings);
    assert_eq!(read(json!({"max_texts": 14_000}), &file).unwrap().num_rows(), 0);
    let error = read(json!({"max_texts": 13_999}), &file).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.starts_with("a.xlsx: its cells share more than "), "{error}");
    assert!(error.hint.unwrap().contains("`max_texts`"));
}

#[test]
fn a_sheet_has_no_more_rows_and_columns_than_excel_allows() {
    assert_eq!(
        refused(&book("<row r=\"1048577\"><c><v>1</v></c></row>")),
        "sheet Sheet1: it has more than 1048576 rows"
    );
    assert_eq!(refused(&book(&"<row r=\"1\"/>".repeat(1_048_577))), "sheet Sheet1: it has more than 1048576 rows");
    assert_eq!(refused(&book("<row><c r=\"XFE1\"><v>1</v></c></row>")), "sheet Sheet1: a cell in it has no place");
    let many = format!("<row>{}</row>", "<c r=\"A1\"/>".repeat(16_385));
    assert_eq!(refused(&book(&many)), "sheet Sheet1: row 1 has more than 16384 cells");
    // The last cell that there can be makes as many columns as there can be, and no more memory than these.
    let corner =
        book("<row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c></row>");
    let rows = read(json!({"header": false}), &corner).unwrap();
    assert_eq!((rows.num_rows(), rows.num_columns(), rows.schema().field(16_383).name().as_str()), (2, 16_384, "XFD"));
}

#[test]
fn cells_without_places_stand_one_behind_the_other() {
    let rows = read(
        json!({"header": false}),
        &book("<row><c><v>1</v></c><c/><c><v>2</v></c></row><row r=\"5\"><c r=\"C5\"><v>3</v></c><c><v>4</v></c></row><row><c><v>5</v></c></row>"),
    )
    .unwrap();
    assert_eq!((rows.num_columns(), rows.num_rows()), (4, 3));
    assert_eq!(rows["D"].null_count(), 2);
}

#[test]
fn what_makes_no_sense_is_named_with_its_place() {
    for (rows, why) in [
        ("<row><c t=\"s\"><v>0</v></c></row>", "row 1: \"0\" is no text that cells share"),
        ("<row r=\"7\"><c t=\"b\"><v>2</v></c></row>", "row 7: \"2\" is no boolean"),
        ("<row><c t=\"q\"><v>2</v></c></row>", "a cell in it is of a kind that nobody knows: \"q\""),
        ("<row r=\"x\"/>", "a row in it has no number"),
        ("<row><c r=\"7\"/></row>", "a cell in it has no place"),
        ("<row><c>", "a cell in it does not end"),
        ("<row><c t=\"str\"><v>&nbsp;</v></c></row>", "it has an escape that nobody knows: &nbsp;"),
    ] {
        assert_eq!(refused(&book(rows)), format!("sheet Sheet1: {why}"), "{rows}");
    }
    assert_eq!(refused(&workbook("<worksheet><sheetData>", "<sst/>")), "sheet Sheet1: a sheet in it is cut short");
    assert_eq!(
        refused(&packed(&[("content.xml", "")])),
        "a.xlsx is no workbook of the kind .xlsx: it is an OpenDocument file, such as .ods"
    );
    assert_eq!(
        refused(&packed(&[("a.txt", "")])),
        "a.xlsx is no workbook of the kind .xlsx: there is no workbook in it"
    );
    let twice = "<row><c t=\"str\"><v>a</v></c><c t=\"str\"><v>a</v></c></row>";
    assert_eq!(refused(&book(twice)), "a.xlsx, sheet Sheet1: two columns are named `a`");
}

#[test]
fn dates_as_iso_has_them_are_dates() {
    let cells = r#"<row><c t="str"><v>day</v></c></row><row><c t="d"><v>2026-02-28</v></c></row><row><c t="d"><v>2026-02-28T12:00:00Z</v></c></row>"#;
    let rows = read(json!({}), &book(cells)).unwrap();
    let noon = 20_512 * 86_400_000_000 + 43_200_000_000;
    assert_eq!(rows["day"].as_ref(), &TimestampMicrosecondArray::from(vec![20_512 * 86_400_000_000, noon]));
}

#[test]
fn numbers_that_are_no_dates_are_dead_letters() {
    let days = ["-1", "0", "60", "2958466", "1e300", "46081"];
    let rows: String = days.iter().map(|day| format!("<row><c s=\"1\"><v>{day}</v></c></row>")).collect();
    let host = Host::new();
    let read = read_files(&host, json!({"header": false}), &[("a.xlsx", &book(&rows))]).unwrap();
    assert_eq!(read["A"].as_ref(), &Date32Array::from(vec![20_512]));
    let letters = host.rejections();
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|it| it.code == "bad_date"));
    assert_eq!(letters[2].reason, "sheet Sheet1, cell A3: A: \"60\" is shown as a date and is none");
    // A style that the workbook does not have says nothing.
    let read = self::read(json!({"header": false}), &book("<row><c s=\"99\"><v>60</v></c></row>")).unwrap();
    assert_eq!(read["A"].as_ref(), &Int64Array::from(vec![60]));
}
