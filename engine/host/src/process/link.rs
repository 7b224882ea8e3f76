//! The engine's side of the conversation with a module's process.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::ipc::Encoder;
use engine_abi::message::Sandbox;
use engine_abi::{Batches, Error, Result};
use rustix::event::PollFlags;

use super::clock::Clock;
use super::control::Control;
use super::output::Output;
use super::served::{self, Helpers};
use super::socket::{Broken, Receiver, Sender};
use super::spawn::{self, Process};
use super::wire::{AHEAD, Call, Counts, Frame, Kind, json, read_json, unreadable};
use super::words::{Memory, Who};
use crate::callbacks::{Host, Level};

/// How long a process may take to begin. Nothing of the module runs until then.
const START: Duration = Duration::from_secs(30);

/// How long the end of a process may take to be known once its socket is closed.
const GONE: Duration = Duration::from_secs(2);

/// A process, and all that was agreed with it.
pub struct Link {
    who: Who,
    sandbox: Sandbox,
    process: Process,
    output: Output,
    control: Control,
    receiver: Receiver,
    sender: Arc<Mutex<Sender>>,
    host: Option<Arc<dyn Host>>,
    /// Who serves the calls of a listener that may block.
    pub helpers: Option<Helpers>,
    /// What the process asks its input from.
    input: Option<Input>,
    /// Frames of the open stream that came while something else was waited for.
    early: VecDeque<Frame>,
    /// What the process is asked to do at present.
    call: &'static str,
    clock: Clock,
    /// Why nothing more can be asked.
    dead: Option<Error>,
}

/// What the process takes in.
struct Input {
    batches: Batches,
    encoder: Encoder,
}

impl Link {
    /// Starts a process that has the module's open file.
    pub fn start(
        program: &Path,
        module: &File,
        who: Who,
        sandbox: &Sandbox,
        host: Option<Arc<dyn Host>>,
    ) -> Result<Self> {
        let control = Control::new()?;
        let output = Output::new(host.clone());
        let started = spawn::start(program, module, &control, &sandbox.permissions, output.clone())?;
        let socket = Arc::new(started.socket);
        let mut link = Self {
            who,
            sandbox: sandbox.clone(),
            process: started.process,
            output,
            control,
            receiver: Receiver::new(Arc::clone(&socket)),
            sender: Arc::new(Mutex::new(Sender::new(socket))),
            host,
            helpers: None,
            input: None,
            early: VecDeque::new(),
            call: "start",
            clock: Clock::new(Some(START)),
            dead: None,
        };
        let ready = link.wait(|kind| matches!(kind, Kind::Ready | Kind::Failed))?;
        if ready.kind == Kind::Failed { Err(read_json::<Error>(&ready.payload)?) } else { Ok(link) }
    }

    /// The host that serves the instance.
    pub fn host(&self) -> Option<&Arc<dyn Host>> {
        self.host.as_ref()
    }

    /// What answers are sent through, also by other threads.
    pub fn sender(&self) -> Arc<Mutex<Sender>> {
        Arc::clone(&self.sender)
    }

    /// Says what the next call takes in.
    pub fn give(&mut self, batches: Batches) -> Result<()> {
        let (encoder, schema) = Encoder::new(&batches.schema())?;
        self.input = Some(Input { batches, encoder });
        self.send(Kind::InputSchema, &[&schema])
    }

    /// Nothing is taken in any more.
    pub fn take_input_away(&mut self) {
        self.input = None;
    }

    /// Makes a call; answers with its answer, or with the columns of the stream that it opened.
    pub fn call(&mut self, call: &Call) -> Result<Frame> {
        let limit = match call {
            // It has nothing else to do than to wait for others.
            Call::Listen => None,
            _ => Some(Duration::from_millis(self.sandbox.limits.deadline_ms)),
        };
        (self.call, self.clock) = (call.name(), Clock::new(limit));
        self.send(Kind::Call, &[&json(call)?])?;
        let answer = self.wait(|kind| matches!(kind, Kind::Answer | Kind::Failed | Kind::Schema))?;
        if answer.kind == Kind::Failed { Err(read_json::<Error>(&answer.payload)?) } else { Ok(answer) }
    }

    /// Asks for one more batch of the open stream.
    pub fn ask(&mut self) -> Result<()> {
        self.send(Kind::Next, &[])
    }

    /// The next batch of the open stream, or its end.
    pub fn next(&mut self, call: &'static str) -> Result<Frame> {
        if let Some(frame) = self.early.pop_front() {
            return Ok(frame);
        }
        (self.call, self.clock) = (call, Clock::new(Some(Duration::from_millis(self.sandbox.limits.deadline_ms))));
        self.wait(is_of_stream)
    }

    /// Ends the open stream, wherever it is.
    pub fn end_stream(&mut self) -> Result<()> {
        // What it still takes in now fails: taken for an end, half a stream would look like a whole one.
        self.input = None;
        let ended = self.call(&Call::EndStream);
        self.early.clear();
        ended.map(drop)
    }

