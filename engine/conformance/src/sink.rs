//! What holds for sinks: nothing lost, nothing doubled, nothing half.

use std::sync::Arc;

use arrow_array::RecordBatch;
use engine_abi::message::{Begun, Delivery, Receipt, Sealed, SinkRun};
use engine_abi::{Batches, ComponentDescription, ComponentKind, ErrorKind, Promise, Shape, Unit};
use engine_host::Instance;

use crate::fixture::Place;
use crate::rows::require_same;
use crate::subject::{Stop, Subject, Verdict, require};
use crate::suite::Session;
use crate::{Check, Recorder, rows, source};

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::Invisible, |subject| promised(subject, invisible));
    subject.check(session, Check::CommitOnce, |subject| promised(subject, commit_once));
    subject.check(session, Check::Abort, |subject| promised(subject, abort));
    subject.check(session, Check::CrashInWrite, |subject| promised(subject, crash_in_write));
    subject.check(session, Check::CrashBeforeCommit, |subject| promised(subject, crash_before_commit));
    subject.check(session, Check::Order, order);
    subject.check(session, Check::Parallel, parallel);
    subject.check(session, Check::RunTwice, run_twice);
    subject.check(session, Check::Receipt, receipt);
}

/// Runs a check that asks for more than delivering at least once.
fn promised(subject: &Subject, check: fn(&Target<'_>) -> Verdict) -> Verdict {
    if subject.component.description().promise == Promise::AtLeastOnce {
        return Err(Stop::NotPromised("it delivers at least once".into()));
    }
    let place = subject.place()?;
    check(&Target { subject, place: &place })
}

/// A sink in its surroundings, and a way to see what has arrived.
pub(crate) struct Target<'a> {
    pub subject: &'a Subject,
    pub place: &'a Place,
}

/// What became of a delivery.
pub(crate) struct Delivered {
    pub sealed: Sealed,
    pub receipt: Receipt,
    pub rejected: u64,
}

/// The id of a split's delivery: a sink whose unit is the run gets one for all.
fn split_id(unit: Unit, split: &str) -> &str {
    if unit == Unit::Run { "run" } else { split }
}

fn delivery_of(description: &ComponentDescription, place: &Place, window: u64, split: &str) -> Delivery {
    let state = place.unique();
    Delivery {
        key: format!("{state}/conformance/{}/{window}/{split}", description.name),
        state: state.to_owned(),
        pipeline: "conformance".into(),
        sink: description.name.clone(),
        window,
        split: split.to_owned(),
        settled_before: window,
        sealed: None,
        answered: Vec::new(),
        given_up: None,
    }
}

fn run_of(description: &ComponentDescription, place: &Place, window: u64, splits: &[&str]) -> SinkRun {
    SinkRun {
        state: place.unique().to_owned(),
        pipeline: "conformance".into(),
        sink: description.name.clone(),
        window,
        splits: splits.iter().map(ToString::to_string).collect(),
        replay: false,
    }
}

/// Delivers rows through any sink, as one window of one split.
pub(crate) fn deliver_to(instance: &mut Instance, place: &Place, batches: Vec<RecordBatch>) -> Verdict {
    let component = Arc::clone(instance.component());
    let description = component.description();
    let takes = description.takes.shape(false);
    let run = run_of(description, place, 1, &["0000"]);
    let mut delivery = delivery_of(description, place, 1, split_id(description.unit_of(takes), "0000"));
    instance.begin_run(&run)?;
    instance.begin_split(&delivery)?;
    delivery.sealed = Some(instance.write(&delivery, rows::as_shape(takes, batches)?)?);
    instance.commit(&delivery)?;
    Ok(instance.finish_run(&run)?)
}

