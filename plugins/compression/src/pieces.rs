//! A stream of files, one file after the other as a reader has them.

use std::io::{self, BufRead, Read};

use arrow_array::cast::AsArray;
use engine_sdk::file_pieces;
use engine_sdk::prelude::*;

/// The most that is shown of a file at a time, in bytes: as exact is the place
/// that an error names.
const SHOWN: usize = 64 * 1024;

/// How many bytes are remembered of a file's beginning.
const FIRST: usize = 8;

/// The files of a stream. It reads as the present one, up to its end.
pub struct Pieces {
    input: Batches,
    batch: Option<RecordBatch>,
    /// The piece that is being read.
    row: usize,
    /// How far it has been read.
    at: usize,
    /// The name of the present file.
    pub name: String,
    /// How many bytes of it were read.
    pub offset: u64,
    first: Vec<u8>,
    failed: Option<Error>,
}

impl Pieces {
    pub fn new(input: Batches) -> Self {
        let (name, first) = (String::new(), Vec::new());
        Self { input, batch: None, row: 0, at: 0, name, offset: 0, first, failed: None }
    }

    /// Goes on to the next file, once the present one was read to its end. False: there is none.
    pub fn next_file(&mut self) -> Result<bool> {
        if !self.locate()? {
            return Ok(false);
        }
        self.name = self.present().0.to_owned();
        self.offset = 0;
        self.first.clear();
        Ok(true)
    }

    /// Finds a piece, of whichever file. False: the input has ended.
    fn locate(&mut self) -> Result<bool> {
        loop {
            match &self.batch {
                Some(batch) if self.row < batch.num_rows() => return Ok(true),
                _ => self.batch = None,
            }
            let Some(batch) = self.input.next().transpose()? else { return Ok(false) };
            // Asked for its check of the columns.
            file_pieces(&batch)?.for_each(drop);
            (self.batch, self.row, self.at) = (Some(batch), 0, 0);
        }
    }

    /// Name and data of the piece that was found.
    fn present(&self) -> (&str, &[u8]) {
        let batch = self.batch.as_ref().expect("it was found");
        (batch.column(0).as_string::<i32>().value(self.row), batch.column(1).as_binary::<i32>().value(self.row))
    }

    /// Finds bytes of the present file. False: it has ended.
    fn find(&mut self) -> Result<bool> {
        while self.locate()? {
            let (name, data) = self.present();
            if name != self.name {
                return Ok(false);
            }
            if self.at < data.len() {
                return Ok(true);
            }
            (self.row, self.at) = (self.row + 1, 0);
        }
        Ok(false)
    }

    /// What the present file begins with, as far as it was seen.
    pub fn first(&mut self) -> Vec<u8> {
        let mut first = self.first.clone();
        // What was shown and not taken was seen too.
        if self.find().unwrap_or(false) {
            first.extend(self.present().1[self.at..].iter().take(FIRST - self.first.len()));
        }
        first
    }

    /// The input's own error behind one that a reader has answered with.
    pub fn failed(&mut self) -> Option<Error> {
        self.failed.take()
    }

    /// Fills `block`; less than all of it at the end of the file alone.
    pub fn fill(&mut self, block: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < block.len() && self.find()? {
            let data = &self.present().1[self.at..];
            let length = data.len().min(block.len() - filled);
            block[filled..filled + length].copy_from_slice(&data[..length]);
            self.consume(length);
            filled += length;
        }
        Ok(filled)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.find() {
            Ok(true) => {
                let data = &self.present().1[self.at..];
                Ok(&data[..data.len().min(SHOWN)])
            }
            Ok(false) => Ok(&[]),
            Err(error) => {
                let message = error.message.clone();
                self.failed = Some(error);
                Err(io::Error::other(message))
            }
        }
    }

    fn consume(&mut self, length: usize) {
        let missing = FIRST.saturating_sub(self.first.len()).min(length);
        if missing > 0 {
            let first = self.present().1[self.at..self.at + missing].to_vec();
            self.first.extend(first);
        }
        self.at += length;
        self.offset += length as u64;
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let data = self.fill_buf()?;
        let length = data.len().min(into.len());
        into[..length].copy_from_slice(&data[..length]);
        self.consume(length);
        Ok(length)
    }
}
