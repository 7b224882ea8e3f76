//! Files that wait on disk until they are whole, as the library reads them.

use std::io::BufReader;
use std::ops::Deref;

use bytes::Bytes;
use engine_sdk::prelude::*;
use engine_sdk::spool::{self, From};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// How many bytes are read of a file at a time where no one says how many there are.
const BLOCK: usize = 16 * 1024;

/// The files of a stream, one after the other.
pub struct Files(spool::Files);

/// One file, whole.
#[derive(Clone)]
pub struct Whole(spool::Whole);

impl Files {
    pub fn new(input: Batches, cx: Context) -> Self {
        Self(spool::Files::new(input, cx))
    }

    /// Puts the next file aside, if there is one.
    pub fn next(&mut self) -> Result<Option<Whole>> {
        Ok(self.0.next_file()?.map(Whole))
    }
}

impl Deref for Whole {
    type Target = spool::Whole;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Length for Whole {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Whole {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(BLOCK, self.from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Memory is taken for what is there, and not for what a file says.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!("it points at {length} bytes from byte {start}, beyond its end")));
        }
        let mut bytes = vec![0; length];
        self.read(&mut bytes, start)?;
        Ok(bytes.into())
    }
}
