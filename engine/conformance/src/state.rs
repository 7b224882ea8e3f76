//! What holds for states: one engine has them, changes come in one order, and
//! what was taken is given back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use engine_abi::ErrorKind;
use engine_abi::message::{AcquireRequest, Acquired, ReleaseRequest, StateChange, StoreRequest};
use engine_host::Instance;
use serde_json::{Value, json};

use crate::Check;
use crate::fixture::Place;
use crate::subject::{Stop, Subject, Verdict, require};
use crate::suite::Session;

/// A lease that no check outlives.
const LONG: u64 = 600_000;
/// A lease that a check waits for.
const SHORT: u64 = 300;
/// How long a lease may take to run out.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::OneHolder, one_holder);
    subject.check(session, Check::Lease, lease);
    subject.check(session, Check::InOrder, in_order);
    subject.check(session, Check::AllOrNothing, all_or_nothing);
    subject.check(session, Check::Documents, documents);
}

fn acquire(instance: &mut Instance, holder: &str, lease_ms: u64) -> engine_abi::Result<Acquired> {
    let shown = format!("engine {holder}");
    instance.acquire(&AcquireRequest { holder: holder.into(), shown, former: None, lease_ms })
}

fn request(holder: &str, after: u64, sequence: u64, changes: Vec<StateChange>) -> StoreRequest {
    let id = format!("{holder}-{sequence}-{}", changes.len());
    StoreRequest { holder: holder.into(), id, after, sequence, layout: 1, changes, ..StoreRequest::default() }
}

fn change(collection: &str, key: &str, document: Option<Value>) -> StateChange {
    StateChange { collection: collection.into(), key: key.into(), document }
}

/// All documents of a state, by collection and key.
fn load(instance: &mut Instance) -> Result<BTreeMap<(String, String), Value>, Stop> {
    let mut documents = BTreeMap::new();
    for batch in instance.load()? {
        let batch = batch?;
        require(batch.num_columns() == 3, || format!("`load` gives {} columns, and not 3", batch.num_columns()))?;
        let text = |at: usize| {
            let texts = batch.column(at).as_string_opt::<i32>();
            texts.ok_or_else(|| Stop::Failed(format!("column {at} of `load` is no Utf8")))
        };
        for row in 0..batch.num_rows() {
            let document = serde_json::from_str(text(2)?.value(row))
                .map_err(|error| Stop::Failed(format!("a document of `load` is not JSON: {error}")))?;
            let key = (text(0)?.value(row).to_owned(), text(1)?.value(row).to_owned());
            require(documents.insert(key, document).is_none(), || "`load` gives a document twice".into())?;
        }
    }
    Ok(documents)
}

/// What the engine remembers is trusted like the engine, whose process it is a part of.
fn in_process(subject: &Subject) -> Verdict {
    match subject.component.is_isolated() {
        true => Err(Stop::NotPromised("a state runs in the engine's own process".into())),
        false => Ok(()),
    }
}

fn two(subject: &Subject, place: &Place) -> Result<(Instance, Instance), Stop> {
    in_process(subject)?;
    Ok((subject.open(place, 1)?.0, subject.open(place, 1)?.0))
}

fn refused(what: &str, outcome: engine_abi::Result<()>, kind: ErrorKind) -> Verdict {
    match outcome {
        Ok(()) => Err(Stop::Failed(format!("{what} was taken"))),
        Err(error) => require(error.kind == kind, || {
            format!("{what} was refused as `{}`, and not as `{kind}`: {error}", error.kind)
        }),
    }
}

fn one_holder(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let (mut first, mut second) = two(subject, &place)?;
    let acquired = acquire(&mut first, "a", LONG)?;
    require(acquired == Acquired::default(), || format!("a new state is not empty: {acquired:?}"))?;
    match acquire(&mut second, "b", LONG) {
        Ok(_) => return Err(Stop::Failed("a state that is held was taken".into())),
        Err(error) => {
            require(error.kind == ErrorKind::Unavailable, || format!("a state that is held is `{}`", error.kind))?;
            require(error.message.contains("engine a"), || format!("the holder is not named: {error}"))?;
        }
    }
    refused("a change by another engine", second.store(&request("b", 0, 1, vec![])), ErrorKind::Denied)?;
    second.release(&ReleaseRequest { holder: "b".into() })?;
    require(acquire(&mut second, "b", LONG).is_err(), || "one engine gave back what another one held".into())?;
    acquire(&mut first, "a", LONG)?;
    first.store(&request("a", 0, 1, vec![]))?;
    first.release(&ReleaseRequest { holder: "a".into() })?;
    let acquired = acquire(&mut second, "b", LONG)?;
    require(acquired.sequence == 1 && acquired.layout == 1 && acquired.last.as_deref() == Some("a-1-0"), || {
        format!("after one change: {acquired:?}")
    })?;
    let former = AcquireRequest { holder: "c".into(), shown: "c".into(), former: Some("b".into()), lease_ms: LONG };
    first.acquire(&former)?;
    refused("a change by a former holder", second.store(&request("b", 1, 2, vec![])), ErrorKind::Denied)
}

