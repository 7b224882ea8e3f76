//! Turns components into the tables and functions of `plugin.h`. Nothing here
//! is for authors; `module!` names what it needs.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};

use engine_abi::ffi::{self, FFI_ArrowArrayStream, Host, Instance, Reply, Status, Text};
use engine_abi::message::{Begun, Delivery, OpenRequest, PlanRequest, RunBegun, SinkRun, Split};
use engine_abi::stream::{self, Batches};
use engine_abi::{ComponentDescription, ComponentKind, Error, Promise, Result, Scope, Shape, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use engine_abi::ffi::{Component, Module};

use crate::Context;
use crate::schema;
use crate::traits::{self, Decoder, Encoder, PushSource, Sink, Source, Transform};

/// The module's static table.
pub const fn module(name: &'static str, version: &'static str, components: &'static [&'static Component]) -> Module {
    Module {
        size: size_of::<Module>() as u32,
        abi_version: engine_abi::ABI_VERSION,
        name: Text::new(name),
        version: Text::new(version),
        component_count: components.len(),
        components: components.as_ptr().cast(),
    }
}

/// Ends the compilation at a name that the engine would refuse.
pub const fn require_names(names: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        assert!(
            engine_abi::is_component_name(names[at]),
            "a component's name is small letters, digits and `_`, and begins with a letter"
        );
        at += 1;
    }
}

/// A text as an array, for a section of the file.
pub const fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

const fn component<T: traits::Component>(kind: ComponentKind, name: &'static str) -> Component {
    Component {
        size: size_of::<Component>() as u32,
        kind: kind.number(),
        name: Text::new(name),
        describe: None,
        open: Some(open::<T>),
        check: Some(check::<T>),
        plan: None,
        read: None,
        listen: None,
        apply: None,
        begin_run: None,
        begin_split: None,
        write: None,
        commit: None,
        abort: None,
        finish_run: None,
        last_error: Some(last_error::<T>),
        close: Some(close::<T>),
    }
}

pub const fn source<T: Source>(name: &'static str) -> Component {
    unsafe extern "C" fn describe_it<T: Source>(reply: Reply) -> Status {
        let description = description::<T>(ComponentKind::Source);
        describe(reply, ComponentDescription { gives: T::GIVES, repeatable: T::REPEATABLE, ..description })
    }
    Component {
        describe: Some(describe_it::<T>),
        plan: Some(plan::<T>),
        read: Some(read::<T>),
        ..component::<T>(ComponentKind::Source, name)
    }
}

pub const fn push_source<T: PushSource>(name: &'static str) -> Component {
    unsafe extern "C" fn describe_it<T: PushSource>(reply: Reply) -> Status {
        let description = description::<T>(ComponentKind::Source);
        describe(reply, ComponentDescription { push: true, gives: Shape::Files, repeatable: true, ..description })
    }
    Component {
        describe: Some(describe_it::<T>),
        listen: Some(listen::<T>),
        ..component::<T>(ComponentKind::Source, name)
    }
}

pub const fn transform<T: Transform>(name: &'static str) -> Component {
    unsafe extern "C" fn describe_it<T: Transform>(reply: Reply) -> Status {
        describe(reply, ComponentDescription { scope: T::SCOPE, ..description::<T>(ComponentKind::Transform) })
    }
    unsafe extern "C" fn apply_it<T: Transform>(
        instance: *mut Instance,
        direction: i32,
        input: *mut FFI_ArrowArrayStream,
        output: *mut FFI_ArrowArrayStream,
    ) -> Status {
        // SAFETY: the arguments of `apply`, as they came.
        unsafe { apply::<T>(instance, input, output, direction == ffi::direction::APPLY, T::apply) }
    }
    Component {
        describe: Some(describe_it::<T>),
        apply: Some(apply_it::<T>),
        ..component::<T>(ComponentKind::Transform, name)
    }
}

