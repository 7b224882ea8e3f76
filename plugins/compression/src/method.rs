//! What the two directions need to know of one way to compress.

use std::io::{Result, Write};

use crate::pieces::Pieces;

/// Why the data of a file cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends before its end.
    CutShort,
    /// It is not what the method writes.
    Damaged,
    /// It refers back farther than memory is kept for.
    TooFarBack,
}

/// One way to compress.
pub trait Method: Send + 'static {
    /// As written under `compression:`.
    const NAME: &'static str;
    /// How far back data may refer, in MiB.
    const WINDOW_MIB: u32;

    /// Decompresses one file.
    type Reader: Send;
    /// Compresses one file into memory.
    type Writer: Write + Send;

    /// Whether a file of this kind can begin with these bytes, of which there may
    /// be few.
    fn can_begin(first: &[u8]) -> bool;

    /// Begins to decompress the file that the pieces are at.
    fn reader(pieces: Pieces) -> Result<Self::Reader>;

    /// Gives the next bytes; 0 at the file's end.
    fn read(reader: &mut Self::Reader, into: &mut [u8]) -> std::result::Result<usize, Fault>;

    /// Where a reader is.
    fn pieces(reader: &mut Self::Reader) -> &mut Pieces;

    /// Gives the pieces back, at the file's end.
    fn end(reader: Self::Reader) -> Pieces;

    /// Begins to compress a file.
    fn writer(level: u8) -> Result<Self::Writer>;

    /// What a writer has written so far.
    fn written(writer: &mut Self::Writer) -> &mut Vec<u8>;

    /// Ends a file, and gives what was not yet taken of it.
    fn finish(writer: Self::Writer) -> Result<Vec<u8>>;
}
