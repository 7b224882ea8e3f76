use arrow_array::cast::AsArray;
use arrow_array::{Decimal128Array, Decimal256Array, TimestampMicrosecondArray};
use arrow_buffer::i256;
use bson::Bson;

use super::*;

fn numbers(scratch: &Scratch) -> Vec<String> {
    scratch.all().iter().map(|document| format!("{}", document.get("number").unwrap_or(&Bson::Null))).collect()
}

fn sink(host: &Host, scratch: &Scratch, more: Value) -> MongoSink {
    host.open(scratch.with(more)).unwrap()
}

#[test]
fn a_delivery_arrives_once_however_often_it_is_tried() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let mut writer = sink(&host, &scratch, json!({"create": true}));
    let rows = || calls([(1, Some("a")), (2, None), (3, Some("c"))]);
    let receipt = deliver(&mut writer, 1, rows()).unwrap();
    assert_eq!(receipt.rows, 3);
    assert_eq!(writer.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    // Without asking first: the same documents again.
    let mut again = delivery(1);
    again.sealed = Some(writer.write(&again, Batches::once(rows())).unwrap());
    writer.commit(&again).unwrap();
    writer.finish_run(&run(1)).unwrap();
    assert_eq!(numbers(&scratch), ["\"a\"", "null", "\"c\""]);
    assert_eq!(scratch.names(), ["calls"], "nothing is left beside it");
}

#[test]
fn nothing_is_seen_before_the_commit_nor_after_an_abort() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let mut writer = sink(&host, &scratch, json!({"create": true}));
    writer.abort(&delivery(1)).unwrap();
    writer.write(&delivery(1), Batches::once(calls([(1, Some("a"))]))).unwrap();
    assert!(scratch.all().is_empty());
    writer.abort(&delivery(1)).unwrap();
    writer.abort(&delivery(1)).unwrap();
    assert_eq!(scratch.names(), ["calls"]);
    assert_eq!(writer.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable, "it must be written again");
    let broken = calls([(1, Some("a"))]);
    let schema = broken.schema();
    let input = [Ok(broken), Err(Error::unavailable("a crash"))];
    assert_eq!(
        writer.write(&delivery(1), Batches::new(schema, input.into_iter())).unwrap_err().kind,
        ErrorKind::Unavailable
    );
    drop(writer);
    let mut later = sink(&host, &scratch, json!({}));
    assert_eq!(deliver(&mut later, 1, calls([(1, Some("b"))])).unwrap().rows, 1);
    assert_eq!(numbers(&scratch), ["\"b\""]);
    assert_eq!(scratch.names(), ["calls"], "also what the crash has left is gone");
}

#[test]
fn a_delivery_is_aborted_although_the_work_was_asked_to_stop() {
    let (mut scratch, host) = (Scratch::new(), Host::new());
    scratch.run(doc! {"create": "calls"});
    // Longer than a waiting call goes without asking whether it should stop.
    let (_line, url) = by_slow_line(&scratch.url, std::time::Duration::from_millis(120));
    scratch.url = url;
    let mut sink = sink(&host, &scratch, json!({}));
    let delivery = delivery(1);
    sink.write(&delivery, Batches::once(calls([(1, Some("a"))]))).unwrap();
    assert_eq!(scratch.names().len(), 2, "the collection, and the stage beside it");
    host.cancel();
    assert_eq!(sink.begin_split(&delivery).unwrap_err().kind, ErrorKind::Cancelled);
    sink.abort(&delivery).unwrap();
    assert_eq!(scratch.names(), ["calls"]);
}

#[test]
fn an_unfinished_commit_is_completed() {
    for ids in [false, true] {
        let (scratch, host) = (Scratch::new(), Host::new());
        let mut writer = sink(&host, &scratch, json!({"create": true}));
        let mut rows = calls((0..50).map(|id| (id, Some("a"))));
        if ids {
            let columns = rows.columns().to_vec();
            rows = batch(vec![("_id", Arc::clone(&columns[0])), ("number", Arc::clone(&columns[1]))]);
        }
        let mut sealed = delivery(1);
        sealed.sealed = Some(writer.write(&sealed, Batches::once(rows)).unwrap());
        // The crash: a part has been moved, and the key is not there.
        let stage = sealed.sealed.as_ref().unwrap().parts[0]["stage"].as_str().unwrap().to_owned();
        scratch.run(doc! {"aggregate": &stage, "cursor": {}, "pipeline": [{"$sort": {"_id": 1}}, {"$limit": 20}, {"$merge": {"into": "calls"}}]});
        assert_eq!(scratch.all().len(), 20);
        drop(writer);
        let mut later = sink(&host, &scratch, json!({}));
        assert_eq!(later.begin_split(&sealed).unwrap(), Begun::Sealed);
        assert_eq!(later.commit(&sealed).unwrap().rows, 50);
        assert_eq!(scratch.all().len(), 50);
        assert!(host.rejections().is_empty());
        assert!(matches!(later.begin_split(&sealed).unwrap(), Begun::Committed { .. }));
    }
}

