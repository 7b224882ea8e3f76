//! Telling somebody of a run: `on_failure` and the like. What is to be told is stored with the run's end, and
//! kept until a sink has taken it, so that it is told also when the engine or the mail server dies meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, TimeDelta, Utc};
use engine_abi::message::{Alert, Begun, Delivery as Message, Receipt, SinkRun};
use engine_abi::stream::Batches;
use engine_abi::{Error, Result, Unit};
use engine_host::{Direction, Instance};
use engine_spec::{Event, TemplateVariables};
use engine_state::{Delivery, Health, Notice, Outcome, RUN_SPLIT, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::assembly::{Assembly, NoticePart, Part};
use crate::letters::{Collected, Letters};
use crate::retry::{Budget, Next};
use crate::run::RunReport;
use crate::stage_host::StageHost;
use crate::stop::Stop;

/// The split of a notice, where a sink publishes splits.
const SPLIT: &str = "0000";

/// The columns of what is told: one row, the same for every event.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
    Arc::new(Schema::new(vec![
        text("event"),
        text("pipeline"),
        text("run"),
        text("summary"),
        time("started"),
        time("ended"),
        count("read"),
        count("written"),
        count("dead_letters"),
        text("error_kind"),
        text("error"),
        text("hint"),
        text("stage"),
        text("alert"),
        time("failing_since"),
        count("failures"),
    ]))
});

/// Decides what is told of a run that has ended: the events' keys with their records.
pub(crate) fn decide(assembly: &Assembly, report: &RunReport, health: &mut Health) -> Vec<(String, Value)> {
    let ended = report.started + TimeDelta::milliseconds((report.seconds * 1000.0) as i64);
    let notice = |event: Event| assembly.notices.iter().find(|notice| notice.event == event);
    let mut told = Vec::new();
    let mut tell = |event: Event, health: &Health| {
        if notice(event).is_some() {
            told.push((event.key().to_owned(), record(event, report, health, ended)));
        }
    };
    match report.outcome {
        Outcome::Failed => {
            health.failures += 1;
            health.failing_since.get_or_insert(ended);
            if notice(Event::Failure).is_some_and(|notice| is_due(notice, health, ended)) {
                health.told = Some(ended);
                tell(Event::Failure, health);
            }
        }
        Outcome::Succeeded => {
            let was = std::mem::replace(health, Health { told: health.told, ..Health::default() });
            // A failure that nobody was told of is over before anybody needs to know.
            if was.failing_since.is_some_and(|since| was.told.is_some_and(|told| told >= since)) {
                tell(Event::Recovered, &was);
            }
            let figures = &report.figures;
            let event = if figures.read == 0 && figures.resumed == 0 { Event::Empty } else { Event::Success };
            tell(event, health);
        }
        Outcome::Stopped => {}
    }
    told
}

/// Whether a failure is to be told, or one was told so lately that this one is passed over. A clock that was set
/// back silences nobody.
fn is_due(notice: &NoticePart, health: &Health, now: DateTime<Utc>) -> bool {
    health.told.is_none_or(|told| {
        let quiet = TimeDelta::from_std(notice.every).unwrap_or(TimeDelta::MAX);
        now < told || now - told >= quiet
    })
}

fn record(event: Event, report: &RunReport, health: &Health, ended: DateTime<Utc>) -> Value {
    let error = report.errors.first();
    let written: u64 = report.figures.sinks.iter().map(|sink| sink.written).sum();
    let refused: u64 = report.figures.sinks.iter().map(|sink| sink.dead_letters).sum();
    let what = match event {
        Event::Failure => {
            let stage = error.and_then(|error| error.stage.as_deref()).map(|stage| format!("{stage}: "));
            let why =
                error.map(|error| format!(": {}{}", stage.unwrap_or_default(), error.message)).unwrap_or_default();
            let again = if health.failures > 1 {
                format!(" ({} runs have failed since the last good one)", health.failures)
            } else {
                String::new()
            };
            format!("failed{again}{why}")
        }
        Event::Recovered => "works again".to_owned(),
        Event::Success => format!("succeeded, {} read, {written} written", report.figures.read),
        Event::Empty => "succeeded, there was nothing to read".to_owned(),
        // Nothing that a run comes to.
        Event::Alert | Event::Alarm => "has something to tell".to_owned(),
    };
    json!({
        "event": word(event),
        "pipeline": report.pipeline,
        "run": report.run,
        "summary": format!("{}: {what}", report.pipeline),
        "started": report.started,
        "ended": ended,
        "read": report.figures.read,
        "written": written,
        "dead_letters": report.figures.dead_letters + refused,
        "error_kind": error.map(|error| error.kind.to_string()),
        "error": error.map(|error| error.message.clone()),
        "hint": error.and_then(|error| error.hint.clone()),
        "stage": error.and_then(|error| error.stage.clone()),
        "alert": null,
        "failing_since": health.failing_since,
        "failures": health.failures,
        "params": report.params,
    })
}

