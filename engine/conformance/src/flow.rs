//! What holds wherever a stream goes in: transforms, encoders and sinks, fed
//! with nothing, little, much, and what is easily got wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use engine_abi::{Batches, ComponentDescription, ComponentKind, Error, ErrorKind, Scope};
use engine_host::{Direction, Instance};

use crate::sink::Target;
use crate::subject::{Stop, Subject, Verdict, require};
use crate::suite::Session;
use crate::{Check, Recorder, compression, format, rows, sink};

/// How long a component may go on after it was asked to stop. plugin.h has it
/// ask every 100 ms; the rest is for slow machines.
pub(crate) const PROMPT: Duration = Duration::from_secs(5);

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::EmptyInput, empty_input);
    if takes_rows(subject) {
        run_with_rows(subject, session);
    }
    subject.check(session, Check::RowsAddUp, rows_add_up);
    subject.check(session, Check::BrokenInput, broken_input);
    subject.check(session, Check::Cancel, cancel);
}

/// Whether rows go in: everywhere but into a format that only decodes.
fn takes_rows(subject: &Subject) -> bool {
    let description = subject.component.description();
    description.kind != ComponentKind::Format || (description.encodes && !description.is_compression())
}

fn run_with_rows(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::OneRow, |subject| feed(subject, vec![rows::plain(1, 1)]));
    subject.check(session, Check::ManyBatches, |subject| {
        feed(subject, (0..50).map(|batch| rows::plain(batch * 100 + 1, 100)).collect())
    });
    subject.check(session, Check::AllNulls, |subject| feed(subject, vec![rows::nulls(3)]));
    subject.check(session, Check::WideTypes, wide_types);
}

/// What came out of a component.
pub(crate) struct Passed {
    pub batches: Vec<RecordBatch>,
    pub host: Arc<Recorder>,
}

/// Puts a stream through a new instance of a transform or format.
pub(crate) fn pass(subject: &Subject, direction: Direction, input: Batches) -> Result<Passed, Stop> {
    let place = subject.place()?;
    let (mut instance, host) = subject.open(&place, 1)?;
    let batches = instance.apply(direction, input)?.collect::<engine_abi::Result<Vec<_>>>()?;
    let unexplained = host.unexplained();
    require(unexplained.is_empty(), || format!("rejections without a code or a reason: {unexplained:?}"))?;
    Ok(Passed { batches, host })
}

/// The direction in which rows go in.
fn rows_in(description: &ComponentDescription) -> Direction {
    if description.kind == ComponentKind::Format { Direction::Encode } else { Direction::Apply }
}

/// Every direction in which a transform or format works, with a little of what goes in there.
fn directions(subject: &Subject) -> Result<Vec<(Direction, RecordBatch)>, Stop> {
    let description = subject.component.description();
    let mut directions = Vec::new();
    if description.is_compression() {
        if description.encodes {
            directions.push((Direction::Encode, compression::two(&compression::plain())));
        }
        if description.decodes {
            directions.push((Direction::Decode, compression::two(&format::sample(subject)?)));
        }
        return Ok(directions);
    }
    if description.kind == ComponentKind::Transform || description.encodes {
        directions.push((rows_in(description), rows::plain(1, 10)));
    }
    if description.decodes {
        directions.push((Direction::Decode, rows::piece("sample", &format::sample(subject)?)));
    }
    Ok(directions)
}

fn empty_input(subject: &Subject) -> Verdict {
    if subject.component.kind() == ComponentKind::Sink {
        return feed(subject, vec![]);
    }
    for (direction, batch) in directions(subject)? {
        // No batches at all, and batches without rows.
        for batches in [vec![], vec![batch.slice(0, 0), batch.slice(0, 0)]] {
            let made = pass(subject, direction, rows::stream(batch.schema(), batches))?.batches;
            let encoded = direction == Direction::Encode && !subject.component.description().is_compression();
            require(!encoded || rows::count(&made) > 0, || {
                "of no rows no file was made: there must be a piece, which may be empty".into()
            })?;
        }
    }
    Ok(())
}

/// Feeds rows to any component that takes a stream of them.
fn feed(subject: &Subject, batches: Vec<RecordBatch>) -> Verdict {
    let description = subject.component.description();
    if description.kind == ComponentKind::Sink {
        let place = subject.place()?;
        let target = Target { subject, place: &place };
        let delivered = target.deliver(1, "0000", batches.clone())?;
        return target.require_visible(&batches, delivered.rejected);
    }
    pass(subject, rows_in(description), rows::stream(rows::schema(), batches)).map(|_| ())
}

fn wide_types(subject: &Subject) -> Verdict {
    let mut taken = 0;
    for batch in rows::wide() {
        let of = batch.schema().field(2).data_type().clone();
        match feed_wide(subject, batch)? {
            Ok(()) => taken += 1,
            Err(error) if matches!(error.kind, ErrorKind::Config | ErrorKind::Rejected) => {
                require(!error.message.trim().is_empty(), || format!("type {of} was refused without a message"))?;
            }
            Err(error) => {
                let kind = error.kind;
                return Err(Stop::Failed(format!("a column of type {of} was answered with {kind}: {error}")));
            }
        }
    }
    require(taken > 0, || "not one of the types was taken".into())
}

