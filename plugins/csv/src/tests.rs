use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, Float64Array, Int32Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::i256;
use engine_sdk::prelude::*;
use engine_sdk::testing::{Host, Rejected};
use engine_sdk::{file_piece, file_pieces, files_schema};
use proptest::prelude::*;

use crate::Csv;

fn files(pieces: &[(&str, &[u8])]) -> Batches {
    let batches: Vec<_> = pieces.iter().map(|(name, data)| Ok(file_piece(name, data))).collect();
    Batches::new(files_schema(), batches.into_iter())
}

struct Read {
    schema: SchemaRef,
    rows: Vec<Vec<Option<String>>>,
    refused: Vec<Rejected>,
}

/// Decodes and checks that every record is accounted for.
fn read(config: serde_json::Value, pieces: &[(&str, &[u8])]) -> Result<Read> {
    let host = Host::new();
    let mut csv = host.open::<Csv>(config)?;
    let batches = csv.decode(files(pieces))?;
    let schema = batches.schema();
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch?;
        let columns: Vec<_> =
            batch.columns().iter().map(|column| engine_sdk::columns::Cells::new(column).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cell = |cells: &engine_sdk::columns::Cells| {
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

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

fn write(config: serde_json::Value, batch: RecordBatch) -> String {
    let host = Host::new();
    let mut csv = host.open::<Csv>(config).unwrap();
    let mut out = Vec::new();
    for piece in csv.encode(Batches::once(batch)).unwrap() {
        for (name, data) in file_pieces(&piece.unwrap()).unwrap() {
            assert_eq!(name, "");
            out.extend_from_slice(data);
        }
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn nothing_is_guessed_so_leading_zeros_survive() {
    let read = read(json!({}), &[("a", b"number,code\r\n0223007051,007\r\n")]).unwrap();
    assert_eq!(names(&read.schema), ["number", "code"]);
    assert_eq!(read.rows, [row(&["0223007051", "007"])]);
}

#[test]
fn a_missing_value_is_not_an_empty_text() {
    let read = read(json!({"types": {"n": "integer"}}), &[("a", b"t,u,n\n,\"\",\n\"\",x,\"\"\n")]).unwrap();
    assert_eq!(read.rows, [row(&["∅", "", "∅"]), row(&["", "x", "∅"])]);
}

#[test]
fn quotes_hold_delimiters_line_ends_and_quotes() {
    let read = read(json!({}), &[("a", b"a,b\n\"1,\n2\",\"say \"\"hi\"\"\"\nx\"y,z\n")]).unwrap();
    assert_eq!(read.rows, [row(&["1,\n2", "say \"hi\""]), row(&["x\"y", "z"])]);
    assert!(read.refused.is_empty());
}

#[test]
fn other_dialects_are_read() {
    let config = json!({"delimiter": ";", "quote": "'", "escape": "\\", "comment": "#", "trim": true, "skip_rows": 1, "nulls": ["NULL", "-"]});
    let text = b"\xEF\xBB\xBFexport of today\n# a comment\n a ; b ;c\n 1 ; 'it\\'s; ' ; NULL\n-;'-';\n";
    let read = read(config, &[("a", text)]).unwrap();
    assert_eq!(names(&read.schema), ["a", "b", "c"]);
    assert_eq!(read.rows, [row(&["1", "it's; ", "∅"]), row(&["∅", "-", ""])]);
}

#[test]
fn typed_columns_are_exact() {
    let types = json!({"i": "integer", "d": "decimal(10,2)", "t": "timestamp", "b": "boolean"});
    let text = b"i,d,t,b\n9007199254740993,12.30,2025-09-17T15:44:08,yes\n";
    let host = Host::new();
    let mut csv = host.open::<Csv>(json!({"types": types})).unwrap();
    let batch = csv.decode(files(&[("a", text)])).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(0), 1230);
    assert_eq!(batch.column(2).as_primitive::<TimestampMicrosecondType>().value(0), 1_758_123_848_000_000);
    assert!(batch.column(3).as_boolean().value(0));
}

#[test]
fn a_record_that_cannot_be_read_costs_none_of_its_neighbours() {
    let text = b"n,t\n1,a\nx,b\n2\n3,c,d\n4,\xFF\n5,\"a\"b\n6,\"two\nlines\"\n7,z\n\n8,\"open\n9,x\n";
    let read = read(json!({"types": {"n": "integer"}}), &[("in.csv", text)]).unwrap();
    assert_eq!(read.rows, [row(&["1", "a"]), row(&["6", "two\nlines"]), row(&["7", "z"])]);
    let refused: Vec<_> = read.refused.iter().map(|refused| (refused.code.as_str(), refused.reason.as_str())).collect();
    assert_eq!(
        refused,
        [
            ("bad_integer", "line 3: n: \"x\" is not a whole number of 64 bits"),
            ("field_count", "line 4: 1 fields instead of 2"),
            ("field_count", "line 5: 3 fields instead of 2"),
            ("not_utf8", "line 6: byte 3 of the record is not UTF-8"),
            ("bad_quote", "line 7: something stands between a closing quote and the next delimiter"),
            ("unterminated_quote", "line 12: the file ends inside a quoted field"),
        ]
    );
    assert_eq!(read.refused[3].data, b"n,t\n4,\xFF");
    assert_eq!(read.refused[5].data, b"n,t\n8,\"open\n9,x\n");
    assert!(read.refused.iter().all(|refused| refused.name == "in.csv"));
}

#[test]
fn a_refused_record_can_be_read_alone() {
    for (config, text) in [(json!({}), "n,t\n1,a\nx,b\n"), (json!({"skip_rows": 2}), "made by\nhand\nn,t\n1,a\nx,b\n")]
    {
        let mut typed = config.clone();
        typed["types"] = json!({"n": "integer"});
        let refused = read(typed, &[("in.csv", text.as_bytes())]).unwrap().refused;
        let alone = read(config, &[("letter", &refused[0].data)]).unwrap();
        assert_eq!((names(&alone.schema), alone.rows), (vec!["n", "t"], vec![row(&["x", "b"])]));
    }
}

#[test]
fn a_record_that_is_too_long_is_cut_and_the_next_one_is_read() {
    let mut text = b"a,b\n1,\"".to_vec();
    text.extend(std::iter::repeat_n(b"y,\n\"\"", 100).flatten());
    text.extend_from_slice(b"\"\n2,x\n");
    let pieces: Vec<_> = text.chunks(7).map(|piece| ("a", piece)).collect();
    let cut = read(json!({"max_record": 20}), &pieces).unwrap();
    let whole = read(json!({"max_record": 20}), &[("a", &text)]).unwrap();
    for read in [cut, whole] {
        assert_eq!(read.rows, [row(&["2", "x"])]);
        assert_eq!((read.refused[0].code.as_str(), read.refused[0].data.len()), ("too_long", 24));
        assert!(read.refused[0].reason.starts_with("line 2:"));
    }
}

#[test]
fn where_pieces_end_does_not_make_a_record_too_long() {
    for size in 1..9 {
        let pieces = |text: &'static [u8]| text.chunks(size).map(|piece| ("a", piece)).collect::<Vec<_>>();
        // Of a record with five bytes, whose line end has two.
        let fits = read(json!({"max_record": 5}), &pieces(b"x,y\n12,45\r\n1,2\r\n")).unwrap();
        assert_eq!((fits.rows.len(), fits.refused.len()), (2, 0), "{size}");
        // A comment is none, and the record behind it is read.
        let config = json!({"max_record": 5, "comment": "#"});
        let comment = read(config, &pieces(b"x,y\n# a long comment\n1,2\n")).unwrap();
        assert_eq!((comment.rows, comment.refused.len()), (vec![row(&["1", "2"])], 0), "{size}");
    }
}

#[test]
fn a_refused_record_is_read_alone_as_it_was_in_its_file() {
    for config in [
        json!({"types": {"n": "integer"}}),
        json!({"header": false, "columns": ["n", "t"], "skip_rows": 2, "types": {"n": "integer"}}),
    ] {
        let text = b"n,t\nskipped,\n1,a\n\"x\n\",b\n";
        let refused = read(config.clone(), &[("a", text)]).unwrap().refused.pop().unwrap();
        let again = read(config, &[("a", &refused.data)]).unwrap();
        let of = |refused: &Rejected| (refused.code.clone(), refused.data.clone());
        assert_eq!((again.rows.len(), again.refused.iter().map(of).collect::<Vec<_>>()), (0, vec![of(&refused)]));
    }
}

#[test]
fn every_file_of_a_stream_repeats_the_header() {
    let same = read(json!({}), &[("a", b"x,y\n1,2"), ("b", b"x,y\n3,4\n"), ("c", b"")]).unwrap();
    assert_eq!(same.rows, [row(&["1", "2"]), row(&["3", "4"])]);
    let error = read(json!({}), &[("a", b"x,y\n"), ("b", b"x,z\n1,2\n")]).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    assert_eq!(error.message, "b has the columns x, z, but a has x, y");
}

#[test]
fn columns_can_be_named_by_the_pipeline() {
    let renamed = read(json!({"columns": ["p", "q"]}), &[("a", b"x,y\n1,2\n")]).unwrap();
    assert_eq!((names(&renamed.schema), renamed.rows), (vec!["p", "q"], vec![row(&["1", "2"])]));
    let numbered = read(json!({"header": false}), &[("a", b"1,2\n3,4\n")]).unwrap();
    assert_eq!(names(&numbered.schema), ["column_1", "column_2"]);
    assert_eq!(numbered.rows.len(), 2);
    let wrong = |config, text: &[u8]| read(config, &[("a", text)]).err().unwrap().message;
    assert!(wrong(json!({"columns": ["p"]}), b"x,y\n").contains("has 2 columns, but `columns` names 1"));
    assert!(wrong(json!({"types": {"z": "date"}}), b"x,y\n").contains("`types` names `z`"));
    assert!(wrong(json!({}), b"x,x\n").contains("two columns are named `x`"));
}

#[test]
fn no_file_and_an_empty_file_have_no_rows() {
    assert!(read(json!({}), &[]).unwrap().rows.is_empty());
    assert!(read(json!({}), &[("a", b"")]).unwrap().rows.is_empty());
    assert_eq!(names(&read(json!({"columns": ["x"]}), &[]).unwrap().schema), ["x"]);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let wrong = |config| Host::new().open::<Csv>(config).err().unwrap();
    assert!(wrong(json!({"delimiter": "||"})).message.contains("one printable ASCII character"));
    assert!(wrong(json!({"delimiter": "\""})).message.contains("share a character"));
    assert!(wrong(json!({"nulls": ["a,b"]})).message.contains("without quotes"));
    assert_eq!(wrong(json!({"max_record": 0})).kind, ErrorKind::Config);
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

#[test]
fn values_are_written_as_documented() {
    let rows = batch(vec![
        ("i", Arc::new(Int32Array::from(vec![Some(-1), None]))),
        ("f", Arc::new(Float64Array::from(vec![0.1, 1e21]))),
        ("d", Arc::new(Decimal128Array::from(vec![1230, -5]).with_precision_and_scale(9, 2).unwrap())),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_758_123_848_000_000, 1]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("x", Arc::new(BinaryArray::from(vec![b"foo".as_slice(), b""]))),
        ("s", Arc::new(StringArray::from(vec![Some("a,\"b\""), Some("")]))),
    ]);
    assert_eq!(
        write(json!({}), rows),
        "i,f,d,t,b,x,s\n\
         -1,0.1,12.30,2025-09-17 15:44:08,true,Zm9v,\"a,\"\"b\"\"\"\n\
         ,1e21,-0.05,1970-01-01 00:00:00.000001,false,,\"\"\n"
    );
}

#[test]
fn the_style_of_the_file_can_be_chosen() {
    let long = Decimal256Array::from(vec![Some(i256::MINUS_ONE), None]).with_precision_and_scale(76, 2).unwrap();
    let rows = || {
        batch(vec![
            ("a", Arc::new(StringArray::from(vec![Some("=1+1"), None])) as ArrayRef),
            ("b", Arc::new(Int32Array::from(vec![-5, 6]))),
            ("c", Arc::new(long.clone())),
        ])
    };
    assert_eq!(write(json!({"guard_formulas": true}), rows()), "a,b,c\n'=1+1,-5,-0.01\n,6,\n");
    assert_eq!(
        write(json!({"header": false, "line_ending": "crlf", "delimiter": "\t"}), rows()),
        "=1+1\t-5\t-0.01\r\n\t6\t\r\n"
    );
    assert_eq!(
        write(json!({"quoting": "always", "nulls": ["NULL"]}), rows()),
        "\"a\",\"b\",\"c\"\n\"=1+1\",\"-5\",\"-0.01\"\nNULL,\"6\",NULL\n"
    );
    assert_eq!(write(json!({"columns": ["b"]}), rows()), "b\n-5\n6\n");
    assert_eq!(write(json!({"delimiter": "-"}), rows()), "a-b-c\n=1+1-\"-5\"-\"-0.01\"\n-6-\n");
}

#[test]
fn what_asks_for_quotes_is_found_wherever_it_stands_in_a_column() {
    let one = |config: serde_json::Value, texts: &[&str]| {
        let rows = batch(vec![("a", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef)]);
        write(config, rows).split_once('\n').unwrap().1.to_owned()
    };
    // Behind more texts than are looked at together.
    let mut texts = vec!["plain"; 50];
    for (special, written) in
        [("a,b", "\"a,b\"\n"), (" b", "\" b\"\n"), ("\u{feff}b", "\"\u{feff}b\"\n"), ("é", "é\n"), ("#b", "\"#b\"\n")]
    {
        texts.push(special);
        let expected = "plain\n".repeat(50) + written;
        assert_eq!(one(json!({"comment": "#"}), &texts), expected);
        texts.pop();
    }
    // The apostrophe is part of the text once it has been put there.
    assert_eq!(one(json!({"guard_formulas": true, "quote": "'"}), &["=1"]), "'''=1'\n");
    assert_eq!(one(json!({"nulls": ["NULL"]}), &["NULL", "NULLS"]), "\"NULL\"\nNULLS\n");
    // Parts of a column are columns.
    let rows = batch(vec![("a", Arc::new(StringArray::from(vec!["a,b", "c", "d,e"])) as ArrayRef)]);
    assert_eq!(write(json!({}), rows.slice(1, 1)), "a\nc\n");
    assert_eq!(write(json!({}), rows.slice(1, 2)), "a\nc\n\"d,e\"\n");
}

#[test]
fn a_stream_without_rows_is_a_header_alone() {
    let rows = batch(vec![("a", Arc::new(StringArray::from(vec![""])) as ArrayRef)]);
    assert_eq!(write(json!({}), rows.slice(0, 0)), "a\n");
    assert_eq!(write(json!({"header": false}), rows.slice(0, 0)), "");
}

#[test]
fn a_million_rows_come_in_pieces_of_bounded_size() {
    let rows = batch(vec![("a", Arc::new(StringArray::from(vec!["0123456789"; 8192])) as ArrayRef)]);
    let schema = rows.schema();
    let host = Host::new();
    let mut csv = host.open::<Csv>(json!({})).unwrap();
    let input = Batches::new(schema, (0..123).map(move |_| Ok(rows.clone())));
    let mut bytes = 0;
    for piece in csv.encode(input).unwrap() {
        let piece = piece.unwrap();
        let length = file_pieces(&piece).unwrap().map(|(_, data)| data.len()).sum::<usize>();
        assert!(length <= 1024 * 1024, "{length}");
        bytes += length;
    }
    assert_eq!(bytes, 2 + 123 * 8192 * 11);
}

type Three = (Option<String>, Option<String>, Option<String>);

fn cell() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        2 => Just(Some(String::new())),
        6 => proptest::collection::vec(
            prop_oneof![Just(','), Just('"'), Just('\n'), Just('\r'), Just(' '), Just('\\'), Just('#'), any::<char>()],
            0..12
        ).prop_map(|characters| Some(characters.into_iter().collect())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back_whole_however_the_pieces_are_cut(
        cells in proptest::collection::vec((cell(), cell(), cell()), 0..20),
        cut in 1usize..40,
        escape in any::<bool>(),
        crlf in any::<bool>(),
        trim in any::<bool>(),
    ) {
        let column = |of: fn(&Three) -> &Option<String>| {
            Arc::new(cells.iter().map(|row| of(row).as_deref()).collect::<StringArray>()) as ArrayRef
        };
        let rows = batch(vec![("a", column(|row| &row.0)), ("b,\"", column(|row| &row.1)), ("c", column(|row| &row.2))]);
        let mut config = json!({"comment": "#", "trim": trim, "line_ending": if crlf { "crlf" } else { "lf" }});
        if escape {
            config["escape"] = "\\".into();
        }
        let text = write(config.clone(), rows);
        let pieces: Vec<_> = text.as_bytes().chunks(cut).map(|piece| ("a", piece)).collect();
        let read = read(config, &pieces).unwrap();
        prop_assert_eq!(read.refused, vec![]);
        prop_assert_eq!(names(&read.schema), ["a", "b,\"", "c"]);
        let expected: Vec<_> = cells.into_iter().map(|(a, b, c)| vec![a, b, c]).collect();
        prop_assert_eq!(read.rows, expected);
    }

    #[test]
    fn any_bytes_are_rows_and_dead_letters_that_do_not_depend_on_the_pieces(
        text in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..200),
        cut in 1usize..20,
    ) {
        let config = json!({"columns": ["a", "b"], "header": false, "max_record": 64});
        let whole = read(config.clone(), &[("a", &text)]).unwrap();
        let pieces: Vec<_> = text.chunks(cut).map(|piece| ("a", piece)).collect();
        let cut = read(config, &pieces).unwrap();
        prop_assert_eq!(whole.rows, cut.rows);
        prop_assert_eq!(whole.refused, cut.refused);
    }
}
