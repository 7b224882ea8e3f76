use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray, StructArray, create_array,
};
use engine_sdk::columns::Cells;
use engine_sdk::testing::Host;
use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::Map;

use super::*;

/// A value of a column, as the format `json` writes it.
fn shown(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) || column.data_type().is_null() {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            columns.map(|(field, it)| (field.name().clone(), shown(it, row))).collect::<Map<_, _>>().into()
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            (0..values.len()).map(|at| shown(&values, at)).collect()
        }
        data_type => {
            let mut text = Vec::new();
            Cells::new(column).unwrap().write(row, b'T', &mut text);
            let text = String::from_utf8(text).unwrap();
            let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8);
            if is_text { text.into() } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) }
        }
    }
}

fn run(config: Value, input: Vec<RecordBatch>) -> Result<Vec<Value>> {
    let host = Host::new();
    let mut nest: Nest = host.open(config)?;
    let schema = input[0].schema();
    let output = nest.apply(Batches::new(schema, input.into_iter().map(Ok)))?;
    let schema = output.schema();
    let mut documents = Vec::new();
    for batch in output {
        let batch = batch?;
        assert_eq!(batch.schema(), schema);
        let whole: ArrayRef = Arc::new(StructArray::from(batch));
        documents.extend((0..whole.len()).map(|row| shown(&whole, row)));
    }
    assert_eq!((host.rejections(), host.filtered()), (vec![], 0));
    Ok(documents)
}

/// `{account, product, email, paid, at}`.
type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<f64>, Option<&'a str>);

