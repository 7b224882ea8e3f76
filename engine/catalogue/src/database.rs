//! The database of the catalogue: one connection, made anew when it is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine_abi::{Error, ErrorKind, Result};
use mysql_async::{Conn, DriverError, Error as Failure, IoError};
use tokio::runtime::Runtime;

use crate::address::Address;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one thing that is asked for may take.
const LONGEST: Duration = Duration::from_secs(30);
/// The server's numbers for logins and rights that it refuses.
const REFUSED: [u16; 7] = [1044, 1045, 1142, 1143, 1227, 1370, 1698];
/// Those for tables, columns and databases that are not there.
const NOT_THERE: [u16; 3] = [1049, 1054, 1146];

/// Those that pass: too many connections, a server that stops, locks, deadlocks, no room, a server that only reads for now,
/// a connection that was ended.
const PASSING: [u16; 13] = [1021, 1037, 1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1290, 1836, 1927];

/// The database. What is asked for goes one after the other.
pub struct Database {
    address: Address,
    link: Mutex<Link>,
}

struct Link {
    runtime: Runtime,
    connection: Option<Conn>,
}

impl Database {
    /// The database at an address. Nothing is connected yet.
    ///
    /// # Errors
    /// What keeps a thread of it from beginning.
    pub fn new(address: Address) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::from(error).context("the catalogue cannot be reached"))?;
        Ok(Self { address, link: Mutex::new(Link { runtime, connection: None }) })
    }

    /// Server and database, without the login.
    pub fn shown(&self) -> String {
        self.address.shown()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a connection. It may be done twice, where the connection that was there is gone.
    ///
    /// # Errors
    /// `Unavailable` while the server cannot be reached; `Denied`; `Config` for what is not there.
    pub(crate) fn with<T>(&self, work: impl AsyncFn(&mut Conn) -> std::result::Result<T, Failure>) -> Result<T> {
        let mut link = self.link();
        let Link { runtime, connection } = &mut *link;
        runtime.block_on(async {
            let was_there = connection.is_some();
            let mut tried = self.once(connection, &work).await;
            if was_there && connection.is_none() && tried.is_err() {
                tried = self.once(connection, &work).await;
            }
            tried
        })
    }

    async fn once<T>(
        &self,
        connection: &mut Option<Conn>,
        work: &impl AsyncFn(&mut Conn) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut at_work = match connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        match tokio::time::timeout(LONGEST, work(&mut at_work)).await {
            Ok(Ok(done)) => {
                *connection = Some(at_work);
                Ok(done)
            }
            // What the server has refused leaves a connection that is well, but for a transaction that is open.
            Ok(Err(failure)) => Err(self.told(failure)),
            Err(_) => Err(self.silent(LONGEST)),
        }
    }

    async fn connect(&self) -> Result<Conn> {
        let mut ways = self.address.ways()?.into_iter();
        let mut options = ways.next().ok_or_else(|| Error::internal("there is no way to the catalogue"))?;
        loop {
            let connected = tokio::time::timeout(CONNECT, Conn::new(options)).await;
            match (connected, ways.next()) {
                (Ok(Err(Failure::Driver(DriverError::NoClientSslFlagFromServer))), Some(next)) => options = next,
                (Ok(connected), _) => return connected.map_err(|failure| self.told(failure)),
                (Err(_), _) => return Err(self.silent(CONNECT)),
            }
        }
    }

    fn silent(&self, time: Duration) -> Error {
        Error::unavailable(format!("the catalogue at {} did not answer within {time:?}", self.shown()))
            .hint("check that the server runs, and host and port of the address")
    }

    fn told(&self, failure: Failure) -> Error {
        let at = format!("the catalogue at {}", self.shown());
        match &failure {
            Failure::Server(answer) if REFUSED.contains(&answer.code) => {
                Error::denied(format!("{at} refuses the login: {}", answer.message))
                    .hint("check user and password of the address, and what the user may do")
            }
            Failure::Server(answer) if NOT_THERE.contains(&answer.code) => {
                Error::config(format!("{at} lacks something: {}", answer.message))
                    .hint("`engine catalogue init` makes the tables that are missing")
            }
            Failure::Server(answer) if PASSING.contains(&answer.code) => {
                Error::unavailable(format!("{at}: {}", answer.message))
            }
            Failure::Server(answer) => {
                Error::new(ErrorKind::Rejected, format!("{at} refuses a row: {}", answer.message))
                    .hint("compare its tables with those that `engine catalogue init` makes")
            }
            Failure::Io(IoError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                Error::denied(format!("{at} shows a certificate that is not accepted"))
                    .hint("name the authority that signed it with `?ca=FILE`, and use the host name that it is for")
            }
            _ => Error::unavailable(format!("{at} cannot be reached: {failure}"))
                .hint("check that the server runs, and host and port of the address"),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Link { runtime, connection } = &mut *self.link();
        if let Some(connection) = connection.take() {
            runtime.block_on(async { _ = tokio::time::timeout(CONNECT, connection.disconnect()).await });
        }
    }
}
