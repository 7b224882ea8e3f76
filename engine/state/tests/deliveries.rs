//! Windows, ledger and cursors: the order in which they move, and together.

mod common;

use common::*;
use engine_abi::message::Sealed;
use engine_abi::{ErrorKind, Unit};
use engine_state::{Delivery, DeliveryFilter, NewWindow, RUN_SPLIT, State};
use serde_json::json;

const TABLE: (&str, Unit) = ("postgres", Unit::Split);
const FILE: (&str, Unit) = ("csv", Unit::Run);

fn open() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    (folder, state)
}

#[test]
fn a_window_comes_back_as_it_was_stored() {
    let (folder, state) = open();
    let new = new_window(5, &["0000", "0001"], &[TABLE, FILE]);
    state.create_window(&new).unwrap();
    drop(state);
    let state = State::open(folder.path()).unwrap();
    let window = state.unfinished_windows("p").unwrap().remove(0);
    assert_eq!((window.id, &window.run, window.kind), (1, &new.run, new.kind));
    assert_eq!((&window.lower, &window.upper), (&new.lower, &new.upper));
    assert_eq!(window.splits, new.splits);
    assert_eq!((&*window.definition, &window.context), (&new.definition, &new.context));
    assert_eq!(window.sinks.iter().map(|sink| (sink.name.as_str(), sink.unit)).collect::<Vec<_>>(), [TABLE, FILE]);
    assert_eq!(window.sinks.iter().map(|sink| sink.missing).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(state.position("p").unwrap(), new.upper);
    assert_eq!(state.last_window("p").unwrap().unwrap().id, 1);
}

#[test]
fn windows_are_numbered_by_pipeline() {
    let (_folder, state) = open();
    assert_eq!(create(&state, 0, &["0000"], &[TABLE]).id, 1);
    assert_eq!(create(&state, 1, &["0000"], &[TABLE]).id, 2);
    let other = engine_state::NewWindow { pipeline: "q".into(), ..new_window(0, &["0000"], &[TABLE]) };
    assert_eq!(state.create_window(&other).unwrap().id, 1);
    assert_eq!(state.pipelines().unwrap(), ["p", "q"]);
}

#[test]
fn the_windows_of_a_run_are_found_the_newest_first() {
    let (_folder, state) = open();
    for (lower, run) in [(0, "first"), (1, "second"), (2, "second"), (3, "third"), (4, "second")] {
        let new = engine_state::NewWindow { run: run.into(), ..new_window(lower, &["0000"], &[TABLE]) };
        state.create_window(&new).unwrap();
    }
    let ids = |run: &str, limit| {
        let windows = state.windows_of_run("p", run, limit).unwrap();
        windows.iter().map(|window| window.id).collect::<Vec<_>>()
    };
    assert_eq!((ids("second", 10), ids("second", 2)), (vec![5, 3, 2], vec![5, 3]));
    assert!(ids("fourth", 10).is_empty() && state.windows_of_run("q", "second", 10).unwrap().is_empty());
}

#[test]
fn the_last_delivery_of_a_sink_moves_its_cursor_and_the_last_sink_finishes_the_window() {
    let (_folder, state) = open();
    create(&state, 0, &["0000", "0001"], &[TABLE, FILE]);
    assert!(!settle(&state, "postgres", 1, "0001"));
    assert_eq!(cursor(&state, "postgres"), (0, None));
    assert!(!settle(&state, "postgres", 1, "0000"));
    assert_eq!(cursor(&state, "postgres"), (1, Some(json!(1))));
    assert_eq!(cursor(&state, "csv"), (0, None));
    let window = state.window("p", 1).unwrap().unwrap();
    assert!(window.sink("postgres").unwrap().is_done());
    assert_eq!(window.sink("postgres").unwrap().committed.len(), 2);
    assert!(window.finished.is_none());
    assert!(settle(&state, "csv", 1, RUN_SPLIT));
    assert!(state.window("p", 1).unwrap().unwrap().finished.is_some());
    assert!(state.unfinished_windows("p").unwrap().is_empty());
}

#[test]
fn a_cursor_waits_for_the_windows_before() {
    let (_folder, state) = open();
    for lower in 0..3 {
        create(&state, lower, &["0000"], &[TABLE]);
    }
    settle(&state, "postgres", 3, "0000");
    settle(&state, "postgres", 2, "0000");
    assert_eq!(cursor(&state, "postgres"), (0, None));
    assert_eq!(state.settled_before("p", "postgres").unwrap(), 1);
    assert_eq!(state.oldest_needed("p").unwrap(), Some(json!(0)));
    settle(&state, "postgres", 1, "0000");
    assert_eq!(cursor(&state, "postgres"), (3, Some(json!(3))));
    assert_eq!(state.settled_before("p", "postgres").unwrap(), 4);
    assert_eq!(state.oldest_needed("p").unwrap(), Some(json!(3)));
}

#[test]
fn a_sink_left_behind_holds_back_only_itself() {
    let (_folder, state) = open();
    for lower in 0..3 {
        create(&state, lower, &["0000"], &[TABLE, FILE]);
        settle(&state, "postgres", lower + 1, "0000");
    }
    assert_eq!(cursor(&state, "postgres").0, 3);
    assert_eq!(state.unfinished_windows("p").unwrap().len(), 3);
    assert_eq!(state.settled_before("p", "csv").unwrap(), 1);
    assert_eq!(state.settled_before("p", "postgres").unwrap(), 4);
    for window in 1..=3 {
        assert!(settle(&state, "csv", window, RUN_SPLIT));
        assert_eq!(cursor(&state, "csv").0, window);
    }
}

#[test]
fn an_empty_window_is_done_at_once_for_tables_and_not_for_files() {
    let (_folder, state) = open();
    assert!(create(&state, 0, &[], &[TABLE]).finished.is_some());
    assert_eq!(cursor(&state, "postgres"), (1, Some(json!(1))));
    assert!(create(&state, 1, &[], &[TABLE, FILE]).finished.is_none());
    assert_eq!(cursor(&state, "postgres").0, 2);
    assert!(settle(&state, "csv", 2, RUN_SPLIT));
}

#[test]
fn to_settle_again_changes_nothing_and_another_artefact_is_an_error() {
    let (_folder, state) = open();
    create(&state, 0, &["0000", "0001"], &[TABLE]);
    let first = delivery("postgres", 1, "0000");
    state.settle(&first, &artefact("aa"), 3, 30).unwrap();
    assert!(!state.settle(&first, &artefact("AA"), 3, 30).unwrap());
    assert_eq!(state.window("p", 1).unwrap().unwrap().sink("postgres").unwrap().missing, 1);
    let error = state.settle(&first, &artefact("bb"), 3, 30).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    let record = state.delivery(&first).unwrap().unwrap();
    assert_eq!((record.receipt, record.rows, record.bytes), (Some(artefact("aa")), 3, 30));
}

#[test]
fn what_was_sealed_survives_and_must_be_what_is_settled() {
    let (folder, state) = open();
    create(&state, 0, &["0000"], &[FILE]);
    let run = delivery("csv", 1, RUN_SPLIT);
    let sealed = |hash: &str| Sealed { rows: 4, bytes: 40, sha256: Some(hash.into()), parts: vec![json!("part")] };
    assert_eq!(state.attempt(&run).unwrap(), 1);
    state.seal(&run, &sealed("torn")).unwrap();
    assert_eq!(state.attempt(&run).unwrap(), 2);
    state.seal(&run, &sealed("aa")).unwrap();
    drop(state);
    let state = State::open(folder.path()).unwrap();
    assert_eq!(state.sealed(&run).unwrap(), Some(sealed("aa")));
    assert_eq!(state.committed(&run).unwrap(), None);
    assert_eq!(state.settle(&run, &artefact("bb"), 4, 40).unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(state.committed(&run).unwrap(), None);
    assert!(state.settle(&run, &artefact("aa"), 4, 40).unwrap());
    assert_eq!(state.committed(&run).unwrap(), Some(artefact("aa")));
    assert_eq!(state.seal(&run, &sealed("cc")).unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(state.delivery(&run).unwrap().unwrap().attempts, 2);
}

#[test]
fn answers_to_pieces_are_kept_in_their_order_until_the_delivery_is_settled() {
    let (folder, state) = open();
    create(&state, 0, &["0000", "0001"], &[TABLE]);
    let (first, second) = (delivery("postgres", 1, "0000"), delivery("postgres", 1, "0001"));
    for number in 0..12 {
        state.add_answer(&first, &json!({"n": number})).unwrap();
    }
    state.add_answer(&second, &json!("other")).unwrap();
    assert!(!state.give_up_window("p", 1).unwrap(), "what was answered cannot be taken back");
    drop(state);
    let state = State::open(folder.path()).unwrap();
    let numbers: Vec<_> = state.answers(&first).unwrap().iter().map(|answer| answer["n"].clone()).collect();
    assert_eq!(numbers, (0..12).map(|number| json!(number)).collect::<Vec<_>>());
    settle(&state, "postgres", 1, "0000");
    assert!(state.answers(&first).unwrap().is_empty());
    assert_eq!(state.answers(&second).unwrap(), [json!("other")]);
    assert_eq!(state.answered("p", 1, "postgres").unwrap(), 1);
    assert_eq!(state.answered("p", 1, "another").unwrap(), 0, "what another sink has got is no progress of this one");
    state.reset("p").unwrap();
    assert!(state.answers(&second).unwrap().is_empty());
}

#[test]
fn deliveries_are_listed_page_by_page() {
    let (_folder, state) = open();
    for (lower, pipeline) in [(0, "p"), (0, "q"), (1, "q"), (1, "p"), (2, "p")] {
        let new = NewWindow { pipeline: pipeline.into(), ..new_window(lower, &["0000", "0001"], &[TABLE, FILE]) };
        let window = state.create_window(&new).unwrap().id;
        for (sink, split) in [("postgres", "0000"), ("postgres", "0001"), ("csv", RUN_SPLIT)] {
            state.attempt(&Delivery { pipeline: pipeline.into(), ..delivery(sink, window, split) }).unwrap();
        }
    }
    let list = |after: Option<&Delivery>, unsettled, limit| -> Vec<Delivery> {
        let filter = DeliveryFilter { after: after.cloned(), unsettled, limit, ..DeliveryFilter::default() };
        state.deliveries(&filter).unwrap().into_iter().map(|record| record.delivery).collect()
    };
    let all = list(None, false, 100);
    assert_eq!((all.len(), &all[0], &all[14]), (15, &delivery("csv", 3, RUN_SPLIT), &delivery("postgres", 1, "0001")));
    for size in [1, 4, 15] {
        let mut paged = Vec::new();
        while paged.len() < all.len() {
            let page = list(paged.last(), false, size);
            assert!(!page.is_empty() && page.len() <= size);
            paged.extend(page);
        }
        assert_eq!(paged, all, "{size} a page");
    }
    assert!(list(all.last(), false, 1).is_empty());
    // What arrives meanwhile hides none of those that follow.
    settle(&state, "csv", 3, RUN_SPLIT);
    assert_eq!(list(Some(&all[0]), true, 100), all[1..]);
}

#[test]
fn deliveries_that_no_window_planned_are_refused() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE, FILE]);
    for unplanned in [
        delivery("postgres", 1, "0001"),
        delivery("postgres", 1, RUN_SPLIT),
        delivery("csv", 1, "0000"),
        delivery("postgres", 2, "0000"),
        delivery("mail", 1, "0000"),
        Delivery { pipeline: "q".into(), ..delivery("postgres", 1, "0000") },
    ] {
        let error = state.settle(&unplanned, &receipt(1), 1, 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{unplanned:?}");
        assert!(state.attempt(&unplanned).is_err());
        assert!(state.seal(&unplanned, &Sealed::default()).is_err());
        assert!(state.add_answer(&unplanned, &json!(1)).is_err());
    }
    assert_eq!(state.create_window(&new_window(1, &["0000", "0000"], &[TABLE])).unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(create(&state, 1, &["0000"], &[TABLE]).id, 2);
}

#[test]
fn a_reset_starts_from_the_beginning_and_never_uses_a_number_again() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    settle(&state, "postgres", 1, "0000");
    create(&state, 1, &["0000"], &[TABLE]);
    let other = engine_state::NewWindow { pipeline: "q".into(), ..new_window(0, &["0000"], &[TABLE]) };
    state.create_window(&other).unwrap();
    state.reset("p").unwrap();
    assert_eq!(state.position("p").unwrap(), None);
    assert!(state.cursors("p").unwrap().is_empty());
    assert!(state.last_window("p").unwrap().is_none());
    assert_eq!(state.committed(&delivery("postgres", 1, "0000")).unwrap(), None);
    assert_eq!(state.settled_before("p", "postgres").unwrap(), 3);
    assert_eq!(state.unfinished_windows("q").unwrap().len(), 1);
    assert_eq!(create(&state, 0, &["0000"], &[TABLE]).id, 3);
    settle(&state, "postgres", 3, "0000");
    assert_eq!(cursor(&state, "postgres"), (3, Some(json!(1))));
}

#[test]
fn a_position_can_be_set_when_no_window_is_unfinished() {
    let (_folder, state) = open();
    state.set_position("p", &json!(40)).unwrap();
    assert_eq!(state.position("p").unwrap(), Some(json!(40)));
    create(&state, 40, &["0000"], &[TABLE]);
    let error = state.set_position("p", &json!(7)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    settle(&state, "postgres", 1, "0000");
    state.set_position("p", &json!(7)).unwrap();
    assert_eq!(state.position("p").unwrap(), Some(json!(7)));
    assert_eq!(state.oldest_needed("p").unwrap(), Some(json!(7)));
    assert_eq!(cursor(&state, "postgres"), (1, Some(json!(7))));
}

#[test]
fn calls_from_many_threads_are_all_counted() {
    let (_folder, state) = open();
    create(&state, 0, &["0000"], &[TABLE]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    state.attempt(&delivery("postgres", 1, "0000")).unwrap();
                }
            });
        }
    });
    assert_eq!(state.delivery(&delivery("postgres", 1, "0000")).unwrap().unwrap().attempts, 100);
}
