//! A split on its way: one COPY, decoded.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use engine_postgres_copy::{Decoded, Decoder};
use engine_sdk::prelude::*;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::connection::Server;
use crate::error::Failure;

/// A connection inside a transaction that sees the database at one moment.
pub struct Session {
    pub server: Server,
    /// Under which other connections see the same; absent where the server does not give one.
    pub snapshot: Option<String>,
    /// How many splits are to be read with it. It ends with the last: an open transaction
    /// holds locks, and what writes to the same table would wait for it for ever.
    pub splits: usize,
}

/// Where a session waits for its next split.
#[derive(Clone, Default)]
pub struct Home(Arc<Mutex<Option<Session>>>);

impl Home {
    /// Takes the session that sees the database as `snapshot` does.
    pub fn take(&self, snapshot: Option<&str>) -> Option<Session> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |session: &Session| session.server.is_connected() && session.snapshot.as_deref() == snapshot;
        if snapshot.is_some() && kept.as_ref().is_some_and(fits) { kept.take() } else { None }
    }

    /// Keeps a session that has more to read, and ends any other.
    pub fn keep(&self, mut session: Session) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if session.splits > 0 && kept.is_none() {
            *kept = Some(session);
        } else {
            session.server.roll_back();
        }
    }

    /// Lets the session go.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Reads `copied` to the end and sends what was decoded. Owns the connection, which the
/// driver's stream of rows only borrows, and gives it back.
async fn copy(
    mut connection: PgConnection,
    copied: String,
    mut decoder: Decoder,
    sender: mpsc::Sender<Decoded>,
) -> Result<PgConnection, Failure> {
    let mut pieces = connection.copy_out_raw(&format!("COPY {copied} TO STDOUT (FORMAT binary)")).await?;
    while let Some(piece) = pieces.try_next().await? {
        decoder.push(&piece)?;
        if decoder.is_full() {
            // The receiver lives as long as this future.
            let _ = sender.send(decoder.finish()?).await;
        }
    }
    drop(pieces);
    if !decoder.has_ended() {
        return Err(Error::unavailable("the server's answer ended in the middle").into());
    }
    if !decoder.is_empty() {
        let _ = sender.send(decoder.finish()?).await;
    }
    Ok(connection)
}

type Copying = Pin<Box<dyn Future<Output = Result<PgConnection, Failure>> + Send>>;

/// The rows of one split.
pub struct Rows {
    // Before the session, whose runtime drives it.
    copy: Option<Copying>,
    receiver: mpsc::Receiver<Decoded>,
    session: Option<Session>,
    home: Home,
    cx: Context,
}

impl Rows {
    /// Begins to read. The session goes home when its rows have been read.
    pub fn new(mut session: Session, copied: String, decoder: Decoder, home: Home, cx: Context) -> Result<Self> {
        let connection = session.server.take_connection()?;
        let (sender, receiver) = mpsc::channel(1);
        let copy: Copying = Box::pin(copy(connection, copied, decoder, sender));
        Ok(Self { copy: Some(copy), receiver, session: Some(session), home, cx })
    }

    fn receive(&mut self) -> Result<Option<Decoded>> {
        let Some(session) = &mut self.session else { return Ok(None) };
        // While rows come fast, nothing ever waits, and nobody asks.
        self.cx.check_cancelled()?;
        let (copy, receiver) = (&mut self.copy, &mut self.receiver);
        let (decoded, connection) = session.server.drive(async move {
            let Some(running) = copy else { return Ok((receiver.recv().await, None)) };
            tokio::select! {
                biased;
                decoded = receiver.recv() => Ok((decoded, None)),
                outcome = running => {
                    *copy = None;
                    let connection = outcome?;
                    Ok((receiver.recv().await, Some(connection)))
                }
            }
        })?;
        if let Some(connection) = connection {
            session.server.put_back(connection);
        }
        if decoded.is_none()
            && let Some(mut session) = self.session.take()
        {
            session.splits = session.splits.saturating_sub(1);
            self.home.keep(session);
        }
        Ok(decoded)
    }

    fn hand_on(&self, decoded: Decoded) -> Result<RecordBatch> {
        let rows = decoded.batch.num_rows() + decoded.refused.len();
        self.cx.progress(rows as u64, decoded.bytes);
        for refused in &decoded.refused {
            self.cx.reject_rows(&refused.row, "no_such_value", &refused.reason)?;
        }
        Ok(decoded.batch)
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let received = self.receive().and_then(|decoded| decoded.map(|decoded| self.hand_on(decoded)).transpose());
        if received.is_err() {
            // In this order: the connection is gone before what drives it.
            self.copy = None;
            self.session = None;
        }
        received.transpose()
    }
}
