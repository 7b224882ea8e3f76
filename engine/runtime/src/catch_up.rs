//! A sink on its own: it failed or held the others up, and now reads for itself
//! until it has everything.

use std::sync::Arc;

use engine_abi::{Error, ErrorKind, Result, Unit};
use engine_spec::OnExhausted;
use engine_state::{RUN_SPLIT, Window};

use crate::letters::At;
use crate::outlet::{Outlet, Target};
use crate::pass;
use crate::retry::{Budget, Next};
use crate::shared::{Job, Shared, Solo, is_stop};
use crate::stop::Stop;

/// Why a sink goes on by itself.
#[derive(Debug)]
pub(crate) struct Left {
    /// What it failed with. None: it was only too slow, or comes from an earlier run.
    pub(crate) why: Option<Error>,
    /// Several of its splits were worked on at the same time.
    pub(crate) several: bool,
}

/// Delivers to one sink all that it misses, with its own budget of attempts.
/// `window`: only this one; otherwise all, until none is left.
pub(crate) fn catch_up(
    shared: &Arc<Shared>,
    sink: &str,
    window: Option<u64>,
    left: Left,
    budget: &mut Budget,
    stop: &Stop,
) -> Result<()> {
    let mut solo: Option<Solo> = None;
    let mut failure = left.why.map(Failure::Sink);
    let mut several = left.several;
    let mut reading = Budget::new(&shared.current.source.retry);
    // Which of several splits was refused is known when they come one after the other, and a server that
    // gives away few connections has one for them.
    let mut in_order = false;
    loop {
        if let Some(failed) = failure.take() {
            let (error, budget, of_sink) = match failed {
                Failure::Sink(error) => (error, &mut *budget, true),
                // The source has attempts of its own, and no row of it is given up.
                Failure::Source(error) => (error, &mut reading, false),
            };
            shared.meters.sink(sink).failed(&error);
            let refused = of_sink && error.kind == ErrorKind::Rejected;
            match if refused { Next::Spent } else { budget.failed_with(&error) } {
                Next::After(pause) => {
                    shared.meters.retried();
                    tracing::warn!(
                        pipeline = shared.pipeline(),
                        sink,
                        attempt = budget.failed(),
                        kind = %error.kind,
                        "not delivered, next attempt in {:.1} s: {error}",
                        pause.as_secs_f64()
                    );
                    // The error is in the meters; what is missing waits for the next run.
                    if !stop.sleep(pause) {
                        return Err(Error::cancelled());
                    }
                }
                // A server may have given away as many connections as it may: one reader needs the fewest.
                Next::Spent
                    if of_sink
                        && (refused || error.kind.is_retryable())
                        && several
                        && !in_order
                        && misses_several(shared, sink, window)? =>
                {
                    in_order = true;
                }
                Next::Spent if refused || (of_sink && budget.on_exhausted() == OnExhausted::DeadLetter) => {
                    bury(shared, sink, window, &error, &mut solo, false, stop)?;
                    budget.succeeded();
                }
                Next::Spent => return Err(error),
            }
        }
        if stop.draining() {
            return Err(Error::cancelled());
        }
        let next = match next(shared, sink, window) {
            Ok(Some(next)) => next,
            Ok(None) => return Ok(()),
            // The state's disk may be full: that is waited out like any other failure.
            Err(error) => {
                failure = Some(Failure::Sink(error));
                continue;
            }
        };
        let id = next.window.id;
        let answered = || shared.state.answered(shared.pipeline(), id, sink);
        let before = (delivered(&next, sink), answered()?);
        match attempt(shared, sink, next, &mut solo, in_order, &mut several, stop, |_| {}) {
            Ok(()) => {
                budget.succeeded();
                reading.succeeded();
            }
            Err(Failure::Sink(error) | Failure::Source(error)) if is_stop(&error) => return Err(error),
            Err(failed) => {
                // An attempt that got further is not the same failure again.
                let now = shared.fresh(id)?.and_then(|window| window.sink(sink).map(|sink| sink.committed.len()));
                let answered = answered()?;
                if now.is_none_or(|now| (now, answered) > before) {
                    budget.succeeded();
                } else if matches!(&failed, Failure::Sink(error) if error.kind.is_retryable()) {
                    in_order = true;
                }
                failure = Some(failed);
            }
        }
    }
}

