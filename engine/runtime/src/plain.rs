//! Files on their way to a decoder without a compression in front of it.

use arrow_array::cast::AsArray;
use arrow_array::{BinaryArray, RecordBatch, StringArray};
use engine_abi::stream::Batches;
use engine_abi::{ByteRange, Error, Result};

/// How compressed files begin, and what reads them.
const COMPRESSED: [(&str, &[u8]); 2] = [("gzip", &[0x1F, 0x8B, 0x08]), ("zstd", &[0x28, 0xB5, 0x2F, 0xFD])];

/// Refuses files that are plainly compressed: a decoder would make dead letters
/// of every piece that looks like a record.
pub(crate) fn plain(files: Batches) -> Batches {
    let schema = files.schema();
    // What begins in the middle of a file is a record, whatever it begins with.
    if ByteRange::of(&schema).is_some_and(|range| range.head == 0 && range.from > 0) {
        return files;
    }
    let mut last = None;
    Batches::new(schema, files.map(move |item| item.and_then(|batch| look(batch, &mut last))))
}

/// Looks at the first piece of each file; `last` is the name of the present one.
fn look(batch: RecordBatch, last: &mut Option<String>) -> Result<RecordBatch> {
    let columns: Option<(&StringArray, &BinaryArray)> = match batch.columns() {
        [names, data] => names.as_string_opt().zip(data.as_binary_opt()),
        _ => None,
    };
    let pieces = columns.into_iter().flat_map(|(names, data)| names.iter().zip(data));
    for (name, data) in pieces.filter_map(|(name, data)| name.zip(data)) {
        if last.as_deref() == Some(name) {
            continue;
        }
        if let Some((compression, _)) = COMPRESSED.iter().find(|(_, magic)| data.starts_with(magic)) {
            let what = format!("{name} begins as {compression} files do, and the source has no `compression`");
            return Err(Error::config(what).hint(format!("add `compression: {compression}` to the source")));
        }
        *last = Some(name.to_owned());
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::upstream::files;

    fn checked(pieces: &[(&str, &[u8])]) -> Result<usize> {
        let mut batch = files::Pieces::default();
        pieces.iter().for_each(|(name, data)| batch.push(name, data));
        plain(Batches::once(batch.finish())).map(|batch| batch.map(|batch| batch.num_rows())).sum()
    }

    #[test]
    fn a_record_in_the_middle_of_a_file_may_begin_with_anything() {
        let mut batch = files::Pieces::default();
        batch.push("a", b"\x1f\x8b\x08,1\n");
        let batch = batch.finish();
        let of = |range: ByteRange| {
            let schema = range.on(&batch.schema()).unwrap();
            let batch = batch.clone().with_schema(Arc::clone(&schema)).unwrap();
            plain(Batches::new(schema, std::iter::once(Ok(batch))))
                .map(|batch| batch.map(|batch| batch.num_rows()))
                .sum()
        };
        let range = ByteRange { head: 0, from: 40, to: 50, lines: 3 };
        assert_eq!(of(range), Ok(1));
        let from_the_beginning: Result<usize> = of(ByteRange { from: 0, ..range });
        assert_eq!(from_the_beginning.unwrap_err().kind, engine_abi::ErrorKind::Config);
    }

    #[test]
    fn compressed_files_are_refused_by_their_first_piece_alone() {
        assert_eq!(checked(&[("a", b"n\n1\n"), ("a", b"\x1f\x8b\x08"), ("b", b"")]), Ok(3));
        for (compression, first) in [("gzip", b"\x1f\x8b\x08\0".as_slice()), ("zstd", b"\x28\xb5\x2f\xfd\x04")] {
            let error = checked(&[("a", b"n\n"), ("b", first)]).unwrap_err();
            assert_eq!(error.kind, engine_abi::ErrorKind::Config);
            assert!(error.message.starts_with("b begins as "), "{error}");
            assert_eq!(error.hint, Some(format!("add `compression: {compression}` to the source")));
        }
    }
}
