//! Files on their way, with several requests under way at a time: the time that an answer takes is waited for once,
//! and not for each piece.

use std::collections::VecDeque;

use bytes::Bytes;
use engine_sdk::prelude::Error;

use crate::fault::Fault;
use crate::sftp::Sftp;
use crate::wire::{Reply, Request, Status, Write, kind, status};

/// How many bytes are under way at a time, at most.
pub const UNDER_WAY: u64 = 4 << 20;

/// Handles are good on the connection alone that gave them.
fn same(sftp: &Sftp, number: u64) -> Result<(), Fault> {
    if sftp.number == number {
        return Ok(());
    }
    Err(Error::unavailable("the connection was lost in the middle of a file")
        .hint("the server or the way to it went down; its log may say why")
        .into())
}

/// A file that is being written, from its beginning.
pub struct Upload {
    connection: u64,
    handle: Bytes,
    open: Option<Write>,
    /// Where what is not yet sent begins.
    offset: u64,
    /// Requests that are not yet answered, with their lengths.
    sent: VecDeque<(u32, u64)>,
    under_way: u64,
}

impl Upload {
    pub fn new(sftp: &Sftp, handle: Bytes) -> Self {
        Self { connection: sftp.number, handle, open: None, offset: 0, sent: VecDeque::new(), under_way: 0 }
    }

    pub fn handle(&self) -> &Bytes {
        &self.handle
    }

    /// Takes data, and sends it as soon as it fills a request.
    pub async fn write(&mut self, sftp: &mut Sftp, mut data: &[u8]) -> Result<(), Fault> {
        same(sftp, self.connection)?;
        while !data.is_empty() {
            let mut write = match self.open.take() {
                Some(write) => write,
                None => Write::new(sftp.number(), &self.handle, self.offset, sftp.write_length),
            };
            data = write.fill(data);
            match write.is_full() {
                true => self.send(sftp, write).await?,
                false => self.open = Some(write),
            }
        }
        Ok(())
    }

    async fn send(&mut self, sftp: &mut Sftp, write: Write) -> Result<(), Fault> {
        let adding = write.len() as u64;
        // Answers that are here already say early what went wrong.
        while let Some((id, length)) = self.sent.front().copied() {
            let reply = match sftp.replied(id) {
                Some(reply) => reply,
                None if self.under_way + adding > UNDER_WAY => sftp.reply(id).await?,
                None => break,
            };
            self.sent.pop_front();
            self.under_way -= length;
            sftp.done(reply)?;
        }
        self.sent.push_back((write.id(), adding));
        self.under_way += adding;
        self.offset += adding;
        sftp.send(write.finish()).await
    }

    /// Sends the rest, and waits until the server has written everything. Answers with the length.
    pub async fn finish(&mut self, sftp: &mut Sftp) -> Result<u64, Fault> {
        same(sftp, self.connection)?;
        if let Some(write) = self.open.take() {
            self.send(sftp, write).await?;
        }
        while let Some((id, length)) = self.sent.pop_front() {
            self.under_way -= length;
            let reply = sftp.reply(id).await?;
            sftp.done(reply)?;
        }
        Ok(self.offset)
    }

    /// The requests whose answers are missing.
    pub fn unanswered(&mut self) -> impl Iterator<Item = u32> {
        self.sent.drain(..).map(|(id, _)| id)
    }
}

/// A file that is being read, up to a size.
pub struct Download {
    connection: u64,
    handle: Bytes,
    /// What has not been asked for.
    from: u64,
    to: u64,
    /// What has, in its order: request, offset and length.
    asked: VecDeque<(u32, u64, u32)>,
    under_way: u64,
}

impl Download {
    pub fn new(sftp: &Sftp, handle: Bytes, to: u64) -> Self {
        Self { connection: sftp.number, handle, from: 0, to, asked: VecDeque::new(), under_way: 0 }
    }

    pub fn handle(&self) -> &Bytes {
        &self.handle
    }

    /// Asks for as much as may be under way.
    pub async fn ask(&mut self, sftp: &mut Sftp) -> Result<(), Fault> {
        same(sftp, self.connection)?;
        while self.from < self.to && self.under_way < UNDER_WAY {
            let length = (self.to - self.from).min(u64::from(sftp.read_length)) as u32;
            let id = self.request(sftp, self.from, length).await?;
            self.asked.push_back((id, self.from, length));
            self.from += u64::from(length);
            self.under_way += u64::from(length);
        }
        Ok(())
    }

    async fn request(&self, sftp: &mut Sftp, offset: u64, length: u32) -> Result<u32, Fault> {
        let id = sftp.number();
        let request = Request::on(kind::READ, id, &self.handle).long(offset).number(length);
        sftp.send(request.finish()).await?;
        Ok(id)
    }

    /// The next piece; `None` behind the last one. A file that ends before its size is refused with `EOF`.
    pub async fn next(&mut self, sftp: &mut Sftp) -> Result<Option<Bytes>, Fault> {
        self.ask(sftp).await?;
        let Some((id, offset, length)) = self.asked.pop_front() else { return Ok(None) };
        self.under_way -= u64::from(length);
        let mut piece = self.piece(sftp, id).await?;
        if piece.len() < length as usize {
            // A server may give less than it was asked for.
            let mut whole = Vec::with_capacity(length as usize);
            whole.extend_from_slice(&piece);
            while whole.len() < length as usize {
                let missing = length - whole.len() as u32;
                let id = self.request(sftp, offset + whole.len() as u64, missing).await?;
                let more = self.piece(sftp, id).await?;
                whole.extend_from_slice(&more[..more.len().min(missing as usize)]);
            }
            piece = whole.into();
        }
        piece.truncate(length as usize);
        Ok(Some(piece))
    }

    async fn piece(&self, sftp: &mut Sftp, id: u32) -> Result<Bytes, Fault> {
        match sftp.reply(id).await? {
            Reply::Data(data) if !data.is_empty() => Ok(data),
            Reply::Data(_) => Err(Fault::Refused(Status { code: status::EOF, message: String::new() })),
            other => Err(sftp.unexpected(&other)),
        }
    }

    /// The requests whose answers are missing.
    pub fn unanswered(&mut self) -> impl Iterator<Item = u32> {
        self.asked.drain(..).map(|(id, ..)| id)
    }

    /// Whether it is this connection that it is read over.
    pub fn is_over(&self, sftp: &Sftp) -> bool {
        sftp.number != self.connection
    }
}