    /// Waits for a frame that is wanted and serves the process meanwhile.
    fn wait(&mut self, wanted: fn(Kind) -> bool) -> Result<Frame> {
        loop {
            let (began, waited) = (Instant::now(), self.clock.waited());
            let frame = self.receive()?;
            if wanted(frame.kind) {
                return Ok(frame);
            }
            // Nobody has asked for these: a process that does nothing else must come to its deadline.
            let unasked = matches!(frame.kind, Kind::Log | Kind::Counts);
            let served = match frame.kind {
                kind if is_of_stream(kind) && self.early.len() <= AHEAD => {
                    self.early.push_back(frame);
                    Ok(())
                }
                Kind::Need => self.serve_input(),
                Kind::InputClosed => {
                    self.input = None;
                    Ok(())
                }
                _ => self.serve_host(frame),
            };
            served.map_err(|error| self.die(error))?;
            if unasked {
                let counted = self.clock.waited().saturating_sub(waited);
                let spent = self.clock.spend(began.elapsed().saturating_sub(counted));
                spent.map_err(|broken| self.broken(broken))?;
            }
        }
    }

    fn receive(&mut self) -> Result<Frame> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        let Self { receiver, clock, control, host, .. } = self;
        // Tells the process whether to stop, and how long it has.
        let look = |clock: &mut Clock| {
            let cancelled = host.as_ref().is_some_and(|host| host.cancelled());
            clock.set_stopping(cancelled);
            control.set_cancelled(cancelled);
            control.set_deadline(host.as_ref().and_then(|host| host.deadline()));
        };
        look(clock);
        let received = receiver.receive(|socket| {
            let waited = clock.wait(socket, PollFlags::IN);
            look(clock);
            waited
        });
        received.map_err(|broken| self.broken(broken))
    }

    fn send(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<()> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        let mut patience = Clock::new(Some(Duration::from_millis(self.sandbox.limits.deadline_ms)));
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.send(kind, parts, |socket| patience.wait(socket, PollFlags::OUT));
        drop(sender);
        sent.map_err(|broken| self.broken(broken))
    }

    fn serve_input(&mut self) -> Result<()> {
        let next = match &mut self.input {
            Some(input) => input.batches.next().map(|batch| batch.and_then(|batch| input.encoder.batch(&batch))),
            None => Some(Err(Error::cancelled())),
        };
        let (kind, payload) = match next {
            Some(Ok(piece)) => (Kind::Input, piece),
            Some(Err(error)) => (Kind::InputFailed, json(&error)?),
            None => (Kind::InputEnd, Vec::new()),
        };
        if kind != Kind::Input {
            self.input = None;
        }
        // Who asks for more is at work.
        self.clock.restart();
        self.send(kind, &[&payload])
    }

    fn serve_host(&mut self, frame: Frame) -> Result<()> {
        let Some(host) = self.host.clone() else {
            return Err(unreadable("what a module says before it is open,"));
        };
        match frame.kind {
            Kind::Counts => {
                let counts = Counts::read(&frame.payload)?;
                host.progress(counts.records, counts.bytes);
                host.filtered(counts.filtered);
                return Ok(());
            }
            Kind::Log => {
                let (level, text) = frame.payload.split_first().ok_or_else(|| unreadable("a line for the log"))?;
                host.log(Level::from_number(i32::from(*level)), &String::from_utf8_lossy(text));
                return Ok(());
            }
            _ => {}
        }
        let frame = match &self.helpers {
            Some(helpers) => match helpers.serve(frame) {
                Ok(()) => return Ok(()),
                Err(other) => other,
            },
            None => frame,
        };
        let answer = served::serve(host.as_ref(), &frame)?;
        self.send(Kind::HostAnswer, &[&answer.write()])
    }

    /// The process cannot go on, or nobody wants to wait for it any longer.
    fn broken(&mut self, broken: Broken) -> Error {
        let call = self.call;
        let error = match broken {
            Broken::Gone => match self.process.wait(GONE) {
                Some(status) => {
                    let memory = Memory { at_crash: self.control.memory_at_crash(), ran_out: self.output.ran_out() };
                    self.who.ended(call, status, &self.sandbox.limits, &memory)
                }
                None => self.who.hung_up(call),
            },
            Broken::Over(limit) => self.who.over(call, limit, &self.sandbox.limits),
            Broken::Error(error) => error,
        };
        self.die(error)
    }

    /// Ends the process: after this every call answers with `error`.
    fn die(&mut self, error: Error) -> Error {
        self.process.end();
        self.input = None;
        self.dead.get_or_insert(error).clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.dead.is_none() {
            // Whatever it says: it is ended now.
            let _ = self.call(&Call::Close);
        }
    }
}

/// Whether a frame belongs to the open stream.
const fn is_of_stream(kind: Kind) -> bool {
    matches!(kind, Kind::Batch | Kind::End | Kind::StreamFailed)
}
