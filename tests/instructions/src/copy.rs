//! Binary COPY, as the PostgreSQL module uses it between the driver and the batches.

use std::hint::black_box;

use arrow_array::RecordBatch;
use engine_abi::{Error, Result};
use engine_postgres_copy::{Decoder, Encoder, Form, HEADER, Kind, TRAILER};

use crate::{BLOCK, calls, require};

const FORMS: [Form; 5] = [Form::Timestamp, Form::Int4, Form::Text, Form::Text, Form::Text];
const KINDS: [Kind; 5] =
    [Kind::Timestamp, Kind::Int4, Kind::Text(Some(50)), Kind::Text(Some(50)), Kind::Text(Some(10))];

/// The source's default.
const BATCH_ROWS: usize = 8192;
/// How much is encoded before it is sent.
const SEND_BYTES: usize = 256 << 10;

fn encoder(batch: &RecordBatch) -> Encoder<'_> {
    Encoder::new(batch.columns().iter().zip(FORMS))
}

pub fn encode(blocks: usize) -> Result<()> {
    let batch = calls::batch();
    let mut buffer = Vec::with_capacity(SEND_BYTES + (SEND_BYTES >> 2));
    let mut rows = 0;
    for _ in 0..blocks {
        let encoder = encoder(&batch);
        for row in 0..batch.num_rows() {
            encoder.row(row, &mut buffer);
            rows += 1;
            if buffer.len() >= SEND_BYTES {
                black_box(&buffer);
                buffer.clear();
            }
        }
    }
    require("rows", rows, blocks * BLOCK)
}

pub fn decode(blocks: usize) -> Result<()> {
    let batch = calls::batch();
    // The server sends each row by itself.
    let row = |row| {
        let mut bytes = Vec::new();
        encoder(&batch).row(row, &mut bytes);
        bytes
    };
    let sent: Vec<_> = (0..batch.num_rows()).map(row).collect();
    let malformed = |error| Error::internal(format!("{error}"));
    let mut decoder = Decoder::new(batch.schema(), &KINDS, BATCH_ROWS);
    let mut rows = 0;
    decoder.push(HEADER).map_err(malformed)?;
    for _ in 0..blocks {
        for row in &sent {
            decoder.push(row).map_err(malformed)?;
            if decoder.is_full() {
                rows += decoder.finish().map_err(malformed)?.batch.num_rows() as u64;
            }
        }
    }
    decoder.push(TRAILER).map_err(malformed)?;
    rows += decoder.finish().map_err(malformed)?.batch.num_rows() as u64;
    require("rows", rows, blocks * BLOCK)
}
