//! The commands around `run`.

use engine_end_to_end_tests::{Place, lines, sqlite_count, workspace};

/// A log of three calls and one line that is no record, into a table.
fn three_calls() -> Place {
    let place = Place::new();
    let mut log = lines(0..3);
    log.extend_from_slice(b"not a call\r\n");
    place.write("pbx.log", log);
    place.write(
        "calls.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n\
         tests:\n\
         \x20 - { name: a call, input: \"170925 1547 00252 2434 0 2432\", expect: [{ duration: 172 }] }\n\
         \x20 - { name: no call, input: nonsense, expect: [], dead_letters: 1 }\n",
    );
    place
}

#[test]
fn the_shipped_pipelines_validate_on_a_fresh_machine() {
    let mut files = vec!["validate".to_owned()];
    for entry in std::fs::read_dir(workspace().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path.display().to_string());
        }
    }
    assert!(files.len() > 2);
    let place = Place::new();
    let ended = place.engine(&files).with_code(0);
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
}

#[test]
fn the_tests_of_the_shipped_pipelines_pass() {
    let place = Place::new();
    let files = ["quickstart.yaml", "avaya_cdr.yaml"].map(|name| workspace().join("pipelines").join(name));
    let [quickstart, avaya] = files.map(|path| path.display().to_string());
    place.engine(&["test", &quickstart, &avaya]).with_code(0);
}

#[test]
fn a_test_that_fails_is_told_and_ends_with_1() {
    let place = three_calls();
    place.engine(&["test", "calls.yaml"]).with_code(0);
    let pipeline = std::fs::read_to_string(place.path("calls.yaml")).unwrap();
    place.write("calls.yaml", pipeline.replace("duration: 172", "duration: 173"));
    let ended = place.engine(&["test", "calls.yaml"]).with_code(1);
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains("a call") && told.contains("173") && told.contains("172"), "{told}");
}

#[test]
fn explain_tells_promise_and_reason_of_every_sink() {
    let place = three_calls();
    let ended = place.engine(&["explain", "calls.yaml"]).with_code(0);
    for text in ["calls", "effectively-once", "transaction", "pbx.log"] {
        assert!(ended.stdout.contains(text), "{text:?} is not in\n{}", ended.stdout);
    }
}

#[test]
fn preview_shows_rows_and_refusals_and_writes_nothing() {
    let place = three_calls();
    let ended = place.engine(&["preview", "calls.yaml"]).with_code(0);
    for text in ["0000000002", "refused", "not a call"] {
        assert!(ended.stdout.contains(text), "{text:?} is not in\n{}", ended.stdout);
    }
    assert!(!place.path("calls.db").exists());
    assert!(!place.state().join("state.db").exists());
}

#[test]
fn plugins_and_schemas_are_shown() {
    let place = Place::new();
    let listed = place.engine(&["plugins", "list"]).with_code(0).stdout;
    for name in ["file", "csv", "json", "tcp", "avaya_cdr", "sqlite", "postgres"] {
        assert!(listed.contains(&format!("libengine_plugin_{name}.so")), "{name} is not in\n{listed}");
    }
    let head = listed.lines().next().unwrap_or_default();
    let head: Vec<_> = head.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(head, ["KIND", "NAME", "VERSION", "ORIGIN", "MAY REACH", "SHA256", "FILE"]);
    assert!(listed.lines().skip(1).all(|line| line.contains("  native  ")), "{listed}");
    assert_eq!(place.json(&["plugins", "list"])[0]["components"][0]["origin"], "native");
    assert!(place.engine(&["plugins", "show", "file"]).with_code(0).stdout.contains("overwrite"));
    let schema = place.json(&["schema"]).remove(0);
    assert!(schema.pointer("/properties/source").is_some(), "{schema}");
    assert!(place.json(&["schema", "tcp"]).remove(0).to_string().contains("listen"));
}

