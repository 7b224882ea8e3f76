//! One sink at work: the order of writes for a delivery.

use std::sync::Arc;

use engine_abi::message::{Begun, Delivery as Message, GivenUp, Receipt, RunBegun, Sealed, SinkRun};
use engine_abi::stream::Batches;
use engine_abi::{Error, ErrorKind, Promise, Result, Shape, Unit};
use engine_host::{Direction, Payload, Rejection};
use engine_spec::TemplateVariables;
use engine_state::{Delivery, RUN_SPLIT, State, Window, WindowKind};
use fail::fail_point;

use crate::assembly::{Assembly, SinkPart};
use crate::burst;
use crate::edge::{Edge, add_up};
use crate::kept::{self, Kept};
use crate::letters::{At, Letters, Stored};
use crate::meters::{Meters, SinkMeter};
use crate::notices;
use crate::pass::PassContext;
use crate::queue::{QUEUE_BYTES, ahead};
use crate::resend::repeats;
use crate::shared::is_stop;
use crate::slot::Slot;
use crate::spans;
use crate::stage_host::StageHost;
use crate::stop::Stop;

/// Points at which a test can end the process inside a delivery.
pub(crate) const FAILPOINTS: &[&str] =
    &["runtime::begun", "runtime::written", "runtime::committed", "runtime::finished"];

/// What a target has of a delivery that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Something,
    /// It keeps no keys, and an attempt went without an answer.
    Unknown,
}

/// An open sink with its encoder and its compression.
pub(crate) struct Outlet {
    pub(crate) sink: SinkPart,
    slot: Slot,
    encoder: Option<Slot>,
    compression: Option<Slot>,
    letters: Arc<Stored>,
    state: Arc<State>,
    meter: Arc<SinkMeter>,
    into: Edge,
    queue_bytes: usize,
    /// Whether somebody is told of alerts.
    tells: bool,
    /// The delivery that is not tried any more, by its split, and why.
    given_up: Option<(String, GivenUp)>,
    /// What the present delivery is made of, where that is not the pass's rows.
    kept: Option<Kept>,
}

/// A window as one sink sees it while it delivers.
pub(crate) struct Target<'a> {
    pub(crate) window: &'a Window,
    pub(crate) variables: &'a TemplateVariables,
    pub(crate) run: &'a str,
}

impl Outlet {
    pub(crate) fn new(assembly: &Assembly, sink: &SinkPart, state: &Arc<State>, stop: &Stop, meters: &Meters) -> Self {
        let stage = &sink.part.stage;
        let letters = Arc::new(Stored::new(state, &assembly.name, stage));
        let host = |letters| StageHost::with_memory(&assembly.name, stage, state, stop, letters);
        let stored = || host(Letters::Stored(Arc::clone(&letters)));
        Self {
            slot: Slot::new(&sink.part, stored()),
            encoder: sink.encoder.as_ref().map(|part| Slot::new(part, stored())),
            compression: sink.compression.as_ref().map(|part| Slot::new(part, host(Letters::Nowhere))),
            sink: sink.clone(),
            state: Arc::clone(state),
            meter: meters.sink(&sink.name),
            letters,
            into: Edge::default(),
            queue_bytes: QUEUE_BYTES,
            tells: notices::tells_of_alerts(assembly),
            given_up: None,
            kept: None,
        }
    }

    /// Another instance of the same sink.
    pub(crate) fn another(&self, context: &PassContext) -> Self {
        let outlet = Self::new(&context.assembly, &self.sink, &context.state, &context.stop, &context.meters);
        Self { queue_bytes: self.queue_bytes, ..outlet }
    }

    pub(crate) fn name(&self) -> &str {
        &self.sink.name
    }

    /// Binds the sink to a pass that can be stopped alone, with queues of this size.
    pub(crate) fn bind(&mut self, stop: &Stop, queue_bytes: usize) {
        self.queue_bytes = queue_bytes;
        self.slot.host.set_stop(stop);
        self.encoder.iter().chain(&self.compression).for_each(|slot| slot.host.set_stop(stop));
    }

    /// Lets the instances go after a failure.
    pub(crate) fn close(&mut self) {
        self.slot.close();
        self.encoder.iter_mut().chain(&mut self.compression).for_each(Slot::close);
    }

    /// Tries the sink out without writing.
    pub(crate) fn check(&mut self, variables: &TemplateVariables) -> Result<()> {
        let stage = self.sink.part.stage.clone();
        self.slot.instance(variables).and_then(|it| it.check()).map(drop).map_err(|error| error.at(stage))
    }

