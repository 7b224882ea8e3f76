//! One connection: requests, several of them under way at a time, and the answers to them.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine_sdk::prelude::Error;
use russh::ChannelMsg;

use crate::fault::{Fault, said};
use crate::session::Link;
use crate::wire::{self, Attributes, Packets, Reader, Reply, Request, Status, kind, status};

/// How much a read or write moves where the server does not say what it takes: what each must take.
const SAFE_LENGTH: u64 = 32 * 1024;
/// How much a read or write moves at most.
const LONGEST: u64 = 256 * 1024;

/// What a server can do besides version 3, as far as it is of use here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Extensions {
    /// `fsync@openssh.com`
    pub sync: bool,
    /// `posix-rename@openssh.com`: a rename that replaces.
    pub replace: bool,
    /// `hardlink@openssh.com`
    pub link: bool,
    /// `limits@openssh.com`
    limits: bool,
}

/// What became of a packet.
enum Sent {
    All,
    Over,
    TooLate,
    /// What came meanwhile is no packet: its length.
    NoPacket(u32),
}

/// A session of SFTP.
pub struct Sftp {
    link: Link,
    /// No other connection of this process has it: a handle is good on its own alone.
    pub number: u64,
    packets: Packets,
    next: u32,
    /// Requests whose answers are wanted and have not come. Every other answer is thrown away.
    waiting: HashSet<u32>,
    replies: HashMap<u32, Reply>,
    pub can: Extensions,
    pub read_length: u32,
    pub write_length: usize,
    timeout: Duration,
}

