//! The transform `sql` in whole pipelines: how much of the stream a query must see.

use engine_end_to_end_tests::{Place, line, sqlite_count, until};

#[test]
fn a_query_that_groups_sees_the_whole_window_and_one_that_filters_each_row() {
    let place = Place::new();
    place.write("in/1.csv", "caller,seconds\na,1\nb,2\n");
    place.write("in/2.csv", "caller,seconds\na,3\nb,x\n");
    let pipeline = |query: &str| {
        place.write(
            "calls.yaml",
            format!(
                "source: {{ use: file, with: {{ path: \"in/*.csv\" }}, format: csv }}\n\
                 transforms: [{{ use: sql, with: {{ query: \"{query}\" }} }}]\n\
                 sink: {{ use: file, with: {{ path: out.csv, overwrite: true }}, format: csv }}\n"
            ),
        );
        place.engine(&["run", "calls.yaml"])
    };
    let out = || std::fs::read_to_string(place.path("out.csv")).unwrap();
    pipeline("SELECT caller, sum(TRY_CAST(seconds AS BIGINT)) AS seconds FROM input GROUP BY caller ORDER BY caller")
        .with_code(0);
    assert_eq!(out(), "caller,seconds\na,4\nb,2\n", "both files are one window");
    // A row that it cannot work with costs itself alone, and rows add up.
    let report =
        pipeline("SELECT caller, CAST(seconds AS BIGINT) * 2 AS twice FROM input WHERE caller = 'b'").with_code(0);
    assert!(report.stdout.contains("filtered"), "{report:?}");
    assert_eq!(out(), "caller,twice\nb,4\n");
    assert_eq!(place.final_letters(), 1);
    pipeline("SELECT calller FROM input").with_code(2).says(&["caller"]);
    pipeline("DROP TABLE input").with_code(2);
}

#[test]
fn a_query_that_filters_stands_behind_a_source_that_never_ends() {
    let place = Place::new();
    let pipeline = |query: &str| {
        place.write(
            "calls.yaml",
            format!(
                "source: {{ use: tcp, with: {{ listen: \"127.0.0.1:0\" }}, format: avaya_cdr }}\n\
                 transforms: [{{ use: sql, with: {{ query: \"{query}\" }} }}]\n\
                 sink: {{ use: sqlite, with: {{ path: calls.db, table: calls, create: true }} }}\n"
            ),
        );
    };
    pipeline("SELECT called_number, duration * 2 AS twice FROM input");
    let mut engine = place.start(&["run", "calls.yaml"]);
    let address = engine.address().expect("it listens");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, &line(0)).unwrap();
    drop(stream);
    until("the call is there", || sqlite_count(&place.path("calls.db"), "calls") == 1);
    engine.terminate();
    engine.wait().with_code(0);
    // One that sorts would wait for an end that never comes.
    pipeline("SELECT called_number FROM input ORDER BY 1");
    place.engine(&["run", "calls.yaml"]).with_code(2).says(&["needs a whole window"]);
}