#[test]
fn a_refused_document_costs_no_other() {
    let (scratch, host) = (Scratch::new(), Host::new());
    scratch.run(doc! {"create": "calls", "validator": {"number": {"$ne": "bad"}}});
    scratch.run(doc! {"createIndexes": "calls", "indexes": [{"key": {"id": 1}, "name": "id", "unique": true}]});
    scratch.insert([doc! {"_id": "there", "id": 7, "number": "old"}]);
    let mut writer = sink(&host, &scratch, json!({}));
    let rows = [(1, Some("a")), (2, Some("bad")), (1, Some("twice")), (7, Some("taken")), (3, Some("c"))];
    let receipt = deliver(&mut writer, 1, calls(rows)).unwrap();
    assert_eq!(receipt.rows, 2);
    let mut codes: Vec<_> = host
        .rejections()
        .iter()
        .map(|letter| {
            (letter.code.clone(), letter.rows.clone().unwrap().column(1).as_string::<i32>().value(0).to_owned())
        })
        .collect();
    codes.sort();
    let expected = [("check", "bad"), ("duplicate", "taken"), ("duplicate", "twice")];
    assert_eq!(codes, expected.map(|(code, text)| (code.to_owned(), text.to_owned())));
    assert_eq!(scratch.all().len(), 3);
}

#[test]
fn what_the_collection_takes_no_more_when_it_is_moved_is_kept() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let mut writer = sink(&host, &scratch, json!({"create": true}));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let mut sealed = delivery(1);
    sealed.sealed = Some(writer.write(&sealed, Batches::once(batch(vec![("_id", ids)]))).unwrap());
    scratch.insert([doc! {"_id": 2i64, "other": true}]);
    assert_eq!(writer.commit(&sealed).unwrap().rows, 1);
    assert_eq!(host.rejections()[0].code, "duplicate");
    assert_eq!(scratch.all(), [doc! {"_id": 1i64}, doc! {"_id": 2i64, "other": true}]);
}

