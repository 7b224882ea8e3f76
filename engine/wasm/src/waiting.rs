//! Waiting, as a guest does it: for a timer, for an answer. It ends with the
//! call's time, and when the engine asks to stop; the ticks that end a working
//! guest do not reach one that waits.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll as waited;
use wasmtime_wasi::p2::bindings::sync::io::poll;
use wasmtime_wasi::runtime::in_tokio;

use crate::state::{Clock, Engine};

/// How often a waiting guest looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// `wasi:io/poll` with the limits of the call.
pub struct Waiting<'a> {
    pub table: &'a mut ResourceTable,
    pub clock: Arc<Clock>,
    pub engine: Engine,
}

/// Says where in a store it is found.
pub struct HasWaiting;

impl HasData for HasWaiting {
    type Data<'a> = Waiting<'a>;
}

impl Waiting<'_> {
    fn wait<R>(&mut self, ready: impl AsyncFnOnce(&mut ResourceTable) -> wasmtime::Result<R>) -> wasmtime::Result<R> {
        in_tokio(async {
            let mut ready = std::pin::pin!(ready(self.table));
            loop {
                match tokio::time::timeout(LOOK.min(self.clock.left()), &mut ready).await {
                    Ok(answer) => return answer,
                    Err(_) if self.clock.is_over() || self.engine.cancelled() => {
                        return Err(wasmtime::Trap::Interrupt.into());
                    }
                    Err(_) => {}
                }
            }
        })
    }
}

impl poll::Host for Waiting<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.wait(async |table| waited::Host::poll(table, pollables).await)
    }
}

impl poll::HostPollable for Waiting<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(self.table, pollable)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wait(async |table| waited::HostPollable::block(table, pollable).await)
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.table, pollable)
    }
}
