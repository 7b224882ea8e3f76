//! Rows into the table, inside savepoints, so that a row which the table
//! refuses does not cost its neighbours.

use engine_postgres_copy::{HEADER, TRAILER};
use engine_sdk::database::{Loaded, Piece};
use engine_sdk::prelude::*;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;

use crate::connection::{Server, execute};
use crate::error::{Failure, Refusal, kind};
use crate::prepare::prepare;
use crate::target::Mapping;

/// How much is encoded before it is sent: as much as a socket takes at once. Between 64 KiB and 1 MiB it makes
/// no difference to the time.
const SEND_BYTES: usize = 256 << 10;

/// What is loaded at a time: every load is a savepoint and two round trips to the server, its rows
/// are kept in memory, and one bad row costs it again.
const LOAD_ROWS: usize = 65_536;
const LOAD_BYTES: usize = 8 << 20;

/// Undoes what has been done under the savepoint.
const FORGET: &str = "ROLLBACK TO SAVEPOINT engine_load; RELEASE SAVEPOINT engine_load";

/// Loads a stream. What is loaded at a time is sent as it comes, so that the server works while the
/// stages before still do; the rows are kept until the server has taken them.
pub fn load(server: &mut Server, mapping: &Mapping, mut input: Batches, cx: &Context) -> Result<Loaded> {
    // Lost with every error but a refusal, which makes the server roll back.
    let mut connection = server.take_connection()?;
    let mut loaded = Loaded::default();
    let mut next = input.next().transpose()?;
    while let Some(first) = next.take() {
        cx.check_cancelled()?;
        let mut load = Load::default();
        let sent = load.send(server, &mut connection, mapping, first, &mut input, cx)?;
        let settled = server.drive(async { Ok(load.settle(&mut connection, mapping, sent, cx).await) })?;
        loaded.rows += settled?;
        loaded.bytes += load.sent;
        if !load.last {
            next = input.next().transpose()?;
        }
    }
    server.put_back(connection);
    Ok(loaded)
}

/// What is loaded under one savepoint.
#[derive(Default)]
struct Load {
    pieces: Vec<Piece>,
    rows: usize,
    /// Of the batches, in memory.
    bytes: usize,
    /// Bytes that went to the server.
    sent: u64,
    /// The stream has ended.
    last: bool,
}

impl Load {
    /// Sends batches until it is enough for one load. The inner error is the server's answer.
    fn send(
        &mut self,
        server: &Server,
        connection: &mut PgConnection,
        mapping: &Mapping,
        first: RecordBatch,
        input: &mut Batches,
        cx: &Context,
    ) -> Result<Result<(), Failure>> {
        let begun = server.drive(async {
            execute(connection, "SAVEPOINT engine_load").await?;
            Ok(connection.copy_in_raw(&mapping.copy).await.map_err(Failure::from))
        })?;
        let mut sending = match begun {
            Ok(copy) => Sending::new(copy),
            Err(failure) => return Ok(Err(failure)),
        };
        let mut next = Some(first);
        while let Some(batch) = next.take() {
            let piece = prepare(&batch, &mapping.columns, cx)?;
            server.drive(async { Ok(sending.rows(mapping, &piece, &mut self.sent).await?) })?;
            self.rows += piece.rows();
            self.bytes += batch.get_array_memory_size();
            self.pieces.push(piece);
            if self.rows < LOAD_ROWS && self.bytes < LOAD_BYTES {
                next = input.next().transpose()?;
                self.last = next.is_none();
            }
        }
        server.drive(async { Ok(sending.finish(&mut self.sent).await) })
    }

