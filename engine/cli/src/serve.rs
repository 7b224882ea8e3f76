//! `engine serve`: pipelines on their schedules, and what others see of them.

use std::path::PathBuf;
use std::sync::Arc;

use engine_abi::Error;
use engine_runtime::{RunOptions, Stop};
use engine_server::{Connections, Http, Options, Service, SystemClock};

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::arguments::{self, Global};
use crate::catalogue::{Composed, Served};
use crate::control::{self, Holder};
use crate::exit::{Exit, Failure};
use crate::files::Files;
use crate::project::Around;
use crate::{connections, console, logging, places, remote, run, telemetry};

pub fn run(global: &Global, command: &arguments::Serve) -> crate::Result {
    if command.paths.is_empty() && command.catalogue.is_none() {
        return Err(Error::config("nothing is named that the service could run")
            .hint("name a folder of pipeline files, such as pipelines/, or a database of reports with --catalogue")
            .into());
    }
    for path in &command.paths {
        if !path.exists() {
            return Err(Error::config(format!("there is no file or folder {}", path.display()))
                .hint("name the folder with your pipeline files, such as pipelines/")
                .into());
        }
    }
    let folder = state_folder(global, &command.paths)?;
    let state = Arc::new(remote::open_state(global, &folder)?);
    logging::start(&folder, global)?;
    let stop = Stop::new();
    run::on_signals(&stop)?;
    let options = Options {
        most_runs: command.max_runs.get().into(),
        run: RunOptions { stall: command.stall, drain: command.drain, ..RunOptions::default() },
        ..Options::default()
    };
    let files = Files::new(global, &command.paths, &folder, &arguments::Set::default());
    let catalogue = match &command.catalogue {
        Some(url) => Some(Served::new(global, url, command, &state, &stop)?),
        None => None,
    };
    let watchers = catalogue.iter().map(Served::watcher).collect();
    let loader = Arc::new(Composed::new(files, catalogue.as_ref()));
    let service = Service::new(Arc::clone(&state), loader, Arc::new(SystemClock), options, stop.clone(), watchers);
    let recorder = catalogue.as_ref().map(|catalogue| catalogue.start(&service)).transpose()?;
    if let Err(error) = control::serve(&folder, &state, Holder::Service(Arc::clone(&service))) {
        tracing::warn!("other commands cannot reach this engine: {error}");
    }
    let http = Http {
        listen: command.listen,
        tls: command.tls_certificate.clone().zip(command.tls_key.clone()),
        hosts: command.host.clone(),
        folder: folder.clone(),
        mask: Box::new(console::masked),
        connections: Box::new(Named { global: global.clone(), folders: folders(&command.paths)? }),
        reports: catalogue.as_ref().map(Served::reports),
    };
    service.load()?;
    let listening = engine_server::start(&service, http)?;
    let scheme = if command.tls_certificate.is_some() { "https" } else { "http" };
    tracing::info!("the service is at {scheme}://{}", listening.address);
    if let Some(collector) = &global.otlp {
        telemetry::send_figures(collector, &service)?;
    }
    on_hangup(listening.reload())?;
    let ended = service.run();
    // Whatever ended it: nobody is answered any more.
    stop.drain();
    listening.join();
    if let (Some(catalogue), Some(recorder)) = (&catalogue, recorder) {
        catalogue.join(recorder);
    }
    let _ = std::fs::remove_file(folder.join(control::SOCKET));
    remote::give_back(&state);
    ended?;
    Ok(Exit::Done)
}

/// A hang-up has everything looked at again, as `POST /api/reload` does.
fn on_hangup(reload: impl Fn() -> Result<String, String> + Send + 'static) -> Result<(), Error> {
    let mut signals = Signals::new([SIGHUP]).map_err(|error| Error::from(error).context("signals cannot be caught"))?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            match reload() {
                Ok(found) => tracing::info!("tokens and pipeline files were looked at again: {found}"),
                Err(problem) => tracing::error!("tokens and pipeline files cannot all be taken anew: {problem}"),
            }
        }
    });
    Ok(())
}

/// The named connections of some folders.
struct Named {
    global: Global,
    folders: Vec<PathBuf>,
}

impl Connections for Named {
    fn list(&self) -> Result<Vec<(String, String)>, Error> {
        let mut all = Vec::new();
        for folder in &self.folders {
            let around = Around::of(folder)?;
            all.extend(around.connections.entries.iter().map(|(name, it)| (name.clone(), it.component.clone())));
        }
        Ok(all)
    }

    fn check(&self, name: &str) -> Option<Result<String, Error>> {
        self.folders.iter().find_map(|folder| match connections::check_one(&self.global, folder, name) {
            Ok(found) => found.map(Ok),
            Err(error) => Some(Err(error)),
        })
    }
}

/// The folders that pipeline files lie in, each once.
fn folders(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    for path in paths {
        let folder = if path.is_dir() { std::path::absolute(path)? } else { places::folder_of(path)? };
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    Ok(folders)
}

/// The state of a service: the one that is named, else `.engine` in the only folder that it has.
fn state_folder(global: &Global, paths: &[PathBuf]) -> Result<PathBuf, Failure> {
    // A folder stands for whatever lies in it.
    let files: Vec<_> = paths.iter().map(|path| if path.is_dir() { path.join("*") } else { path.clone() }).collect();
    Ok(places::state_for(global, &files)?)
}
