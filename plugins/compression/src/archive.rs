//! zip archives of one file: what people open without another program.
//!
//! An archive has its directory at its end. So one is written from its first byte to its last, while the file comes,
//! and read only once all of it is there: it waits in a temporary file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;
use engine_sdk::prelude::*;
use engine_sdk::{file_name, file_piece, files_schema};
use flate2::read::DeflateDecoder;
use zip::result::ZipError;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::decode::PIECE;
use crate::pieces::Pieces;

/// How many bytes are taken of a file at a time.
const BLOCK: usize = 128 * 1024;
/// The most bytes of the file in an archive, without the extensions that not everybody reads.
const LARGEST: u64 = u32::MAX as u64;

/// How zip archives are made. Reading them takes no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the file in the archive, such as `calls.csv`. Unset: the name that the file comes with, which one
    /// that a `format` makes has not.
    #[serde(default)]
    filename: Option<Template>,
    /// 1 is the fastest, 9 gives the smallest archives.
    #[serde(default = "six")]
    #[schemars(range(min = 1, max = 9))]
    level: u8,
}

fn six() -> u8 {
    6
}

/// The compression, in both directions.
pub struct Zip {
    config: Config,
    cx: Context,
}

impl Component for Zip {
    type Config = Config;
    const SUMMARY: &'static str = "Unpacks and makes zip archives of one file";

    fn examples() -> Vec<Example> {
        vec![example("an archive with a file of this name", json!({"filename": "calls.csv"}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if !(1..=9).contains(&config.level) {
            return Err(Error::config(format!("`level` is {}, and zip has 1 to 9", config.level)));
        }
        Ok(Self { config, cx })
    }
}

impl Encoder for Zip {
    const TAKES: Shape = Shape::Files;

    fn encode(&mut self, input: Batches) -> Result<Batches> {
        let filename = self.config.filename.as_ref().map(|it| it.to_string());
        let (level, cx) = (self.config.level, self.cx.clone());
        let packing = Packing { pieces: Pieces::new(input), cx, filename, level, archive: None, block: vec![0; BLOCK] };
        Ok(Batches::new(files_schema(), packing))
    }
}

impl Decoder for Zip {
    const GIVES: Shape = Shape::Files;

    fn decode(&mut self, input: Batches) -> Result<Batches> {
        let unpacking = Unpacking { pieces: Some(Pieces::new(input)), cx: self.cx.clone(), entry: None };
        Ok(Batches::new(files_schema(), unpacking))
    }
}

/// Where an archive is written to.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive in the making.
struct Archive {
    writer: ZipWriter<StreamWriter<Written>>,
    written: Written,
    bytes: u64,
}

struct Packing {
    pieces: Pieces,
    cx: Context,
    filename: Option<String>,
    level: u8,
    /// Inside a file.
    archive: Option<Archive>,
    block: Vec<u8>,
}

impl Packing {
    fn begin(&self) -> Result<Archive> {
        let name = file_name(self.filename.as_deref(), &self.pieces.name).map_err(|error| {
            error
                .context("the file in the archive")
                .hint("name it: `compression: {use: zip, with: {filename: calls.csv}}`")
        })?;
        let written = Written::default();
        let mut writer = ZipWriter::new_stream(written.clone());
        // No time of the day: the same file becomes the same bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(self.level)))
            .last_modified_time(DateTime::default());
        writer.start_file(name, options).map_err(|error| failed(&error))?;
        Ok(Archive { writer, written, bytes: 0 })
    }

    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        let mut archive = match self.archive.take() {
            Some(archive) => archive,
            None if self.pieces.next_file()? => self.begin()?,
            None => return Ok(None),
        };
        while archive.written.len() < PIECE {
            self.cx.check_cancelled()?;
            let length = self.pieces.fill(&mut self.block)?;
            archive.bytes += length as u64;
            if archive.bytes > LARGEST {
                return Err(Error::config("the file is larger than 4 GiB, which is the most that a zip archive takes")
                    .hint("write `compression: gzip` or `zstd`"));
            }
            let written = archive.writer.write_all(&self.block[..length]);
            written.map_err(|error| Error::internal(format!("zip cannot compress: {error}")))?;
            if length < BLOCK {
                archive.writer.finish().map_err(|error| failed(&error))?;
                return Ok(Some(file_piece(&self.pieces.name, &archive.written.take())));
            }
        }
        let piece = file_piece(&self.pieces.name, &archive.written.take());
        self.archive = Some(archive);
        Ok(Some(piece))
    }
}

impl Iterator for Packing {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}

fn failed(error: &ZipError) -> Error {
    Error::internal(format!("zip cannot compress: {error}"))
}

/// The file of an archive, as it is read.
struct Entry {
    name: String,
    data: Data,
    /// What the directory says of it.
    bytes: u64,
    checksum: u32,
    hash: Hasher,
    read: u64,
    given: bool,
}

enum Data {
    Stored(io::Take<File>),
    Deflated(Box<DeflateDecoder<io::Take<File>>>),
}

impl Read for Data {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(data) => data.read(into),
            Self::Deflated(data) => data.read(into),
        }
    }
}

