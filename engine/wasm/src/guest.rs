//! A guest: an open component of a WASM module, called like a native one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use engine_abi::ffi::{Host, direction};
use engine_abi::message::{
    self, Begun, CheckReport, Delivery, OpenRequest, Plan, PlanRequest, Receipt, RunBegun, Sandbox, Sealed, SinkRun,
    Split,
};
use engine_abi::table::Calls;
use engine_abi::{Batches, ComponentKind, Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::Instance;
use wasmtime::{Store, Trap};

use crate::bindings::{exported, types};
use crate::module::{Exports, Module, engine};
use crate::rows::{Rows, Writer};
use crate::state::{Input, State};

/// The exports of an instance, those that the module has.
pub struct Guests {
    pub component: exported::component::Guest,
    source: Option<exported::source::Guest>,
    listener: Option<exported::listener::Guest>,
    transform: Option<exported::transform::Guest>,
    format: Option<exported::format::Guest>,
    sink: Option<exported::sink::Guest>,
    writer: Option<exported::writer::Guest>,
    streams: Option<exported::streams::Guest>,
}

impl Guests {
    fn of(exports: &Exports, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self> {
        macro_rules! load {
            ($($name:ident),*) => {
                Self {
                    component: exports.component.load(&mut *store, instance)?,
                    $($name: exports.$name.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,)*
                }
            };
        }
        Ok(load!(source, listener, transform, format, sink, writer, streams))
    }
}

/// The word of `plugin.wit` for a kind.
pub fn kind_word(kind: ComponentKind) -> types::Kind {
    match kind {
        ComponentKind::Source => types::Kind::Source,
        ComponentKind::Transform => types::Kind::Transform,
        ComponentKind::Format => types::Kind::Format,
        // There is no word for a state: none is loaded.
        ComponentKind::Sink | ComponentKind::State => types::Kind::Sink,
    }
}

/// What a call of a guest answers: the runtime's own failure, or the guest's.
type Answer<R> = wasmtime::Result<Result<R, types::Error>>;

/// An instance at work, until it traps.
pub struct Running {
    /// For messages: ``transform `trim` of module /path/trim.wasm``.
    who: String,
    /// Gone after a trap: what a guest has in its memory then is worth nothing.
    alive: Option<(Store<State>, Guests)>,
    /// Counts the streams that took an input.
    streams: u64,
}

impl Running {
    /// Instantiates a module.
    pub fn start(
        module: &Module,
        (kind, name): (ComponentKind, &str),
        host: *const Host,
        sandbox: &Sandbox,
    ) -> Result<Self> {
        let who = format!("{kind} `{name}` of module {}", module.path);
        let mut store = Store::new(engine()?, State::new(host, sandbox, module.rows)?);
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(State::at_tick);
        // What a call answers lies in the guest's memory already, which has a cap.
        store.set_hostcall_fuel(usize::try_from(sandbox.limits.memory_bytes).unwrap_or(usize::MAX));
        store.data().clock.begin();
        let started = module.linked.instantiate(&mut store);
        let started = started.and_then(|instance| Guests::of(&module.exports, &mut store, &instance));
        match started {
            Ok(guests) => Ok(Self { who, alive: Some((store, guests)), streams: 0 }),
            Err(error) => Err(ended(&who, "start", store.data_mut(), &error)),
        }
    }

    /// Makes a call. A trap, a deadline or a full memory ends the instance.
    pub fn call<R>(&mut self, name: &str, call: impl FnOnce(&mut Store<State>, &Guests) -> Answer<R>) -> Result<R> {
        let Some((store, guests)) = &mut self.alive else {
            return Err(Error::unavailable(format!("{} failed before and can do nothing more", self.who)));
        };
        // Only listening is work without an end.
        if name == LISTEN {
            store.data().clock.begin_endless()
        } else {
            store.data().clock.begin()
        }
        store.data_mut().last_words = None;
        // What an earlier call was refused, and got along without, has nothing to do with this one.
        store.data_mut().take_denied();
        match call(store, guests) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let error = Error::from(error);
                let denied = store.data_mut().take_denied();
                match error.kind {
                    // Only the engine cancels.
                    ErrorKind::Cancelled if store.data().cancelled() => Err(Error::cancelled()),
                    ErrorKind::Cancelled => Err(Error::unavailable(format!("{} stopped unasked", self.who))),
                    // What was refused on the way is the cause, whatever the guest made of it.
                    _ => Err(match denied {
                        Some(denied) => denied.context(&self.who),
                        None => error,
                    }),
                }
            }
            Err(error) => {
                let error = ended(&self.who, name, store.data_mut(), &error);
                self.alive = None;
                Err(error)
            }
        }
    }

    /// Gives the stream that begins its input, and the schema for the guest.
    fn take_in(&mut self, input: Batches) -> Result<Vec<u8>> {
        let Some((store, _)) = &mut self.alive else { return Ok(Vec::new()) };
        let (writer, schema) = Writer::new(store.data().rows, &input.schema())?;
        store.data_mut().input = Some(Input { batches: input, writer });
        self.streams += 1;
        Ok(schema)
    }

    /// Lets the input of a stream go, unless another has begun since.
    fn let_go(&mut self, stream: u64) {
        if let Some((store, _)) = self.alive.as_mut().filter(|_| self.streams == stream) {
            store.data_mut().input = None;
        }
    }

    /// The next batch of the input, in the guest's form.
    fn next_input(&mut self) -> Result<Option<Vec<u8>>> {
        let input = self.alive.as_mut().and_then(|(store, _)| store.data_mut().input.as_mut());
        let Some(input) = input else { return Ok(None) };
        input.batches.next().map(|batch| input.writer.batch(&batch?)).transpose()
    }

    fn rows(&self) -> engine_abi::RowForm {
        self.alive.as_ref().map_or_else(Default::default, |(store, _)| store.data().rows)
    }

    fn broken(&self, mut error: Error) -> Error {
        error.hint.get_or_insert_with(|| "this is a bug in the module; report it to its author".into());
        error.context(&self.who)
    }
}

