//! What a module's process asks of the host.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use engine_abi::ipc;
use engine_abi::{Error, Result, ffi};
use rustix::event::PollFlags;

use super::clock::Clock;
use super::socket::Sender;
use super::wire::{Arrived, Frame, HostAnswer, Kind, Refused, detach, read_json, read_words, unreadable};
use crate::callbacks::{Arrival, ArrivalState, Host, Payload, Rejection, status};

/// How long a process may take to take an answer that it waits for.
const TAKEN: Duration = Duration::from_secs(30);

/// How many threads of a listener may wait for each helper before the next one
/// keeps the listener from being heard at all.
const ASKED: usize = 1024;

/// Does what a frame asks of the host.
pub fn serve(host: &dyn Host, frame: &Frame) -> Result<HostAnswer> {
    match frame.kind {
        Kind::Reject => {
            let (token, refused, data) = detach::<Refused>(&frame.payload)?;
            let payload = match refused.name {
                Some(name) => Payload::Bytes { name, data: data.to_vec() },
                None => {
                    let rows = ipc::read_whole(data.to_vec())?.pop();
                    Payload::Rows(rows.ok_or_else(|| unreadable("refused rows"))?)
                }
            };
            let kept = host.reject(Rejection { code: refused.code, reason: refused.reason, payload });
            Ok(HostAnswer { token, status: status(kept), sequence: 0 })
        }
        Kind::Receipt => {
            let (token, (), data) = detach(&frame.payload)?;
            let kept = read_json(data).and_then(|part| host.receipt(part));
            Ok(HostAnswer { token, status: status(kept), sequence: 0 })
        }
        Kind::Remember => {
            let (token, (), data) = detach(&frame.payload)?;
            let kept = read_json(data).and_then(|value| host.remember(value));
            Ok(HostAnswer { token, status: status(kept), sequence: 0 })
        }
        Kind::Append => {
            let (token, arrived, data) = detach::<Arrived>(&frame.payload)?;
            let Arrived { state, connection, records, peer } = arrived;
            let state = ArrivalState::from_number(state)?;
            let place = host.append(Arrival { state, connection, records, peer: &peer, data });
            let sequence = place.as_ref().copied().unwrap_or(0);
            Ok(HostAnswer { token, status: status(place.map(drop)), sequence })
        }
        Kind::Durable => {
            let [token, sequence] = read_words(&frame.payload)?;
            Ok(HostAnswer { token, status: status(host.durable(sequence)), sequence })
        }
        kind => Err(unreadable(&format!("a frame of the kind {kind:?}"))),
    }
}

/// Threads that do what may block while a listener listens: many connections
/// wait for the disk together, and one of them must not keep the others from
/// handing over what they have, nor the listener from hearing that it should stop.
pub struct Helpers {
    append: mpsc::SyncSender<Frame>,
    durable: mpsc::SyncSender<Frame>,
}

impl Helpers {
    /// Starts them; they end when this is dropped.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        host: &Arc<dyn Host>,
        sender: &Arc<Mutex<Sender>>,
    ) -> Result<Self> {
        let helper = |name: &str| {
            let (frames, asked) = mpsc::sync_channel::<Frame>(ASKED);
            let (host, sender) = (Arc::clone(host), Arc::clone(sender));
            let work = move || {
                for frame in asked {
                    // Where the process is gone, or breaks the protocol, its own thread finds out.
                    let Ok(answer) = serve(host.as_ref(), &frame) else { return };
                    let _ = send_answer(&sender, answer);
                }
            };
            let started = Builder::new().name(name.into()).spawn_scoped(scope, work);
            started.map_err(|error| Error::from(error).context("a thread cannot be started")).map(|_| frames)
        };
        Ok(Self { append: helper("module-append")?, durable: helper("module-durable")? })
    }

    /// Hands a frame over, if one of them serves its kind.
    pub fn serve(&self, frame: Frame) -> Result<(), Frame> {
        let helper = match frame.kind {
            Kind::Append => &self.append,
            Kind::Durable => &self.durable,
            _ => return Err(frame),
        };
        helper.send(frame).map_err(|unsent| unsent.0)
    }
}

fn send_answer(sender: &Mutex<Sender>, answer: HostAnswer) -> Result<(), super::socket::Broken> {
    let mut patience = Clock::new(Some(TAKEN));
    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    sender.send(Kind::HostAnswer, &[&answer.write()], |socket| patience.wait(socket, PollFlags::OUT))
}

/// What a status of the host means to who asked.
pub fn answered(answer: HostAnswer) -> Result<u64> {
    match answer.status {
        ffi::OK => Ok(answer.sequence),
        status => Err(Error::new(engine_abi::ErrorKind::from_status(status), "the engine could not keep it")
            .hint("the engine's log says why")),
    }
}