fn rows(rows: &[Row<'_>]) -> RecordBatch {
    let text =
        |of: &dyn Fn(usize) -> Option<String>| Arc::new((0..rows.len()).map(of).collect::<StringArray>()) as ArrayRef;
    let owned = |it: Option<&str>| it.map(str::to_owned);
    RecordBatch::try_from_iter_with_nullable([
        ("account", text(&|at| Some(rows[at].0.to_owned())), true),
        ("product", text(&|at| owned(rows[at].1)), true),
        ("email", text(&|at| owned(rows[at].2)), true),
        ("paid", Arc::new(rows.iter().map(|row| row.3).collect::<arrow_array::Float64Array>()) as _, true),
        ("at", text(&|at| owned(rows[at].4)), true),
    ])
    .unwrap()
}

fn accounts() -> RecordBatch {
    rows(&[
        ("7", Some("p1"), None, Some(5.0), Some("2026-01-02")),
        ("8", None, None, None, None),
        ("7", Some("p2"), Some("a@b"), Some(7.5), Some("2026-03-04")),
        ("7", Some("p1"), Some("old@b"), None, None),
    ])
}

fn config() -> Value {
    json!({
        "key": "account",
        "document": {
            "Version": {"constant": "1.0"},
            "Account": "account",
            "Customer": {"Email": "email", "Segment": {"column": "at", "default": "unknown"}, "Level": 3},
            "Contacts": [{"Type": {"constant": "email"}, "Value": "email"}, {"Type": {"constant": "home"}, "Value": "account"}],
            "Products": {"each": {"Id": "product", "Paid": "paid"}, "distinct": "product"},
            "Last": {"each": {"At": "at", "Paid": "paid"}, "order": "at desc", "limit": 1},
            "Payments": {"each": "paid", "present": ["at"], "order": "paid"},
        },
    })
}

fn documents() -> Value {
    json!([
        {
            "Version": "1.0", "Account": "7", "Customer": {"Email": "a@b", "Segment": "2026-01-02", "Level": 3},
            "Contacts": [{"Type": "email", "Value": "a@b"}, {"Type": "home", "Value": "7"}],
            "Products": [{"Id": "p1", "Paid": 5.0}, {"Id": "p2", "Paid": 7.5}],
            "Last": [{"At": "2026-03-04", "Paid": 7.5}],
            "Payments": [5.0, 7.5],
        },
        {
            "Version": "1.0", "Account": "8", "Customer": {"Email": null, "Segment": "unknown", "Level": 3},
            "Contacts": [{"Type": "home", "Value": "8"}], "Products": [], "Last": [], "Payments": [],
        },
    ])
}

#[test]
fn rows_of_a_key_become_a_document_wherever_they_stand() {
    assert_eq!(json!(run(config(), vec![accounts()]).unwrap()), documents());
    let pieces = (0..4).map(|at| accounts().slice(at, 1)).collect();
    assert_eq!(json!(run(config(), pieces).unwrap()), documents());
}

#[test]
fn sorted_rows_make_the_same_documents() {
    let sorted = rows(&[
        ("7", Some("p1"), None, Some(5.0), Some("2026-01-02")),
        ("7", Some("p2"), Some("a@b"), Some(7.5), Some("2026-03-04")),
        ("7", Some("p1"), Some("old@b"), None, None),
        ("8", None, None, None, None),
    ]);
    let mut config = config();
    config["sorted"] = json!(true);
    for length in 1..=4 {
        let pieces = (0..4).step_by(length).map(|at| sorted.slice(at, length.min(4 - at))).collect();
        assert_eq!(json!(run(config.clone(), pieces).unwrap()), documents());
    }
}

#[test]
fn the_order_says_which_value_is_the_first() {
    let config =
        |order: &str| json!({"key": ["account"], "order": order, "document": {"paid": "paid", "email": "email"}});
    let of = |order: &str| run(config(order), vec![accounts()]).unwrap()[0].clone();
    assert_eq!(of("at desc"), json!({"paid": 7.5, "email": "a@b"}));
    assert_eq!(of("product desc"), json!({"paid": 7.5, "email": "a@b"}));
    assert_eq!(of("email desc"), json!({"paid": 7.5, "email": "old@b"}));
}

#[test]
fn lists_stand_inside_lists() {
    let input = rows(&[
        ("1", Some("a"), Some("x"), None, None),
        ("1", Some("b"), Some("y"), None, None),
        ("1", Some("a"), Some("z"), None, None),
    ]);
    let each = json!({"each": {"product": "product", "emails": {"each": "email"}}, "distinct": "product"});
    let out = run(json!({"key": "account", "document": {"all": each}}), vec![input]).unwrap();
    let all = json!([{"product": "a", "emails": ["x", "z"]}, {"product": "b", "emails": ["y"]}]);
    assert_eq!(out, [json!({"all": all})]);
}

#[test]
fn columns_of_every_kind_can_stand_in_a_document() {
    let words: DictionaryArray<Int32Type> = ["u", "v", "u"].into_iter().collect();
    let views = StringViewArray::from(vec!["a text of more than twelve bytes", "b", "c"]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None, Some([None])]);
    let objects = StructArray::from(vec![(
        Arc::new(Field::new("in", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef,
    )]);
    let decimals = arrow_array::Decimal128Array::from(vec![100, 250, 1]).with_precision_and_scale(9, 2).unwrap();
    let input = RecordBatch::try_from_iter([
        ("key", Arc::new(words) as ArrayRef),
        ("view", Arc::new(views) as _),
        ("large", create_array!(LargeUtf8, ["l", "m", "n"]) as _),
        ("list", Arc::new(lists) as _),
        ("object", Arc::new(objects) as _),
        ("decimal", Arc::new(decimals) as _),
        ("nothing", create_array!(Null, 3) as _),
        ("same", create_array!(Int64, [1, 2, 3]) as _),
        ("same", create_array!(Int64, [1, 2, 3]) as _),
    ])
    .unwrap();
    let document = json!({
        "key": "key", "texts": ["view", "large", "nothing"], "lists": {"each": "list"}, "object": "object",
        "decimals": {"each": "decimal", "order": "decimal"}, "nothing": "nothing",
        "known": {"column": "nothing", "default": "none"},
    });
    let expected = json!([
        {
            "key": "u", "texts": ["a text of more than twelve bytes", "l"], "lists": [[1], [null]], "object": {"in": 1},
            "decimals": [0.01, 1.00], "nothing": null, "known": "none",
        },
        {"key": "v", "texts": ["b", "m"], "lists": [], "object": {"in": 2}, "decimals": [2.50], "nothing": null, "known": "none"},
    ]);
    let config = json!({"key": ["key"], "document": document});
    assert_eq!(json!(run(config.clone(), vec![input.clone()]).unwrap()), expected);
    assert_eq!(run(config.clone(), vec![input.slice(1, 1)]).unwrap(), [expected[1].clone()]);
    assert!(run(config, vec![input.slice(0, 0)]).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_the_columns_is_refused_before_a_row_is_read() {
    for (document, said, hint) in [
        (json!({"a": {"b": "acount"}}), "`document.a.b`: there is no column `acount`", "did you mean `account`?"),
        (json!({"a": {"each": "paid", "distinct": "prod"}}), "`document.a`: there is no column `prod`", "`product`"),
        (
            json!({"a": ["paid", "email"]}),
            "the elements 0 and 1 of the list differ: Float64, Utf8",
            "of the same types",
        ),
        (json!({"a": [{"x": "paid"}, {"y": "paid"}]}), "the elements 0 and 1 of the list differ", "the same fields"),
        (
            json!({"a": {"column": "paid", "default": "none"}}),
            "`document.a.default`: `\"none\"` is not a number",
            "number",
        ),
        (json!({}), "`document` is an object without fields", "its fields"),
    ] {
        let error = run(json!({"key": ["account"], "document": document}), vec![accounts()]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(said) && error.hint.as_ref().unwrap().contains(hint), "{error}");
    }
    let document = json!({"a": "account"});
    for (key, order) in [(json!([]), json!([])), (json!("acc"), json!([])), (json!("account"), json!("tim desc"))] {
        let config = json!({"key": key, "order": order, "document": document});
        let error = run(config, vec![accounts()]).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.hint.is_some(), "{error}");
    }
}

#[test]
fn rows_that_are_said_to_be_sorted_and_are_not_are_an_error() {
    let of = |keys: &[&str]| {
        let rows: Vec<_> = keys.iter().map(|key| (*key, None, None, None, None)).collect();
        let config = json!({"key": "account", "sorted": true, "document": {"a": "account"}});
        let cut: Vec<_> = (0..keys.len()).map(|at| self::rows(&rows).slice(at, 1)).collect();
        let (whole, cut) = (run(config.clone(), vec![self::rows(&rows)]), run(config, cut));
        assert_eq!(whole, cut);
        whole.map(|documents| documents.len())
    };
    assert_eq!(of(&["1", "1", "2", "3", "3"]), Ok(3));
    assert_eq!(of(&["3", "2", "2", "1"]), Ok(3));
    for keys in [&["1", "2", "1"][..], &["1", "2", "3", "2"], &["2", "1", "2"]] {
        let error = of(keys).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("must come sorted"), "{error}");
    }
    let keys = [None, Some("1"), Some("2")];
    for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0], [0, 2, 1]] {
        let keys: StringArray = order.iter().map(|at| keys[*at]).collect();
        let input = RecordBatch::try_from_iter([("account", Arc::new(keys) as ArrayRef)]).unwrap();
        let config = json!({"key": "account", "sorted": true, "document": {"a": "account"}});
        assert_eq!(run(config, vec![input]).unwrap().len(), 3);
    }
}

