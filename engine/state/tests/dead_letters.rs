//! Dead letters: overwritten while pending, final with their delivery, replayed once.

mod common;

use common::*;
use engine_abi::{ErrorKind, Unit};
use engine_state::{
    DeadLetterFilter, DeadLetterStatus, Mark, NewDeadLetter, NewWindow, Payload, RUN_SPLIT, State, WindowKind,
};

const TABLE: (&str, Unit) = ("postgres", Unit::Split);
const FILE: (&str, Unit) = ("csv", Unit::Run);

fn open() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    (folder, state)
}

/// Split, stage, ordinal, status and reason of every letter, sorted.
fn all(state: &State) -> Vec<(String, String, u64, DeadLetterStatus, String)> {
    let letters = state.dead_letters(&DeadLetterFilter::default()).unwrap();
    let mut all: Vec<_> =
        letters.into_iter().map(|at| (at.split, at.stage, at.ordinal, at.status, at.reason)).collect();
    all.sort();
    all
}

fn statuses(state: &State) -> Vec<(String, String, DeadLetterStatus)> {
    all(state).into_iter().map(|(split, stage, _, status, _)| (split, stage, status)).collect()
}

#[test]
fn an_attempt_overwrites_what_the_one_before_left_pending() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    state.put_dead_letters(&[letter(1, "0000", "source", 4, "old"), letter(1, "0000", "source", 9, "old")]).unwrap();
    state.put_dead_letters(&[letter(1, "0000", "source", 4, "new")]).unwrap();
    let reasons = |state: &State| all(state).into_iter().map(|(_, _, at, _, reason)| (at, reason)).collect::<Vec<_>>();
    assert_eq!(reasons(&state), [(4, "new".into()), (9, "old".into())]);
    state.clear_pending("p", 1, "0000", "source", 5..9).unwrap();
    assert_eq!(all(&state).len(), 2);
    state.clear_pending("p", 1, "0000", "source", 5..10).unwrap();
    assert_eq!(reasons(&state), [(4, "new".into())]);
    state.clear_pending("p", 1, "0000", "source", 0..5).unwrap();
    assert!(all(&state).is_empty());
}

#[test]
fn settling_makes_final_what_belongs_to_the_delivery_and_nothing_else() {
    use DeadLetterStatus::{Final, Pending};
    let (_folder, state) = open();
    create(&state, 0, &["0000", "0001"], &[TABLE, ("sqlite", Unit::Split)]);
    for split in ["0000", "0001"] {
        for stage in ["source", "transforms.1", "sinks.postgres", "sinks.sqlite"] {
            state.put_dead_letters(&[letter(1, split, stage, 0, "why")]).unwrap();
        }
    }
    settle(&state, "postgres", 1, "0001");
    let expected = [
        ("0000", "sinks.postgres", Pending),
        ("0000", "sinks.sqlite", Pending),
        ("0000", "source", Pending),
        ("0000", "transforms.1", Pending),
        ("0001", "sinks.postgres", Final),
        ("0001", "sinks.sqlite", Pending),
        ("0001", "source", Final),
        ("0001", "transforms.1", Final),
    ];
    assert_eq!(statuses(&state), expected.map(|(split, stage, status)| (split.into(), stage.into(), status)));
}

#[test]
fn a_sink_that_publishes_the_window_as_a_whole_makes_all_its_splits_final() {
    let (_folder, state) = open();
    create(&state, 0, &["0000", "0001"], &[FILE]);
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "why"), letter(1, "0001", "sinks.csv", 0, "why")]).unwrap();
    settle(&state, "csv", 1, RUN_SPLIT);
    assert!(statuses(&state).into_iter().all(|(_, _, status)| status == DeadLetterStatus::Final));
}

#[test]
fn a_final_letter_is_neither_overwritten_nor_cleared() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE, FILE]);
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "first")]).unwrap();
    settle(&state, "postgres", 1, "0000");
    let id = state.dead_letters(&DeadLetterFilter::default()).unwrap()[0].id;
    // The other sink catches up with a read of its own, which refuses the same record.
    state.clear_pending("p", 1, "0000", "source", 0..9).unwrap();
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "second")]).unwrap();
    let kept = state.dead_letter(id).unwrap().unwrap();
    assert_eq!((kept.reason.as_str(), kept.status), ("first", DeadLetterStatus::Final));
    assert_eq!(all(&state).len(), 1);
}

#[test]
fn payloads_come_back_byte_for_byte() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    let raw = Payload::Raw { name: "calls.log".into(), bytes: (0..=255).collect() };
    let row = Payload::Row { ipc: vec![0; 100_000] };
    let put: Vec<_> = [&raw, &row]
        .into_iter()
        .enumerate()
        .map(|(at, payload)| NewDeadLetter {
            payload: payload.clone(),
            ..letter(1, "0000", "source", at as u64, "why")
        })
        .collect();
    state.put_dead_letters(&put).unwrap();
    let letters = state.dead_letters(&DeadLetterFilter::default()).unwrap();
    assert_eq!(letters.iter().map(|at| at.payload_bytes).collect::<Vec<_>>(), [256, 100_000]);
    assert_eq!(state.payload(letters[0].id).unwrap(), Some(raw));
    assert_eq!(state.payload(letters[1].id).unwrap(), Some(row));
    assert_eq!(state.payload(999).unwrap(), None);
}

