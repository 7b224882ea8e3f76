//! What each kind of component describes and answers.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use engine_abi::ffi::direction;
use engine_abi::message::{
    AcquireRequest, Acquired, Begun, CheckReport, Delivered, Delivery, OpenRequest, Plan, PlanRequest, Receipt,
    ReleaseRequest, RunBegun, Scoped, Sealed, SinkRun, Split, StateChange, StoreRequest,
};
use engine_abi::table::{Calls, wrong_direction};
use engine_abi::{
    Batches, ComponentDescription, ComponentKind, Error, Promise, Result, Scope, Shape, Takes, Unit, message,
};

use super::{Component, component};
use crate::traits::{self, Decoder, Encoder, PushSource, Sink, Source, StateStore, Transform};
use crate::{Context, schema};

/// A component of a known kind, ready to be exported.
pub trait Exported: Calls + Sized {
    /// What it is.
    const KIND: ComponentKind;
    /// Whether it is a source that receives on its own.
    const PUSH: bool = false;

    /// What `describe` answers.
    fn describe() -> ComponentDescription;

    /// Makes an instance.
    fn open(request: &OpenRequest, cx: Context) -> Result<Self>;
}

pub const fn source<T: Source>(name: &'static str) -> Component {
    component::<AsSource<T>>(name)
}

pub const fn push_source<T: PushSource>(name: &'static str) -> Component {
    component::<AsPushSource<T>>(name)
}

pub const fn transform<T: Transform>(name: &'static str) -> Component {
    component::<AsTransform<T>>(name)
}

pub const fn decoder<T: Decoder>(name: &'static str) -> Component {
    component::<AsDecoder<T>>(name)
}

pub const fn encoder<T: Encoder>(name: &'static str) -> Component {
    component::<AsEncoder<T>>(name)
}

pub const fn format<T: Decoder + Encoder>(name: &'static str) -> Component {
    const {
        assert!(
            matches!((T::GIVES, T::TAKES), (Shape::Rows, Shape::Rows) | (Shape::Files, Shape::Files)),
            "a format encodes what it decodes: `Decoder::GIVES` and `Encoder::TAKES` are the same"
        );
    }
    component::<AsFormat<T>>(name)
}

pub const fn state<T: StateStore>(name: &'static str) -> Component {
    component::<AsState<T>>(name)
}

pub const fn sink<T: Sink>(name: &'static str) -> Component {
    component::<AsSink<T>>(name)
}

fn open<T: traits::Component>(request: &OpenRequest, cx: Context) -> Result<T> {
    T::open(schema::read::<T::Config>(request.config.clone())?, cx)
}

fn description<T: traits::Component>(kind: ComponentKind) -> ComponentDescription {
    ComponentDescription {
        name: String::new(),
        kind,
        summary: T::SUMMARY.into(),
        schema: schema::of::<T::Config>(),
        examples: T::examples(),
        push: false,
        gives: Shape::Rows,
        repeatable: false,
        ranges: false,
        takes: Takes::Rows,
        promise: Promise::AtLeastOnce,
        unit: Unit::Split,
        scope: Scope::Row,
        narrows: false,
        decodes: false,
        encodes: false,
        cuts: false,
    }
}

struct AsSource<T>(T);

impl<T: Source> Exported for AsSource<T> {
    const KIND: ComponentKind = ComponentKind::Source;

    fn describe() -> ComponentDescription {
        ComponentDescription {
            gives: T::GIVES,
            repeatable: T::REPEATABLE,
            ranges: T::RANGES,
            ..description::<T>(Self::KIND)
        }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: Source> Calls for AsSource<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.0.plan(request)
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        self.0.read(split)
    }

    fn delivered(&mut self, window: &Delivered) -> Result<()> {
        self.0.delivered(window)
    }
}

struct AsPushSource<T>(T);

impl<T: PushSource> Exported for AsPushSource<T> {
    const KIND: ComponentKind = ComponentKind::Source;
    const PUSH: bool = true;

    fn describe() -> ComponentDescription {
        ComponentDescription { push: true, gives: Shape::Files, repeatable: true, ..description::<T>(Self::KIND) }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: PushSource> Calls for AsPushSource<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn listen(&mut self) -> Result<()> {
        self.0.listen()
    }
}

pub(super) struct AsTransform<T>(T);

impl<T: Transform> Exported for AsTransform<T> {
    const KIND: ComponentKind = ComponentKind::Transform;

