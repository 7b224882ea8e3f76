//! Every check is worth its place: for each there is a component that breaks
//! exactly what it checks, and it is caught. Sound components pass, and what
//! one instance does never brings another one, or the suite, down.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{Batches, ComponentKind, ErrorKind};
use engine_conformance::{Check, Fixtures, Outcome, Recorder, check_module};
use engine_conformance_tests as modules;
use engine_host::{Direction, Host, Instance, Modules};
use serde_json::{Value, json};

/// Components of `tests/modules/rust/faulty`, and all checks that must fail on each.
const EXPECTED: &[(&str, &[Check])] = &[
    ("source sound_source", &[]),
    ("source same_ids", &[Check::Plan]),
    ("source announces_other_types", &[Check::Read, Check::ReadAgain, Check::Cancel]),
    ("source sends_nulls_where_none_may_be", &[Check::Read, Check::ReadAgain, Check::Cancel]),
    ("source sends_fewer_columns", &[Check::Read, Check::ReadAgain, Check::Cancel]),
    ("source panics_in_mid_stream", &[Check::Read, Check::ReadAgain]),
    ("source changes_between_reads", &[Check::ReadAgain]),
    ("source cursor_stands_still", &[Check::Cursor]),
    ("source knows_its_own", &[Check::Told]),
    ("source plans_again", &[Check::Told]),
    ("source never_stops", &[Check::Cancel]),
    ("source sound_listener", &[]),
    ("source never_hangs_up", &[Check::Listen]),
    ("transform sound_transform", &[]),
    ("transform panics_without_rows", &[Check::EmptyInput]),
    ("transform fails_on_one_row", &[Check::OneRow]),
    ("transform tires_of_batches", &[Check::ManyBatches]),
    ("transform fails_on_nulls", &[Check::AllNulls]),
    ("transform panics_on_rare_types", &[Check::WideTypes]),
    ("transform loses_rows", &[Check::RowsAddUp]),
    ("transform goes_on_for_ever", &[Check::Cancel]),
    ("transform drags_others_down", &[Check::Neighbours]),
    // The SDK keeps a panic in `close` inside the module, where it harms nobody.
    ("transform panics_in_close", &[]),
    ("transform takes_unknown_settings", &[Check::Schema, Check::BadConfig]),
    // The SDK refuses unknown settings where the type does not say that it wants them.
    ("transform forgets_to_deny", &[]),
    ("transform describes_nothing", &[Check::Schema]),
    ("transform shows_what_does_not_work", &[Check::Examples]),
    ("transform takes_anything", &[Check::BadConfig]),
    ("transform panics_in_open", &[Check::BadConfig]),
    ("transform blames_the_login", &[Check::BadConfig]),
    ("transform says_nothing_in_check", &[Check::CheckCall]),
    // The host itself catches this one, whatever the suite asks.
    ("transform ends_quietly", &[]),
    ("transform fails_in_check", &[Check::CheckCall]),
    ("format sound_format", &[]),
    ("format cuts_at_pieces", &[Check::Chunking]),
    ("format panics_on_garbage", &[Check::Garbage]),
    ("format counts_nothing", &[Check::RowsAddUp, Check::Garbage]),
    ("format forgets_to_escape", &[Check::RoundTrip]),
    ("format cuts_inside", &[Check::Cuts]),
    ("format sound_compression", &[]),
    ("format joins_files", &[Check::Files]),
    ("format trusts_the_end", &[Check::CutShort]),
    ("format counts_files", &[Check::RowsAddUp]),
    ("source shelf", &[]),
    ("sink sound_sink", &[]),
    ("sink shows_before_commit", &[Check::Invisible]),
    ("sink doubles", &[Check::CommitOnce]),
    ("sink keeps_what_was_aborted", &[Check::Abort]),
    ("sink adds_to_pieces", &[Check::CrashInWrite, Check::CrashBeforeCommit]),
    ("sink trusts_its_memory", &[Check::CrashBeforeCommit]),
    ("sink overwrites_others", &[Check::CrashBeforeCommit, Check::Order]),
    ("sink begins_once", &[Check::RunTwice]),
    ("sink alone", &[Check::Parallel]),
    ("sink does_not_say_where", &[Check::Receipt]),
    ("sink loses_rows", &[Check::RowsAddUp]),
    ("state sound_state", &[]),
    ("state gives_itself_away", &[Check::OneHolder]),
    ("state holds_on", &[Check::Lease]),
    ("state takes_any_order", &[Check::InOrder, Check::AllOrNothing]),
    ("state works_by_halves", &[Check::AllOrNothing]),
    ("state keeps_what_is_gone", &[Check::Documents]),
];

fn module() -> PathBuf {
    let folder = modules::workspace().join("tests/modules/rust/faulty");
    modules::built(&folder, "engine_faulty_components").unwrap()
}

