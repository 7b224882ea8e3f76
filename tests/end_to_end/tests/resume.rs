//! A window is completed by the definition that it was begun with.

use engine_end_to_end_tests::{Place, Server, lines};
use engine_test_tools::http::{self, Answer};

fn pipeline(table: &str) -> String {
    format!(
        "name: calls\n\
         source: {{ use: file, with: {{ path: pbx.log }}, format: avaya_cdr }}\n\
         sink: {{ use: postgres, with: {{ url: \"${{env:URL}}\", table: {table}, create: true }} }}\n\
         retry: {{ attempts: 1 }}\n"
    )
}

#[test]
fn an_unfinished_window_is_completed_as_the_file_said_when_it_began() {
    let server = Server::shared();
    let database = server.database();
    let mut place = Place::new();
    place.write("pbx.log", lines(0..50));
    place.write("calls.yaml", pipeline("before"));
    // Nobody listens there.
    place.set("URL", "postgres://nobody@127.0.0.1:1/calls");
    let failed = place.engine(&["--json", "run", "calls.yaml"]);
    assert_ne!(failed.code, Some(0), "{}", failed.stderr);
    assert_eq!(failed.report().outcome, "failed");

    place.set("URL", database.url());
    place.write("calls.yaml", pipeline("after"));
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    assert_eq!(report.resumed, 1, "{report:?}");
    assert!(report.notes[0].contains("unfinished"), "{report:?}");
    assert_eq!((database.count("before"), database.count("after")), (50, 0));

    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    assert_eq!(report.resumed, 0);
    assert_eq!((database.count("before"), database.count("after")), (50, 50));
}

#[test]
fn a_window_that_no_attempt_can_complete_does_not_stand_in_the_way_of_a_mended_file() {
    let place = Place::new();
    place.write("in.csv", "a,b\n1,2\n");
    let pipeline = |types: &str| {
        format!(
            "name: p\n\
             source: {{ use: file, with: {{ path: in.csv }}, format: {{ use: csv, with: {{ types: {{ {types}: integer }} }} }} }}\n\
             sink: {{ use: sqlite, with: {{ path: out.db, table: t, create: true }} }}\n"
        )
    };
    place.write("p.yaml", pipeline("c"));
    let failed = place.engine(&["--json", "run", "p.yaml"]).with_code(2).report();
    assert!(failed.notes[0].contains("the next run begins anew"), "{failed:?}");
    place.write("p.yaml", pipeline("b"));
    let report = place.engine(&["--json", "run", "p.yaml"]).with_code(0).report();
    assert_eq!((report.resumed, report.sink("sqlite").written), (0, 1), "{report:?}");
}

#[test]
fn a_window_of_which_an_api_may_have_something_is_not_begun_anew() {
    let next = std::sync::Mutex::new([404, 503, 404, 201].into_iter());
    let api = http::Server::start(move |_| Answer::status(next.lock().unwrap().next().unwrap()));
    let place = Place::new();
    place.write("in.csv", "a\n1\n");
    place.write(
        "p.yaml",
        format!(
            "source: {{ use: file, with: {{ path: in.csv }}, format: csv }}\n\
             sink: {{ use: http, with: {{ url: \"{}/\" }} }}\n\
             retry: {{ attempts: 1, backoff: 1ms, max: 1ms }}\n",
            api.url()
        ),
    );
    let run = || place.engine(&["--json", "run", "p.yaml"]);
    let refused = run().with_code(2).report();
    assert!(refused.notes[0].contains("the next run begins anew"), "{refused:?}");
    // Who answers 503 may have taken it before.
    let unknown = run().with_code(1).report();
    assert_eq!((unknown.resumed, unknown.outcome.as_str()), (0, "failed"), "{unknown:?}");
    let refused = run().with_code(2).report();
    assert!(refused.notes.iter().any(|note| note.contains("the next run goes on with it")), "{refused:?}");
    let report = run().with_code(0).report();
    assert_eq!((report.resumed, report.sink("http").written), (1, 1), "{report:?}");
}

#[test]
fn an_empty_file_is_no_failure() {
    let place = Place::new();
    place.write("in.csv", "");
    place.write(
        "p.yaml",
        "source: { use: file, with: { path: in.csv }, format: csv }\n\
         sink: { use: sqlite, with: { path: out.db, table: t, create: true } }\n",
    );
    let report = place.engine(&["--json", "run", "p.yaml"]).with_code(0).report();
    assert_eq!((report.read, report.sink("sqlite").written), (0, 0));
}
