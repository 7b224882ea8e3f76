//! A stream that a query reads more than once: kept in a file, and read from there each time.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use engine_sdk::prelude::*;
use tempfile::NamedTempFile;

/// The file. It goes when this does.
pub struct Kept {
    file: NamedTempFile,
    /// How much room it takes.
    pub bytes: u64,
}

impl Kept {
    /// Writes all rows into a file below `folder` that may have `most` bytes.
    pub fn new(
        schema: &Schema,
        rows: impl Iterator<Item = Result<RecordBatch>>,
        folder: &Path,
        most: u64,
    ) -> Result<Self> {
        let keeping = |error: std::io::Error| Error::from(error).context("keeping the stream on disk");
        let file = tempfile::Builder::new().prefix("engine-sql-").tempfile_in(folder).map_err(keeping)?;
        let mut writer = StreamWriter::try_new(BufWriter::new(Counted { file: file.as_file(), bytes: 0 }), schema)?;
        for batch in rows {
            writer.write(&batch?).map_err(written)?;
            let bytes = writer.get_ref().get_ref().bytes;
            if bytes > most {
                return Err(Error::config(format!(
                    "the query reads the stream more than once, and keeps it on disk for that, which has taken {bytes} of {most} bytes"
                ))
                .hint("raise `disk`, let fewer rows in, or write the query so that it reads `input` once"));
            }
        }
        writer.finish().map_err(written)?;
        let mut counted = writer.into_inner().map_err(written)?;
        counted.flush().map_err(keeping)?;
        let bytes = counted.get_ref().bytes;
        drop(counted);
        Ok(Self { file, bytes })
    }

    /// The rows, from the first one.
    pub fn rows(&self) -> Result<StreamReader<BufReader<File>>> {
        Ok(StreamReader::try_new(BufReader::new(self.file.reopen()?), None)?)
    }
}

fn written(error: arrow_schema::ArrowError) -> Error {
    match error {
        arrow_schema::ArrowError::IoError(_, error) => Error::from(error).context("keeping the stream on disk"),
        other => other.into(),
    }
}

struct Counted<'a> {
    file: &'a File,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
