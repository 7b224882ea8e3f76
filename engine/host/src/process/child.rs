//! The process of a module: a small engine that has one module, and one instance.

use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use arrow_array::RecordBatch;
use engine_abi::ipc::{Decoder, Encoder};
use engine_abi::message::{Sandbox, Scoped};
use engine_abi::{Batches, ComponentDescription, Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

use super::control::Control;
use super::remote::Remote;
use super::socket::Receiver;
use super::wire::{AHEAD, Call, Frame, HostAnswer, Kind, LoadModule, json, read_json, unreadable};
use super::words::LEFT;
use super::{confine, spawn};
use crate::callbacks::Host;
use crate::component::Component;
use crate::instance::{Direction, Instance};

/// Serves the engine that started this process with these descriptors: a socket,
/// the module's file and the shared page. Must be called while the process has
/// one thread, and comes back only if it was started by somebody else.
pub fn serve(descriptors: [RawFd; 3]) -> ExitCode {
    let [socket, module, control] = descriptors;
    if socket == module || module == control || control == socket || descriptors.iter().any(|it| *it < 3) {
        return started_by_hand();
    }
    for descriptor in descriptors {
        // SAFETY: borrowed for this call only; one that is not open is an error of it.
        if spawn::keep(unsafe { BorrowedFd::borrow_raw(descriptor) }).is_err() {
            return started_by_hand();
        }
    }
    // SAFETY: the engine has started this process with these three, which are open, and nobody else has them.
    let [socket, module, control] = descriptors.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
    let Ok(control) = Control::map(control) else { return started_by_hand() };
    let control: &'static Control = Box::leak(Box::new(control));
    let socket = Arc::new(socket);
    let remote = Arc::new(Remote::new(Arc::clone(&socket), control));
    if let Err(error) = confine::confine() {
        let _ = json(&error).and_then(|error| remote.send(Kind::Failed, &[&error]));
        return ExitCode::FAILURE;
    }
    confine::note_crashes(control);
    let (commands, asked) = mpsc::channel();
    let input = Arc::new(Mutex::new(None));
    let reader =
        Reader { receiver: Receiver::new(socket), commands, input: Arc::clone(&input), remote: Arc::clone(&remote) };
    if std::thread::Builder::new().name("engine".into()).spawn(move || reader.run()).is_err() {
        return ExitCode::FAILURE;
    }
    let mut served = Served {
        remote,
        input,
        module: Some(File::from(module)),
        components: Vec::new(),
        output: None,
        instance: None,
        schema: None,
    };
    let _ = served.remote.send(Kind::Ready, &[]);
    for frame in asked {
        if served.serve(frame).is_err() {
            break;
        }
    }
    leave()
}

fn started_by_hand() -> ExitCode {
    eprintln!("`engine plugin-host` is how the engine starts itself for a module with `isolation: process`");
    ExitCode::from(2)
}

/// What comes in for a stream that the module reads.
enum Piece {
    Batch(Vec<u8>),
    End,
    Failed(Error),
}

type InputSlot = Arc<Mutex<Option<mpsc::Sender<Piece>>>>;

/// Reads all that the engine says, so that it never waits for the module to listen.
struct Reader {
    receiver: Receiver,
    commands: mpsc::Sender<Frame>,
    input: InputSlot,
    remote: Arc<Remote>,
}

impl Reader {
    fn run(mut self) {
        loop {
            let received = self.receiver.receive(|socket| {
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], None);
                Ok(())
            });
            // The engine is gone or does not want this process any more: whatever the
            // module does, and without asking what it has registered for the end.
            let Ok(frame) = received else { leave() };
            if self.pass_on(frame).is_err() {
                leave();
            }
        }
    }

    fn pass_on(&self, frame: Frame) -> Result<()> {
        let piece = match frame.kind {
            Kind::Call | Kind::InputSchema | Kind::Next => {
                return self.commands.send(frame).map_err(|_| Error::internal("nobody serves"));
            }
            Kind::HostAnswer => {
                self.remote.answer(HostAnswer::read(&frame.payload)?);
                return Ok(());
            }
            Kind::Input => Piece::Batch(frame.payload),
            Kind::InputEnd => Piece::End,
            Kind::InputFailed => Piece::Failed(read_json(&frame.payload)?),
            _ => return Err(unreadable("a frame")),
        };
        if let Some(input) = self.input.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // The module may have let go of its input meanwhile.
            let _ = input.send(piece);
        }
        Ok(())
    }
}

fn leave() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(LEFT) }
}

/// The input of the module: asks for batches ahead of the one that it gives.
struct Input {
    remote: Arc<Remote>,
    pieces: mpsc::Receiver<Piece>,
    decoder: Decoder,
    ended: bool,
}

impl Input {
    fn open(remote: &Arc<Remote>, slot: &InputSlot, schema: Vec<u8>) -> Result<Batches> {
        let (sender, pieces) = mpsc::channel();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let decoder = Decoder::new(schema)?;
        for _ in 0..AHEAD {
            remote.send(Kind::Need, &[])?;
        }
        let schema = decoder.schema();
        Ok(Batches::new(schema, Self { remote: Arc::clone(remote), pieces, decoder, ended: false }))
    }

