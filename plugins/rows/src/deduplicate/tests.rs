use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, StringArray, StringViewArray, create_array};
use engine_sdk::testing::Host;
use proptest::prelude::*;

use super::*;

/// What goes on of some batches, and how many rows were counted as left out.
fn deduplicate(config: Value, input: Vec<RecordBatch>) -> Result<(Vec<RecordBatch>, u64)> {
    let host = Host::new();
    let mut deduplicate: Deduplicate = host.open(config)?;
    let schema = input[0].schema();
    let output = deduplicate.apply(Batches::new(schema, input.into_iter().map(Ok)))?.collect::<Result<Vec<_>>>()?;
    Ok((output, host.filtered()))
}

fn rows(keys: &[Option<&str>], numbers: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("key", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef),
        ("n", Arc::new(Int64Array::from(numbers.to_vec())) as _),
    ])
    .unwrap()
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    batches.iter().flat_map(column).collect()
}

fn two_batches() -> Vec<RecordBatch> {
    vec![rows(&[Some("a"), Some("b"), Some("a"), None], &[1, 2, 3, 4]), rows(&[Some("b"), None, Some("c")], &[5, 6, 7])]
}

#[test]
fn the_first_or_the_last_row_of_each_key_goes_on_in_its_place() {
    let (out, filtered) = deduplicate(json!({"key": ["key"]}), two_batches()).unwrap();
    assert_eq!((numbers(&out), filtered), (vec![1, 2, 4, 7], 3));
    let (out, filtered) = deduplicate(json!({"key": ["key"], "keep": "last"}), two_batches()).unwrap();
    assert_eq!((numbers(&out), filtered), (vec![3, 5, 6, 7], 3));
}

#[test]
fn without_a_key_rows_are_the_same_in_every_column() {
    let same = rows(&[Some("a"), Some("a"), Some("a"), None, None], &[1, 2, 1, 4, 4]);
    let (out, filtered) = deduplicate(json!({}), vec![same]).unwrap();
    assert_eq!((numbers(&out), filtered), (vec![1, 2, 4], 2));
}

#[test]
fn values_of_every_kind_are_compared_exactly() {
    let words: DictionaryArray<Int32Type> = ["x", "y", "x"].into_iter().collect();
    let views =
        StringViewArray::from(vec!["a text of more than twelve bytes", "a", "a text of more than twelve bytes"]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(words),
        Arc::new(views),
        Arc::new(Float64Array::from(vec![0.0, 1.0, -0.0])),
        create_array!(LargeUtf8, ["", "b", ""]),
        Arc::new(arrow_array::Decimal128Array::from(vec![1, 2, 1]).with_precision_and_scale(9, 2).unwrap()),
    ];
    for column in columns {
        let input = RecordBatch::try_from_iter([("c", Arc::clone(&column))]).unwrap();
        for keep in ["first", "last"] {
            let (out, filtered) = deduplicate(json!({"keep": keep}), vec![input.clone()]).unwrap();
            assert_eq!((out[0].num_rows(), filtered), (2, 1), "{}", column.data_type());
            assert_eq!(out[0].schema(), input.schema());
        }
    }
    let (out, filtered) =
        deduplicate(json!({}), vec![RecordBatch::try_from_iter([("c", create_array!(Null, 3) as _)]).unwrap()])
            .unwrap();
    assert_eq!((out[0].num_rows(), filtered), (1, 2));
}

#[test]
fn keys_that_do_not_fit_are_an_error_that_says_what_to_do() {
    let texts: Vec<_> = (0..1000).map(|n| format!("key {n}")).collect();
    let texts: Vec<_> = texts.iter().map(|text| Some(text.as_str())).collect();
    let numbers: Vec<_> = (0..1000).collect();
    for keep in ["first", "last"] {
        let config = json!({"key": ["key"], "keep": keep, "memory": "10KiB"});
        let error = deduplicate(config, vec![rows(&texts, &numbers)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("`memory` allows (10KiB)"), "{error}");
        assert!(error.hint.unwrap().starts_with("raise `memory`"));
    }
}

#[test]
fn rows_that_are_no_longer_the_last_make_room() {
    // 40 MB of rows, of which 100 are the last of their key.
    let batch = |of: i64| {
        let keys: Vec<_> = (0..1000).map(|n| format!("{}", n % 100)).collect();
        let keys: Vec<_> = keys.iter().map(|key| Some(key.as_str())).collect();
        rows(&keys, &(of * 1000..(of + 1) * 1000).collect::<Vec<_>>())
    };
    let config = json!({"key": ["key"], "keep": "last", "memory": "200KiB"});
    let (out, filtered) = deduplicate(config, (0..2000).map(batch).collect()).unwrap();
    assert_eq!(numbers(&out), (1_999_900..2_000_000).collect::<Vec<_>>());
    assert_eq!(filtered, 1_999_900);
}

#[test]
fn what_does_not_fit_the_columns_is_refused_before_a_row_is_read() {
    for (config, said) in [
        (json!({"key": []}), "`key` is empty"),
        (json!({"key": "nothing"}), "there is no column `nothing`"),
        (json!({"key": ["n", "n"]}), "is named twice"),
    ] {
        let error = deduplicate(config, two_batches()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(said) && error.hint.is_some(), "{error}");
    }
    let host = Host::new();
    let mut all: Deduplicate = host.open(json!({})).unwrap();
    assert!(all.apply(Batches::empty(Arc::new(Schema::empty()))).is_err());
}

#[test]
fn an_input_that_breaks_off_is_not_taken_for_one_that_ended() {
    for keep in ["first", "last"] {
        let host = Host::new();
        let mut open: Deduplicate = host.open(json!({"keep": keep})).unwrap();
        let [first, _] = &two_batches()[..] else { unreachable!() };
        let broken = [Ok(first.clone()), Err(Error::unavailable("gone"))];
        let ended: Result<Vec<_>> = open.apply(Batches::new(first.schema(), broken.into_iter())).unwrap().collect();
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Unavailable);
        host.cancel();
        let ended: Result<Vec<_>> = open.apply(Batches::once(first.clone())).unwrap().collect();
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Cancelled);
    }
}

proptest! {
    #[test]
    fn what_goes_on_is_what_a_table_of_keys_would_keep(
        keys in proptest::collection::vec(proptest::option::of("[a-c]{0,2}"), 0..80),
        cut in 1..20usize,
        memory in 6_000..20_000u64,
    ) {
        let columns: Vec<_> = keys.iter().map(Option::as_deref).collect();
        let all = rows(&columns, &(0..keys.len() as i64).collect::<Vec<_>>());
        let pieces: Vec<_> = (0..keys.len().max(1)).step_by(cut).map(|at| all.slice(at, cut.min(keys.len() - at))).collect();
        let (mut first, mut last) = (HashMap::new(), HashMap::new());
        for (at, key) in keys.iter().enumerate() {
            first.entry(key).or_insert(at as i64);
            last.insert(key, at as i64);
        }
        for (keep, expected) in [("first", first), ("last", last)] {
            let mut expected: Vec<_> = expected.into_values().collect();
            expected.sort_unstable();
            let config = json!({"key": ["key"], "keep": keep, "memory": memory});
            // A small budget makes room on the way; where even that is not enough, it is an error and no wrong answer.
            if let Ok((out, filtered)) = deduplicate(config, pieces.clone()) {
                prop_assert_eq!(filtered as usize, keys.len() - expected.len());
                prop_assert_eq!(numbers(&out), expected);
            }
        }
    }
}