#[test]
fn an_upsert_sets_the_fields_of_the_document_with_the_same_key() {
    let (scratch, host) = (Scratch::new(), Host::new());
    scratch.insert([doc! {"_id": "x", "id": 1i64, "number": "old", "kept": true}]);
    let mut writer = sink(&host, &scratch, json!({"mode": "upsert", "key": ["id"]}));
    let rows = || {
        batch(vec![
            ("id", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(2), None])) as ArrayRef),
            ("number", Arc::new(StringArray::from(vec!["new", "first", "last", "keyless"])) as ArrayRef),
        ])
    };
    for window in 1..3 {
        assert_eq!(deliver(&mut writer, window, rows()).unwrap().rows, 3);
    }
    let mut all = scratch.all();
    all.sort_by_key(|document| document.get_i64("id").unwrap());
    assert_eq!(all[0], doc! {"_id": "x", "id": 1i64, "number": "new", "kept": true});
    assert_eq!((all.len(), all[1].get_str("number").unwrap()), (2, "last"));
    assert_eq!(host.rejections()[0].code, "null");
    for name in ["a.b", "$a", ""] {
        let rows = batch(vec![
            ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            (name, Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ]);
        let error = writer.write(&delivery(3), Batches::once(rows)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{name}: {error}");
    }
}

#[test]
fn a_key_that_looks_like_an_operator_is_a_value() {
    let (scratch, host) = (Scratch::new(), Host::new());
    scratch.insert([doc! {"_id": 1, "k": "a"}, doc! {"_id": 2, "k": {"$gt": ""}}]);
    let mut writer = sink(&host, &scratch, json!({"mode": "upsert", "key": ["k"], "types": {"k": "json"}}));
    let rows = batch(vec![
        ("k", Arc::new(StringArray::from(vec!["{\"$gt\": \"\"}"])) as ArrayRef),
        ("v", Arc::new(Int64Array::from(vec![9])) as ArrayRef),
    ]);
    deliver(&mut writer, 1, rows).unwrap();
    assert_eq!(scratch.all()[0], doc! {"_id": 1, "k": "a"}, "it is not changed");
}

/// The stand-in forgets a collection's validator when it is renamed: that it is kept is not seen here.
#[test]
fn a_window_replaces_all_documents_at_once_and_keeps_the_indexes() {
    let (scratch, host) = (Scratch::new(), Host::new());
    scratch.run(doc! {"create": "calls", "validator": {"number": {"$ne": "bad"}}});
    scratch.run(doc! {"createIndexes": "calls", "indexes": [{"key": {"id": 1}, "name": "by_id", "unique": true}]});
    scratch.insert([doc! {"_id": 1, "id": 1, "number": "old"}]);
    let mut writer = sink(&host, &scratch, json!({"mode": "replace"}));
    let mut first = delivery(1);
    writer.begin_run(&run(1)).unwrap();
    first.sealed = Some(writer.write(&first, Batches::once(calls([(1, Some("a")), (2, Some("bad"))]))).unwrap());
    writer.commit(&first).unwrap();
    assert_eq!(numbers(&scratch), ["\"old\""], "the others are there until all have come");
    for _ in 0..2 {
        writer.finish_run(&run(1)).unwrap();
        assert_eq!(numbers(&scratch), ["\"a\""]);
        assert_eq!(scratch.names(), ["calls"]);
    }
    let indexes = scratch.run(doc! {"listIndexes": "calls"});
    assert!(indexes.to_string().contains("by_id"), "{indexes}");
    deliver(&mut writer, 2, calls([(5, Some("b"))])).unwrap();
    assert_eq!(numbers(&scratch), ["\"b\""]);
    assert_eq!(host.rejections().len(), 1);
    writer.begin_run(&SinkRun { replay: true, ..run(3) }).unwrap();
    let mut replayed = delivery(3);
    replayed.sealed = Some(writer.write(&replayed, Batches::once(calls([(7, Some("c"))]))).unwrap());
    writer.commit(&replayed).unwrap();
    writer.finish_run(&SinkRun { replay: true, ..run(3) }).unwrap();
    assert_eq!(numbers(&scratch), ["\"b\"", "\"c\""], "dead letters are added");
    deliver(&mut writer, 4, calls([])).unwrap();
    assert!(scratch.all().is_empty(), "a window without rows empties it");
}

#[test]
fn values_become_what_mongodb_has_for_them() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let text = |values: [Option<&str>; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let mut writer = sink(
        &host,
        &scratch,
        json!({"create": true, "types": {"oid": "object_id", "u": "uuid", "j": "json", "d": "decimal", "t": "text"}}),
    );
    let long = i256::from_string(&format!("{}000", "9".repeat(34))).unwrap();
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("oid", text([Some("070707070707070707070707"), None])),
        ("u", text([Some("00010203-0405-0607-0809-0a0b0c0d0e0f"), None])),
        ("j", text([Some("{\"a\": [1, {\"$date\": \"1970-01-01T00:00:00Z\"}]}"), Some("null")])),
        ("d", text([Some("NaN"), Some("1.10")])),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![1, 2])) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![-1, 1999])) as ArrayRef),
        ("n", Arc::new(Decimal128Array::from(vec![-110, 5]).with_precision_and_scale(10, 2).unwrap()) as ArrayRef),
        (
            "w",
            Arc::new(Decimal256Array::from(vec![long, i256::from_i128(7)]).with_precision_and_scale(76, 3).unwrap())
                as ArrayRef,
        ),
        ("big", Arc::new(arrow_array::UInt64Array::from(vec![u64::MAX, 1])) as ArrayRef),
    ]);
    deliver(&mut writer, 1, rows).unwrap();
    assert!(host.rejections().is_empty(), "{:?}", host.rejections());
    let mut first = scratch.all().remove(0);
    first.remove("_id");
    let decimal = |text: &str| text.parse::<bson::Decimal128>().unwrap();
    assert_eq!(
        first,
        doc! {
            "id": 1i64, "oid": bson::oid::ObjectId::from_bytes([7; 12]),
            "u": bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: (0..16).collect() },
            "j": {"a": [1, bson::DateTime::from_millis(0)]}, "d": decimal("NaN"), "t": "1970-01-01T00:00:00.000001",
            "at": bson::DateTime::from_millis(-1), "n": decimal("-1.10"), "w": decimal(&"9".repeat(34)),
            "big": decimal("18446744073709551615"),
        }
    );
}

#[test]
fn what_mongodb_cannot_hold_is_refused_and_not_rounded() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let mut writer = sink(&host, &scratch, json!({"create": true, "types": {"oid": "object_id", "j": "json"}}));
    let wide = i256::from_string(&"9".repeat(35)).unwrap();
    let huge = "x".repeat(16 << 20);
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef),
        ("oid", Arc::new(StringArray::from(vec![None, Some("x"), None, None, None])) as ArrayRef),
        ("j", Arc::new(StringArray::from(vec![None, None, Some("{"), None, None])) as ArrayRef),
        (
            "w",
            Arc::new(
                Decimal256Array::from(vec![None, None, None, Some(wide), None])
                    .with_precision_and_scale(76, 0)
                    .unwrap(),
            ) as ArrayRef,
        ),
        ("t", Arc::new(StringArray::from(vec![None, None, None, None, Some(huge.as_str())])) as ArrayRef),
    ]);
    assert_eq!(deliver(&mut writer, 1, rows).unwrap().rows, 1);
    let codes: Vec<_> = host.rejections().iter().map(|letter| letter.code.clone()).collect();
    assert_eq!(codes, ["bad_object_id", "bad_json", "out_of_range", "too_large"]);
}
