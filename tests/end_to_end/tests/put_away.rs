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
fn what_a_sink_misses_is_not_read_again_for_the_others() {
    let place = place();
    // Where a folder should be.
    place.write("out", "");
    let delivered = || engine_end_to_end_tests::sqlite_count(&place.path("calls.db"), "calls");
    for _ in 0..2 {
        assert_ne!(place.engine(&["run", "copy.yaml"]).code, Some(0));
        assert_eq!((delivered(), names(&place, "inbox").join(" ")), (2, "a.csv b.csv".into()));
    }
    place.write("inbox/c.csv", "number\n3\n");
    assert_ne!(place.engine(&["run", "copy.yaml"]).code, Some(0));
    assert_eq!(delivered(), 3);
    std::fs::remove_file(place.path("out")).unwrap();
    place.engine(&["run", "copy.yaml"]).with_code(0);
    assert_eq!((delivered(), names(&place, "out").join(" ")), (3, "1.csv 2.csv".into()));
    assert_eq!((names(&place, "inbox").len(), names(&place, "done").join(" ")), (0, "a.csv b.csv c.csv".into()));
}

#[test]
fn a_folder_that_is_mended_in_the_file_is_the_one_that_counts() {
    let place = place();
    place.write("done", "a file where a folder should be");
    assert_ne!(place.engine(&["run", "copy.yaml"]).code, Some(0));
    let text = std::fs::read_to_string(place.path("copy.yaml")).unwrap();
    place.write("copy.yaml", text.replace("move: done", "move: away"));
    let report = place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report();
    assert_eq!((report.read, names(&place, "away").join(" ")), (0, "a.csv b.csv".into()));
}

#[test]
fn a_folder_in_which_files_would_be_found_again_is_refused() {
    let place = place();
    let text = std::fs::read_to_string(place.path("copy.yaml")).unwrap();
    for (path, folder) in [("inbox/**/*.csv", "inbox/done"), ("inbox/*.csv", "./inbox"), ("*/*.csv", "out/../done")] {
        place.write("copy.yaml", text.replace("inbox/*.csv", path).replace("move: done", &format!("move: {folder}")));
        let ended = place.engine(&["run", "copy.yaml"]);
        assert_eq!(ended.code, Some(2), "{path} {folder}");
        ended.says(&["finds them again", folder]);
    }
    assert_eq!(names(&place, "inbox"), ["a.csv", "b.csv"]);
}

#[test]
fn what_is_gone_or_a_link_to_nothing_keeps_no_other_file_from_being_read() {
    let place = place();
    std::os::unix::fs::symlink("nowhere", place.path("inbox/c.csv")).unwrap();
    let report = place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report();
    assert_eq!((report.read, names(&place, "inbox").join(" ")), (2, "c.csv".into()));
}

#[test]
fn files_of_which_some_have_their_names_are_completed_and_not_begun_anew() {
    let place = Place::new();
    place.write("calls.csv", "name\none\ntwo\n");
    place.write(
        "burst.yaml",
        "source: { use: file, with: { path: calls.csv }, format: csv }\n\
         sink: { use: file, with: { path: 'out/{{ window.id }}/', overwrite: true }, format: csv, burst: { by: name, filename: '{{ value }}.csv' } }\n\
         retry: { attempts: 1 }\n",
    );
    // Something is in the way of the second file.
    place.write("out/1/two.csv/held", "");
    let ended = place.engine(&["run", "burst.yaml"]);
    assert_ne!(ended.code, Some(0));
    std::fs::remove_dir_all(place.path("out/1/two.csv")).unwrap();
    place.engine(&["run", "burst.yaml"]).with_code(0);
    assert_eq!(
        (names(&place, "out").join(" "), names(&place, "out/1").join(" ")),
        ("1".into(), "one.csv two.csv".into())
    );
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
