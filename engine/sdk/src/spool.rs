//! Files that wait on disk until they are whole, for formats that cannot be read from their beginning to their end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use engine_abi::{Batches, Error, Result};

use crate::{Context, file_pieces};

/// The files of a stream, one after the other.
pub struct Files {
    input: Batches,
    cx: Context,
    batch: Option<RecordBatch>,
    /// The piece of it that is next.
    row: usize,
}

/// One file, whole. It has no name on disk, and is gone when nobody reads it any more.
#[derive(Clone)]
pub struct Whole {
    /// As the stream calls it.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    file: Arc<File>,
}

impl Files {
    /// The files of a stream with the columns `{name: Utf8, data: Binary}`.
    pub fn new(input: Batches, cx: Context) -> Self {
        Self { input, cx, batch: None, row: 0 }
    }

    /// Puts the next file aside, if there is one.
    pub fn next_file(&mut self) -> Result<Option<Whole>> {
        if !self.find()? {
            return Ok(None);
        }
        let file = tempfile::tempfile()
            .map_err(|error| Error::from(error).context("a file cannot be put aside").hint("set TMPDIR"))?;
        let mut whole = Whole { name: self.piece().0.to_owned(), bytes: 0, file: Arc::new(file) };
        while self.find()? {
            let (name, data) = self.piece();
            if name != whole.name {
                break;
            }
            (&*whole.file).write_all(data).map_err(|error| {
                Error::from(error)
                    .context(format_args!("{} cannot be put aside", whole.title()))
                    .hint("see that there is room for it, or set TMPDIR")
            })?;
            whole.bytes += data.len() as u64;
            self.row += 1;
        }
        Ok(Some(whole))
    }

    /// Finds a piece, of whichever file. False: the input has ended.
    fn find(&mut self) -> Result<bool> {
        loop {
            match &self.batch {
                Some(batch) if self.row < batch.num_rows() => return Ok(true),
                _ => self.batch = None,
            }
            self.cx.check_cancelled()?;
            let Some(batch) = self.input.next().transpose()? else { return Ok(false) };
            // Asked for its check of the columns.
            file_pieces(&batch)?.for_each(drop);
            (self.batch, self.row) = (Some(batch), 0);
        }
    }

    /// Name and data of the piece that was found.
    fn piece(&self) -> (&str, &[u8]) {
        let batch = self.batch.as_ref().expect("it was found");
        (batch.column(0).as_string::<i32>().value(self.row), batch.column(1).as_binary::<i32>().value(self.row))
    }
}

impl Whole {
    /// As messages call it.
    pub fn title(&self) -> &str {
        if self.name.is_empty() { "the file" } else { &self.name }
    }

    /// Reads as many bytes as `into` has.
    pub fn read(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    /// The file from some place on. Several of it share the file, but not where they are.
    pub fn from(&self, at: u64) -> From {
        From { file: Arc::clone(&self.file), at }
    }
}

/// What [`Whole::from`] gives.
pub struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(into, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}
