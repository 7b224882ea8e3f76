//! Rows to records.

use engine_sdk::columns::JsonRows;
use engine_sdk::prelude::*;
use engine_sdk::{chosen_columns, file_piece, files_schema};

use crate::{Config, Layout};

/// How many bytes make a piece.
const PIECE: usize = 512 * 1024;

pub fn encode(config: &Config, cx: Context, input: Batches) -> Result<Batches> {
    let schema = input.schema();
    let columns = chosen_columns(&schema, &config.columns)?;
    for (at, &column) in columns.iter().enumerate() {
        let name = schema.field(column).name();
        if columns[..at].iter().any(|&other| schema.field(other).name() == name) {
            return Err(Error::config(format!("two columns are named `{name}`, but a record can have one"))
                .hint("rename one of them before"));
        }
    }
    let writing = Writing {
        input,
        cx,
        columns,
        array: config.layout == Layout::Array,
        omit_nulls: config.omit_nulls,
        buffer: Vec::with_capacity(PIECE + PIECE / 4),
        batch: None,
        any: false,
        begun: false,
        ended: false,
    };
    Ok(Batches::new(files_schema(), writing))
}

struct Writing {
    input: Batches,
    cx: Context,
    columns: Vec<usize>,
    array: bool,
    omit_nulls: bool,
    buffer: Vec<u8>,
    batch: Option<Rows>,
    /// A record has been written.
    any: bool,
    begun: bool,
    ended: bool,
}

/// A batch on its way.
struct Rows {
    rows: JsonRows,
    next: usize,
    count: usize,
}

impl Writing {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        while self.buffer.len() < PIECE && !self.ended {
            let Some(rows) = &mut self.batch else {
                self.cx.check_cancelled()?;
                match self.input.next().transpose()? {
                    Some(batch) => {
                        let rows = JsonRows::new(&batch, self.columns.iter().copied())?;
                        self.batch = Some(Rows { rows, next: 0, count: batch.num_rows() });
                    }
                    None => {
                        self.ended = true;
                        if self.array {
                            self.buffer.extend_from_slice(if self.any { b"\n]\n" } else { b"[]\n" });
                        }
                    }
                }
                continue;
            };
            while rows.next < rows.count && self.buffer.len() < PIECE {
                if self.array {
                    self.buffer.extend_from_slice(if self.any { b",\n" } else { b"[\n" });
                }
                self.any = true;
                rows.rows.write(rows.next, self.omit_nulls, &mut self.buffer);
                if !self.array {
                    self.buffer.push(b'\n');
                }
                rows.next += 1;
            }
            if rows.next == rows.count {
                self.batch = None;
            }
        }
        // A stream without rows is a file all the same.
        if self.begun && self.buffer.is_empty() {
            return Ok(None);
        }
        self.begun = true;
        let piece = file_piece("", &self.buffer);
        self.buffer.clear();
        Ok(Some(piece))
    }
}

impl Iterator for Writing {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
