//! Commands that change the state while an engine holds it: they go through a
//! socket in the state folder, and the holder does what they ask.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use engine_abi::{Error, Result};
use engine_state::{Mark, State};
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
    /// Set where the next window begins.
    Set { pipeline: String, value: Value },
    /// Forget how far a pipeline has got.
    Reset { pipeline: String },
}

/// Does what was asked, on a state that this process holds.
pub fn perform(request: Request, state: &State, running: &[Running]) -> Result<Value> {
    let active = |pipeline: &str| running.iter().find(|it| it.assembly.name == pipeline);
    let idle = |pipeline: &str| match active(pipeline) {
        None => Ok(()),
        Some(_) => Err(Error::config(format!("pipeline {pipeline} is running")).hint("stop the engine first")),
    };
    match request {
        Request::Drop { ids } => Ok(state.mark(&ids, Mark::Dropped)?.into()),
        Request::Set { pipeline, value } => {
            idle(&pipeline)?;
            state.set_position(&pipeline, &value)?;
            Ok(Value::Null)
        }
        Request::Reset { pipeline } => {
            idle(&pipeline)?;
            state.reset(&pipeline)?;
            Ok(Value::Null)
        }
        Request::Replay { pipeline, ids, sinks } => {
            let running = active(&pipeline).filter(|it| it.assembly.source.is_push()).ok_or_else(|| {
                Error::unavailable(format!("an engine that does not serve pipeline {pipeline} holds the state"))
                    .hint("try again when it is done")
            })?;
            let letters = ids.iter().filter_map(|id| state.dead_letter(*id).transpose()).collect::<Result<Vec<_>>>()?;
            let report = running.requests.replay(letters, sinks)?;
            serde_json::to_value(report).map_err(|error| Error::internal(error.to_string()))
        }
    }
}

/// Serves requests until the process ends.
pub fn serve(folder: &Path, state: &Arc<State>, running: &Arc<Vec<Running>>) -> Result<()> {
    let path = folder.join(SOCKET);
    // The lock is ours: a socket that is there is left from a crash.
    let _ = std::fs::remove_file(&path);
    let named = |error: std::io::Error| Error::from(error).context(path.display());
    let listener = UnixListener::bind(&path).map_err(named)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(named)?;
    let (state, running) = (Arc::clone(state), Arc::clone(running));
    std::thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, running) = (Arc::clone(&state), Arc::clone(&running));
                // A replay can take long; others need not wait for it.
                std::thread::spawn(move || _ = answer(stream, &state, &running));
            }
        })
        .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
    Ok(())
}

fn answer(stream: UnixStream, state: &State, running: &[Running]) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let result = serde_json::from_str(&line)
        .map_err(|error| Error::config(format!("the request cannot be read: {error}")))
        .and_then(|request| perform(request, state, running));
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
            let done = perform(request, &state, &[]);
            remote::give_back(&state);
            Ok(done?)
        }
    }
}
