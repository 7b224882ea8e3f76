//! Rows to a file.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_cast::{CastOptions, cast_with_options};
use engine_sdk::prelude::*;
use engine_sdk::{chosen_columns, file_piece, files_schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{self, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::chunks::Chunks;
use crate::{Compression, Config, types};

/// How many bytes make a piece.
const PIECE: usize = 512 * 1024;

/// How many rows a group has, at most.
const GROUP_ROWS: usize = 1024 * 1024;

/// How many groups a file can have.
const MOST_GROUPS: usize = 32_767;

/// The least that a group may be told to have, in bytes: below, a file is mostly
/// descriptions of groups.
const LEAST_GROUP: u64 = 64 * 1024;

/// The most, in bytes: it is held in memory.
const LARGEST_GROUP: u64 = 1024 * 1024 * 1024;

/// How the writer is set up.
///
/// # Errors
/// `Config`, where settings make no sense.
pub fn properties(config: &Config) -> Result<WriterProperties> {
    let bytes = config.row_group.0;
    if !(LEAST_GROUP..=LARGEST_GROUP).contains(&bytes) {
        return Err(Error::config(format!("`row_group` is {bytes} bytes, and must be 64KiB to 1GiB")));
    }
    let beyond = |name: &str, most: u8| {
        Err(Error::config(format!("`level` is {}, and {name} has 1 to {most}", config.level.unwrap_or(0))))
    };
    let compression = match (config.compression, config.level) {
        (Compression::Zstd, None) => basic::Compression::ZSTD(ZstdLevel::try_new(3).map_err(bug)?),
        (Compression::Zstd, Some(level @ 1..=19)) => {
            basic::Compression::ZSTD(ZstdLevel::try_new(level.into()).map_err(bug)?)
        }
        (Compression::Zstd, Some(_)) => return beyond("zstd", 19),
        (Compression::Gzip, None) => basic::Compression::GZIP(GzipLevel::try_new(6).map_err(bug)?),
        (Compression::Gzip, Some(level @ 1..=9)) => {
            basic::Compression::GZIP(GzipLevel::try_new(level.into()).map_err(bug)?)
        }
        (Compression::Gzip, Some(_)) => return beyond("gzip", 9),
        (_, Some(_)) => {
            return Err(Error::config("`level` is set, but only `zstd` and `gzip` have levels")
                .hint("remove it, or set `compression` to one of them"));
        }
        (Compression::Snappy, None) => basic::Compression::SNAPPY,
        (Compression::Lz4, None) => basic::Compression::LZ4_RAW,
        (Compression::None, None) => basic::Compression::UNCOMPRESSED,
    };
    Ok(WriterProperties::builder()
        .set_compression(compression)
        // Nothing that differs from one run to the next. In the form that readers know: from this
        // they tell whether to trust what a file says of its values.
        .set_created_by(concat!("engine version ", env!("CARGO_PKG_VERSION")).into())
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(config.row_group.as_usize()))
        .build())
}

pub fn encode(config: &Config, cx: Context, input: Batches) -> Result<Batches> {
    let schema = input.schema();
    let columns = chosen_columns(&schema, &config.columns)?;
    if columns.is_empty() {
        return Err(Error::config("there are no columns to write, and a Parquet file has at least one"));
    }
    for (at, &column) in columns.iter().enumerate() {
        let name = schema.field(column).name();
        if columns[..at].iter().any(|&other| schema.field(other).name() == name) {
            return Err(Error::config(format!(
                "two columns are named `{name}`, but readers find columns by their names"
            ))
            .hint("rename one of them before"));
        }
    }
    let written = types::written(&schema.project(&columns)?)?;
    let writer =
        ArrowWriter::try_new(Pieces::default(), SchemaRef::clone(&written), Some(properties(config)?)).map_err(bug)?;
    let writing = Writing {
        input,
        ended: false,
        cx,
        columns,
        chunks: Chunks::new(SchemaRef::clone(&written)),
        written,
        writer: Some(writer),
        pieces: VecDeque::new(),
    };
    Ok(Batches::new(files_schema(), writing))
}

fn bug(error: ParquetError) -> Error {
    Error::internal(format!("Parquet cannot be written: {error}"))
}

/// Why rows cannot be written.
fn failed(writer: &ArrowWriter<Pieces>, error: ParquetError) -> Error {
    if writer.flushed_row_groups().len() < MOST_GROUPS {
        return bug(error);
    }
    Error::config(format!("the file has {MOST_GROUPS} groups of rows, and no file can have more"))
        .hint("raise `row_group`, or write several files")
}

struct Writing {
    input: Batches,
    /// The input has ended.
    ended: bool,
    cx: Context,
    columns: Vec<usize>,
    /// The columns as they are written.
    written: SchemaRef,
    chunks: Chunks,
    /// None once the file is complete.
    writer: Option<ArrowWriter<Pieces>>,
    /// What it has written and was not yet given.
    pieces: VecDeque<Vec<u8>>,
}

/// What the writer writes into: the file in pieces. A group of rows comes at once,
/// and would be there twice in one piece of memory that grows.
#[derive(Default)]
struct Pieces {
    whole: VecDeque<Vec<u8>>,
    open: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(PIECE);
        }
        let length = data.len().min(PIECE - self.open.len());
        self.open.extend_from_slice(&data[..length]);
        if self.open.len() == PIECE {
            self.whole.push_back(std::mem::take(&mut self.open));
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writing {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(file_piece("", &piece)));
            }
            if self.writer.is_none() {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    /// Writes a chunk, or takes in rows for one, or completes the file.
    fn advance(&mut self) -> Result<()> {
        self.cx.check_cancelled()?;
        if let Some(chunk) = self.chunks.next(self.ended)? {
            return self.write(&chunk);
        }
        if !self.ended {
            match self.input.next().transpose()? {
                Some(batch) => {
                    let batch = self.convert(&batch)?;
                    self.chunks.add(batch);
                }
                None => self.ended = true,
            }
        } else if let Some(mut writer) = self.writer.take() {
            writer.finish().map_err(|error| failed(&writer, error))?;
            let Pieces { whole, open } = std::mem::take(writer.inner_mut());
            self.pieces = whole;
            self.pieces.push_back(open);
        }
        Ok(())
    }

    fn write(&mut self, chunk: &RecordBatch) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        writer.write(chunk).map_err(|error| failed(&writer, error))?;
        self.pieces = std::mem::take(&mut writer.inner_mut().whole);
        self.writer = Some(writer);
        Ok(())
    }

    /// The columns that are written, of the types that they are written as.
    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        let convert = |(&column, field): (&usize, &Arc<Field>)| -> Result<ArrayRef> {
            let values = batch.column(column);
            if values.data_type() == field.data_type() {
                return Ok(ArrayRef::clone(values));
            }
            cast_with_options(values, field.data_type(), &exact).map_err(|error| {
                Error::config(format!(
                    "column `{}` has a value that does not fit the type {}, as which it is written: {error}",
                    field.name(),
                    field.data_type()
                ))
            })
        };
        let columns = self.columns.iter().zip(self.written.fields()).map(convert).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.written), columns)?)
    }
}

impl Iterator for Writing {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
