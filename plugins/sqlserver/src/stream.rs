//! A split on its way: one answer, decoded.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use engine_sdk::prelude::*;
use futures_util::TryStreamExt;
use tiberius::QueryItem;
use tokio::sync::mpsc;

use crate::connection::{Link, Server, query};
use crate::decode::{Decoded, Decoder};
use crate::error::Failure;
use crate::name::Call;
use crate::selection::{Selected, schema};

/// A connection inside a transaction that sees the database at one moment.
pub struct Session {
    pub server: Server,
    /// What the splits that were planned in it know it by.
    pub name: Option<String>,
    /// How many splits are to be read with it. It ends with the last: an open transaction
    /// has the server keep every row that it could still ask for.
    pub splits: usize,
}

/// Where a session waits for its next split.
#[derive(Clone, Default)]
pub struct Home(Arc<Mutex<Option<Session>>>);

impl Home {
    /// Takes the session of that name.
    pub fn take(&self, name: Option<&str>) -> Option<Session> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |session: &Session| session.server.is_connected() && session.name.as_deref() == name;
        if name.is_some() && kept.as_ref().is_some_and(fits) { kept.take() } else { None }
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

/// What comes of an answer: its columns, and then its rows.
enum Part {
    Columns(SchemaRef),
    Rows(Decoded),
}

/// Reads the answer to `select` to its end and sends what was decoded. Owns the connection, which the
/// driver's answer only borrows, and gives it back.
async fn fetch(
    mut connection: Link,
    select: Call,
    columns: Vec<Selected>,
    most: usize,
    sender: mpsc::Sender<Part>,
) -> Result<Link, Failure> {
    let mut answer = query(select).query(&mut connection).await?;
    let given = answer.columns().await?.map_or(0, <[_]>::len);
    if given != columns.len() {
        return Err(Failure::Broken(Error::config(format!(
            "the query gives {given} columns now, and not those that it did"
        ))));
    }
    let schema = schema(&columns);
    // The receiver lives as long as this future.
    let _ = sender.send(Part::Columns(Arc::clone(&schema))).await;
    let mut decoder = Decoder::new(schema, columns.iter().map(|column| column.kind).collect(), most);
    let mut answers = 0;
    while let Some(item) = answer.try_next().await? {
        match item {
            QueryItem::Metadata(_) => answers += 1,
            QueryItem::Row(_) if answers > 1 => {
                return Err(Failure::Broken(
                    Error::config("the query gives several answers").hint("a source reads one: leave the others out"),
                ));
            }
            QueryItem::Row(row) => decoder.push_row(row)?,
        }
        if decoder.is_full() {
            let _ = sender.send(Part::Rows(decoder.finish()?)).await;
        }
    }
    drop(answer);
    if !decoder.is_empty() {
        let _ = sender.send(Part::Rows(decoder.finish()?)).await;
    }
    Ok(connection)
}

type Fetching = Pin<Box<dyn Future<Output = Result<Link, Failure>> + Send>>;

/// The rows of one split.
pub struct Rows {
    // Before the session, whose runtime drives it.
    fetch: Option<Fetching>,
    receiver: mpsc::Receiver<Part>,
    session: Option<Session>,
    home: Home,
    cx: Context,
}

impl Rows {
    /// Begins to read. The session goes home when its rows have been read.
    pub fn new(
        mut session: Session,
        select: Call,
        columns: Vec<Selected>,
        most: usize,
        home: Home,
        cx: Context,
    ) -> Result<(SchemaRef, Self)> {
        let connection = session.server.take_connection()?;
        let (sender, receiver) = mpsc::channel(1);
        let fetch: Fetching = Box::pin(fetch(connection, select, columns, most, sender));
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
                    let connection = outcome?;
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

impl Iterator for Rows {
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
