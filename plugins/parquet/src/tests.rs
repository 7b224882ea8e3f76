use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow_select::concat::concat_batches;
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::Parquet;

mod damaged;
mod types;

/// Writes batches, and checks that the file has one name and comes in pieces.
fn write_batches(config: Value, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<u8>> {
    let host = Host::new();
    let mut parquet = host.open::<Parquet>(config)?;
    let mut out = Vec::new();
    for piece in parquet.encode(Batches::new(schema, batches.into_iter().map(Ok)))? {
        for (name, data) in file_pieces(&piece?)? {
            assert_eq!(name, "");
            assert!(data.len() <= 512 * 1024);
            out.extend_from_slice(data);
        }
    }
    Ok(out)
}

fn write(config: Value, rows: &RecordBatch) -> Result<Vec<u8>> {
    write_batches(config, rows.schema(), vec![rows.clone()])
}

/// Reads pieces of files, and checks that every record is accounted for.
fn read_pieces(config: Value, pieces: &[(&str, &[u8])]) -> Result<RecordBatch> {
    let host = Host::new();
    let mut parquet = host.open::<Parquet>(config)?;
    let input: Vec<_> = pieces.iter().map(|(name, data)| Ok(file_piece(name, data))).collect();
    let batches = parquet.decode(Batches::new(files_schema(), input.into_iter()))?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    assert!(batches.iter().all(|batch| batch.schema() == schema && (1..=8192).contains(&batch.num_rows())));
    let rows = concat_batches(&schema, &batches)?;
    assert_eq!(host.records(), rows.num_rows() as u64, "every record is a row");
    assert_eq!(host.rejections(), []);
    Ok(rows)
}

fn read(file: &[u8]) -> Result<RecordBatch> {
    read_pieces(json!({}), &[("a.parquet", file)])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// Rows of the commonest types; every seventh has no text.
fn rows(first: i64, count: usize) -> RecordBatch {
    let numbers = || (first..).take(count);
    let scattered = |n: i64| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    batch(vec![
        ("n", Arc::new(Int64Array::from_iter_values(numbers()))),
        (
            "text",
            Arc::new(StringArray::from_iter(numbers().map(|n| (n % 7 != 0).then(|| format!("é {}", scattered(n)))))),
        ),
        ("amount", Arc::new(Float64Array::from_iter_values(numbers().map(|n| scattered(n) as f64 / 4.0)))),
        ("flag", Arc::new(BooleanArray::from_iter(numbers().map(|n| Some(n % 3 == 0))))),
    ])
}

#[test]
fn a_stream_without_rows_is_a_file_with_its_columns() {
    let empty = rows(0, 0);
    let file = write_batches(json!({}), empty.schema(), vec![]).unwrap();
    assert_eq!(read(&file).unwrap(), empty);
    assert_eq!(write(json!({}), &empty).unwrap(), file);
    assert!(read_pieces(json!({}), &[]).unwrap().schema().fields().is_empty());
}

#[test]
fn every_compression_comes_back() {
    let rows = rows(0, 20_000);
    let mut sizes = Vec::new();
    for config in [
        json!({"compression": "none"}),
        json!({"compression": "snappy"}),
        json!({"compression": "lz4"}),
        json!({"compression": "gzip", "level": 1}),
        json!({"compression": "zstd"}),
        json!({"compression": "zstd", "level": 19}),
    ] {
        let file = write(config, &rows).unwrap();
        assert!(read(&file).unwrap() == rows);
        sizes.push(file.len());
    }
    assert!(sizes[1..].iter().all(|size| *size < sizes[0]), "{sizes:?}");
    assert!(sizes[5] < sizes[4], "{sizes:?}");
}

#[test]
fn the_same_rows_are_the_same_bytes_however_they_come() {
    let large = batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..9_000))),
        ("text", Arc::new(StringArray::from_iter_values((0..9_000).map(|n| "x".repeat(n % 3_000))))),
    ]);
    // A row of as many bytes as a chunk has, between others that have none.
    let huge = |n: usize| if n == 1 { "x".repeat(crate::chunks::BYTES) } else { String::new() };
    let odd = batch(vec![("text", Arc::new(StringArray::from_iter_values((0..9_000).map(huge))))]);
    for rows in [rows(0, 9_000), large, odd] {
        let config = json!({"row_group": "64KiB"});
        let file = write(config.clone(), &rows).unwrap();
        for size in [1, 700, 4_097] {
            let parts = (0..rows.num_rows()).step_by(size).map(|at| rows.slice(at, size.min(rows.num_rows() - at)));
            assert!(write_batches(config.clone(), rows.schema(), parts.collect()).unwrap() == file, "{size}");
        }
        assert!(read(&file).unwrap() == rows);
    }
    let file = write(json!({}), &rows(0, 1)).unwrap();
    let made_by = format!("engine version {}", env!("CARGO_PKG_VERSION"));
    assert!(file.windows(made_by.len()).any(|part| part == made_by.as_bytes()));
}

