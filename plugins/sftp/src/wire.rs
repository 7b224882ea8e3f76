//! SFTP version 3, packet by packet: how requests are written and answers are read. Nothing here waits.
//!
//! Version 3 is what OpenSSH and nearly every other server speaks; what later versions added comes as extensions
//! with names of their own.

use bytes::{BufMut, Bytes, BytesMut};

/// The version that is asked for.
pub const VERSION: u32 = 3;
/// The longest packet that is taken from a server. OpenSSH sends 256 KiB at most.
const LONGEST_PACKET: usize = 1 << 20;

/// What a packet asks for or answers.
pub mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED: u8 = 200;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// How a file is opened.
pub mod open {
    pub const READ: u32 = 0x01;
    pub const WRITE: u32 = 0x02;
    pub const CREATE: u32 = 0x08;
    pub const EXCLUSIVE: u32 = 0x20;
}

/// The status numbers that mean something here; those from 10 on are of later versions, and some servers send them
/// all the same.
pub mod status {
    pub const OK: u32 = 0;
    pub const EOF: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const BAD_MESSAGE: u32 = 5;
    pub const NO_CONNECTION: u32 = 6;
    pub const CONNECTION_LOST: u32 = 7;
    pub const UNSUPPORTED: u32 = 8;
    pub const NO_SUCH_PATH: u32 = 10;
    pub const ALREADY_EXISTS: u32 = 11;
    pub const WRITE_PROTECT: u32 = 12;
    pub const NO_SPACE: u32 = 14;
    pub const QUOTA_EXCEEDED: u32 = 15;
}

/// A request that is being written.
pub struct Request(BytesMut);

impl Request {
    /// A request of a kind, with room for `room` more bytes.
    pub fn new(kind: u8, id: u32, room: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(room + 9);
        bytes.put_u32(0);
        bytes.put_u8(kind);
        bytes.put_u32(id);
        Self(bytes)
    }

    /// The first packet, which has no number.
    pub fn hello() -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u32(5);
        bytes.put_u8(kind::INIT);
        bytes.put_u32(VERSION);
        bytes.freeze()
    }

    /// A request on a path or handle alone.
    pub fn on(kind: u8, id: u32, what: &[u8]) -> Self {
        Self::new(kind, id, what.len() + 64).text(what)
    }

    pub fn text(mut self, text: &[u8]) -> Self {
        self.0.put_u32(text.len() as u32);
        self.0.put_slice(text);
        self
    }

    pub fn number(mut self, number: u32) -> Self {
        self.0.put_u32(number);
        self
    }

    pub fn long(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    /// Attributes that say the permissions alone.
    pub fn permissions(self, permissions: u32) -> Self {
        self.number(attributes::PERMISSIONS).number(permissions)
    }

    pub fn finish(self) -> Bytes {
        finish(self.0)
    }
}

fn finish(mut bytes: BytesMut) -> Bytes {
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.freeze()
}

/// A write that is filled with data until it is as long as the server takes, so that data is copied once.
pub struct Write {
    id: u32,
    bytes: BytesMut,
    /// Where the data begins.
    data: usize,
    longest: usize,
}

impl Write {
    pub fn new(id: u32, handle: &[u8], offset: u64, longest: usize) -> Self {
        let Request(mut bytes) =
            Request::new(kind::WRITE, id, handle.len() + 16 + longest).text(handle).long(offset).number(0);
        let data = bytes.len();
        bytes.reserve(longest);
        Self { id, bytes, data, longest }
    }

    /// The number of the request.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Takes what fits; gives back the rest.
    pub fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = data.split_at(data.len().min(self.longest - self.len()));
        self.bytes.put_slice(taken);
        rest
    }

    /// How much data it holds.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.data
    }

    pub fn is_full(&self) -> bool {
        self.len() == self.longest
    }

    pub fn finish(mut self) -> Bytes {
        let length = self.len() as u32;
        self.bytes[self.data - 4..self.data].copy_from_slice(&length.to_be_bytes());
        finish(self.bytes)
    }
}