fn lease(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let (mut first, mut second) = two(subject, &place)?;
    acquire(&mut first, "a", SHORT)?;
    let begun = Instant::now();
    while let Err(error) = acquire(&mut second, "b", LONG) {
        require(error.kind == ErrorKind::Unavailable, || format!("a state that is held is `{}`", error.kind))?;
        require(begun.elapsed() < PATIENCE, || format!("a lease of {SHORT} ms has not run out: {error}"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    refused(
        "a change by an engine that has lost the state",
        first.store(&request("a", 0, 1, vec![])),
        ErrorKind::Denied,
    )
}

fn in_order(subject: &Subject) -> Verdict {
    in_process(subject)?;
    let place = subject.place()?;
    let (mut instance, _) = subject.open(&place, 1)?;
    acquire(&mut instance, "a", LONG)?;
    let put = |n: i64| vec![change("things", "[1]", Some(json!({ "n": n })))];
    instance.store(&request("a", 0, 1, put(1)))?;
    refused(
        "a change after another number of changes",
        instance.store(&request("a", 0, 1, put(2))),
        ErrorKind::Denied,
    )?;
    refused("a change that was left out before", instance.store(&request("a", 2, 3, put(3))), ErrorKind::Denied)?;
    // Signs of life count for nothing.
    instance.store(&request("a", 1, 1, vec![]))?;
    instance.store(&request("a", 1, 2, put(4)))?;
    let documents = load(&mut instance)?;
    require(documents.values().eq([&json!({"n": 4})]), || format!("refused changes were made: {documents:?}"))
}

fn all_or_nothing(subject: &Subject) -> Verdict {
    in_process(subject)?;
    let place = subject.place()?;
    let (mut instance, _) = subject.open(&place, 1)?;
    acquire(&mut instance, "a", LONG)?;
    let many = |n: i64| (0..2_000).map(|at| change("things", &format!("[{at}]"), Some(json!({ "n": n })))).collect();
    instance.store(&request("a", 0, 1, many(1)))?;
    refused(
        "a change after another number of changes",
        instance.store(&request("a", 7, 8, many(2))),
        ErrorKind::Denied,
    )?;
    let documents = load(&mut instance)?;
    require(documents.len() == 2_000, || format!("of 2,000 documents, {} are there", documents.len()))?;
    require(documents.values().all(|document| *document == json!({"n": 1})), || {
        "a refused change was made in part".into()
    })
}

fn documents(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let (mut first, mut second) = two(subject, &place)?;
    acquire(&mut first, "a", LONG)?;
    let odd = json!({
        "null": null, "text": "ä \"quoted\" \\ \u{1F4DE} \n $a.b", "empty": "", "least": i64::MIN, "most": i64::MAX,
        "part": 0.1, "bytes": {"bytes": "00ff"}, "json": "{\"a\": [1, null]}",
    });
    let changes = vec![
        change("things", "[\"a\",1]", Some(odd.clone())),
        change("things", "[\"a\",2]", Some(json!({"n": 1}))),
        change("others", "[\"a\",1]", Some(json!({"n": 2}))),
    ];
    first.store(&request("a", 0, 1, changes))?;
    let changes = vec![
        change("things", "[\"a\",2]", None),
        change("others", "[\"a\",1]", Some(json!({"m": 3}))),
        change("things", "[9]", None),
    ];
    first.store(&request("a", 1, 2, changes))?;
    first.release(&ReleaseRequest { holder: "a".into() })?;
    acquire(&mut second, "b", LONG)?;
    let expected = BTreeMap::from([
        (("things".to_owned(), "[\"a\",1]".to_owned()), odd),
        (("others".to_owned(), "[\"a\",1]".to_owned()), json!({"m": 3})),
    ]);
    let found = load(&mut second)?;
    require(found == expected, || format!("the documents came back as {found:?}, and not as {expected:?}"))
}