pub const fn decoder<T: Decoder>(name: &'static str) -> Component {
    unsafe extern "C" fn describe_it<T: Decoder>(reply: Reply) -> Status {
        let description = description::<T>(ComponentKind::Format);
        describe(reply, ComponentDescription { gives: T::GIVES, decodes: true, cuts: T::CUTS, ..description })
    }
    unsafe extern "C" fn apply_it<T: Decoder>(
        instance: *mut Instance,
        direction: i32,
        input: *mut FFI_ArrowArrayStream,
        output: *mut FFI_ArrowArrayStream,
    ) -> Status {
        // SAFETY: the arguments of `apply`, as they came.
        unsafe {
            match direction {
                ffi::direction::CUT => apply::<T>(instance, input, output, T::CUTS, cut),
                other => apply::<T>(instance, input, output, other == ffi::direction::DECODE, T::decode),
            }
        }
    }
    Component {
        describe: Some(describe_it::<T>),
        apply: Some(apply_it::<T>),
        ..component::<T>(ComponentKind::Format, name)
    }
}

pub const fn encoder<T: Encoder>(name: &'static str) -> Component {
    unsafe extern "C" fn describe_it<T: Encoder>(reply: Reply) -> Status {
        let description = description::<T>(ComponentKind::Format);
        describe(reply, ComponentDescription { gives: T::TAKES, encodes: true, ..description })
    }
    unsafe extern "C" fn apply_it<T: Encoder>(
        instance: *mut Instance,
        direction: i32,
        input: *mut FFI_ArrowArrayStream,
        output: *mut FFI_ArrowArrayStream,
    ) -> Status {
        // SAFETY: the arguments of `apply`, as they came.
        unsafe { apply::<T>(instance, input, output, direction == ffi::direction::ENCODE, T::encode) }
    }
    Component {
        describe: Some(describe_it::<T>),
        apply: Some(apply_it::<T>),
        ..component::<T>(ComponentKind::Format, name)
    }
}

pub const fn format<T: Decoder + Encoder>(name: &'static str) -> Component {
    const {
        assert!(
            matches!((T::GIVES, T::TAKES), (Shape::Rows, Shape::Rows) | (Shape::Files, Shape::Files)),
            "a format encodes what it decodes: `Decoder::GIVES` and `Encoder::TAKES` are the same"
        );
    }
    unsafe extern "C" fn describe_it<T: Decoder + Encoder>(reply: Reply) -> Status {
        let description = description::<T>(ComponentKind::Format);
        describe(
            reply,
            ComponentDescription { gives: T::GIVES, decodes: true, encodes: true, cuts: T::CUTS, ..description },
        )
    }
    unsafe extern "C" fn apply_it<T: Decoder + Encoder>(
        instance: *mut Instance,
        direction: i32,
        input: *mut FFI_ArrowArrayStream,
        output: *mut FFI_ArrowArrayStream,
    ) -> Status {
        // SAFETY: the arguments of `apply`, as they came.
        unsafe {
            match direction {
                ffi::direction::DECODE => apply::<T>(instance, input, output, true, T::decode),
                ffi::direction::CUT => apply::<T>(instance, input, output, T::CUTS, cut),
                other => apply::<T>(instance, input, output, other == ffi::direction::ENCODE, T::encode),
            }
        }
    }
    Component {
        describe: Some(describe_it::<T>),
        apply: Some(apply_it::<T>),
        ..component::<T>(ComponentKind::Format, name)
    }
}

