//! Slots are decided on once, and a run leaves the queue as it begins.

use chrono::{DateTime, TimeDelta, Utc};
use engine_state::{Decision, Outcome, State, Wanted};
use serde_json::{Value, json};

fn at(minute: i64) -> DateTime<Utc> {
    "2026-03-01T07:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
}

fn decision(pipeline: &str, until: i64, slots: &[i64]) -> Decision {
    Decision {
        pipeline: pipeline.into(),
        times: "every 1m".into(),
        until: at(until),
        slots: slots.iter().map(|slot| at(*slot)).collect(),
    }
}

#[test]
fn what_is_decided_waits_in_the_order_of_its_slots_until_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let waiting = state.decide(&[decision("b", 3, &[1, 3]), decision("a", 2, &[2])]).unwrap();
    let order: Vec<_> = waiting.iter().map(|it| (it.pipeline.as_str(), it.slot.unwrap())).collect();
    assert_eq!(order, [("b", at(1)), ("a", at(2)), ("b", at(3))]);
    let schedules = state.schedules().unwrap();
    assert_eq!(schedules.iter().map(|it| it.until.unwrap()).collect::<Vec<_>>(), [at(2), at(3)]);
    assert_eq!(state.waiting().unwrap(), waiting);

    let numbers: Vec<_> = waiting.iter().map(|it| it.number).collect();
    let begun = state.begin_waiting(&numbers[..2], at(4)).unwrap();
    let run = state.run(begun[0].as_ref().unwrap()).unwrap().unwrap();
    assert_eq!(
        (run.pipeline.as_str(), run.trigger.as_str(), run.slot, run.started),
        ("b", "schedule", Some(at(1)), at(4))
    );
    assert_eq!((run.about(), run.ended, run.params), (at(1), None, None));
    assert_eq!(state.waiting().unwrap(), waiting[2..]);
    // One that has begun does not begin again, and its number is not used again.
    assert_eq!(state.begin_waiting(&numbers[..1], at(5)).unwrap(), [None]);
    state.begin_waiting(&numbers[2..], at(5)).unwrap();
    let next = state.enqueue(&Wanted {
        pipeline: "a".into(),
        trigger: "api".into(),
        slot: None,
        params: json!({"day": "2026-01-01"}),
        reference: Some("abc".into()),
    });
    let next = next.unwrap();
    assert!(next.number > numbers[2]);
    let run = state.begin_waiting(&[next.number], at(6)).unwrap().remove(0).unwrap();
    assert_eq!(state.run(&run).unwrap().unwrap().params, Some(json!({"day": "2026-01-01"})));
    state.end_run(&run, Outcome::Succeeded, &Value::Null).unwrap();
    assert_eq!(state.last_succeeded_run("a").unwrap().unwrap().about(), at(6));
}

#[test]
fn a_slot_that_waits_is_not_put_into_the_queue_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let first = state.decide(&[decision("a", 2, &[1, 2])]).unwrap();
    // A clock that was set back far comes to the same slots.
    let again = state.decide(&[decision("a", 3, &[2, 3])]).unwrap();
    assert_eq!(again[0].number, first[1].number);
    assert_eq!(state.waiting().unwrap().len(), 3);
    assert!(state.dequeue(first[0].number).unwrap());
    assert!(!state.dequeue(first[0].number).unwrap());
    assert_eq!(state.waiting().unwrap().len(), 2);
}

#[test]
fn a_pause_outlasts_the_engine_and_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    state.pause("a", true).unwrap();
    assert_eq!(state.schedules().unwrap()[0].until, None);
    state.decide(&[decision("a", 2, &[])]).unwrap();
    drop(state);
    let state = State::open(folder.path()).unwrap();
    let reached = state.schedules().unwrap().remove(0);
    assert_eq!((reached.until, reached.paused), (Some(at(2)), true));
    state.pause("a", false).unwrap();
    assert!(!state.schedules().unwrap()[0].paused);
}
