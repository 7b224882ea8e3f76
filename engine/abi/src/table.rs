//! Components written in Rust as the functions of `plugin.h`.
//!
//! [`Calls`] is what an open component can be asked, free of pointers; [`calls`]
//! makes the C table for it. All that is unsafe about being called through that
//! table stands here once, for whoever is on the module's side of it: the SDK's
//! connectors, and the hosts that stand in for a module that runs elsewhere.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ffi::{self, Component, FFI_ArrowArrayStream, Instance, Reply, Status, Text};
use crate::message::{
    AcquireRequest, Acquired, Begun, CheckReport, Delivered, Delivery, Plan, PlanRequest, Receipt, ReleaseRequest,
    RunBegun, Scoped, Sealed, SinkRun, Split, StoreRequest,
};
use crate::stream::{self, Batches};
use crate::{ComponentKind, Error, Result, message};

/// An open component. The calls of other kinds than its own stay as they are.
pub trait Calls: Send + 'static {
    /// `check`
    fn check(&mut self) -> Result<CheckReport>;

    /// Sources.
    fn plan(&mut self, _request: &PlanRequest) -> Result<Plan> {
        Err(absent("plan"))
    }

    /// Sources.
    fn read(&mut self, _split: &Split) -> Result<Batches> {
        Err(absent("read"))
    }

    /// Sources whose plans ask for it.
    fn delivered(&mut self, _window: &Delivered) -> Result<()> {
        Err(absent("delivered"))
    }

    /// Push sources.
    fn listen(&mut self) -> Result<()> {
        Err(absent("listen"))
    }

    /// Transforms that narrow their scope.
    fn scope(&mut self) -> Result<Scoped> {
        Err(absent("scope"))
    }

    /// Transforms and formats; `direction` is one of [`ffi::direction`].
    fn apply(&mut self, _direction: i32, _input: Batches) -> Result<Batches> {
        Err(absent("apply"))
    }

    /// Sinks.
    fn begin_run(&mut self, _run: &SinkRun) -> Result<RunBegun> {
        Err(absent("begin_run"))
    }

    /// Sinks.
    fn begin_split(&mut self, _delivery: &Delivery) -> Result<Begun> {
        Err(absent("begin_split"))
    }

    /// Sinks.
    fn write(&mut self, _delivery: &Delivery, _input: Batches) -> Result<Sealed> {
        Err(absent("write"))
    }

    /// Sinks.
    fn commit(&mut self, _delivery: &Delivery) -> Result<Receipt> {
        Err(absent("commit"))
    }

    /// Sinks.
    fn abort(&mut self, _delivery: &Delivery) -> Result<()> {
        Err(absent("abort"))
    }

    /// Sinks.
    fn finish_run(&mut self, _run: &SinkRun) -> Result<()> {
        Err(absent("finish_run"))
    }

    /// States.
    fn acquire(&mut self, _request: &AcquireRequest) -> Result<Acquired> {
        Err(absent("acquire"))
    }

    /// States.
    fn load(&mut self) -> Result<Batches> {
        Err(absent("load"))
    }

    /// States.
    fn store(&mut self, _request: &StoreRequest) -> Result<()> {
        Err(absent("store"))
    }

    /// States.
    fn release(&mut self, _request: &ReleaseRequest) -> Result<()> {
        Err(absent("release"))
    }
}

fn absent(call: &str) -> Error {
    Error::config(format!("this component has no {call}"))
}

/// The error of a direction that a component does not work in.
pub fn wrong_direction() -> Error {
    Error::config("this component does not work in that direction")
}

/// The functions of an instance that [`open`] made, for a component of `kind`.
/// `describe` and `open` are left to the caller.
pub const fn calls<C: Calls>(kind: ComponentKind, push: bool, name: &'static str) -> Component {
    let none = Component {
        size: size_of::<Component>() as u32,
        kind: kind.number(),
        name: Text::new(name),
        describe: None,
        open: None,
        check: Some(check::<C>),
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
        last_error: Some(last_error::<C>),
        close: Some(close::<C>),
        acquire: None,
        load: None,
        store: None,
        release: None,
        scope: None,
        delivered: None,
    };
    match (kind, push) {
        (ComponentKind::Source, false) => {
            Component { plan: Some(plan::<C>), read: Some(read::<C>), delivered: Some(delivered::<C>), ..none }
        }
        (ComponentKind::Source, true) => Component { listen: Some(listen::<C>), ..none },
        (ComponentKind::Transform, _) => Component { apply: Some(apply::<C>), scope: Some(scope::<C>), ..none },
        (ComponentKind::Format, _) => Component { apply: Some(apply::<C>), ..none },
        (ComponentKind::Sink, _) => Component {
            begin_run: Some(begin_run::<C>),
            begin_split: Some(begin_split::<C>),
            write: Some(write::<C>),
            commit: Some(commit::<C>),
            abort: Some(abort::<C>),
            finish_run: Some(finish_run::<C>),
            ..none
        },
        (ComponentKind::State, _) => Component {
            acquire: Some(acquire::<C>),
            load: Some(load::<C>),
            store: Some(store::<C>),
            release: Some(release::<C>),
            ..none
        },
    }
}

