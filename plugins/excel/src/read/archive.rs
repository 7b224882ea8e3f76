//! The container, read: the list of its entries, and what is in one of them.
//!
//! Nothing that the archive says of lengths is believed: memory is taken for what is there, and an entry is read as
//! a stream.

use std::io::{self, BufReader, Read, Take};

use crc32fast::Hasher;
use engine_sdk::Context;
use engine_sdk::spool::{From, Whole};
use flate2::bufread::DeflateDecoder;

/// How large the list of entries may be, in bytes. That of a workbook with 1,000 sheets has some 100 KiB.
const LONGEST_LIST: u64 = 16 << 20;
/// What stands at the end of an archive, without its comment.
const END: usize = 22;
/// As long as a comment can be.
const LONGEST_COMMENT: u64 = 65_535;
/// How many bytes are read of the file at a time.
const BLOCK: usize = 64 << 10;

/// What is in an archive.
pub struct Archive {
    file: Whole,
    entries: Vec<Entry>,
    cx: Context,
}

struct Entry {
    name: String,
    /// Of the entry's head.
    at: u64,
    packed: u64,
    crc: u32,
    method: u16,
    is_encrypted: bool,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes: [u8; N] = bytes.get(at..at + N)?.try_into().ok()?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    number::<2>(bytes, at).and_then(|it| it.try_into().ok())
}

const CUT: &str = "it is cut short: its end is missing, which says what is in it";

impl Archive {
    /// Reads the list of entries.
    pub fn open(file: Whole, cx: Context) -> Result<Self, String> {
        let (at, length) = list_of(&file)?;
        if length > LONGEST_LIST {
            return Err(format!("the list of what is in it has {length} bytes"));
        }
        if at.checked_add(length).is_none_or(|end| end > file.bytes) {
            return Err(CUT.into());
        }
        let mut list = vec![0; length as usize];
        file.read(&mut list, at).map_err(|error| error.to_string())?;
        let (mut entries, mut rest) = (Vec::new(), list.as_slice());
        while !rest.is_empty() {
            let (entry, length) = entry(rest).ok_or("the list of what is in it makes no sense")?;
            entries.push(entry);
            rest = rest.get(length..).ok_or("the list of what is in it makes no sense")?;
        }
        Ok(Self { file, entries, cx })
    }

    /// Begins to read an entry. None: there is no such entry.
    pub fn part(&self, name: &str) -> Result<Option<Part>, String> {
        // Some programs write other capitals than they say, and a few the separators of Windows.
        let is_same = |entry: &&Entry| entry.name.eq_ignore_ascii_case(name);
        let Some(entry) = self.entries.iter().find(is_same) else { return Ok(None) };
        if entry.is_encrypted {
            return Err(format!("its part {name} is encrypted"));
        }
        let mut head = [0; 30];
        let is_inside = |end: Option<u64>| end.is_some_and(|end| end <= self.file.bytes);
        if !is_inside(entry.at.checked_add(head.len() as u64)) {
            return Err(CUT.into());
        }
        self.file.read(&mut head, entry.at).map_err(|error| error.to_string())?;
        let lengths = (u16_at(&head, 26), u16_at(&head, 28));
        let (true, (Some(name_length), Some(extra))) = (head.starts_with(b"PK\x03\x04"), lengths) else {
            return Err(format!("its part {name} is not where it should be"));
        };
        let begin = entry.at + 30 + u64::from(name_length) + u64::from(extra);
        if !is_inside(begin.checked_add(entry.packed)) {
            return Err(CUT.into());
        }
        let bytes = BufReader::with_capacity(BLOCK, self.file.from(begin).take(entry.packed));
        let bytes = match entry.method {
            0 => Bytes::Stored(bytes),
            8 => Bytes::Deflated(DeflateDecoder::new(bytes)),
            other => return Err(format!("its part {name} is packed in a way that is not known (number {other})")),
        };
        Ok(Some(Part { name: name.to_owned(), bytes, crc: Hasher::new(), expected: entry.crc, cx: self.cx.clone() }))
    }

    /// The file that it is.
    pub fn file(&self) -> &Whole {
        &self.file
    }
}