/// What a server tells of a file. Each can be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub size: Option<u64>,
    permissions: Option<u32>,
    /// Seconds since 1970.
    pub modified: Option<u32>,
}

mod attributes {
    pub const SIZE: u32 = 0x01;
    pub const OWNER: u32 = 0x02;
    pub const PERMISSIONS: u32 = 0x04;
    pub const TIMES: u32 = 0x08;
    pub const EXTENDED: u32 = 0x8000_0000;
}

impl Attributes {
    const KINDS: u32 = 0o170_000;

    fn is_kind(&self, kind: u32) -> bool {
        self.permissions.is_some_and(|it| it & Self::KINDS == kind)
    }

    pub fn is_folder(&self) -> bool {
        self.is_kind(0o040_000)
    }

    /// A link, or something of which the server does not say what it is: to be looked at again.
    pub fn is_unclear(&self) -> bool {
        self.is_kind(0o120_000) || self.permissions.is_none_or(|it| it & Self::KINDS == 0)
    }

    pub fn is_file(&self) -> bool {
        self.is_kind(0o100_000) || (self.permissions.is_none_or(|it| it & Self::KINDS == 0) && self.size.is_some())
    }
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Bytes,
    pub attributes: Attributes,
}

/// What a server says of a request that it did not answer otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub code: u32,
    pub message: String,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(Status),
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<Entry>),
    Attributes(Attributes),
    Extended(Bytes),
}

/// Reads the parts of a packet. `None`: there is less than there must be.
pub struct Reader(pub Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.0.len() >= length).then(|| self.0.split_to(length))
    }

    pub fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?[..].try_into().ok()?))
    }

    pub fn long(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?[..].try_into().ok()?))
    }

    pub fn text(&mut self) -> Option<Bytes> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let flags = self.number()?;
        let has = |flag| flags & flag != 0;
        let mut found = Attributes::default();
        if has(attributes::SIZE) {
            found.size = Some(self.long()?);
        }
        if has(attributes::OWNER) {
            self.long()?;
        }
        if has(attributes::PERMISSIONS) {
            found.permissions = Some(self.number()?);
        }
        if has(attributes::TIMES) {
            self.number()?;
            found.modified = Some(self.number()?);
        }
        if has(attributes::EXTENDED) {
            for _ in 0..self.number()? {
                self.text()?;
                self.text()?;
            }
        }
        Some(found)
    }

    fn names(&mut self) -> Option<Vec<Entry>> {
        let count = self.number()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let name = self.text()?;
            self.text()?;
            entries.push(Entry { name, attributes: self.attributes()? });
        }
        Some(entries)
    }
}

/// The number of a request, and what is answered to it. `None`: that is no answer.
pub fn reply(packet: Bytes) -> Option<(u32, Reply)> {
    let mut reader = Reader(packet);
    let kind = reader.byte()?;
    let id = reader.number()?;
    let reply = match kind {
        kind::STATUS => {
            let code = reader.number()?;
            let message = reader.text().map(|text| String::from_utf8_lossy(&text).into_owned());
            Reply::Status(Status { code, message: message.unwrap_or_default() })
        }
        kind::HANDLE => Reply::Handle(reader.text()?),
        kind::DATA => Reply::Data(reader.text()?),
        kind::NAME => Reply::Names(reader.names()?),
        kind::ATTRS => Reply::Attributes(reader.attributes()?),
        kind::EXTENDED_REPLY => Reply::Extended(reader.0),
        _ => return None,
    };
    Some((id, reply))
}

/// Packets out of a stream that is cut anywhere.
#[derive(Default)]
pub struct Packets {
    head: Vec<u8>,
    body: BytesMut,
    length: usize,
}

