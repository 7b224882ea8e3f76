//! Stages whose modules run in processes of their own.

use std::process::Command;

use engine_end_to_end_tests::{Caller, Place, lines, module, sqlite_count, sqlite_rows, until, workspace};

/// The numbers of the processes that a process has started and that are still there.
fn children(id: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let of_task = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.map(of_task).flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn has_loaded(id: u32, module: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/maps")).is_ok_and(|maps| maps.contains(module))
}

#[test]
fn a_pipeline_gives_the_same_whoever_runs_its_modules() {
    let place = Place::new();
    place.write("pbx.log", [lines(0..2000), b"no call\r\n".to_vec(), lines(2000..2500)].concat());
    for (name, isolation) in [("here", "none"), ("apart", "process")] {
        place.write(
            &format!("{name}.yaml"),
            format!(
                "source:\n  use: file\n  isolation: {isolation}\n  with: {{ path: pbx.log }}\n  \
                 format: {{ use: avaya_cdr, isolation: {isolation} }}\n\
                 sinks:\n  - use: sqlite\n    isolation: {isolation}\n    \
                 with: {{ path: {name}.db, table: t, create: true }}\n  \
                 - use: file\n    isolation: {isolation}\n    with: {{ path: {name}.csv.gz }}\n    \
                 format: {{ use: csv, isolation: {isolation} }}\n    \
                 compression: {{ use: gzip, isolation: {isolation} }}\n"
            ),
        );
        place.engine(&["run", &format!("{name}.yaml")]).with_code(0);
    }
    let rows = |name: &str| sqlite_rows(&place.path(format!("{name}.db")), "SELECT * FROM t ORDER BY 1, 2, 3, 4, 5");
    assert_eq!(rows("here").len(), 2500);
    assert_eq!(rows("apart"), rows("here"));
    let file = |name: &str| std::fs::read(place.path(format!("{name}.csv.gz"))).unwrap();
    assert_eq!(file("apart"), file("here"));
    assert_eq!(place.final_letters(), 2);
}

/// Builds the module that does what a setting says.
fn hostile(place: &Place) -> std::path::PathBuf {
    let built = place.write("modules/libhostile.so", "");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-shared", "-fPIC", "-I"])
        .arg(workspace().join("schemas"))
        .arg("-o")
        .args([&built, &workspace().join("tests/modules/c_hostile/hostile.c")])
        .status();
    assert!(compiled.expect("there is a C compiler").success());
    built
}

#[test]
fn a_module_that_crashes_fails_a_check_of_the_suite_and_not_the_suite() {
    let place = Place::new();
    let module = hostile(&place).display().to_string();
    place.write(
        "modules/conformance.json",
        r#"{"transform hostile": {"config": {"fault": "segfault", "in": "apply"}}}"#,
    );
    let ended = place.engine(&["plugins", "test", &module, "--isolation", "process"]).with_code(1);
    for text in ["FAILED        OneRow", "crashed in `apply`: SIGSEGV", "passed        CheckCall", "does not conform"] {
        assert!(ended.stdout.contains(text), "{text:?} is not in\n{}", ended.stdout);
    }
}

#[test]
fn a_crash_costs_an_attempt_and_no_more_than_the_run() {
    let place = Place::new();
    hostile(&place);
    place.write("pbx.log", lines(0..100));
    place.write(
        "pipe.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         transforms: [{ use: hostile, isolation: process, with: { fault: segfault, in: apply } }]\n\
         sink: { use: sqlite, with: { path: a.db, table: t, create: true } }\n\
         retry: { attempts: 3, backoff: 1ms }\n",
    );
    let bundled = module("file").parent().unwrap().display().to_string();
    let modules = place.path("modules").display().to_string();
    let ended = place.engine(&["run", "pipe.yaml", "--plugins", &bundled, "--plugins", &modules]).with_code(1);
    ended.says(&["transforms.0: transform `hostile` of module ", "crashed in `apply`: SIGSEGV", "attempt=2"]);
    assert!(!ended.stderr.contains("attempt=3"), "{}", ended.stderr);
}

#[test]
fn a_listener_is_drained_although_its_process_was_told_to_end_too() {
    let place = Place::new();
    place.write(
        "calls.yaml",
        "source:\n  use: tcp\n  isolation: process\n  with: { listen: \"127.0.0.1:0\" }\n  \
         format: { use: avaya_cdr, isolation: process }\n\
         sink:\n  use: sqlite\n  isolation: process\n  with: { path: a.db, table: t, create: true }\n",
    );
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let mut caller = Caller::new(engine.address().expect("it listens"));
    caller.send(lines(0..300));
    caller.close();
    until("a row arrives", || place.path("a.db").exists() && sqlite_count(&place.path("a.db"), "t") > 0);
    let id = engine.id();
    let processes = children(id);
    assert!(!processes.is_empty());
    for name in ["tcp", "avaya_cdr", "sqlite"] {
        assert!(!has_loaded(id, &format!("libengine_plugin_{name}")), "the engine has loaded {name}");
    }
    // As a service manager does it: every process of the service gets the signal.
    let told = Command::new("kill").arg("-TERM").args(&processes).status();
    assert!(told.expect("there is kill").success());
    engine.terminate();
    engine.wait().with_code(0);
    assert_eq!(sqlite_count(&place.path("a.db"), "t"), 300);
    until("no process is left", || {
        processes.iter().all(|process| !std::path::Path::new("/proc").join(process).exists())
    });
}