    /// Keeps what the server took. Rows that it refuses for their data are cut in half until the bad
    /// ones stand alone; these become dead letters. Answers how many rows are in.
    async fn settle(
        &mut self,
        connection: &mut PgConnection,
        mapping: &Mapping,
        sent: Result<(), Failure>,
        cx: &Context,
    ) -> Result<u64, Failure> {
        let mut taken = match sent {
            Ok(()) => move_on(connection, mapping).await,
            Err(failure) => Err(failure),
        };
        let mut loaded = 0;
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut waiting = vec![];
        loop {
            let rows: usize = pieces.iter().map(Piece::rows).sum();
            match taken {
                Ok(()) => {
                    execute(connection, "RELEASE SAVEPOINT engine_load").await?;
                    loaded += rows as u64;
                }
                Err(Failure::Refused(refusal)) if refusal.is_of_rows() || texts(mapping, &refusal).is_some() => {
                    execute(connection, FORGET).await?;
                    if !refusal.is_of_rows()
                        && !is_of_texts(connection, mapping, &refusal, &pieces, &mut self.sent).await?
                    {
                        return Err(Failure::Refused(refusal));
                    }
                    match rows {
                        // No row is to blame.
                        0 => return Err(Failure::Refused(refusal)),
                        1 => reject(&pieces, &refusal, cx)?,
                        _ => {
                            let (first, second) = halve(pieces, rows / 2);
                            // In order: of two rows with one key the first one gets in.
                            waiting.extend([second, first]);
                        }
                    }
                }
                Err(failure) => return Err(failure),
            }
            let Some(next) = waiting.pop() else { return Ok(loaded) };
            pieces = next;
            execute(connection, "SAVEPOINT engine_load").await?;
            taken = match copy(connection, mapping, &pieces, &mut self.sent).await {
                Ok(()) => move_on(connection, mapping).await,
                Err(failure) => Err(failure),
            };
        }
    }
}

async fn copy(
    connection: &mut PgConnection,
    mapping: &Mapping,
    pieces: &[Piece],
    sent: &mut u64,
) -> Result<(), Failure> {
    let mut sending = Sending::new(connection.copy_in_raw(&mapping.copy).await?);
    for piece in pieces {
        sending.rows(mapping, piece, sent).await?;
    }
    sending.finish(sent).await
}

/// A COPY that is being filled.
struct Sending<'a> {
    copy: PgCopyIn<&'a mut PgConnection>,
    buffer: Vec<u8>,
}

impl<'a> Sending<'a> {
    fn new(copy: PgCopyIn<&'a mut PgConnection>) -> Self {
        let mut buffer = Vec::with_capacity(SEND_BYTES + (SEND_BYTES >> 2));
        buffer.extend_from_slice(HEADER);
        Self { copy, buffer }
    }

    async fn rows(&mut self, mapping: &Mapping, piece: &Piece, sent: &mut u64) -> Result<(), Failure> {
        let encoder = mapping.encoder(piece);
        for row in 0..piece.rows() {
            encoder.row(row, &mut self.buffer);
            if self.buffer.len() >= SEND_BYTES {
                self.send(sent).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, sent: &mut u64) -> Result<(), Failure> {
        self.copy.send(self.buffer.as_slice()).await?;
        *sent += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    async fn finish(mut self, sent: &mut u64) -> Result<(), Failure> {
        self.buffer.extend_from_slice(TRAILER);
        self.send(sent).await?;
        self.copy.finish().await?;
        Ok(())
    }
}

/// What reads the texts of a load that was refused in words that may be about them: some types (tsvector, tsquery,
/// jsonpath, regclass) say of a value what others say of SQL.
fn texts<'a>(mapping: &'a Mapping, refusal: &Refusal) -> Option<&'a str> {
    let read = mapping.stage.as_ref()?.read.as_deref();
    read.filter(|_| kind(&refusal.state) == ErrorKind::Config)
}

/// Whether PostgreSQL cannot read the texts by themselves. If it can, something is wrong with the statement or the
/// table.
async fn is_of_texts(
    connection: &mut PgConnection,
    mapping: &Mapping,
    refusal: &Refusal,
    pieces: &[Piece],
    sent: &mut u64,
) -> Result<bool, Failure> {
    let Some(read) = texts(mapping, refusal) else { return Ok(false) };
    execute(connection, "SAVEPOINT engine_load").await?;
    let done = match copy(connection, mapping, pieces, sent).await {
        Ok(()) => execute(connection, read).await.map(drop),
        Err(failure) => Err(failure),
    };
    let is_theirs = match done {
        Ok(()) => false,
        Err(Failure::Refused(again)) if matches!(kind(&again.state), ErrorKind::Config | ErrorKind::Rejected) => true,
        Err(failure) => return Err(failure),
    };
    execute(connection, FORGET).await?;
    Ok(is_theirs)
}

/// From the stage into the table, where there is a stage.
async fn move_on(connection: &mut PgConnection, mapping: &Mapping) -> Result<(), Failure> {
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
