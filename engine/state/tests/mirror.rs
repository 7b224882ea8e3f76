//! A state that stands elsewhere, with a mirror in memory.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::Utc;
use common::*;
use engine_abi::message::{Acquired, StateChange, StoreRequest};
use engine_abi::{Error, ErrorKind, Result, Unit};
use engine_state::{DeadLetterFilter, Mirror, Outcome, RunFilter, State};
use serde_json::{Value, json};

/// What a database would keep.
#[derive(Default)]
struct Stored {
    documents: BTreeMap<(String, String), Value>,
    sequence: u64,
    layout: u64,
    last: Option<String>,
    holder: Option<u32>,
    /// How the next calls of `store` go wrong.
    faults: Vec<Fault>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// It is not taken.
    Lost,
    /// It is taken, and nobody learns of it.
    Unanswered,
    /// It is taken, and then it is said that it was not.
    Misleading,
}

#[derive(Clone)]
struct Memory {
    stored: Arc<Mutex<Stored>>,
    holder: u32,
}

impl Memory {
    fn other(&self, holder: u32) -> Box<Self> {
        Box::new(Self { stored: Arc::clone(&self.stored), holder })
    }

    fn fails(&self, faults: &[Fault]) {
        self.stored.lock().unwrap().faults = faults.to_vec();
    }
}

impl Mirror for Memory {
    fn acquire(&mut self) -> Result<Acquired> {
        let mut stored = self.stored.lock().unwrap();
        if stored.holder.is_some_and(|holder| holder != self.holder) {
            return Err(Error::unavailable(format!("engine {} holds the state", stored.holder.unwrap())));
        }
        stored.holder = Some(self.holder);
        Ok(Acquired {
            sequence: stored.sequence,
            layout: stored.layout,
            last: stored.last.clone(),
            ..Acquired::default()
        })
    }

    fn load(&mut self) -> Result<Box<dyn Iterator<Item = Result<StateChange>> + '_>> {
        let documents = self.stored.lock().unwrap().documents.clone();
        Ok(Box::new(
            documents
                .into_iter()
                .map(|((collection, key), document)| Ok(StateChange { collection, key, document: Some(document) })),
        ))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        let mut stored = self.stored.lock().unwrap();
        let fault = stored.faults.pop();
        if fault == Some(Fault::Lost) {
            return Err(Error::unavailable("lost"));
        }
        if stored.holder != Some(self.holder) || stored.sequence != request.after {
            return Err(Error::new(ErrorKind::Denied, "taken over"));
        }
        for change in &request.changes {
            let key = (change.collection.clone(), change.key.clone());
            match &change.document {
                Some(document) => stored.documents.insert(key, document.clone()),
                None => stored.documents.remove(&key),
            };
        }
        (stored.sequence, stored.layout, stored.last) = (request.sequence, request.layout, Some(request.id.clone()));
        match fault {
            Some(Fault::Unanswered) => Err(Error::unavailable("unanswered")),
            Some(Fault::Misleading) => Err(Error::denied("misleading")),
            _ => Ok(()),
        }
    }

    fn release(&mut self) -> Result<()> {
        self.stored.lock().unwrap().holder = None;
        Ok(())
    }
}

fn memory() -> Memory {
    Memory { stored: Arc::default(), holder: 1 }
}

fn open(folder: &Path, memory: &Memory) -> Result<State> {
    State::open_mirrored(folder, memory.other(memory.holder))
}

/// A run with one window, one delivery and one dead letter.
fn work(state: &State) {
    let run = state.begin_run("p", "command", Utc::now()).unwrap();
    create(state, 7, &["0000"], &[("sqlite", Unit::Split)]);
    state.attempt(&delivery("sqlite", 1, "0000")).unwrap();
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "why")]).unwrap();
    assert!(settle(state, "sqlite", 1, "0000"));
    state.end_run(&run, Outcome::Succeeded, &json!({"rows": 1})).unwrap();
}

/// Everything that a state tells.
fn all(state: &State) -> String {
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {:?}",
        state.id(),
        state.runs(&RunFilter { pipeline: None, limit: 100 }).unwrap(),
        state.window("p", 1).unwrap(),
        state.window("p", 2).unwrap(),
        state.cursors("p").unwrap(),
        state.position("p").unwrap(),
        state.dead_letters(&DeadLetterFilter::default()).unwrap(),
    )
}

#[test]
fn another_machine_goes_on_where_the_first_has_ended() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = memory();
    let state = open(first.path(), &memory).unwrap();
    work(&state);
    let refused = State::open_mirrored(second.path(), memory.other(2)).unwrap_err();
    assert!(refused.message.contains("engine 1 holds"), "{refused}");
    state.release().unwrap();
    let there = State::open_mirrored(second.path(), memory.other(2)).unwrap();
    assert_eq!(all(&there), all(&state));
    // The first cannot write any more, and says so.
    let error = state.begin_run("p", "command", Utc::now()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert_eq!(all(&state), all(&there), "nothing of it is here");
    create(&there, 9, &["0000"], &[("sqlite", Unit::Split)]);
    there.release().unwrap();
    drop(state);
    let back = open(first.path(), &memory).unwrap();
    assert_eq!(all(&back), all(&there));
    assert_eq!(back.unfinished_windows("p").unwrap()[0].id, 2);
}

#[test]
fn a_history_fills_an_empty_mirror_and_never_another_one() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = memory();
    let before = State::open(first.path()).unwrap();
    work(&before);
    let expected = all(&before);
    drop(before);
    let state = open(first.path(), &memory).unwrap();
    assert_eq!(all(&state), expected);
    state.release().unwrap();
    drop(state);
    work(&State::open(second.path()).unwrap());
    let error = open(second.path(), &memory).unwrap_err();
    assert!(error.message.contains("history of its own"), "{error}");
    // The copy alone is not to be worked with.
    let error = State::open(first.path()).unwrap_err();
    assert!(error.hint.unwrap().contains("state.yaml"));
    assert_eq!(all(&State::read(first.path()).unwrap()), expected);
}

