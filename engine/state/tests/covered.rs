//! The ranges of a pipeline's windows meet, whatever becomes of one.

mod common;

use chrono::{DateTime, TimeDelta, Utc};
use common::{delivery, new_window, settle};
use engine_abi::Unit;
use engine_abi::message::Receipt;
use engine_state::{About, NewWindow, State, Window, WindowKind};
use serde_json::json;

const TABLE: (&str, Unit) = ("table", Unit::Split);

fn at(hour: i64) -> DateTime<Utc> {
    "2026-03-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour)
}

fn window_about(state: &State, from: i64, to: i64) -> Window {
    let about = Some(About { from: at(from), to: at(to) });
    state.create_window(&NewWindow { about, ..new_window(0, &["a", "b"], &[TABLE]) }).unwrap()
}

fn give_up(state: &State, window: u64, split: &str) {
    let receipt = Receipt { detail: json!({"given_up": "no way", "abandoned": true}), ..Receipt::default() };
    state.settle(&delivery("table", window, split), &receipt, 0, 0).unwrap();
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

#[test]
fn the_time_of_a_window_of_which_nobody_has_anything_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let taken_back = window_about(&state, 8, 9);
    assert!(state.give_up_window("p", taken_back.id).unwrap());
    assert_eq!(covered(&state), Some(at(8)));

    let given_up = window_about(&state, 8, 10);
    give_up(&state, given_up.id, "a");
    assert_eq!(covered(&state), Some(at(10)));
    give_up(&state, given_up.id, "b");
    assert_eq!(covered(&state), Some(at(8)));

    let in_part = window_about(&state, 8, 11);
    settle(&state, "table", in_part.id, "a");
    give_up(&state, in_part.id, "b");
    assert_eq!(covered(&state), Some(at(11)));
}

#[test]
fn rows_that_became_dead_letters_are_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let window = window_about(&state, 8, 9);
    let exhausted = Receipt { detail: json!({"given_up": "no more attempts"}), ..Receipt::default() };
    for split in ["a", "b"] {
        state.settle(&delivery("table", window.id, split), &exhausted, 0, 0).unwrap();
    }
    assert_eq!(covered(&state), Some(at(9)));
}

#[test]
fn what_a_later_window_has_begun_after_is_not_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let first = window_about(&state, 8, 9);
    window_about(&state, 9, 10);
    for split in ["a", "b"] {
        give_up(&state, first.id, split);
    }
    assert_eq!(covered(&state), Some(at(10)));
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
