//! One record of the spool, as bytes.
//!
//! All numbers are little-endian:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `ESP1` |
//! | 4 | 4 | length of the whole record |
//! | 8 | 4 | CRC-32 over the record's offset (8 bytes) and everything but these four bytes |
//! | 12 | 8 | up to where the spool was durable when the record was written |
//! | 20 | 8 | connection |
//! | 28 | 8 | sequence |
//! | 36 | 8 | time received, microseconds since 1970 (signed) |
//! | 44 | 4 | frames |
//! | 48 | 1 | framing |
//! | 49 | 1 | length of the peer's text |
//! | 50 | … | the peer's text, then the framed bytes |
//!
//! The offset under the checksum means that a record is good in its own place only:
//! neither a renamed segment nor the stale content of a reused disk block passes.
//! What was durable tells a torn tail (never promised to anyone) from damage to
//! records that were.

use engine_abi::{Error, ErrorKind, Result};

/// The bytes before the peer's text.
pub(crate) const HEADER_BYTES: usize = 50;
/// No record is longer, header and all.
pub const MAX_RECORD_BYTES: usize = 64 << 20;
pub(crate) const MAGIC: &[u8; 4] = b"ESP1";
const MAX_PEER_BYTES: usize = u8::MAX as usize;

/// How the last frame of a record came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Framing {
    /// Every frame is whole.
    #[default]
    Complete = 0,
    /// The peer left before it ended the frame.
    Partial = 1,
    /// The frame was cut at the length cap.
    Oversize = 2,
}

impl Framing {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Complete, Self::Partial, Self::Oversize].into_iter().find(|framing| *framing as u8 == byte)
    }
}

/// What a push source received, about to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which connection; unique while the process lives.
    pub connection: u64,
    /// Who sent it, for a person: `192.0.2.7:50112`. Cut at 255 bytes.
    pub peer: &'a str,
    /// When it was received, in microseconds since 1970.
    pub received: i64,
    /// How many frames `bytes` holds.
    pub frames: u32,
    /// How the last of them came to its end.
    pub framing: Framing,
    /// One or more frames, with what separates them.
    pub bytes: &'a [u8],
}

/// A record as it stands in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Where the next one begins.
    pub end: u64,
    /// Its number: one more than the record before, for ever.
    pub sequence: u64,
    /// What was appended.
    pub record: Record<'a>,
}

/// The parts of a header that are read before the rest of the record is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub length: usize,
    pub synced: u64,
    pub sequence: u64,
    peer_bytes: usize,
    framing: Framing,
}

fn clip(peer: &str) -> &str {
    &peer[..peer.floor_char_boundary(MAX_PEER_BYTES)]
}

/// The length of `record` in the spool.
pub(crate) fn encoded_length(record: &Record<'_>) -> Result<usize> {
    let length = HEADER_BYTES + clip(record.peer).len() + record.bytes.len();
    if length > MAX_RECORD_BYTES {
        let message = format!("a record of {length} bytes is too long for the spool ({MAX_RECORD_BYTES} at most)");
        return Err(Error::new(ErrorKind::Rejected, message).hint("lower the length cap of the source's frames"));
    }
    Ok(length)
}

/// Writes `record` into `buffer`, replacing what is there.
pub(crate) fn encode(buffer: &mut Vec<u8>, record: &Record<'_>, offset: u64, sequence: u64, synced: u64) {
    let peer = clip(record.peer);
    let length = HEADER_BYTES + peer.len() + record.bytes.len();
    buffer.clear();
    buffer.reserve(length);
    buffer.extend_from_slice(MAGIC);
    buffer.extend_from_slice(&(length as u32).to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&synced.to_le_bytes());
    buffer.extend_from_slice(&record.connection.to_le_bytes());
    buffer.extend_from_slice(&sequence.to_le_bytes());
    buffer.extend_from_slice(&record.received.to_le_bytes());
    buffer.extend_from_slice(&record.frames.to_le_bytes());
    buffer.extend_from_slice(&[record.framing as u8, peer.len() as u8]);
    buffer.extend_from_slice(peer.as_bytes());
    buffer.extend_from_slice(record.bytes);
    let checksum = checksum(buffer, offset);
    buffer[8..12].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(record: &[u8], offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&record[..8]);
    hasher.update(&record[12..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Reads a header of at least [`HEADER_BYTES`] bytes that stands at `offset`; None: it is not one.
pub(crate) fn parse_header(bytes: &[u8], offset: u64) -> Option<Header> {
    if &bytes[..4] != MAGIC {
        return None;
    }
    let header = Header {
        length: u32_at(bytes, 4) as usize,
        synced: u64_at(bytes, 12),
        sequence: u64_at(bytes, 28),
        framing: Framing::from_byte(bytes[48])?,
        peer_bytes: usize::from(bytes[49]),
    };
    let sane =
        (HEADER_BYTES + header.peer_bytes..=MAX_RECORD_BYTES).contains(&header.length) && header.synced <= offset;
    sane.then_some(header)
}

/// Whether `bytes`, a whole record, is what was written at `offset`.
pub(crate) fn verify(bytes: &[u8], offset: u64) -> bool {
    u32_at(bytes, 8) == checksum(bytes, offset)
}

/// The record in `bytes`, which [`verify`] has passed; None: its peer is no text.
pub(crate) fn view<'a>(bytes: &'a [u8], header: &Header, offset: u64) -> Option<StoredRecord<'a>> {
    let (peer, data) = bytes[HEADER_BYTES..].split_at(header.peer_bytes);
    Some(StoredRecord {
        offset,
        end: offset + header.length as u64,
        sequence: header.sequence,
        record: Record {
            connection: u64_at(bytes, 20),
            peer: std::str::from_utf8(peer).ok()?,
            received: u64_at(bytes, 36) as i64,
            frames: u32_at(bytes, 44),
            framing: header.framing,
            bytes: data,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(peer: &'a str, bytes: &'a [u8]) -> Record<'a> {
        Record { connection: 7, peer, received: -3, frames: 2, framing: Framing::Partial, bytes }
    }

    #[test]
    fn a_record_comes_back_as_it_was_in_its_own_place_only() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &record("peer", b"one\ntwo\n"), 4096, 9, 4000);
        let header = parse_header(&buffer, 4096).unwrap();
        assert!(verify(&buffer, 4096));
        assert!(!verify(&buffer, 4097));
        let stored = view(&buffer, &header, 4096).unwrap();
        assert_eq!((stored.sequence, stored.end), (9, 4096 + buffer.len() as u64));
        assert_eq!(stored.record, record("peer", b"one\ntwo\n"));
    }

    #[test]
    fn a_flip_of_any_bit_is_noticed() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &record("p", b"data"), 0, 0, 0);
        for bit in 0..buffer.len() * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            let passes = parse_header(&buffer, 0).is_some_and(|header| header.length == buffer.len());
            assert!(!passes || !verify(&buffer, 0), "bit {bit}");
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_long_peer_is_cut_between_characters() {
        let long = "é".repeat(200);
        let mut buffer = Vec::new();
        encode(&mut buffer, &record(&long, b""), 0, 0, 0);
        let header = parse_header(&buffer, 0).unwrap();
        assert_eq!(view(&buffer, &header, 0).unwrap().record.peer, "é".repeat(127));
        assert_eq!(encoded_length(&record(&long, b"")).unwrap(), buffer.len());
    }
}
