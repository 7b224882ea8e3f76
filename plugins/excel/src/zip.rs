//! The container: a zip archive that is written from its first byte to its last, without going back.
//!
//! Lengths and checksums follow the content of each entry. There is no zip64, which some programs refuse in a
//! workbook: neither an entry nor the archive may reach 4 GiB. No entry has a time, so that the same content
//! becomes the same bytes.

use crc32fast::Hasher;
use engine_sdk::prelude::{Error, Result};
use flate2::{Compress, Compression, FlushCompress, Status};

/// What deflate makes of the XML of tables: up to here much smaller files for a little time, beyond only a little
/// smaller ones for much of it.
const LEVEL: u32 = 2;
/// Bytes that are made room for at a time.
const ROOM: usize = 64 << 10;
/// 1980-01-01, the first day that the container knows.
const NO_DATE: u16 = 0x21;
/// Deflated, with what belongs into the head behind the content, names in UTF-8.
const FLAGS: u16 = 0x0808;
const DEFLATED: u16 = 8;
/// The version of the container that has all of this.
const VERSION: u16 = 20;

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    out: Vec<u8>,
    /// Bytes that were taken out of `out`.
    taken: u64,
    entries: Vec<Entry>,
    open: Option<Open>,
}

struct Entry {
    name: String,
    at: u32,
    crc: u32,
    packed: u32,
    bytes: u32,
}

struct Open {
    name: String,
    at: u64,
    compress: Compress,
    crc: Hasher,
}

impl Archive {
    /// Begins an entry.
    pub fn begin(&mut self, name: impl Into<String>) {
        let (name, at) = (name.into(), self.length());
        self.out.extend_from_slice(b"PK\x03\x04");
        self.put_head(&name, 0, 0, 0);
        self.out.extend_from_slice(name.as_bytes());
        self.open =
            Some(Open { name, at, compress: Compress::new(Compression::new(LEVEL), false), crc: Hasher::new() });
    }

    /// Adds to the entry that was begun.
    pub fn write(&mut self, mut data: &[u8]) -> Result<()> {
        let Self { out, open: Some(open), .. } = self else { return Err(Error::internal("no entry was begun")) };
        open.crc.update(data);
        while !data.is_empty() {
            out.reserve(ROOM);
            let before = open.compress.total_in();
            open.compress.compress_vec(data, out, FlushCompress::None).map_err(faulty)?;
            data = &data[(open.compress.total_in() - before) as usize..];
        }
        Ok(())
    }

    /// How many bytes the entry has by now, before they are packed.
    pub fn written(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.compress.total_in())
    }

    /// Ends the entry.
    pub fn end(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Err(Error::internal("no entry was begun")) };
        loop {
            self.out.reserve(ROOM);
            let status = open.compress.compress_vec(&[], &mut self.out, FlushCompress::Finish).map_err(faulty)?;
            if status == Status::StreamEnd {
                break;
            }
        }
        let size = |bytes: u64| u32::try_from(bytes).map_err(|_| too_large());
        let (packed, bytes) = (size(open.compress.total_out())?, size(open.compress.total_in())?);
        let entry = Entry { at: size(open.at)?, crc: open.crc.finalize(), packed, bytes, name: open.name };
        self.out.extend_from_slice(b"PK\x07\x08");
        for number in [entry.crc, packed, bytes] {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// An entry in one go.
    pub fn add(&mut self, name: impl Into<String>, content: &str) -> Result<()> {
        self.begin(name);
        self.write(content.as_bytes())?;
        self.end()
    }

    /// Ends the archive with the list of its entries.
    pub fn finish(&mut self) -> Result<()> {
        let begin = self.length();
        let entries = std::mem::take(&mut self.entries);
        for Entry { name, at, crc, packed, bytes } in &entries {
            self.out.extend_from_slice(b"PK\x01\x02");
            self.out.extend_from_slice(&VERSION.to_le_bytes());
            self.put_head(name, *crc, *packed, *bytes);
            // No comment, the first disk, no attributes.
            self.out.extend_from_slice(&[0; 10]);
            self.out.extend_from_slice(&at.to_le_bytes());
            self.out.extend_from_slice(name.as_bytes());
        }
        let size = u32::try_from(self.length() - begin).map_err(|_| too_large())?;
        let begin = u32::try_from(begin).map_err(|_| too_large())?;
        let count = u16::try_from(entries.len()).map_err(|_| too_large())?;
        self.out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        self.out.extend_from_slice(&count.to_le_bytes());
        self.out.extend_from_slice(&count.to_le_bytes());
        self.out.extend_from_slice(&size.to_le_bytes());
        self.out.extend_from_slice(&begin.to_le_bytes());
        self.out.extend_from_slice(&[0; 2]);
        Ok(())
    }

    /// The bytes that are there.
    pub fn out(&self) -> &[u8] {
        &self.out
    }

    /// Lets the bytes go that were there.
    pub fn clear(&mut self) {
        self.taken += self.out.len() as u64;
        self.out.clear();
    }

    fn length(&self) -> u64 {
        self.taken + self.out.len() as u64
    }

    /// What the head of an entry and its line in the list have in common.
    fn put_head(&mut self, name: &str, crc: u32, packed: u32, bytes: u32) {
        for number in [VERSION, FLAGS, DEFLATED, 0, NO_DATE] {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [crc, packed, bytes] {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
        self.out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.out.extend_from_slice(&[0; 2]);
    }
}

fn faulty(error: flate2::CompressError) -> Error {
    Error::internal(format!("a sheet cannot be compressed: {error}"))
}

fn too_large() -> Error {
    Error::config("the workbook would be larger than 4 GiB, which programs do not open")
        .hint("write fewer rows or columns into one, or write CSV or Parquet")
}
