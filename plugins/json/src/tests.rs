use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int64Array, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow_buffer::i256;
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use engine_sdk::testing::{Host, Rejected};
use engine_sdk::{file_piece, file_pieces, files_schema};
use proptest::prelude::*;

use crate::Json;

struct Read {
    schema: SchemaRef,
    rows: Vec<Vec<Option<String>>>,
    refused: Vec<Rejected>,
}

impl Read {
    fn columns(&self) -> Vec<String> {
        let column = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
        self.schema.fields().iter().map(column).collect()
    }

    fn codes(&self) -> Vec<&str> {
        self.refused.iter().map(|refused| refused.code.as_str()).collect()
    }
}

/// Decodes and checks that every record is accounted for.
fn read(config: serde_json::Value, pieces: &[(&str, &[u8])]) -> Result<Read> {
    let host = Host::new();
    let mut json = host.open::<Json>(config)?;
    let input: Vec<_> = pieces.iter().map(|(name, data)| Ok(file_piece(name, data))).collect();
    let batches = json.decode(Batches::new(files_schema(), input.into_iter()))?;
    let schema = batches.schema();
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch?;
        let columns: Vec<_> = batch.columns().iter().map(|column| Cells::new(column).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cell = |cells: &Cells| {
                let mut out = Vec::new();
                cells.write(row, b' ', &mut out);
                (!cells.is_null(row)).then(|| String::from_utf8(out).unwrap())
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    let refused = host.rejections();
    assert_eq!(host.records(), (rows.len() + refused.len()) as u64, "every record is a row or a dead letter");
    Ok(Read { schema, rows, refused })
}

fn row(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|cell| (*cell != "∅").then(|| (*cell).to_owned())).collect()
}

fn write(config: serde_json::Value, batch: RecordBatch) -> String {
    let host = Host::new();
    let mut json = host.open::<Json>(config).unwrap();
    let mut out = Vec::new();
    for piece in json.encode(Batches::once(batch)).unwrap() {
        for (_, data) in file_pieces(&piece.unwrap()).unwrap() {
            out.extend_from_slice(data);
        }
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_are_learned_from_the_first_records() {
    let text = br#"{"i": 1, "n": 1, "b": true, "t": "007", "o": {"a": [1, 2.50]}, "m": 1, "z": null}

{"i": 9007199254740993, "n": 1.5, "t": "\u00e9\n", "m": "x", "long": 18446744073709551615}
"#;
    let read = read(json!({}), &[("a", text)]).unwrap();
    assert_eq!(
        read.columns(),
        ["i Int64", "n Float64", "b Boolean", "t Utf8", "o Utf8", "m Utf8", "z Utf8", "long Decimal128(38, 0)"]
    );
    assert_eq!(read.rows[0], row(&["1", "1.0", "true", "007", "{\"a\": [1, 2.50]}", "1", "∅", "∅"]));
    assert_eq!(read.rows[1], row(&["9007199254740993", "1.5", "∅", "é\n", "∅", "x", "∅", "18446744073709551615"]));
}

#[test]
fn an_array_is_read_element_by_element() {
    let text = b"\xEF\xBB\xBF [\n {\"a\": \"]},[\\\"\"},\n {\"a\": \"x\"} ]\n";
    let read = read(json!({}), &[("a", text), ("b", b"[]"), ("c", b"{\"a\":\"y\"}")]).unwrap();
    assert_eq!(read.rows, [row(&["]},[\""]), row(&["x"]), row(&["y"])]);
    assert!(read.refused.is_empty());
}

#[test]
fn types_that_are_named_are_exact() {
    let config = json!({
        "columns": ["d", "at", "day", "n"],
        "types": {"d": "decimal(20,2)", "at": "timestamptz", "day": "date", "n": "integer"}
    });
    let text = br#"{"n": "42", "d": 123456789012345678.90, "at": "2025-09-17T17:44:08+02:00", "day": "2025-09-17"}"#;
    let read = read(config, &[("a", text)]).unwrap();
    assert_eq!(read.rows, [row(&["123456789012345678.90", "2025-09-17 15:44:08Z", "2025-09-17", "42"])]);
}

#[test]
fn a_record_that_does_not_fit_costs_none_of_its_neighbours() {
    let mut text = "{\"a\": 1}\n".repeat(1_000).into_bytes();
    text.extend_from_slice(b"{\"a\": \"007\"}\n{\"a\": 1.5}\n{\"a\": 1, \"new\": 2}\n{\"a\": }\n[1]\n{\"a\":1,\"a\":2}\n\xFF\n{\"a\": 2}\n{\"a\"");
    let read = read(json!({}), &[("in.json", &text)]).unwrap();
    assert_eq!(read.rows.len(), 1_001);
    assert_eq!(
        read.codes(),
        [
            "bad_type",
            "bad_integer",
            "unknown_key",
            "bad_json",
            "not_an_object",
            "duplicate_key",
            "not_utf8",
            "bad_json"
        ]
    );
    let reasons: Vec<_> = read.refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(reasons[0], "line 1001: a: \"007\" is no integer, as the first records had; name its type in `types`");
    assert!(reasons[2].contains("line 1003: `new` is not a column; name it in `columns`"), "{}", reasons[2]);
    assert_eq!(read.refused[7].data, b"{\"a\"");
}

#[test]
fn unknown_keys_are_left_out_when_asked() {
    let config = json!({"columns": ["a"], "ignore_unknown": true});
    let read = read(config, &[("a", b"{\"b\": 1, \"a\": 2}\n{}")]).unwrap();
    assert_eq!(read.rows, [row(&["2"]), row(&["∅"])]);
}

#[test]
fn a_file_that_was_cut_short_does_not_pass_for_a_whole_one() {
    let cut = read(json!({}), &[("a", b"[{\"a\": 1}, {\"a\": 2")]).unwrap();
    assert_eq!((cut.rows.len(), cut.codes()), (1, vec!["unterminated"]));
    let between = read(json!({}), &[("a", b"[{\"a\": 1},")]).unwrap();
    assert_eq!((between.rows.len(), between.codes()), (1, vec!["unterminated"]));
    let behind = read(json!({}), &[("a", b"[{\"a\": 1}] {\"a\": 2}")]).unwrap();
    assert_eq!((behind.rows.len(), behind.codes()), (1, vec!["bad_json"]));
    let no_array = read(json!({"layout": "array"}), &[("a", b"{\"a\": 1}")]).unwrap();
    assert_eq!(no_array.codes(), ["bad_json"]);
}

#[test]
fn a_record_that_is_too_long_is_cut_and_the_next_one_is_read() {
    let long = "x".repeat(300);
    for text in [format!("{{\"a\":\"{long}\"}}\n{{\"a\":\"y\"}}"), format!("[{{\"a\":\"{long}\"}},{{\"a\":\"y\"}}]")] {
        for size in [7, 1000] {
            let pieces: Vec<_> = text.as_bytes().chunks(size).map(|piece| ("a", piece)).collect();
            let read = read(json!({"max_record": 50}), &pieces).unwrap();
            assert_eq!(read.rows, [row(&["y"])]);
            assert_eq!((read.codes(), read.refused[0].data.len()), (vec!["too_long"], 50));
        }
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let wrong = |config| read(config, &[]).err().unwrap();
    assert!(wrong(json!({"columns": ["a"], "types": {"b": "date"}})).message.contains("`b`"));
    assert!(wrong(json!({"columns": ["a", "a"]})).message.contains("`a` again"));
    assert_eq!(wrong(json!({"max_record": 0})).kind, ErrorKind::Config);
    assert!(read(json!({}), &[]).unwrap().rows.is_empty());
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

#[test]
fn values_are_written_as_documented() {
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let pair = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), inner)]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    let rows = batch(vec![
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("f", Arc::new(Float64Array::from(vec![f64::NAN]))),
        ("d", Arc::new(Decimal128Array::from(vec![1230]).with_precision_and_scale(9, 2).unwrap())),
        ("long", Arc::new(Decimal256Array::from(vec![i256::MAX]).with_data_type(DataType::Decimal256(76, 2)))),
        ("day", Arc::new(Date32Array::from(vec![0]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_758_123_848_500_000]).with_timezone("UTC"))),
        ("b", Arc::new(BinaryArray::from(vec![b"foo".as_slice()]))),
        ("s", Arc::new(StringArray::from(vec!["a\"\\\n\u{1}é"]))),
        ("none", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("o", Arc::new(pair)),
        ("l", Arc::new(list)),
    ]);
    assert_eq!(
        write(json!({}), rows.clone()),
        concat!(
            r#"{"u":18446744073709551615,"f":"NaN","d":12.30,"#,
            r#""long":578960446186580977117854925043439539266349923328202820197287920039565648199.67,"day":"1970-01-01","t":"2025-09-17T15:44:08.500Z","#,
            r#""b":"Zm9v","s":"a\"\\\n\u0001é","none":null,"o":{"x":7},"l":[1,null]}"#,
            "\n"
        )
    );
    let chosen = json!({"columns": ["none", "u"], "omit_nulls": true, "layout": "array"});
    assert_eq!(write(chosen.clone(), rows.clone()), "[\n{\"u\":18446744073709551615}\n]\n");
    assert_eq!(write(chosen, rows.slice(0, 0)), "[]\n");
    assert_eq!(write(json!({}), rows.slice(0, 0)), "");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back_whole_however_the_pieces_are_cut(
        cells in proptest::collection::vec(proptest::option::of(any::<String>()), 0..20),
        cut in 1usize..40,
        array in any::<bool>(),
    ) {
        let column = Arc::new(cells.iter().map(Option::as_deref).collect::<StringArray>()) as ArrayRef;
        let config = json!({"columns": ["a\""], "types": {"a\"": "text"}, "layout": if array { "array" } else { "lines" }});
        let text = write(config.clone(), batch(vec![("a\"", column)]));
        let pieces: Vec<_> = text.as_bytes().chunks(cut).map(|piece| ("a", piece)).collect();
        let read = read(config, &pieces).unwrap();
        prop_assert_eq!(read.refused, vec![]);
        prop_assert_eq!(read.rows, cells.into_iter().map(|cell| vec![cell]).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_rows_and_dead_letters_that_do_not_depend_on_the_pieces(
        text in proptest::collection::vec(prop_oneof![
            Just(b"[".to_vec()), Just(b"]".to_vec()), Just(b",".to_vec()), Just(b"\n".to_vec()), Just(b"\"".to_vec()),
            Just(b"{\"a\":1}".to_vec()), Just(b"{".to_vec()), any::<u8>().prop_map(|byte| vec![byte])
        ], 0..40),
        cut in 1usize..20,
    ) {
        let text = text.concat();
        let config = json!({"columns": ["a"], "types": {"a": "text"}, "max_record": 200});
        let whole = read(config.clone(), &[("a", &text)]).unwrap();
        let pieces: Vec<_> = text.chunks(cut).map(|piece| ("a", piece)).collect();
        let cut = read(config, &pieces).unwrap();
        prop_assert_eq!(whole.rows, cut.rows);
        prop_assert_eq!(whole.refused, cut.refused);
    }
}
