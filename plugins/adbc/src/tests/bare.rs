//! With a driver of the standard's first version that can do next to nothing.

use std::process::Command;

use super::*;

fn scratch() -> Scratch {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libbare.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/bare_driver.c");
    let compiler = std::env::var("CC").unwrap_or("cc".into());
    let built = Command::new(&compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(built.unwrap_or_else(|error| panic!("{compiler}: {error}")).success());
    Scratch::new(json!({"driver": library}), None, folder)
}

#[test]
fn what_a_driver_cannot_do_is_said_with_what_to_do_about_it() {
    let scratch = scratch();
    let error = scratch.source(json!({"query": "SELECT :a", "parameters": {"a": 1}})).check().unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "this driver takes no values beside a query"));
    let mut source = scratch.source(json!({"query": "SELECT 1"}));
    let summary = source.check().unwrap().summary;
    assert!(summary.starts_with("connected to a database that the driver does not name; "), "{summary}");
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let error = source.read(&plan.splits[0]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    let error = scratch.sink(json!({"create": true})).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.starts_with("this driver has no transactions: "), "{error}");
    assert!(error.hint.unwrap().contains("`transactions: false`"));
}

#[test]
fn a_driver_without_transactions_takes_rows() {
    let scratch = scratch();
    let mut sink = scratch.sink(json!({"create": true, "transactions": false}));
    sink.check().unwrap();
    assert_eq!(deliver(&mut sink, &delivery(1), calls([(1, None), (2, None)])).unwrap().rows, 2);
    let error = sink.write(&delivery(2), broken(calls([(1, None)]), Error::unavailable("gone"))).unwrap_err();
    assert_eq!(error, Error::unavailable("gone"));
    assert_eq!(scratch.host.log(), []);
}

#[test]
fn a_driver_that_says_it_has_written_less_is_not_believed_in_silence() {
    let scratch = scratch();
    let mut sink = scratch.sink(json!({"table": "short", "create": true, "transactions": false}));
    deliver(&mut sink, &delivery(1), calls([(1, None), (2, None)])).unwrap();
    let log = scratch.host.log();
    assert!(log[0].1.contains("got 2 rows and says it has written 1"), "{log:?}");
}