impl Target<'_> {
    fn description(&self) -> &ComponentDescription {
        self.subject.component.description()
    }

    pub fn delivery(&self, window: u64, split: &str) -> Delivery {
        delivery_of(self.description(), self.place, window, split_id(self.subject.unit(), split))
    }

    pub fn run(&self, window: u64, splits: &[&str]) -> SinkRun {
        run_of(self.description(), self.place, window, splits)
    }

    fn input(&self, batches: Vec<RecordBatch>) -> Result<Batches, Stop> {
        rows::as_shape(self.subject.takes(), batches)
    }

    /// A new instance in a window that has begun. Dropping it is the crash.
    fn begin(&self, window: u64) -> Result<(Instance, Arc<Recorder>), Stop> {
        let (mut instance, host) = self.subject.open(self.place, window)?;
        instance.begin_run(&self.run(window, &["0000", "0001"]))?;
        Ok((instance, host))
    }

    /// Begins a delivery that must be new, and writes it.
    fn write(&self, instance: &mut Instance, delivery: &Delivery, batches: Vec<RecordBatch>) -> Result<Sealed, Stop> {
        let begun = instance.begin_split(delivery)?;
        require(begun == Begun::New, || format!("a delivery that never came is {begun:?} instead of new"))?;
        Ok(instance.write(delivery, self.input(batches)?)?)
    }

    /// Makes a delivery that never came before, from `begin_run` to `finish_run`.
    pub fn deliver(&self, window: u64, split: &str, batches: Vec<RecordBatch>) -> Result<Delivered, Stop> {
        let (mut instance, host) = self.begin(window)?;
        let mut delivery = self.delivery(window, split);
        let sealed = self.write(&mut instance, &delivery, batches)?;
        delivery.sealed = Some(sealed.clone());
        let receipt = instance.commit(&delivery)?;
        instance.finish_run(&self.run(window, &["0000", "0001"]))?;
        Ok(Delivered { sealed, receipt, rejected: host.rejected() })
    }

    /// Makes a delivery again, as far as the sink says that it must be made.
    fn deliver_again(&self, mut delivery: Delivery, batches: Vec<RecordBatch>) -> Verdict {
        let (mut instance, _) = self.begin(delivery.window)?;
        match instance.begin_split(&delivery)? {
            Begun::Committed { .. } => return Ok(instance.finish_run(&self.run(delivery.window, &["0000", "0001"]))?),
            Begun::Sealed => {
                require(delivery.sealed.is_some(), || "what was never sealed is said to be sealed".into())?
            }
            Begun::New => delivery.sealed = Some(instance.write(&delivery, self.input(batches)?)?),
        }
        instance.commit(&delivery)?;
        Ok(instance.finish_run(&self.run(delivery.window, &["0000", "0001"]))?)
    }

    /// What has arrived, as keys of rows; a place that is not there yet holds nothing.
    fn visible(&self) -> Result<Vec<String>, Stop> {
        let Some(readback) = &self.subject.fixture.readback else {
            return Err(Stop::NotRun("conformance.json has no `readback`: nobody can see what arrived".into()));
        };
        let mut source = self.subject.open_other(ComponentKind::Source, readback, self.place)?;
        let batches = match source.plan(&Default::default()) {
            Err(error) if error.kind == ErrorKind::Config => return Ok(vec![]),
            Err(error) => return Err(error.into()),
            Ok(_) => source::read_all(&mut source)?,
        };
        if self.subject.takes() == Shape::Files {
            let text = String::from_utf8_lossy(&rows::bytes(&batches)?).into_owned();
            return Ok(text.lines().map(str::to_owned).collect());
        }
        let mut keys = batches.iter().map(rows::keys).collect::<Result<Vec<_>, _>>()?.concat();
        // Tables have no order.
        keys.sort();
        Ok(keys)
    }

    /// Requires that `batches` are there, once, apart from rejected rows.
    pub fn require_visible(&self, batches: &[RecordBatch], rejected: u64) -> Verdict {
        let mut expected = batches.iter().map(rows::keys).collect::<Result<Vec<_>, _>>()?.concat();
        let found = self.visible()?;
        if rejected > 0 {
            let (found, sent) = (found.len() as u64, expected.len() as u64);
            return require(found + rejected == sent, || {
                format!("{sent} rows were sent; {found} are there and {rejected} were rejected")
            });
        }
        if self.subject.takes() == Shape::Rows {
            expected.sort();
        }
        require_same("what arrived", &found, &expected)
    }

    fn require_nothing(&self, when: &str) -> Verdict {
        let found = self.visible()?.len();
        require(found == 0, || format!("{found} rows are visible {when}"))
    }

    /// A write whose input ends in an error: it is passed on, and nothing stays.
    pub fn interrupted(&self, interrupt: impl Fn(Batches, &Arc<Recorder>) -> Batches, expected: ErrorKind) -> Verdict {
        let (mut instance, host) = self.begin(1)?;
        let delivery = self.delivery(1, "0000");
        instance.begin_split(&delivery)?;
        match instance.write(&delivery, interrupt(self.input(vec![rows::plain(1, 10)])?, &host)) {
            Ok(_) => return Err(Stop::Failed("its input failed, and it took what came for everything".into())),
            Err(error) if error.kind == expected => {}
            Err(error) => {
                let kind = error.kind;
                return Err(Stop::Failed(format!(
                    "its input failed with `{expected}`, the write with `{kind}`: {error}"
                )));
            }
        }
        instance.abort(&delivery)?;
        // What delivers at least once has sent what came before, and cannot take it back.
        if self.description().promise == Promise::AtLeastOnce {
            return Ok(());
        }
        self.require_nothing("although the write failed and was aborted")
    }
}

