use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray, create_array};
use engine_sdk::testing::{Host, Rejected};
use proptest::prelude::*;

use super::*;

fn run(rules: Value, input: RecordBatch) -> Result<(RecordBatch, Vec<Rejected>)> {
    let host = Host::new();
    let mut validate: Validate = host.open(json!({"rules": rules}))?;
    let mut output = validate.apply(Batches::once(input.clone()))?;
    let batch = output.next().unwrap()?;
    assert_eq!(batch.schema(), input.schema());
    assert_eq!(batch.num_rows() + host.rejections().len(), input.num_rows());
    Ok((batch, host.rejections()))
}

fn batch() -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("id", create_array!(Int64, [1, 2, 3, 4]) as ArrayRef, false),
        ("email", create_array!(Utf8, [Some("a@b.lk"), Some(" "), None, Some("nobody")]) as _, true),
        ("amount", create_array!(Float64, [Some(0.5), Some(-1.0), Some(f64::NAN), None]) as _, true),
        ("status", create_array!(Utf8, [Some("open"), Some("open"), Some("closed"), Some("lost")]) as _, true),
    ])
    .unwrap()
}

fn codes(rejected: &[Rejected]) -> Vec<&str> {
    rejected.iter().map(|it| it.code.as_str()).collect()
}

#[test]
fn a_row_is_kept_whole_with_all_that_it_breaks() {
    let rules = json!({
        "email": {"required": true, "not_empty": true, "pattern": "[^@ ]+@[^@ ]+"},
        "amount": {"min": 0, "max": 100},
        "status": {"one_of": ["open", "closed"]},
    });
    let (out, rejected) = run(rules, batch()).unwrap();
    assert_eq!(out, batch().slice(0, 1));
    assert_eq!(codes(&rejected), ["not_empty", "required", "pattern"]);
    let reasons: Vec<_> = rejected.iter().map(|it| it.reason.as_str()).collect();
    let pattern = "not of the pattern `[^@ ]+@[^@ ]+`";
    assert_eq!(
        reasons,
        [
            &format!(
                "`email` is ` `: nothing but white space; `email` is ` `: {pattern}; `amount` is `-1.0`: not at least 0"
            ),
            "`email` has no value; `amount` is `NaN`: not at least 0; `amount` is `NaN`: not at most 100",
            &format!("`email` is `nobody`: {pattern}; `status` is `lost`: none of open, closed"),
        ]
    );
    for (at, rejected) in rejected.iter().enumerate() {
        assert_eq!(rejected.rows, Some(batch().slice(at + 1, 1)));
    }
}

#[test]
fn a_row_without_a_value_breaks_nothing_but_required() {
    let rules = json!({"email": {
        "not_empty": true, "length": {"min": 1, "max": 9}, "pattern": ".*", "one_of": ["a@b.lk", " ", "nobody"],
    }});
    let (out, rejected) = run(rules, batch()).unwrap();
    assert_eq!((out.num_rows(), codes(&rejected)), (3, vec!["not_empty"]));
}

#[test]
fn a_pattern_matches_the_whole_text_and_lengths_are_characters() {
    let texts = create_array!(Utf8, ["a", "ab", "abc", "b", "ab\n", "éé"]);
    let input = RecordBatch::try_from_iter([("t", texts as ArrayRef)]).unwrap();
    let kept = |rule: Value| {
        let (out, _) = run(json!({"t": rule}), input.clone()).unwrap();
        let texts = out.column(0).as_any().downcast_ref::<StringArray>().unwrap().clone();
        texts.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kept(json!({"pattern": "a|ab"})), ["a", "ab"]);
    assert_eq!(kept(json!({"pattern": "^ab$"})), ["ab"]);
    assert_eq!(kept(json!({"length": {"min": 2, "max": 2}})), ["ab", "éé"]);
    assert_eq!(kept(json!({"length": {"max": 1}})), ["a", "b"]);
}