/// Sinks are read back from their shelf; the endless source gets something endless to do.
fn fixtures() -> Fixtures {
    let mut fixtures = serde_json::Map::new();
    let shelf = json!({"shelf": "${unique}"});
    for (component, _) in EXPECTED {
        if component.starts_with("sink") {
            let readback = json!({"component": "shelf", "config": shelf});
            fixtures.insert(component.to_string(), json!({"config": shelf, "readback": readback}));
        }
    }
    fixtures.insert("source never_stops".into(), json!({"long": {"rows": 1_000_000_000_000_i64}}));
    for (component, _) in EXPECTED.iter().filter(|(component, _)| component.starts_with("state")) {
        fixtures.insert(component.to_string(), json!({"config": {"name": "${unique}"}}));
    }
    let prepare = json!({"component": "sound_sink", "config": shelf});
    fixtures.insert("source shelf".into(), json!({"config": shelf, "prepare": prepare}));
    Fixtures::parse(&Value::from(fixtures).to_string()).unwrap()
}

#[test]
fn every_faulty_component_is_caught_by_its_check() {
    let report = check_module(&module(), &fixtures());
    println!("{report}");
    let found: BTreeSet<_> = report.lines.iter().map(|line| line.component.as_str()).collect();
    let listed: BTreeSet<_> = EXPECTED.iter().map(|(component, _)| *component).chain(["module"]).collect();
    assert_eq!(found, listed, "the module and the list of what is expected of it differ");
    for (component, expected) in EXPECTED {
        assert_eq!(report.failed(component), *expected, "{component}");
    }
}

#[test]
fn a_short_source_that_never_asks_whether_to_stop_has_shown_nothing() {
    let fixture = json!({"source never_stops": {"config": {"rows": 25}}});
    let report = check_module(&module(), &Fixtures::parse(&fixture.to_string()).unwrap());
    let outcome = |component: &str| {
        let line = report.lines.iter().find(|line| line.component == component && line.check == Check::Cancel);
        line.unwrap().outcome.clone()
    };
    let Outcome::NotRun(why) = outcome("source never_stops") else { panic!("{report}") };
    assert!(why.starts_with("it came to its end before it said `cancelled`: add `long`"), "{why}");
    // One that asks has shown it, however short it is.
    assert_eq!(outcome("source sound_source"), Outcome::Passed);
}

#[test]
fn every_check_has_a_component_that_fails_it() {
    let caught: BTreeSet<_> = EXPECTED.iter().flat_map(|(_, checks)| checks.iter().copied()).collect();
    let uncaught: Vec<_> = Check::ALL.iter().copied().filter(|check| !caught.contains(check)).collect();
    // What does not load has no components: see `border.rs`. What swallows its
    // input's error is caught by the host itself: see below.
    assert_eq!(uncaught, [Check::Loads, Check::BrokenInput]);
}

fn open(name: &str) -> Instance {
    let modules = Modules::discover(&[module().parent().unwrap().to_owned()], None);
    let component = modules.component(ComponentKind::Transform, name).unwrap();
    let request =
        OpenRequest { config: json!({}), pipeline: "test".into(), stage: "test".into(), ..OpenRequest::default() };
    component.open(&request, &Sandbox::default(), Arc::new(Recorder::default()) as Arc<dyn Host>).unwrap()
}

fn numbers() -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap()
}

#[test]
fn a_component_that_swallows_its_inputs_error_does_not_hide_it() {
    let mut quiet = open("ends_quietly");
    let batches = [Ok(numbers()), Err(engine_abi::Error::unavailable("the server went away"))];
    let mut output = quiet.apply(Direction::Apply, Batches::new(numbers().schema(), batches.into_iter())).unwrap();
    assert_eq!(output.next().unwrap().unwrap(), numbers());
    assert_eq!(output.next().unwrap().unwrap_err(), engine_abi::Error::unavailable("the server went away"));
    assert!(output.next().is_none());
}

#[test]
fn a_panic_poisons_its_instance_and_no_other() {
    let (mut poisoned, mut other) = (open("panics_without_rows"), open("panics_without_rows"));
    let error = poisoned.apply(Direction::Apply, Batches::empty(numbers().schema())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.starts_with("the component panicked at "), "{error}");
    assert!(error.message.ends_with("there is always a first batch"), "{error}");

    let again = poisoned.apply(Direction::Apply, Batches::once(numbers())).unwrap_err();
    assert_eq!(again.message, "this instance failed before and can do nothing more");

    let rows: Vec<_> = other.apply(Direction::Apply, Batches::once(numbers())).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [numbers()]);
}

#[test]
fn a_panic_in_close_stays_in_the_module() {
    drop(open("panics_in_close"));
    let mut next = open("panics_in_close");
    assert_eq!(next.check().unwrap().summary, "nothing to check");
}
