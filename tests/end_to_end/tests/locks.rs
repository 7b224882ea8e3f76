//! `engine plugins lock` and `engine plugins verify`: what may be loaded is
//! written down, and what has changed since is told.

use engine_end_to_end_tests::{Place, lines, module, sqlite_count};

/// A pipeline of three modules, which lie in a folder of their own.
fn with_modules() -> Place {
    let place = Place::new();
    place.write("pbx.log", lines(0..3));
    place.write(
        "jobs/pipe.yaml",
        "source: { use: file, with: { path: ../pbx.log }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: ../a.db, table: t, create: true } }\n",
    );
    for name in ["file", "avaya_cdr", "sqlite", "tcp"] {
        place.write(&format!("modules/lib{name}.so"), std::fs::read(module(name)).unwrap());
    }
    place
}

/// The engine with the modules of that folder and no others.
#[track_caller]
fn engine(place: &Place, arguments: &[&str]) -> engine_end_to_end_tests::Ended {
    place.engine(&[arguments, &["--plugins", "modules"]].concat())
}

fn statuses(place: &Place, more: &[&str]) -> Vec<(String, String)> {
    let ended = engine(place, &[&["plugins", "verify", "--json"], more].concat());
    let found: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let modules = found["modules"].as_array().unwrap();
    assert_eq!(found["holds"] == true, ended.code == Some(0), "{ended:?}");
    let mut all: Vec<_> = modules.iter().map(|it| (text(&it["name"]), text(&it["standing"]))).collect();
    all.sort();
    all
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, standing)| (name.to_string(), standing.to_string())).collect()
}

#[test]
fn the_modules_that_pipelines_use_are_locked_and_run() {
    let place = with_modules();
    let ended = engine(&place, &["plugins", "lock", "jobs/pipe.yaml"]).with_code(0);
    assert!(ended.stdout.starts_with("jobs/plugins.lock holds 3 modules; no other is loaded\n"), "{ended:?}");
    let lock = std::fs::read_to_string(place.path("jobs/plugins.lock")).unwrap();
    let names: Vec<_> = lock.lines().skip(1).map(|line| line.split_once("  ").unwrap().1).collect();
    assert!(lock.starts_with("# Only these modules may be loaded"), "{lock}");
    assert_eq!(names, ["libavaya_cdr.so", "libfile.so", "libsqlite.so"]);

    // The tool whose form it is agrees.
    let mut checker = std::process::Command::new("sha256sum");
    checker.args(["--check", "--strict", "../jobs/plugins.lock"]).current_dir(place.path("modules"));
    assert!(checker.output().unwrap().status.success());

    let ended = engine(&place, &["plugins", "verify", "jobs/pipe.yaml"]).with_code(0);
    for text in ["locked  libfile.so", "extra   libtcp.so", "jobs/plugins.lock holds: 3 modules, as locked"] {
        assert!(ended.stdout.contains(text), "{text:?} is not in\n{}", ended.stdout);
    }
    engine(&place, &["run", "jobs/pipe.yaml"]).with_code(0);
    assert_eq!(sqlite_count(&place.path("a.db"), "t"), 3);
    // The same again, also over a lock that nobody can read any more.
    place.write("jobs/plugins.lock", "no lock");
    engine(&place, &["plugins", "verify", "jobs/pipe.yaml"]).with_code(2).says(&["plugins.lock:1", "plugins lock"]);
    engine(&place, &["plugins", "lock", "jobs/pipe.yaml"]).with_code(0);
    assert_eq!(std::fs::read_to_string(place.path("jobs/plugins.lock")).unwrap(), lock);
}

#[test]
fn what_changed_is_missing_or_is_not_locked_is_told_and_not_loaded() {
    let place = with_modules();
    engine(&place, &["plugins", "lock", "jobs/pipe.yaml"]).with_code(0);
    let mut changed = std::fs::read(place.path("modules/libsqlite.so")).unwrap();
    changed.push(0);
    place.write("modules/libsqlite.so", changed);
    std::fs::rename(place.path("modules/libfile.so"), place.path("modules/libother.so")).unwrap();
    std::fs::remove_file(place.path("modules/libavaya_cdr.so")).unwrap();
    place.write(
        "jobs/pipe.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" } }\n\
         sink: { use: sqlite, with: { path: ../a.db, table: t, create: true } }\n",
    );
    let expected = [
        ("libavaya_cdr.so", "missing"),
        // Under another name, but the very same file.
        ("libother.so", "locked"),
        ("libsqlite.so", "changed"),
        ("libtcp.so", "unlocked"),
    ];
    assert_eq!(statuses(&place, &["jobs/pipe.yaml"]), pairs(&expected));
    let ended = engine(&place, &["plugins", "verify", "jobs/pipe.yaml"]).with_code(1);
    ended.says(&["the modules are not those of jobs/plugins.lock: 1 changed, 1 missing, 1 not locked"]);
    ended.says(&["`engine plugins lock` with the pipeline files writes the lock anew"]);
    let ended = engine(&place, &["run", "jobs/pipe.yaml"]).with_code(3);
    ended.says(&["jobs/plugins.lock does not hold it", "`engine plugins lock`"]);
}