struct Unpacking {
    /// Gone after the last file, or an error.
    pieces: Option<Pieces>,
    cx: Context,
    entry: Option<Entry>,
}

impl Unpacking {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(entry) = &mut self.entry {
                match entry.piece(&self.cx)? {
                    Some(piece) => return Ok(Some(piece)),
                    None => self.entry = None,
                }
            }
            let Some(pieces) = &mut self.pieces else { return Ok(None) };
            if !pieces.next_file()? {
                self.pieces = None;
                return Ok(None);
            }
            self.entry = Some(open(pieces, &self.cx)?);
        }
    }
}

impl Iterator for Unpacking {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.piece();
        if piece.is_err() {
            (self.pieces, self.entry) = (None, None);
        }
        piece.transpose()
    }
}

/// Puts an archive aside and finds the file in it.
fn open(pieces: &mut Pieces, cx: &Context) -> Result<Entry> {
    let aside = |error: io::Error| Error::from(error).context("an archive cannot be put aside").hint("set TMPDIR");
    let mut file = tempfile::tempfile().map_err(aside)?;
    let mut block = vec![0; BLOCK];
    loop {
        cx.check_cancelled()?;
        let length = pieces.fill(&mut block)?;
        file.write_all(&block[..length]).map_err(aside)?;
        if length < BLOCK {
            break;
        }
    }
    let name = if pieces.name.is_empty() { "the file".to_owned() } else { pieces.name.clone() };
    let unreadable = |error: ZipError| {
        Error::config(format!("{name} is no zip archive that can be read: {error}"))
            .hint("see that whoever writes it has written all of it, or write the `compression` that it has")
    };
    let mut archive = ZipArchive::new(file.try_clone().map_err(aside)?).map_err(unreadable)?;
    let mut found = None;
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(unreadable)?;
        if entry.is_dir() {
            continue;
        }
        if found.is_some() {
            return Err(Error::config(format!("{name} is an archive of several files"))
                .hint("unpack it first: `compression: zip` reads archives of one file"));
        }
        let refused = |what: &str| {
            Err(Error::config(format!("{name} cannot be unpacked: its file is {what}"))
                .hint("make the archive without that, as most programs do"))
        };
        if entry.encrypted() {
            return refused("protected with a password");
        }
        let method = entry.compression();
        if method != CompressionMethod::Stored && method != CompressionMethod::Deflated {
            return refused(&format!("compressed by {method}"));
        }
        let start =
            entry.data_start().ok_or_else(|| Error::config(format!("{name} is damaged: its file has no place")))?;
        found = Some((start, entry.compressed_size(), entry.size(), entry.crc32(), method));
    }
    let Some((start, packed, bytes, checksum, method)) = found else {
        return Err(Error::config(format!("{name} is an archive without a file")).hint("put a file into it"));
    };
    drop(archive);
    file.seek(SeekFrom::Start(start)).map_err(aside)?;
    let data = file.take(packed);
    let data = match method {
        CompressionMethod::Stored => Data::Stored(data),
        _ => Data::Deflated(Box::new(DeflateDecoder::new(data))),
    };
    let name = pieces.name.clone();
    Ok(Entry { name, data, bytes, checksum, hash: Hasher::new(), read: 0, given: false })
}

impl Entry {
    fn piece(&mut self, cx: &Context) -> Result<Option<RecordBatch>> {
        cx.check_cancelled()?;
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match self.data.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.damaged(&error.to_string())),
            }
        }
        self.hash.update(&piece[..filled]);
        self.read += filled as u64;
        if filled < PIECE && (self.read != self.bytes || self.hash.clone().finalize() != self.checksum) {
            return Err(self.damaged("its content is not what its directory says"));
        }
        // A file of no bytes is a file all the same.
        if filled == 0 && self.given {
            return Ok(None);
        }
        self.given = true;
        Ok(Some(file_piece(&self.name, &piece[..filled])))
    }

    fn damaged(&self, how: &str) -> Error {
        let name = if self.name.is_empty() { "the archive" } else { &self.name };
        Error::config(format!("{name} is damaged: {how}")).hint("put a sound copy in its place and run again")
    }
}
