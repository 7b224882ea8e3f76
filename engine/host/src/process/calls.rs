//! An open component that runs in a process of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use engine_abi::ipc::Decoder;
use engine_abi::message::{
    Begun, CheckReport, Delivered, Delivery, Plan, PlanRequest, Receipt, RunBegun, Scoped, Sealed, SinkRun, Split,
};
use engine_abi::table::Calls;
use engine_abi::{Batches, Error, Result};
use serde::de::DeserializeOwned;

use super::link::Link;
use super::served::Helpers;
use super::wire::{AHEAD, Call, Kind, read_json, unreadable};

/// The engine's handle of the component. Streams that it returned share its process.
pub struct Isolated {
    link: Arc<Mutex<Link>>,
}

impl Isolated {
    pub fn new(link: Link) -> Self {
        Self { link: Arc::new(Mutex::new(link)) }
    }

    fn ask<A: DeserializeOwned>(&self, call: &Call) -> Result<A> {
        let answer = lock(&self.link).call(call)?;
        if answer.kind == Kind::Answer { read_json(&answer.payload) } else { Err(unreadable("an answer")) }
    }

    fn open_stream(&self, call: &Call) -> Result<Batches> {
        let mut link = lock(&self.link);
        let opened = link.call(call)?;
        if opened.kind != Kind::Schema {
            return Err(unreadable("the columns of a stream"));
        }
        let decoder = Decoder::new(opened.payload)?;
        for _ in 0..AHEAD {
            link.ask()?;
        }
        drop(link);
        let output = Output { link: Arc::clone(&self.link), call: call.name(), decoder, ended: false };
        Ok(Batches::new(output.decoder.schema(), output))
    }

    fn with_input<R>(&self, input: Batches, work: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        lock(&self.link).give(input)?;
        work(self).inspect_err(|_| lock(&self.link).take_input_away())
    }
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calls for Isolated {
    fn check(&mut self) -> Result<CheckReport> {
        self.ask(&Call::Check)
    }

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.ask(&Call::Plan(request.clone()))
    }

    fn scope(&mut self) -> Result<Scoped> {
        self.ask(&Call::Scope)
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        self.open_stream(&Call::Read(split.clone()))
    }

    fn delivered(&mut self, window: &Delivered) -> Result<()> {
        self.ask(&Call::Delivered(window.clone()))
    }

    fn listen(&mut self) -> Result<()> {
        let mut link = lock(&self.link);
        let host = link.host().cloned().ok_or_else(|| Error::internal("a listener was opened without a host"))?;
        let sender = link.sender();
        std::thread::scope(|scope| {
            link.helpers = Some(Helpers::start(scope, &host, &sender)?);
            let ended = link.call(&Call::Listen).map(drop);
            link.helpers = None;
            ended
        })
    }

    fn apply(&mut self, direction: i32, input: Batches) -> Result<Batches> {
        self.with_input(input, |this| this.open_stream(&Call::Apply(direction)))
    }

    fn begin_run(&mut self, run: &SinkRun) -> Result<RunBegun> {
        self.ask(&Call::BeginRun(run.clone()))
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.ask(&Call::BeginSplit(delivery.clone()))
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let written = self.with_input(input, |this| this.ask(&Call::Write(delivery.clone())));
        lock(&self.link).take_input_away();
        written
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        self.ask(&Call::Commit(delivery.clone()))
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        self.ask(&Call::Abort(delivery.clone()))
    }

    fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        self.ask(&Call::FinishRun(run.clone()))
    }
}

/// A stream that the process gives.
struct Output {
    link: Arc<Mutex<Link>>,
    call: &'static str,
    decoder: Decoder,
    ended: bool,
}

impl Output {
    fn pull(&mut self) -> Result<Option<RecordBatch>> {
        let mut link = lock(&self.link);
        let frame = link.next(self.call)?;
        match frame.kind {
            Kind::Batch => {
                // Asked for first: the process makes it while this one is looked at. Where that fails,
                // the next pull says so.
                let _ = link.ask();
                self.decoder.batch(frame.payload).map(Some)
            }
            Kind::End => Ok(None),
            Kind::StreamFailed => Err(read_json::<Error>(&frame.payload)?),
            kind => Err(unreadable(&format!("a frame of the kind {kind:?}"))),
        }
    }
}

impl Iterator for Output {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.pull().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        if self.ended {
            lock(&self.link).take_input_away();
        }
        item
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.ended {
            // A process that cannot even end a stream is dead by now, and says so at the next call.
            let _ = lock(&self.link).end_stream();
        }
    }
}
