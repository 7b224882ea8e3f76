//! The engine with guests in its pipelines: same file, same errors, and what one
//! guest does to itself costs no other pipeline.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use engine_guest_tests::{folder, guest};

fn engine(place: &Path, arguments: &[&str]) -> Output {
    let plugins = place.join("plugins");
    Command::new(folder().join("../debug/engine"))
        .args(arguments)
        .current_dir(place)
        .env_remove("ENGINE_STATE")
        .env("ENGINE_PLUGIN_PATH", plugins)
        .output()
        .expect("the engine was built")
}

/// A folder with the hostile guest as a module, and a file of three rows.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("plugins")).unwrap();
    let module = guest("engine_hostile_guest");
    std::os::unix::fs::symlink(module, place.path().join("plugins/hostile.wasm")).unwrap();
    std::fs::write(place.path().join("in.csv"), "n\n1\n2\n3\n").unwrap();
    place
}

fn pipeline(place: &Path, name: &str, does: &str) -> String {
    let file = format!("{name}.yaml");
    let text = format!(
        "source: {{use: file, with: {{path: in.csv}}, format: csv}}\n\
         transforms:\n  - use: hostile\n    with: {{does: {does}}}\n    limits: {{deadline: 500ms, memory: 64MiB}}\n\
         sink: {{use: file, with: {{path: {name}.csv, overwrite: true}}, format: csv}}\n\
         retry: {{attempts: 1}}\n"
    );
    std::fs::write(place.join(&file), text).unwrap();
    file
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_guest_works_in_a_pipeline_by_its_name() {
    let place = place();
    let file = pipeline(place.path(), "good", "nothing");
    let output = engine(place.path(), &["run", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(place.path().join("good.csv")).unwrap(), "n\n1\n2\n3\n");

    let listed = text(&engine(place.path(), &["plugins", "list"]));
    let line = listed.lines().find(|line| line.contains("hostile")).expect("it is listed");
    assert!(line.contains("wasm") && line.contains("what a pipeline grants"), "{line}");
}

#[test]
fn a_hostile_guest_fails_its_own_run_in_time_and_no_other() {
    for (does, said) in [
        ("loop", "did not come to the end of"),
        ("memory_bomb", "asked for more memory than its 64 MiB"),
        ("stack_overflow", "overflowed its stack"),
        ("trap", "trapped in"),
        ("schema_lie", "hostile"),
    ] {
        let place = place();
        // Compiled once, so that the clock measures the guest.
        let good = pipeline(place.path(), "good", "nothing");
        assert_eq!(engine(place.path(), &["run", &good]).status.code(), Some(0));
        std::fs::remove_file(place.path().join("good.csv")).unwrap();
        let bad = pipeline(place.path(), "bad", does);
        let began = Instant::now();
        let output = engine(place.path(), &["run", &bad, &good]);
        let took = began.elapsed();
        let said_all = text(&output);
        assert_eq!(output.status.code(), Some(1), "{does}: {said_all}");
        assert!(said_all.contains(said), "{does}: {said_all}");
        assert!(took < Duration::from_millis(500) + Duration::from_secs(2), "{does}: {took:?}: {said_all}");
        assert!(!place.path().join("bad.csv").exists(), "{does}");
        // The files of runs before are the same: the second pipeline has nothing new, or has run again.
        assert!(said_all.contains("good"), "{does}: {said_all}");
    }
}

#[test]
fn a_lock_refuses_a_guest_that_has_changed() {
    let place = place();
    let file = pipeline(place.path(), "good", "nothing");
    assert_eq!(engine(place.path(), &["plugins", "lock", &file]).status.code(), Some(0));
    assert_eq!(engine(place.path(), &["run", &file]).status.code(), Some(0));
    let module = place.path().join("plugins/hostile.wasm");
    let mut bytes = std::fs::read(&module).unwrap();
    std::fs::remove_file(&module).unwrap();
    bytes.extend_from_slice(b"\0\x05\x04more");
    std::fs::write(&module, bytes).unwrap();
    let output = engine(place.path(), &["run", &file]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("has changed since it was locked"), "{}", text(&output));
}
