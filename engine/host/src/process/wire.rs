//! What the engine and a module's process say to each other: frames of a length,
//! a kind and a payload.
//!
//! The engine asks (`Call`), the process answers (`Answer`, `Failed`). A call that
//! opens a stream is answered with the stream's columns (`Schema`); each `Next`
//! then asks for one more batch. In between, the process asks for its own input
//! (`Need`) and for what `plugin.h` calls the host. Messages are those of
//! `plugin.h` as JSON; rows are pieces of [`engine_abi::ipc`].

use engine_abi::message::{Delivered, Delivery, OpenRequest, PlanRequest, SinkRun, Split};
use engine_abi::{ComponentKind, Error, ModuleIdentity, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest payload. Rows and files come in batches of a few MiB; this is
/// what a process may make the engine hold at most.
pub const MAX_PAYLOAD: usize = 1 << 30;

/// How many batches are asked for ahead of those that are worked on, in each
/// direction, so that both processes work at the same time.
pub const AHEAD: usize = 1;

/// A payload's length and the frame's kind.
pub const HEADER_BYTES: usize = 5;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// The kind of that number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// To the process: a [`Call`].
    Call = 1,
    /// To the process: the columns of the input of the call that follows.
    InputSchema = 2,
    /// To the process: one batch of the open stream is wanted.
    Next = 3,
    /// To the process: a batch of its input.
    Input = 4,
    /// To the process: its input is at its end.
    InputEnd = 5,
    /// To the process: its input has failed; an error.
    InputFailed = 6,
    /// To the process: what the host answered; a [`HostAnswer`].
    HostAnswer = 7,
    /// From the process: it runs, and is as restricted as it should be.
    Ready = 16,
    /// From the process: a call has worked; its answer.
    Answer = 17,
    /// From the process: a call has failed; an error.
    Failed = 18,
    /// From the process: a call has opened a stream; its columns.
    Schema = 19,
    /// From the process: a batch of the open stream.
    Batch = 20,
    /// From the process: the open stream is at its end.
    End = 21,
    /// From the process: the open stream has failed; an error.
    StreamFailed = 22,
    /// From the process: it wants the next batch of its input.
    Need = 23,
    /// From the process: it wants nothing more of its input.
    InputClosed = 24,
    /// From the process: [`Counts`] since the last ones.
    Counts = 25,
    /// From the process: a level and a text for the log.
    Log = 26,
    /// From the process, wants a [`HostAnswer`]: a [`Refused`] with its bytes or rows.
    Reject = 27,
    /// From the process, wants a [`HostAnswer`]: a part of a receipt.
    Receipt = 28,
    /// From the process, wants a [`HostAnswer`]: an [`Arrived`] with its bytes.
    Append = 29,
    /// From the process, wants a [`HostAnswer`]: waits for a place of the spool.
    Durable = 30,
    /// From the process, wants a [`HostAnswer`]: what the stage is to remember.
    Remember = 31,
}

/// One frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

/// What the engine asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    Load(LoadModule),
    Open(OpenComponent),
    Check,
    Scope,
    Plan(PlanRequest),
    Read(Split),
    Delivered(Delivered),
    Listen,
    Apply(i32),
    BeginRun(SinkRun),
    BeginSplit(Delivery),
    Write(Delivery),
    Commit(Delivery),
    Abort(Delivery),
    FinishRun(SinkRun),
    /// The open stream is not wanted any more.
    EndStream,
    Close,
}

impl Call {
    /// Its name in `plugin.h`, for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "describe",
            Self::Open(_) => "open",
            Self::Check => "check",
            Self::Scope => "scope",
            Self::Plan(_) => "plan",
            Self::Read(_) => "read",
            Self::Delivered(_) => "delivered",
            Self::Listen => "listen",
            Self::Apply(_) => "apply",
            Self::BeginRun(_) => "begin_run",
            Self::BeginSplit(_) => "begin_split",
            Self::Write(_) => "write",
            Self::Commit(_) => "commit",
            Self::Abort(_) => "abort",
            Self::FinishRun(_) => "finish_run",
            Self::EndStream => "the end of a stream",
            Self::Close => "close",
        }
    }
}

/// The module that the process was started with.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoadModule {
    /// For messages.
    pub path: String,
    /// What its manifest says.
    pub identity: ModuleIdentity,
    /// What the module may use beside what the process itself has.
    pub memory_bytes: u64,
}

/// `open` of one of its components.
#[derive(Debug, Serialize, Deserialize)]
pub struct OpenComponent {
    pub kind: ComponentKind,
    pub name: String,
    pub request: OpenRequest,
}