/// The call that lasts until the engine asks to stop.
const LISTEN: &str = "listen";

/// Why an instance ended, in words that say what to do. It may be tried again:
/// another instance begins with a clean memory.
fn ended(who: &str, call: &str, state: &mut State, error: &wasmtime::Error) -> Error {
    if let Some(cap) = state.memory.exceeded() {
        let mebibytes = cap >> 20;
        return Error::unavailable(format!(
            "{who} asked for more memory than its {mebibytes} MiB, in `{call}`, and was ended"
        ))
        .hint("if it needs more, raise `limits: {memory: …}` of its stage");
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if state.cancelled() && matches!(trap, Some(Trap::Interrupt)) {
        return Error::cancelled();
    }
    if state.clock.is_over() {
        let limit = state.clock.limit();
        return Error::unavailable(format!("{who} did not come to the end of `{call}` within {limit:?} and was ended"))
            .hint("if it needs longer, raise `limits: {deadline: …}` of its stage");
    }
    if let Some(denied) = state.take_denied() {
        // It could not go on without what it was refused.
        return denied.context(who);
    }
    let what = match (trap, state.last_words.take()) {
        (_, Some(words)) => words,
        (Some(Trap::StackOverflow), _) => "it overflowed its stack".into(),
        // A compiler keeps a part of the stack at the beginning of the memory.
        (Some(Trap::MemoryOutOfBounds), _) => "it reached beyond its memory, or it overflowed its stack".into(),
        (Some(trap), _) => trap.to_string(),
        (None, _) => format!("{error:#}"),
    };
    Error::unavailable(format!("{who} trapped in `{call}`: {what}"))
        .hint("this is a bug in the module; report it to its author with this message")
}

/// An open component. Its streams share the instance with it.
pub struct Guest {
    running: Arc<Mutex<Running>>,
    pull: bool,
}

impl Guest {
    /// Makes an instance and opens the component in it.
    pub fn open(
        module: &Module,
        kind: ComponentKind,
        name: &str,
        host: *const Host,
        request: &OpenRequest,
        sandbox: &Sandbox,
    ) -> Result<Self> {
        let mut running = Running::start(module, (kind, name), host, sandbox)?;
        let request = message::write(request)?;
        running.call("open", |store, it| it.component.call_open(store, kind_word(kind), name, &request))?;
        Ok(Self { running: Arc::new(Mutex::new(running)), pull: module.exports.streams.is_some() })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that answers with a message.
    fn ask<A: DeserializeOwned>(
        &self,
        name: &str,
        call: impl FnOnce(&mut Store<State>, &Guests) -> Answer<String>,
    ) -> Result<A> {
        let mut running = self.running();
        let answer = running.call(name, call)?;
        serde_json::from_str(&answer)
            .map_err(|error| running.broken(Error::internal(format!("the answer to `{name}` cannot be read: {error}"))))
    }

    /// A call with a message that answers with one.
    fn exchange<A: DeserializeOwned>(
        &self,
        name: &str,
        message: &impl Serialize,
        call: impl FnOnce(&mut Store<State>, &Guests, &str) -> Answer<String>,
    ) -> Result<A> {
        let message = message::write(message)?;
        self.ask(name, |store, guests| call(store, guests, &message))
    }

    /// The stream that the guest has begun, batch by batch.
    fn batches(&self, rows: Rows, mut next: impl FnMut(&mut Running) -> Result<Pieces> + Send + 'static) -> Batches {
        let schema = rows.schema();
        let stream = Stream { running: Arc::clone(&self.running), number: self.running().streams };
        let mut rows = Some(rows);
        let mut pieces = VecDeque::new();
        let iterator = std::iter::from_fn(move || {
            let open = rows.as_mut()?;
            let mut running = stream.running.lock().unwrap_or_else(PoisonError::into_inner);
            let item = loop {
                if let Some(piece) = pieces.pop_front() {
                    match open.batch(piece) {
                        Ok(Some(batch)) => break Some(Ok(batch)),
                        Ok(None) => continue,
                        Err(error) => break Some(Err(running.broken(error))),
                    }
                }
                match next(&mut running) {
                    Ok(Pieces::Some(more)) => pieces = more.into(),
                    Ok(Pieces::Last(more)) if more.is_empty() => break None,
                    Ok(Pieces::Last(more)) => pieces = more.into(),
                    Err(error) => break Some(Err(error)),
                }
            };
            if !matches!(item, Some(Ok(_))) {
                rows = None;
            }
            item
        });
        Batches::new(schema, iterator)
    }

    /// Streams in pull form: the guest asks for its input.
    fn pull(&self, way: i32, input: Batches) -> Result<Batches> {
        use exported::streams::Direction;
        let way = match way {
            direction::APPLY => Direction::Apply,
            direction::DECODE => Direction::Decode,
            direction::ENCODE => Direction::Encode,
            _ => Direction::Cut,
        };
        let mut running = self.running();
        let schema = running.take_in(input)?;
        let schema = running.call("apply", |store, it| streams(it)?.call_apply(store, way, &schema))?;
        let rows = Rows::new(running.rows(), schema).map_err(|error| running.broken(error))?;
        drop(running);
        Ok(self.batches(rows, |running| {
            let piece = running.call("next", |store, it| streams(it)?.call_next(store))?;
            Ok(piece.map_or(Pieces::Last(Vec::new()), |piece| Pieces::Some(vec![piece])))
        }))
    }

    /// Streams in push form: the guest is handed each batch.
    fn push(&self, way: i32, input: Batches) -> Result<Batches> {
        use exported::format::Direction;
        let way = match way {
            direction::APPLY => None,
            direction::DECODE => Some(Direction::Decode),
            direction::ENCODE => Some(Direction::Encode),
            _ => Some(Direction::Cut),
        };
        let mut running = self.running();
        let schema = running.take_in(input)?;
        let schema = running.call("start", |store, it| match way {
            None => present(&it.transform)?.call_start(store, &schema),
            Some(way) => present(&it.format)?.call_start(store, way, &schema),
        })?;
        let rows = Rows::new(running.rows(), schema).map_err(|error| running.broken(error))?;
        drop(running);
        let mut ended = false;
        Ok(self.batches(rows, move |running| {
            if ended {
                return Ok(Pieces::Last(Vec::new()));
            }
            match running.next_input()? {
                Some(piece) => running
                    .call("push", |store, it| match way {
                        None => present(&it.transform)?.call_push(store, &piece),
                        Some(_) => present(&it.format)?.call_push(store, &piece),
                    })
                    .map(Pieces::Some),
                None => {
                    ended = true;
                    running
                        .call("finish", |store, it| match way {
                            None => present(&it.transform)?.call_finish(store),
                            Some(_) => present(&it.format)?.call_finish(store),
                        })
                        .map(Pieces::Last)
                }
            }
        }))
    }
}

/// A stream of a guest: what goes into it is let go with it.
struct Stream {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).let_go(self.number);
    }
}

