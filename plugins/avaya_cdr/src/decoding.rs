//! Cuts a stream of files into lines, and makes batches of rows of them.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Int32Array, TimestampMicrosecondArray};
use arrow_schema::TimeUnit;
use engine_sdk::prelude::*;

use crate::clock::Clock;
use crate::record::{DateOrder, Record, parse, trim_start};
use crate::refused::{Code, Malformed, Refused};

/// Rows in a batch.
const BATCH_ROWS: usize = 8_192;

/// The columns of the rows.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("date", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("duration", DataType::Int32, false),
        Field::new("calling_number", DataType::Utf8, true),
        Field::new("called_number", DataType::Utf8, true),
        Field::new("call_code", DataType::Utf8, true),
    ]))
}

/// How lines are to be read.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub date_order: DateOrder,
    pub clock: Clock,
    /// Bytes of the longest record.
    pub max_record: usize,
}

/// The rows of one stream.
pub struct Decoding {
    rules: Rules,
    input: Batches,
    cx: Context,
    /// What is being read, and how far it has been.
    pieces: Option<Pieces>,
    /// Whose record is open.
    name: String,
    /// The beginning of a record whose end has not come yet, up to the longest
    /// record, without blanks before it.
    open: Vec<u8>,
    /// How long the open record is with all that `open` does not hold.
    open_length: usize,
    rows: Rows,
    /// Records and bytes that the engine has not been told of.
    uncounted: (u64, u64),
    refused: Refused,
    finished: bool,
}

struct Pieces {
    batch: RecordBatch,
    row: usize,
    offset: usize,
}

impl Decoding {
    pub fn new(rules: Rules, input: Batches, cx: Context) -> Self {
        Self {
            rules,
            input,
            cx,
            pieces: None,
            name: String::new(),
            open: Vec::new(),
            open_length: 0,
            rows: Rows::new(),
            uncounted: (0, 0),
            refused: Refused::default(),
            finished: false,
        }
    }

    /// Reads on until a batch is full or the input is at its end.
    fn fill(&mut self) -> Result<()> {
        while !self.rows.are_full() {
            match self.pieces.take() {
                Some(mut pieces) => {
                    if !self.read(&mut pieces)? {
                        self.pieces = Some(pieces);
                    }
                    self.report();
                }
                None => {
                    self.cx.check_cancelled()?;
                    match self.input.next() {
                        Some(batch) => self.pieces = Some(Pieces { batch: batch?, row: 0, offset: 0 }),
                        None => return self.finish(),
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.finished = true;
        self.end_open_record()?;
        self.report();
        self.refused.summarise(&self.cx);
        Ok(())
    }

    fn report(&mut self) {
        let (records, bytes) = std::mem::take(&mut self.uncounted);
        self.cx.progress(records, bytes);
    }

    /// Reads pieces until a batch is full. Answers whether they have been read to their end.
    fn read(&mut self, pieces: &mut Pieces) -> Result<bool> {
        for (name, data) in engine_sdk::file_pieces(&pieces.batch)?.skip(pieces.row) {
            if name != self.name {
                self.end_open_record()?;
                name.clone_into(&mut self.name);
            }
            let taken = self.read_lines(&data[pieces.offset..])?;
            self.uncounted.1 += taken as u64;
            pieces.offset += taken;
            if pieces.offset < data.len() {
                return Ok(false);
            }
            pieces.row += 1;
            pieces.offset = 0;
        }
        Ok(true)
    }

    /// Reads lines until a batch is full. Answers with the bytes that it got through.
    fn read_lines(&mut self, data: &[u8]) -> Result<usize> {
        let mut at = 0;
        while at < data.len() && !self.rows.are_full() {
            let rest = &data[at..];
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.keep(rest);
                return Ok(data.len());
            };
            if self.open_length > 0 {
                self.keep(&rest[..end]);
                self.end_open_record()?;
            } else {
                let line = trim_start(&rest[..end]);
                self.read_line(line, line.len())?;
            }
            at += end + 1;
        }
        Ok(at)
    }

    /// Puts bytes without a line end behind the open record.
    fn keep(&mut self, bytes: &[u8]) {
        let bytes = if self.open_length == 0 { trim_start(bytes) } else { bytes };
        let room = self.rules.max_record - self.open.len();
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.open_length += bytes.len();
    }

    fn end_open_record(&mut self) -> Result<()> {
        let mut line = std::mem::take(&mut self.open);
        let length = std::mem::take(&mut self.open_length);
        self.read_line(&line, length)?;
        line.clear();
        self.open = line;
        Ok(())
    }

    /// Makes a row or a dead letter of a line that is `length` bytes long and
    /// begins with `line`.
    fn read_line(&mut self, line: &[u8], length: usize) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        self.uncounted.0 += 1;
        let longest = self.rules.max_record;
        if length > longest {
            let reason = format!("the line is {length} bytes long, `max_record` is {longest}; its beginning is kept");
            let malformed = Malformed::new(Code::TooLong, reason);
            return self.refused.add(&self.cx, &self.name, &line[..longest], &malformed);
        }
        let read = parse(line, self.rules.date_order).and_then(|record| {
            let start = self.rules.clock.start(record.end, record.duration).map_err(|zone| {
                let place = record.time.place();
                Malformed::new(Code::BadTime, format!("{place}: the clocks of {zone} left out this time on this day"))
            })?;
            Ok((start, record))
        });
        match read {
            Ok((start, record)) => {
                self.rows.push(start, &record);
                Ok(())
            }
            Err(malformed) => self.refused.add(&self.cx, &self.name, line, &malformed),
        }
    }
}

impl Iterator for Decoding {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.fill() {
            Ok(()) if self.rows.are_empty() => None,
            Ok(()) => Some(self.rows.take()),
            Err(error) => {
                self.finished = true;
                Some(Err(error))
            }
        }
    }
}

/// A batch in the making.
struct Rows {
    date: Vec<i64>,
    duration: Vec<i32>,
    calling_number: StringBuilder,
    called_number: StringBuilder,
    call_code: StringBuilder,
}

impl Rows {
    fn new() -> Self {
        let text = |length: usize| StringBuilder::with_capacity(BATCH_ROWS, BATCH_ROWS * length);
        Self {
            date: Vec::with_capacity(BATCH_ROWS),
            duration: Vec::with_capacity(BATCH_ROWS),
            calling_number: text(12),
            called_number: text(12),
            call_code: text(1),
        }
    }

    fn are_full(&self) -> bool {
        self.date.len() >= BATCH_ROWS
    }

    fn are_empty(&self) -> bool {
        self.date.is_empty()
    }

    /// `start` is in seconds.
    fn push(&mut self, start: i64, record: &Record<'_>) {
        self.date.push(start * 1_000_000);
        self.duration.push(record.duration);
        self.calling_number.append_option(record.calling_number);
        self.called_number.append_value(record.called_number);
        self.call_code.append_option(record.call_code);
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let mut rows = std::mem::replace(self, Self::new());
        RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(TimestampMicrosecondArray::from(rows.date)),
                Arc::new(Int32Array::from(rows.duration)),
                Arc::new(rows.calling_number.finish()),
                Arc::new(rows.called_number.finish()),
                Arc::new(rows.call_code.finish()),
            ],
        )
        .map_err(|error| Error::internal(format!("a batch of rows cannot be made: {error}")))
    }
}