fn some_rows() -> Vec<RecordBatch> {
    vec![rows::plain(1, 12), rows::plain(13, 12)]
}

pub(crate) fn rows_add_up(subject: &Subject, batches: Vec<RecordBatch>) -> Verdict {
    let place = subject.place()?;
    let target = Target { subject, place: &place };
    let sent = rows::count(&batches);
    let delivered = target.deliver(1, "0000", batches)?;
    let (rejected, arrived) = (delivered.rejected, target.visible()?.len() as u64);
    require(sent == arrived + rejected, || {
        format!("{sent} rows were sent; {arrived} are there and {rejected} were rejected")
    })?;
    let taken = delivered.sealed.rows;
    require(target.subject.takes() == Shape::Files || taken == arrived, || {
        format!("write says that it took {taken} rows, {arrived} are there")
    })
}

fn invisible(target: &Target<'_>) -> Verdict {
    let (mut instance, _) = target.begin(1)?;
    let mut delivery = target.delivery(1, "0000");
    delivery.sealed = Some(target.write(&mut instance, &delivery, some_rows())?);
    target.require_nothing("before the commit")?;
    instance.commit(&delivery)?;
    target.require_visible(&some_rows(), 0)
}

fn commit_once(target: &Target<'_>) -> Verdict {
    let delivered = target.deliver(1, "0000", some_rows())?;
    let mut delivery = target.delivery(1, "0000");
    delivery.sealed = Some(delivered.sealed);
    if target.description().promise == Promise::EffectivelyOnce {
        let (mut instance, _) = target.begin(1)?;
        let begun = instance.begin_split(&delivery)?;
        require(matches!(begun, Begun::Committed { .. }), || {
            format!("a delivery that was committed is {begun:?} instead of committed")
        })?;
    }
    for _ in 0..2 {
        target.deliver_again(delivery.clone(), some_rows())?;
        target.require_visible(&some_rows(), 0)?;
    }
    Ok(())
}

fn abort(target: &Target<'_>) -> Verdict {
    let (mut instance, _) = target.begin(1)?;
    let delivery = target.delivery(1, "0000");
    instance.abort(&delivery)?;
    let sealed = target.write(&mut instance, &delivery, some_rows())?;
    let written = Delivery { sealed: Some(sealed), ..delivery.clone() };
    instance.abort(&written)?;
    instance.abort(&written)?;
    target.require_nothing("after an abort")?;
    let sealed = target.write(&mut instance, &delivery, some_rows())?;
    instance.commit(&Delivery { sealed: Some(sealed), ..delivery })?;
    target.require_visible(&some_rows(), 0)
}

fn crash_in_write(target: &Target<'_>) -> Verdict {
    let (mut instance, _) = target.begin(1)?;
    let delivery = target.delivery(1, "0000");
    instance.begin_split(&delivery)?;
    let cut_off = rows::broken(target.input(some_rows())?, engine_abi::Error::unavailable("a crash"));
    let cut_off = instance.write(&delivery, cut_off);
    require(cut_off.is_err(), || "its input failed, and it took what came for everything".into())?;
    drop(instance);
    target.require_nothing("after a crash in write")?;
    target.deliver_again(delivery, some_rows())?;
    target.require_visible(&some_rows(), 0)
}