    /// The deliveries of a window that this sink has still to make.
    pub(crate) fn missing(&self, window: &Window) -> Vec<String> {
        let Some(sink) = window.sink(self.name()) else { return Vec::new() };
        let all: Vec<String> = match sink.unit {
            Unit::Run => vec![RUN_SPLIT.to_owned()],
            Unit::Split => window.splits.iter().map(|split| split.id.clone()).collect(),
        };
        all.into_iter().filter(|split| !sink.committed.contains(split)).collect()
    }

    /// Whether something of a delivery is known to have arrived, piece by piece.
    pub(crate) fn has_pieces(&self, window: &Window, split: &str) -> Result<bool> {
        Ok(!self.state.answers(&self.delivery(window, split))?.is_empty())
    }

    /// Has the sink refuse what has not arrived of a delivery, instead of trying it again.
    pub(crate) fn give_up(&mut self, split: &str, why: &Error) {
        let given_up = GivenUp { code: why.kind.to_string(), reason: why.message.clone() };
        self.given_up = Some((split.to_owned(), given_up));
    }

    pub(crate) fn begin_run(&mut self, target: &Target<'_>) -> Result<RunBegun> {
        let message = self.run_message(target.window);
        let stage = self.sink.part.stage.clone();
        self.slot.instance(target.variables).and_then(|it| it.begin_run(&message)).map_err(|error| error.at(stage))
    }

    fn run_message(&self, window: &Window) -> SinkRun {
        SinkRun {
            state: self.state.id().to_owned(),
            pipeline: window.pipeline.clone(),
            sink: self.sink.name.clone(),
            window: window.id,
            splits: window.splits.iter().map(|split| split.id.clone()).collect(),
            replay: window.kind == WindowKind::Replay,
        }
    }

    fn delivery(&self, window: &Window, split: &str) -> Delivery {
        Delivery {
            pipeline: window.pipeline.clone(),
            sink: self.sink.name.clone(),
            window: window.id,
            split: split.to_owned(),
        }
    }

    fn message(&self, delivery: &Delivery) -> Result<Message> {
        Ok(Message {
            key: self.state.key(delivery),
            state: self.state.id().to_owned(),
            pipeline: delivery.pipeline.clone(),
            sink: delivery.sink.clone(),
            window: delivery.window,
            split: delivery.split.clone(),
            settled_before: self.state.settled_before(&delivery.pipeline, &delivery.sink)?,
            sealed: self.state.sealed(delivery)?,
            answered: Vec::new(),
            given_up: self.given_up.as_ref().filter(|(of, _)| *of == delivery.split).map(|(_, why)| why.clone()),
        })
    }

    /// Settles a delivery that an earlier attempt finished or sealed, without
    /// reading anything again. False: its rows are needed.
    pub(crate) fn recover(&mut self, target: &Target<'_>, split: &str, last: bool, stop: &Stop) -> Result<bool> {
        let delivery = self.delivery(target.window, split);
        let _span = spans::of_delivery(delivery.window, split, &delivery.sink).entered();
        if let Some(of) = repeats(target.window) {
            let kept = Kept::of(self.state.folder(), &of)?.ok_or_else(|| {
                Error::config(format!("the artefact of window {} for sink `{}` is no longer kept", of.window, of.sink))
                    .hint("run the pipeline for a new one; a longer `keep` of the sink keeps artefacts longer")
            })?;
            return self.deliver_kept(target, split, kept, last, stop);
        }
        if self.state.delivery(&delivery)?.is_none_or(|record| record.attempts == 0) {
            return Ok(false);
        }
        let message = self.message(&delivery)?;
        let stage = self.sink.part.stage.clone();
        let instance = self.slot.instance(target.variables).map_err(|error| error.at(&stage))?;
        let receipt = match instance.begin_split(&message).map_err(|error| error.at(&stage))? {
            // What was made ready for an attempt that failed is what that delivery is.
            Begun::New => match Kept::of(self.state.folder(), &delivery)? {
                Some(kept) if self.given_up.is_none() => return self.deliver_kept(target, split, kept, last, stop),
                _ => return Ok(false),
            },
            Begun::Committed { receipt } => receipt,
            Begun::Sealed => instance.commit(&message).map_err(|error| error.at(&stage))?,
        };
        self.settle(target, &delivery, &message, receipt, || last)?;
        Ok(true)
    }