#[test]
fn what_the_mirror_has_not_taken_has_not_happened_and_what_it_has_taken_has() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory();
    let state = open(folder.path(), &memory).unwrap();
    memory.fails(&[Fault::Lost]);
    assert_eq!(state.begin_run("p", "command", Utc::now()).unwrap_err().kind, ErrorKind::Unavailable);
    assert!(state.runs(&RunFilter { pipeline: None, limit: 9 }).unwrap().is_empty());
    memory.fails(&[Fault::Unanswered]);
    assert_eq!(state.begin_run("q", "command", Utc::now()).unwrap_err().kind, ErrorKind::Unavailable);
    // The next call finds out.
    work(&state);
    let runs = state.runs(&RunFilter { pipeline: None, limit: 9 }).unwrap();
    assert_eq!(runs.iter().map(|run| run.pipeline.as_str()).collect::<Vec<_>>(), ["p", "q"]);
    state.release().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(all(&State::open_mirrored(elsewhere.path(), memory.other(2)).unwrap()), all(&state));
}

#[test]
fn a_copy_that_has_missed_a_change_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory();
    let state = open(folder.path(), &memory).unwrap();
    work(&state);
    memory.fails(&[Fault::Unanswered]);
    // As if the engine had died right after.
    assert!(state.begin_run("q", "command", Utc::now()).is_err());
    drop(state);
    let state = open(folder.path(), &memory).unwrap();
    assert_eq!(state.runs(&RunFilter { pipeline: Some("q".into()), limit: 9 }).unwrap().len(), 1);
    drop(state);
    // The database was put back to an older time.
    memory.stored.lock().unwrap().sequence -= 1;
    let error = open(folder.path(), &memory).unwrap_err();
    assert!(error.message.contains("is older than the copy"), "{error}");
    memory.stored.lock().unwrap().layout += 1;
    let error = open(folder.path(), &memory).unwrap_err();
    assert!(error.message.contains("another version"), "{error}");
}

#[test]
fn a_filling_that_was_broken_off_leaves_nothing_behind() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = memory();
    {
        // As if an engine had died while it filled the database.
        let mut stored = memory.stored.lock().unwrap();
        stored.documents.insert(("runs".into(), "[\"left\"]".into()), json!({"id": "left"}));
    }
    let state = open(first.path(), &memory).unwrap();
    work(&state);
    state.release().unwrap();
    let there = State::open_mirrored(second.path(), memory.other(2)).unwrap();
    assert_eq!(all(&there), all(&state));
}

#[test]
fn a_database_that_was_put_back_and_has_gone_on_is_not_taken_for_the_same() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = memory();
    let state = open(first.path(), &memory).unwrap();
    state.begin_run("p", "command", Utc::now()).unwrap();
    drop(state);
    // Another machine has worked with an older copy of the database, and come to the same number of changes.
    let elsewhere = Memory { stored: Arc::default(), holder: 1 };
    let other = open(second.path(), &elsewhere).unwrap();
    other.begin_run("q", "command", Utc::now()).unwrap();
    *memory.stored.lock().unwrap() = std::mem::take(&mut *elsewhere.stored.lock().unwrap());
    let state = open(first.path(), &memory).unwrap();
    let runs = state.runs(&RunFilter { pipeline: None, limit: 9 }).unwrap();
    assert_eq!(runs.iter().map(|run| run.pipeline.as_str()).collect::<Vec<_>>(), ["q"]);
}

#[test]
fn a_change_that_was_taken_counts_as_such_whatever_the_answer_was_and_is_seen_by_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory();
    let state = open(folder.path(), &memory).unwrap();
    memory.fails(&[Fault::Misleading]);
    assert_eq!(state.begin_run("p", "command", Utc::now()).unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(state.runs(&RunFilter { pipeline: None, limit: 9 }).unwrap().len(), 1);
    work(&state);
}

#[test]
fn a_letter_of_any_bytes_comes_back_as_it_was() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = memory();
    let state = open(first.path(), &memory).unwrap();
    state.begin_run("p", "command", Utc::now()).unwrap();
    create(&state, 7, &["0000"], &[("sqlite", Unit::Split)]);
    let mut letter = letter(1, "0000", "source", 0, "why");
    letter.payload = engine_state::Payload::Raw { name: "a peer".into(), bytes: (0..=255).collect() };
    state.put_dead_letters(&[letter]).unwrap();
    state.release().unwrap();
    let there = State::open_mirrored(second.path(), memory.other(2)).unwrap();
    assert_eq!(all(&there), all(&state));
}

#[test]
fn what_stages_remember_is_in_no_mirror_and_outlives_a_new_copy() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory();
    let state = open(folder.path(), &memory).unwrap();
    work(&state);
    let before = memory.stored.lock().unwrap().sequence;
    state.remember("p", "source", &json!({"token": "canary"})).unwrap();
    {
        let stored = memory.stored.lock().unwrap();
        assert_eq!(stored.sequence, before, "nothing was handed on");
        assert!(!format!("{:?}", stored.documents).contains("canary"));
    }
    memory.fails(&[Fault::Unanswered]);
    assert!(state.begin_run("q", "command", Utc::now()).is_err());
    drop(state);
    let again = open(folder.path(), &memory).unwrap();
    assert_eq!(again.remembered("p", "source").unwrap(), json!({"token": "canary"}));
}