/// As [`feed`], but with the component's own answer, and without a look at what arrived.
fn feed_wide(subject: &Subject, batch: RecordBatch) -> Result<engine_abi::Result<()>, Stop> {
    let place = subject.place()?;
    let description = subject.component.description();
    let (mut instance, _) = subject.open(&place, 1)?;
    if description.kind == ComponentKind::Sink {
        let target = Target { subject, place: &place };
        let delivery = target.delivery(1, "0000");
        let input = rows::as_shape(subject.takes(), vec![batch])?;
        instance.begin_run(&target.run(1, &["0000"]))?;
        instance.begin_split(&delivery)?;
        let written = instance.write(&delivery, input).map(|_| ());
        instance.abort(&delivery)?;
        return Ok(written);
    }
    let output = instance.apply(rows_in(description), Batches::once(batch));
    Ok(output.and_then(|mut output| output.try_for_each(|batch| batch.map(|_| ()))))
}

fn rows_add_up(subject: &Subject) -> Verdict {
    let batches: Vec<_> = (0..4).map(|batch| rows::gaps(batch * 10 + 1, 10)).collect();
    let sent = rows::count(&batches);
    let description = subject.component.description();
    match description.kind {
        ComponentKind::Sink => sink::rows_add_up(subject, batches),
        ComponentKind::Transform if scope(subject)? != Scope::Row => {
            Err(Stop::NotPromised("a transform that does not look at each row alone makes rows of its own".into()))
        }
        ComponentKind::Transform => {
            let passed = pass(subject, Direction::Apply, rows::stream(rows::schema(), batches))?;
            let (filtered, rejected) = (passed.host.filtered(), passed.host.rejected());
            let out = rows::count(&passed.batches);
            require(sent == out + filtered + rejected, || {
                format!("{sent} rows went in; {out} came out, {filtered} were filtered and {rejected} rejected")
            })
        }
        _ => format::rows_add_up(subject, batches),
    }
}

/// How much a transform must see, as it is configured.
fn scope(subject: &Subject) -> Result<Scope, Stop> {
    let place = subject.place()?;
    let (mut instance, _) = subject.open(&place, 1)?;
    Ok(instance.scope()?)
}

/// What the engine meets when the stage before fails.
fn breaking() -> Error {
    Error::unavailable("the stage before this one has failed")
}

fn broken_input(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    if subject.component.kind() == ComponentKind::Sink {
        let break_off = |input: Batches, _: &Arc<Recorder>| rows::broken(input, breaking());
        return Target { subject, place: &place }.interrupted(break_off, ErrorKind::Unavailable);
    }
    for (direction, batch) in directions(subject)? {
        let (mut instance, _) = subject.open(&place, 1)?;
        let input = rows::broken(Batches::once(batch), breaking());
        let ended = instance.apply(direction, input).and_then(Iterator::collect::<engine_abi::Result<Vec<_>>>);
        match ended {
            Err(error) if error.kind == ErrorKind::Unavailable => {}
            Err(error) => {
                return Err(Stop::Failed(format!(
                    "the input failed with `unavailable`, the output with `{}`: {error}",
                    error.kind
                )));
            }
            Ok(_) => {
                return Err(Stop::Failed(
                    "the input broke off, and the output ended as if nothing were missing".into(),
                ));
            }
        }
    }
    Ok(())
}

/// More batches than any component makes of the three that it gets before it is asked to stop.
const FAR_TOO_MANY: usize = 1000;

fn cancel(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let begun = Instant::now();
    if subject.component.kind() == ComponentKind::Sink {
        let go_on = |mut input: Batches, host: &Arc<Recorder>| match input.next() {
            Some(Ok(batch)) => rows::endless(batch, Arc::clone(host)),
            _ => input,
        };
        Target { subject, place: &place }.interrupted(go_on, ErrorKind::Cancelled)?;
        return prompt(begun);
    }
    for (direction, batch) in directions(subject)? {
        let (mut instance, host) = subject.open(&place, 1)?;
        let output = instance.apply(direction, rows::endless(batch, host));
        match output.and_then(|output| output.take(FAR_TOO_MANY).collect::<engine_abi::Result<Vec<_>>>()) {
            Ok(batches) if batches.len() == FAR_TOO_MANY => {
                return Err(Stop::Failed("it went on giving rows after it was asked to stop".into()));
            }
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Cancelled => {}
            Err(error) => {
                return Err(Stop::Failed(format!("it answered with `{}` instead of `cancelled`: {error}", error.kind)));
            }
        }
    }
    prompt(begun)
}

/// Requires that not more than [`PROMPT`] has passed.
pub(crate) fn prompt(since: Instant) -> Verdict {
    let took = since.elapsed();
    require(took < PROMPT, || format!("it took {took:?} to stop"))
}

/// Makes an instance fail in the way that any of its kind can: its input breaks off.
pub(crate) fn fail_on_purpose(subject: &Subject, instance: &mut Instance) -> Verdict {
    for (direction, batch) in directions(subject)? {
        let input = rows::broken(Batches::once(batch), breaking());
        // Whether it fails as it should is another check's question.
        let _ = instance.apply(direction, input).and_then(Iterator::collect::<engine_abi::Result<Vec<_>>>);
    }
    Ok(())
}

/// Puts a little through an instance that must work.
pub(crate) fn work(subject: &Subject, instance: &mut Instance) -> Verdict {
    for (direction, batch) in directions(subject)? {
        instance.apply(direction, Batches::once(batch))?.collect::<engine_abi::Result<Vec<_>>>()?;
    }
    Ok(())
}
