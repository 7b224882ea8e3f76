//! The scheduler: decides on what is due, begins what can begin, watches for alarms.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use engine_abi::Result;
use engine_runtime::Meters;
use engine_spec::Overlap;
use engine_state::Decision;

use crate::alarms;
use crate::due::{Due, due};
use crate::pipelines::{Active, Pipeline, Ready};
use crate::queue::{Task, Work};
use crate::service::Service;
use crate::work::Job;

impl Service {
    /// Decides on what is due, begins what can begin. Answers when to look again, if anything is known to come.
    pub(crate) fn look(self: &Arc<Self>) -> Result<Option<DateTime<Utc>>> {
        let now = self.clock.now();
        if self.inner().doubtful {
            let names: Vec<_> = self.inner().pipelines.keys().cloned().collect();
            self.take_up(&names)?;
            self.inner().doubtful = false;
        }
        let looked = self.look_at(now);
        if looked.is_err() {
            self.inner().doubtful = true;
        }
        looked
    }

    fn look_at(self: &Arc<Self>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        self.decide(now)?;
        if !self.inner().begun {
            self.run_at_start()?;
            self.inner().begun = true;
        }
        self.begin(now)?;
        self.watch(now);
        let inner = self.inner();
        let slots = inner.pipelines.values().filter_map(|pipeline| pipeline.next);
        let waiting = inner.queue.iter().map(|task| task.from).filter(|from| *from > now);
        Ok(slots.chain(waiting).min())
    }

    /// Decides on the slots that are due, stores that, and puts their runs into the queue.
    pub(crate) fn decide(&self, now: DateTime<Utc>) -> Result<()> {
        let mut decisions = Vec::new();
        let mut reached = Vec::new();
        {
            let mut inner = self.inner();
            let was_set_back = inner.last_look.is_some_and(|last| now < last);
            inner.last_look = Some(now);
            if was_set_back {
                inner.queue.iter_mut().for_each(|task| task.wait_anew(now));
            }
            let (begun, busy, full) = (inner.begun, inner.queued(), inner.full());
            for (name, pipeline) in &mut inner.pipelines {
                let is_due = !pipeline.looked_at || was_set_back || pipeline.next.is_some_and(|next| next <= now);
                if !is_due || pipeline.gone {
                    continue;
                }
                let others = Others { begun, wait: busy.contains(name), are_too_many: full.contains(name) };
                if let Some((decision, overlapped)) = decide_one(name, pipeline, now, others) {
                    reached.push((name.clone(), overlapped));
                    decisions.push(decision);
                }
            }
        }
        if decisions.is_empty() {
            return Ok(());
        }
        let waiting = self.state.decide(&decisions)?;
        let mut inner = self.inner();
        for (decision, (name, overlapped)) in decisions.iter().zip(reached) {
            if let Some(pipeline) = inner.pipelines.get_mut(&name) {
                pipeline.reached = Some(decision.until);
                pipeline.tally.overlapped += overlapped;
                pipeline.times = Some(decision.times.clone());
                // The next look says when the next one comes.
                pipeline.looked_at = false;
            }
        }
        for waiting in waiting {
            let from = inner.begins_from(&waiting).unwrap_or(now);
            if inner.queue.iter().all(|task| task.work.number() != Some(waiting.number)) {
                inner.queue.push_back(Task::of(waiting, from));
            }
        }
        drop(inner);
        // Once more, for the times that come next.
        self.decide(now)
    }

    /// Begins what is next in the queue and can begin.
    pub(crate) fn begin(self: &Arc<Self>, now: DateTime<Utc>) -> Result<()> {
        let mut begun = Vec::new();
        {
            let mut inner = self.inner();
            let mut left = VecDeque::new();
            let mut met = BTreeSet::new();
            for task in std::mem::take(&mut inner.queue) {
                let has_room = !task.work.is_counted()
                    || (inner.at_work < self.options.most_runs && inner.has_room_beside(&task.pipeline));
                // One thing at a time, and in the order in which they were asked for.
                let is_next = met.insert(task.pipeline.clone());
                let ready = inner.pipelines.get(&task.pipeline).filter(|it| it.active.is_none() && !it.gone);
                let ready = ready.and_then(|it| it.ready.clone());
                match ready.filter(|_| has_room && is_next && task.from <= now) {
                    None => {
                        // What waits for its time lets others by.
                        if task.from > now {
                            met.remove(&task.pipeline);
                        }
                        left.push_back(task);
                    }
                    Some(ready) => {
                        inner.at_work += usize::from(task.work.is_counted());
                        let active = self.active(&task.work, &ready, now);
                        begun.push((
                            task,
                            ready,
                            active.stop.clone(),
                            Arc::clone(&active.meters),
                            Arc::clone(&active.requests),
                        ));
                        if let Some(pipeline) =
                            begun.last().and_then(|(task, ..)| inner.pipelines.get_mut(&task.pipeline))
                        {
                            pipeline.active = Some(active);
                        }
                    }
                }
            }
            inner.queue = left;
        }
        if begun.is_empty() {
            return Ok(());
        }
        let numbers: Vec<_> = begun.iter().filter_map(|(task, ..)| task.work.number()).collect();
        let ids = if numbers.is_empty() { Ok(Vec::new()) } else { self.state.begin_waiting(&numbers, now) };
        let mut ids = match ids {
            Ok(ids) => ids.into_iter(),
            Err(error) => {
                let mut inner = self.inner();
                for (task, ..) in begun.into_iter().rev() {
                    inner.release(&task);
                    inner.queue.push_front(task);
                }
                return Err(error);
            }
        };
        for (task, ready, stop, meters, requests) in begun {
            let run = match task.work.number() {
                Some(_) => match ids.next().flatten() {
                    Some(run) => Some(run),
                    None => {
                        // Begun by what the state has left open, or taken out meanwhile.
                        let mut inner = self.inner();
                        inner.release(&task);
                        inner.doubtful = true;
                        continue;
                    }
                },
                None => None,
            };
            if let Some(active) = self.inner().pipelines.get_mut(&task.pipeline).and_then(|it| it.active.as_mut()) {
                active.run = run.clone().unwrap_or_default();
            }
            let job = Job { ready, stop, meters, requests, run, started: now, options: self.options.run.clone() };
            let (name, counted) = (task.pipeline.clone(), task.work.is_counted());
            if let Err(error) = self.thread(&name, move |service| service.work(task, job)) {
                tracing::error!(pipeline = name, "its run cannot begin, and is tried again: {error}");
                let mut inner = self.inner();
                inner.release_name(&name, counted);
                inner.doubtful = true;
            }
        }
        Ok(())
    }

