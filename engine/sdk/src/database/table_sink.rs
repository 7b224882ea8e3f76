//! Sinks that put rows and the key of their delivery into one transaction of a database.

use std::future::Future;

use engine_abi::message::{Begun, Delivery, Receipt, Sealed, SinkRun};
use engine_abi::{Batches, Error, Promise, Result};

use super::server::{Endpoint, Server};
use super::{Create, Mode, TableName};
use crate::{Component, Context, Sink};

/// What has been loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loaded {
    /// Rows that the table took.
    pub rows: u64,
    /// Bytes sent, also for rows that it did not take.
    pub bytes: u64,
}

/// A sink's table and the delivery that is under way.
pub struct Delivering<E: Endpoint> {
    /// Where the table is.
    pub server: Server<E>,
    /// The table.
    pub name: TableName,
    /// For [`Mode::Upsert`]: the columns that tell rows apart.
    pub key: Vec<String>,
    /// What happens to rows that are there already.
    pub mode: Mode,
    /// Whether a table that is missing is made.
    pub create: Create,
    /// The window that is being delivered.
    pub run: SinkRun,
    /// The engine.
    pub cx: Context,
    /// The table with the keys of deliveries, once it is known to be there.
    commits: Option<String>,
    /// The delivery whose rows are in the open transaction, and its receipt.
    open: Option<(String, Receipt)>,
}

impl<E: Endpoint> Delivering<E> {
    /// Prepares for a table. Opens nothing.
    pub fn new(
        endpoint: E,
        name: TableName,
        key: Vec<String>,
        mode: Mode,
        create: Create,
        cx: Context,
    ) -> Result<Self> {
        let (server, run) = (Server::new(endpoint, cx.clone())?, SinkRun::default());
        Ok(Self { server, name, key, mode, create, run, cx, commits: None, open: None })
    }

    /// Whether a table that is missing is made.
    pub fn may_create(&self) -> bool {
        self.create != Create::default()
    }

    /// Whether the window's rows take the place of the others. Dead letters that are tried again
    /// belong to rows that are there.
    pub fn replaces(&self) -> bool {
        self.mode == Mode::Replace && !self.run.replay
    }

    /// Rolls back what an unfinished delivery has left.
    fn give_up(&mut self) {
        if self.open.take().is_some() {
            self.server.roll_back();
        }
    }
}

/// What such a sink does in its database's own words. It is a [`Sink`] with that.
pub trait TableSink: Component {
    /// The database.
    type Endpoint: Endpoint;

    /// Its table and delivery.
    fn delivering(&self) -> &Delivering<Self::Endpoint>;

    /// Its table and delivery.
    fn delivering_mut(&mut self) -> &mut Delivering<Self::Endpoint>;

    /// Whether several instances may write at a time. Of several rows with one key the last
    /// one stays, so upserted splits keep their order; they would also wait for each other's
    /// rows, in two orders at once.
    fn is_parallel(&self) -> bool {
        self.delivering().mode != Mode::Upsert
    }

    /// The table with the keys of deliveries, beside `table`, as SQL text. Makes it where it is missing.
    fn ensure_commits(
        link: &mut Link<Self>,
        table: &TableName,
        may_create: bool,
    ) -> impl Future<Output = Result<String, Failure<Self>>>;

    /// The receipt of a delivery whose key is there.
    fn find_commit(
        link: &mut Link<Self>,
        commits: &str,
        delivery: &Delivery,
    ) -> impl Future<Output = Result<Option<Receipt>, Failure<Self>>>;

    /// Adds a delivery's key, and forgets those that never come again.
    fn add_commit(
        link: &mut Link<Self>,
        commits: &str,
        delivery: &Delivery,
        receipt: &Receipt,
    ) -> impl Future<Output = Result<(), Failure<Self>>>;

    /// Whether a key was refused since it is there.
    fn is_duplicate(failure: &Failure<Self>) -> bool;

    /// Commits the open transaction.
    fn commit_transaction(link: &mut Link<Self>) -> impl Future<Output = Result<(), Failure<Self>>>;

    /// Puts the rows of a window, which are beside the table, in the place of its own.
    fn finish_replace(
        link: &mut Link<Self>,
        run: &SinkRun,
        table: &TableName,
        commits: &str,
    ) -> impl Future<Output = Result<(), Failure<Self>>>;

    /// Opens the transaction and loads the stream into it.
    fn load(&mut self, commits: &str, input: Batches) -> Result<Loaded>;
}

/// A sink's connection.
pub type Link<S> = <<S as TableSink>::Endpoint as Endpoint>::Link;
/// What can go wrong on it.
pub type Failure<S> = <<S as TableSink>::Endpoint as Endpoint>::Failure;

fn commits<S: TableSink>(sink: &mut S) -> Result<String> {
    let delivering = sink.delivering_mut();
    if let Some(known) = &delivering.commits {
        return Ok(known.clone());
    }
    let (may_create, name) = (delivering.may_create(), &delivering.name);
    let commits = delivering.server.run(async |link| S::ensure_commits(link, name, may_create).await)?;
    Ok(delivering.commits.insert(commits).clone())
}

impl<S: TableSink> Sink for S {
    const PROMISE: Promise = Promise::EffectivelyOnce;

    fn begin_run(&mut self, run: &SinkRun) -> Result<()> {
        self.delivering_mut().run = run.clone();
        Ok(())
    }

    fn is_parallel(&self) -> bool {
        TableSink::is_parallel(self)
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.delivering_mut().give_up();
        let commits = commits(self)?;
        let server = &mut self.delivering_mut().server;
        let receipt = server.run(async |link| S::find_commit(link, &commits, delivery).await)?;
        Ok(receipt.map_or(Begun::New, |receipt| Begun::Committed { receipt }))
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        self.delivering_mut().give_up();
        let loaded = commits(self).and_then(|commits| self.load(&commits, input));
        let delivering = self.delivering_mut();
        let Loaded { rows, bytes } = loaded.inspect_err(|_| delivering.server.roll_back())?;
        let location = Some(format!("{} in {}", delivering.name, delivering.server.shown()));
        let receipt = Receipt { rows, bytes, location, ..Receipt::default() };
        delivering.open = Some((delivery.key.clone(), receipt));
        Ok(Sealed { rows, bytes, ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let Delivering { server, open, commits, .. } = self.delivering_mut();
        let open = open.take().filter(|(key, _)| *key == delivery.key && server.is_connected());
        let (Some((_, receipt)), Some(commits)) = (open, commits) else {
            server.roll_back();
            return Err(Error::unavailable(format!("the transaction of delivery {} is gone", delivery.key))
                .hint("the rows must be written again"));
        };
        let committed = server.run(async |link| {
            match S::add_commit(link, commits, delivery, &receipt).await {
                Err(failure) if S::is_duplicate(&failure) => {
                    let message = format!("delivery {} was committed by somebody else meanwhile", delivery.key);
                    return Err(Error::unavailable(message).into());
                }
                added => added?,
            }
            S::commit_transaction(link).await
        });
        committed.inspect_err(|_| server.roll_back())?;
        Ok(receipt)
    }

    fn abort(&mut self, _: &Delivery) -> Result<()> {
        self.delivering_mut().give_up();
        Ok(())
    }

    fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        self.delivering_mut().run = run.clone();
        if !self.delivering().replaces() {
            return Ok(());
        }
        let commits = commits(self)?;
        let Delivering { server, name, .. } = self.delivering_mut();
        server.run(async |link| S::finish_replace(link, run, name, &commits).await)
    }
}
