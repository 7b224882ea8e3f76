//! `engine run`: every pipeline on a thread of its own, until all are done or
//! somebody asks to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine_abi::{Error, ErrorKind};
use engine_runtime::{Assembly, Meters, Requests, Run, RunOptions, RunReport, Stop};
use engine_server::{Begun, Entry, Loader, Options, Ready, Service, SystemClock, Watcher};
use engine_state::{Outcome, State};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::arguments::{self, Global};
use crate::control::Holder;
use crate::exit::{Exit, Failure, style};
use crate::project::Project;
use crate::{console, control, logging, output, places, remote};

/// How often the progress line is drawn anew.
const PROGRESS: Duration = Duration::from_millis(200);

/// A pipeline that runs in this process.
pub struct Running {
    pub assembly: Arc<Assembly>,
    pub meters: Arc<Meters>,
    pub requests: Arc<Requests>,
}

pub fn run(global: &Global, command: &arguments::Run) -> crate::Result {
    let folder = places::state_for(global, &command.files.files)?;
    let project = Arc::new(Project::load(global, &command.files.files, &folder)?);
    let assemblies = project.assemble_with(&command.set)?;
    // Nothing is an error here; what is left are warnings.
    for file in project.files.iter().filter(|file| !file.diagnostics.is_empty() && !global.json) {
        console::error_line(file.diagnostics.render(style()).trim_end());
    }
    let state = Arc::new(remote::open_state(global, &folder)?);
    logging::start(&folder, global)?;
    let stop = Stop::new();
    on_signals(&stop)?;
    let options = RunOptions {
        trigger: "command".into(),
        stall: command.stall,
        drain: command.drain,
        accept_schema: command.accept_schema,
    };
    if !command.once && assemblies.iter().any(|assembly| assembly.schedule.is_some()) {
        return on_schedule(&project, assemblies, &state, &folder, &stop, options, global);
    }
    let running: Arc<Vec<Running>> = Arc::new(assemblies.into_iter().map(Running::new).collect());
    let control = control::serve(&folder, &state, Holder::Runs(Arc::clone(&running)));
    if let Err(error) = control {
        tracing::warn!("other commands cannot reach this engine: {error}");
    }
    let reports = run_all(&project, &state, &running, &stop, &options, global);
    let _ = std::fs::remove_file(folder.join(control::SOCKET));
    remote::give_back(&state);
    let reports = reports?;
    Ok(reports.iter().map(exit_of).max_by_key(|exit| *exit as u8).unwrap_or(Exit::Done))
}

/// Runs pipelines, some of which have a schedule, until it is asked to stop: those without one once.
fn on_schedule(
    project: &Arc<Project>,
    assemblies: Vec<Arc<Assembly>>,
    state: &Arc<State>,
    folder: &std::path::Path,
    stop: &Stop,
    options: RunOptions,
    global: &Global,
) -> crate::Result {
    let entries = assemblies.into_iter().map(|assembly| {
        let (project, name) = (Arc::clone(project), assembly.name.clone());
        let file = assembly.folder.display().to_string();
        let revive: Arc<engine_runtime::Revive> = Arc::new(move |definition| project.revive(&name, definition));
        let ready = Ready { revive, fingerprint: String::new(), group: None, assembly };
        Entry { name: ready.assembly.name.clone(), file, wrong_stops: false, pipeline: Ok(ready) }
    });
    // They stay as they are now, so that nobody needs to look at them again.
    let loader = Arc::new(Given(entries.collect()));
    let options = Options { poll: Duration::from_secs(3600), once: true, run: options, ..Options::default() };
    let watcher = Arc::new(Printer { global: global.clone() });
    let service = Service::new(Arc::clone(state), loader, Arc::new(SystemClock), options, stop.clone(), vec![watcher]);
    if let Err(error) = control::serve(folder, state, Holder::Service(Arc::clone(&service))) {
        tracing::warn!("other commands cannot reach this engine: {error}");
    }
    let ended = service.load().and_then(|()| service.run());
    let _ = std::fs::remove_file(folder.join(control::SOCKET));
    remote::give_back(state);
    ended?;
    Ok(Exit::Done)
}

/// Pipelines that do not change.
struct Given(Vec<Entry>);

impl Loader for Given {
    fn load(&self, _: bool) -> engine_abi::Result<Vec<Entry>> {
        Ok(self.0.clone())
    }
}

/// Prints the report of every run.
struct Printer {
    global: Global,
}

impl Watcher for Printer {
    fn begun(&self, _: &Begun) {}

    fn ended(&self, _: &Begun, report: &engine_abi::Result<RunReport>) {
        if let Ok(report) = report {
            print(report, &self.global);
        }
    }
}

impl Running {
    pub fn new(assembly: Arc<Assembly>) -> Self {
        let meters = Arc::new(Meters::new(assembly.sinks.iter().map(|sink| sink.name.as_str())));
        Self { assembly, meters, requests: Arc::default() }
    }