#[test]
fn the_folders_of_modules_are_shown_with_what_names_them() {
    let mut place = Place::new();
    place.set("ENGINE_PLUGIN_PATH", "/one:/two");
    std::fs::create_dir_all(place.path(".engine/plugins")).unwrap();
    let shown = place.engine(&["plugins", "path"]).with_code(0).stdout;
    let lines: Vec<Vec<_>> =
        shown.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    let own = place.path(".engine/plugins").canonicalize().unwrap().display().to_string();
    assert_eq!(lines[0], ["NAMED BY", "FOLDER"]);
    assert_eq!(lines[1], ["ENGINE_PLUGIN_PATH", "/one", "(not there)"]);
    assert_eq!(lines[2], ["ENGINE_PLUGIN_PATH", "/two", "(not there)"]);
    assert_eq!(lines[3], ["the state folder", own.as_str()]);
    assert_eq!((lines[4][0], lines[4][1].ends_with("/plugins")), ("beside the program", true));
    assert_eq!((lines[5][0], lines[5][2], lines.len()), ("beside the program", "(only libengine_plugin_*)", 6));

    // Folders that are named stand for all others.
    let found = place.json(&["plugins", "path", "--plugins", "/three"]).remove(0);
    let expected = serde_json::json!([{"path": "/three", "exists": false, "named_by": "option"}]);
    assert_eq!(found["folders"], expected);
    let found = place.json(&["plugins", "path"]).remove(0);
    let by = |at: usize| found["folders"][at]["named_by"].as_str().unwrap_or_default().to_owned();
    assert_eq!([0, 2, 3, 4].map(by), ["variable", "state", "program", "program_itself"]);
}

#[test]
fn runs_and_state_are_listed_set_and_reset() {
    let place = three_calls();
    place.engine(&["run", "calls.yaml"]).with_code(0);
    let runs = place.json(&["runs"]);
    assert_eq!(runs.len(), 1);
    assert_eq!((&runs[0]["pipeline"], &runs[0]["outcome"]), (&"calls".into(), &"succeeded".into()));
    assert!(place.engine(&["state", "show"]).with_code(0).stdout.contains("calls"));
    place.engine(&["state", "set", "calls", "7"]).with_code(0);
    assert!(place.engine(&["state", "show", "calls"]).with_code(0).stdout.contains('7'));
    place.engine(&["state", "reset", "calls"]).with_code(0);
    place.engine(&["run", "calls.yaml"]).with_code(0);
    // Numbers of windows go on after a reset, so that no delivery passes for one of before.
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 6);
}

#[test]
fn a_service_of_nothing_is_told_what_it_could_be_of() {
    let place = Place::new();
    place.engine(&["serve"]).with_code(2).says(&["nothing is named", "pipelines/", "--catalogue"]);
    assert!(!place.state().exists());
}

#[test]
fn connections_are_listed_and_tried_out() {
    let mut place = Place::new();
    place.write("connections.yaml", "nowhere: { use: postgres, with: { url: \"${env:NOWHERE}\" } }\n");
    place.set("NOWHERE", "postgres://engine:secret@127.0.0.1:9/none");
    assert!(place.engine(&["connections", "list"]).with_code(0).stdout.contains("nowhere"));
    let ended = place.engine(&["connections", "check"]);
    assert_ne!(ended.code, Some(0));
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains("nowhere") && told.contains("127.0.0.1:9"), "{told}");
}

#[test]
fn a_connection_is_tried_out_as_what_can_use_it() {
    let mut place = Place::new();
    // It takes records, and refuses to be asked for some.
    let api = engine_test_tools::http::Server::start(|request| {
        engine_test_tools::http::Answer::status(if request.method == "GET" { 405 } else { 400 })
    });
    let ca = std::env::var("ENGINE_TEST_SMTP_CA").expect("run it by `tests/services run`");
    place.write(
        "connections.yaml",
        format!(
            "api: {{ use: http, with: {{ url: '{}/insert' }} }}\n\
             mail: {{ use: smtp, with: {{ host: localhost, port: '${{env:PORT}}', username: engine, password: '${{env:PASSWORD}}', from: a@example.com, ca: {ca} }} }}\n",
            api.url()
        ),
    );
    place.set("PORT", std::env::var("ENGINE_TEST_SMTP_PORT").unwrap());
    place.set("PASSWORD", std::env::var("ENGINE_TEST_SMTP_PASSWORD").unwrap());
    let told = place.engine(&["connections", "check"]).with_code(0).stdout;
    assert!(told.contains("api: ") && told.contains("mail: localhost:"), "{told}");
    // A pipeline has to say who receives.
    place.write(
        "p.yaml",
        "source: { use: file, with: { path: a.csv }, format: csv }\nsink: { use: smtp, with: { connection: mail } }\n",
    );
    place.engine(&["validate", "p.yaml"]).with_code(2).says(&["needs `to`"]);
}