/// Whether somebody is told of alerts.
pub(crate) fn tells_of_alerts(assembly: &Assembly) -> bool {
    assembly.notices.iter().any(|notice| notice.event == Event::Alert)
}

/// What is told of an alert, under the key of its event.
pub(crate) fn of_alert(alert: &Alert, delivery: &Delivery, run: &str) -> (String, Value) {
    let record = json!({
        "event": word(Event::Alert),
        "pipeline": delivery.pipeline,
        "run": run,
        "summary": format!("{}: {}", delivery.pipeline, alert.message),
        "started": Utc::now(),
        "stage": format!("sinks.{}", delivery.sink),
        "alert": alert.key,
    });
    (Event::Alert.key().to_owned(), record)
}

/// What is told of an alarm, under the key of its event. None: nobody is told.
fn of_alarm(assembly: &Assembly, alarm: &str, said: &str) -> Option<(String, Value)> {
    assembly.notices.iter().find(|notice| notice.event == Event::Alarm)?;
    let record = json!({
        "event": word(Event::Alarm),
        "pipeline": assembly.name,
        "summary": format!("{}: {said}", assembly.name),
        "started": Utc::now(),
        "alert": alarm,
    });
    Some((Event::Alarm.key().to_owned(), record))
}

/// Stores that an alarm is raised or over, for whoever is to be told. Answers whether somebody is.
///
/// # Errors
/// Those of the state.
pub fn raise(state: &State, assembly: &Assembly, alarm: &str, said: &str) -> Result<bool> {
    let Some(told) = of_alarm(assembly, alarm, said) else { return Ok(false) };
    state.add_notices(&assembly.name, vec![told])?;
    Ok(true)
}

/// Tells what is to be told of a pipeline that does nothing now; one at work tells by itself.
///
/// # Errors
/// Those of the state.
pub fn tell_now(state: &Arc<State>, assembly: &Assembly, stop: &Stop) -> Result<()> {
    tell(state, assembly, stop).map(|_| ())
}

/// The event as records name it.
fn word(event: Event) -> &'static str {
    event.key().trim_start_matches("on_")
}

/// Tells what is to be told, of earlier runs too. Gives a note for each event that could not be; it is kept.
pub(crate) fn tell(state: &Arc<State>, assembly: &Assembly, stop: &Stop) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut failed = BTreeSet::new();
    for notice in state.notices(&assembly.name)? {
        if stop.stopped() {
            break;
        }
        // Behind one that could not be told, others of its kind wait.
        if failed.contains(&notice.event) {
            continue;
        }
        let part = assembly.notices.iter().find(|part| part.event.key() == notice.event);
        let told = part.map_or(Ok(()), |part| Teller { state, assembly, part, notice: &notice, stop }.tell());
        match told {
            Ok(()) => state.forget_notice(&assembly.name, &notice)?,
            Err(error) => {
                tracing::error!(pipeline = assembly.name, "`{}` could not be told: {error}", notice.event);
                notes.push(format!("`{}` could not be told, the next run tries again: {error}", notice.event));
                failed.insert(notice.event);
            }
        }
    }
    Ok(notes)
}

/// One notice on its way.
struct Teller<'a> {
    state: &'a Arc<State>,
    assembly: &'a Assembly,
    part: &'a NoticePart,
    notice: &'a Notice,
    stop: &'a Stop,
}