#[test]
fn pieces_come_out_while_rows_go_in() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let input = (0..300).map(move |at| {
        counted.fetch_add(1_000, Ordering::SeqCst);
        Ok(rows(at * 1_000, 1_000))
    });
    let host = Host::new();
    let mut parquet = host.open::<Parquet>(json!({"row_group": "1MiB", "compression": "none"})).unwrap();
    let (mut given, mut rows_of_first, mut most_ahead) = (0, 0, 0);
    for piece in parquet.encode(Batches::new(rows(0, 0).schema(), input)).unwrap() {
        given += file_pieces(&piece.unwrap()).unwrap().map(|(_, data)| data.len()).sum::<usize>();
        let taken = taken.load(Ordering::SeqCst);
        rows_of_first = if rows_of_first == 0 { taken } else { rows_of_first };
        // A row has about 40 bytes here.
        most_ahead = most_ahead.max((taken * 40).saturating_sub(given));
    }
    assert!(given > 9_000_000, "{given}");
    assert!(rows_of_first < 40_000, "{rows_of_first}");
    assert!(most_ahead < 4 << 20, "{most_ahead}");
}

#[test]
fn groups_end_after_so_many_rows_too() {
    let rows = batch(vec![("n", Arc::new(Int32Array::from(vec![7; 1_200_000])))]);
    let file = bytes::Bytes::from(write(json!({}), &rows).unwrap());
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let groups: Vec<_> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [1_048_576, 151_424]);
}

#[test]
fn several_files_are_read_one_after_the_other_however_they_are_cut() {
    let (one, two) = (rows(0, 100), rows(100, 50));
    let (first, second) = (write(json!({}), &one).unwrap(), write(json!({"compression": "zstd"}), &two).unwrap());
    let expected = concat_batches(&one.schema(), [&one, &two]).unwrap();
    for size in [1, 7, 1_000, usize::MAX] {
        let mut pieces: Vec<_> = first.chunks(size).map(|piece| ("a", piece)).collect();
        pieces.push(("a", b""));
        pieces.extend(second.chunks(size).map(|piece| ("b", piece)));
        assert_eq!(read_pieces(json!({}), &pieces).unwrap(), expected);
    }
}

#[test]
fn files_of_a_run_have_the_same_columns() {
    let column = |name| (name, Arc::new(Int32Array::from(vec![1])) as ArrayRef);
    let text = ("b", Arc::new(StringArray::from(vec!["x"])) as ArrayRef);
    let write = |columns| write(json!({}), &batch(columns)).unwrap();
    let first = write(vec![column("a"), column("b")]);
    let wrong = |columns, with: &str| {
        let other = write(columns);
        let error = read_pieces(json!({}), &[("one", &first), ("two", &other)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert_eq!(error.message, format!("two has other columns than one: {with}"));
        other
    };
    wrong(vec![column("a")], "`b` is missing");
    let wider = wrong(vec![column("c"), column("b"), column("a")], "`c` is new");
    wrong(vec![column("a"), text], "`b` is of the type Utf8 instead of Int32");
    let swapped = write(vec![column("b"), column("a")]);
    assert_eq!(read_pieces(json!({}), &[("one", &first), ("two", &swapped)]).unwrap().num_rows(), 2);
    let some = read_pieces(json!({"columns": ["b", "a"]}), &[("one", &first), ("two", &wider)]).unwrap();
    assert_eq!((some.schema().field(0).name().as_str(), some.num_rows()), ("b", 2));
}

#[test]
fn a_file_whose_values_are_never_missing_goes_with_one_where_they_are() {
    let values = Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let file = |nullable| {
        let rows = RecordBatch::try_from_iter_with_nullable([("a", Arc::clone(&values), nullable)]).unwrap();
        write(json!({}), &rows).unwrap()
    };
    let rows = read_pieces(json!({}), &[("one", &file(false)), ("two", &file(true))]).unwrap();
    assert!(rows.schema().field(0).is_nullable());
}

#[test]
fn columns_are_chosen_and_ordered_in_both_directions() {
    let all = rows(0, 10);
    let config = json!({"columns": ["flag", "n"]});
    let some = all.project(&[3, 0]).unwrap();
    assert_eq!(read(&write(config.clone(), &all).unwrap()).unwrap(), some);
    assert_eq!(read_pieces(config, &[("a", &write(json!({}), &all).unwrap())]).unwrap(), some);
    let wrong = json!({"columns": ["nn"]});
    let error = write(wrong.clone(), &all).unwrap_err();
    assert_eq!(error.hint.unwrap(), "the columns are: n, text, amount, flag");
    let error = read_pieces(wrong, &[("a", &write(json!({}), &all).unwrap())]).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "a has no column `nn`"));
}