/// What a component counted since it was last told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    pub bytes: u64,
    pub filtered: u64,
}

impl Counts {
    pub fn write(self) -> [u8; 24] {
        words([self.records, self.bytes, self.filtered])
    }

    pub fn read(payload: &[u8]) -> Result<Self> {
        let [records, bytes, filtered] = read_words(payload)?;
        Ok(Self { records, bytes, filtered })
    }
}

/// How the host took what the call of that token gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAnswer {
    pub token: u64,
    pub status: i32,
    /// `append`: the place in the spool.
    pub sequence: u64,
}

impl HostAnswer {
    pub fn write(self) -> [u8; 24] {
        words([self.token, i64::from(self.status).cast_unsigned(), self.sequence])
    }

    pub fn read(payload: &[u8]) -> Result<Self> {
        let [token, status, sequence] = read_words(payload)?;
        Ok(Self { token, status: i32::try_from(status.cast_signed()).unwrap_or(i32::MAX), sequence })
    }
}

/// Numbers as they stand in a payload.
pub fn words<const COUNT: usize, const BYTES: usize>(numbers: [u64; COUNT]) -> [u8; BYTES] {
    const { assert!(COUNT * 8 == BYTES) };
    let mut bytes = [0; BYTES];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Numbers from a payload that holds nothing else.
pub fn read_words<const COUNT: usize>(payload: &[u8]) -> Result<[u64; COUNT]> {
    let (numbers, rest) = payload.as_chunks::<8>();
    let numbers: [_; COUNT] = numbers.try_into().map_err(|_| unreadable("the numbers of a frame"))?;
    if rest.is_empty() { Ok(numbers.map(u64::from_le_bytes)) } else { Err(unreadable("the numbers of a frame")) }
}

/// A rejection, without what was refused.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refused {
    pub code: String,
    pub reason: String,
    /// The file or peer of a decoder's record; none: rows follow.
    pub name: Option<String>,
}

/// What a push source received, without the bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Arrived {
    pub state: i32,
    pub connection: u64,
    pub records: u32,
    pub peer: String,
}

/// The beginning of a payload that has bytes behind a message: a token, and the
/// message with its length.
pub fn attach(token: u64, head: &impl Serialize) -> Result<Vec<u8>> {
    let head = json(head)?;
    let mut payload: Vec<u8> = words::<2, 16>([token, head.len() as u64]).into();
    payload.extend(head);
    Ok(payload)
}

/// Token, message and bytes of such a payload.
pub fn detach<T: DeserializeOwned>(payload: &[u8]) -> Result<(u64, T, &[u8])> {
    let wrong = || unreadable("a frame with bytes");
    let (numbers, rest) = payload.split_at_checked(16).ok_or_else(wrong)?;
    let [token, length] = read_words(numbers)?;
    let (head, data) = usize::try_from(length).ok().and_then(|it| rest.split_at_checked(it)).ok_or_else(wrong)?;
    Ok((token, read_json(head)?, data))
}

/// A message as JSON.
pub fn json(message: &impl Serialize) -> Result<Vec<u8>> {
    engine_abi::message::write(message).map(String::into_bytes)
}

/// A message from JSON.
pub fn read_json<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|error| unreadable(&format!("a message ({error})")))
}

/// The other side does not keep to this page.
pub fn unreadable(what: &str) -> Error {
    Error::internal(format!("{what} between the engine and a module's process cannot be read"))
        .hint("the module may have overwritten memory that is not its own; report it to its author")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_attachments_come_back() {
        let counts = Counts { records: 1, bytes: u64::MAX, filtered: 3 };
        assert_eq!(Counts::read(&counts.write()), Ok(counts));
        let answer = HostAnswer { token: 7, status: -3, sequence: 9 };
        assert_eq!(HostAnswer::read(&answer.write()), Ok(answer));

        let mut payload = attach(5, &"head").unwrap();
        payload.extend(b"data");
        assert_eq!(detach::<String>(&payload), Ok((5, "head".into(), b"data".as_slice())));
    }

    #[test]
    fn what_was_cut_or_made_up_is_an_error() {
        let payload = attach(5, &"head").unwrap();
        for length in 0..payload.len() {
            assert!(detach::<String>(&payload[..length]).is_err(), "{length}");
        }
        let mut too_long = payload;
        too_long[8..16].fill(0xff);
        assert!(detach::<String>(&too_long).is_err());
        assert!(Counts::read(&[0; 25]).is_err());
        assert!(HostAnswer::read(&[0; 23]).is_err());
        assert_eq!(Kind::from_number(0), None);
    }
}
