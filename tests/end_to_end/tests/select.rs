//! `select` between a source and a sink, and the example of its page.

use engine_end_to_end_tests::{Place, sqlite_rows, workspace};

/// The pipeline that `plugins/rows/README.md` shows.
fn example() -> String {
    let page = std::fs::read_to_string(workspace().join("plugins/rows/README.md")).unwrap();
    page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap().to_owned()
}

#[test]
fn the_example_passes_its_test_and_runs() {
    let place = Place::new();
    place.write("bills.yaml", example());
    place.write(
        "inbox/a.csv",
        "caller,called,amount,at,comment\n030123,2434,1.50,2026-11-28 09:30,\n030124,2434,free,2026-11-28 09:31,a gift\n",
    );
    place.engine(&["test", "bills.yaml"]).with_code(0);
    place.engine(&["run", "bills.yaml"]).with_code(0);
    let rows = sqlite_rows(&place.path("bills.db"), "SELECT caller, called, amount, called_at FROM bills");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row: Vec<_> = rows[0].iter().map(String::as_str).collect();
    assert_eq!(row[..2], ["030123", "2434"]);
    assert!(row[2].starts_with("1.5") && row[3].starts_with("2026-11-28"), "{row:?}");
    assert_eq!(place.final_letters(), 1);
}

#[test]
fn a_column_that_is_not_there_is_told_with_those_that_are_and_leaves_nothing_behind() {
    let place = Place::new();
    place.write("inbox/a.csv", "caller,called,amount,at\n1,2,3,2026-11-28 09:30\n");
    place.write("bills.yaml", example().replace("keep: [caller", "keep: [callr"));
    let ended = place.engine(&["run", "bills.yaml"]).with_code(2);
    ended.says(&["transforms.0: there is no column `callr`", "the columns are caller, called, amount, at"]);
    assert!(!place.path("bills.db").exists());
}