pub const fn sink<T: Sink>(name: &'static str) -> Component {
    unsafe extern "C" fn describe_it<T: Sink>(reply: Reply) -> Status {
        let (takes, promise, unit) = (T::TAKES, T::PROMISE, T::UNIT);
        describe(reply, ComponentDescription { takes, promise, unit, ..description::<T>(ComponentKind::Sink) })
    }
    unsafe extern "C" fn begin_run<T: Sink>(instance: *mut Instance, run: Text, reply: Reply) -> Status {
        let begin = |sink: &mut T, run: &SinkRun| {
            sink.begin_run(run)?;
            Ok(RunBegun { parallel: sink.is_parallel() })
        };
        // SAFETY: the arguments of the call, as they came.
        unsafe { exchange(instance, run, reply, begin) }
    }
    unsafe extern "C" fn finish_run<T: Sink>(instance: *mut Instance, run: Text) -> Status {
        // SAFETY: the arguments of the call, as they came.
        unsafe { notify::<T, SinkRun>(instance, run, T::finish_run) }
    }
    unsafe extern "C" fn begin_split<T: Sink>(instance: *mut Instance, delivery: Text, reply: Reply) -> Status {
        // SAFETY: the arguments of the call, as they came.
        unsafe { exchange::<T, Delivery, Begun>(instance, delivery, reply, T::begin_split) }
    }
    unsafe extern "C" fn commit<T: Sink>(instance: *mut Instance, delivery: Text, reply: Reply) -> Status {
        // SAFETY: the arguments of the call, as they came.
        unsafe { exchange(instance, delivery, reply, T::commit) }
    }
    unsafe extern "C" fn abort<T: Sink>(instance: *mut Instance, delivery: Text) -> Status {
        // SAFETY: the arguments of the call, as they came.
        unsafe { notify::<T, Delivery>(instance, delivery, T::abort) }
    }
    unsafe extern "C" fn write<T: Sink>(
        instance: *mut Instance,
        delivery: Text,
        input: *mut FFI_ArrowArrayStream,
        reply: Reply,
    ) -> Status {
        // SAFETY: `input` is a stream that the callee takes over.
        let input = unsafe { FFI_ArrowArrayStream::from_raw(input) };
        // SAFETY: the arguments of the call, as they came.
        unsafe {
            exchange(instance, delivery, reply, |sink: &mut T, delivery: &Delivery| {
                sink.write(delivery, import(input)?)
            })
        }
    }
    Component {
        describe: Some(describe_it::<T>),
        begin_run: Some(begin_run::<T>),
        begin_split: Some(begin_split::<T>),
        write: Some(write::<T>),
        commit: Some(commit::<T>),
        abort: Some(abort::<T>),
        finish_run: Some(finish_run::<T>),
        ..component::<T>(ComponentKind::Sink, name)
    }
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
        takes: Shape::Rows,
        promise: Promise::AtLeastOnce,
        unit: Unit::Split,
        scope: Scope::Row,
        decodes: false,
        encodes: false,
        cuts: false,
    }
}

fn cut<T: Decoder>(decoder: &mut T, file: Batches) -> Result<Batches> {
    Ok(engine_abi::cut::to_batches(decoder.cut(file)?))
}

fn describe(reply: Reply, description: ComponentDescription) -> Status {
    match serde_json::to_string(&description) {
        Ok(text) => {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
            ffi::OK
        }
        Err(_) => engine_abi::ErrorKind::Internal.status(),
    }
}

/// What stands behind an `EngineInstance`.
struct Open<T> {
    /// Gone when `open` failed or the component panicked.
    component: Option<T>,
    last_error: Arc<Mutex<Error>>,
}

impl<T> Open<T> {
    fn fail(&self, error: Error) -> Status {
        let status = error.kind.status();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        status
    }
}

/// Runs a component's code; a panic in it poisons this instance alone.
fn guarded<T, R>(open: &mut Open<T>, work: impl FnOnce(&mut T) -> Result<R>) -> Result<R, Status> {
    let Some(component) = open.component.as_mut() else {
        return Err(open.fail(
            Error::internal("this instance failed before and can do nothing more")
                .hint("the engine's log has the first failure"),
        ));
    };
    match catch_unwind(AssertUnwindSafe(|| work(component))) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(open.fail(error)),
        Err(payload) => {
            // Dropping it could panic again; what it holds is lost on purpose.
            std::mem::forget(open.component.take());
            Err(open.fail(panicked(payload.as_ref())))
        }
    }
}

thread_local! {
    static PANIC_PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Keeps a panic's place for its error instead of printing it: a module shares
/// the terminal with the engine.
fn keep_panic_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if cfg!(test) {
            return;
        }
        std::panic::set_hook(Box::new(|info| {
            PANIC_PLACE.set(info.location().map(ToString::to_string));
        }));
    });
}

