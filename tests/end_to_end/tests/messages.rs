//! What a user is told about a pipeline file that is wrong. All of the wording
//! is `engine-spec`'s and tested there; here, that it reaches the user.

use engine_end_to_end_tests::Place;

/// Validates and runs a file: both say all of `texts`, and end with 2.
#[track_caller]
fn refused(content: impl AsRef<[u8]>, texts: &[&str]) {
    let place = Place::new();
    place.write("pipe.yaml", content);
    for command in ["validate", "run"] {
        let ended = place.engine(&[command, "pipe.yaml"]).with_code(2);
        ended.says(texts);
    }
    assert!(!place.state().join("state.db").exists(), "a wrong file leaves no state behind");
}

const SINK: &str = "sink: { use: sqlite, with: { path: a.db, table: t, create: true } }\n";

fn with_source(source: &str) -> String {
    format!("source: {source}\n{SINK}")
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_right_one() {
    let pipeline = with_source("{ use: file, with: { pathh: a.log, path: a.log }, format: avaya_cdr }");
    refused(
        pipeline.clone() + "sinsk: []\n",
        &["`file` has no setting `pathh`", "pipe.yaml:1:", "did you mean `path`?", "did you mean `sinks`?"],
    );
}

#[test]
fn a_wrong_type_is_told_with_what_was_expected() {
    refused(
        with_source("{ use: tcp, with: { listen: 9000 }, format: avaya_cdr }"),
        &["expected text for `listen`", "^^^^"],
    );
}

#[test]
fn an_unknown_component_is_named_with_the_nearest_one() {
    let pipeline = with_source("{ use: file, with: { path: a.log }, format: avaya_cdrr }");
    refused(pipeline, &["there is no format `avaya_cdrr`", "did you mean `avaya_cdr`?"]);
}

#[test]
fn a_variable_that_is_not_set_is_a_warning_until_it_is_needed() {
    let place = Place::new();
    place.write(
        "pipe.yaml",
        with_source("{ use: file, with: { path: \"${env:NO_SUCH_VARIABLE}\" }, format: avaya_cdr }"),
    );
    place.engine(&["validate", "pipe.yaml"]).with_code(0).says(&["NO_SUCH_VARIABLE", ".env"]);
    place.engine(&["run", "pipe.yaml"]).with_code(2).says(&["NO_SUCH_VARIABLE", "not set"]);
    place.write(".env", "NO_SUCH_VARIABLE=there.log\n");
    place.write("there.log", "");
    place.engine(&["run", "pipe.yaml"]).with_code(0);
}

#[test]
fn a_key_that_is_there_twice_is_shown_at_both_places() {
    refused(with_source("{ use: file, use: tcp }"), &["the key `use` is there twice", "the first is here"]);
}

#[test]
fn an_alias_bomb_is_refused_at_once() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, last) in ('b'..='l').zip('a'..) {
        bomb.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 10].join(", ")));
    }
    refused(bomb, &["alias-bomb"]);
}

#[test]
fn ten_thousand_levels_are_refused() {
    refused(format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)), &["deep within each other"]);
}

#[test]
fn what_is_not_utf8_is_pointed_at() {
    refused(b"name: caf\xe9\n", &["the file is not UTF-8", "pipe.yaml:1:10"]);
}

#[test]
fn what_a_component_refuses_is_found_before_anything_begins() {
    let pipeline = "source: { use: tcp, with: { listen: localhost }, format: avaya_cdr }\n\
                    transforms: []\n\
                    sinks:\n\
                    - { use: sqlite, name: here, with: { path: a.db, table: t, mode: upsert } }\n\
                    - { use: postgres, name: there, with: { url: foo, table: t } }\n";
    refused(
        pipeline,
        &["pipe.yaml: source: `listen`: `localhost`", "127.0.0.1:9000", "sinks.here: ", "needs `key`", "sinks.there: "],
    );
}

#[test]
fn a_folder_of_connections_is_no_pipeline() {
    let place = Place::new();
    place.write("connections.yaml", "{}\n");
    for command in ["run", "explain", "preview", "test"] {
        place.engine(&[command, "connections.yaml"]).with_code(2).says(&["there is no pipeline in these files"]);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let place = Place::new();
    let ended = place.engine(&["run", "missing.yaml"]).with_code(2);
    ended.says(&["missing.yaml"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let pipeline = "name: 5\nsource: { use: fil, with: {} }\nsink: { use: sqlit }\n";
    refused(pipeline, &["expected text for `name`", "there is no source `fil`", "there is no sink `sqlit`"]);
}

#[test]
fn a_missing_input_file_ends_a_run_with_2_and_its_name() {
    let place = Place::new();
    place.write("pipe.yaml", with_source("{ use: file, with: { path: missing.log }, format: avaya_cdr }"));
    let ended = place.engine(&["--json", "run", "pipe.yaml"]).with_code(2);
    let report = ended.report();
    assert!(report.errors[0].to_string().contains("missing.log"), "{report:?}");
}
