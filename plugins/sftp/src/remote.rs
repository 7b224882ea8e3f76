//! A server as source and sink use it: connected when it is needed, and again after a connection was lost.

use std::sync::Arc;
use std::time::Duration;

use engine_sdk::Runtime;
use engine_sdk::prelude::{Context, Error, Result};

use crate::fault::Fault;
use crate::session::{Link, Server};
use crate::sftp::Sftp;

/// How long taking something back may take: who waits for it may be about to end.
const TAKE_BACK: Duration = Duration::from_secs(20);

/// A server, and the connection to it, if there is one.
pub struct Remote {
    server: Arc<Server>,
    cx: Context,
    runtime: Runtime,
    live: Option<Sftp>,
    taking_back: bool,
}

impl Remote {
    /// Opens nothing.
    pub fn new(server: Server, cx: Context) -> Result<Self> {
        Ok(Self { server: Arc::new(server), cx, runtime: Runtime::new()?, live: None, taking_back: false })
    }

    /// `sftp://USER@HOST:PORT`, for messages.
    pub fn shown(&self) -> String {
        format!("sftp://{}@{}", self.server.login.user, self.server.shown())
    }

    /// The same with a path behind it.
    pub fn place(&self, path: &str) -> String {
        format!("{}/{}", self.shown(), path.trim_start_matches('/'))
    }

    /// Does a piece of work over the connection. What it leaves in the middle ends the connection.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Sftp) -> Result<T, Fault>) -> Result<T> {
        let live = self.live.take().filter(|live| !live.is_over());
        let mut sftp = match live {
            Some(live) => live,
            None => self.connect()?,
        };
        let done = self.wait(async {
            match work(&mut sftp).await {
                Err(Fault::Broken(error)) => Err(error),
                other => Ok(other),
            }
        })?;
        let shown = self.shown();
        self.live = Some(sftp);
        done.map_err(|fault| match fault {
            Fault::Refused(status) => status.about("working with", &shown),
            Fault::Told(error) | Fault::Broken(error) => error,
        })
    }

    /// From here on, or no longer: what takes something back is done although the work is cancelled, and for a
    /// limited time.
    pub fn taking_back(&mut self, on: bool) {
        self.taking_back = on;
    }

    /// The connection, if there is one.
    pub fn live(&mut self) -> Option<&mut Sftp> {
        self.live.as_mut()
    }

    /// The key that the server has shown.
    pub fn host_key(&mut self) -> Result<String> {
        self.run(async |sftp| Ok(sftp.host_key().to_owned()))
    }

    fn connect(&self) -> Result<Sftp> {
        let server = Arc::clone(&self.server);
        self.wait(async {
            let timeout = server.timeout;
            Sftp::begin(Link::open(server).await?, timeout).await
        })
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T> {
        match self.taking_back {
            true => self.runtime.take_back(TAKE_BACK, future),
            false => self.runtime.run(&self.cx, future),
        }
    }
}
