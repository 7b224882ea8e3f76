//! A split on its way: one answer of a server, decoded as it comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use engine_abi::{Error, Result};
use tokio::sync::mpsc;

use super::server::{Endpoint, Server};
use crate::Context;

/// A connection inside a transaction that sees the database at one moment.
pub struct Session<E: Endpoint> {
    /// The connection.
    pub server: Server<E>,
    /// What the splits that were planned in it know it by. None: nobody can ask for it.
    pub name: Option<String>,
    /// How many splits are to be read with it. It ends with the last: an open transaction
    /// holds what others would wait for.
    pub splits: usize,
}

/// Where a session waits for its next split.
pub struct Home<E: Endpoint>(Arc<Mutex<Option<Session<E>>>>);

impl<E: Endpoint> Default for Home<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E: Endpoint> Clone for Home<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Endpoint> Home<E> {
    /// Takes the session of that name.
    pub fn take(&self, name: Option<&str>) -> Option<Session<E>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |session: &Session<E>| session.server.is_connected() && session.name.as_deref() == name;
        if name.is_some() && kept.as_ref().is_some_and(fits) { kept.take() } else { None }
    }

    /// Keeps a session that has more to read, and ends any other.
    pub fn keep(&self, mut session: Session<E>) {
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

/// A row that has a value which Arrow has not.
#[derive(Debug)]
pub struct Refused {
    /// One row, with such values as text.
    pub row: RecordBatch,
    /// What is wrong, with the column's name.
    pub reason: String,
}

/// Some rows of an answer.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that are fine.
    pub batch: RecordBatch,
    /// The others.
    pub refused: Vec<Refused>,
    /// About how many bytes came over the network.
    pub bytes: u64,
}

/// What comes of an answer: its columns, and then its rows.
#[derive(Debug)]
pub enum Part {
    /// Once, and first.
    Columns(SchemaRef),
    /// Any number of times.
    Rows(Decoded),
}

type Fetching<E> = Pin<Box<dyn Future<Output = Result<<E as Endpoint>::Link, <E as Endpoint>::Failure>> + Send>>;

/// The rows of one split.
pub struct Rows<E: Endpoint> {
    // Before the session, whose runtime drives it.
    fetch: Option<Fetching<E>>,
    receiver: mpsc::Receiver<Part>,
    session: Option<Session<E>>,
    home: Home<E>,
    cx: Context,
}

impl<E: Endpoint> Rows<E> {
    /// Begins to read. `fetch` reads an answer to its end and sends what comes of it; it owns
    /// the connection, which a driver's answer only borrows, and gives it back. The session
    /// goes home when its rows have been read.
    pub fn begin<F>(
        mut session: Session<E>,
        home: Home<E>,
        cx: Context,
        fetch: impl FnOnce(E::Link, mpsc::Sender<Part>) -> F,
    ) -> Result<(SchemaRef, Self)>
    where
        F: Future<Output = Result<E::Link, E::Failure>> + Send + 'static,
    {
        let connection = session.server.take_connection()?;
        let (sender, receiver) = mpsc::channel(1);
        let fetch: Fetching<E> = Box::pin(fetch(connection, sender));
        let mut rows = Self { fetch: Some(fetch), receiver, session: Some(session), home, cx };
        match rows.receive() {
            Ok(Some(Part::Columns(schema))) => Ok((schema, rows)),
            Ok(_) => Err(Error::internal("an answer begins without its columns")),
            Err(error) => {
                rows.let_go();
                Err(error)
            }
        }
    }

    /// In this order: the connection is gone before what drives it.
    fn let_go(&mut self) {
        self.fetch = None;
        self.session = None;
    }

    fn receive(&mut self) -> Result<Option<Part>> {
        let Some(session) = &mut self.session else { return Ok(None) };
        // While rows come fast, nothing ever waits, and nobody asks.
        self.cx.check_cancelled()?;
        let (fetch, receiver) = (&mut self.fetch, &mut self.receiver);
        let driven = session.server.drive(async move {
            let Some(running) = fetch else { return Ok((receiver.recv().await, None)) };
            tokio::select! {
                biased;
                part = receiver.recv() => Ok((part, None)),
                outcome = running => {
                    *fetch = None;
                    let connection = outcome.map_err(Into::into)?;
                    Ok((receiver.recv().await, Some(connection)))
                }
            }
        });
        let (part, connection) = driven.map_err(|error| session.server.located(error))?;
        if let Some(connection) = connection {
            session.server.put_back(connection);
        }
        if part.is_none()
            && let Some(mut session) = self.session.take()
        {
            session.splits = session.splits.saturating_sub(1);
            self.home.keep(session);
        }
        Ok(part)
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

impl<E: Endpoint> Iterator for Rows<E> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let received = match self.receive() {
            Ok(Some(Part::Rows(decoded))) => self.hand_on(decoded).map(Some),
            Ok(Some(Part::Columns(_))) => Err(Error::internal("an answer has columns twice")),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if received.is_err() {
            self.let_go();
        }
        received.transpose()
    }
}