impl Packets {
    /// Takes the next bytes, and gives each packet that is whole, without its length.
    ///
    /// # Errors
    /// The length of a packet that is none.
    pub fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(Bytes)) -> Result<(), u32> {
        while !chunk.is_empty() {
            if self.head.len() < 4 {
                let (head, rest) = chunk.split_at(chunk.len().min(4 - self.head.len()));
                self.head.extend_from_slice(head);
                chunk = rest;
                let Ok(head) = <[u8; 4]>::try_from(self.head.as_slice()) else { return Ok(()) };
                let length = u32::from_be_bytes(head);
                self.length = length as usize;
                if self.length == 0 || self.length > LONGEST_PACKET {
                    return Err(length);
                }
                self.body = BytesMut::with_capacity(self.length);
            }
            let (body, rest) = chunk.split_at(chunk.len().min(self.length - self.body.len()));
            self.body.extend_from_slice(body);
            chunk = rest;
            if self.body.len() == self.length {
                self.head.clear();
                each(std::mem::take(&mut self.body).freeze());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(stream: &[u8], every: usize) -> Vec<Bytes> {
        let (mut packets, mut found) = (Packets::default(), Vec::new());
        for chunk in stream.chunks(every) {
            packets.push(chunk, |packet| found.push(packet)).unwrap();
        }
        found
    }

    #[test]
    fn packets_are_found_wherever_the_stream_is_cut() {
        let mut stream = Request::on(kind::STAT, 7, b"a/b").finish().to_vec();
        stream.extend_from_slice(&Request::hello());
        let whole = packets(&stream, stream.len());
        assert_eq!(whole.len(), 2);
        assert_eq!(&whole[0][..], b"\x11\0\0\0\x07\0\0\0\x03a/b");
        assert_eq!(&whole[1][..], b"\x01\0\0\0\x03");
        for every in 1..stream.len() {
            assert_eq!(packets(&stream, every), whole, "{every}");
        }
        for length in [0, 0x4865_6c6c_u32] {
            assert_eq!(Packets::default().push(&length.to_be_bytes(), |_| ()), Err(length));
        }
    }

    #[test]
    fn a_write_is_filled_up_to_what_the_server_takes() {
        let mut write = Write::new(9, b"h", 5, 4);
        assert_eq!(write.fill(b"ab"), b"");
        assert!(!write.is_full());
        assert_eq!(write.fill(b"cdef"), b"ef");
        assert!(write.is_full());
        let mut reader = Reader(write.finish());
        assert_eq!(reader.number(), Some(26));
        assert_eq!((reader.byte(), reader.number()), (Some(kind::WRITE), Some(9)));
        assert_eq!((reader.text().as_deref(), reader.long()), (Some(&b"h"[..]), Some(5)));
        assert_eq!(reader.text().as_deref(), Some(&b"abcd"[..]));
    }

    #[test]
    fn answers_are_read_and_what_is_cut_off_is_none() {
        let mut bytes = BytesMut::new();
        bytes.put_u8(kind::NAME);
        bytes.put_u32(3);
        bytes.put_u32(1);
        for text in [&b"a.csv"[..], b"-rw-r--r-- a.csv"] {
            bytes.put_u32(text.len() as u32);
            bytes.put_slice(text);
        }
        bytes.put_u32(0x8000_000f);
        bytes.put_u64(12);
        bytes.put_u64(0);
        bytes.put_u32(0o100_644);
        bytes.put_u32(1);
        bytes.put_u32(2);
        bytes.put_u32(1);
        bytes.put_u32(1);
        bytes.put_slice(b"x");
        bytes.put_u32(0);
        let packet = bytes.freeze();
        let Some((3, Reply::Names(names))) = reply(packet.clone()) else { panic!("no names") };
        let file = names[0].attributes;
        assert_eq!((file.size, file.modified, file.is_file(), file.is_folder()), (Some(12), Some(2), true, false));
        for length in 0..packet.len() {
            assert_eq!(reply(packet.slice(..length)), None, "{length}");
        }
        // Some servers send a status without its text.
        let status = reply(Bytes::from_static(&[kind::STATUS, 0, 0, 0, 1, 0, 0, 0, 4])).unwrap();
        assert_eq!(status, (1, Reply::Status(Status { code: 4, message: String::new() })));
    }
}
