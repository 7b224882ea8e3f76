//! The ranges of a pipeline's windows meet, whatever becomes of one.

mod common;

use chrono::{DateTime, TimeDelta, Utc};
use common::{delivery, letter, new_window, settle};
use engine_abi::Unit;
use engine_abi::message::Receipt;
use engine_state::{About, DeadLetterFilter, NewWindow, State, Window, WindowKind};
use serde_json::{Value, json};

const TABLE: (&str, Unit) = ("table", Unit::Split);

fn at(hour: i64) -> DateTime<Utc> {
    "2026-03-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour)
}

fn window_about(state: &State, from: i64, to: i64) -> Window {
    let about = Some(About { from: at(from), to: at(to) });
    state.create_window(&NewWindow { about, ..new_window(0, &["a", "b"], &[TABLE]) }).unwrap()
}

fn covered(state: &State) -> Option<DateTime<Utc>> {
    state.covered("p").unwrap()
}

#[test]
fn a_window_covers_its_time_from_when_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert_eq!(covered(&state), None);
    state.set_covered("p", at(8)).unwrap();
    assert_eq!(covered(&state), Some(at(8)));
    let first = window_about(&state, 8, 9);
    assert_eq!(covered(&state), Some(at(9)));
    // One that is about no time, such as of dead letters, moves nothing.
    let replay = NewWindow { kind: WindowKind::Replay, ..new_window(0, &["a"], &[TABLE]) };
    state.create_window(&replay).unwrap();
    settle(&state, "table", first.id, "a");
    settle(&state, "table", first.id, "b");
    assert_eq!(covered(&state), Some(at(9)));
    drop(state);
    assert_eq!(covered(&State::open(folder.path()).unwrap()), Some(at(9)));
}

/// Where the pipeline goes on reading.
fn position(state: &State) -> Option<Value> {
    state.position("p").unwrap()
}

#[test]
fn a_window_of_which_nobody_has_anything_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let taken_back = window_about(&state, 8, 9);
    assert_eq!(position(&state), Some(json!(1)));
    assert!(state.give_up_window("p", taken_back.id).unwrap());
    assert_eq!((covered(&state), position(&state)), (Some(at(8)), Some(json!(0))));

    let given_up = window_about(&state, 8, 10);
    state.attempt(&delivery("table", given_up.id, "a")).unwrap();
    state.put_dead_letters(&[letter(given_up.id, "a", "transforms.validate", 0, "no number")]).unwrap();
    state.abandon_window("p", given_up.id, "no way", false).unwrap();
    assert_eq!((covered(&state), position(&state)), (Some(at(8)), Some(json!(0))));
    assert!(state.was_abandoned("p", given_up.id).unwrap());
    assert!(state.unfinished_windows("p").unwrap().is_empty());
    // What is read again is refused again.
    assert!(state.dead_letters(&DeadLetterFilter { limit: 9, ..DeadLetterFilter::default() }).unwrap().is_empty());
    // What is over stays as it is.
    state.set_covered("p", at(9)).unwrap();
    state.abandon_window("p", given_up.id, "no way", false).unwrap();
    assert_eq!(covered(&state), Some(at(9)));
}

#[test]
fn a_window_of_which_somebody_has_something_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let settled = window_about(&state, 8, 9);
    settle(&state, "table", settled.id, "a");
    state.abandon_window("p", settled.id, "no way", false).unwrap();
    assert_eq!(covered(&state), Some(at(9)));
    assert!(!state.was_abandoned("p", settled.id).unwrap());

    let answered = window_about(&state, 9, 10);
    let of = delivery("table", answered.id, "a");
    state.attempt(&of).unwrap();
    state.add_answer(&of, &json!({"taken": 1})).unwrap();
    state.abandon_window("p", answered.id, "no way", false).unwrap();
    assert_eq!(covered(&state), Some(at(10)));

    let at_the_target = window_about(&state, 10, 11);
    state.abandon_window("p", at_the_target.id, "no way", true).unwrap();
    assert_eq!(covered(&state), Some(at(11)));

    let in_dead_letters = window_about(&state, 11, 12);
    let exhausted = Receipt { detail: json!({"given_up": "no more attempts"}), ..Receipt::default() };
    for split in ["a", "b"] {
        state.settle(&delivery("table", in_dead_letters.id, split), &exhausted, 0, 0).unwrap();
    }
    assert_eq!(covered(&state), Some(at(12)));
}

#[test]
fn what_a_later_window_has_begun_after_is_not_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let first = window_about(&state, 8, 9);
    window_about(&state, 9, 10);
    state.abandon_window("p", first.id, "no way", false).unwrap();
    assert_eq!(covered(&state), Some(at(10)));
}

#[test]
fn a_clock_that_was_ahead_leaves_out_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    window_about(&state, 7, 8);
    window_about(&state, 8, 9_000);
    window_about(&state, 9_000, 9_001);
    assert_eq!(state.covered_within("p", at(9_001)).unwrap(), Some(at(9_001)));
    assert_eq!(state.covered_within("p", at(12)).unwrap(), Some(at(8)));
}

#[test]
fn a_reset_goes_on_with_the_time_of_what_was_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let first = window_about(&state, 7, 8);
    settle(&state, "table", first.id, "a");
    settle(&state, "table", first.id, "b");
    state.reset("p").unwrap();
    assert_eq!(covered(&state), Some(at(8)));
    window_about(&state, 8, 9);
    window_about(&state, 9, 10);
    state.reset("p").unwrap();
    assert_eq!(covered(&state), Some(at(8)));
}