/// Where the list of entries begins, and how long it is.
fn list_of(file: &Whole) -> Result<(u64, u64), String> {
    let length = file.bytes.min(END as u64 + LONGEST_COMMENT);
    let mut tail = vec![0; length as usize];
    let begin = file.bytes - length;
    file.read(&mut tail, begin).map_err(|error| error.to_string())?;
    let last = tail.len().checked_sub(END).ok_or(CUT)?;
    let at = (0..=last).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06")).ok_or(CUT)?;
    let end = &tail[at..];
    let (Some(size), Some(place)) = (number::<4>(end, 12), number::<4>(end, 16)) else { return Err(CUT.into()) };
    if size != u64::from(u32::MAX) && place != u64::from(u32::MAX) {
        return Ok((place, size));
    }
    // Large archives say it in another place, which stands in front of this one.
    let locator = at.checked_sub(20).map(|at| &tail[at..]).filter(|it| it.starts_with(b"PK\x06\x07")).ok_or(CUT)?;
    let at = number::<8>(locator, 8).filter(|at| at.checked_add(56).is_some_and(|end| end <= file.bytes)).ok_or(CUT)?;
    let mut large = [0; 56];
    file.read(&mut large, at).map_err(|error| error.to_string())?;
    match (large.starts_with(b"PK\x06\x06"), number::<8>(&large, 40), number::<8>(&large, 48)) {
        (true, Some(size), Some(place)) => Ok((place, size)),
        _ => Err(CUT.into()),
    }
}

/// The first entry of a list, and how long it is there.
fn entry(list: &[u8]) -> Option<(Entry, usize)> {
    let head = list.get(..46).filter(|it| it.starts_with(b"PK\x01\x02"))?;
    let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(head, at).unwrap_or(0)));
    let (mut packed, bytes, mut at) = (number::<4>(head, 20)?, number::<4>(head, 24)?, number::<4>(head, 42)?);
    let mut more = list.get(46 + name..46 + name + extra)?;
    const LARGE: u64 = u32::MAX as u64;
    while let (Some(kind), Some(length)) = (u16_at(more, 0), u16_at(more, 2)) {
        let content = more.get(4..4 + usize::from(length))?;
        if kind == 1 {
            let mut next = 0;
            let values = [(bytes == LARGE, None), (packed == LARGE, Some(&mut packed)), (at == LARGE, Some(&mut at))];
            for (_, value) in values.into_iter().filter(|(is_large, _)| *is_large) {
                if let Some(value) = value {
                    *value = number::<8>(content, next)?;
                }
                next += 8;
            }
        }
        more = &more[4 + usize::from(length)..];
    }
    let is_encrypted = u16_at(head, 8)? & 1 == 1;
    let (method, crc) = (u16_at(head, 10)?, u32::try_from(number::<4>(head, 16)?).ok()?);
    let name_text = String::from_utf8_lossy(&list[46..46 + name]).replace('\\', "/");
    Some((Entry { name: name_text, at, packed, crc, method, is_encrypted }, 46 + name + extra + comment))
}

enum Bytes {
    Stored(BufReader<Take<From>>),
    Deflated(DeflateDecoder<BufReader<Take<From>>>),
}

/// The content of an entry, from its beginning to its end.
pub struct Part {
    name: String,
    bytes: Bytes,
    crc: Hasher,
    expected: u32,
    cx: Context,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // However much a part is packed to be.
        if self.cx.cancelled() {
            return Err(io::Error::other("the work was stopped"));
        }
        let read = match &mut self.bytes {
            Bytes::Stored(bytes) => bytes.read(into),
            Bytes::Deflated(bytes) => bytes.read(into),
        };
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("its part {} {why}", self.name));
        let length = read.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => damaged("cannot be unpacked"),
            io::ErrorKind::UnexpectedEof => damaged("is cut short"),
            _ => error,
        })?;
        self.crc.update(&into[..length]);
        if length == 0 && !into.is_empty() && self.crc.clone().finalize() != self.expected {
            return Err(damaged("is damaged: its checksum is another one"));
        }
        Ok(length)
    }
}