#[test]
fn without_pipelines_all_modules_are_locked_for_this_folder_or_the_state_that_is_named() {
    let place = with_modules();
    let ended = engine(&place, &["plugins", "lock"]).with_code(0);
    assert!(ended.stdout.starts_with("plugins.lock holds 4 modules"), "{ended:?}");
    let all = ["libavaya_cdr.so", "libfile.so", "libsqlite.so", "libtcp.so"].map(|name| (name, "locked"));
    assert_eq!(statuses(&place, &[]), pairs(&all));
    // Nothing is known of what is used, so one more is no fault.
    place.write("modules/libcsv.so", std::fs::read(module("csv")).unwrap());
    assert!(statuses(&place, &[]).contains(&("libcsv.so".into(), "extra".into())));

    let place = with_modules();
    std::fs::create_dir(place.path("state")).unwrap();
    engine(&place, &["plugins", "lock", "--state", "state"]).with_code(0);
    assert!(place.path("state/plugins.lock").exists() && !place.path("plugins.lock").exists());
    engine(&place, &["run", "jobs/pipe.yaml", "--state", "state"]).with_code(0);
    // A lock of the state holds for its pipelines, too.
    assert_eq!(statuses(&place, &["jobs/pipe.yaml", "--state", "state"]), pairs(&all));
}

#[test]
fn a_lock_that_cannot_be_right_is_not_written() {
    let place = with_modules();
    place.write("jobs/other.yaml", "source: { use: nowhere }\nsink: { use: sqlite, with: { path: b.db, table: t } }\n");
    let ended = engine(&place, &["plugins", "lock", "jobs/pipe.yaml", "jobs/other.yaml"]).with_code(2);
    ended.says(&["no module has a source named `nowhere`"]);
    place.write("jobs/other.yaml", "source: {\n");
    engine(&place, &["plugins", "lock", "jobs/other.yaml"]).with_code(2).says(&["jobs/other.yaml:"]);
    place.write("elsewhere/pipe.yaml", "sink: { use: sqlite }\n");
    let ended = engine(&place, &["plugins", "lock", "jobs/pipe.yaml", "elsewhere/pipe.yaml"]).with_code(2);
    ended.says(&["lie in different folders", "lock the pipelines of each folder by themselves"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    place.engine(&["plugins", "lock", "--plugins", "empty"]).with_code(3).says(&["there is no module to lock"]);
    assert!(!place.path("jobs/plugins.lock").exists() && !place.path("plugins.lock").exists());
    let ended = engine(&place, &["plugins", "verify", "jobs/pipe.yaml"]).with_code(2);
    ended.says(&["there is no plugins.lock in", "every module may be loaded", "`engine plugins lock`"]);
}

#[test]
fn modules_that_only_connections_use_are_locked_as_well() {
    let place = with_modules();
    place.write("jobs/connections.yaml", "lines: { use: tcp, with: { listen: \"127.0.0.1:0\" } }\n");
    engine(&place, &["plugins", "lock", "jobs/pipe.yaml", "jobs/connections.yaml"]).with_code(0);
    assert!(std::fs::read_to_string(place.path("jobs/plugins.lock")).unwrap().contains("libtcp.so"));
    engine(&place, &["run", "jobs/pipe.yaml"]).with_code(0);
}

#[test]
fn pipelines_under_different_locks_do_not_run_together() {
    let place = with_modules();
    let pipeline = std::fs::read(place.path("jobs/pipe.yaml")).unwrap();
    place.write("more/other.yaml", pipeline);
    engine(&place, &["plugins", "lock", "jobs/pipe.yaml"]).with_code(0);
    // In whichever order they are named: the lock of one folder says nothing of another.
    for files in [["jobs/pipe.yaml", "more/other.yaml"], ["more/other.yaml", "jobs/pipe.yaml"]] {
        let ended = engine(&place, &[&["run", "--state", ".engine"][..], &files].concat()).with_code(3);
        ended.says(&["jobs/plugins.lock", "under no lock", "run the pipelines of each folder by themselves"]);
    }
    let lock = place.path("jobs/plugins.lock");
    place.write(".engine/plugins.lock", std::fs::read(&lock).unwrap());
    std::fs::remove_file(lock).unwrap();
    engine(&place, &["run", "jobs/pipe.yaml", "more/other.yaml", "--state", ".engine"]).with_code(0);
}