impl Teller<'_> {
    fn tell(&self) -> Result<()> {
        let mut budget = Budget::new(&self.part.sink.retry);
        loop {
            let Err(error) = self.attempt() else { return Ok(()) };
            match budget.failed_with(&error) {
                Next::After(pause) if self.stop.sleep(pause) => {}
                _ => return Err(error),
            }
        }
    }

    fn attempt(&self) -> Result<()> {
        let stage = &self.part.sink.part.stage;
        let refused = Arc::new(Collected::default());
        let letters = Letters::Collected(Arc::clone(&refused));
        let host = StageHost::with_memory(&self.assembly.name, stage, self.state, self.stop, letters);
        host.set_deadline(self.part.sink.retry.deadline);
        let delivery = self.delivery();
        let mut message = Message {
            key: self.state.key(&delivery),
            state: self.state.id().to_owned(),
            pipeline: delivery.pipeline.clone(),
            sink: delivery.sink.clone(),
            window: delivery.window,
            split: delivery.split.clone(),
            settled_before: delivery.window,
            sealed: None,
            answered: host.begin_delivery(self.state, &delivery)?,
            given_up: None,
        };
        let variables = self.variables();
        let config = self.part.sink.part.render(&variables)?;
        let mut sink = self.part.sink.part.open(config, host.remembered()?, host)?;
        let delivered = self.deliver(&mut sink, &mut message, &variables);
        if delivered.is_err()
            && let Err(second) = sink.abort(&message)
        {
            tracing::debug!(stage, "after a failure, abort failed too: {second}");
        }
        delivered.map_err(|error| error.at(stage))?;
        match refused.take().into_iter().next() {
            None => Ok(()),
            Some(letter) => Err(Error::config(format!("the sink refused it: {}", letter.reason))
                .hint("change what it is given, or the sink")
                .at(stage)),
        }
    }

    fn deliver(&self, sink: &mut Instance, message: &mut Message, variables: &TemplateVariables) -> Result<Receipt> {
        let run = SinkRun {
            state: message.state.clone(),
            pipeline: message.pipeline.clone(),
            sink: message.sink.clone(),
            window: message.window,
            splits: vec![message.split.clone()],
            // It belongs to what is there, and replaces nothing.
            replay: true,
        };
        sink.begin_run(&run)?;
        let receipt = match sink.begin_split(message)? {
            Begun::Committed { receipt } => receipt,
            Begun::Sealed => sink.commit(message)?,
            Begun::New => {
                let mut stream = self.rows()?;
                let formats = self.part.sink.encoder.iter().chain(&self.part.sink.compression);
                let mut open = Vec::new();
                for part in formats {
                    open.push(part.open(part.render(variables)?, None, self.format_host(part))?);
                }
                for format in &mut open {
                    stream = format.apply(Direction::Encode, stream)?;
                }
                message.sealed = Some(sink.write(message, stream)?);
                sink.commit(message)?
            }
        };
        sink.finish_run(&run)?;
        Ok(receipt)
    }

    fn format_host(&self, part: &Part) -> Arc<StageHost> {
        StageHost::new(&self.assembly.name, &part.stage, self.stop, Letters::Collected(Arc::default()))
    }

    fn delivery(&self) -> Delivery {
        let split = match self.part.sink.unit() {
            Unit::Run => RUN_SPLIT,
            Unit::Split => SPLIT,
        };
        Delivery {
            pipeline: self.assembly.name.clone(),
            sink: self.notice.event.clone(),
            window: self.notice.number,
            split: split.to_owned(),
        }
    }

    /// Those of the run that it tells of; `window.id` is the number of the notice.
    fn variables(&self) -> TemplateVariables {
        let text = |name: &str| self.notice.record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        TemplateVariables {
            run_id: text("run"),
            run_started: text("started"),
            pipeline_name: self.assembly.name.clone(),
            window_id: self.notice.number,
            params: self.notice.record.get("params").and_then(|it| BTreeMap::deserialize(it).ok()).unwrap_or_default(),
        }
    }

    fn rows(&self) -> Result<Batches> {
        let unreadable = |cause: arrow_schema::ArrowError| Error::internal(format!("a notice has no row: {cause}"));
        let mut decoder = arrow_json::ReaderBuilder::new(Arc::clone(&SCHEMA)).build_decoder().map_err(unreadable)?;
        decoder.serialize(std::slice::from_ref(&self.notice.record)).map_err(unreadable)?;
        let batch = decoder.flush().map_err(unreadable)?;
        Ok(Batches::new(Arc::clone(&SCHEMA), batch.into_iter().map(Ok)))
    }
}