impl Sftp {
    /// Says hello to the server behind a link.
    pub async fn begin(link: Link, timeout: Duration) -> Result<Self, Error> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let mut sftp = Self {
            link,
            number,
            packets: Packets::default(),
            next: 0,
            waiting: HashSet::new(),
            replies: HashMap::new(),
            can: Extensions::default(),
            read_length: SAFE_LENGTH as u32,
            write_length: SAFE_LENGTH as usize,
            timeout,
        };
        match sftp.greet().await {
            Ok(()) => Ok(sftp),
            Err(Fault::Told(error) | Fault::Broken(error)) => Err(error),
            Err(Fault::Refused(status)) => Err(status.about("greeting", &sftp.link.shown)),
        }
    }

    async fn greet(&mut self) -> Result<(), Fault> {
        self.send(Request::hello()).await?;
        let mut hello = None;
        while hello.is_none() {
            let chunk = self.receive().await?;
            self.packets.push(&chunk, |packet| hello = Some(packet)).map_err(|length| self.no_packet(length))?;
        }
        let mut reader = Reader(hello.unwrap_or_default());
        let version = (reader.byte() == Some(kind::VERSION)).then(|| reader.number()).flatten();
        if version != Some(wire::VERSION) {
            return Err(Fault::Broken(
                Error::config(format!("{} does not speak version 3 of SFTP", self.link.shown))
                    .hint("check `host` and `port`; the login may have no right to use SFTP"),
            ));
        }
        while let (Some(name), Some(_)) = (reader.text(), reader.text()) {
            match &name[..] {
                b"fsync@openssh.com" => self.can.sync = true,
                b"posix-rename@openssh.com" => self.can.replace = true,
                b"hardlink@openssh.com" => self.can.link = true,
                b"limits@openssh.com" => self.can.limits = true,
                _ => {}
            }
        }
        if self.can.limits {
            let request = self.extended("limits@openssh.com");
            if let Reply::Extended(limits) = self.ask(request).await? {
                let mut reader = Reader(limits);
                let [packet, read, write] = [reader.long(), reader.long(), reader.long()];
                // 0: no limit of its own but the packet's.
                let most = packet.filter(|it| *it > 0).map_or(LONGEST, |it| it.saturating_sub(1024).max(SAFE_LENGTH));
                let length = |limit: Option<u64>| limit.filter(|it| *it > 0).unwrap_or(LONGEST).min(most).min(LONGEST);
                self.read_length = length(read) as u32;
                self.write_length = length(write) as usize;
            }
        }
        Ok(())
    }

    /// Whether nothing more can be said over it.
    pub fn is_over(&self) -> bool {
        self.link.is_over()
    }

    /// The key that the server has shown.
    pub fn host_key(&self) -> &str {
        &self.link.host_key
    }

    /// The number for a new request, whose answer is waited for.
    pub fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.waiting.insert(self.next);
        self.next
    }

    pub fn extended(&mut self, name: &str) -> Request {
        let id = self.number();
        Request::on(kind::EXTENDED, id, name.as_bytes())
    }

    /// Sends a request, and waits for its answer. The number of the request is the one that was given out last.
    pub async fn ask(&mut self, request: Request) -> Result<Reply, Fault> {
        let id = self.next;
        self.send(request.finish()).await?;
        self.reply(id).await
    }

    /// The same, where success is a status.
    pub async fn tell(&mut self, request: Request) -> Result<(), Fault> {
        let reply = self.ask(request).await?;
        self.done(reply)
    }

    pub fn done(&self, reply: Reply) -> Result<(), Fault> {
        match reply {
            Reply::Status(Status { code: status::OK, .. }) => Ok(()),
            Reply::Status(status) => Err(Fault::Refused(status)),
            other => Err(self.unexpected(&other)),
        }
    }

    pub fn attributes(&self, reply: Reply) -> Result<Attributes, Fault> {
        match reply {
            Reply::Attributes(attributes) => Ok(attributes),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What an answer means that is not the one that was asked for.
    pub fn unexpected(&self, reply: &Reply) -> Fault {
        match reply {
            Reply::Status(status) if status.code != status::OK => Fault::Refused(status.clone()),
            _ => Fault::Broken(
                Error::unavailable(format!("{} answers something else than it was asked for", self.link.shown))
                    .hint("this does not fit SFTP; its operator may know more"),
            ),
        }
    }

    /// Sends a packet. Takes in what comes meanwhile: a server that cannot get rid of its answers takes nothing more.
    pub async fn send(&mut self, packet: Bytes) -> Result<(), Fault> {
        match self.send_and_keep(packet).await {
            Sent::All => Ok(()),
            Sent::Over => Err(Fault::Broken(self.link.ended())),
            Sent::TooLate => Err(self.too_late()),
            Sent::NoPacket(length) => Err(self.no_packet(length)),
        }
    }

    async fn send_and_keep(&mut self, packet: Bytes) -> Sent {
        let Self { link: Link { read, write, .. }, packets, waiting, replies, timeout, .. } = self;
        let mut sending = pin!(write.data_bytes(packet));
        loop {
            let step = async {
                tokio::select! {
                    biased;
                    sent = &mut sending => Err(sent),
                    message = read.wait() => Ok(message),
                }
            };
            match tokio::time::timeout(*timeout, step).await {
                Ok(Err(Ok(()))) => return Sent::All,
                Ok(Err(Err(_)) | Ok(None | Some(ChannelMsg::Eof | ChannelMsg::Close))) => return Sent::Over,
                Ok(Ok(Some(ChannelMsg::Data { data }))) => {
                    if let Err(length) = keep(packets, waiting, replies, &data) {
                        return Sent::NoPacket(length);
                    }
                }
                Ok(Ok(Some(_))) => {}
                Err(_) => return Sent::TooLate,
            }
        }
    }

    /// Waits for the answer to a request.
    pub async fn reply(&mut self, id: u32) -> Result<Reply, Fault> {
        loop {
            if let Some(reply) = self.replies.remove(&id) {
                return Ok(reply);
            }
            let chunk = self.receive().await?;
            let Self { packets, waiting, replies, .. } = self;
            keep(packets, waiting, replies, &chunk).map_err(|length| self.no_packet(length))?;
        }
    }

    /// The answer to a request, if it has come.
    pub fn replied(&mut self, id: u32) -> Option<Reply> {
        self.replies.remove(&id)
    }

    /// Has the answers to these requests thrown away.
    pub fn forget(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            self.waiting.remove(&id);
            self.replies.remove(&id);
        }
    }

    async fn receive(&mut self) -> Result<Bytes, Fault> {
        loop {
            match tokio::time::timeout(self.timeout, self.link.read.wait()).await {
                Ok(Some(ChannelMsg::Data { data })) => return Ok(data),
                Ok(None | Some(ChannelMsg::Eof | ChannelMsg::Close)) => return Err(Fault::Broken(self.link.ended())),
                Ok(Some(_)) => {}
                Err(_) => return Err(self.too_late()),
            }
        }
    }

    fn too_late(&self) -> Fault {
        Fault::Broken(
            Error::unavailable(format!("{} did not answer within {:?}", self.link.shown, self.timeout))
                .hint("the server or the way to it is slow; raise `timeout` if that is normal"),
        )
    }

    fn no_packet(&self, length: u32) -> Fault {
        // What a login's shell prints comes where packets should.
        let text = said(&String::from_utf8_lossy(&length.to_be_bytes()));
        Fault::Broken(
            Error::config(format!("{} sends something else than SFTP, beginning with {text:?}", self.link.shown))
                .hint("a login whose shell prints something cannot use SFTP; its operator can mend that"),
        )
    }
}

fn keep(
    packets: &mut Packets,
    waiting: &mut HashSet<u32>,
    replies: &mut HashMap<u32, Reply>,
    chunk: &[u8],
) -> Result<(), u32> {
    let mut wrong = None;
    packets.push(chunk, |packet| {
        let length = packet.len() as u32;
        match wire::reply(packet) {
            Some((id, reply)) if waiting.remove(&id) => {
                replies.insert(id, reply);
            }
            Some(_) => {}
            None => wrong = Some(length),
        }
    })?;
    wrong.map_or(Ok(()), Err)
}
