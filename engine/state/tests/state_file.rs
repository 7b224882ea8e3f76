//! The state folder: who may open it, with which permissions, and what a full disk does.

mod common;

use std::os::unix::fs::PermissionsExt;

use chrono::Utc;
use common::*;
use engine_abi::{ErrorKind, Unit};
use engine_state::{DeadLetterFilter, Outcome, RunFilter, State};
use serde_json::json;

#[test]
fn the_folder_and_its_files_are_their_owners_alone() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/b");
    let state = State::open(&folder).unwrap();
    create(&state, 0, &["0000"], &[("sqlite", Unit::Split)]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["state.db", "state.db-wal", "state.db-shm", "lock"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[test]
fn the_id_is_made_once_and_begins_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let id = State::open(folder.path()).unwrap().id().to_owned();
    let state = State::open(folder.path()).unwrap();
    assert_eq!(state.id(), id);
    assert_eq!(state.key(&delivery("postgres", 7, "0001")), format!("{id}/p/postgres/7/0001"));
    let other = tempfile::tempdir().unwrap();
    assert_ne!(State::open(other.path()).unwrap().id(), id);
}

#[test]
fn a_second_engine_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let error = State::open(folder.path()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains(&std::process::id().to_string()), "{}", error.message);
    assert!(error.hint.is_some());
    drop(state);
    State::open(folder.path()).unwrap();
}

#[test]
fn a_reader_sees_what_the_holder_has_stored_and_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(State::read(folder.path()).unwrap_err().kind, ErrorKind::Config);
    let state = State::open(folder.path()).unwrap();
    let reader = State::read(folder.path()).unwrap();
    create(&state, 0, &["0000"], &[("sqlite", Unit::Split)]);
    assert_eq!(reader.unfinished_windows("p").unwrap().len(), 1);
    assert_eq!(reader.begin_run("p", "command", Utc::now()).unwrap_err().kind, ErrorKind::Denied);
    drop(state);
    assert_eq!(State::read(folder.path()).unwrap().unfinished_windows("p").unwrap().len(), 1);
}

#[test]
fn a_file_without_tables_becomes_a_state() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.db"), b"").unwrap();
    assert_eq!(State::read(folder.path()).unwrap_err().kind, ErrorKind::Config);
    let state = State::open(folder.path()).unwrap();
    assert_eq!(create(&state, 0, &[], &[]).id, 1);
}

#[test]
fn a_damaged_file_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.db"), vec![b'x'; 8192]).unwrap();
    let error = State::open(folder.path()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("state.db"), "{}", error.message);
    assert!(error.hint.is_some());
}

#[test]
fn a_file_in_place_of_the_folder_is_a_matter_of_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"").unwrap();
    assert_eq!(State::open(&path).unwrap_err().kind, ErrorKind::Config);
    assert_eq!(State::open(&path.join("below")).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn runs_that_never_ended_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let first = state.begin_run("p", "command", Utc::now()).unwrap();
    let died = state.begin_run("p", "schedule", Utc::now()).unwrap();
    state.begin_run("other", "command", Utc::now()).unwrap();
    assert!(first < died);
    state.end_run(&first, Outcome::Succeeded, &json!({ "rows": 3 })).unwrap();
    drop(state);

    let state = State::open(folder.path()).unwrap();
    let interrupted = state.interrupted_runs("p").unwrap();
    assert_eq!(interrupted.iter().map(|run| &run.id).collect::<Vec<_>>(), [&died]);
    state.end_run(&died, Outcome::Failed, &json!(null)).unwrap();
    assert_eq!(state.end_run(&died, Outcome::Stopped, &json!(null)).unwrap_err().kind, ErrorKind::Internal);
    assert!(state.interrupted_runs("p").unwrap().is_empty());

    let runs = state.runs(&RunFilter { pipeline: Some("p".into()), limit: 10 }).unwrap();
    assert_eq!(runs.iter().map(|run| run.outcome.unwrap()).collect::<Vec<_>>(), [Outcome::Failed, Outcome::Succeeded]);
    assert_eq!(state.run(&first).unwrap().unwrap().report, Some(json!({ "rows": 3 })));
    assert_eq!(state.runs(&RunFilter { pipeline: None, limit: 2 }).unwrap().len(), 2);
}

#[test]
fn a_full_disk_fails_a_write_whole_and_the_same_write_works_later() {
    let Some(disk) = SmallDisk::mount("a full disk under the state", 2 << 20) else { return };
    let folder = disk.path().join("state");
    let state = State::open(&folder).unwrap();
    create(&state, 0, &["0000"], &[("sqlite", Unit::Split)]);
    let filler = disk.fill(100 << 10);
    let letters: Vec<_> =
        (0..3000).map(|ordinal| letter(1, "0000", "source", ordinal, "a reason to refuse it")).collect();
    let error = state.put_dead_letters(&letters).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert!(error.message.contains(folder.to_str().unwrap()), "{}", error.message);
    assert!(error.hint.is_some());
    let all = DeadLetterFilter::default();
    assert!(state.dead_letters(&all).unwrap().is_empty());

    std::fs::remove_file(filler).unwrap();
    state.put_dead_letters(&letters[..500]).unwrap();
    assert_eq!(state.dead_letters(&all).unwrap().len(), 500);
    assert!(settle(&state, "sqlite", 1, "0000"));
    drop(state);
    assert_eq!(cursor(&State::open(&folder).unwrap(), "sqlite").0, 1);
}