    pub(crate) fn active(&self, work: &Work, ready: &Ready, now: DateTime<Utc>) -> Active {
        Active {
            run: String::new(),
            trigger: work.trigger().to_owned(),
            slot: work.slot(),
            reference: work.reference().map(str::to_owned),
            started: now,
            meters: Arc::new(Meters::new(ready.assembly.sinks.iter().map(|sink| sink.name.as_str()))),
            requests: Arc::default(),
            stop: self.stop.child(),
            endless: matches!(work, Work::Listen),
            is_run: work.number().is_some(),
        }
    }

    /// Raises alarms, and says when they are over.
    pub(crate) fn watch(self: &Arc<Self>, now: DateTime<Utc>) {
        let mut changes = Vec::new();
        {
            let mut inner = self.inner();
            for (name, pipeline) in inner.pipelines.iter_mut().filter(|(_, pipeline)| !pipeline.gone) {
                let Some(ready) = pipeline.ready.clone().filter(|it| it.assembly.alarms.is_some()) else { continue };
                let changed = alarms::look(pipeline, now);
                changes.extend(changed.into_iter().map(|change| (name.clone(), ready.clone(), change)));
            }
        }
        for (pipeline, ready, (alarm, raised, said)) in changes {
            match raised {
                true => tracing::error!(pipeline, alarm = alarm.as_str(), "alarm: {said}"),
                false => tracing::info!(pipeline, alarm = alarm.as_str(), "alarm {said}"),
            }
            match engine_runtime::raise(&self.state, &ready.assembly, alarm.as_str(), &said) {
                // A source that receives tells by itself what there is to tell.
                Ok(true) if !ready.is_push() => {
                    self.inner().queue.push_back(Task { pipeline, work: Work::Tell, from: now, since: now });
                    self.wake();
                }
                Ok(_) => {}
                Err(error) => tracing::error!(pipeline, "nobody could be told of this alarm: {error}"),
            }
        }
    }
}

/// What else there is of a pipeline's runs.
struct Others {
    /// The first look of this service is over: what comes from now on comes while it is there.
    begun: bool,
    /// Some wait.
    wait: bool,
    /// As many wait as may.
    are_too_many: bool,
}

/// What is decided of one schedule, and how many slots are passed over because of other runs. None: nothing is due, or
/// it has no schedule.
fn decide_one(name: &str, pipeline: &mut Pipeline, now: DateTime<Utc>, others: Others) -> Option<(Decision, u64)> {
    let Some(schedule) = pipeline.ready.as_ref().and_then(|ready| ready.assembly.schedule.clone()) else {
        (pipeline.next, pipeline.looked_at) = (None, true);
        return None;
    };
    let words = pipeline.words().unwrap_or_default();
    let decide = |until, slots| Decision { pipeline: name.to_owned(), times: words.clone(), until, slots };
    let decision = |until, slots| Some((decide(until, slots), 0));
    // A schedule that is new, or says something else, has missed nothing.
    let reached = match pipeline.reached.filter(|_| pipeline.times.as_ref() == Some(&words)) {
        Some(reached) => reached,
        None => return decision(now, Vec::new()),
    };
    match due(&schedule, reached, pipeline.paused, now) {
        Due::Nothing { next } => {
            (pipeline.next, pipeline.looked_at) = (next, true);
            None
        }
        Due::SetBack => {
            tracing::warn!(
                pipeline = name,
                "the clock was set back by more than three hours: the schedule begins anew, and its times from now on run again"
            );
            decision(now, Vec::new())
        }
        Due::Slots { until, run, passed_over } => {
            if passed_over {
                tracing::warn!(
                    pipeline = name,
                    "times of the schedule were missed since {reached}; `missed` says which get a run"
                );
            }
            let runs_still = pipeline.active.as_ref().is_some_and(|active| active.is_run) || others.wait;
            let overlaps = others.begun && runs_still && schedule.overlap == Overlap::Skip;
            if (overlaps || others.are_too_many) && !run.is_empty() {
                let why = if overlaps { "the run before has not ended" } else { "too many runs wait already" };
                tracing::warn!(pipeline = name, "no run for {until}: {why}");
                return Some((decide(until, Vec::new()), run.len() as u64));
            }
            decision(until, run)
        }
    }
}
