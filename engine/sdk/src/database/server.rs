//! A server that a connector reaches by one connection at a time.

use std::future::Future;
use std::time::Duration;

use engine_abi::{Error, ErrorKind, Result};

use crate::{Context, Runtime};

/// How long a rollback may take before the connection is dropped instead, which
/// makes the server roll back as well.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(5);

/// Where a server is, and how it is reached.
pub trait Endpoint {
    /// A connection.
    type Link;
    /// What can go wrong on one.
    type Failure: Into<Error> + From<Error>;
    /// What the server is, for messages: `MySQL`.
    const PRODUCT: &'static str;

    /// Server and database, without the login: for messages.
    fn shown(&self) -> String;

    /// How long the server may take for an answer. None: as long as it takes.
    fn answer_timeout(&self) -> Option<Duration>;

    /// Makes a connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, Self::Failure>>;

    /// Ends whatever transaction is open, by rolling it back.
    fn roll_back(link: &mut Self::Link) -> impl Future<Output = Result<(), Self::Failure>>;

    /// Whether a connection is of no use any more after this.
    fn breaks(failure: &Self::Failure) -> bool;
}

/// A server, reached when it is first needed.
pub struct Server<E: Endpoint> {
    endpoint: E,
    // Before the runtime: it must be gone first.
    connection: Option<E::Link>,
    runtime: Runtime,
    cx: Context,
}

impl<E: Endpoint> Server<E> {
    /// Prepares for an endpoint. Opens nothing.
    pub fn new(endpoint: E, cx: Context) -> Result<Self> {
        let runtime = Runtime::new()?.answering_within(endpoint.answer_timeout());
        Ok(Self { endpoint, connection: None, runtime, cx })
    }

    /// Where it is, for messages.
    pub fn shown(&self) -> String {
        self.endpoint.shown()
    }

    /// Whether there is a connection that works, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Does some work on the connection, until it ends, the engine wants to
    /// stop or the deadline passes. After anything but a result or a refusal by
    /// the server, the connection is dropped.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&mut E::Link) -> Result<T, E::Failure>) -> Result<T> {
        let kept = self.connection.take();
        let endpoint = &self.endpoint;
        let (outcome, connection) = self.runtime.run(&self.cx, async move {
            let mut connection = match kept {
                Some(connection) => connection,
                None => endpoint.connect().await.map_err(Into::into)?,
            };
            Ok(match work(&mut connection).await {
                Ok(value) => (Ok(value), Some(connection)),
                Err(failure) => {
                    let breaks = E::breaks(&failure);
                    (Err(failure.into()), (!breaks).then_some(connection))
                }
            })
        })?;
        self.connection = connection;
        outcome.map_err(|error| self.located(error))
    }

    /// Says which server does not answer.
    pub fn located(&self, error: Error) -> Error {
        match error.kind {
            ErrorKind::Unavailable => error.context(format!("{} at {}", E::PRODUCT, self.endpoint.shown())),
            _ => error,
        }
    }

    /// Ends whatever transaction is open, by rolling it back.
    pub fn roll_back(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let done = self.runtime.block_on(async {
            matches!(tokio::time::timeout(ROLLBACK_LIMIT, E::roll_back(&mut connection)).await, Ok(Ok(())))
        });
        if done {
            self.connection = Some(connection);
        }
    }

    /// Lends the connection to a future that [`Server::drive`] runs.
    pub fn take_connection(&mut self) -> Result<E::Link> {
        self.connection.take().ok_or_else(|| Error::unavailable("the connection was lost"))
    }

    /// Takes back what was lent.
    pub fn put_back(&mut self, connection: E::Link) {
        self.connection = Some(connection);
    }

    /// Runs a future that may own the connection.
    pub fn drive<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.run(&self.cx, future)
    }
}
