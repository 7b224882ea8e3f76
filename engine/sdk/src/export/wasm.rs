//! The exports of `plugin.wit`, in pull form: what a component gives is asked
//! for batch by batch, and it asks for its input when it needs it.
//!
//! An instance of a module serves one component, and a guest has one thread, so
//! what is open stands in thread-local places.

use std::cell::RefCell;
use std::marker::PhantomData;

use engine_abi::ffi::direction;
use engine_abi::ipc::{Decoder, Encoder};
use engine_abi::message::{self, OpenRequest};
use engine_abi::table::{self, Calls};
use engine_abi::{Batches, ComponentDescription, ComponentKind, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Exported;
use crate::Context;

mod host;

/// What `plugin.wit` says, as Rust.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../schemas/plugin.wit",
        world: "module",
        pub_export_macro: true,
        export_macro_name: "export_guest",
        default_bindings_module: "engine_sdk::export::bindings",
    });
}

use bindings::engine::plugin::{input, types};
use bindings::exports::engine::plugin as exports;

engine_abi::wit_errors!(bindings::engine::plugin::types);

/// A component of the module.
pub struct Component {
    kind: ComponentKind,
    name: &'static str,
    describe: fn() -> ComponentDescription,
    open: fn(&OpenRequest, Context) -> Result<Box<dyn Calls>>,
}

/// A component's entry in the module's list.
pub const fn component<E: Exported>(name: &'static str) -> Component {
    Component { kind: E::KIND, name, describe: E::describe, open: |request, cx| Ok(Box::new(E::open(request, cx)?)) }
}

/// What `module!` lists.
pub trait Listed: 'static {
    /// The components of the module.
    const COMPONENTS: &'static [&'static Component];
}

/// Answers the exports with the components of a module.
pub struct Serve<M>(PhantomData<M>);

/// What comes out of the stream that is open.
struct Output {
    batches: Batches,
    encoder: Encoder,
}

thread_local! {
    static OPEN: RefCell<Option<Box<dyn Calls>>> = const { RefCell::new(None) };
    static OUTPUT: RefCell<Option<Output>> = const { RefCell::new(None) };
}

impl<M: Listed> Serve<M> {
    fn find(kind: types::Kind, name: &str) -> Result<&'static Component> {
        let kind = match kind {
            types::Kind::Source => ComponentKind::Source,
            types::Kind::Transform => ComponentKind::Transform,
            types::Kind::Format => ComponentKind::Format,
            types::Kind::Sink => ComponentKind::Sink,
        };
        let found = M::COMPONENTS.iter().find(|component| component.kind == kind && component.name == name);
        found.copied().ok_or_else(|| Error::config(format!("the module has no {kind} `{name}`")))
    }
}

impl<M: Listed> exports::component::Guest for Serve<M> {
    fn describe(kind: types::Kind, name: String) -> Result<String, types::Error> {
        Self::find(kind, &name)
            .and_then(|component| message::write(&(component.describe)()))
            .map_err(types::Error::from)
    }

    fn open(kind: types::Kind, name: String, request: String) -> Result<(), types::Error> {
        host::keep_panic_messages();
        let opened = Self::find(kind, &name).and_then(|component| {
            let request: OpenRequest = table::parse(request.as_bytes())?;
            // SAFETY: the table is static.
            (component.open)(&request, unsafe { Context::new(host::table(), &request) })
        });
        let component = opened.map_err(types::Error::from)?;
        OUTPUT.set(None);
        OPEN.set(Some(component));
        Ok(())
    }

    fn check() -> Result<String, types::Error> {
        with(|component| message::write(&component.check()?))
    }
}

impl<M: Listed> exports::source::Guest for Serve<M> {
    fn plan(request: String) -> Result<String, types::Error> {
        exchange(&request, |component, request| component.plan(request))
    }

    fn read(split: String) -> Result<Vec<u8>, types::Error> {
        with(|component| begin(component.read(&table::parse(split.as_bytes())?)?))
    }

    fn next() -> Result<Option<Vec<u8>>, types::Error> {
        next()
    }
}

impl<M: Listed> exports::listener::Guest for Serve<M> {
    fn listen() -> Result<(), types::Error> {
        with(|component| component.listen())
    }
}

impl<M: Listed> exports::sink::Guest for Serve<M> {
    fn begin_run(run: String) -> Result<String, types::Error> {
        exchange(&run, |component, run| component.begin_run(run))
    }

    fn begin_split(delivery: String) -> Result<String, types::Error> {
        exchange(&delivery, |component, delivery| component.begin_split(delivery))
    }

    fn commit(delivery: String) -> Result<String, types::Error> {
        exchange(&delivery, |component, delivery| component.commit(delivery))
    }

    fn abort(delivery: String) -> Result<(), types::Error> {
        with(|component| component.abort(&table::parse(delivery.as_bytes())?))
    }

    fn finish_run(run: String) -> Result<(), types::Error> {
        with(|component| component.finish_run(&table::parse(run.as_bytes())?))
    }
}

impl<M: Listed> exports::streams::Guest for Serve<M> {
    fn apply(way: exports::streams::Direction, schema: Vec<u8>) -> Result<Vec<u8>, types::Error> {
        use exports::streams::Direction;
        let way = match way {
            Direction::Apply => direction::APPLY,
            Direction::Decode => direction::DECODE,
            Direction::Encode => direction::ENCODE,
            Direction::Cut => direction::CUT,
        };
        OUTPUT.set(None);
        with(|component| begin(component.apply(way, incoming(schema)?)?))
    }

    fn next() -> Result<Option<Vec<u8>>, types::Error> {
        next()
    }

    fn write(delivery: String, schema: Vec<u8>) -> Result<String, types::Error> {
        with(|component| message::write(&component.write(&table::parse(delivery.as_bytes())?, incoming(schema)?)?))
    }
}

/// Runs a call of the open component.
fn with<R>(call: impl FnOnce(&mut dyn Calls) -> Result<R>) -> Result<R, types::Error> {
    OPEN.with_borrow_mut(|open| match open {
        Some(component) => call(component.as_mut()),
        None => Err(Error::internal("the engine called a component that is not open")),
    })
    .map_err(types::Error::from)
}

fn exchange<M: DeserializeOwned, A: Serialize>(
    message: &str,
    call: impl FnOnce(&mut dyn Calls, &M) -> Result<A>,
) -> Result<String, types::Error> {
    with(|component| message::write(&call(component, &table::parse(message.as_bytes())?)?))
}

/// What comes in, asked for when the component asks for it.
fn incoming(schema: Vec<u8>) -> Result<Batches> {
    let mut decoder = Decoder::new(schema)?;
    let schema = decoder.schema();
    let pieces = std::iter::from_fn(move || match input::next() {
        Ok(piece) => Some(decoder.batch(piece?)),
        Err(error) => Some(Err(error.into())),
    });
    Ok(Batches::new(schema, pieces.fuse()))
}

/// Opens the stream that the engine then asks for batches.
fn begin(batches: Batches) -> Result<Vec<u8>> {
    let (encoder, schema) = Encoder::new(&batches.schema())?;
    OUTPUT.set(Some(Output { batches, encoder }));
    Ok(schema)
}

fn next() -> Result<Option<Vec<u8>>, types::Error> {
    OUTPUT.with_borrow_mut(|output| {
        let Some(open) = output else { return Ok(None) };
        match open.batches.next() {
            Some(Ok(batch)) => open.encoder.batch(&batch).map(Some).map_err(types::Error::from),
            Some(Err(error)) => {
                *output = None;
                Err(error.into())
            }
            None => {
                *output = None;
                Ok(None)
            }
        }
    })
}