fn panicked(payload: &(dyn Any + Send)) -> Error {
    let what = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    let place = PANIC_PLACE.take().map(|place| format!(" at {place}")).unwrap_or_default();
    Error::internal(format!("the component panicked{place}: {what}"))
        .hint("this is a bug in the module; report it to its author with this message")
}

/// # Safety
/// `instance` must come from `open::<T>` and be used by this thread alone.
unsafe fn instance<'a, T>(instance: *mut Instance) -> &'a mut Open<T> {
    // SAFETY: passed on to the caller.
    unsafe { &mut *instance.cast::<Open<T>>() }
}

unsafe extern "C" fn open<T: traits::Component>(host: *const Host, request: Text, out: *mut *mut Instance) -> Status {
    keep_panic_places();
    let mut opened = Open::<T> { component: None, last_error: Arc::new(Mutex::new(Error::internal("no error"))) };
    let made = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the text lives for the call.
        let request: OpenRequest = parse(unsafe { request.bytes() })?;
        let config = schema::read::<T::Config>(request.config.clone())?;
        // SAFETY: the host table is valid until `close`, where the component is dropped.
        T::open(config, unsafe { Context::new(host, &request) })
    }));
    let status = match made {
        Ok(Ok(component)) => {
            opened.component = Some(component);
            ffi::OK
        }
        Ok(Err(error)) => opened.fail(error),
        Err(payload) => opened.fail(panicked(payload.as_ref())),
    };
    // SAFETY: the engine gives a place for the instance.
    unsafe { *out = Box::into_raw(Box::new(opened)).cast() };
    status
}

unsafe extern "C" fn check<T: traits::Component>(handle: *mut Instance, reply: Reply) -> Status {
    // SAFETY: the engine passes what `open` made.
    answer(unsafe { instance::<T>(handle) }, reply, |component| component.check())
}

unsafe extern "C" fn plan<T: Source>(handle: *mut Instance, request: Text, reply: Reply) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { exchange::<T, PlanRequest, _>(handle, request, reply, T::plan) }
}

unsafe extern "C" fn read<T: Source>(handle: *mut Instance, split: Text, out: *mut FFI_ArrowArrayStream) -> Status {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<T>(handle) };
    let errors = Arc::clone(&open.last_error);
    let opened = guarded(open, |source| {
        // SAFETY: the text lives for the call.
        source.read(&parse::<Split>(unsafe { split.bytes() })?)
    });
    match opened.and_then(|batches| nameable(open, batches)) {
        Ok(batches) => {
            // SAFETY: the engine gives a place for the stream.
            unsafe { std::ptr::write(out, exported(batches, errors)) };
            ffi::OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn listen<T: PushSource>(handle: *mut Instance) -> Status {
    // SAFETY: the engine passes what `open` made.
    guarded(unsafe { instance::<T>(handle) }, T::listen).map_or_else(|status| status, |()| ffi::OK)
}

/// # Safety
/// The arguments of `apply`, as they came.
unsafe fn apply<T: traits::Component>(
    handle: *mut Instance,
    input: *mut FFI_ArrowArrayStream,
    output: *mut FFI_ArrowArrayStream,
    supported: bool,
    work: impl FnOnce(&mut T, Batches) -> Result<Batches>,
) -> Status {
    // SAFETY: `input` is a stream that the callee takes over.
    let input = unsafe { FFI_ArrowArrayStream::from_raw(input) };
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<T>(handle) };
    let errors = Arc::clone(&open.last_error);
    let applied = guarded(open, |component| {
        if !supported {
            return Err(Error::config("this component does not work in that direction"));
        }
        work(component, import(input)?)
    });
    match applied.and_then(|batches| nameable(open, batches)) {
        Ok(batches) => {
            // SAFETY: the engine gives a place for the stream.
            unsafe { std::ptr::write(output, exported(batches, errors)) };
            ffi::OK
        }
        Err(status) => status,
    }
}

/// # Safety
/// The arguments of a call with one message, as they came.
unsafe fn notify<T: traits::Component, M: DeserializeOwned>(
    handle: *mut Instance,
    message: Text,
    work: impl FnOnce(&mut T, &M) -> Result<()>,
) -> Status {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<T>(handle) };
    // SAFETY: the text lives for the call.
    guarded(open, |component| work(component, &parse(unsafe { message.bytes() })?))
        .map_or_else(|status| status, |()| ffi::OK)
}

