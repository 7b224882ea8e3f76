//! Compressed files to the files that they were.

use engine_sdk::prelude::*;
use engine_sdk::{file_piece, files_schema};

use crate::gzip::Gzip;
use crate::method::{Fault, Method};
use crate::pieces::Pieces;
use crate::zstd::Zstd;

/// How many bytes make a piece, however few they were made of.
pub const PIECE: usize = 512 * 1024;

pub fn decode<M: Method>(cx: Context, input: Batches) -> Batches {
    let at = At::Between(Pieces::new(input));
    let decoding = Decoding::<M> { at, cx, buffer: vec![0; PIECE], given: false };
    Batches::new(files_schema(), decoding)
}

/// Where the work is.
#[expect(clippy::large_enum_variant, reason = "there is one of it a stream")]
enum At<R> {
    Between(Pieces),
    Inside(R),
    /// After the last file, or an error.
    Ended,
}

struct Decoding<M: Method> {
    at: At<M::Reader>,
    cx: Context,
    buffer: Vec<u8>,
    /// Whether a piece of the present file was given.
    given: bool,
}

impl<M: Method> Decoding<M> {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match std::mem::replace(&mut self.at, At::Ended) {
                At::Between(mut pieces) => {
                    if !pieces.next_file()? {
                        return Ok(None);
                    }
                    let reader = M::reader(pieces)
                        .map_err(|error| Error::internal(format!("{} cannot begin to decompress: {error}", M::NAME)))?;
                    (self.at, self.given) = (At::Inside(reader), false);
                }
                At::Inside(mut reader) => {
                    let (length, ended) = self.fill(&mut reader)?;
                    // A file of no bytes is a file all the same.
                    let piece = (length > 0 || !self.given)
                        .then(|| file_piece(&M::pieces(&mut reader).name, &self.buffer[..length]));
                    self.at = if ended { At::Between(M::end(reader)) } else { At::Inside(reader) };
                    if piece.is_some() {
                        self.given = true;
                        return Ok(piece);
                    }
                }
                At::Ended => return Ok(None),
            }
        }
    }

    /// Fills the buffer; true at the file's end.
    fn fill(&mut self, reader: &mut M::Reader) -> Result<(usize, bool)> {
        let mut filled = 0;
        while filled < PIECE {
            self.cx.check_cancelled()?;
            match M::read(reader, &mut self.buffer[filled..]) {
                Ok(0) => return Ok((filled, true)),
                Ok(length) => filled += length,
                Err(fault) => return Err(refuse::<M>(M::pieces(reader), fault)),
            }
        }
        Ok((filled, false))
    }
}

impl<M: Method> Iterator for Decoding<M> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}

/// Says what is wrong with the file that a reader has stopped in.
fn refuse<M: Method>(pieces: &mut Pieces, fault: Fault) -> Error {
    if let Some(error) = pieces.failed() {
        return error;
    }
    let (first, offset, what) = (pieces.first(), pieces.offset, M::NAME);
    let name = if pieces.name.is_empty() { "the file" } else { &pieces.name };
    if first.is_empty() {
        return Error::config(format!("{name} is empty, and a file of {what} never is, not even one without content"))
            .hint("see that whoever writes the file has written all of it, or move it away");
    }
    if !M::can_begin(&first) {
        let shown: Vec<_> = first.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let other = [(Gzip::NAME, Gzip::can_begin as fn(&[u8]) -> bool), (Zstd::NAME, Zstd::can_begin)];
        let other = other.into_iter().find(|(_, can_begin)| first.len() >= 4 && can_begin(&first));
        let hint = match other {
            Some((other, _)) => format!("write `compression: {other}`: that is how it begins"),
            None => "remove `compression` if the files are not compressed".into(),
        };
        return Error::config(format!("{name} is not {what}: it begins with {}", shown.join(" "))).hint(hint);
    }
    match fault {
        Fault::CutShort => Error::config(format!(
            "{name} is cut short: its {what} data goes on where the file ends, after {offset} bytes"
        ))
        .hint("put the whole file in its place and run again; files should be written under another name and renamed when they are complete"),
        Fault::Damaged => Error::config(format!(
            "{name} is damaged: its {what} data cannot be read at byte {offset} of the compressed file, or soon after"
        ))
        .hint(format!(
            "put a sound copy in its place and run again; behind the end of {what} data nothing may stand but more of it"
        )),
        Fault::TooFarBack => Error::config(format!(
            "{name} takes more than {} MiB of memory to be decompressed, from byte {offset} of the compressed file",
            M::WINDOW_MIB
        ))
        .hint(format!("compress it with a window of at most {} MiB, which is what {what} does unless it is told otherwise", M::WINDOW_MIB)),
    }
}
