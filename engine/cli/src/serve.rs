//! `engine serve`: pipelines on their schedules, and what others see of them.

use std::path::PathBuf;
use std::sync::Arc;

use engine_abi::Error;
use engine_runtime::{RunOptions, Stop};
use engine_server::{Options, Service, SystemClock};

use crate::arguments::{self, Global};
use crate::control::{self, Holder};
use crate::exit::{Exit, Failure};
use crate::files::Files;
use crate::{logging, places, remote, run};

pub fn run(global: &Global, command: &arguments::Serve) -> crate::Result {
    for path in &command.paths {
        if !path.exists() {
            return Err(Error::config(format!("there is no file or folder {}", path.display()))
                .hint("name the folder with your pipeline files, such as pipelines/")
                .into());
        }
    }
    let folder = state_folder(global, &command.paths)?;
    let state = Arc::new(remote::open_state(global, &folder)?);
    logging::start(&folder, global.verbose);
    let stop = Stop::new();
    run::on_signals(&stop)?;
    let options = Options {
        most_runs: command.max_runs.get().into(),
        run: RunOptions { stall: command.stall, drain: command.drain, ..RunOptions::default() },
        ..Options::default()
    };
    let loader = Arc::new(Files::new(global, &command.paths, &folder, &arguments::Set::default()));
    let service =
        Service::new(Arc::clone(&state), loader, Arc::new(SystemClock), options, stop.clone(), Box::new(|_| ()));
    if let Err(error) = control::serve(&folder, &state, Holder::Service(Arc::clone(&service))) {
        tracing::warn!("other commands cannot reach this engine: {error}");
    }
    let ended = service.run();
    let _ = std::fs::remove_file(folder.join(control::SOCKET));
    remote::give_back(&state);
    ended?;
    Ok(Exit::Done)
}

/// The state of a service: the one that is named, else `.engine` in the only folder that it has.
fn state_folder(global: &Global, paths: &[PathBuf]) -> Result<PathBuf, Failure> {
    // A folder stands for whatever lies in it.
    let files: Vec<_> = paths.iter().map(|path| if path.is_dir() { path.join("*") } else { path.clone() }).collect();
    Ok(places::state_for(global, &files)?)
}
