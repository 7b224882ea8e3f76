//! Waiting, as a guest does it: for a timer, for an answer, for a reader. It ends
//! with the call's time, and when the engine asks to stop; the ticks that end a
//! working guest do not reach one that waits.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::{poll as waited, streams as flowing};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::in_tokio;

use crate::state::{Clock, Engine};

/// How often a waiting guest looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// `wasi:io` with the limits of the call.
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
    fn wait<R, E: From<Ended>>(&mut self, ready: impl AsyncFnOnce(&mut ResourceTable) -> Result<R, E>) -> Result<R, E> {
        in_tokio(async {
            let mut ready = std::pin::pin!(ready(self.table));
            loop {
                match tokio::time::timeout(LOOK.min(self.clock.left()), &mut ready).await {
                    Ok(answer) => return answer,
                    Err(_) if self.clock.ends(self.engine.cancelled()) => {
                        return Err(Ended.into());
                    }
                    Err(_) => {}
                }
            }
        })
    }
}

/// The wait is over before what was waited for is there.
struct Ended;

impl From<Ended> for wasmtime::Error {
    fn from(_: Ended) -> Self {
        wasmtime::Trap::Interrupt.into()
    }
}

impl From<Ended> for StreamError {
    fn from(ended: Ended) -> Self {
        Self::Trap(ended.into())
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

impl streams::Host for Waiting<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(self.table, error)
    }
}

impl streams::HostInputStream for Waiting<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        streams::HostInputStream::read(self.table, stream, length)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        self.wait(async |table| flowing::HostInputStream::blocking_read(table, stream, length).await)
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        streams::HostInputStream::skip(self.table, stream, length)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        self.wait(async |table| flowing::HostInputStream::blocking_skip(table, stream, length).await)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostInputStream::subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.wait(async |table| flowing::HostInputStream::drop(table, stream).await)
    }
}

impl streams::HostOutputStream for Waiting<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        streams::HostOutputStream::write(self.table, stream, bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.wait(async |table| flowing::HostOutputStream::blocking_write_and_flush(table, stream, bytes).await)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.wait(async |table| flowing::HostOutputStream::blocking_write_zeroes_and_flush(table, stream, length).await)
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostOutputStream::subscribe(self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        streams::HostOutputStream::write_zeroes(self.table, stream, length)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.wait(async |table| flowing::HostOutputStream::blocking_flush(table, stream).await)
    }

    fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        streams::HostOutputStream::splice(self.table, to, from, length)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.wait(async |table| flowing::HostOutputStream::blocking_splice(table, to, from, length).await)
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.wait(async |table| flowing::HostOutputStream::drop(table, stream).await)
    }
}
