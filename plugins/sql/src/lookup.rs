//! Small files as tables.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{BufReader, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use engine_sdk::columns::{ColumnType, RowBuilder, Value as Cell};
use engine_sdk::prelude::*;

use crate::config::{Format, Lookup};
use crate::error::failed;

/// A larger file is no lookup: it is a source of its own, or a table in a database.
const MAX_LOOKUP_BYTES: u64 = 16 << 20;

/// A file, and what was read of it as long as it stays the same.
pub struct Table {
    name: String,
    path: PathBuf,
    format: Format,
    delimiter: u8,
    types: BTreeMap<String, ColumnType>,
    read: Option<(Stamp, Arc<MemTable>)>,
}

/// By what a file is known to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<std::time::SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Table {
    /// A table that is read when it is first needed.
    pub fn new(name: &str, lookup: &Lookup, cx: &Context) -> Result<Self> {
        let by_name = || match lookup.path.extension().and_then(|end| end.to_str()) {
            Some("csv") => Ok(Format::Csv),
            Some("json" | "jsonl" | "ndjson") => Ok(Format::Json),
            _ => Err(Error::config(format!("the name of {} does not say how it is written", lookup.path.display()))
                .hint("write `format: csv` or `format: json`")),
        };
        let format = lookup.format.map_or_else(by_name, Ok)?;
        let [delimiter @ (b'\t' | b' '..=b'~')] = lookup.delimiter.as_bytes() else {
            return Err(Error::config(format!(
                "`delimiter` of `{name}` is {:?}, but must be one printable ASCII character or a tab",
                lookup.delimiter
            )));
        };
        let (path, types) = (cx.resolve(&lookup.path), lookup.types.clone());
        Ok(Self { name: name.into(), path, format, delimiter: *delimiter, types, read: None })
    }

    /// The rows of the file as it is now.
    pub fn load(&mut self) -> Result<Arc<MemTable>> {
        let place = format!("the table `{}`, {}", self.name, self.path.display());
        let file = File::open(&self.path).map_err(|error| Error::from(error).context(&place))?;
        let metadata = file.metadata().map_err(|error| Error::from(error).context(&place))?;
        let stamp = Stamp::of(&metadata);
        if let Some((read, table)) = &self.read
            && *read == stamp
        {
            return Ok(Arc::clone(table));
        }
        if stamp.bytes > MAX_LOOKUP_BYTES {
            return Err(Error::config(format!(
                "{place}: has {} bytes, and a table beside the stream may have {MAX_LOOKUP_BYTES}",
                stamp.bytes
            ))
            .hint("keep the columns and rows that the query needs, or join in the database"));
        }
        let read = match self.format {
            Format::Csv => self.csv(file),
            Format::Json => self.json(file),
        };
        let (schema, batches) = read.map_err(|error| error.context(&place))?;
        let table = Arc::new(MemTable::try_new(schema, vec![batches]).map_err(failed)?);
        self.read = Some((stamp, Arc::clone(&table)));
        Ok(table)
    }

    fn csv(&self, file: File) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut reader = csv::ReaderBuilder::new().delimiter(self.delimiter).from_reader(file.take(MAX_LOOKUP_BYTES));
        let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
        let names: Vec<&str> = header.iter().map(|name| name.trim_start_matches('\u{feff}')).collect();
        self.check_types(&names)?;
        let columns: Vec<_> =
            names.iter().map(|name| (*name, self.types.get(*name).copied().unwrap_or(ColumnType::Text))).collect();
        let mut rows = RowBuilder::new(columns.iter().copied());
        let mut batches = Vec::new();
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| unreadable(&error))? {
            let line = record.position().map_or(0, csv::Position::line);
            let cells = columns.iter().zip(&record).map(|((name, kind), text)| match text {
                "" => Ok(Cell::Null),
                text => kind.read(text).map_err(|error| {
                    Error::config(format!("line {line}: {text:?} in the column `{name}` {}", error.reason))
                        .hint("mend the file, or give the column another type")
                }),
            });
            rows.push(&cells.collect::<Result<Vec<_>>>()?);
            if rows.is_full() {
                batches.push(rows.finish()?);
            }
        }
        batches.push(rows.finish()?);
        Ok((rows.schema(), batches))
    }

    fn json(&self, mut file: File) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let wrong = |error: arrow_schema::ArrowError| {
            Error::config(format!("is not one JSON object a line: {error}")).hint("mend the file")
        };
        let mut limited = BufReader::new((&mut file).take(MAX_LOOKUP_BYTES));
        let (found, _) = arrow_json::reader::infer_json_schema(&mut limited, None).map_err(wrong)?;
        let names: Vec<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
        self.check_types(&names)?;
        let fields = found.fields().iter().map(|field| {
            let kind = self.types.get(field.name()).map_or_else(|| field.data_type().clone(), |kind| kind.data_type());
            Field::new(field.name(), if kind == DataType::Null { DataType::Utf8 } else { kind }, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        file.rewind()?;
        let reader = arrow_json::ReaderBuilder::new(Arc::clone(&schema))
            .with_coerce_primitive(true)
            .build(BufReader::new(file.take(MAX_LOOKUP_BYTES)))
            .map_err(wrong)?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        Ok((schema, batches))
    }

    fn check_types(&self, names: &[&str]) -> Result<()> {
        match self.types.keys().find(|name| !names.contains(&name.as_str())) {
            Some(missing) => {
                Err(Error::config(format!("`types` names the column `{missing}`, which the file has not"))
                    .hint(format!("the columns are {}", names.join(", "))))
            }
            None => Ok(()),
        }
    }
}

fn unreadable(error: &csv::Error) -> Error {
    Error::config(format!("cannot be read as CSV: {error}")).hint("mend the file, or write its `delimiter`")
}
