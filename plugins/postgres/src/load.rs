//! Rows into the table, inside savepoints, so that a row which the table
//! refuses does not cost its neighbours.

use engine_sdk::prelude::*;
use sqlx::PgConnection;

use crate::connection::execute;
use crate::encode::{Encoder, HEADER, TRAILER};
use crate::error::{Failure, Refusal, kind};
use crate::prepare::Piece;
use crate::target::Mapping;

/// How much is encoded before it is sent.
const SEND_BYTES: usize = 256 << 10;

/// What has been loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loaded {
    /// Rows that the table took.
    pub rows: u64,
    /// Bytes sent, also for rows that it did not take.
    pub bytes: u64,
}

/// Loads pieces. Those that the server refuses for their data are cut in half
/// until the bad rows stand alone; these become dead letters.
pub async fn load(
    connection: &mut PgConnection,
    mapping: &Mapping,
    pieces: Vec<Piece>,
    cx: &Context,
) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    let mut waiting = vec![pieces];
    while let Some(pieces) = waiting.pop() {
        let rows: usize = pieces.iter().map(Piece::rows).sum();
        if rows == 0 {
            continue;
        }
        execute(connection, "SAVEPOINT engine_load").await?;
        match copy(connection, mapping, &pieces, &mut loaded.bytes).await {
            Ok(()) => {
                execute(connection, "RELEASE SAVEPOINT engine_load").await?;
                loaded.rows += rows as u64;
            }
            Err(Failure::Refused(refusal)) if kind(&refusal.state) == ErrorKind::Rejected => {
                execute(connection, "ROLLBACK TO SAVEPOINT engine_load; RELEASE SAVEPOINT engine_load").await?;
                if rows == 1 {
                    reject(&pieces, &refusal, cx)?;
                } else {
                    let (first, second) = halve(pieces, rows / 2);
                    // In order: of two rows with one key the first one gets in.
                    waiting.push(second);
                    waiting.push(first);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(loaded)
}

async fn copy(
    connection: &mut PgConnection,
    mapping: &Mapping,
    pieces: &[Piece],
    sent: &mut u64,
) -> Result<(), Failure> {
    let mut copy = connection.copy_in_raw(&mapping.copy).await?;
    let mut buffer = Vec::with_capacity(SEND_BYTES + (SEND_BYTES >> 2));
    buffer.extend_from_slice(HEADER);
    for piece in pieces {
        let encoder = Encoder::new(piece.arrays.iter().zip(mapping.columns.iter().map(|column| column.form)));
        for row in 0..piece.rows() {
            encoder.row(row, &mut buffer);
            if buffer.len() >= SEND_BYTES {
                copy.send(buffer.as_slice()).await?;
                *sent += buffer.len() as u64;
                buffer.clear();
            }
        }
    }
    buffer.extend_from_slice(TRAILER);
    copy.send(buffer.as_slice()).await?;
    *sent += buffer.len() as u64;
    copy.finish().await?;
    if let Some(stage) = &mapping.stage {
        execute(connection, &stage.insert).await?;
        execute(connection, &stage.clear).await?;
    }
    Ok(())
}

fn reject(pieces: &[Piece], refusal: &Refusal, cx: &Context) -> Result<()> {
    let reason = format!("{} (SQLSTATE {})", refusal.message, refusal.state);
    for piece in pieces.iter().filter(|piece| piece.rows() > 0) {
        cx.reject_rows(&piece.original, code(&refusal.state), &reason)?;
    }
    Ok(())
}

/// A short word to group dead letters by.
fn code(state: &str) -> &'static str {
    match state {
        "23505" | "23P01" => "duplicate",
        "23503" => "no_parent",
        "23502" => "null",
        "23514" | "44000" => "check",
        "22001" => "too_long",
        "22003" | "22008" => "out_of_range",
        _ => "refused",
    }
}

/// Cuts a list of pieces after `first` rows.
fn halve(pieces: Vec<Piece>, first: usize) -> (Vec<Piece>, Vec<Piece>) {
    let (mut left, mut right) = (vec![], vec![]);
    let mut wanted = first;
    for piece in pieces {
        let rows = piece.rows();
        if rows <= wanted {
            left.push(piece);
        } else if wanted == 0 {
            right.push(piece);
        } else {
            left.push(piece.slice(0, wanted));
            right.push(piece.slice(wanted, rows - wanted));
        }
        wanted = wanted.saturating_sub(rows);
    }
    (left, right)
}
