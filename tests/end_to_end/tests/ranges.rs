//! Large files that are read in several ranges.

use engine_end_to_end_tests::{Database, Place, Server};

const ROWS: usize = 2_000;

/// A file most of whose line ends are inside quotes, with a record of one field at 1,500.
fn place(sink: &str) -> (Database, Place) {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (number integer, note text)");
    let mut place = Place::new();
    place.set("URL", database.url());
    let mut file = String::from("number,note\n");
    for number in 1..=ROWS {
        match number {
            1_500 => file.push_str("alone\n"),
            _ => file.push_str(&format!("{number},\"first\nsecond, \"\"{number}\"\"\"\n")),
        }
    }
    place.write("calls.csv", file);
    place.write(
        "load.yaml",
        format!(
            "source:\n  use: file\n  with: {{ path: calls.csv, split: 10KiB }}\n  \
             format: {{ use: csv, with: {{ types: {{ number: integer }} }} }}\nsink: {sink}\n"
        ),
    );
    (database, place)
}

#[test]
fn ranges_are_delivered_each_for_itself_and_lines_are_those_of_the_file() {
    let (database, place) = place("{ use: postgres, with: { url: \"${env:URL}\", table: calls } }");
    let report = place.engine(&["--json", "run", "load.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!((report.read, report.dead_letters), (ROWS as u64, 1));
    let deliveries = database.rows("SELECT count(*)::text, min(split), max(split) FROM _engine_commits").concat();
    assert_eq!(deliveries, ["5", "00000000-000000", "00000000-000004"]);
    let rows = database.rows(
        "SELECT count(*)::text, count(DISTINCT number)::text FROM calls \
         WHERE note = format(E'first\\nsecond, \"%s\"', number)",
    );
    assert_eq!(rows.concat(), ["1999", "1999"]);
    // Two lines a record, behind the header.
    let letters = place.json(&["dead-letters", "list"]);
    let reason = letters[0]["reason"].as_str().unwrap();
    assert_eq!(reason, "line 3000: 1 fields instead of 2");
}

#[test]
fn one_artefact_is_read_in_one_piece() {
    let (_, place) = place("{ use: file, with: { path: copy.csv }, format: csv }");
    place.engine(&["run", "load.yaml"]).with_code(0);
    let lines = std::fs::read_to_string(place.path("copy.csv")).unwrap().lines().count();
    assert_eq!(lines, 1 + 2 * (ROWS - 1));
}

#[test]
fn a_file_that_has_changed_since_it_was_cut_is_refused() {
    let (database, place) = place("{ use: postgres, with: { url: \"${env:URL}\", table: calls } }");
    // The third range finds a table that refuses everything, for a reason that passes.
    database.execute(
        "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.number > 1000 THEN RAISE 'closed' USING ERRCODE = '57P03'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER closed BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION closed()",
    );
    let pipeline = std::fs::read_to_string(place.path("load.yaml")).unwrap();
    place.write("load.yaml", format!("{pipeline}retry: {{ attempts: 1 }}\n"));
    place.engine(&["run", "load.yaml"]).with_code(1).says(&["closed"]);
    database.execute("DROP TRIGGER closed ON calls");
    let mut file = std::fs::read_to_string(place.path("calls.csv")).unwrap();
    file.replace_range(12..13, "9");
    place.write("calls.csv", &file);
    place.engine(&["run", "load.yaml"]).with_code(2).says(&["calls.csv", "since it was planned"]);
    assert_eq!(database.rows("SELECT count(*)::text FROM calls WHERE number > 1000 AND number <= 2000"), [["0"]]);
}
