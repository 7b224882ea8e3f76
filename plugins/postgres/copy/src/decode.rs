//! Binary COPY into Arrow builders.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use crate::column::Column;
use crate::kind::{EPOCH_MICROSECONDS, Kind};
use crate::show;

/// What every binary COPY begins with; flags and an extension's length follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER: usize = SIGNATURE.len() + 8;

/// A batch is handed on when it has taken in this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Values that have a name of their own and no place in Arrow's types.
const NAMES: [&str; 5] = ["infinity", "-infinity", "NaN", "Infinity", "-Infinity"];
/// What PostgreSQL counts from 2000 on and Arrow from 1970 on, in as many bits.
pub(crate) const TOO_FAR: &str = "a timestamp too far away";

/// Bytes that are no binary COPY, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// A row that has a value which Arrow cannot hold.
#[derive(Debug)]
pub struct Refused {
    /// One row: bytes as they are, every other column as text that PostgreSQL reads as the same value.
    pub row: RecordBatch,
    /// What is wrong, with the column's name.
    pub reason: String,
}

/// What a decoder has collected.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that are fine.
    pub batch: RecordBatch,
    /// The others.
    pub refused: Vec<Refused>,
    /// Bytes taken in.
    pub bytes: u64,
}

/// Takes pieces of a COPY and gives batches.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    pending: Vec<u8>,
    header_seen: bool,
    ended: bool,
    rows: usize,
    bytes: usize,
    max_rows: usize,
    /// In the order of the rows, and in each of the columns.
    bad: Vec<Bad>,
}

/// A value that its column cannot hold.
struct Bad {
    row: usize,
    column: usize,
    /// As text.
    shown: String,
    /// How it is called in the reason.
    name: String,
}

impl Decoder {
    /// A decoder for columns of these kinds.
    pub fn new(schema: SchemaRef, kinds: &[Kind], max_rows: usize) -> Self {
        Self {
            schema,
            columns: kinds.iter().map(|kind| Column::new(*kind)).collect(),
            pending: vec![],
            header_seen: false,
            ended: false,
            rows: 0,
            bytes: 0,
            max_rows,
            bad: vec![],
        }
    }