    /// Delivers what was kept, in the place of rows.
    fn deliver_kept(&mut self, target: &Target<'_>, split: &str, kept: Kept, last: bool, stop: &Stop) -> Result<bool> {
        let input = kept.open()?;
        self.kept = Some(kept);
        let delivered = self.deliver(target, split, input, || last, stop);
        self.kept = None;
        delivered.map(|()| true)
    }

    /// Delivers one split (or the whole window): everything between `begin_split`
    /// and the ledger. `is_last`: asked once it is committed, whether it was the
    /// window's last for this sink.
    pub(crate) fn deliver(
        &mut self,
        target: &Target<'_>,
        split: &str,
        input: Batches,
        is_last: impl FnOnce() -> bool,
        stop: &Stop,
    ) -> Result<()> {
        let delivery = self.delivery(target.window, split);
        let _span = spans::of_delivery(delivery.window, split, &delivery.sink).entered();
        let message = self.message(&delivery)?;
        let stage = self.sink.part.stage.clone();
        self.slot.host.set_deadline(self.sink.retry.deadline);
        let mut sealed = false;
        let done = self.attempt(target, &delivery, &message, input, stop, &mut sealed);
        self.slot.host.set_deadline(None);
        match done.and_then(|receipt| self.settle(target, &delivery, &message, receipt, is_last)) {
            Ok(()) => Ok(()),
            Err(error) => {
                if error.kind != ErrorKind::Cancelled {
                    self.state.attempt_failed(&delivery, &error)?;
                }
                // What is ready only waits for the other side: the next attempt commits it, without the rows.
                let waits = sealed && (error.kind.is_retryable() || is_stop(&error));
                let message = Message { sealed: self.state.sealed(&delivery)?, ..message };
                if let Some(instance) = self.slot.opened().filter(|_| !waits)
                    && let Err(second) = instance.abort(&message)
                {
                    tracing::debug!(stage, "after a failure, abort failed too: {second}");
                }
                self.close();
                Err(error.at(stage))
            }
        }
    }

    fn attempt(
        &mut self,
        target: &Target<'_>,
        delivery: &Delivery,
        message: &Message,
        input: Batches,
        stop: &Stop,
        is_sealed: &mut bool,
    ) -> Result<Receipt> {
        if self.takes() == Shape::Rows && input.schema().fields().is_empty() {
            return self.nothing(input);
        }
        // What was answered before is the sink's from here on.
        let answered = self.slot.host.begin_delivery(&self.state, delivery)?;
        let begin = Message { answered, ..message.clone() };
        let begun = self.slot.instance(target.variables)?.begin_split(&begin)?;
        drop(begin);
        fail_point!("runtime::begun");
        match begun {
            Begun::Committed { receipt } => {
                self.pass_over(input)?;
                return Ok(receipt);
            }
            Begun::Sealed => {
                *is_sealed = true;
                self.pass_over(input)?;
                return self.slot.instance(target.variables)?.commit(message);
            }
            Begun::New => {}
        }
        let Some(input) = self.unless_empty(input)? else {
            let detail = serde_json::json!({"skipped": "there were no rows"});
            return Ok(Receipt { detail, ..Receipt::default() });
        };
        // From here on, something of it may be at the other side.
        self.state.attempt(delivery)?;
        let at = At { window: delivery.window, split: delivery.split.clone(), run: target.run.to_owned() };
        self.letters.begin(at);
        let sealed = self.write(target, message, input, stop)?;
        self.letters.finish()?;
        fail_point!("runtime::written");
        if sealed.sha256.is_some() {
            self.state.seal(delivery, &sealed)?;
            *is_sealed = true;
        }
        // A sink that takes files cannot tell rows; what was sealed can.
        let rows = sealed.rows;
        let message = Message { sealed: Some(sealed), ..message.clone() };
        let receipt = self.slot.instance(target.variables)?.commit(&message)?;
        fail_point!("runtime::committed");
        Ok(Receipt { rows: if receipt.rows == 0 { rows } else { receipt.rows }, ..receipt })
    }