#[test]
fn batches_have_fewer_rows_where_these_are_large() {
    // The file has the text once, in its dictionary, and is small.
    let large = batch(vec![("text", Arc::new(StringArray::from(vec!["x".repeat(1_000_000); 40])))]);
    let file = write(json!({}), &large).unwrap();
    assert!(file.len() < 1 << 20);
    let host = Host::new();
    let mut parquet = host.open::<Parquet>(json!({})).unwrap();
    let batches = parquet.decode(Batches::once(file_piece("a", &file))).unwrap();
    let counts: Vec<_> = batches.map(|batch| batch.unwrap().num_rows()).collect();
    assert!(counts.iter().all(|count| *count <= 8), "{counts:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (config, part) in [
        (json!({"columns": ["a", "a"]}), "`a` again"),
        (json!({"level": 3}), "only `zstd` and `gzip`"),
        (json!({"compression": "gzip", "level": 10}), "gzip has 1 to 9"),
        (json!({"compression": "zstd", "level": 20}), "zstd has 1 to 19"),
        (json!({"row_group": "1KiB"}), "64KiB to 1GiB"),
    ] {
        let error = write(config, &rows(0, 1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(part), "{}", error.message);
    }
    let twice = batch(vec![("a", rows(0, 1).column(0).clone()), ("a", rows(0, 1).column(0).clone())]);
    assert!(write(json!({}), &twice).unwrap_err().message.contains("two columns are named `a`"));
    let none = Schema::empty();
    assert_eq!(write_batches(json!({}), Arc::new(none), vec![]).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn it_stops_when_it_is_asked_to() {
    let host = Host::new();
    let mut parquet = host.open::<Parquet>(json!({})).unwrap();
    let file = write(json!({}), &rows(0, 20_000)).unwrap();
    let mut reading = parquet.decode(Batches::once(file_piece("a", &file))).unwrap();
    reading.next().unwrap().unwrap();
    let mut writing = parquet.encode(Batches::once(rows(0, 1))).unwrap();
    host.cancel();
    assert_eq!(reading.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(writing.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    drop((reading, writing));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, rng_seed: RngSeed::Fixed(59), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_and_numbers_come_back_whole(
        cells in proptest::collection::vec((proptest::option::of(any::<String>()), proptest::option::of(any::<i64>())), 0..300),
        cut in 1usize..100,
        piece in 1usize..500,
    ) {
        let texts = cells.iter().map(|(text, _)| text.as_deref()).collect::<StringArray>();
        let numbers = cells.iter().map(|(_, number)| *number).collect::<Int64Array>();
        let rows = batch(vec![("a\"é.", Arc::new(texts)), ("", Arc::new(numbers))]);
        let parts = (0..rows.num_rows()).step_by(cut).map(|at| rows.slice(at, cut.min(rows.num_rows() - at)));
        let file = write_batches(json!({}), rows.schema(), parts.collect()).unwrap();
        let pieces: Vec<_> = file.chunks(piece).map(|piece| ("a", piece)).collect();
        prop_assert_eq!(read_pieces(json!({}), &pieces).unwrap(), rows);
    }
}