    /// Takes the next piece. Pieces may be cut anywhere.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        self.bytes += piece.len();
        // The server sends whole rows, so there is almost never anything left over.
        if self.pending.is_empty() {
            let used = self.take(piece)?;
            self.pending.extend_from_slice(&piece[used..]);
        } else {
            self.pending.extend_from_slice(piece);
            let all = std::mem::take(&mut self.pending);
            let used = self.take(&all)?;
            self.pending.extend_from_slice(&all[used..]);
        }
        Ok(())
    }

    /// Whether it is time for [`Decoder::finish`].
    pub fn is_full(&self) -> bool {
        self.rows >= self.max_rows || self.bytes >= BATCH_BYTES
    }

    /// Whether nothing has been collected.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        if !self.header_seen {
            let Some(header) = bytes.get(..HEADER) else { return Ok(0) };
            if !header.starts_with(SIGNATURE) {
                return Err(Malformed("the server's COPY does not begin like a binary COPY".into()));
            }
            let extension = u32::from_be_bytes(header[HEADER - 4..].try_into().expect("four bytes")) as usize;
            if bytes.len() < HEADER + extension {
                return Ok(0);
            }
            at = HEADER + extension;
            self.header_seen = true;
        }
        while !self.ended {
            let Some(length) = self.row_length(&bytes[at..])? else { break };
            let row = &bytes[at..at + length];
            at += length;
            if !self.ended {
                self.row(row);
            }
        }
        Ok(at)
    }

    /// How many bytes the first row takes; none when it is not all there.
    fn row_length(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(count) = bytes.get(..2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])) else { return Ok(None) };
        if count == -1 {
            self.ended = true;
            return Ok(Some(2));
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(Malformed(format!("a row with {count} columns came, not {}", self.columns.len())));
        }
        let mut at = 2;
        for _ in 0..count {
            let Some(length) = read_length(bytes, at) else { return Ok(None) };
            at += 4 + usize::try_from(length).unwrap_or(0);
        }
        Ok((at <= bytes.len()).then_some(at))
    }

    /// A row that is all there.
    fn row(&mut self, bytes: &[u8]) {
        let mut at = 2;
        for (place, column) in self.columns.iter_mut().enumerate() {
            let length = read_length(bytes, at).unwrap_or(-1);
            at += 4;
            match usize::try_from(length) {
                Err(_) => column.null(),
                Ok(length) => {
                    let value = &bytes[at..at + length];
                    at += length;
                    if let Err(why) = column.value(value) {
                        column.null();
                        self.bad.push(Bad::new(self.rows, place, value, why, self.schema.field(place).data_type()));
                    }
                }
            }
        }
        self.rows += 1;
    }

    /// Hands over what was collected and starts anew.
    pub fn finish(&mut self) -> Result<Decoded, Malformed> {
        let internal = |error: ArrowError| Malformed(format!("rows cannot be put together: {error}"));
        let mut bad = std::mem::take(&mut self.bad);
        let found = bad.len();
        let mut columns = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter_mut().enumerate() {
            let data_type = self.schema.field(place).data_type();
            columns.push(column.finish(|row, value, why| bad.push(Bad::new(row, place, value, why, data_type))));
        }
        if bad.len() > found {
            bad.sort_by_key(|bad| (bad.row, bad.column));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(internal)?;
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let rows = std::mem::take(&mut self.rows);
        if bad.is_empty() {
            return Ok(Decoded { batch, refused: vec![], bytes });
        }
        let of_one_row = bad.chunk_by(|one, next| one.row == next.row);
        let refused = of_one_row.map(|bad| refuse(&batch, bad)).collect::<Result<_, _>>()?;
        let mut keep = vec![true; rows];
        bad.iter().for_each(|bad| keep[bad.row] = false);
        let batch = arrow_select::filter::filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(internal)?;
        Ok(Decoded { batch, refused, bytes })
    }

    /// Whether the COPY came to its proper end.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

fn read_length(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4).map(|four| i32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

impl Bad {
    #[cold]
    fn new(row: usize, column: usize, value: &[u8], why: &'static str, data_type: &DataType) -> Self {
        let same = |text: String| (text.clone(), text);
        let (shown, name) = match (why, data_type) {
            (TOO_FAR, DataType::Timestamp(_, zone)) => {
                let moment = value.try_into().map_or(0, i64::from_be_bytes);
                same(show::timestamp(i128::from(moment) + i128::from(EPOCH_MICROSECONDS), zone.is_some()))
            }
            _ if NAMES.contains(&why) => same(why.into()),
            _ => (show::bytes(value), why.into()),
        };
        Self { row, column, shown, name }
    }
}

/// The row of these values as text, bytes apart, which have no place for more than they hold. The first of them is
/// the reason: one is enough.
fn refuse(batch: &RecordBatch, bad: &[Bad]) -> Result<Refused, Malformed> {
    let internal = |error: ArrowError| Malformed(format!("a refused row cannot be shown: {error}"));
    let schema = batch.schema();
    let shown_as =
        |field: &Field| if *field.data_type() == DataType::Binary { DataType::Binary } else { DataType::Utf8 };
    let fields: Vec<_> = schema.fields().iter().map(|field| Field::new(field.name(), shown_as(field), true)).collect();
    let columns = batch.columns().iter().enumerate().map(|(place, column)| -> Result<ArrayRef, ArrowError> {
        if *column.data_type() == DataType::Binary {
            return Ok(column.slice(bad[0].row, 1));
        }
        let shown = match bad.iter().find(|bad| bad.column == place) {
            Some(bad) => Some(bad.shown.clone()),
            None => show::value(column, bad[0].row)?,
        };
        Ok(Arc::new(StringArray::from(vec![shown])))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(internal)?;
    let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)?;
    let field = schema.field(bad[0].column);
    let reason = format!("{}: {} cannot be held by {}", field.name(), bad[0].name, field.data_type());
    Ok(Refused { row, reason })
}
