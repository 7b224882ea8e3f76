//! A source that ends: what an earlier run left, then one new window.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_abi::message::{Delivered, PlanRequest, Split};
use engine_abi::{Error, Result};
use engine_spec::{OnExhausted, Unfinished};
use engine_state::{About, Backfill, NewWindow, SinkPlan, Window, WindowKind};

use crate::assembly::Assembly;
use crate::catch_up::{Left, catch_up};
use crate::cut::cut;
use crate::front::{self, join};
use crate::outlet::{Found, Target};
use crate::pass::{self, Straggler};
use crate::retry::{Budget, Next};
use crate::shared::{Job, Shared, is_stop};
use crate::spans::carried;
use crate::stop::Stop;
use crate::upstream::Upstream;

/// What a run came to, apart from its figures.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The first error of each sink that has not got everything.
    pub(crate) sinks: BTreeMap<String, Error>,
    /// What ended the reading.
    pub(crate) source: Option<Error>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
    /// It came to the end of what it covers, also where it was asked to stop meanwhile.
    pub(crate) complete: bool,
}

impl Ending {
    fn source(error: Error) -> Self {
        Self { source: Some(error), ..Self::default() }
    }
}

/// `about`: the time that the new window is about, where the next one's begins at its end.
pub(crate) fn run(
    shared: &Arc<Shared>,
    resume_only: bool,
    unfinished: Vec<Window>,
    about: Option<About>,
) -> Result<Ending> {
    let mut ending = Ending::default();
    // Before anything is read: what is put away now must not be read again.
    tell_source(shared, &mut ending)?;
    if ending.source.is_some() {
        return Ok(ending);
    }
    let resumed = unfinished.len();
    let mut left_open = false;
    for window in unfinished {
        shared.meters.window(true);
        tracing::info!(pipeline = shared.pipeline(), window = window.id, "taking up an unfinished window");
        deliver(shared, shared.job(window)?, None, &mut ending)?;
        if ending.source.is_some() || shared.stop.draining() {
            return Ok(ending);
        }
        if !ending.sinks.is_empty() {
            left_open = true;
        }
    }
    // Reading on after a cursor is always right; reading everything again is
    // only right when the run before had come to its end.
    if resume_only && shared.state.position(shared.pipeline())?.is_none() {
        if left_open {
            return Ok(ending);
        }
        ending.notes.push(match resumed {
            0 => "the run before was interrupted after it had delivered everything; run again to read again".into(),
            1 => {
                "completed the unfinished window of an earlier run and read nothing new; run again to read again".into()
            }
            _ => format!(
                "completed {resumed} unfinished windows of earlier runs and read nothing new; run again to read again"
            ),
        });
        return Ok(ending);
    }
    // What has just been given up comes before it: the next run is about both.
    if let Some(about) = about
        && left_open
        && shared.state.covered(shared.pipeline())?.is_some_and(|covered| covered < about.from)
    {
        return Ok(ending);
    }
    let position = shared.state.position(shared.pipeline())?;
    let request = PlanRequest { cursor: position.clone(), undelivered: undelivered(shared)?, ..PlanRequest::default() };
    let Some((job, upstream)) = (match new_window(shared, WindowKind::Read, request, None, about) {
        Ok(planned) => planned,
        Err(error) => {
            ending.source = Some(error);
            return Ok(ending);
        }
    }) else {
        if let Some(about) = about {
            shared.state.set_covered(shared.pipeline(), about.to)?;
        }
        ending.notes.push(match position {
            Some(position) => format!("there was nothing to read: no new data since {position}"),
            None => "there was nothing to read".into(),
        });
        return Ok(ending);
    };
    let window = job.window.id;
    shared.meters.window(false);
    deliver(shared, job, Some(upstream), &mut ending)?;
    // One that was asked to stop at once may have given up what was left.
    ending.complete = !shared.stop.stopped() && shared.fresh(window)?.is_none();
    Ok(ending)
}

