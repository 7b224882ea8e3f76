//! Looks at the heads of a column's pages before the library does, which takes as
//! much memory as they say.

use parquet::basic::Type;
use parquet::file::metadata::ColumnChunkMetaData;

use crate::spool::Whole;
use crate::thrift::{Walk, kind};

/// How many bytes a page may have, decompressed. Writers make pages of 1 MiB, and some
/// one page of all that a column has in a group.
const LARGEST: i64 = 256 * 1024 * 1024;

/// How many bytes of a page's head are read at first. It is seldom longer.
const HEAD: u64 = 1024;

/// How long a page's head may be.
const LONGEST_HEAD: u64 = 1024 * 1024;

/// Members of `PageHeader`, as the format numbers them.
const DECOMPRESSED: i64 = 2;
const COMPRESSED: i64 = 3;
const DATA: i64 = 5;
const DICTIONARY: i64 = 7;
const DATA_V2: i64 = 8;
/// The member of each kind of page that says how many values it has.
const VALUES: i64 = 1;

/// What the head of a page says.
#[derive(Default)]
struct Head {
    decompressed: i64,
    compressed: i64,
    values: i64,
    dictionary: i64,
}

/// Whether the library can be given what a column has in a group of rows. Answers how
/// many bytes its values take, roughly: a dictionary has each of them once only.
///
/// # Errors
/// What is wrong with it.
pub fn check(file: &Whole, chunk: &ColumnChunkMetaData) -> Result<usize, String> {
    let column = chunk.column_path().string();
    let damaged = || format!("what it says of the column `{column}` is damaged");
    let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let mut at = u64::try_from(begin).map_err(|_| damaged())?;
    let length = u64::try_from(chunk.compressed_size()).map_err(|_| damaged())?;
    let end = at.checked_add(length).filter(|end| *end <= file.bytes).ok_or_else(damaged)?;
    let mut missing = chunk.num_values();
    let mut average = 0;
    while at < end && missing > 0 {
        let (head, length) = head(file, at, end).ok_or_else(damaged)?;
        if head.decompressed > LARGEST {
            return Err(format!(
                "the column `{column}` has a page of {} bytes, and at most {LARGEST} are read at a time",
                head.decompressed
            ));
        }
        // There can be no more values than there are bytes for.
        let least = if chunk.column_type() == Type::FIXED_LEN_BYTE_ARRAY { 1 } else { 4 };
        if head.compressed < 0 || head.dictionary < 0 || head.dictionary > head.decompressed / least {
            return Err(damaged());
        }
        if head.dictionary > 0 {
            average = head.decompressed / head.dictionary;
        }
        missing -= head.values.max(0);
        at = at.saturating_add(length).saturating_add(head.compressed.unsigned_abs());
    }
    let estimate = chunk.num_values().saturating_mul(average).max(chunk.uncompressed_size());
    Ok(usize::try_from(chunk.unencoded_byte_array_data_bytes().unwrap_or(0).max(estimate)).unwrap_or(0))
}

/// The head of the page at a place, and how long it is. None, where there is none.
fn head(file: &Whole, at: u64, end: u64) -> Option<(Head, u64)> {
    let mut length = HEAD;
    loop {
        let mut bytes = vec![0; usize::try_from(length.min(end - at)).ok()?];
        file.read(&mut bytes, at).ok()?;
        let mut walk = Walk { rest: &bytes };
        if let Some(head) = read(&mut walk) {
            let rest = walk.rest.len();
            return Some((head, (bytes.len() - rest) as u64));
        }
        if length >= LONGEST_HEAD || length >= end - at {
            return None;
        }
        length *= 8;
    }
}

fn read(walk: &mut Walk) -> Option<Head> {
    let mut head = Head::default();
    walk.members(|walk, member, kind| {
        match (member, kind) {
            (DECOMPRESSED, kind::I32) => head.decompressed = walk.integer()?,
            (COMPRESSED, kind::I32) => head.compressed = walk.integer()?,
            (DATA | DATA_V2 | DICTIONARY, kind::STRUCT) => walk.members(|walk, inner, kind| {
                match (inner, kind) {
                    (VALUES, kind::I32) if member == DICTIONARY => head.dictionary = walk.integer()?,
                    (VALUES, kind::I32) => head.values = walk.integer()?,
                    _ => walk.skip(kind, 1)?,
                }
                Ok(())
            })?,
            _ => walk.skip(kind, 0)?,
        }
        Ok(())
    })
    .ok()?;
    Some(head)
}
