//! Files to compressed ones.

use std::io::Write;

use engine_sdk::prelude::*;
use engine_sdk::{file_piece, files_schema};

use crate::decode::PIECE;
use crate::method::Method;
use crate::pieces::Pieces;

/// How many bytes are compressed at a time. Always as many, however the file was
/// cut: then the same file becomes the same bytes.
const BLOCK: usize = 128 * 1024;

pub fn encode<M: Method>(level: u8, cx: Context, input: Batches) -> Batches {
    let pieces = Pieces::new(input);
    let encoding = Encoding::<M> { pieces, cx, level, writer: None, block: vec![0; BLOCK] };
    Batches::new(files_schema(), encoding)
}

struct Encoding<M: Method> {
    pieces: Pieces,
    cx: Context,
    level: u8,
    /// Inside a file.
    writer: Option<M::Writer>,
    block: Vec<u8>,
}

impl<M: Method> Encoding<M> {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        let failed = |error: std::io::Error| Error::internal(format!("{} cannot compress: {error}", M::NAME));
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None if self.pieces.next_file()? => M::writer(self.level).map_err(failed)?,
            None => return Ok(None),
        };
        while M::written(&mut writer).len() < PIECE {
            self.cx.check_cancelled()?;
            let length = self.pieces.fill(&mut self.block)?;
            writer.write_all(&self.block[..length]).map_err(failed)?;
            if length < BLOCK {
                let rest = M::finish(writer).map_err(failed)?;
                return Ok(Some(file_piece(&self.pieces.name, &rest)));
            }
        }
        let piece = file_piece(&self.pieces.name, M::written(&mut writer));
        M::written(&mut writer).clear();
        self.writer = Some(writer);
        Ok(Some(piece))
    }
}

impl<M: Method> Iterator for Encoding<M> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