    fn describe() -> ComponentDescription {
        ComponentDescription { scope: T::SCOPE, narrows: T::NARROWS, ..description::<T>(Self::KIND) }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: Transform> Calls for AsTransform<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn scope(&mut self) -> Result<Scoped> {
        Ok(Scoped { scope: self.0.scope() })
    }

    fn apply(&mut self, way: i32, input: Batches) -> Result<Batches> {
        match way {
            direction::APPLY => self.0.apply(input),
            _ => Err(wrong_direction()),
        }
    }
}

fn decode<T: Decoder>(decoder: &mut T, way: i32, input: Batches) -> Result<Batches> {
    match way {
        direction::DECODE => decoder.decode(input),
        direction::CUT if T::CUTS => Ok(engine_abi::cut::to_batches(decoder.cut(input)?)),
        _ => Err(wrong_direction()),
    }
}

struct AsDecoder<T>(T);

impl<T: Decoder> Exported for AsDecoder<T> {
    const KIND: ComponentKind = ComponentKind::Format;

    fn describe() -> ComponentDescription {
        ComponentDescription { gives: T::GIVES, decodes: true, cuts: T::CUTS, ..description::<T>(Self::KIND) }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: Decoder> Calls for AsDecoder<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn apply(&mut self, way: i32, input: Batches) -> Result<Batches> {
        decode(&mut self.0, way, input)
    }
}

struct AsEncoder<T>(T);

impl<T: Encoder> Exported for AsEncoder<T> {
    const KIND: ComponentKind = ComponentKind::Format;

    fn describe() -> ComponentDescription {
        ComponentDescription { gives: T::TAKES, encodes: true, ..description::<T>(Self::KIND) }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: Encoder> Calls for AsEncoder<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn apply(&mut self, way: i32, input: Batches) -> Result<Batches> {
        match way {
            direction::ENCODE => self.0.encode(input),
            _ => Err(wrong_direction()),
        }
    }
}

struct AsFormat<T>(T);

impl<T: Decoder + Encoder> Exported for AsFormat<T> {
    const KIND: ComponentKind = ComponentKind::Format;

    fn describe() -> ComponentDescription {
        ComponentDescription {
            gives: T::GIVES,
            decodes: true,
            encodes: true,
            cuts: T::CUTS,
            ..description::<T>(Self::KIND)
        }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: Decoder + Encoder> Calls for AsFormat<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn apply(&mut self, way: i32, input: Batches) -> Result<Batches> {
        match way {
            direction::ENCODE => self.0.encode(input),
            other => decode(&mut self.0, other, input),
        }
    }
}

struct AsSink<T>(T);

impl<T: Sink> Exported for AsSink<T> {
    const KIND: ComponentKind = ComponentKind::Sink;

    fn describe() -> ComponentDescription {
        let (takes, promise, unit) = (T::TAKES, T::PROMISE, T::UNIT);
        ComponentDescription { takes, promise, unit, ..description::<T>(Self::KIND) }
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: Sink> Calls for AsSink<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn begin_run(&mut self, run: &SinkRun) -> Result<RunBegun> {
        self.0.begin_run(run)?;
        Ok(RunBegun { parallel: self.0.is_parallel() })
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.0.begin_split(delivery)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        self.0.write(delivery, input)
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        self.0.commit(delivery)
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        self.0.abort(delivery)
    }

    fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        self.0.finish_run(run)
    }
}

struct AsState<T>(T);

impl<T: StateStore> Exported for AsState<T> {
    const KIND: ComponentKind = ComponentKind::State;

    fn describe() -> ComponentDescription {
        description::<T>(Self::KIND)
    }

    fn open(request: &OpenRequest, cx: Context) -> Result<Self> {
        open(request, cx).map(Self)
    }
}

impl<T: StateStore> Calls for AsState<T> {
    fn check(&mut self) -> Result<CheckReport> {
        self.0.check()
    }

    fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired> {
        self.0.acquire(request)
    }

    fn load(&mut self) -> Result<Batches> {
        let documents = self.0.load()?;
        Ok(Batches::new(documents_schema(), documents.map(|piece| documents_batch(&piece?))))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        self.0.store(request)
    }

    fn release(&mut self, request: &ReleaseRequest) -> Result<()> {
        self.0.release(request)
    }
}

/// The columns of `load`.
fn documents_schema() -> SchemaRef {
    let columns = ["collection", "key", "document"].map(|name| Field::new(name, DataType::Utf8, false));
    Arc::new(Schema::new(columns.to_vec()))
}

fn documents_batch(documents: &[StateChange]) -> Result<RecordBatch> {
    let texts = |text: fn(&StateChange) -> Result<String>| -> Result<ArrayRef> {
        Ok(Arc::new(StringArray::from(documents.iter().map(text).collect::<Result<Vec<_>>>()?)))
    };
    let document = |it: &StateChange| match &it.document {
        Some(document) => message::write(document),
        None => Err(Error::internal("`load` gives documents that are there")),
    };
    let columns = vec![texts(|it| Ok(it.collection.clone()))?, texts(|it| Ok(it.key.clone()))?, texts(document)?];
    RecordBatch::try_new(documents_schema(), columns)
        .map_err(|error| Error::internal(format!("documents cannot be handed over: {error}")))
}
