//! Rows in chunks that depend on the rows alone, and not on how they came: so the
//! same rows become the same bytes.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, OffsetSizeTrait};
use arrow_buffer::OffsetBuffer;
use arrow_select::concat::concat_batches;
use engine_sdk::prelude::*;

/// How many rows a chunk has, at most.
pub const ROWS: usize = 4096;

/// How many bytes a chunk has, at most, if it has more than one row.
pub const BYTES: usize = 4 * 1024 * 1024;

/// A stream of rows, chunk by chunk.
pub struct Chunks {
    schema: SchemaRef,
    /// What came and is in no chunk yet.
    rest: Option<RecordBatch>,
    /// What the next chunk has so far.
    parts: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Chunks {
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, rest: None, parts: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Takes rows in, once [`Chunks::next`] has nothing more to give.
    pub fn add(&mut self, rows: RecordBatch) {
        self.rest = Some(rows);
    }

    /// A chunk, if one is complete; `at_end`, what is left.
    pub fn next(&mut self, at_end: bool) -> Result<Option<RecordBatch>> {
        if let Some(rest) = self.rest.take().filter(|rest| rest.num_rows() > 0) {
            let count = self.fitting(&rest);
            if count > 0 {
                let part = rest.slice(0, count);
                self.bytes += size(&part);
                self.rows += count;
                self.parts.push(part);
            }
            // As long as the next row could still fit, it is not, whichever batch that row comes in.
            let is_full = count < rest.num_rows() || self.rows == ROWS;
            self.rest = Some(rest.slice(count, rest.num_rows() - count));
            if is_full {
                return self.chunk().map(Some);
            }
        }
        if at_end && self.rows > 0 { self.chunk().map(Some) } else { Ok(None) }
    }

    /// How many of these rows the chunk still takes.
    fn fitting(&self, rows: &RecordBatch) -> usize {
        let most = rows.num_rows().min(ROWS - self.rows);
        let fits = |count: usize| self.bytes + size(&rows.slice(0, count)) <= BYTES;
        if fits(most) {
            return most;
        }
        // A row that is larger than a chunk is one by itself.
        let (mut low, mut high) = (usize::from(self.rows == 0), most);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }

    fn chunk(&mut self) -> Result<RecordBatch> {
        let parts = std::mem::take(&mut self.parts);
        (self.rows, self.bytes) = (0, 0);
        Ok(match parts.len() {
            1 => parts.into_iter().next().expect("it is one"),
            _ => concat_batches(&self.schema, &parts)?,
        })
    }
}

/// How large rows are, in bytes. What several rows have is the sum of what each of
/// them has by itself, however they are cut.
fn size(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(values).sum()
}

fn values(array: &ArrayRef) -> usize {
    let fixed = |width: usize| width.saturating_mul(array.len());
    match array.data_type() {
        DataType::Utf8 => range(array.as_string::<i32>().offsets()).1,
        DataType::Binary => range(array.as_binary::<i32>().offsets()).1,
        DataType::LargeUtf8 => range(array.as_string::<i64>().offsets()).1,
        DataType::LargeBinary => range(array.as_binary::<i64>().offsets()).1,
        DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(|length| length as usize).sum(),
        DataType::FixedSizeBinary(width) => fixed(usize::try_from(*width).unwrap_or(0)),
        DataType::Struct(_) => array.as_struct().columns().iter().map(values).sum(),
        DataType::List(_) => inside(array.as_list::<i32>().values(), range(array.as_list::<i32>().offsets())),
        DataType::LargeList(_) => inside(array.as_list::<i64>().values(), range(array.as_list::<i64>().offsets())),
        DataType::FixedSizeList(..) => values(array.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(array.as_map().entries().clone());
            inside(&entries, range(array.as_map().offsets()))
        }
        // Its values are there once, however many rows have them.
        DataType::Dictionary(..) => fixed(8),
        other => fixed(other.primitive_width().unwrap_or(1)),
    }
}

fn inside(items: &ArrayRef, (from, length): (usize, usize)) -> usize {
    values(&items.slice(from, length))
}

/// Where the first value begins, and how much there is of all of them.
fn range<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    (first, last - first)
}
