//! What a step keeps in memory, counted.

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, UInt64Array};
use arrow_select::take::take;
use engine_sdk::prelude::*;

/// How many bytes a step may keep, where it names no other number.
pub fn default_memory() -> ByteSize {
    ByteSize(64 << 20)
}

/// Bytes that a step keeps, and the most that it may.
pub struct Budget {
    limit: ByteSize,
    used: usize,
    hint: &'static str,
}

impl Budget {
    /// Nothing kept so far. `hint` says what to do where it is not enough.
    pub fn new(limit: ByteSize, hint: &'static str) -> Self {
        Self { limit, used: 0, hint }
    }

    /// Counts bytes as kept.
    pub fn add(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    /// Counts bytes as no longer kept.
    pub fn remove(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Whether more is kept than may be.
    pub fn is_exceeded(&self) -> bool {
        self.used > self.limit.as_usize()
    }

    /// Fails where more is kept than may be.
    pub fn require(&self) -> Result<()> {
        if !self.is_exceeded() {
            return Ok(());
        }
        let limit = serde_json::to_string(&self.limit).unwrap_or_default();
        Err(Error::config(format!("more has to be kept in memory than `memory` allows ({})", limit.trim_matches('"')))
            .hint(self.hint))
    }
}

/// A batch that keeps no more memory than its own rows need, and how much that is. Of a small part of large arrays
/// the values are copied, so that the arrays can go.
pub fn compact(batch: &RecordBatch) -> Result<(RecordBatch, usize)> {
    let columns = batch.columns().iter().map(compact_column).collect::<Result<Vec<_>>>()?;
    let count = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(batch.schema(), columns, &count)?;
    let bytes = batch.get_array_memory_size();
    Ok((batch, bytes))
}

fn compact_column(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8View => std::sync::Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => std::sync::Arc::new(column.as_binary_view().gc()),
        _ => {
            // Bytes of an array of a few rows are not worth it.
            let needed = column.to_data().get_slice_memory_size()?.saturating_mul(2).saturating_add(4096);
            if column.get_array_memory_size() <= needed {
                return Ok(ArrayRef::clone(column));
            }
            take(column, &UInt64Array::from_iter_values(0..column.len() as u64), None)?
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn a_part_of_a_large_batch_is_copied_and_lets_it_go() {
        let texts: Vec<_> = (0..100_000).map(|n| format!("the text of the row {n}")).collect();
        let large = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter_values(0..100_000)) as ArrayRef),
            ("text", Arc::new(StringArray::from(texts.clone())) as _),
            ("view", Arc::new(StringViewArray::from_iter_values(texts)) as _),
        ])
        .unwrap();
        let part = large.slice(50_000, 10);
        assert!(part.get_array_memory_size() > 1 << 20);
        let (copied, bytes) = compact(&part).unwrap();
        assert_eq!(copied, part);
        assert!(bytes < 8192 && bytes >= copied.get_array_memory_size(), "{bytes}");
        let (same, _) = compact(&large).unwrap();
        assert_eq!(same.column(0).to_data().buffers()[0].as_ptr(), large.column(0).to_data().buffers()[0].as_ptr());
    }

    #[test]
    fn what_is_too_much_is_told_with_the_limit_and_what_to_do() {
        let mut budget = Budget::new(ByteSize(1024), "keep less");
        budget.add(1024);
        assert_eq!(budget.require(), Ok(()));
        budget.add(1);
        let error = Error::config("more has to be kept in memory than `memory` allows (1KiB)").hint("keep less");
        assert_eq!(budget.require(), Err(error));
        budget.remove(1);
        assert!(!budget.is_exceeded());
    }
}
