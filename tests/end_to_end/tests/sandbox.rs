//! What a pipeline says of what its modules may reach, and of who runs them.

use engine_end_to_end_tests::{Place, lines, sqlite_count};

/// What the module sees of the environment and nobody else does.
const CANARY: &str = "canary-granted-5be2";

/// A log of three calls into a table; `words` stand at the sink.
fn granted(words: &str) -> Place {
    let place = Place::new();
    place.write("pbx.log", lines(0..3));
    place.write(".env", format!("API_TOKEN={CANARY}\n"));
    place.write(
        "calls.yaml",
        format!(
            "source: {{ use: file, with: {{ path: pbx.log }}, format: avaya_cdr }}\n\
             sink: {{ use: sqlite, with: {{ path: calls.db, table: calls, create: true }}, {words} }}\n"
        ),
    );
    place
}

#[test]
fn words_that_restrict_nothing_get_a_warning_and_the_run_goes_on() {
    let place = granted("limits: { deadline: 90s }, permissions: { environment: [API_TOKEN], read: [lookup] }");
    let ended = place.engine(&["validate", "calls.yaml"]).with_code(0);
    ended.says(&["`permissions` restricts nothing", "calls.yaml:2:", "`limits` restricts nothing", "2 warnings"]);
    let told = place.engine(&["explain", "calls.yaml"]).with_code(0).stdout;
    assert!(told.contains("where `limits` and `permissions` restrict nothing"), "{told}");
    let explained = place.json(&["explain", "calls.yaml"]).remove(0);
    let sandbox = &explained["sandboxes"][0];
    assert_eq!((&sandbox["stage"], &sandbox["runs_in"]), (&"sinks.sqlite".into(), &"engine".into()));
    assert_eq!(sandbox["environment"], serde_json::json!(["API_TOKEN"]));
    let folder = sandbox["read"][0].as_str().unwrap();
    assert!(folder.starts_with('/') && folder.ends_with("/lookup"), "{folder}");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 3);
    for shown in [ended.stdout, ended.stderr, told, explained.to_string()] {
        assert!(!shown.contains(CANARY), "{shown}");
    }
    let state = std::fs::read(place.state().join("state.db")).unwrap();
    assert!(!state.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes()), "the state holds a value");
}

#[test]
fn a_variable_for_a_module_that_is_not_set_is_a_warning_until_it_is_needed() {
    let place = granted("permissions: { environment: [API_TOKEN, NO_SUCH_VARIABLE] }");
    place.engine(&["validate", "calls.yaml"]).with_code(0).says(&["NO_SUCH_VARIABLE", "needed for `environment`"]);
    place.engine(&["run", "calls.yaml"]).with_code(2).says(&["NO_SUCH_VARIABLE", "not set", ".env"]);
}

#[test]
fn wrong_words_are_refused_with_what_to_write() {
    let place = granted("isolation: proces, limits: { memory: 1KiB }, permissions: { hosts: [ftp://x] }");
    for command in ["validate", "run"] {
        let ended = place.engine(&[command, "calls.yaml"]).with_code(2);
        ended.says(&["did you mean `process`?", "`memory` is at least `1MiB`", "`ftp://x` is not a host"]);
    }
}
