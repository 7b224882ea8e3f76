//! The bytes of a stream of files.

use engine_sdk::file_pieces;
use engine_sdk::prelude::*;
use memchr::memchr;

use crate::config::Config;

pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The files of a stream, one after the other, as one window of bytes.
pub struct Text {
    input: Batches,
    pub cx: Context,
    batch: Option<(RecordBatch, usize)>,
    /// The present file.
    pub name: String,
    /// The present file's last byte is in the buffer.
    pub ended: bool,
    buffer: Vec<u8>,
    start: usize,
    /// The line that `start` is in, from 1.
    pub line: u64,
    /// How many bytes of the present file `start` has passed.
    pub passed: u64,
    /// What is left out of the stream's only file.
    range: Option<ByteRange>,
    skip_rows: u64,
    left_to_skip: u64,
    mark_checked: bool,
}

impl Text {
    pub fn new(input: Batches, cx: Context, config: &Config) -> Self {
        Self {
            range: ByteRange::of(&input.schema()),
            passed: 0,
            input,
            cx,
            batch: None,
            name: String::new(),
            ended: true,
            buffer: Vec::new(),
            start: 0,
            line: 1,
            skip_rows: config.skip_rows,
            left_to_skip: 0,
            mark_checked: true,
        }
    }

    /// Whether what is ahead are records: a file has begun, and what comes before them is passed.
    pub fn is_in_records(&self) -> bool {
        self.mark_checked && self.left_to_skip == 0
    }

    /// The bytes from here on.
    pub fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub fn advance(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.line += lines;
        self.passed += bytes as u64;
        self.pass_gap();
    }

    /// Counts the lines that were left out here.
    fn pass_gap(&mut self) {
        if let Some(range) = self.range.take_if(|range| range.head <= self.passed) {
            self.line += range.lines;
        }
    }

    /// Takes in the next piece of the present file, or notes that it has ended.
    pub fn more(&mut self) -> Result<()> {
        match self.piece()? {
            Some(piece) => {
                self.buffer.drain(..self.start);
                self.start = 0;
                let (batch, row) = piece;
                if let Some((_, data)) = file_pieces(&batch)?.nth(row) {
                    self.buffer.extend_from_slice(data);
                }
                self.batch = Some((batch, row + 1));
            }
            None => self.ended = true,
        }
        Ok(())
    }

    /// The next piece, if it belongs to the present file.
    fn piece(&mut self) -> Result<Option<(RecordBatch, usize)>> {
        let Some((batch, row)) = self.next_piece()? else { return Ok(None) };
        let same = file_pieces(&batch)?.nth(row).is_some_and(|(name, _)| name == self.name);
        if same {
            return Ok(Some((batch, row)));
        }
        self.batch = Some((batch, row));
        Ok(None)
    }

    fn next_piece(&mut self) -> Result<Option<(RecordBatch, usize)>> {
        loop {
            match self.batch.take() {
                Some((batch, row)) if row < batch.num_rows() => return Ok(Some((batch, row))),
                _ => {
                    self.cx.check_cancelled()?;
                    match self.input.next().transpose()? {
                        Some(batch) => self.batch = Some((batch, 0)),
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    /// Goes on to the next file. `false`: there is none.
    pub fn next_file(&mut self) -> Result<bool> {
        let Some((batch, row)) = self.next_piece()? else { return Ok(false) };
        if let Some((name, _)) = file_pieces(&batch)?.nth(row) {
            self.name = name.into();
        }
        self.batch = Some((batch, row));
        self.buffer.clear();
        self.start = 0;
        self.line = 1;
        self.passed = 0;
        self.ended = false;
        // What only looks like a mark, in the middle of a file, is text.
        self.mark_checked = self.range.is_some_and(|range| range.head == 0 && range.from > 0);
        self.left_to_skip = self.skip_rows;
        self.pass_gap();
        Ok(true)
    }

    /// Passes a byte order mark and the lines that are to be left out. `false`:
    /// needs more bytes.
    pub fn pass_preamble(&mut self) -> bool {
        if !self.mark_checked {
            if self.ahead().len() < BYTE_ORDER_MARK.len() && !self.ended {
                return false;
            }
            if self.ahead().starts_with(BYTE_ORDER_MARK) {
                self.advance(BYTE_ORDER_MARK.len(), 0);
            }
            self.mark_checked = true;
        }
        while self.left_to_skip > 0 {
            match memchr(b'\n', self.ahead()) {
                Some(at) => {
                    self.advance(at + 1, 1);
                    self.left_to_skip -= 1;
                }
                None => {
                    self.advance(self.ahead().len(), 0);
                    return self.ended;
                }
            }
        }
        true
    }
}
