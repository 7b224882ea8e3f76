//! Files to rows.

use std::collections::VecDeque;
use std::sync::Arc;

use engine_sdk::prelude::*;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ProjectionMask};
use parquet::basic::{Compression, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use crate::guard::careful;
use crate::spool::{Files, Whole};
use crate::{Config, footer, pages, types};

/// How many rows a batch has, at most.
const ROWS: usize = 8192;

/// How many bytes a batch has, roughly: fewer rows where they are large.
const BYTES: usize = 8 * 1024 * 1024;

/// The most that a row without values may take, in bytes.
const WIDEST: usize = 64 * 1024 * 1024;

/// How large the description at a file's end may be, in bytes. Those of thousands of
/// columns and groups have a few MiB.
const LONGEST_FOOTER: u64 = 64 * 1024 * 1024;

/// What a file begins and ends with.
const MARK: &[u8; 4] = b"PAR1";
/// What the end of a file is written with whose description is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";

pub fn decode(config: &Config, cx: Context, input: Batches) -> Result<Batches> {
    let mut files = Files::new(input, cx.clone());
    let Some(first) = files.next()? else { return Ok(Batches::empty(Arc::new(Schema::empty()))) };
    let (file, metadata) = open(first)?;
    let columns = chosen(&config.columns, &file, metadata.schema())?;
    // Whether a value may be missing is each file's own affair.
    let nullable = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.fields().iter().map(nullable).collect::<Vec<_>>()));
    let all = config.columns.is_empty();
    let mut reading = Reading { files, schema, all, first: file.title().to_owned(), open: None, cx };
    reading.open = Some(reading.begin(file, metadata)?);
    Ok(Batches::new(SchemaRef::clone(&reading.schema), reading))
}

/// Which columns to read, in their order.
fn chosen(names: &[String], file: &Whole, schema: &Schema) -> Result<Schema> {
    if names.is_empty() {
        return Ok(schema.clone());
    }
    let places = names.iter().map(|name| {
        schema.index_of(name).map_err(|_| {
            let there: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Error::config(format!("{} has no column `{name}`", file.title()))
                .hint(format!("its columns are: {}", there.join(", ")))
        })
    });
    Ok(schema.project(&places.collect::<Result<Vec<_>>>()?)?)
}

/// Reads what a file says of itself.
fn open(file: Whole) -> Result<(Whole, ArrowReaderMetadata)> {
    let none =
        |why: &str, hint: &str| Err(Error::config(format!("{} is no Parquet file: {why}", file.title())).hint(hint));
    let whole = "put the whole file in its place and run again; files should be written under another name and \
                 renamed when they are complete";
    let mut begin = [0; 4];
    let mut end = [0; 8];
    if file.bytes == 0 {
        return none("it is empty", whole);
    }
    if file.bytes >= 4 {
        file.read(&mut begin, 0)?;
    }
    if &begin != MARK && &begin != ENCRYPTED {
        let shown = begin.iter().take(usize::try_from(file.bytes).unwrap_or(4));
        let shown: Vec<_> = shown.map(|byte| format!("{byte:02x}")).collect();
        return none(&format!("it begins with {}", shown.join(" ")), "name the format that the file has");
    }
    if file.bytes < 12 {
        return none("it is cut short", whole);
    }
    file.read(&mut end, file.bytes - 8)?;
    let [length @ .., _, _, _, _] = end;
    let length = u64::from(u32::from_le_bytes(length));
    if &end[4..] == ENCRYPTED || &begin == ENCRYPTED {
        return Err(Error::config(format!("{} is encrypted, which is not supported", file.title()))
            .hint("let it be written without encryption"));
    }
    if &end[4..] != MARK {
        return none("it is cut short: its end is missing, which says what is in it", whole);
    }
    if length > file.bytes - 12 {
        return none("its end does not belong to it", whole);
    }
    if length > LONGEST_FOOTER {
        return Err(Error::config(format!(
            "{} has {length} bytes that say what is in it, and at most {LONGEST_FOOTER} are read",
            file.title()
        ))
        .hint("let it be written with larger groups of rows"));
    }
    let mut description = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read(&mut description, file.bytes - 8 - length)?;
    footer::check(&description).map_err(|fault| damaged(&file, &fault.to_string()))?;
    drop(description);
    let metadata = careful(|| described(&file)).map_err(|why| damaged(&file, &why))?;
    Ok((file, metadata))
}

fn described(file: &Whole) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let leaves = metadata.parquet_schema().columns();
    let is_long = leaves.iter().map(|leaf| leaf.physical_type() == Type::INT96);
    let notes = metadata.metadata().file_metadata().key_value_metadata();
    // Who notes the types of columns has looked whether their values fit.
    let is_noted = notes.is_some_and(|notes| notes.iter().any(|note| note.key == ARROW_SCHEMA_META_KEY));
    if is_noted || !is_long.clone().any(|is_long| is_long) {
        return Ok(metadata);
    }
    let columns = types::far_reaching(metadata.schema(), is_long);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), ArrowReaderOptions::new().with_schema(columns))
}

/// Says what is wrong with a file.
fn damaged(file: &Whole, why: &str) -> Error {
    Error::config(format!("{} cannot be read: {why}", file.title()))
        .hint("put a sound copy in its place and run again; if other programs read it, report this message")
}