/// What a guest gave at once.
enum Pieces {
    /// More may follow.
    Some(Vec<Vec<u8>>),
    /// Nothing follows.
    Last(Vec<Vec<u8>>),
}

/// An export that the kind of the component needs, which was looked up when the module was loaded.
fn present<G>(guest: &Option<G>) -> wasmtime::Result<&G> {
    guest.as_ref().ok_or_else(|| wasmtime::Error::msg("the module does not export this call"))
}

fn streams(guests: &Guests) -> wasmtime::Result<&exported::streams::Guest> {
    present(&guests.streams)
}

impl Calls for Guest {
    fn check(&mut self) -> Result<CheckReport> {
        self.ask("check", |store, it| it.component.call_check(store))
    }

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let plan: Plan =
            self.exchange("plan", request, |store, it, request| present(&it.source)?.call_plan(store, request))?;
        if plan.tell {
            return Err(Error::config(
                "the source asks to be told what was delivered, and plugin.wit has no call for that",
            )
            .hint("use the module as a native one, or a configuration that leaves what it has read as it is"));
        }
        Ok(plan)
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let split = message::write(split)?;
        let mut running = self.running();
        let schema = running.call("read", |store, it| present(&it.source)?.call_read(store, &split))?;
        let rows = Rows::new(running.rows(), schema).map_err(|error| running.broken(error))?;
        drop(running);
        Ok(self.batches(rows, |running| {
            let piece = running.call("next", |store, it| present(&it.source)?.call_next(store))?;
            Ok(piece.map_or(Pieces::Last(Vec::new()), |piece| Pieces::Some(vec![piece])))
        }))
    }

    fn listen(&mut self) -> Result<()> {
        self.running().call(LISTEN, |store, it| present(&it.listener)?.call_listen(store))
    }

    fn apply(&mut self, way: i32, input: Batches) -> Result<Batches> {
        if self.pull { self.pull(way, input) } else { self.push(way, input) }
    }

    fn begin_run(&mut self, run: &SinkRun) -> Result<RunBegun> {
        self.exchange("begin-run", run, |store, it, run| present(&it.sink)?.call_begin_run(store, run))
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.exchange("begin-split", delivery, |store, it, delivery| {
            present(&it.sink)?.call_begin_split(store, delivery)
        })
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let delivery = message::write(delivery)?;
        let schema = self.running().take_in(input)?;
        let _input = Stream { running: Arc::clone(&self.running), number: self.running().streams };
        if self.pull {
            return self.ask("write", |store, it| streams(it)?.call_write(store, &delivery, &schema));
        }
        {
            let mut running = self.running();
            running.call("start", |store, it| present(&it.writer)?.call_start(store, &delivery, &schema))?;
            while let Some(piece) = running.next_input()? {
                running.call("push", |store, it| present(&it.writer)?.call_push(store, &piece))?;
            }
        }
        self.ask("finish", |store, it| present(&it.writer)?.call_finish(store))
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        self.exchange("commit", delivery, |store, it, delivery| present(&it.sink)?.call_commit(store, delivery))
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        let delivery = message::write(delivery)?;
        self.running().call("abort", |store, it| present(&it.sink)?.call_abort(store, &delivery))
    }

    fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        let run = message::write(run)?;
        self.running().call("finish-run", |store, it| present(&it.sink)?.call_finish_run(store, &run))
    }
}
