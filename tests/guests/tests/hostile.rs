//! Whatever a guest does costs its own instance: an error comes back in time that
//! names the module and says what happened, and the next instance works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Int64Array, RecordBatch};
use engine_abi::message::{Limits, OpenRequest, Sandbox};
use engine_abi::{Batches, ComponentKind, Error, ErrorKind, Result};
use engine_conformance::Recorder;
use engine_guest_tests::guest;
use engine_host::{Component, Direction, Host, Instance, Modules};
use serde_json::json;

const DEADLINE: Duration = Duration::from_millis(300);
/// What the engine may need beyond the deadline.
const GRACE: Duration = Duration::from_secs(2);

fn hostile() -> Arc<Component> {
    let modules = Modules::from_file(&guest("engine_hostile_guest")).unwrap();
    modules.component(ComponentKind::Transform, "hostile").unwrap()
}

fn open(does: &str) -> Result<Instance> {
    open_with(&hostile(), does, Arc::new(Recorder::default()))
}

fn open_with(component: &Arc<Component>, does: &str, host: Arc<Recorder>) -> Result<Instance> {
    let request = OpenRequest {
        config: json!({"does": does}),
        pipeline: "hostile".into(),
        stage: "transforms.hostile".into(),
        ..OpenRequest::default()
    };
    let limits = Limits { deadline_ms: DEADLINE.as_millis() as u64, memory_bytes: 64 << 20 };
    let sandbox = Sandbox { limits, ..Sandbox::default() };
    component.open(&request, &sandbox, host as Arc<dyn Host>)
}

/// How a listener ends that is asked to stop long after the deadline of other calls.
fn listened(does: &'static str) -> (Result<()>, Duration) {
    let modules = Modules::from_file(&guest("engine_hostile_guest")).unwrap();
    let component = modules.component(ComponentKind::Source, "hostile_listener").unwrap();
    let host = Arc::new(Recorder::default());
    let mut instance = open_with(&component, does, Arc::clone(&host)).unwrap();
    let listening = std::thread::spawn(move || (instance.listen(), Instant::now()));
    std::thread::sleep(DEADLINE * 2);
    assert!(!listening.is_finished(), "it was ended before it was asked to stop");
    host.cancel();
    let asked = Instant::now();
    let (ended, when) = listening.join().unwrap();
    (ended, when.saturating_duration_since(asked))
}

fn numbers() -> Batches {
    let column = Arc::new(Int64Array::from(vec![1, 2, 3])) as _;
    Batches::once(RecordBatch::try_from_iter([("n", column)]).unwrap())
}

/// What comes of a stream through the guest.
fn through(does: &str) -> Result<usize> {
    let rows = open(does)?.apply(Direction::Apply, numbers())?;
    rows.map(|batch| Ok(batch?.num_rows())).sum()
}

/// The error of something hostile, which must come in time.
fn error_of(work: impl FnOnce() -> Result<usize>) -> Error {
    // Compiled before the clock runs.
    drop(hostile());
    let began = Instant::now();
    let error = work().expect_err("it does what it must not");
    let took = began.elapsed();
    assert!(took < DEADLINE + GRACE, "it took {took:?}: {error}");
    assert!(error.message.contains("transform `hostile`"), "{error}");
    assert!(error.hint.is_some(), "{error}");
    assert_eq!(through("nothing").unwrap(), 3, "the next instance works");
    error
}

/// An error that another instance may not have.
fn ended(does: &str, how: &str) {
    let error = error_of(|| through(does));
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("engine_hostile_guest.wasm"), "{error}");
    assert!(error.message.contains(how), "{error}");
}

/// An error that blames the module.
fn blamed(does: &str, how: &str) {
    let error = error_of(|| through(does));
    assert_eq!(error.kind, ErrorKind::Internal, "{error}");
    assert!(error.message.contains(how), "{error}");
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    ended("loop", "did not come to the end of `next` within 300ms");
}

#[test]
fn an_endless_loop_while_opening_ends_at_the_deadline() {
    ended("loop_in_open", "did not come to the end of `open` within 300ms");
}

#[test]
fn an_endless_loop_while_checking_ends_at_the_deadline() {
    let error = error_of(|| open("loop_in_check")?.check().map(|_| 0));
    assert!(error.message.contains("did not come to the end of `check`"), "{error}");
}

#[test]
fn an_endless_log_ends_at_the_deadline() {
    ended("log_flood", "did not come to the end of `next` within 300ms");
}

#[test]
fn a_memory_bomb_ends_at_the_cap() {
    ended("memory_bomb", "asked for more memory than its 64 MiB");
}

#[test]
fn one_huge_batch_ends_at_the_cap() {
    ended("huge_batch", "asked for more memory than its 64 MiB");
}

#[test]
fn a_full_stack_is_told() {
    ended("stack_overflow", "it overflowed its stack");
}

#[test]
fn a_trap_is_told() {
    ended("trap", "trapped in `next`");
}

#[test]
fn a_panic_is_told_with_its_message_and_place() {
    ended("panic", "on purpose");
}

#[test]
fn a_million_tiny_batches_pass_and_take_no_memory() {
    assert_eq!(through("tiny_batches").unwrap(), 1_000_000);
}

#[test]
fn a_stream_without_an_end_stops_when_it_is_asked_to() {
    let mut instance = open("endless_batches").unwrap();
    let rows = instance.apply(Direction::Apply, numbers()).unwrap();
    // Whoever reads decides: the guest works for one batch at a time.
    assert_eq!(rows.take(100).map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 100);
    assert_eq!(through("nothing").unwrap(), 3);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    blamed("bad_text", "UTF");
}

#[test]
fn offsets_beyond_the_data_are_refused() {
    blamed("bad_offsets", "Arrow IPC");
}

#[test]
fn another_type_than_announced_is_refused() {
    blamed("schema_lie", "buffers");
}

#[test]
fn a_null_where_none_was_announced_is_refused() {
    blamed("null_lie", "null values");
}

#[test]
fn a_listener_has_no_deadline_and_stops_when_it_is_asked_to() {
    let (ended, took) = listened("nothing");
    ended.unwrap();
    assert!(took < GRACE, "{took:?}");
}

#[test]
fn a_listener_that_does_not_stop_is_ended() {
    let (ended, took) = listened("loop");
    assert_eq!(ended.unwrap_err().kind, ErrorKind::Cancelled);
    assert!(took < GRACE * 2, "{took:?}");
}

#[test]
fn an_instance_that_trapped_does_nothing_more_and_says_so() {
    let mut instance = open("trap").unwrap();
    let first = instance.apply(Direction::Apply, numbers()).unwrap().find_map(Result::err).unwrap();
    assert!(first.message.contains("trapped"), "{first}");
    let second = instance.apply(Direction::Apply, numbers()).unwrap_err();
    assert!(second.message.contains("failed before"), "{second}");
}
