use arrow_array::types::Int32Type;
use arrow_array::{
    Decimal128Array, DictionaryArray, ListArray, StringArray, StringViewArray, StructArray, create_array,
};
use engine_sdk::testing::Host;
use proptest::prelude::*;

use super::*;

const KEY: &str = "a key of more than sixteen bytes";

fn redact(config: Value, input: RecordBatch) -> Result<RecordBatch> {
    let host = Host::new();
    let mut redact: Redact = host.open(config)?;
    let mut output = redact.apply(Batches::once(input))?;
    let batch = output.next().unwrap()?;
    assert!(output.next().is_none());
    assert_eq!(batch.schema(), output.schema());
    assert_eq!((host.rejections(), host.filtered(), host.log()), (vec![], 0, vec![]));
    Ok(batch)
}

fn one(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap()
}

/// What becomes of the texts of one column.
fn texts(action: Value, column: ArrayRef) -> Vec<Option<String>> {
    let key = if action == json!("hash") { json!(KEY) } else { Value::Null };
    let out = redact(json!({"columns": {"c": action}, "key": key}), one(column)).unwrap();
    let texts = out.column(0).as_any().downcast_ref::<StringArray>().unwrap().clone();
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn a_hash_is_that_of_hmac_sha_256_and_no_value_stays_none() {
    // `printf 12345 | openssl dgst -sha256 -hmac 'a key of more than sixteen bytes'`
    let expected = "46bd70bb639f34bcb07f60d52f6c67eee9645fc8b40c94d6f8670839bd194d8d";
    assert_eq!(texts(json!("hash"), create_array!(Utf8, [Some("12345"), None])), [Some(expected.to_owned()), None]);
    // The same value is the same, whatever the type of its column.
    assert_eq!(texts(json!("hash"), create_array!(Int64, [12345])), [Some(expected.to_owned())]);
    let words: DictionaryArray<Int32Type> = ["12345"].into_iter().collect();
    assert_eq!(texts(json!("hash"), Arc::new(words)), [Some(expected.to_owned())]);
}

#[test]
fn what_stays_of_a_text_is_its_end_or_its_beginning() {
    let numbers = || create_array!(Utf8, [Some("0771234567"), Some("Zoë"), Some("4567"), Some(""), None]) as ArrayRef;
    let owned = |texts: [&str; 4]| texts.iter().map(|text| Some((*text).to_owned())).chain([None]).collect::<Vec<_>>();
    assert_eq!(texts(json!({"keep_last": 4}), numbers()), owned(["******4567", "***", "****", ""]));
    assert_eq!(texts(json!({"keep_first": 2}), numbers()), owned(["07********", "Zo*", "45**", ""]));
    assert_eq!(texts(json!({"keep_last": 1}), numbers()), owned(["*********7", "**ë", "***7", ""]));
    assert_eq!(texts(json!({"keep_last": 0}), numbers()), owned(["**********", "***", "****", ""]));
    assert_eq!(texts(json!({"replace": "x"}), numbers()), owned(["x"; 4]));
}

#[test]
fn columns_of_every_kind_are_hidden() {
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]));
    let object: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("in", DataType::Int64, true)),
        create_array!(Int64, [1, 2]) as ArrayRef,
    )]));
    let decimals = Decimal128Array::from(vec![Some(12345), None]).with_precision_and_scale(9, 2).unwrap();
    assert_eq!(texts(json!({"keep_last": 2}), Arc::new(decimals)), [Some("****45".into()), None]);
    let views = StringViewArray::from(vec!["a text of more than twelve bytes", "b"]);
    assert_eq!(texts(json!({"keep_first": 1}), Arc::new(views))[0].as_deref().unwrap().find('*'), Some(1));
    assert_eq!(texts(json!({"keep_first": 1}), create_array!(LargeUtf8, ["ab"])), [Some("a*".into())]);
    assert_eq!(texts(json!({"keep_first": 1}), create_array!(Null, 2)), [None, None]);
    assert_eq!(texts(json!({"replace": "x"}), Arc::clone(&lists)), [Some("x".into()), None]);
    for column in [lists, object] {
        let out = redact(json!({"columns": {"c": "clear"}}), one(Arc::clone(&column))).unwrap();
        assert_eq!((out.column(0).data_type(), out.column(0).null_count()), (column.data_type(), 2));
        let error = redact(json!({"columns": {"c": {"keep_last": 1}}}), one(column)).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.message.starts_with("column `c`: "), "{error}");
    }
}

#[test]
fn a_column_that_was_never_null_may_be_once_it_is_cleared() {
    let input = RecordBatch::try_from_iter([
        ("n", create_array!(Int64, [1, 2]) as ArrayRef),
        ("kept", create_array!(Utf8, ["a", "b"]) as _),
    ]);
    let out = redact(json!({"columns": {"n": "clear"}}), input.unwrap()).unwrap();
    assert_eq!((out.column(0).null_count(), out.column(1).null_count()), (2, 0));
    assert!(out.schema().field(0).is_nullable() && !out.schema().field(1).is_nullable());
    assert_eq!(redact(json!({"columns": {"n": "clear"}}), out.slice(0, 0)).unwrap().num_rows(), 0);
}

#[test]
fn what_does_not_fit_is_refused_before_a_row_is_read_and_the_key_is_never_shown() {
    for (config, said) in [
        (json!({"columns": {}}), "`columns` is empty"),
        (json!({"columns": {"c": "hash"}}), "`hash` needs a `key`"),
        (json!({"columns": {"c": "hash"}, "key": "too short"}), "`key` has fewer than 16 bytes"),
        (json!({"columns": {"c": "clear"}, "key": KEY}), "`key` is of no use"),
        (json!({"columns": {"d": "clear"}}), "there is no column `d`"),
    ] {
        let error = redact(config, one(create_array!(Utf8, ["a value"]))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(said) && error.hint.is_some(), "{error}");
        assert!(!error.to_string().contains("too short") && !error.to_string().contains(KEY));
    }
    assert!(redact(json!({"columns": {"c": "encrypt"}}), one(create_array!(Utf8, ["a"]))).is_err());
}

proptest! {
    #[test]
    fn no_more_of_a_text_stays_than_was_said(text in "\\PC{0,20}", kept in 0..8usize) {
        let length = text.chars().count();
        let kept_characters = if length > kept { kept } else { 0 };
        let column = || create_array!(Utf8, [text.as_str()]) as ArrayRef;
        let last = texts(json!({"keep_last": kept}), column())[0].clone().unwrap();
        let end: String = text.chars().skip(length - kept_characters).collect();
        prop_assert_eq!(last, "*".repeat(length - kept_characters) + &end);
        let first = texts(json!({"keep_first": kept}), column())[0].clone().unwrap();
        let begin: String = text.chars().take(kept_characters).collect();
        prop_assert_eq!(first, begin + &"*".repeat(length - kept_characters));
    }

    #[test]
    fn the_same_hash_is_of_the_same_value(left in "[ab]{0,3}", right in "[ab]{0,3}") {
        let hashes = texts(json!("hash"), create_array!(Utf8, [left.as_str(), right.as_str()]));
        prop_assert_eq!(hashes[0] == hashes[1], left == right);
        prop_assert_eq!(hashes[0].as_ref().map(String::len), Some(64));
    }
}