struct Reading {
    files: Files,
    /// The columns of the first file, which all of them have.
    schema: SchemaRef,
    /// No column was left out.
    all: bool,
    /// How messages call the first file.
    first: String,
    open: Option<Open>,
    cx: Context,
}

/// A file that is being read.
struct Open {
    file: Whole,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// Where each column of the stream stands among those that are read.
    places: Vec<usize>,
    /// The groups of rows that are still to be read.
    groups: VecDeque<usize>,
    reader: Option<ParquetRecordBatchReader>,
    /// How many rows of the present group are still to come.
    missing: usize,
    /// How many bytes a row takes where it holds nothing.
    width: usize,
}

impl Reading {
    /// Begins to read a file whose columns must be those of the stream.
    fn begin(&self, file: Whole, metadata: ArrowReaderMetadata) -> Result<Open> {
        let there = metadata.schema();
        let other = |what: String| {
            Err(Error::config(format!("{} has other columns than {}: {what}", file.title(), self.first))
                .hint("all files of a run must have the same columns; name those that they share with `columns`"))
        };
        for (at, field) in there.fields().iter().enumerate() {
            let name = field.name();
            if there.fields()[..at].iter().any(|other| other.name() == name) {
                return Err(damaged(&file, &format!("it has two columns named `{name}`")));
            }
            if self.all && self.schema.index_of(name).is_err() {
                return other(format!("`{name}` is new"));
            }
        }
        if self.schema.fields().is_empty() {
            return Err(damaged(&file, "it has no columns"));
        }
        let mut roots = Vec::new();
        let mut width: usize = 1;
        for field in self.schema.fields() {
            let name = field.name();
            let Ok(place) = there.index_of(name) else { return other(format!("`{name}` is missing")) };
            let kind = there.field(place).data_type();
            if kind != field.data_type() {
                return other(format!("`{name}` is of the type {kind} instead of {}", field.data_type()));
            }
            width = width.saturating_add(types::width(kind));
            roots.push(place);
        }
        if width > WIDEST {
            return Err(damaged(&file, &format!("a row of it takes {width} bytes, even without values")));
        }
        // What is read comes in the file's order.
        let mut sorted = roots.clone();
        sorted.sort_unstable();
        let places = roots.iter().map(|root| sorted.partition_point(|other| other < root)).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let groups = (0..metadata.metadata().num_row_groups()).collect();
        Ok(Open { file, metadata, mask, places, groups, reader: None, missing: 0, width })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.cx.check_cancelled()?;
            // Whoever meets an error reads nothing more.
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.files.next()? {
                    Some(file) => {
                        let (file, metadata) = self::open(file)?;
                        self.begin(file, metadata)?
                    }
                    None => return Ok(None),
                },
            };
            if let Some(rows) = open.batch()? {
                self.cx.progress(rows.num_rows() as u64, 0);
                let columns = open.places.iter().map(|&place| Arc::clone(rows.column(place))).collect();
                self.open = Some(open);
                return Ok(Some(RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?));
            }
        }
    }
}

impl Open {
    /// The next rows of the file, unless it has no more.
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(group) = self.groups.pop_front() else { return Ok(None) };
                self.reader = Some(self.group(group)?);
                continue;
            };
            let rows = careful(|| reader.next().transpose()).map_err(|why| damaged(&self.file, &why))?;
            let count = rows.as_ref().map_or(0, RecordBatch::num_rows);
            match rows {
                Some(rows) if count > 0 && count <= self.missing => {
                    self.missing -= count;
                    return Ok(Some(rows));
                }
                None if self.missing == 0 => self.reader = None,
                _ => return Err(damaged(&self.file, "it has another number of rows than it says")),
            }
        }
    }

    /// Begins to read a group of rows.
    fn group(&mut self, group: usize) -> Result<ParquetRecordBatchReader> {
        let described = self.metadata.metadata().row_group(group);
        self.missing =
            usize::try_from(described.num_rows()).map_err(|_| damaged(&self.file, "it has fewer rows than none"))?;
        let size = self.check(described)? / self.missing.max(1);
        let rows = (BYTES / size.max(self.width).max(1)).clamp(1, ROWS);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(self.mask.clone())
            .with_batch_size(rows);
        careful(|| builder.build()).map_err(|why| damaged(&self.file, &why))
    }

    /// Whether the library can read the columns that are asked for. Answers how many
    /// bytes they have, roughly.
    fn check(&self, group: &RowGroupMetaData) -> Result<usize> {
        let mut bytes: usize = 0;
        for (at, chunk) in group.columns().iter().enumerate() {
            if !self.mask.leaf_included(at) {
                continue;
            }
            if let unknown @ (Compression::BROTLI(_) | Compression::LZO) = chunk.compression() {
                let name = if unknown == Compression::LZO { "LZO" } else { "Brotli" };
                return Err(Error::config(format!(
                    "{} is compressed with {name}, which is not supported",
                    self.file.title()
                ))
                .hint("let it be written with Snappy, Zstandard, gzip, LZ4 or no compression"));
            }
            let more = pages::check(&self.file, chunk).map_err(|why| damaged(&self.file, &why))?;
            bytes = bytes.saturating_add(more);
        }
        Ok(bytes)
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}