#[test]
fn letters_are_listed_by_page_and_filter() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    let put: Vec<_> = (0..25).map(|at| letter(1, "0000", "source", at, "why")).collect();
    state.put_dead_letters(&put).unwrap();
    state.put_dead_letters(&[letter(1, "0000", "sinks.postgres", 0, "why")]).unwrap();
    let mut filter =
        DeadLetterFilter { pipeline: Some("p".into()), stage: Some("source".into()), ..Default::default() };
    filter.limit = 10;
    let mut ordinals = Vec::new();
    loop {
        let page = state.dead_letters(&filter).unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        ordinals.extend(page.iter().map(|at| at.ordinal));
    }
    assert_eq!(ordinals, (0..25).collect::<Vec<_>>());
    let none = |filter| state.dead_letters(&filter).unwrap().is_empty();
    assert!(none(DeadLetterFilter { pipeline: Some("q".into()), ..Default::default() }));
    assert!(none(DeadLetterFilter { window: Some(2), ..Default::default() }));
    assert!(none(DeadLetterFilter { status: Some(DeadLetterStatus::Final), ..Default::default() }));
    let counts = state.dead_letter_counts(Some("p")).unwrap();
    assert_eq!(
        counts.iter().map(|at| (at.stage.as_str(), at.count)).collect::<Vec<_>>(),
        [("sinks.postgres", 1), ("source", 25)]
    );
    assert_eq!(state.dead_letter_counts(None).unwrap(), counts);
    assert!(state.dead_letter_counts(Some("q")).unwrap().is_empty());
}

#[test]
fn only_final_letters_can_be_dropped() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "why")]).unwrap();
    let id = state.dead_letters(&DeadLetterFilter::default()).unwrap()[0].id;
    assert_eq!(state.mark(&[id], Mark::Dropped).unwrap(), 0);
    settle(&state, "postgres", 1, "0000");
    assert_eq!(state.mark(&[id, 999], Mark::Dropped).unwrap(), 1);
    assert_eq!(state.mark(&[id], Mark::Replayed).unwrap(), 0);
    assert_eq!(state.dead_letter(id).unwrap().unwrap().status, DeadLetterStatus::Dropped);
}

#[test]
fn a_replay_takes_letters_once_and_marks_them_with_its_last_delivery() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    let put: Vec<_> = (0..3).map(|at| letter(1, "0000", "source", at, "why")).collect();
    state.put_dead_letters(&put).unwrap();
    settle(&state, "postgres", 1, "0000");
    let ids: Vec<_> = state.dead_letters(&DeadLetterFilter::default()).unwrap().iter().map(|at| at.id).collect();
    let replay = NewWindow {
        kind: WindowKind::Replay,
        lower: None,
        upper: None,
        replays: ids[..2].to_vec(),
        ..new_window(0, &["0000"], &[TABLE])
    };
    assert_eq!(state.create_window(&replay).unwrap().id, 2);
    let taken = DeadLetterFilter { pipeline: Some("p".into()), replayed_by: Some(2), ..Default::default() };
    assert_eq!(state.dead_letters(&taken).unwrap().iter().map(|at| at.id).collect::<Vec<_>>(), ids[..2]);
    assert_eq!(state.create_window(&replay).unwrap_err().kind, ErrorKind::Config);
    assert_eq!(state.mark(&ids, Mark::Dropped).unwrap(), 1);
    assert!(settle(&state, "postgres", 2, "0000"));
    let statuses = state.dead_letters(&DeadLetterFilter::default()).unwrap();
    use DeadLetterStatus::{Dropped, Replayed};
    assert_eq!(statuses.iter().map(|at| at.status).collect::<Vec<_>>(), [Replayed, Replayed, Dropped]);
    // The source goes on where it was.
    assert_eq!(state.position("p").unwrap(), Some(serde_json::json!(1)));
    assert_eq!(cursor(&state, "postgres"), (2, Some(serde_json::json!(1))));
    assert_eq!(state.last_window("p").unwrap().unwrap().id, 1);
}

#[test]
fn a_reset_keeps_letters_and_gives_back_those_of_an_unfinished_replay() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "why")]).unwrap();
    settle(&state, "postgres", 1, "0000");
    let id = state.dead_letters(&DeadLetterFilter::default()).unwrap()[0].id;
    let replay =
        |lower| NewWindow { kind: WindowKind::Replay, replays: vec![id], ..new_window(lower, &["0000"], &[TABLE]) };
    state.create_window(&replay(0)).unwrap();
    state.put_dead_letters(&[letter(2, "0000", "source", 0, "again")]).unwrap();
    state.reset("p").unwrap();
    assert_eq!(statuses(&state), [("0000".into(), "source".into(), DeadLetterStatus::Final)]);
    assert_eq!(state.create_window(&replay(0)).unwrap().id, 3);
}