/// Runs code of a module's side; a panic in it is an error.
pub fn guarded<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(panicked(payload.as_ref())))
}

/// Makes an instance for the functions of [`calls`]; a panic in `make` is an error.
///
/// # Safety
/// `out` must be a place for an instance, as `open` of `plugin.h` gives it.
pub unsafe fn open<C: Calls>(out: *mut *mut Instance, make: impl FnOnce() -> Result<C>) -> Status {
    let mut opened = Open::<C> { component: None, last_error: Arc::new(Mutex::new(Error::internal("no error"))) };
    let status = match guarded(make) {
        Ok(component) => {
            opened.component = Some(component);
            ffi::OK
        }
        Err(error) => opened.fail(error),
    };
    // SAFETY: the caller gives a place for the instance.
    unsafe { *out = Box::into_raw(Box::new(opened)).cast() };
    status
}

/// Reads a message that the engine sent.
pub fn parse<M: DeserializeOwned>(bytes: &[u8]) -> Result<M> {
    serde_json::from_slice(bytes).map_err(|error| Error::internal(format!("the engine sent a bad message: {error}")))
}

/// What stands behind an `EngineInstance`.
struct Open<C> {
    /// Gone when `open` failed or the component panicked.
    component: Option<C>,
    last_error: Arc<Mutex<Error>>,
}

impl<C> Open<C> {
    fn fail(&self, error: Error) -> Status {
        let status = error.kind.status();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        status
    }
}

/// Runs a component's code; a panic in it poisons this instance alone.
fn on_instance<C, R>(open: &mut Open<C>, work: impl FnOnce(&mut C) -> Result<R>) -> Result<R, Status> {
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
/// the terminal with the engine. For modules only, whose hook is their own.
pub fn keep_panic_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
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
/// `handle` must come from `open::<C>` and be used by this thread alone.
unsafe fn instance<'a, C>(handle: *mut Instance) -> &'a mut Open<C> {
    // SAFETY: passed on to the caller.
    unsafe { &mut *handle.cast::<Open<C>>() }
}

unsafe extern "C" fn check<C: Calls>(handle: *mut Instance, reply: Reply) -> Status {
    // SAFETY: the engine passes what `open` made.
    answer(unsafe { instance::<C>(handle) }, reply, |component| component.check())
}

unsafe extern "C" fn scope<C: Calls>(handle: *mut Instance, reply: Reply) -> Status {
    // SAFETY: the engine passes what `open` made.
    answer(unsafe { instance::<C>(handle) }, reply, |component| component.scope())
}

unsafe extern "C" fn plan<C: Calls>(handle: *mut Instance, request: Text, reply: Reply) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { exchange::<C, PlanRequest, _>(handle, request, reply, C::plan) }
}

unsafe extern "C" fn delivered<C: Calls>(handle: *mut Instance, window: Text) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { notify::<C, Delivered>(handle, window, C::delivered) }
}

unsafe extern "C" fn begin_run<C: Calls>(handle: *mut Instance, run: Text, reply: Reply) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { exchange::<C, SinkRun, _>(handle, run, reply, C::begin_run) }
}

unsafe extern "C" fn begin_split<C: Calls>(handle: *mut Instance, delivery: Text, reply: Reply) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { exchange::<C, Delivery, _>(handle, delivery, reply, C::begin_split) }
}

unsafe extern "C" fn commit<C: Calls>(handle: *mut Instance, delivery: Text, reply: Reply) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { exchange::<C, Delivery, _>(handle, delivery, reply, C::commit) }
}

unsafe extern "C" fn abort<C: Calls>(handle: *mut Instance, delivery: Text) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { notify::<C, Delivery>(handle, delivery, C::abort) }
}

unsafe extern "C" fn finish_run<C: Calls>(handle: *mut Instance, run: Text) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { notify::<C, SinkRun>(handle, run, C::finish_run) }
}

unsafe extern "C" fn acquire<C: Calls>(handle: *mut Instance, request: Text, reply: Reply) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { exchange::<C, AcquireRequest, _>(handle, request, reply, C::acquire) }
}

unsafe extern "C" fn load<C: Calls>(handle: *mut Instance, out: *mut FFI_ArrowArrayStream) -> Status {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<C>(handle) };
    let opened = on_instance(open, C::load);
    // SAFETY: the engine gives a place for the stream.
    unsafe { hand_out(open, opened, out) }
}

unsafe extern "C" fn store<C: Calls>(handle: *mut Instance, request: Text) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { notify::<C, StoreRequest>(handle, request, C::store) }
}

