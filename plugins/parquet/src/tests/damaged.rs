use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use engine_sdk::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{batch, read, read_pieces, rows, write};

/// A small file with everything in it that can be damaged: two groups, dictionaries,
/// nulls, lists and statistics.
fn sample(compression: &str) -> Vec<u8> {
    let rows = rows(0, 40);
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|n| ["one", "two"][n % 2])));
    let mut lists = arrow_array::builder::ListBuilder::new(arrow_array::builder::Int64Builder::new());
    (0..40).for_each(|n| lists.append_value((0..n % 3).map(Some)));
    let columns = rows.columns().iter().cloned().chain([words, Arc::new(lists.finish()) as ArrayRef]);
    let columns: Vec<_> = ["n", "text", "amount", "flag", "word", "list"].into_iter().zip(columns).collect();
    write(json!({"compression": compression}), &batch(columns)).unwrap()
}

/// Reads bytes that may be anything: rows, or an error that names the file.
fn try_to_read(bytes: &[u8]) {
    if let Err(error) = read(bytes) {
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(error.message.starts_with("a.parquet "), "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
}

/// A file that ends with this description.
fn described(description: &[u8]) -> Vec<u8> {
    let length = (description.len() as u32).to_le_bytes();
    [b"PAR1", description, &length, b"PAR1"].concat()
}

#[test]
fn files_of_another_kind_are_named_with_how_they_begin() {
    let error = |bytes: &[u8]| read_pieces(json!({}), &[("in/x.parquet", bytes)]).unwrap_err();
    let csv = error(b"id,name\n1,x\n");
    assert_eq!(csv.kind, ErrorKind::Config);
    assert_eq!(csv.message, "in/x.parquet is no Parquet file: it begins with 69 64 2c 6e");
    assert_eq!(error(b"").message, "in/x.parquet is no Parquet file: it is empty");
    assert_eq!(error(b"PAR1").message, "in/x.parquet is no Parquet file: it is cut short");
    assert!(error(&[b"PAR1".as_slice(), &[0; 8], b"PARE"].concat()).message.contains("encrypted"));
    assert!(error(&described(&[0x15, 0x04])).message.starts_with("in/x.parquet cannot be read: "));
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_an_error() {
    let file = sample("snappy");
    for length in 0..file.len() {
        let error = read(&file[..length]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{length}: {error}");
    }
}

#[test]
fn a_file_that_is_changed_anywhere_gives_rows_or_an_error() {
    for compression in ["none", "snappy", "zstd"] {
        let file = sample(compression);
        for at in 0..file.len() {
            for change in [1 << (at % 8), 0xFF] {
                let mut changed = file.clone();
                changed[at] ^= change;
                try_to_read(&changed);
            }
        }
    }
}

/// A member of a struct, in Thrift's compact protocol: how much its number is higher, its kind.
fn member(step: u8, kind: u8) -> u8 {
    step << 4 | kind
}

fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7F {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn list(count: u64) -> Vec<u8> {
    [vec![0xFC], number(count)].concat()
}

/// A group of columns with so many inside: repetition, name and their number.
fn group(children: u64) -> Vec<u8> {
    [vec![member(3, 5), 0, member(1, 8), 1, b'g', member(1, 5)], number(children * 2), vec![0]].concat()
}

#[test]
fn columns_that_are_nested_without_end_are_refused() {
    let depth = 100_000;
    let schema = [list(depth + 1), group(1).repeat(depth as usize)].concat();
    // The innermost is a column of numbers.
    let column = [member(1, 5), 2, member(2, 5), 0, member(1, 8), 1, b'c', 0];
    let description = [&[member(1, 5), 4, member(1, 9)], schema.as_slice(), &column, &[0]].concat();
    let error = read(&described(&description)).unwrap_err();
    assert_eq!(error.message, "a.parquet cannot be read: its columns are nested more than 64 deep");
}

#[test]
fn a_file_without_columns_is_refused() {
    let schema = [member(1, 5), 4, member(1, 9), 0x1C, member(4, 8), 1, b'g', 0];
    let description = [schema.as_slice(), &[member(1, 6), 0, member(1, 9), 0x0C, 0]].concat();
    assert_eq!(read(&described(&description)).unwrap_err().message, "a.parquet cannot be read: it has no columns");
}

#[test]
fn more_groups_of_rows_than_there_can_be_are_refused_before_memory_is_taken() {
    let schema = [list(2), group(1), vec![member(1, 5), 2, member(2, 5), 0, member(1, 8), 1, b'c', 0]].concat();
    for count in [40_000u64, u64::from(u32::MAX) / 2] {
        let groups = [vec![member(1, 6), 0, member(1, 9)], list(count), vec![0; 50_000]].concat();
        let description = [&[member(1, 5), 4, member(1, 9)], schema.as_slice(), &groups].concat();
        let error = read(&described(&description)).unwrap_err();
        let expected = if count == 40_000 { "more than 32767 groups of rows" } else { "is damaged" };
        assert!(error.message.contains(expected), "{error}");
    }
}

#[test]
fn a_dictionary_that_says_it_is_endless_is_refused_before_memory_is_taken() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1_000).map(|n| n % 3)));
    let file = write(json!({"compression": "none"}), &batch(vec![("n", numbers)])).unwrap();
    // The first page is the dictionary, of three values in 24 bytes: kind, sizes, and what it holds.
    let head = [member(1, 5), 4, member(1, 5), 48, member(1, 5), 48, member(4, 12), member(1, 5), 6];
    assert_eq!(file[4..13], head);
    for (place, expected) in [(12, "what it says of the column `n` is damaged"), (7, "the column `n` has a page of")] {
        let mut hostile = file.clone();
        // 2,147,483,647. What follows is no page any more; it is not reached.
        hostile[place..place + 5].copy_from_slice(&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]);
        let error = read(&hostile).unwrap_err();
        assert!(error.message.starts_with(&format!("a.parquet cannot be read: {expected}")), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256, rng_seed: RngSeed::Fixed(60), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn changes_in_many_places_do_no_harm(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        compression in prop_oneof![Just("none"), Just("snappy"), Just("gzip"), Just("lz4"), Just("zstd")],
        at_the_end in any::<bool>(),
    ) {
        let mut file = sample(compression);
        let from = if at_the_end { file.len() / 2 } else { 0 };
        for (index, byte) in changes {
            let place = from + index.index(file.len() - from);
            file[place] = byte;
        }
        try_to_read(&file);
    }

    #[test]
    fn any_description_does_no_harm(
        description in proptest::collection::vec(prop_oneof![
            Just(vec![member(1, 5), 4]), Just(vec![member(1, 9), 0x2C]), Just(group(1)), Just(vec![0]),
            Just(vec![member(1, 5), 2, member(2, 5), 0, member(1, 8), 1, b'c', 0]), Just(vec![member(1, 6), 20]),
            Just(list(3)), any::<u8>().prop_map(|byte| vec![byte]),
        ], 0..60),
    ) {
        try_to_read(&described(&description.concat()));
    }
}
