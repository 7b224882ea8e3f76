//! A sink on its own: it failed or held the others up, and now reads for itself
//! until it has everything.

use std::sync::Arc;

use engine_abi::{Error, ErrorKind, Result};
use engine_spec::OnExhausted;
use engine_state::RUN_SPLIT;

use crate::letters::At;
use crate::outlet::{Outlet, Target};
use crate::pass;
use crate::retry::{Budget, Next};
use crate::shared::{Job, Shared, Solo, is_stop};
use crate::stop::Stop;

/// Delivers to one sink all that it misses, with its own budget of attempts.
/// `window`: only this one; otherwise all, until none is left.
pub(crate) fn catch_up(
    shared: &Arc<Shared>,
    sink: &str,
    window: Option<u64>,
    first: Option<Error>,
    budget: &mut Budget,
    stop: &Stop,
) -> Result<()> {
    let mut solo: Option<Solo> = None;
    let mut failure = first;
    loop {
        if let Some(error) = failure.take() {
            shared.meters.sink(sink).failed(&error);
            let refused = error.kind == ErrorKind::Rejected;
            match if refused { Next::Spent } else { budget.failed_with(&error) } {
                Next::After(pause) => {
                    tracing::warn!(
                        pipeline = shared.pipeline(),
                        sink,
                        attempt = budget.failed(),
                        kind = %error.kind,
                        "not delivered, next attempt in {:.1} s: {error}",
                        pause.as_secs_f64()
                    );
                    if !stop.sleep(pause) {
                        return Err(error);
                    }
                }
                Next::Spent if refused || budget.on_exhausted() == OnExhausted::DeadLetter => {
                    bury(shared, sink, window, &error, &mut solo, stop)?;
                    budget.succeeded();
                }
                Next::Spent => return Err(error),
            }
        }
        if stop.draining() {
            return Err(Error::cancelled());
        }
        let Some(next) = next(shared, sink, window)? else { return Ok(()) };
        let before = delivered(&next, sink);
        let id = next.window.id;
        match attempt(shared, sink, next, &mut solo, stop) {
            Ok(()) => budget.succeeded(),
            Err(error) if is_stop(&error) => return Err(error),
            Err(error) => {
                // An attempt that got further is not the same failure again.
                let now = shared.fresh(id)?.and_then(|window| window.sink(sink).map(|sink| sink.committed.len()));
                if now.is_none_or(|now| now > before) {
                    budget.succeeded();
                }
                failure = Some(error);
            }
        }
    }
}

fn next(shared: &Shared, sink: &str, only: Option<u64>) -> Result<Option<Job>> {
    let window = match only {
        Some(id) => shared.fresh(id)?.filter(|window| window.sink(sink).is_some_and(|sink| !sink.is_done())),
        None => shared.next_for(sink)?,
    };
    window.map(|window| shared.job(window)).transpose()
}

fn delivered(job: &Job, sink: &str) -> usize {
    job.window.sink(sink).map_or(0, |sink| sink.committed.len())
}

fn attempt(shared: &Arc<Shared>, sink: &str, job: Job, solo: &mut Option<Solo>, stop: &Stop) -> Result<()> {
    let context = shared.pass(&job, stop)?;
    let outlet = shared.outlet(&job.assembly, sink, stop)?;
    let solo = shared.solo(solo, &job, stop);
    let end = pass::run(&context, &mut solo.upstream, vec![outlet]);
    // The reading's failure comes first: the sink's is its consequence.
    end.source?;
    for (_, result) in end.outlets {
        result?;
    }
    for straggler in end.stalled {
        straggler.thread.join().map_err(|_| Error::internal(format!("sink `{}` panicked", straggler.name)))?.1?;
    }
    if shared.fresh(job.window.id)?.is_none() {
        shared.meters.window_done(job.window.id);
    }
    Ok(())
}

/// Makes dead letters of the rows that a sink cannot be given.
fn bury(
    shared: &Arc<Shared>,
    sink: &str,
    window: Option<u64>,
    why: &Error,
    solo: &mut Option<Solo>,
    stop: &Stop,
) -> Result<()> {
    let Some(job) = next(shared, sink, window)? else { return Ok(()) };
    let context = shared.pass(&job, stop)?;
    let target = Target { window: &job.window, variables: &context.variables, run: &context.run };
    let mut outlet: Outlet = shared.outlet(&job.assembly, sink, stop)?;
    let solo = shared.solo(solo, &job, stop);
    solo.upstream.set_stop(stop);
    let missing = outlet.missing(&job.window);
    let Some(first) = missing.first() else { return Ok(()) };
    let last = missing.len() == 1;
    let whole = first == RUN_SPLIT;
    let splits: Vec<_> = job.window.splits.iter().filter(|split| whole || split.id == *first).collect();
    // One split at a time, so that one bad split does not take its neighbours along.
    for (at, split) in splits.iter().enumerate() {
        let place = At { window: job.window.id, split: split.id.clone(), run: context.run.clone() };
        let stream = solo.upstream.open(split, &place, &context.feed, &context.variables, stop)?;
        let end = at + 1 == splits.len();
        outlet.bury(&target, first, stream, why, last, (at == 0, end))?;
        let counts = solo.upstream.finish(&context.feed)?;
        context.meters.split(job.window.id, &split.id, counts);
    }
    Ok(())
}
