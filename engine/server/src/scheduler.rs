//! The scheduler: decides on what is due, begins what can begin, watches for alarms.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
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
        self.decide(now)?;
        if !self.inner().begun {
            self.run_at_start()?;
            self.inner().begun = true;
        }
        self.begin(now)?;
        self.watch(now)?;
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
            let (begun, busy) = (inner.begun, inner.queued());
            for (name, pipeline) in &mut inner.pipelines {
                let is_due = !pipeline.looked_at || was_set_back || pipeline.next.is_some_and(|next| next <= now);
                if !is_due || pipeline.gone {
                    continue;
                }
                if let Some(decision) = decide_one(name, pipeline, now, begun, busy.contains(name)) {
                    reached.push((name.clone(), decision.until));
                    decisions.push(decision);
                }
            }
        }
        if decisions.is_empty() {
            return Ok(());
        }
        let waiting = self.state.decide(&decisions)?;
        let mut inner = self.inner();
        for (decision, (name, until)) in decisions.iter().zip(reached) {
            if let Some(pipeline) = inner.pipelines.get_mut(&name) {
                pipeline.reached = Some(until);
                pipeline.times = Some(decision.times.clone());
                // The next look says when the next one comes.
                pipeline.looked_at = false;
            }
        }
        for waiting in waiting {
            let delay = inner.pipelines.get(&waiting.pipeline).and_then(|it| {
                let schedule = it.ready.as_ref()?.assembly.schedule.as_ref()?;
                Some(schedule.delay(&waiting.pipeline, waiting.slot?))
            });
            let slot = waiting.slot.unwrap_or(now);
            let from = slot + TimeDelta::from_std(delay.unwrap_or_default()).unwrap_or_default();
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
                        self.inner().release(&task);
                        continue;
                    }
                },
                None => None,
            };
            if let Some(active) = self.inner().pipelines.get_mut(&task.pipeline).and_then(|it| it.active.as_mut()) {
                active.run = run.clone().unwrap_or_default();
            }
            let job = Job { ready, stop, meters, requests, run, started: now, options: self.options.run.clone() };
            let name = task.pipeline.clone();
            self.thread(&name, move |service| service.work(task, job))?;
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
            is_run: work.is_counted(),
        }
    }

    /// Raises alarms, and says when they are over.
    pub(crate) fn watch(self: &Arc<Self>, now: DateTime<Utc>) -> Result<()> {
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
            // A source that receives tells by itself what there is to tell.
            if engine_runtime::raise(&self.state, &ready.assembly, alarm.as_str(), &said)? && !ready.is_push() {
                self.inner().queue.push_back(Task { pipeline, work: Work::Tell, from: now, since: now });
                self.wake();
            }
        }
        Ok(())
    }
}

/// What is decided of one schedule. None: nothing is due, or it has none.
fn decide_one(name: &str, pipeline: &mut Pipeline, now: DateTime<Utc>, begun: bool, queued: bool) -> Option<Decision> {
    let Some(schedule) = pipeline.ready.as_ref().and_then(|ready| ready.assembly.schedule.clone()) else {
        (pipeline.next, pipeline.looked_at) = (None, true);
        return None;
    };
    let words = pipeline.words().unwrap_or_default();
    let decision = |until, slots| Some(Decision { pipeline: name.to_owned(), times: words.clone(), until, slots });
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
            let runs_still = pipeline.active.as_ref().is_some_and(|active| active.is_run) || queued;
            if begun && runs_still && schedule.overlap == Overlap::Skip && !run.is_empty() {
                tracing::warn!(pipeline = name, "no run for {until}: the run before has not ended");
                pipeline.tally.overlapped += run.len() as u64;
                return decision(until, Vec::new());
            }
            decision(until, run)
        }
    }
}
