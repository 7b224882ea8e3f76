//! What a component implements: [`Component`], and one trait for what it is.

use engine_abi::message::{
    AcquireRequest, Acquired, Begun, CheckReport, Delivered, Delivery, Plan, PlanRequest, Receipt, ReleaseRequest,
    Sealed, SinkRun, Split, StateChange, StoreRequest,
};
use engine_abi::{Batches, Cuts, Error, Example, Promise, Result, Scope, Shape, Takes, Unit};
#[cfg(doc)]
use engine_abi::{ByteRange, Cut};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::Context;

/// What every component has. The engine makes one instance for each thread
/// that works with it, and calls an instance from one thread at a time.
pub trait Component: Sized + Send + 'static {
    /// What a user writes under `with:`. Its doc comments become the reference
    /// page. A misspelt setting is refused, unless the type flattens a map; put
    /// `#[serde(deny_unknown_fields)]` on it and on every struct inside it, so
    /// that serde refuses them there too.
    type Config: DeserializeOwned + JsonSchema;

    /// One line on what it does, without a full stop.
    const SUMMARY: &'static str;

    /// Configurations that work. Shown in the reference; the conformance suite
    /// uses the first.
    fn examples() -> Vec<Example>;

    /// Called first, once. Refuses a configuration that makes no sense, and
    /// reaches nothing outside: connections are opened when they are first
    /// needed, so that `engine validate`, which calls this too, needs no server.
    fn open(config: Self::Config, cx: Context) -> Result<Self>;

    /// Tries what is needed to work and changes nothing. Answers with one line
    /// on what was found.
    fn check(&mut self) -> Result<CheckReport> {
        Ok(CheckReport { summary: "nothing to check".into() })
    }
}

/// An entry of [`Component::examples`].
pub fn example(title: &str, config: serde_json::Value) -> Example {
    Example { title: title.into(), config }
}

/// Gives rows or files when it is asked.
///
/// Calls: `plan` once a window, then `read` for each split, on any instance, in
/// any order, also again after a crash or on another day.
pub trait Source: Component {
    /// What it gives.
    const GIVES: Shape = Shape::Rows;

    /// Reading a split again gives the same rows in the same order, as long as
    /// nobody changes them at the other side.
    const REPEATABLE: bool = true;

    /// Whether `plan` can be told by `request.upper` where to end: old windows can be
    /// read again then (`engine backfill`).
    const RANGES: bool = false;

    /// Cuts what there is to read after `request.cursor`, the `upper` of the last
    /// window. A split's `spec` must hold all that `read` needs. Where nothing is
    /// new: no splits, and as `upper` the cursor as it came. With `request.upper`, what
    /// there is up to it, and that as `upper`.
    fn plan(&mut self, request: &PlanRequest) -> Result<Plan>;

    /// Opens one split. Batches of 1 MiB or some thousand rows are a good size.
    fn read(&mut self, split: &Split) -> Result<Batches>;

    /// Every sink has all of a window whose plan said [`Plan::tell`], and the engine will not ask for it again:
    /// what was read can be put away. Must work twice, and must leave alone what has changed since it was planned,
    /// which nobody has.
    fn delivered(&mut self, _window: &Delivered) -> Result<()> {
        Ok(())
    }
}

/// Receives files or records on its own: a listener.
///
/// What it takes in goes to [`Context::append`], from there into the spool on
/// disk, and is read, decoded and delivered from there.
pub trait PushSource: Component {
    /// Receives until [`Context::cancelled`]; then returns `Ok`.
    fn listen(&mut self) -> Result<()>;
}

/// Rows in, rows out.
pub trait Transform: Component {
    /// How much of the stream it must see, at most.
    const SCOPE: Scope = Scope::Row;

    /// Whether an instance may need to see less than [`Transform::SCOPE`], by its configuration.
    const NARROWS: bool = false;

    /// With `NARROWS`: how much of the stream it must see as it is configured. Reaches nothing outside.
    fn scope(&self) -> Scope {
        Self::SCOPE
    }

    /// Called once a stream. May read ahead to learn the schema. Rows that it
    /// leaves out go to [`Context::filtered`], rows that it refuses to
    /// [`Context::reject_rows`].
    fn apply(&mut self, input: Batches) -> Result<Batches>;
}

/// Turns files into rows.
///
/// The input has the columns `{name: Utf8, data: Binary}`; consecutive rows of
/// one name are pieces of one file, cut anywhere. Every record that it frames
/// is counted with [`Context::progress`], and either becomes a row or goes to
/// [`Context::reject_bytes`].
///
/// One that gives files decompresses: each file that comes in goes out as one
/// file under the same name, in the same order, also an empty one. It counts and
/// rejects nothing; a file that is damaged or ends too early is an error.
pub trait Decoder: Component {
    /// What it gives. [`Shape::Files`] makes it a compression.
    const GIVES: Shape = Shape::Rows;

