//! Large files in pieces: where a format lets a file be cut, and what a source
//! then reads of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{Batches, Error, Result};

/// The key in the metadata of a stream of files under which its [`ByteRange`] stands, as JSON.
const RANGE: &str = "engine.range";

/// `plan`: what a split says that is one file, of which `read` can give a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuttable {
    /// The file's size.
    pub bytes: u64,
    /// About how many bytes a piece should have.
    pub every: u64,
}

/// A place at which a format can cut a file: a record begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many bytes at the file's beginning it takes to read any record: up to the end of a header.
    pub head: u64,
    /// The place, in bytes from the file's beginning. Behind `head`.
    pub at: u64,
    /// How many lines there are between `head` and `at`.
    pub lines: u64,
}

/// What `read` gives of a file: its first `head` bytes, then those from `from` up to, not including, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// How many bytes of the file's beginning.
    pub head: u64,
    /// The first byte of the range itself.
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
    /// How many lines are left out between `head` and `from`.
    pub lines: u64,
}

impl ByteRange {
    /// The range that a stream of files was opened for.
    pub fn of(schema: &Schema) -> Option<Self> {
        serde_json::from_str(schema.metadata().get(RANGE)?).ok()
    }

    /// The schema of a stream of files that has only this range.
    pub fn on(self, schema: &Schema) -> Result<SchemaRef> {
        let text = serde_json::to_string(&self)
            .map_err(|error| Error::internal(format!("a range cannot be written as JSON: {error}")))?;
        Ok(Arc::new(schema.clone().with_metadata(HashMap::from([(RANGE.to_owned(), text)]))))
    }
}

/// Cuts, in the order of the file.
pub type Cuts = Box<dyn Iterator<Item = Result<Cut>> + Send>;

const COLUMNS: [&str; 3] = ["head", "at", "lines"];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(COLUMNS.map(|name| Field::new(name, DataType::UInt64, false)).to_vec()))
}

/// Cuts as they cross the border.
pub fn to_batches(cuts: Cuts) -> Batches {
    let batch = |cut: Cut| {
        let column = |value: u64| Arc::new(UInt64Array::from(vec![value])) as ArrayRef;
        RecordBatch::try_new(schema(), [cut.head, cut.at, cut.lines].map(column).to_vec())
            .expect("three columns of one number each")
    };
    Batches::new(schema(), cuts.map(move |cut| cut.map(batch)))
}

/// Cuts that have crossed the border.
///
/// # Errors
/// `Internal` when the stream has other columns.
pub fn from_batches(batches: Batches) -> Result<Cuts> {
    if batches.schema().fields() != schema().fields() {
        return Err(Error::internal(
            "a stream of cuts has the columns `head`, `at` and `lines`, all UInt64 without nulls",
        ));
    }
    let cuts = |batch: RecordBatch| {
        let columns: [Vec<u64>; 3] =
            [0, 1, 2].map(|column| batch.column(column).as_primitive::<UInt64Type>().values().to_vec());
        (0..batch.num_rows()).map(move |row| Cut { head: columns[0][row], at: columns[1][row], lines: columns[2][row] })
    };
    let rows = batches.flat_map(move |batch| -> Cuts {
        match batch {
            Ok(batch) => Box::new(cuts(batch).map(Ok)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    Ok(Box::new(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cross_the_border_and_come_back() {
        let cuts = [Cut { head: 5, at: 100, lines: 7 }, Cut { head: 5, at: 230, lines: 19 }];
        let back = from_batches(to_batches(Box::new(cuts.into_iter().map(Ok)))).unwrap();
        assert_eq!(back.collect::<Result<Vec<_>>>().unwrap(), cuts);
        let failed = from_batches(to_batches(Box::new(std::iter::once(Err(Error::unavailable("gone")))))).unwrap();
        assert_eq!(failed.collect::<Result<Vec<_>>>().unwrap_err(), Error::unavailable("gone"));
        assert!(from_batches(Batches::new(Arc::new(Schema::empty()), std::iter::empty())).is_err());
    }

    #[test]
    fn a_stream_says_its_range() {
        let range = ByteRange { head: 5, from: 100, to: 230, lines: 7 };
        assert_eq!(ByteRange::of(&range.on(&schema()).unwrap()), Some(range));
        assert_eq!(ByteRange::of(&schema()), None);
    }
}