    fn take(&mut self) -> Result<Option<RecordBatch>> {
        match self.pieces.recv() {
            Ok(Piece::Batch(piece)) => {
                self.remote.send(Kind::Need, &[])?;
                self.decoder.batch(piece).map(Some)
            }
            Ok(Piece::End) => Ok(None),
            Ok(Piece::Failed(error)) => Err(error),
            Err(_) => Err(Error::cancelled()),
        }
    }
}

impl Iterator for Input {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.take().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.remote.send(Kind::InputClosed, &[]);
        }
    }
}

/// What a call comes to.
enum Answer {
    Message(Vec<u8>),
    Stream(Batches),
}

/// The module's side of the conversation.
struct Served {
    remote: Arc<Remote>,
    input: InputSlot,
    /// Gone once it is loaded.
    module: Option<File>,
    components: Vec<Arc<Component>>,
    // In front of the instance: it is closed after its stream.
    output: Option<(Batches, Encoder)>,
    instance: Option<Instance>,
    /// The columns of the input of the next call.
    schema: Option<Vec<u8>>,
}

impl Served {
    /// Serves one frame; an error means that the engine cannot be reached.
    fn serve(&mut self, frame: Frame) -> Result<()> {
        match frame.kind {
            Kind::InputSchema => {
                self.schema = Some(frame.payload);
                Ok(())
            }
            Kind::Next => self.give_next(),
            _ => match read_json(&frame.payload).and_then(|call| self.call(call)) {
                Ok(Answer::Message(text)) => self.remote.send(Kind::Answer, &[&text]),
                Ok(Answer::Stream(batches)) => match Encoder::new(&batches.schema()) {
                    Ok((encoder, schema)) => {
                        self.output = Some((batches, encoder));
                        self.remote.send(Kind::Schema, &[&schema])
                    }
                    Err(error) => self.remote.send(Kind::Failed, &[&json(&error)?]),
                },
                Err(error) => self.remote.send(Kind::Failed, &[&json(&error)?]),
            },
        }
    }

    /// Gives one more batch of the open stream. One that has ended gives nothing more.
    fn give_next(&mut self) -> Result<()> {
        let Some((batches, encoder)) = &mut self.output else { return Ok(()) };
        let piece = batches.next().map(|batch| batch.and_then(|batch| encoder.batch(&batch)));
        if !matches!(piece, Some(Ok(_))) {
            self.output = None;
        }
        match piece {
            Some(Ok(piece)) => self.remote.send(Kind::Batch, &[&piece]),
            Some(Err(error)) => self.remote.send(Kind::StreamFailed, &[&json(&error)?]),
            None => self.remote.send(Kind::End, &[]),
        }
    }

    fn call(&mut self, call: Call) -> Result<Answer> {
        match call {
            Call::Load(load) => message(&self.load(load)?),
            Call::Open(open) => {
                let found = self.components.iter().find(|it| it.kind() == open.kind && it.name() == open.name);
                let component = found.ok_or_else(|| {
                    Error::config(format!("the module does not have the {} `{}` of its manifest", open.kind, open.name))
                        .hint("this is a bug in the module; report it to its author")
                })?;
                let host = Arc::clone(&self.remote) as Arc<dyn Host>;
                self.instance = Some(component.open(&open.request, &Sandbox::default(), host)?);
                message(&())
            }
            Call::EndStream => {
                self.output = None;
                message(&())
            }
            Call::Close => {
                (self.output, self.instance) = (None, None);
                message(&())
            }
            Call::Read(split) => self.instance()?.read(&split).map(Answer::Stream),
            Call::Apply(direction) => {
                let input = self.open_input()?;
                self.instance()?.apply(Direction::from_number(direction)?, input).map(Answer::Stream)
            }
            Call::Write(delivery) => {
                let input = self.open_input()?;
                message(&self.instance()?.write(&delivery, input)?)
            }
            Call::Check => message(&self.instance()?.check()?),
            Call::Scope => message(&Scoped { scope: self.instance()?.scope()? }),
            Call::Plan(request) => message(&self.instance()?.plan(&request)?),
            Call::Delivered(window) => message(&self.instance()?.delivered(&window)?),
            Call::Listen => message(&self.instance()?.listen()?),
            Call::BeginRun(run) => message(&self.instance()?.begin_run(&run)?),
            Call::BeginSplit(delivery) => message(&self.instance()?.begin_split(&delivery)?),
            Call::Commit(delivery) => message(&self.instance()?.commit(&delivery)?),
            Call::Abort(delivery) => message(&self.instance()?.abort(&delivery)?),
            Call::FinishRun(run) => message(&self.instance()?.finish_run(&run)?),
        }
    }

    fn load(&mut self, load: LoadModule) -> Result<Vec<ComponentDescription>> {
        let file = self.module.take().ok_or_else(|| Error::internal("the module is loaded already"))?;
        confine::cap_memory(load.memory_bytes)?;
        self.components = Component::load(Path::new(&load.path), file, &load.identity)?;
        Ok(self.components.iter().map(|component| component.description().clone()).collect())
    }

    fn instance(&mut self) -> Result<&mut Instance> {
        self.instance.as_mut().ok_or_else(|| Error::internal("the component is not open"))
    }

    fn open_input(&mut self) -> Result<Batches> {
        let schema = self.schema.take().ok_or_else(|| unreadable("the columns of an input"))?;
        Input::open(&self.remote, &self.input, schema)
    }
}

fn message(answer: &impl Serialize) -> Result<Answer> {
    json(answer).map(Answer::Message)
}
