//! The shipped example, as `make demo` runs it.

use engine_end_to_end_tests::{Place, csv_rows, sqlite_count, sqlite_rows, workspace};

/// Lines of the shipped log, and those among them that are no record.
const LINES: u64 = 52_000;
const MALFORMED: u64 = 48;

fn shipped() -> Place {
    let (place, shipped) = (Place::new(), workspace().join("pipelines"));
    for name in ["quickstart.yaml", "connections.yaml", "data/pbx.log"] {
        place.write(name, std::fs::read(shipped.join(name)).expect("it is shipped"));
    }
    place
}

#[test]
fn the_quickstart_ends_with_a_report_in_which_the_rows_add_up() {
    let place = shipped();
    let report = place.engine(&["--json", "run", "quickstart.yaml"]).with_code(0).report();
    assert_eq!(report.outcome, "succeeded");
    assert_eq!((report.read, report.dead_letters), (LINES, MALFORMED));
    assert_eq!(report.sink("sqlite").written, LINES - MALFORMED);
    assert_eq!(report.sink("file").written, LINES - MALFORMED);
    report.adds_up();
    assert_eq!(place.final_letters() as u64, MALFORMED);

    let csv = std::fs::read_to_string(place.path("out/calls.csv")).unwrap();
    let columns = "date, duration, calling_number, called_number, call_code";
    assert_eq!(csv.lines().next().unwrap(), columns.replace(' ', ""));
    let mut of_csv: Vec<_> = csv_rows(&csv);
    let mut of_table = sqlite_rows(&place.path("out/quickstart.db"), &format!("SELECT {columns} FROM avaya_cdr"));
    for rows in [&mut of_csv, &mut of_table] {
        // Both write the moment their own way.
        rows.iter_mut().for_each(|row| row[0] = row[0].replace('T', " "));
        rows.sort();
    }
    assert_eq!(of_csv.len() as u64, LINES - MALFORMED);
    assert!(of_csv == of_table, "the two sinks hold different rows");

    // A second run reads the log again: the table has every row twice, the file is made anew.
    let report = place.engine(&["--json", "run", "quickstart.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!(sqlite_count(&place.path("out/quickstart.db"), "avaya_cdr"), 2 * (LINES - MALFORMED));
    assert!(std::fs::read_to_string(place.path("out/calls.csv")).unwrap() == csv, "another file");
    assert_eq!(place.final_letters() as u64, 2 * MALFORMED);
}