/// Plans and stores the next window; `None` when there is nothing to read. The stages come with
/// it: a source may hold on to what it saw when it planned.
pub(crate) fn new_window(
    shared: &Arc<Shared>,
    kind: WindowKind,
    request: PlanRequest,
    backfill: Option<&Backfill>,
    about: Option<About>,
) -> Result<Option<(Job, Upstream)>> {
    let assembly = &shared.current;
    let mut upstream = shared.upstream(assembly, &shared.stop);
    let mut budget = Budget::new(&assembly.source.retry);
    let variables = shared.variables_before();
    let plan = loop {
        let planned = upstream.plan(&request, &variables);
        let planned = planned.and_then(|plan| {
            let cut = cut(assembly, &mut upstream, plan, &variables, &shared.stop).inspect_err(|_| upstream.close());
            cut.map(|plan| join(assembly, plan))
        });
        match planned {
            Ok(plan) => break plan,
            Err(error) => wait_or_give_up(shared, &mut budget, error, "reading")?,
        }
    };
    if plan.splits.is_empty() {
        return Ok(None);
    }
    let window = shared.state.create_window(&NewWindow {
        pipeline: shared.pipeline().to_owned(),
        run: shared.run.clone(),
        kind,
        lower: request.cursor,
        upper: plan.upper,
        splits: plan.splits,
        definition: assembly.definition.clone(),
        tells: plan.tell,
        context: shared.context(),
        sinks: assembly.sinks.iter().map(|sink| SinkPlan { name: sink.name.clone(), unit: sink.unit() }).collect(),
        replays: Vec::new(),
        backfill: backfill.cloned(),
        about,
    })?;
    Ok(Some((shared.job(window)?, upstream)))
}

/// What earlier windows hold that the source puts away once every sink has it.
fn undelivered(shared: &Shared) -> Result<Vec<Split>> {
    let mut splits = Vec::new();
    for window in shared.state.untold_windows(shared.pipeline())? {
        if has_same_source(&window, &shared.current) {
            splits.extend(front::parts_of(&window.splits)?);
        }
    }
    Ok(splits)
}

/// Whether a window was planned by the kind of source that the pipeline has now.
fn has_same_source(window: &Window, current: &Assembly) -> bool {
    window.definition["source"]["use"] == current.definition["source"]["use"]
}

/// Sleeps before the next attempt of the source, or gives the error back.
fn wait_or_give_up(shared: &Shared, budget: &mut Budget, error: Error, doing: &str) -> Result<()> {
    match budget.failed_with(&error) {
        Next::After(pause) if shared.stop.sleep(pause) => {
            shared.meters.retried();
            tracing::warn!(
                pipeline = shared.pipeline(),
                attempt = budget.failed(),
                kind = %error.kind,
                "{doing} failed and is tried again: {error}"
            );
            Ok(())
        }
        _ => Err(error),
    }
}

/// Delivers a window to all sinks that miss something of it: together as long as
/// they keep in step, then each on its own. `upstream`: the stages that planned it.
pub(crate) fn deliver(shared: &Arc<Shared>, job: Job, upstream: Option<Upstream>, ending: &mut Ending) -> Result<()> {
    let id = job.window.id;
    let waiting = |job: &Job, ending: &Ending| -> Vec<String> {
        let missing = job.window.sinks.iter().filter(|sink| !sink.is_done());
        missing.map(|sink| sink.name.clone()).filter(|name| !ending.sinks.contains_key(name)).collect()
    };
    let mut budget = Budget::new(&job.assembly.source.retry);
    let mut upstream = upstream.unwrap_or_else(|| shared.upstream(&job.assembly, &shared.stop));
    let mut behind: BTreeMap<String, Behind> = BTreeMap::new();
    let mut job = job;
    loop {
        let names: Vec<_> = waiting(&job, ending).into_iter().filter(|name| !behind.contains_key(name)).collect();
        let outlets =
            names.iter().map(|name| shared.outlet(&job.assembly, name, &shared.stop)).collect::<Result<_>>()?;
        let end = pass::run(&shared.pass(&job, &shared.stop)?, &mut upstream, outlets);
        let several = end.several;
        for (outlet, result) in end.outlets {
            match result {
                Err(error) if !is_stop(&error) => {
                    behind.insert(
                        outlet.name().to_owned(),
                        Behind { left: Left { why: Some(error), several }, call: None },
                    );
                }
                _ => {}
            }
        }
        for straggler in end.stalled {
            let name = straggler.name().to_owned();
            behind.insert(name, Behind { left: Left { why: None, several }, call: Some(straggler) });
        }
        let fresh = shared.fresh(id)?;
        match end.source {
            Ok(()) => break,
            Err(error) if is_stop(&error) => break,
            Err(error) => {
                // An attempt that got further is not the same failure again.
                if fresh.as_ref().is_none_or(|fresh| deliveries(fresh) > deliveries(&job.window)) {
                    budget.succeeded();
                }
                if let Err(error) = wait_or_give_up(shared, &mut budget, error, "reading") {
                    ending.source = Some(error);
                    break;
                }
            }
        }
        match fresh {
            Some(window) => job = shared.job(window)?,
            None => break,
        }
    }
    drop(upstream);
    // Without a source there is nothing to catch up with.
    let results = match ending.source {
        Some(_) => behind.into_iter().map(|(name, it)| (name, it.returned(shared).why.map_or(Ok(()), Err))).collect(),
        None => each_alone(shared, id, behind, &job),
    };
    for (name, result) in results {
        if let Err(error) = result
            && !is_stop(&error)
        {
            shared.meters.sink(&name).failed(&error);
            tracing::error!(pipeline = shared.pipeline(), sink = name, kind = %error.kind, "not delivered: {error}");
            ending.sinks.insert(name, error);
        }
    }
    match shared.fresh(id)? {
        None => {
            shared.meters.window_done(id);
            tell_source(shared, ending)?;
        }
        Some(window) => leave_open(shared, shared.job(window)?, ending)?,
    }
    Ok(())
}