    /// Whether it has [`Decoder::cut`].
    const CUTS: bool = false;

    /// Called once a stream. May read ahead to learn the schema.
    fn decode(&mut self, input: Batches) -> Result<Batches>;

    /// Finds places at which a record begins, so that a large file can be read in
    /// several pieces. `file` is one file, whole; a place for every piece of it is
    /// enough. What follows such a place, put behind the file's first
    /// [`Cut::head`] bytes, must decode to the same rows and rejections as it
    /// does in the file; [`ByteRange::of`] tells the decoder that bytes were left
    /// out there, so that it counts lines right. No places: the file is read whole.
    fn cut(&mut self, _file: Batches) -> Result<Cuts> {
        Err(Error::internal("a decoder with `CUTS` has no `cut`"))
    }
}

/// Turns rows into files.
///
/// The output has the columns `{name: Utf8, data: Binary}`. One stream becomes
/// one file: its `name` is empty, and the sink names it.
///
/// One that takes files compresses: each file that comes in goes out as one file
/// under the same name, in the same order, also an empty one.
pub trait Encoder: Component {
    /// What it takes. [`Shape::Files`] makes it a compression. A format with both
    /// directions takes what its decoder gives.
    const TAKES: Shape = Shape::Rows;

    /// Called once a stream. A stream without rows still becomes a valid file:
    /// at least one piece, which may be empty. A stream without files becomes one
    /// without files.
    fn encode(&mut self, input: Batches) -> Result<Batches>;
}

/// Takes rows or files and makes them visible, all or nothing, once.
///
/// Calls for a window: `begin_run`; for each delivery `begin_split`, then
/// `write` and `commit` (or `abort` when one of them failed); `finish_run`.
/// After a crash the same deliveries come again under the same keys.
pub trait Sink: Component {
    /// What it takes. One that takes either is told by [`Context::takes_files`](crate::Context::takes_files).
    const TAKES: Takes = Takes::Rows;
    /// What it guarantees.
    const PROMISE: Promise;
    /// How much it publishes at a time. Where it takes either, this is about rows, and files are whole.
    const UNIT: Unit = Unit::Split;

    /// Once a window and instance, before its deliveries.
    fn begin_run(&mut self, _run: &SinkRun) -> Result<()> {
        Ok(())
    }

    /// Whether several instances may deliver splits of one window at the same
    /// time, in any order. Asked after [`Sink::begin_run`], which each of them
    /// gets; one of them gets [`Sink::finish_run`]. Otherwise one instance
    /// delivers the splits one after the other, in their order.
    fn is_parallel(&self) -> bool {
        false
    }

    /// Has this delivery arrived before? A `delivery.sealed` says what `write`
    /// had made ready; `delivery.answered` are the parts of its receipt that
    /// earlier attempts kept with [`Context::receipt`].
    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun>;

    /// Takes the input to its end and makes it ready, visible to no one.
    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed>;

    /// Makes it visible under `delivery.key`.
    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt>;

    /// Throws away what `write` left. Must work twice and on nothing. Where some of it is visible already and has to
    /// stay, it fails without doing anything.
    fn abort(&mut self, delivery: &Delivery) -> Result<()>;

    /// Once a window, after its last commit. Must work twice.
    fn finish_run(&mut self, _run: &SinkRun) -> Result<()> {
        Ok(())
    }
}

/// Keeps what the engine remembers, where several machines can reach it.
///
/// It keeps documents, each under its collection and key, and knows nothing of
/// what they mean. One engine holds the state at a time; every change is one
/// transaction, taken in one order and from the holder alone.
///
/// Calls: `acquire`; `load` where the engine has not got everything; `store`,
/// many times, and at least once in a third of the lease; `release`.
pub trait StateStore: Component {
    /// Takes the state for `request.holder`, if nobody holds it, if `request.former`
    /// does, if the holder has given no sign of life for as long as its lease, by the
    /// clock of the database, or if it is this holder's already. Otherwise
    /// `Unavailable`, naming the other one as it wants to be `shown`.
    fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired>;

    /// All documents, some at a time.
    fn load(&mut self) -> Result<Documents>;

    /// Takes one change, or [`ErrorKind::Denied`](engine_abi::ErrorKind) where this holder
    /// does not have the state or it has had another number of changes than
    /// `request.after`. Without changes, and with `after` and `sequence` alike, it is a
    /// sign of life alone.
    fn store(&mut self, request: &StoreRequest) -> Result<()>;

    /// Gives the state back, if it is this holder's.
    fn release(&mut self, request: &ReleaseRequest) -> Result<()>;
}

/// What [`StateStore::load`] gives: documents, some at a time.
pub type Documents = Box<dyn Iterator<Item = Result<Vec<StateChange>>> + Send>;
