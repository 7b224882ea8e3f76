use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use bson::Bson;

use super::*;

fn ids(batches: &[RecordBatch]) -> Vec<i32> {
    let ids = batches
        .iter()
        .flat_map(|batch| batch.column_by_name("_id").unwrap().as_primitive::<Int32Type>().values().to_vec());
    ids.collect()
}

fn at(cursor: Option<Value>) -> PlanRequest {
    PlanRequest { cursor, ..PlanRequest::default() }
}

#[test]
fn documents_become_rows_with_structs_and_lists() {
    let scratch = Scratch::new();
    scratch.insert([
        doc! {"_id": 1, "n": 1, "agent": {"name": "a", "skills": ["x", "y"]}, "mixed": 1},
        doc! {"_id": 2, "n": 2i64, "agent": {"name": "b", "level": 3}, "mixed": "text"},
        doc! {"_id": 3, "n": Bson::Null, "mixed": {"$set": 1}},
    ]);
    let host = Host::new();
    let mut source: MongoSource = host.open(scratch.with(json!({"batch": 2}))).unwrap();
    let (_, batches) = read(&mut source, &at(None)).unwrap();
    let shown = arrow_json(&batches[0]);
    assert_eq!(
        shown,
        [
            r#"{_id: 1, n: 1, agent: {name: a, skills: [x, y], level: }, mixed: 1}"#,
            r#"{_id: 2, n: 2, agent: {name: b, skills: , level: 3}, mixed: "text"}"#,
            r#"{_id: 3, n: , agent: , mixed: {"$set":1}}"#,
        ]
    );
    assert_eq!(host.records(), 3);
    let mut source: MongoSource = host.open(scratch.with(json!({"nested": "json", "fields": ["agent"]}))).unwrap();
    let (_, batches) = read(&mut source, &at(None)).unwrap();
    assert_eq!(arrow_json(&batches[0])[0], r#"{agent: {"name":"a","skills":["x","y"]}}"#);
    // A row for every document, also where none has the field.
    let mut source: MongoSource = host.open(scratch.with(json!({"fields": ["later"]}))).unwrap();
    let (_, batches) = read(&mut source, &at(None)).unwrap();
    assert_eq!(arrow_json(&batches[0]), ["{later: }"; 3]);
}

/// Rows as text.
fn arrow_json(batch: &RecordBatch) -> Vec<String> {
    let whole: ArrayRef = Arc::new(arrow_array::StructArray::from(batch.clone()));
    (0..batch.num_rows()).map(|row| arrow_cast::display::array_value_to_string(&whole, row).unwrap()).collect()
}

#[test]
fn a_document_that_comes_late_and_does_not_fit_is_kept_as_it_came() {
    let scratch = Scratch::new();
    scratch.insert(
        (1..=3)
            .map(|id| doc! {"_id": id, "n": id})
            .chain([doc! {"_id": 4, "n": "text"}, doc! {"_id": 5, "n": 5, "more": true}]),
    );
    let host = Host::new();
    let mut source: MongoSource = host.open(scratch.with(json!({"sample": 2}))).unwrap();
    let (_, batches) = read(&mut source, &at(None)).unwrap();
    assert_eq!(ids(&batches), [1, 2, 3]);
    let codes: Vec<_> = host.rejections().iter().map(|letter| letter.code.clone()).collect();
    assert_eq!(codes, ["wrong_type", "unknown_field"]);
    let kept = host.rejections()[1].rows.clone().unwrap();
    assert_eq!(
        kept.column(0).as_string::<i32>().value(0),
        r#"{"_id":{"$numberInt":"5"},"n":{"$numberInt":"5"},"more":true}"#
    );
}

#[test]
fn a_filter_is_extended_json_and_texts_in_it_are_never_operators() {
    let scratch = Scratch::new();
    let id = bson::oid::ObjectId::from_bytes([7; 12]);
    scratch.insert([
        doc! {"_id": 1, "oid": id, "s": "{\"$gt\":\"\"}"},
        doc! {"_id": 2, "s": "$where", "at": bson::DateTime::from_millis(0)},
    ]);
    let host = Host::new();
    let rows = |filter: Value| {
        let mut source: MongoSource = host.open(scratch.with(json!({"filter": filter, "fields": ["_id"]}))).unwrap();
        ids(&read(&mut source, &at(None)).unwrap().1)
    };
    assert_eq!(rows(json!({"oid": {"$oid": id.to_hex()}})), [1]);
    assert_eq!(rows(json!({"s": "{\"$gt\":\"\"}"})), [1]);
    assert_eq!(rows(json!({"s": "$where"})), [2]);
    assert_eq!(rows(json!({"at": {"$lte": {"$date": "1970-01-01T00:00:00Z"}}})), [2]);
    for (more, said) in [
        (json!({"filter": {"a": {"$oid": "x"}}}), "Extended JSON"),
        (json!({"pipeline": [{"$match": {}}], "filter": {}}), "instead of"),
        (json!({"pipeline": [{"$out": "calls"}]}), "writes"),
        (json!({"pipeline": [{"$merge": {"into": "calls"}}]}), "writes"),
        (json!({"collection": "a$b"}), "no name"),
        (json!({"collection": "a\u{0}b"}), "no name"),
        (json!({"collection": "system.users"}), "no name"),
        (json!({"database": "a/b"}), "no name"),
        (json!({"fields": ["$where"]}), "no field"),
        (json!({"cursor": {"query": "x", "start": 0}}), "goes by `column`"),
        (json!({"columns": {"a": "string"}}), "no type"),
        (json!({"splits": 2, "pipeline": []}), "cut a collection"),
    ] {
        let error = open_error::<MongoSource>(&host, scratch.with(more));
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

#[test]
fn a_pipeline_gives_its_results_and_a_broken_one_is_the_users() {
    let scratch = Scratch::new();
    scratch.insert([doc! {"_id": 1, "n": 1}, doc! {"_id": 2, "n": 1}, doc! {"_id": 3, "n": 2}]);
    let host = Host::new();
    let pipeline = json!([{"$group": {"_id": "$n", "calls": {"$sum": 1}}}, {"$sort": {"_id": 1}}]);
    let mut source: MongoSource = host.open(scratch.with(json!({"pipeline": pipeline}))).unwrap();
    let (_, batches) = read(&mut source, &at(None)).unwrap();
    assert_eq!(arrow_json(&batches[0]), ["{_id: 1, calls: 2}", "{_id: 2, calls: 1}"]);
    let mut source: MongoSource = host.open(scratch.with(json!({"pipeline": [{"$gruop": {}}]}))).unwrap();
    assert_eq!(source.plan(&at(None)).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn windows_have_every_document_once_also_with_ties() {
    let scratch = Scratch::new();
    let host = Host::new();
    let date = |day: i64| bson::DateTime::from_millis(1_700_000_000_000 + day * 86_400_000);
    scratch.insert([
        doc! {"_id": 1, "at": date(1)},
        doc! {"_id": 3, "at": date(2)},
        doc! {"_id": 9, "at": Bson::Null},
        doc! {"_id": 8},
    ]);
    let mut source: MongoSource =
        host.open(scratch.with(json!({"cursor": {"column": "at", "key": "_id"}, "fields": ["_id", "at"]}))).unwrap();
    let (plan, batches) = read(&mut source, &at(None)).unwrap();
    assert_eq!(ids(&batches), [1, 3]);
    let (again, batches) = read(&mut source, &at(plan.upper.clone())).unwrap();
    assert_eq!((again.upper.clone(), batches.len()), (plan.upper.clone(), 0), "nothing is new");
    // The newest value again, later, and one behind the cursor.
    scratch.insert([doc! {"_id": 2, "at": date(2)}, doc! {"_id": 4, "at": date(2)}, doc! {"_id": 5, "at": date(3)}]);
    let (plan, batches) = read(&mut source, &at(plan.upper)).unwrap();
    assert_eq!(ids(&batches), [4, 5]);
    assert_eq!(plan.upper, Some(json!({"value": "2023-11-17T22:13:20.000Z", "key": 5})));
    // Read again, as after a crash.
    let again = source.read(&plan.splits[0]).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(ids(&again), [4, 5]);
    // Without a key equal values are never parted.
    let mut source: MongoSource = host
        .open(scratch.with(json!({"cursor": {"column": "at", "start": "2023-11-16"}, "fields": ["_id", "at"]})))
        .unwrap();
    let (plan, batches) = read(&mut source, &at(None)).unwrap();
    assert_eq!(ids(&batches), [2, 3, 4, 5]);
    assert_eq!(plan.upper, Some(json!("2023-11-17T22:13:20.000Z")));
    let error = source.plan(&at(Some(json!("{\"$gt\": \"\"}")))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "a text is no date, and no operator: {error}");
}

#[test]
fn windows_by_object_ids_and_by_age() {
    let scratch = Scratch::new();
    let host = Host::new();
    let id = |second: u32, counter: u8| bson::oid::ObjectId::from_parts(second, [0; 5], [0, 0, counter]);
    let now = (bson::DateTime::now().timestamp_millis() / 1000) as u32;
    scratch.insert([
        doc! {"_id": id(now - 7200, 1), "n": 1i64},
        doc! {"_id": id(now - 3700, 2), "n": 2i64},
        doc! {"_id": id(now, 3), "n": 3i64},
    ]);
    let mut source: MongoSource = host.open(scratch.with(json!({"cursor": {"column": "_id", "lag": "1h"}}))).unwrap();
    let (plan, batches) = read(&mut source, &at(None)).unwrap();
    let numbers: Vec<_> = batches[0].column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(plan.upper, Some(json!(id(now - 3700, 2).to_hex())));
    let mut source: MongoSource = host.open(scratch.with(json!({"cursor": {"column": "_id"}}))).unwrap();
    let (_, batches) = read(&mut source, &at(plan.upper)).unwrap();
    assert_eq!(batches[0].num_rows(), 1);
    let mut source: MongoSource = host.open(scratch.with(json!({"cursor": {"column": "n", "lag": "1h"}}))).unwrap();
    assert_eq!(source.plan(&at(None)).unwrap_err().kind, ErrorKind::Config);
    scratch.insert([doc! {"_id": 1, "n": "text"}]);
    let mut source: MongoSource = host.open(scratch.with(json!({"cursor": {"column": "n"}}))).unwrap();
    let error = source.plan(&at(None)).unwrap_err();
    assert!(error.message.contains("several types"), "{error}");
}

#[test]
fn splits_hold_every_document_once_whatever_its_key() {
    let scratch = Scratch::new();
    let host = Host::new();
    let odd = [
        doc! {"_id": 1000},
        doc! {"_id": 1001, "k": "text"},
        doc! {"_id": 1002, "k": [1, 500]},
        doc! {"_id": 1003, "k": f64::NAN},
        doc! {"_id": 1004, "k": Bson::Null},
        doc! {"_id": 1005, "k": f64::INFINITY},
        doc! {"_id": 1006, "k": Bson::MaxKey},
        doc! {"_id": 1007, "k": 250.5},
        doc! {"_id": 1008, "k": 250i64},
    ];
    scratch.insert((0..300).map(|id| doc! {"_id": id, "k": (id * 7) % 300}).chain(odd));
    for key in ["_id", "k"] {
        let config = scratch.with(json!({"key": key, "splits": 5, "fields": ["_id"]}));
        let mut source: MongoSource = host.open(config).unwrap();
        let (plan, batches) = read(&mut source, &at(None)).unwrap();
        assert!(plan.splits.len() > 2, "{}", plan.splits.len());
        let mut ids = ids(&batches);
        ids.sort_unstable();
        assert_eq!(ids, (0..300).chain(1000..1009).collect::<Vec<_>>(), "{key}");
    }
}

/// The stand-in answers with such a moment, and then reads the present all the same.
#[test]
fn all_splits_of_a_window_ask_for_one_moment() {
    let scratch = Scratch::new();
    let host = Host::new();
    scratch.insert((0..100).map(|id| doc! {"_id": id}));
    let mut source: MongoSource = host.open(scratch.with(json!({"splits": 3}))).unwrap();
    let plan = source.plan(&at(None)).unwrap();
    assert_eq!(plan.splits.len(), 3);
    let pieces: Vec<crate::query::Piece> = plan.splits.iter().map(|split| split.spec_as().unwrap()).collect();
    for piece in &pieces {
        let command = piece.command(1, None).unwrap();
        let concern = command.get_document("readConcern").unwrap();
        assert_eq!(concern.get_str("level").unwrap(), "snapshot");
        let moment = concern.get_timestamp("atClusterTime").unwrap();
        assert_eq!(Some((moment.time, moment.increment)), pieces[0].snapshot);
    }
}

#[test]
fn a_reader_that_is_stopped_stops() {
    let scratch = Scratch::new();
    scratch.insert((0..100).map(|id| doc! {"_id": id}));
    let host = Host::new();
    let mut source: MongoSource = host.open(scratch.with(json!({"batch": 10}))).unwrap();
    let plan = source.plan(&at(None)).unwrap();
    let mut rows = source.read(&plan.splits[0]).unwrap();
    rows.next().unwrap().unwrap();
    host.cancel();
    assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
}
