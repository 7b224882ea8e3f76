//! Columns of a source that are others than in the run before.

use engine_end_to_end_tests::{Database, Place, Server};

fn place(database: &Database) -> Place {
    let mut place = Place::new();
    place.set("DATABASE", database.url());
    write(&place, "SELECT * FROM calls", "");
    place
}

fn write(place: &Place, query: &str, more: &str) {
    place.write(
        "calls.yaml",
        format!(
            "source: {{ use: postgres, with: {{ url: \"${{env:DATABASE}}\", query: {query} }} }}\n\
             sink: {{ use: file, with: {{ path: \"out/{{{{ window.id }}}}.csv\" }}, format: csv }}\n{more}"
        ),
    );
}

#[test]
fn a_new_missing_or_retyped_column_stops_the_run_before_anything_is_written() {
    let database = Server::shared().database();
    database.execute(
        "CREATE TABLE calls (id integer, number text, day date); INSERT INTO calls VALUES (1, '2', '2026-01-01')",
    );
    let place = place(&database);
    let written = || std::fs::read_dir(place.path("out")).map_or(0, Iterator::count);
    place.engine(&["run", "calls.yaml"]).with_code(0);
    database.execute(
        "ALTER TABLE calls ALTER id TYPE bigint, DROP COLUMN day, ADD COLUMN cost numeric(5,2); \
         CREATE VIEW reordered AS SELECT cost, number, id FROM calls",
    );
    for _ in 0..2 {
        place.engine(&["run", "calls.yaml"]).with_code(2).says(&[
            "`id` is Int64, was Int32; `cost` (Decimal128(5, 2)) is new; `day` (Date32) is missing",
            "--accept-schema",
        ]);
        assert_eq!(written(), 1);
    }
    place.engine(&["run", "calls.yaml", "--accept-schema"]).with_code(0).says(&["the source's columns have changed"]);
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(written(), 3);
    // Who writes another query wants other columns.
    write(&place, "SELECT id FROM calls", "");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    // The order alone is no change.
    write(&place, "SELECT * FROM reordered", "");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    database.execute("DROP VIEW reordered; CREATE VIEW reordered AS SELECT id, cost, number FROM calls");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    database.execute("DROP VIEW reordered; CREATE VIEW reordered AS SELECT id, number FROM calls");
    place.engine(&["run", "calls.yaml"]).with_code(2).says(&["`cost` (Decimal128(5, 2)) is missing"]);
    write(&place, "SELECT * FROM reordered", "on_schema_change: ignore\n");
    place.engine(&["run", "calls.yaml"]).with_code(0).says(&["`cost` (Decimal128(5, 2)) is missing"]);
    write(&place, "SELECT * FROM reordered", "on_schema_change: warn\n");
    place.engine(&["validate", "calls.yaml"]).with_code(2).says(&["`fail` or `ignore`"]);
}