/// Tells the source of every finished window that it wants to know of. Rows no longer depend on how the source is
/// configured, so the file as it is now says how: whoever mends a folder that is wrong there is heard.
fn tell_source(shared: &Arc<Shared>, ending: &mut Ending) -> Result<()> {
    for window in shared.state.windows_to_tell(shared.pipeline())? {
        let delivered = Delivered {
            pipeline: shared.pipeline().to_owned(),
            window: window.id,
            splits: front::parts_of(&window.splits)?,
        };
        let variables = shared.variables(&window);
        let assembly = match has_same_source(&window, &shared.current) {
            true => Arc::clone(&shared.current),
            false => shared.job(window)?.assembly,
        };
        let mut upstream = shared.upstream(&assembly, &shared.stop);
        let mut budget = Budget::new(&assembly.source.retry);
        while let Err(error) = upstream.delivered(&delivered, &variables) {
            if let Err(error) = wait_or_give_up(shared, &mut budget, error, "putting away what was delivered") {
                if !is_stop(&error) {
                    ending.notes.push(format!(
                        "everything of window {} was delivered, but the source could not put it away; the next run \
                         tries that again before it reads anything, as the pipeline file says then",
                        delivered.window
                    ));
                }
                ending.source = Some(error);
                return Ok(());
            }
        }
        shared.state.source_told(shared.pipeline(), delivered.window)?;
    }
    Ok(())
}

/// A sink that goes on by itself.
struct Behind {
    left: Left,
    /// It held the others up, and may still be in the middle of a call.
    call: Option<Straggler>,
}

impl Behind {
    /// Waits until nothing of the sink is at work, and answers with what the call has come to.
    fn returned(self, shared: &Shared) -> Left {
        let why = match self.call.map(Straggler::wait) {
            None => self.left.why,
            Some(Ok(())) => None,
            Some(Err(error)) if !is_stop(&error) => Some(error),
            Some(Err(_)) => Some(Error::unavailable(format!("held the other sinks up for {:?}", shared.options.stall))),
        };
        Left { why, ..self.left }
    }
}

/// How many deliveries of a window have been made.
fn deliveries(window: &Window) -> usize {
    window.sinks.iter().map(|sink| sink.committed.len()).sum()
}

