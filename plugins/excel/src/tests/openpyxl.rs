//! Workbooks, read back by the library that most scripts use.

use std::process::Command;

use super::*;

/// What openpyxl finds: for each sheet its name, where it is frozen, its filter, its cells as Python shows them, of the
/// last row the values that formulas have with them, and how it is printed.
const SCRIPT: &str = "
import json, openpyxl, sys
book = openpyxl.load_workbook(sys.argv[1])
calculated = openpyxl.load_workbook(sys.argv[1], data_only=True)
print(json.dumps([[sheet.title, sheet.freeze_panes, sheet.auto_filter.ref,
    [[f'{cell.value!r} {cell.number_format}' if cell.value is not None else None for cell in row] for row in sheet],
    [cell.value for cell in list(calculated[sheet.title])[-1]],
    [sheet.page_setup.orientation, sheet.page_setup.fitToHeight, sheet.sheet_properties.pageSetUpPr.fitToPage,
        sheet.print_title_rows]] for sheet in book], default=str))";

fn found(workbook: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("book.xlsx");
    std::fs::write(&path, workbook).unwrap();
    // The system's Python, for which Debian has openpyxl.
    let done = Command::new("/usr/bin/python3").arg("-c").arg(SCRIPT).arg(path).output().unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "`apt-get install python3-openpyxl` installs what is needed\n{errors}");
    assert_eq!(errors, "", "openpyxl warns of what Excel would repair");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn openpyxl_reads_what_was_written() {
    let amounts: PrimitiveArray<Decimal128Type> = [Some(123_450), Some(-5), None].into_iter().collect();
    let columns: [(&str, ArrayRef); 6] = [
        ("region", texts(&["North", "North", "South"])),
        ("note", Arc::new(StringArray::from(vec![Some("=1+1"), Some("Zo\u{eb}\n<&>"), None]))),
        ("amount", Arc::new(amounts.with_precision_and_scale(10, 2).unwrap())),
        ("paid", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_484), None, Some(0)]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_769_850_000_000_000), None, Some(0)]))),
    ];
    let config = json!({"sheets_by": "region", "totals": {"amount": "sum"}, "formats": {"amount": "#,##0.00"}});
    let sheets = found(&written(&Host::new(), config, vec![batch_of_nulls(&columns)]).unwrap());
    let names: Vec<_> = sheets.as_array().unwrap().iter().map(|sheet| sheet[0].as_str().unwrap()).collect();
    assert_eq!(names, ["North", "South"]);
    let (north, south) = (&sheets[0], &sheets[1]);
    assert_eq!((&north[1], &north[2]), (&json!("A2"), &json!("A1:F3")));
    let first = [
        "'North' General",
        "'=1+1' General",
        "1234.5 #,##0.00",
        "True General",
        "datetime.datetime(2026, 1, 31, 0, 0) yyyy-mm-dd",
        "datetime.datetime(2026, 1, 31, 9, 0) yyyy-mm-dd hh:mm:ss",
    ];
    assert_eq!(north[3][1], json!(first));
    assert_eq!(north[3][2][1], "'Zo\u{eb}\\n<&>' General");
    assert_eq!(north[3][2][2], "-0.05 #,##0.00");
    assert_eq!(south[3][1][4], "datetime.datetime(1970, 1, 1, 0, 0) yyyy-mm-dd");
    // The formula is the engine's own, and has its value with it for who does not calculate.
    assert_eq!(north[3][3][2], "'=SUBTOTAL(109,C2:C3)' #,##0.00");
    assert_eq!(north[4], json!(["Total", null, 1234.45, null, null, null]));
    assert_eq!(north[5], json!(["portrait", 0, true, "$1:$1"]));
    let wide = texts(&[&"wide ".repeat(12)]);
    let sheets = found(&written(&Host::new(), json!({}), vec![batch(&[("a", wide.clone()), ("b", wide)])]).unwrap());
    assert_eq!(sheets[0][5][0], "landscape");
}