#[test]
fn columns_of_every_kind_are_looked_at() {
    let words: DictionaryArray<Int32Type> = ["u", "v", "u"].into_iter().collect();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![])]);
    let decimals = arrow_array::Decimal128Array::from(vec![100, 250, 1]).with_precision_and_scale(9, 2).unwrap();
    let dates = arrow_array::Date32Array::from(vec![0, 1, 2]);
    let input = RecordBatch::try_from_iter_with_nullable([
        ("word", Arc::new(words) as ArrayRef, true),
        ("view", Arc::new(StringViewArray::from(vec!["a text of more than twelve bytes", "b", "c"])) as _, true),
        ("large", create_array!(LargeUtf8, ["l", "", "n"]) as _, true),
        ("list", Arc::new(lists) as _, true),
        ("decimal", Arc::new(decimals) as _, true),
        ("date", Arc::new(dates) as _, true),
        ("flag", create_array!(Boolean, [true, false, true]) as _, true),
        ("nothing", create_array!(Null, 3) as _, true),
    ])
    .unwrap();
    for (rules, expected) in [
        (json!({"word": {"one_of": ["u"]}}), vec!["one_of"]),
        (json!({"view": {"length": {"max": 1}}}), vec!["too_long"]),
        (json!({"large": {"not_empty": true, "length": {"min": 1}}}), vec!["not_empty"]),
        (json!({"list": {"not_empty": true}}), vec!["not_empty"]),
        (json!({"list": {"required": true}}), vec!["required"]),
        (json!({"decimal": {"min": 1, "max": "2.49"}}), vec!["above_max", "below_min"]),
        (json!({"decimal": {"one_of": [1, 2.5]}}), vec!["one_of"]),
        (json!({"date": {"max": "1970-01-02"}}), vec!["above_max"]),
        (json!({"flag": {"one_of": [true]}}), vec!["one_of"]),
        (json!({"nothing": {"required": true}}), vec!["required"; 3]),
        (json!({"nothing": {"pattern": "x", "min": 1, "one_of": ["x"], "not_empty": true}}), vec![]),
    ] {
        let (_, rejected) = run(rules.clone(), input.clone()).unwrap();
        assert_eq!(codes(&rejected), expected, "{rules}");
        let (part, _) = run(rules, input.slice(1, 2)).unwrap();
        assert!(part.num_rows() <= 2);
    }
    assert_eq!(run(json!({"word": {"required": true}}), input.slice(0, 0)).unwrap().0.num_rows(), 0);
}

#[test]
fn a_long_value_is_cut_in_the_reason() {
    let texts = create_array!(Utf8, ["x".repeat(500).as_str()]);
    let input = RecordBatch::try_from_iter([("t", texts as ArrayRef)]).unwrap();
    let (_, rejected) = run(json!({"t": {"length": {"max": 3}}}), input).unwrap();
    let expected = format!("`t` is `{}…`: 500 characters, and at most 3 are allowed", "x".repeat(80));
    assert_eq!(rejected[0].reason, expected);
}

#[test]
fn what_does_not_fit_the_columns_is_refused_before_a_row_is_read() {
    for (rules, said, hint) in [
        (json!({}), "`rules` is empty", "name columns"),
        (json!({"emial": {"required": true}}), "there is no column `emial`", "did you mean `email`?"),
        (json!({"email": {}}), "`rules.email`: there is no rule", "required: true"),
        (
            json!({"email": {"pattern": "("}}),
            "`rules.email`: the pattern `(` cannot be read: unclosed group",
            "regular",
        ),
        (
            json!({"email": {"min": 1}}),
            "`min` is about numbers, dates and timestamps, and the column is Utf8",
            "select",
        ),
        (json!({"id": {"pattern": "1"}}), "`pattern` is about texts, and the column is Int64", "select"),
        (json!({"id": {"length": {"max": 1}}}), "`length` is about texts", "select"),
        (json!({"id": {"not_empty": true}}), "`not_empty` is about texts and lists", "select"),
        (json!({"id": {"min": "one"}}), "`min: one` is not a number", "Int64"),
        (json!({"status": {"one_of": [1]}}), "`one_of: 1` is no text: put it into quotes", "Utf8"),
        (json!({"status": {"one_of": []}}), "`one_of` is empty", "values"),
        (json!({"email": {"length": {"min": 3, "max": 2}}}), "no text is of that `length`", "`min`"),
        (json!({"email": {"length": {}}}), "no text is of that `length`", "`min`"),
    ] {
        let error = run(rules, batch()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(said) && error.hint.as_ref().unwrap().contains(hint), "{error}");
    }
}

proptest! {
    #[test]
    fn exactly_the_rows_within_the_bounds_go_on(
        numbers in proptest::collection::vec(proptest::option::of(-9..9i64), 0..40),
        min in -9..9i64,
        max in -9..9i64,
    ) {
        let column: Int64Array = numbers.iter().copied().collect();
        let input = RecordBatch::try_from_iter_with_nullable([("n", Arc::new(column) as ArrayRef, true)]).unwrap();
        let (out, rejected) = run(json!({"n": {"min": min, "max": max}}), input).unwrap();
        let within = |number: &Option<i64>| number.is_none_or(|number| min <= number && number <= max);
        let expected: Int64Array = numbers.iter().filter(|number| within(number)).copied().collect();
        prop_assert_eq!(out.column(0).as_ref(), &expected as &dyn Array);
        prop_assert_eq!(rejected.len(), numbers.len() - expected.len());
    }
}
