//! A panic in any call of a component stays on its own side of the border: the
//! call answers with an error that says where, and the process goes on.

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use engine_abi::ffi::{self, Component, FFI_ArrowArrayStream, Instance, Reply, Status, Text, direction};
use engine_abi::message::{Begun, CheckReport, Delivery, Plan, PlanRequest, Receipt, RunBegun, Sealed, SinkRun, Split};
use engine_abi::table::{self, Calls};
use engine_abi::{Batches, ComponentKind, Error, ErrorKind, Result, stream};

/// Panics in everything that it is asked for.
struct Panics;

impl Calls for Panics {
    fn check(&mut self) -> Result<CheckReport> {
        panic!("in check")
    }

    fn plan(&mut self, _: &PlanRequest) -> Result<Plan> {
        panic!("in plan")
    }

    fn read(&mut self, _: &Split) -> Result<Batches> {
        panic!("in read")
    }

    fn listen(&mut self) -> Result<()> {
        panic!("in listen")
    }

    fn apply(&mut self, _: i32, _: Batches) -> Result<Batches> {
        panic!("in apply")
    }

    fn begin_run(&mut self, _: &SinkRun) -> Result<RunBegun> {
        panic!("in begin_run")
    }

    fn begin_split(&mut self, _: &Delivery) -> Result<Begun> {
        panic!("in begin_split")
    }

    fn write(&mut self, _: &Delivery, _: Batches) -> Result<Sealed> {
        panic!("in write")
    }

    fn commit(&mut self, _: &Delivery) -> Result<Receipt> {
        panic!("in commit")
    }

    fn abort(&mut self, _: &Delivery) -> Result<()> {
        panic!("in abort")
    }

    fn finish_run(&mut self, _: &SinkRun) -> Result<()> {
        panic!("in finish_run")
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("in close");
    }
}

const RUN: &str = r#"{"state": "s", "pipeline": "p", "sink": "k", "window": 1}"#;
const DELIVERY: &str = r#"{"key": "d", "state": "s", "pipeline": "p", "sink": "k", "window": 1, "split": "0"}"#;
const SPLIT: &str = r#"{"id": "0", "spec": {}}"#;

fn input() -> FFI_ArrowArrayStream {
    let batches = Batches::once(RecordBatch::new_empty(Schema::empty().into()));
    stream::export(batches)
}

/// Makes one call of an instance of its own, and tells how it ended.
fn call(component: &Component, name: &str, call: impl FnOnce(*mut Instance, Reply) -> Status) {
    let mut instance = std::ptr::null_mut();
    // SAFETY: `instance` is a place for one.
    assert_eq!(unsafe { table::open(&raw mut instance, || Ok(Panics)) }, ffi::OK);
    let mut reply = Vec::new();
    let status = call(instance, Reply::collect(&mut reply));
    let mut told = Vec::new();
    // SAFETY: the instance is open; the reply collects until the call returns; nothing follows `close`.
    unsafe {
        component.last_error.unwrap()(instance, Reply::collect(&mut told));
        component.close.unwrap()(instance);
    }
    let error: Error = serde_json::from_slice(&told).unwrap();
    assert_eq!((status, error.kind), (ErrorKind::Internal.status(), ErrorKind::Internal), "{name}: {error}");
    assert!(error.message.contains(&format!("in {name}")), "{name}: {error}");
    assert!(error.message.contains("panics.rs:"), "{name} does not say where: {error}");
    assert!(reply.is_empty(), "{name}");
}

#[test]
fn a_panic_in_every_call_is_an_error_of_that_call() {
    table::keep_panic_places();
    let of = |kind, push| table::calls::<Panics>(kind, push, "panics");
    let (source, listener) = (of(ComponentKind::Source, false), of(ComponentKind::Source, true));
    let (transform, sink) = (of(ComponentKind::Transform, false), of(ComponentKind::Sink, false));
    let mut out = FFI_ArrowArrayStream::empty();
    let out = &raw mut out;
    // SAFETY: each is called as `plugin.h` says: with an open instance, texts that live for the call,
    // and places for what comes back.
    unsafe {
        call(&source, "check", |it, reply| source.check.unwrap()(it, reply));
        call(&source, "plan", |it, reply| source.plan.unwrap()(it, Text::new("{}"), reply));
        call(&source, "read", |it, _| source.read.unwrap()(it, Text::new(SPLIT), out));
        call(&listener, "listen", |it, _| listener.listen.unwrap()(it));
        let mut taken = input();
        call(&transform, "apply", |it, _| transform.apply.unwrap()(it, direction::APPLY, &raw mut taken, out));
        call(&sink, "begin_run", |it, reply| sink.begin_run.unwrap()(it, Text::new(RUN), reply));
        call(&sink, "begin_split", |it, reply| sink.begin_split.unwrap()(it, Text::new(DELIVERY), reply));
        let mut taken = input();
        call(&sink, "write", |it, reply| sink.write.unwrap()(it, Text::new(DELIVERY), &raw mut taken, reply));
        call(&sink, "commit", |it, reply| sink.commit.unwrap()(it, Text::new(DELIVERY), reply));
        call(&sink, "abort", |it, _| sink.abort.unwrap()(it, Text::new(DELIVERY)));
        call(&sink, "finish_run", |it, _| sink.finish_run.unwrap()(it, Text::new(RUN)));
    }
}