/// A window that could not be completed. One that no attempt can complete, and of
/// which nothing was delivered, is given up: what is wrong is in the pipeline, and
/// a window keeps the pipeline that it was begun with.
fn leave_open(shared: &Arc<Shared>, job: Job, ending: &mut Ending) -> Result<()> {
    let id = job.window.id;
    if ending.source.is_none() && ending.sinks.is_empty() && !shared.stop.draining() {
        let error = Error::internal(format!("window {id} is not complete, and no stage says why"));
        ending.source = Some(error.hint("this is a bug of the engine; the next run goes on with the window"));
    }
    let failures: Vec<_> = ending.source.iter().chain(ending.sinks.values()).collect();
    // What the engine's own end leaves is completed when it is back.
    let over = !failures.is_empty() || shared.stop.stops_alone();
    if over && shared.current.unfinished == Unfinished::GiveUp && job.window.kind == WindowKind::Read {
        let why = failures.first().map_or_else(|| "the run was cancelled".to_owned(), ToString::to_string);
        give_up(shared, &job, &why)?;
        ending.notes.push(format!("what of window {id} had not arrived is given up; the next run begins anew"));
        return Ok(());
    }
    let hopeless = !failures.is_empty() && failures.iter().all(|error| !error.kind.is_retryable() && !is_stop(error));
    if hopeless && take_back(shared, &job).unwrap_or(false) && shared.state.give_up_window(shared.pipeline(), id)? {
        ending
            .notes
            .push("nothing was delivered; the next run begins anew, with the pipeline as its file says then".into());
    } else if !failures.is_empty() {
        ending.notes.push(format!(
            "window {id} is not complete; the next run goes on with it, with the pipeline as it was when the window was \
             begun (to give it up instead: engine state reset {})",
            shared.pipeline()
        ));
    }
    Ok(())
}

/// Whether no sink has anything of a window.
fn take_back(shared: &Arc<Shared>, job: &Job) -> Result<bool> {
    let context = shared.pass(job, &shared.stop)?;
    let target = Target { window: &job.window, variables: &context.variables, run: &context.run };
    for sink in &job.window.sinks {
        if !sink.committed.is_empty() {
            return Ok(false);
        }
        let mut outlet = shared.outlet(&job.assembly, &sink.name, &shared.stop)?;
        let missing = outlet.missing(&job.window);
        if !missing.is_empty() {
            outlet.begin_run(&target)?;
        }
        for split in missing {
            if outlet.take_back(&target, &split)? != Found::Nothing {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Settles every delivery of a window that has not arrived, and has its sink forget what it holds of it.
fn give_up(shared: &Arc<Shared>, job: &Job, why: &str) -> Result<()> {
    let context = shared.pass(job, &shared.stop)?;
    let target = Target { window: &job.window, variables: &context.variables, run: &context.run };
    let mut arrived = false;
    for sink in job.window.sinks.iter().filter(|sink| !sink.is_done()) {
        let mut outlet = shared.outlet(&job.assembly, &sink.name, &shared.stop)?;
        let missing = outlet.missing(&job.window);
        let begun = outlet.begin_run(&target);
        for split in missing {
            // A target that cannot be reached keeps what it has of it: what is not committed nobody sees.
            match begun.as_ref().map_err(Clone::clone).and_then(|_| outlet.take_back(&target, &split)) {
                Ok(found) => arrived |= found == Found::Something,
                Err(error) => tracing::debug!(pipeline = shared.pipeline(), sink = sink.name, "left as it is: {error}"),
            }
        }
    }
    shared.state.abandon_window(shared.pipeline(), job.window.id, why, arrived)
}

/// Every sink that fell behind goes on with its own budget, all at the same time.
fn each_alone(
    shared: &Arc<Shared>,
    window: u64,
    behind: BTreeMap<String, Behind>,
    job: &Job,
) -> Vec<(String, Result<()>)> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = behind
            .into_iter()
            .map(|(name, it)| {
                let stop: Stop = shared.stop.child();
                let mut retry = job.assembly.sink(&name).map(|sink| sink.retry.clone()).unwrap_or_default();
                // Somebody waits for a replay's answer.
                if job.window.kind == WindowKind::Replay && retry.on_exhausted == OnExhausted::Wait {
                    retry.on_exhausted = OnExhausted::Fail;
                }
                let of = name.clone();
                let worker = scope.spawn(carried(move || {
                    catch_up(shared, &of, Some(window), it.returned(shared), &mut Budget::new(&retry), &stop)
                }));
                (name, worker)
            })
            .collect();
        workers
            .into_iter()
            .map(|(name, worker)| {
                let result = worker.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
                (name, result)
            })
            .collect()
    })
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self::source(error)
    }
}