fn crash_before_commit(target: &Target<'_>) -> Verdict {
    let parts = [vec![rows::plain(1, 12)], vec![rows::plain(13, 12)]];
    // Whether the engine had time to store what was sealed must not matter.
    for ((window, remembered), part) in [(1, true), (2, false)].into_iter().zip(parts.clone()) {
        let (mut instance, _) = target.begin(window)?;
        let delivery = target.delivery(window, "0000");
        let sealed = target.write(&mut instance, &delivery, part.clone())?;
        drop(instance);
        let sealed = Some(sealed).filter(|_| remembered);
        target.deliver_again(Delivery { sealed, ..delivery }, part)?;
    }
    target.require_visible(&parts.concat(), 0)
}

fn order(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let target = Target { subject, place: &place };
    let parts = [vec![rows::plain(1, 12)], vec![rows::plain(13, 12)], vec![rows::plain(25, 12)]];
    // Two splits of one window where the sink takes splits, else three windows.
    let by_run = target.subject.unit() == Unit::Run;
    let places = if by_run { [(1, "run"), (2, "run"), (3, "run")] } else { [(1, "0000"), (1, "0001"), (2, "0000")] };
    for ((window, split), part) in places.into_iter().zip(parts.clone()) {
        target.deliver(window, split, part)?;
    }
    target.require_visible(&parts.concat(), 0)
}

/// Two deliveries of one window, each begun before the other is committed. The second one ends first.
fn parallel(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let target = Target { subject, place: &place };
    let run = target.run(1, &["0000", "0001"]);
    let open = || {
        let (mut instance, _) = subject.open(&place, 1)?;
        match instance.begin_run(&run)?.parallel && target.subject.unit() == Unit::Split {
            true => Ok(instance),
            false => Err(Stop::NotPromised("it takes the splits of a window in their order".into())),
        }
    };
    let (mut first, mut second) = (open()?, open()?);
    let parts = [vec![rows::plain(1, 12)], vec![rows::plain(13, 12)]];
    let (mut one, mut other) = (target.delivery(1, "0000"), target.delivery(1, "0001"));
    one.sealed = Some(target.write(&mut first, &one, parts[0].clone())?);
    other.sealed = Some(target.write(&mut second, &other, parts[1].clone())?);
    second.commit(&other)?;
    first.commit(&one)?;
    first.finish_run(&run)?;
    target.require_visible(&parts.concat(), 0)?;
    // Each knows what the other has delivered.
    target.deliver_again(one, parts[0].clone())?;
    target.deliver_again(other, parts[1].clone())?;
    target.require_visible(&parts.concat(), 0)
}

fn run_twice(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let target = Target { subject, place: &place };
    let (mut instance, _) = target.begin(1)?;
    let run = target.run(1, &["0000", "0001"]);
    instance.begin_run(&run)?;
    let mut delivery = target.delivery(1, "0000");
    delivery.sealed = Some(target.write(&mut instance, &delivery, some_rows())?);
    instance.commit(&delivery)?;
    instance.finish_run(&run)?;
    instance.finish_run(&run)?;
    drop(instance);
    let (mut later, _) = target.begin(1)?;
    later.finish_run(&run)?;
    target.require_visible(&some_rows(), 0)
}

fn receipt(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let target = Target { subject, place: &place };
    let Delivered { sealed, receipt, .. } = target.deliver(1, "0000", some_rows())?;
    let sent = rows::count(&some_rows());
    if target.subject.takes() == Shape::Rows {
        require(sealed.rows == sent, || format!("write says {} rows instead of {sent}", sealed.rows))?;
        require(receipt.rows == sent, || format!("the receipt says {} rows instead of {sent}", receipt.rows))?;
    } else {
        let bytes = rows::bytes(&target.input(some_rows())?.collect::<engine_abi::Result<Vec<_>>>()?)?.len() as u64;
        require(receipt.bytes == bytes, || format!("the receipt says {} bytes instead of {bytes}", receipt.bytes))?;
    }
    require(sealed.sha256 == receipt.sha256, || {
        format!("write says the hash {:?}, the receipt {:?}", sealed.sha256, receipt.sha256)
    })?;
    let location = receipt.location.unwrap_or_default();
    require(!location.trim().is_empty(), || "the receipt does not say where it is".into())
}