    /// The run of this pipeline, about to begin.
    pub fn run(&self, project: &Arc<Project>, state: &Arc<State>, stop: &Stop, options: &RunOptions) -> Run {
        let (project, name) = (Arc::clone(project), self.assembly.name.clone());
        Run {
            state: Arc::clone(state),
            assembly: Arc::clone(&self.assembly),
            revive: Arc::new(move |definition| project.revive(&name, definition)),
            stop: stop.child(),
            meters: Arc::clone(&self.meters),
            options: options.clone(),
            requests: Arc::clone(&self.requests),
            begun: None,
        }
    }
}

pub fn on_signals(stop: &Stop) -> Result<(), Failure> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).map_err(|error| Error::from(error).context("signals cannot be caught"))?;
    let stop = stop.clone();
    std::thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            match count {
                0 => {
                    tracing::info!("stopping: what has begun is finished; once more to stop at once");
                    stop.drain();
                }
                1 => {
                    tracing::warn!("stopping at once; what is unfinished is finished by the next run");
                    stop.now();
                }
                // Not even that helped.
                _ => std::process::exit(130),
            }
        }
    });
    Ok(())
}

fn run_all(
    project: &Arc<Project>,
    state: &Arc<State>,
    running: &Arc<Vec<Running>>,
    stop: &Stop,
    options: &RunOptions,
    global: &Global,
) -> Result<Vec<RunReport>, Failure> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drawn = console::is_terminal() && !global.json;
        let progress = drawn.then(|| scope.spawn(|| draw(running, &done)));
        let threads: Vec<_> = running
            .iter()
            .map(|pipeline| {
                let run = pipeline.run(project, state, stop, options);
                scope.spawn(move || {
                    let report = run.run()?;
                    print(&report, global);
                    Ok::<_, Error>(report)
                })
            })
            .collect();
        let reports: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)))
            .collect();
        done.store(true, Ordering::SeqCst);
        if let Some(progress) = progress {
            progress.thread().unpark();
        }
        reports.into_iter().collect::<Result<Vec<_>, _>>().map_err(Failure::from)
    })
}

/// One line for all pipelines: rows so far, and how fast.
fn draw(running: &[Running], done: &AtomicBool) {
    let mut last = (Instant::now(), 0);
    let mut rate = 0.0;
    while !done.load(Ordering::SeqCst) {
        let passing: u64 = running.iter().map(|it| it.meters.rows_passing()).sum();
        let time = last.0.elapsed().as_secs_f64();
        if time >= 1.0 {
            rate = (passing - last.1) as f64 / time;
            last = (Instant::now(), passing);
        }
        let pipelines: Vec<_> = running.iter().map(summary).collect();
        console::progress(&format!("{}  {} rows/s", pipelines.join("  ·  "), output::number(rate as u64)));
        std::thread::park_timeout(PROGRESS);
    }
    console::progress("");
}

fn summary(running: &Running) -> String {
    let figures = running.meters.figures();
    let sinks: Vec<_> = figures
        .sinks
        .iter()
        .map(|sink| {
            let behind = if sink.status.error.is_some() { " (behind)" } else { "" };
            format!("{} {}{behind}", sink.name, output::number(sink.written))
        })
        .collect();
    let passing = output::counted(running.meters.rows_passing(), "row");
    format!("{}: {passing} → {}", running.assembly.name, sinks.join(", "))
}

/// Prints what a run came to.
pub fn print(report: &RunReport, global: &Global) {
    if global.json {
        output::json(report);
        return;
    }
    let figures = &report.figures;
    let resumed = if figures.resumed > 0 { format!(", {} taken up", figures.resumed) } else { String::new() };
    console::line(&format!(
        "{}: {} in {:.1} s (run {}{resumed})",
        report.pipeline,
        report.outcome.as_str(),
        report.seconds,
        report.run
    ));
    let row = |what: &str, count: u64, rest: &str| {
        console::line(format!("  {what:<24} {:>14}  {rest}", output::number(count)).trim_end());
    };
    row("read", figures.read, "");
    if figures.filtered > 0 {
        row("filtered", figures.filtered, "");
    }
    row("dead letters", figures.dead_letters, if figures.dead_letters > 0 { "engine dead-letters list" } else { "" });
    for sink in &figures.sinks {
        let place = sink.status.location.as_deref().unwrap_or_default();
        row(&format!("written to {}", sink.name), sink.written, &format!("{}  {place}", output::bytes(sink.bytes)));
        if sink.dead_letters > 0 {
            row(&format!("refused by {}", sink.name), sink.dead_letters, "engine dead-letters list");
        }
        for (name, number) in &sink.figures {
            let what = format!("{}: {name}", sink.name);
            console::line(&format!("  {what:<24} {number:>14}"));
        }
        for alert in &sink.alerts {
            console::line(&format!("  alert: {}", alert.message));
        }
    }
    for note in &report.notes {
        console::line(&format!("  note: {note}"));
    }
    for error in &report.errors {
        console::error_line(&format!("error: {}: {error}", report.pipeline));
    }
}

/// The exit code of one run: that of its first error.
pub fn exit_of(report: &RunReport) -> Exit {
    match (report.outcome, report.errors.first()) {
        (Outcome::Failed, Some(error)) if error.kind == ErrorKind::Config => Exit::Config,
        (Outcome::Failed, _) => Exit::Failed,
        _ => Exit::Done,
    }
}
