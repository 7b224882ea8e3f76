//! Every named point is reached, and a death inside a transaction leaves no trace.

mod common;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use chrono::Utc;
use common::*;
use engine_abi::Unit;
use engine_abi::message::Sealed;
use engine_state::spool::{Framing, Record};
use engine_state::{DeadLetterFilter, DeadLetterStatus, FAILPOINTS, Outcome, Spool, SpoolOptions, State};
use serde_json::Value;

#[test]
fn every_point_is_reached_by_a_delivery() {
    let scenario = fail::FailScenario::setup();
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    for name in FAILPOINTS {
        let reached = Arc::clone(&reached);
        fail::cfg_callback(*name, move || {
            reached.lock().unwrap().insert(*name);
        })
        .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let options = SpoolOptions { segment_bytes: 60, ..SpoolOptions::default() };
    let spool = Spool::open(&folder.path().join("spool"), options).unwrap();
    let record =
        Record { connection: 1, peer: "", received: 0, frames: 1, framing: Framing::Complete, bytes: b"line\n" };
    let first = spool.append(&record).unwrap();
    spool.append(&record).unwrap();
    spool.flush().unwrap();
    let run = state.begin_run("p", "command", Utc::now()).unwrap();
    create(&state, 0, &["0000"], &[("sqlite", Unit::Split)]);
    let delivery = delivery("sqlite", 1, "0000");
    state.attempt(&delivery).unwrap();
    state.put_dead_letters(&[letter(1, "0000", "source", 0, "why")]).unwrap();
    state.clear_pending("p", 1, "0000", "source", 1..9).unwrap();
    state.add_answer(&delivery, &Value::Null).unwrap();
    state.seal(&delivery, &Sealed::default()).unwrap();

    // A death before the commit: no receipt, no cursor, nothing final.
    fail::cfg("state::settling", "panic").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| settle(&state, "sqlite", 1, "0000"))).is_err());
    assert_eq!(state.committed(&delivery).unwrap(), None);
    assert_eq!(cursor(&state, "sqlite"), (0, None));
    let letters = || state.dead_letters(&DeadLetterFilter::default()).unwrap();
    assert_eq!(letters()[0].status, DeadLetterStatus::Pending);
    assert_eq!(state.unfinished_windows("p").unwrap().len(), 1);
    reached.lock().unwrap().insert("state::settling");
    fail::remove("state::settling");

    assert!(settle(&state, "sqlite", 1, "0000"));
    assert_eq!(letters()[0].status, DeadLetterStatus::Final);
    state.source_told("p", 1).unwrap();
    assert_eq!(spool.truncate_before(first).unwrap(), first);
    state.end_run(&run, Outcome::Succeeded, &Value::Null).unwrap();
    assert_eq!(*reached.lock().unwrap(), FAILPOINTS.iter().copied().collect());
    scenario.teardown();
}
