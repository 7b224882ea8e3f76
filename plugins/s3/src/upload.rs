//! One file on its way up: parts are sent while the next one comes in.

use std::collections::VecDeque;

use bytes::Bytes;
use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::background::{Background, Pending};
use crate::checksum::Checksum;
use crate::ledger::Ledger;
use crate::store::{Headers, Part, Store};

/// The most parts that an upload may have.
const MOST_PARTS: usize = 10_000;
/// What a part is given room for at first: most files are small.
const FIRST_ROOM: usize = 256 << 10;

/// How files are sent.
pub struct Manner<'a> {
    pub store: &'a Store,
    pub background: &'a Background,
    pub cx: &'a Context,
    pub part_size: usize,
    /// How many parts are on their way at a time.
    pub concurrency: usize,
    pub checksum: Checksum,
}

/// A file of a delivery that is complete at the store and seen by nobody, as it is remembered between `write` and
/// `commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub key: String,
    /// The upload that holds it. None: it is empty, and needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// What the object says of the upload that made it.
    pub mark: String,
    pub bytes: u64,
    pub sha256: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What the object is made with.
    pub headers: Headers,
}

/// A file that is being sent.
pub struct Upload {
    pub name: String,
    key: String,
    /// What the object will be made with.
    headers: Headers,
    mark: String,
    upload: Option<String>,
    part: Vec<u8>,
    sent: VecDeque<Pending<Part>>,
    parts: Vec<Part>,
    hash: Sha256,
    bytes: u64,
}

impl Upload {
    /// Nothing is sent before the first part is full, or the file at its end.
    pub fn new(name: String, key: String, headers: Headers, mark: String) -> Self {
        Self {
            name,
            key,
            headers,
            mark,
            upload: None,
            part: Vec::new(),
            sent: VecDeque::new(),
            parts: Vec::new(),
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// Takes bytes. May wait until a part has arrived.
    pub fn write(&mut self, mut data: &[u8], manner: &Manner<'_>, begin: &mut Begin<'_>) -> Result<()> {
        self.hash.update(data);
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(manner.part_size - self.part.len()));
            self.make_room(now.len(), manner.part_size);
            self.part.extend_from_slice(now);
            data = later;
            if self.part.len() == manner.part_size {
                self.send(manner, begin)?;
            }
        }
        Ok(())
    }

    /// Twice as much each time, and never more than a part. Behind a first one, others are as large.
    fn make_room(&mut self, more: usize, part_size: usize) {
        let needed = self.part.len() + more;
        if needed > self.part.capacity() {
            let first = if self.upload.is_some() { part_size } else { FIRST_ROOM };
            let room = (self.part.capacity() * 2).max(first).clamp(needed, part_size);
            self.part.reserve_exact(room - self.part.len());
        }
    }

    fn send(&mut self, manner: &Manner<'_>, begin: &mut Begin<'_>) -> Result<()> {
        let number = self.parts.len() + self.sent.len() + 1;
        if number > MOST_PARTS {
            let shown = manner.store.shown(&self.key);
            return Err(Error::config(format!("{shown} has more than 10,000 parts of {} bytes", manner.part_size))
                .hint("raise `part_size`: an object may have 10,000 parts"));
        }
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.upload.insert(begin.upload(&self.key, &self.headers, manner)?).clone(),
        };
        if self.sent.len() == manner.concurrency {
            self.wait_for_one(manner)?;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.part));
        let (store, key, checksum) = (manner.store.clone(), self.key.clone(), manner.checksum);
        self.sent.push_back(
            manner.background.begin(async move { store.part(&key, &upload, number, bytes, checksum).await }),
        );
        Ok(())
    }

    fn wait_for_one(&mut self, manner: &Manner<'_>) -> Result<()> {
        if let Some(first) = self.sent.pop_front() {
            self.parts.push(first.wait(manner.cx)?);
        }
        Ok(())
    }

    /// Sends the rest, and waits until all of it has arrived.
    pub fn finish(mut self, manner: &Manner<'_>, begin: &mut Begin<'_>) -> Result<Made> {
        if !self.part.is_empty() {
            self.send(manner, begin)?;
        }
        while !self.sent.is_empty() {
            self.wait_for_one(manner)?;
        }
        let sha256 = hexadecimal::write(&self.hash.finalize());
        let Self { key, upload, mark, bytes, parts, headers, .. } = self;
        Ok(Made { key, upload, mark, bytes, sha256, parts, headers })
    }
}

/// How uploads are begun: each is noted before anything is sent to it.
pub struct Begin<'a> {
    pub ledger: &'a mut Ledger,
    /// The key of the delivery.
    pub delivery: &'a str,
}

impl Begin<'_> {
    fn upload(&mut self, key: &str, headers: &Headers, manner: &Manner<'_>) -> Result<String> {
        let (store, checksum) = (manner.store.clone(), manner.checksum);
        let (asked, with) = (key.to_owned(), headers.clone());
        let upload =
            manner.background.run(manner.cx, async move { store.begin_upload(&asked, &with, checksum).await })?;
        self.ledger.add(self.delivery, key, &upload)?;
        Ok(upload)
    }
}