/// # Safety
/// The arguments of a call with a message and an answer, as they came.
unsafe fn exchange<T: traits::Component, M: DeserializeOwned, A: Serialize>(
    handle: *mut Instance,
    message: Text,
    reply: Reply,
    work: impl FnOnce(&mut T, &M) -> Result<A>,
) -> Status {
    // SAFETY: the engine passes what `open` made; the text lives for the call.
    answer(unsafe { instance::<T>(handle) }, reply, |component| work(component, &parse(unsafe { message.bytes() })?))
}

fn answer<T, A: Serialize>(open: &mut Open<T>, reply: Reply, work: impl FnOnce(&mut T) -> Result<A>) -> Status {
    let text = guarded(open, |component| {
        serde_json::to_string(&work(component)?)
            .map_err(|error| Error::internal(format!("an answer cannot be written as JSON: {error}")))
    });
    match text {
        Ok(text) => {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
            ffi::OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn last_error<T>(handle: *mut Instance, reply: Reply) {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<T>(handle) };
    let error = open.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Ok(text) = serde_json::to_string(&error) {
        // SAFETY: the engine waits for the reply of this call.
        unsafe { reply.send(&text) };
    }
}

unsafe extern "C" fn close<T>(handle: *mut Instance) {
    // SAFETY: the engine passes what `open` made, for the last time.
    let open = unsafe { Box::from_raw(handle.cast::<Open<T>>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(open)));
}

fn parse<M: DeserializeOwned>(bytes: &[u8]) -> Result<M> {
    serde_json::from_slice(bytes).map_err(|error| Error::internal(format!("the engine sent a bad message: {error}")))
}

/// The rows that the engine hands in. They come from the engine's own hands,
/// which has validated them.
fn import(stream: FFI_ArrowArrayStream) -> Result<Batches> {
    let reader = stream::Reader::new(stream, false)?;
    Ok(Batches::new(reader.schema(), reader.map(|item| item.map_err(Error::from))))
}

/// Refuses columns whose names cannot cross the border, where they are C strings.
fn nameable<T>(open: &Open<T>, batches: Batches) -> Result<Batches, Status> {
    match batches.schema().fields().iter().find(|field| field.name().contains('\0')) {
        None => Ok(batches),
        Some(field) => Err(open.fail(
            Error::config(format!("the column name {:?} holds a NUL character", field.name()))
                .hint("name the columns in the settings, or check that the input is what it should be"),
        )),
    }
}

/// Exports a component's rows; errors and panics on the way are kept for
/// `last_error`, and nothing comes after them.
fn exported(batches: Batches, errors: Arc<Mutex<Error>>) -> FFI_ArrowArrayStream {
    struct Kept {
        batches: Option<Batches>,
        errors: Arc<Mutex<Error>>,
    }

    impl Iterator for Kept {
        type Item = Result<arrow_array::RecordBatch>;

        fn next(&mut self) -> Option<Self::Item> {
            let batches = self.batches.as_mut()?;
            let item = match catch_unwind(AssertUnwindSafe(|| batches.next())) {
                Ok(item) => item,
                Err(payload) => {
                    std::mem::forget(self.batches.take());
                    Some(Err(panicked(payload.as_ref())))
                }
            };
            if let Some(Err(error)) = &item {
                *self.errors.lock().unwrap_or_else(PoisonError::into_inner) = error.clone();
                self.batches = None;
            }
            item
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            let batches = self.batches.take();
            let _ = catch_unwind(AssertUnwindSafe(move || drop(batches)));
        }
    }

    stream::export(Batches::new(batches.schema(), Kept { batches: Some(batches), errors }))
}
