//! Files that are put away once every sink has them.

use engine_end_to_end_tests::{Place, program};

fn place() -> Place {
    let place = Place::with_program(program().with_file_name("engine-failpoints"));
    for (name, number) in [("a", 1), ("b", 2)] {
        place.write(&format!("inbox/{name}.csv"), format!("number\n{number}\n"));
    }
    place.write(
        "copy.yaml",
        "source: { use: file, with: { path: 'inbox/*.csv', after: { move: done } }, format: csv }\n\
         sinks:\n  - { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n  \
         - { use: file, with: { path: 'out/{{ window.id }}.csv' }, format: csv }\n",
    );
    place
}

fn names(place: &Place, folder: &str) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(place.path(folder))
        .into_iter()
        .flatten()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_read_once_and_moved() {
    let place = place();
    let report = place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!((report.read, names(&place, "done").join(" ")), (2, "a.csv b.csv".into()));
    assert!(names(&place, "inbox").is_empty());
    let report = place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report();
    assert!(report.read == 0 && report.notes[0].contains("nothing to read"), "{report:?}");
    place.write("inbox/a.csv", "number\n3\n");
    place.engine(&["run", "copy.yaml"]).with_code(0);
    assert_eq!(names(&place, "done"), ["a.2.csv", "a.csv", "b.csv"]);
    assert_eq!(engine_end_to_end_tests::sqlite_count(&place.path("calls.db"), "calls"), 3);
}

#[test]
fn an_end_at_any_point_leaves_every_file_read_once_and_put_away() {
    for point in ["state::settled:1", "state::settled:2", "state::settled:3", "state::source_told", "state::run_ended"]
    {
        let mut place = place();
        place.set("ENGINE_FAILPOINT", point);
        assert_eq!(place.engine(&["run", "copy.yaml"]).code, None, "{point}");
        place.set("ENGINE_FAILPOINT", "");
        place.engine(&["run", "copy.yaml"]).with_code(0);
        assert!(names(&place, "inbox").is_empty(), "{point}");
        assert_eq!(names(&place, "done"), ["a.csv", "b.csv"], "{point}");
        assert_eq!(engine_end_to_end_tests::sqlite_count(&place.path("calls.db"), "calls"), 2, "{point}");
        assert_eq!(names(&place, "out"), ["1.csv"], "{point}");
    }
}

#[test]
fn what_cannot_be_put_away_is_tried_again_before_anything_is_read() {
    let place = place();
    place.write("done", "a file where a folder should be");
    let ended = place.engine(&["run", "copy.yaml"]);
    assert_ne!(ended.code, Some(0));
    ended.says(&["done"]);
    assert_eq!(names(&place, "inbox"), ["a.csv", "b.csv"]);
    std::fs::remove_file(place.path("done")).unwrap();
    let report = place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report();
    assert_eq!(report.read, 0);
    assert_eq!(names(&place, "done"), ["a.csv", "b.csv"]);
    assert_eq!(engine_end_to_end_tests::sqlite_count(&place.path("calls.db"), "calls"), 2);
}