#[test]
fn rows_that_do_not_fit_are_an_error_that_says_what_to_do() {
    let many: Vec<_> = (0..2000).map(|at| if at < 1000 { "1" } else { "2" }).collect();
    let many: Vec<_> = many.into_iter().map(|key| (key, Some("product"), None, None, None)).collect();
    let cut: Vec<_> = (0..20).map(|at| rows(&many).slice(at * 100, 100)).collect();
    let config = |memory: &str, sorted: bool| json!({"key": "account", "memory": memory, "sorted": sorted, "document": {"products": {"each": "product"}}});
    let error = run(config("50KiB", false), cut.clone()).unwrap_err();
    assert!(error.message.contains("`memory` allows (50KiB)") && error.hint.unwrap().contains("`sorted: true`"));
    assert_eq!(run(config("50KiB", true), cut.clone()).unwrap().len(), 2);
    let error = run(config("10KiB", true), cut).unwrap_err();
    assert!(error.hint.unwrap().contains("a single document"));
}

#[test]
fn an_input_that_breaks_off_is_not_taken_for_one_that_ended() {
    for sorted in [true, false] {
        let host = Host::new();
        let config = json!({"key": "account", "sorted": sorted, "document": {"a": "account"}});
        let mut nest: Nest = host.open(config).unwrap();
        let broken = [Ok(accounts().slice(0, 2)), Err(Error::unavailable("gone"))];
        let ended: Result<Vec<_>> =
            nest.apply(Batches::new(accounts().schema(), broken.into_iter())).unwrap().collect();
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Unavailable);
        host.cancel();
        let ended: Result<Vec<_>> = nest.apply(Batches::once(accounts())).unwrap().collect();
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Cancelled);
    }
}

proptest! {
    #[test]
    fn every_value_is_in_the_document_of_its_key(
        of in proptest::collection::vec((0..5u8, proptest::option::of("[a-z]{0,3}")), 0..60),
        cut in 1..20usize,
        sorted in any::<bool>(),
    ) {
        let mut of = of;
        if sorted {
            of.sort_by_key(|(key, _)| *key);
        }
        let keys: Vec<_> = of.iter().map(|(key, _)| key.to_string()).collect();
        let whole: Vec<_> = keys.iter().zip(&of).map(|(key, (_, value))| (key.as_str(), value.as_deref(), None, None, None)).collect();
        let whole = rows(&whole);
        let pieces: Vec<_> = (0..of.len().max(1)).step_by(cut).map(|at| whole.slice(at, cut.min(of.len() - at))).collect();
        let document = json!({
            "key": "account", "all": {"each": "product"},
            "sorted": {"each": "product", "order": "product desc", "distinct": "product"},
        });
        let made = run(json!({"key": "account", "sorted": sorted, "document": document}), pieces).unwrap();
        let mut expected: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for (key, (_, value)) in keys.iter().zip(&of) {
            expected.entry(key).or_default().extend(value.as_deref());
        }
        let expected: Vec<_> = expected.into_iter().map(|(key, all)| {
            let mut sorted = all.clone();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.reverse();
            json!({"key": key, "all": all, "sorted": sorted})
        }).collect();
        prop_assert_eq!(made, expected);
    }
}
