use arrow_array::types::Int32Type;
use arrow_array::{
    Decimal128Array, DictionaryArray, Int64Array, ListArray, NullArray, StringArray, StringViewArray, StructArray,
    create_array,
};
use arrow_schema::Fields;
use engine_sdk::testing::Host;
use proptest::prelude::*;

use super::*;

fn flatten(config: Value, input: RecordBatch) -> Result<RecordBatch> {
    let host = Host::new();
    let mut flatten: Flatten = host.open(config)?;
    let mut output = flatten.apply(Batches::once(input))?;
    let batch = output.next().unwrap()?;
    assert!(output.next().is_none());
    assert_eq!(batch.schema(), output.schema());
    assert_eq!(host.rejections(), []);
    Ok(batch)
}

fn object(members: Vec<(&str, ArrayRef)>, nulls: Option<Vec<bool>>) -> ArrayRef {
    let fields: Fields = members.iter().map(|(name, it)| Field::new(*name, it.data_type().clone(), true)).collect();
    let columns = members.into_iter().map(|(_, column)| column).collect();
    Arc::new(StructArray::new(fields, columns, nulls.map(NullBuffer::from)))
}

/// `id`, and `place: {city, geo: {lat}}`, which the second row has not.
fn batch() -> RecordBatch {
    let geo = object(vec![("lat", create_array!(Float64, [1.5, 2.5, 3.5]))], Some(vec![true, true, false]));
    let city = create_array!(Utf8, [Some("Galle"), Some("hidden"), None]);
    let place = object(vec![("city", city), ("geo", geo)], Some(vec![true, false, true]));
    RecordBatch::try_from_iter([("id", create_array!(Int64, [1, 2, 3]) as ArrayRef), ("place", place)]).unwrap()
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn objects_become_columns_and_one_that_is_not_there_has_no_values() {
    let out = flatten(json!({}), batch()).unwrap();
    assert_eq!(names(&out), ["id", "place_city", "place_geo_lat"]);
    assert_eq!(out.column(1), &(create_array!(Utf8, [Some("Galle"), None, None]) as ArrayRef));
    assert_eq!(out.column(2), &(create_array!(Float64, [Some(1.5), None, None]) as ArrayRef));
    assert_eq!(flatten(json!({}), batch().slice(1, 2)).unwrap(), out.slice(1, 2));
}

#[test]
fn as_many_levels_are_opened_as_depth_says() {
    let out = flatten(json!({"depth": 1, "separator": ".", "columns": ["place"]}), batch()).unwrap();
    assert_eq!(names(&out), ["id", "place.city", "place.geo"]);
    assert!(matches!(out.column(2).data_type(), DataType::Struct(_)));
    assert_eq!(out.column(2).logical_null_count(), 2);
}

#[test]
fn lists_and_rare_types_stay_what_they_are() {
    let list: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None, Some([None])]));
    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["short", "a text of more than twelve bytes", ""]));
    let whole = object(
        vec![
            ("list", list),
            ("word", Arc::new(words)),
            ("view", views),
            ("nothing", Arc::new(NullArray::new(3))),
            ("large", create_array!(LargeUtf8, ["x", "y", "z"])),
            ("flag", create_array!(Boolean, [true, false, true])),
            ("decimal", Arc::new(Decimal128Array::from(vec![1, 2, 3]))),
        ],
        Some(vec![false, true, true]),
    );
    let input = RecordBatch::try_from_iter([("a", whole)]).unwrap();
    let out = flatten(json!({}), input.clone()).unwrap();
    assert_eq!(names(&out), ["a_list", "a_word", "a_view", "a_nothing", "a_large", "a_flag", "a_decimal"]);
    for from in 0..2 {
        assert_eq!(flatten(json!({}), input.slice(from, 2)).unwrap(), out.slice(from, 2));
    }
    for (column, of) in out.columns().iter().zip(input.column(0).as_struct().columns()) {
        assert_eq!(column.data_type(), of.data_type());
        assert!(column.logical_nulls().unwrap().is_null(0));
        assert_eq!(&column.slice(1, 2), &of.slice(1, 2));
    }
    // Objects in a list are no columns.
    let objects = StructArray::from(input.slice(0, 3));
    let field = Arc::new(Field::new("item", objects.data_type().clone(), true));
    let list = ListArray::new(field, arrow_buffer::OffsetBuffer::from_lengths([2, 1]), Arc::new(objects), None);
    let input = RecordBatch::try_from_iter([("list", Arc::new(list) as ArrayRef)]).unwrap();
    assert_eq!(flatten(json!({}), input.clone()).unwrap(), input);
}

#[test]
fn two_columns_that_came_with_one_name_stay() {
    let fields = ["n", "n", "place"].into_iter().zip([0, 0, 1]);
    let input = RecordBatch::try_from_iter(fields.map(|(name, at)| (name, batch().column(at).clone()))).unwrap();
    assert_eq!(names(&flatten(json!({}), input).unwrap()), ["n", "n", "place_city", "place_geo_lat"]);
}

#[test]
fn rows_are_kept_where_no_column_is_left() {
    let empty: ArrayRef = Arc::new(StructArray::new_empty_fields(4, None));
    let out = flatten(json!({}), RecordBatch::try_from_iter([("o", empty)]).unwrap()).unwrap();
    assert_eq!((out.num_columns(), out.num_rows()), (0, 4));
    assert_eq!(flatten(json!({}), batch().slice(0, 0)).unwrap().num_rows(), 0);
}

#[test]
fn what_does_not_fit_the_columns_is_refused_before_a_row_is_read() {
    let mut clashing = batch();
    clashing =
        RecordBatch::try_from_iter([("place_city", clashing.column(0).clone()), ("place", clashing.remove_column(1))])
            .unwrap();
    for (config, input, said, hint) in [
        (json!({"columns": ["plaec"]}), batch(), "there is no column `plaec`", "did you mean `place`"),
        (
            json!({"columns": ["id"]}),
            batch(),
            "the column `id` holds no objects but Int64",
            "columns that do are place",
        ),
        (json!({"columns": []}), batch(), "`columns` is empty", "leave it away"),
        (json!({"columns": ["place", "place"]}), batch(), "is named twice", "once"),
        (json!({}), clashing, "`place_city` and `place.city` would both become a column `place_city`", "separator"),
    ] {
        let error = flatten(config, input).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(said) && error.hint.as_ref().unwrap().contains(hint), "{error}");
    }
    assert!(flatten(json!({"depth": 0}), batch()).is_err());
}

proptest! {
    #[test]
    fn every_value_stands_where_its_object_was(
        rows in proptest::collection::vec(any::<Option<(Option<i64>, Option<String>)>>(), 0..40),
        from in 0..40usize,
    ) {
        let numbers: Int64Array = rows.iter().map(|row| row.as_ref().and_then(|row| row.0)).collect();
        let texts: StringArray = rows.iter().map(|row| row.as_ref().and_then(|row| row.1.clone())).collect();
        let there = rows.iter().map(Option::is_some).collect();
        let whole = object(vec![("n", Arc::new(numbers.clone())), ("t", Arc::new(texts.clone()))], Some(there));
        let input = RecordBatch::try_from_iter([("o", whole)]).unwrap();
        let from = from.min(rows.len());
        let out = flatten(json!({}), input.slice(from, rows.len() - from)).unwrap();
        prop_assert_eq!(out.column(0).as_ref(), &numbers.slice(from, rows.len() - from) as &dyn Array);
        prop_assert_eq!(out.column(1).as_ref(), &texts.slice(from, rows.len() - from) as &dyn Array);
    }
}
