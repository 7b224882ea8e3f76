//! Commands that change the state while an engine holds it: they go through a
//! socket in the state folder, and the holder does what they ask.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use engine_abi::{Error, Result};
use engine_runtime::RunReport;
use engine_server::Service;
use engine_state::{DeadLetter, Mark, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arguments::Global;
use crate::exit::Failure;
use crate::remote;
use crate::run::Running;

/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";

/// What the holder of a state can be asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Give dead letters up.
    Drop { ids: Vec<i64> },
    /// Try dead letters again.
    Replay { pipeline: String, ids: Vec<i64>, sinks: Vec<String> },
    /// Deliver a window once more.
    Resend { pipeline: String, window: u64, sinks: Vec<String>, again: bool },
    /// Set where the next window begins.
    Set { pipeline: String, value: Value },
    /// Forget how far a pipeline has got.
    Reset { pipeline: String },
}

/// Who works with the state that this process holds.
#[derive(Clone)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// Runs of these pipelines.
    Runs(Arc<Vec<Running>>),
    /// A service.
    Service(Arc<Service>),
}

impl Holder {
    fn idle(&self, pipeline: &str) -> Result<()> {
        let is_active = match self {
            Self::Nobody => false,
            Self::Runs(running) => running.iter().any(|it| it.assembly.name == pipeline),
            Self::Service(service) => service.is_active(pipeline),
        };
        match is_active {
            false => Ok(()),
            true => Err(Error::config(format!("pipeline {pipeline} is running")).hint("stop the engine first")),
        }
    }

    fn replay(&self, pipeline: &str, letters: Vec<DeadLetter>, sinks: Vec<String>) -> Result<RunReport> {
        if let Self::Service(service) = self {
            return service.replay(pipeline, letters, sinks);
        }
        let Self::Runs(running) = self else { return Err(Error::internal("nobody is there to replay")) };
        let active = running.iter().find(|it| it.assembly.name == pipeline);
        let running = active.filter(|it| it.assembly.source.is_push()).ok_or_else(|| {
            Error::unavailable(format!("an engine that does not serve pipeline {pipeline} holds the state"))
                .hint("try again when it is done")
        })?;
        running.requests.replay(letters, sinks)
    }

    fn resend(&self, pipeline: &str, window: u64, sinks: Vec<String>, again: bool) -> Result<RunReport> {
        match self {
            Self::Service(service) => service.resend(pipeline, window, sinks, again),
            _ => Err(Error::unavailable("an engine that is running holds the state").hint("try again when it is done")),
        }
    }
}

/// Does what was asked, on a state that this process holds.
pub fn perform(request: Request, state: &State, holder: &Holder) -> Result<Value> {
    let told = |report: RunReport| serde_json::to_value(report).map_err(|error| Error::internal(error.to_string()));
    match request {
        Request::Drop { ids } => Ok(state.mark(&ids, Mark::Dropped)?.into()),
        Request::Set { pipeline, value } => {
            holder.idle(&pipeline)?;
            state.set_position(&pipeline, &value)?;
            Ok(Value::Null)
        }
        Request::Reset { pipeline } => {
            holder.idle(&pipeline)?;
            state.reset(&pipeline)?;
            Ok(Value::Null)
        }
        Request::Replay { pipeline, ids, sinks } => {
            let letters = ids.iter().filter_map(|id| state.dead_letter(*id).transpose()).collect::<Result<Vec<_>>>()?;
            told(holder.replay(&pipeline, letters, sinks)?)
        }
        Request::Resend { pipeline, window, sinks, again } => told(holder.resend(&pipeline, window, sinks, again)?),
    }
}

/// Serves requests until the process ends.
pub fn serve(folder: &Path, state: &Arc<State>, holder: Holder) -> Result<()> {
    let path = folder.join(SOCKET);
    // The lock is ours: a socket that is there is left from a crash.
    let _ = std::fs::remove_file(&path);
    let named = |error: std::io::Error| Error::from(error).context(path.display());
    let listener = UnixListener::bind(&path).map_err(named)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(named)?;
    let state = Arc::clone(state);
    std::thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, holder) = (Arc::clone(&state), holder.clone());
                // A replay can take long; others need not wait for it.
                std::thread::spawn(move || _ = answer(stream, &state, &holder));
            }
        })
        .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
    Ok(())
}

fn answer(stream: UnixStream, state: &State, holder: &Holder) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let result = serde_json::from_str(&line)
        .map_err(|error| Error::config(format!("the request cannot be read: {error}")))
        .and_then(|request| perform(request, state, holder));
    let answer: std::result::Result<Value, Error> = result;
    writeln!(&stream, "{}", serde_json::to_string(&answer).unwrap_or_default())
}

/// Whether an engine that serves requests holds the state.
pub fn is_served(folder: &Path) -> bool {
    UnixStream::connect(folder.join(SOCKET)).is_ok()
}

/// Has a request done by whoever can: the holder of the state, or this process
/// when nobody holds it.
pub fn request(global: &Global, folder: &Path, request: Request) -> Result<Value, Failure> {
    match UnixStream::connect(folder.join(SOCKET)) {
        Ok(stream) => {
            let failed =
                |error: std::io::Error| Error::from(error).context("the engine that holds the state does not answer");
            let line = serde_json::to_string(&request).map_err(|error| Error::internal(error.to_string()))?;
            writeln!(&stream, "{line}").map_err(failed)?;
            let mut answer = String::new();
            BufReader::new(&stream).read_line(&mut answer).map_err(failed)?;
            let answer: std::result::Result<Value, Error> = serde_json::from_str(&answer)
                .map_err(|_| Error::unavailable("the engine that holds the state ended before it answered"))?;
            Ok(answer?)
        }
        Err(_) => {
            let state = remote::open_state(global, folder)?;
            let done = perform(request, &state, &Holder::Nobody);
            remote::give_back(&state);
            Ok(done?)
        }
    }
}