    /// The rows, unless there are none and the sink is to be given nothing then.
    fn unless_empty(&mut self, mut input: Batches) -> Result<Option<Batches>> {
        if !self.sink.skips_empty || self.kept.is_some() {
            return Ok(Some(input));
        }
        self.slot.host.counts.reset();
        let schema = input.schema();
        for batch in input.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                return Ok(Some(Batches::new(schema, std::iter::once(Ok(batch)).chain(input))));
            }
        }
        Ok(None)
    }

    /// Rows that are there already. They are read to the end all the same: only
    /// then is everything stored that the stages before refused of them.
    fn pass_over(&mut self, input: Batches) -> Result<()> {
        self.slot.host.counts.reset();
        if let Some(encoder) = &self.encoder {
            encoder.host.counts.reset();
        }
        for batch in input {
            batch?;
        }
        Ok(())
    }

    /// An empty file without a header has no columns that a table could be given.
    fn nothing(&mut self, input: Batches) -> Result<Receipt> {
        self.slot.host.counts.reset();
        for batch in input {
            if batch?.num_rows() > 0 {
                return Err(Error::internal("rows without columns came to a sink that takes rows"));
            }
        }
        Ok(Receipt::default())
    }

    /// What is at the other side of a delivery that was begun; what was made ready for it is thrown away.
    pub(crate) fn take_back(&mut self, target: &Target<'_>, split: &str) -> Result<Found> {
        let delivery = self.delivery(target.window, split);
        let attempts = self.state.delivery(&delivery)?.map_or(0, |record| record.attempts);
        if attempts == 0 {
            return Ok(Found::Nothing);
        }
        // What was answered for some of its rows cannot be taken back. Where nothing was, a target that keeps no keys
        // may have rows all the same, of a request without an answer: unless the only attempt ended with a refusal.
        let looks = self.sink.part.component.description().promise > Promise::AtLeastOnce;
        if !self.state.answers(&delivery)?.is_empty() {
            return Ok(Found::Something);
        }
        if attempts > 1 && !looks {
            return Ok(Found::Unknown);
        }
        let message = self.message(&delivery)?;
        let instance = self.slot.instance(target.variables)?;
        if matches!(instance.begin_split(&message)?, Begun::Committed { .. }) {
            return Ok(Found::Something);
        }
        instance.abort(&message)?;
        Ok(Found::Nothing)
    }

    /// Lets the sink take the rows, through encoder and compression where it takes files.
    fn write(&mut self, target: &Target<'_>, message: &Message, input: Batches, stop: &Stop) -> Result<Sealed> {
        self.into.reset();
        self.slot.host.counts.reset();
        let kept = self.kept.take();
        let copied = kept.is_some() || (self.encoder.is_none() && self.takes() == Shape::Files);
        let input = if copied { self.into.count_files(input) } else { self.into.count(input) };
        let mut stream = match self.encoder.as_mut().filter(|_| kept.is_none()) {
            Some(encoder) => {
                encoder.host.counts.reset();
                let encoded = match &self.sink.burst {
                    Some(burst) => burst::encode(input, burst, encoder.take(target.variables)?, target.variables)?,
                    None => encoder.instance(target.variables)?.apply(Direction::Encode, input)?,
                };
                ahead(self.name(), encoded, stop, self.queue_bytes)?
            }
            None => input,
        };
        if let Some(compression) = self.compression.as_mut().filter(|_| kept.is_none()) {
            let compressed = compression.instance(target.variables)?.apply(Direction::Encode, stream)?;
            stream = ahead("compression", compressed, stop, self.queue_bytes)?;
        }
        if self.sink.keep.is_some() && kept.is_none() && self.takes() == Shape::Files {
            let (into, letters) = (self.into.clone(), Arc::clone(&self.letters));
            let encoder = self.encoder.as_ref().map(|encoder| Arc::clone(&encoder.host));
            let rows = move || {
                // Whoever delivers it again sees no rows that could be refused once more.
                letters.finish()?;
                let rejected = encoder.map_or(0, |encoder| encoder.counts.rejected());
                Ok(into.rows() - rejected.min(into.rows()))
            };
            let delivery = self.delivery(target.window, &message.split);
            stream = kept::keep(stream, self.state.folder(), &delivery, rows);
        }
        // The stages before it run ahead, to the end, whatever the sink takes.
        let taken = Edge::default();
        let mut sealed = self.slot.instance(target.variables)?.write(message, taken.count(stream))?;
        if !taken.ended() {
            return Err(Error::internal("the sink said that it was done before it had read all rows")
                .hint("nothing of this split was delivered; this is a bug in the component, report it to its author"));
        }
        let refused = self.slot.host.counts.rejected();
        match &self.encoder {
            _ if kept.is_some() => sealed.rows = kept.map_or(0, |kept| kept.rows),
            // Only the encoder saw rows; the sink counts bytes.
            Some(encoder) => sealed.rows = self.into.rows() - encoder.host.counts.rejected().min(self.into.rows()),
            None if self.takes() == Shape::Rows => {
                let parts = [("written", sealed.rows), ("dead letters", refused)];
                add_up(&self.sink.part.stage, self.into.rows(), &parts)?;
            }
            None => sealed.rows = self.into.rows(),
        }
        Ok(sealed)
    }

    fn takes(&self) -> Shape {
        self.sink.takes()
    }

    fn settle(
        &mut self,
        target: &Target<'_>,
        delivery: &Delivery,
        message: &Message,
        mut receipt: Receipt,
        is_last: impl FnOnce() -> bool,
    ) -> Result<()> {
        if receipt.rows == 0 {
            // Found there by an earlier attempt: what was sealed knows the rows.
            receipt.rows = message.sealed.as_ref().map_or(0, |sealed| sealed.rows);
        }
        if is_last() {
            let run = self.run_message(target.window);
            self.slot.instance(target.variables)?.finish_run(&run)?;
            fail_point!("runtime::finished");
        }
        let news = self.meter.news(&receipt);
        for alert in &news {
            tracing::warn!(pipeline = delivery.pipeline, stage = self.sink.part.stage, "alert: {}", alert.message);
        }
        let told = news.iter().filter(|_| self.tells).map(|alert| notices::of_alert(alert, delivery, target.run));
        self.state.settle_telling(delivery, &receipt, receipt.rows, receipt.bytes, told.collect())?;
        self.meter.told(&receipt);
        let dead = self.slot.host.counts.rejected() + self.encoder.as_ref().map_or(0, |it| it.host.counts.rejected());
        self.meter.delivered(receipt.rows, receipt.bytes, dead, receipt.location.as_deref());
        tracing::debug!(
            pipeline = delivery.pipeline,
            sink = delivery.sink,
            window = delivery.window,
            split = delivery.split,
            rows = receipt.rows,
            "delivered"
        );
        if let Some(why) = message.given_up.as_ref().filter(|_| dead > 0) {
            tracing::error!(
                pipeline = delivery.pipeline,
                sink = delivery.sink,
                window = delivery.window,
                "given up after the last attempt; the {dead} rows that had not arrived are dead letters: {}",
                why.reason
            );
        }
        Ok(())
    }

    /// Gives a delivery up: its rows become dead letters of this sink, and the
    /// sink goes on behind them. Called once a split of it; `ends` says whether
    /// this is the first and the last one, `read` stores what the stages before
    /// the sink refused.
    #[expect(clippy::too_many_arguments, reason = "called in one place; each is a thing of its own")]
    pub(crate) fn bury(
        &mut self,
        target: &Target<'_>,
        split: &str,
        input: Batches,
        why: &Error,
        last: bool,
        ends: (bool, bool),
        read: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let delivery = self.delivery(target.window, split);
        if ends.0 {
            let at = At { window: delivery.window, split: delivery.split.clone(), run: target.run.to_owned() };
            self.letters.begin(at);
        }
        let letters = Letters::Stored(Arc::clone(&self.letters));
        let mut rows = 0;
        for batch in input {
            let payload = Payload::Rows(batch?);
            rows += letters.keep(Rejection { code: why.kind.to_string(), reason: why.message.clone(), payload })?;
        }
        self.letters.finish()?;
        // What the stages before refused must be stored before it becomes final.
        read()?;
        self.meter.delivered(0, 0, rows, None);
        if !ends.1 {
            return Ok(());
        }
        if last {
            let run = self.run_message(target.window);
            let finished = self.slot.instance(target.variables).and_then(|it| it.finish_run(&run));
            let alone = target.window.sink(self.name()).is_none_or(|sink| sink.committed.is_empty());
            // The sink may be the very thing that does not answer. But what came before needs its end.
            if let Err(error) = finished
                && !alone
            {
                return Err(error.at(&self.sink.part.stage));
            }
        }
        let receipt = Receipt { detail: serde_json::json!({"given_up": why.message}), ..Receipt::default() };
        self.state.settle(&delivery, &receipt, 0, 0)?;
        tracing::error!(
            pipeline = delivery.pipeline,
            sink = delivery.sink,
            window = delivery.window,
            "given up after the last attempt; its rows are dead letters: {why}"
        );
        Ok(())
    }
}
