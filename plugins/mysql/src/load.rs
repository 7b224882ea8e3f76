//! Rows into the table, in statements that are taken whole or not at all, so that a row which the table
//! refuses does not cost its neighbours.

use engine_sdk::database::Loaded;
use engine_sdk::prelude::*;

use crate::connection::{Link, Server, execute, value};
use crate::encode::Encoder;
use crate::error::{DUPLICATE, Failure, Refusal};
use crate::prepare::prepare;
use crate::target::Mapping;

/// How long a statement gets. Below the limit of any server; longer ones are not faster.
const STATEMENT_BYTES: usize = 1 << 20;

/// Loads a stream, inside the transaction that is open.
pub fn load(server: &mut Server, mapping: &Mapping, input: Batches, cx: &Context) -> Result<Loaded> {
    let limit = server.run(async |connection| {
        let limit = value(connection, "SELECT @@max_allowed_packet").await?;
        Ok(limit.and_then(|limit| limit.parse::<usize>().ok()).unwrap_or(STATEMENT_BYTES))
    })?;
    // The packet has its own head.
    let limit = limit.saturating_sub(mapping.before.len() + mapping.behind.len() + 64);
    // Lost with every error but a refusal, which makes the server roll back.
    let mut connection = server.take_connection()?;
    let mut loaded = Loaded::default();
    let mut statement = Statement::default();
    let mut row_sql = vec![];
    for batch in input {
        cx.check_cancelled()?;
        let piece = prepare(&batch?, &mapping.columns, cx)?;
        let encoder = Encoder::new(&piece.arrays, &mapping.columns)?;
        statement.pieces.push((statement.ends.len(), piece.original.clone()));
        for row in 0..piece.original.num_rows() {
            row_sql.clear();
            encoder.row(row, &mut row_sql);
            if row_sql.len() > limit {
                let reason =
                    format!("{} bytes of SQL, and the server takes {limit} (max_allowed_packet)", row_sql.len());
                cx.reject_rows(&piece.original.slice(row, 1), "too_long", &reason)?;
                // It takes no place in the statement, and those behind it are a piece of their own.
                statement
                    .pieces
                    .push((statement.ends.len(), piece.original.slice(row + 1, piece.original.num_rows() - row - 1)));
                continue;
            }
            if !statement.ends.is_empty() && statement.rows.len() + row_sql.len() > limit.min(STATEMENT_BYTES) {
                let full = std::mem::take(&mut statement);
                server.drive(async { Ok(full.send(&mut connection, mapping, &mut loaded, cx).await?) })?;
                statement.pieces.push((0, piece.original.slice(row, piece.original.num_rows() - row)));
            }
            statement.rows.extend_from_slice(&row_sql);
            statement.ends.push(statement.rows.len());
        }
    }
    server.drive(async { Ok(statement.send(&mut connection, mapping, &mut loaded, cx).await?) })?;
    server.put_back(connection);
    Ok(loaded)
}

/// Rows that go to the server at once.
#[derive(Default)]
struct Statement {
    /// Each with a comma behind it.
    rows: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The rows as they came, and the number of the first of each.
    pieces: Vec<(usize, RecordBatch)>,
}

impl Statement {
    /// Keeps what the server took. Rows that it refuses for their data are cut in half until the bad
    /// ones stand alone; these become dead letters.
    async fn send(
        &self,
        connection: &mut Link,
        mapping: &Mapping,
        loaded: &mut Loaded,
        cx: &Context,
    ) -> Result<(), Failure> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let mut waiting = vec![(0, self.ends.len())];
        while let Some((from, to)) = waiting.pop() {
            let sql = self.sql(mapping, from, to);
            loaded.bytes += sql.len() as u64;
            match execute(connection, &sql).await {
                Ok(_) => loaded.rows += (to - from) as u64,
                Err(Failure::Refused(refusal)) if refusal.is_of_rows() => {
                    cx.check_cancelled()?;
                    if to - from == 1 {
                        self.reject(from, &refusal, cx)?;
                    } else {
                        let middle = from + (to - from) / 2;
                        // In order: of two rows with one key the first one gets in.
                        waiting.extend([(middle, to), (from, middle)]);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn sql(&self, mapping: &Mapping, from: usize, to: usize) -> Vec<u8> {
        let begin = from.checked_sub(1).map_or(0, |before| self.ends[before]);
        // Without the last comma.
        let rows = &self.rows[begin..self.ends[to - 1] - 1];
        let mut sql = Vec::with_capacity(mapping.before.len() + rows.len() + mapping.behind.len());
        sql.extend_from_slice(mapping.before.as_bytes());
        sql.extend_from_slice(rows);
        sql.extend_from_slice(mapping.behind.as_bytes());
        sql
    }

    fn reject(&self, row: usize, refusal: &Refusal, cx: &Context) -> Result<()> {
        let at = self.pieces.partition_point(|(first, _)| *first <= row) - 1;
        let (first, piece) = &self.pieces[at];
        let reason = format!("{} (error {})", refusal.message, refusal.number);
        cx.reject_rows(&piece.slice(row - first, 1), code(refusal.number), &reason)
    }
}

/// A short word to group dead letters by.
fn code(number: u16) -> &'static str {
    match number {
        DUPLICATE | 1022 | 1169 | 1586 | 1761 | 1762 | 1859 => "duplicate",
        1216 | 1452 => "no_parent",
        1048 => "null",
        1369 | 3819 | 4025 => "check",
        1406 | 1118 => "too_long",
        1264 | 1690 | 1441 => "out_of_range",
        _ => "refused",
    }
}