unsafe extern "C" fn release<C: Calls>(handle: *mut Instance, request: Text) -> Status {
    // SAFETY: the arguments of the call, as they came.
    unsafe { notify::<C, ReleaseRequest>(handle, request, C::release) }
}

unsafe extern "C" fn listen<C: Calls>(handle: *mut Instance) -> Status {
    // SAFETY: the engine passes what `open` made.
    on_instance(unsafe { instance::<C>(handle) }, C::listen).map_or_else(|status| status, |()| ffi::OK)
}

unsafe extern "C" fn read<C: Calls>(handle: *mut Instance, split: Text, out: *mut FFI_ArrowArrayStream) -> Status {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<C>(handle) };
    let opened = on_instance(open, |source| {
        // SAFETY: the text lives for the call.
        source.read(&parse::<Split>(unsafe { split.bytes() })?)
    });
    // SAFETY: the engine gives a place for the stream.
    unsafe { hand_out(open, opened, out) }
}

unsafe extern "C" fn apply<C: Calls>(
    handle: *mut Instance,
    direction: i32,
    input: *mut FFI_ArrowArrayStream,
    output: *mut FFI_ArrowArrayStream,
) -> Status {
    // SAFETY: `input` is a stream that the callee takes over.
    let input = unsafe { FFI_ArrowArrayStream::from_raw(input) };
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<C>(handle) };
    let applied = on_instance(open, |component| component.apply(direction, import(input)?));
    // SAFETY: the engine gives a place for the stream.
    unsafe { hand_out(open, applied, output) }
}

unsafe extern "C" fn write<C: Calls>(
    handle: *mut Instance,
    delivery: Text,
    input: *mut FFI_ArrowArrayStream,
    reply: Reply,
) -> Status {
    // SAFETY: `input` is a stream that the callee takes over.
    let input = unsafe { FFI_ArrowArrayStream::from_raw(input) };
    // SAFETY: the arguments of the call, as they came.
    unsafe {
        exchange(handle, delivery, reply, |sink: &mut C, delivery: &Delivery| sink.write(delivery, import(input)?))
    }
}

unsafe extern "C" fn last_error<C>(handle: *mut Instance, reply: Reply) {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<C>(handle) };
    let error = open.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Ok(text) = serde_json::to_string(&error) {
        // SAFETY: the engine waits for the reply of this call.
        unsafe { reply.send(&text) };
    }
}

unsafe extern "C" fn close<C>(handle: *mut Instance) {
    // SAFETY: the engine passes what `open` made, for the last time.
    let open = unsafe { Box::from_raw(handle.cast::<Open<C>>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(open)));
}

/// # Safety
/// The arguments of a call with one message, as they came.
unsafe fn notify<C: Calls, M: DeserializeOwned>(
    handle: *mut Instance,
    message: Text,
    work: impl FnOnce(&mut C, &M) -> Result<()>,
) -> Status {
    // SAFETY: the engine passes what `open` made.
    let open = unsafe { instance::<C>(handle) };
    // SAFETY: the text lives for the call.
    on_instance(open, |component| work(component, &parse(unsafe { message.bytes() })?))
        .map_or_else(|status| status, |()| ffi::OK)
}

/// # Safety
/// The arguments of a call with a message and an answer, as they came.
unsafe fn exchange<C: Calls, M: DeserializeOwned, A: Serialize>(
    handle: *mut Instance,
    message: Text,
    reply: Reply,
    work: impl FnOnce(&mut C, &M) -> Result<A>,
) -> Status {
    // SAFETY: the engine passes what `open` made; the text lives for the call.
    answer(unsafe { instance::<C>(handle) }, reply, |component| work(component, &parse(unsafe { message.bytes() })?))
}

fn answer<C, A: Serialize>(open: &mut Open<C>, reply: Reply, work: impl FnOnce(&mut C) -> Result<A>) -> Status {
    let text = on_instance(open, |component| message::write(&work(component)?));
    match text {
        Ok(text) => {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
            ffi::OK
        }
        Err(status) => status,
    }
}

/// The rows that the engine hands in. They come from the engine's own hands,
/// which has validated them.
fn import(stream: FFI_ArrowArrayStream) -> Result<Batches> {
    let reader = stream::Reader::new(stream, false)?;
    Ok(Batches::new(reader.schema(), reader.map(|item| item.map_err(Error::from))))
}

/// # Safety
/// `out` must be a place for a stream.
unsafe fn hand_out<C>(open: &Open<C>, opened: Result<Batches, Status>, out: *mut FFI_ArrowArrayStream) -> Status {
    match opened.and_then(|batches| nameable(open, batches)) {
        Ok(batches) => {
            // SAFETY: promised by the caller.
            unsafe { std::ptr::write(out, exported(batches, Arc::clone(&open.last_error))) };
            ffi::OK
        }
        Err(status) => status,
    }
}

/// Refuses columns whose names cannot cross the border, where they are C strings.
fn nameable<C>(open: &Open<C>, batches: Batches) -> Result<Batches, Status> {
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