/// Whose failure an attempt was.
enum Failure {
    Sink(Error),
    Source(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sink(error)
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

/// Whether the sink misses more than one delivery of the window that it is to get next.
fn misses_several(shared: &Shared, sink: &str, window: Option<u64>) -> Result<bool> {
    let job = next(shared, sink, window)?;
    let missing = |job: Job| {
        let sink = job.window.sink(sink)?;
        Some(sink.unit == Unit::Split && job.window.splits.len() > sink.committed.len() + 1)
    };
    Ok(job.and_then(missing).unwrap_or(false))
}

/// `in_order`: the splits one after the other, whatever the sink would take. `several`: whether they were not.
/// `prepare`: what the sink is to know before.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
fn attempt(
    shared: &Arc<Shared>,
    sink: &str,
    job: Job,
    solo: &mut Option<Solo>,
    in_order: bool,
    several: &mut bool,
    stop: &Stop,
    prepare: impl FnOnce(&mut Outlet),
) -> Result<(), Failure> {
    let mut context = shared.pass(&job, stop)?;
    if in_order {
        context.most_readers = 1;
    }
    let mut outlet = shared.outlet(&job.assembly, sink, stop)?;
    prepare(&mut outlet);
    let solo = shared.solo(solo, &job, stop);
    let end = pass::run(&context, &mut solo.upstream, vec![outlet]);
    *several = end.several;
    // The reading's failure comes first: the sink's is its consequence.
    end.source.map_err(Failure::Source)?;
    for (_, result) in end.outlets {
        result?;
    }
    for straggler in end.stalled {
        straggler.wait()?;
    }
    if shared.fresh(job.window.id)?.is_none() {
        shared.meters.window_done(job.window.id);
    }
    Ok(())
}

/// Makes dead letters of the rows that a sink cannot be given. `whole_rows`: of all of a delivery, whatever of it is
/// known to have arrived.
fn bury(
    shared: &Arc<Shared>,
    sink: &str,
    window: Option<u64>,
    why: &Error,
    solo: &mut Option<Solo>,
    whole_rows: bool,
    stop: &Stop,
) -> Result<()> {
    let Some(job) = next(shared, sink, window)? else { return Ok(()) };
    let context = shared.pass(&job, stop)?;
    let target = Target { window: &job.window, variables: &context.variables, run: &context.run };
    let mut outlet: Outlet = shared.outlet(&job.assembly, sink, stop)?;
    let missing = outlet.missing(&job.window);
    let Some(first) = missing.first() else { return Ok(()) };
    let last = missing.len() == 1;
    outlet.begin_run(&target)?;
    // The answer to a commit may have been lost: what is there is not given up.
    match outlet.recover(&target, first, last, stop) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error) => tracing::warn!(pipeline = shared.pipeline(), sink, "not known whether it was delivered: {error}"),
    }
    if !whole_rows && outlet.has_pieces(&job.window, first)? {
        drop(outlet);
        if refuse_rest(shared, sink, &job, first, why, solo, stop)? {
            return Ok(());
        }
        // What the attempt has settled of other splits is not missing any more.
        return bury(shared, sink, window, why, solo, true, stop);
    }
    let solo = shared.solo(solo, &job, stop);
    solo.upstream.bind(stop, context.queue_bytes);
    let whole = first == RUN_SPLIT;
    let splits: Vec<_> = job.window.splits.iter().filter(|split| whole || split.id == *first).collect();
    // One split at a time, so that one bad split does not take its neighbours along.
    for (at, split) in splits.iter().enumerate() {
        let place = At { window: job.window.id, split: split.id.clone(), run: context.run.clone() };
        let stream = solo.upstream.open(split, &place, &context.feed, &context.variables, stop)?;
        let end = at + 1 == splits.len();
        let upstream = &solo.upstream;
        outlet.bury(&target, first, stream, why, last, (at == 0, end), || {
            let counts = upstream.finish(&context.feed)?;
            context.meters.split(job.window.id, &split.id, counts);
            Ok(())
        })?;
    }
    Ok(())
}

/// Settles a delivery of which a part has arrived: the sink, which knows that part, refuses the rest. False: it
/// knows no better than to try again, and that has failed.
fn refuse_rest(
    shared: &Arc<Shared>,
    sink: &str,
    job: &Job,
    split: &str,
    why: &Error,
    solo: &mut Option<Solo>,
    stop: &Stop,
) -> Result<bool> {
    let id = job.window.id;
    let again = shared.job(Window::clone(&job.window))?;
    let Err(failure) = attempt(shared, sink, again, solo, true, &mut false, stop, |it| it.give_up(split, why)) else {
        return Ok(true);
    };
    // The attempt went on with other splits; what one of them has failed with is not about this one.
    let is_missing = |window: Window| window.sink(sink).is_some_and(|sink| !sink.committed.contains(split));
    let failed = shared.fresh(id)?.is_some_and(is_missing);
    match failure {
        Failure::Sink(error) | Failure::Source(error) if is_stop(&error) => Err(error),
        _ if !failed => Ok(true),
        Failure::Sink(error) if error.kind.is_retryable() || error.kind == ErrorKind::Rejected => Ok(false),
        Failure::Sink(error) | Failure::Source(error) => Err(error),
    }
}
