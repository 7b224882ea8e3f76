//! A split on its way: one cursor, decoded.

use bson::Document;
use engine_sdk::prelude::*;
use mongodb::Cursor;

use crate::connection::Server;
use crate::decode::Decoder;

/// Of documents in one batch.
const BATCH_BYTES: usize = 8 << 20;

/// The rows of one split.
pub struct Rows {
    cursor: Option<Cursor<Document>>,
    server: Server,
    decoder: Decoder,
    batch: usize,
    cx: Context,
}

impl Rows {
    pub fn new(server: Server, cursor: Cursor<Document>, decoder: Decoder, batch: usize, cx: Context) -> Self {
        Self { cursor: Some(cursor), server, decoder, batch, cx }
    }

    fn receive(&mut self) -> Result<Option<RecordBatch>> {
        // While documents come fast, nothing ever waits, and nobody asks.
        self.cx.check_cancelled()?;
        let (cursor, decoder, batch) = (&mut self.cursor, &mut self.decoder, self.batch);
        let Some(reading) = cursor else { return Ok(None) };
        let ended = self.server.run(async |_| {
            while reading.advance().await? {
                decoder.push(reading.current());
                if decoder.rows() >= batch || decoder.bytes() >= BATCH_BYTES {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if ended {
            self.close();
        }
        if self.decoder.rows() == 0 {
            return Ok(None);
        }
        self.cx.progress(self.decoder.rows() as u64, self.decoder.bytes() as u64);
        let (batch, refused) = self.decoder.finish()?;
        for refused in refused {
            self.cx.reject_rows(&refused.document, refused.code, &refused.reason)?;
        }
        Ok(Some(batch))
    }

    fn close(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            self.server.release(cursor);
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let received = self.receive();
        if received.is_err() {
            self.close();
        }
        received.transpose()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.close();
    }
}
