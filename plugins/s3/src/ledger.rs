//! Which uploads are open, so that a later attempt, also after a crash, throws them away.
//!
//! They are remembered for the stage, and not kept as parts of the delivery's receipt: a delivery with such parts
//! counts as one of which something has arrived, and its window could never be given up. Nobody sees what an open
//! upload holds, and it can be taken back at any time.

use std::time::{Duration, SystemTime};

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;

use crate::checksum::sha256_of;

/// How much is remembered, in bytes: less than a stage may. What is beyond is found again by its age.
const MOST_BYTES: usize = 48 << 10;
/// After this, an upload belongs to a run that is gone.
pub const STALE: Duration = Duration::from_secs(24 * 3600);

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Of which delivery.
    delivery: String,
    pub key: String,
    pub upload: String,
    /// When, in seconds since 1970.
    begun: u64,
}

/// The open uploads of a stage.
pub struct Ledger {
    noted: Vec<Noted>,
    cx: Context,
}

impl Ledger {
    /// What an earlier instance has left.
    pub fn new(cx: Context) -> Self {
        // Another version's notes are as good as none: their uploads are found by their age.
        let noted = cx.remembered().get("uploads").map(Vec::deserialize);
        Self { noted: noted.and_then(std::result::Result::ok).unwrap_or_default(), cx }
    }

    /// Notes an upload before anything is sent to it.
    pub fn add(&mut self, delivery: &str, key: &str, upload: &str) -> Result<()> {
        let (key, upload) = (key.to_owned(), upload.to_owned());
        self.noted.push(Noted { delivery: mark(delivery), key, upload, begun: now() });
        self.keep()
    }

    /// Forgets uploads that are completed or thrown away.
    pub fn remove<'a>(&mut self, uploads: impl Iterator<Item = &'a str>) -> Result<()> {
        let before = self.noted.len();
        let uploads: Vec<_> = uploads.collect();
        self.noted.retain(|noted| !uploads.contains(&noted.upload.as_str()));
        if self.noted.len() == before { Ok(()) } else { self.keep() }
    }

    /// Those of a delivery.
    pub fn of(&self, delivery: &str) -> Vec<Noted> {
        let mark = mark(delivery);
        self.noted.iter().filter(|noted| noted.delivery == mark).cloned().collect()
    }

    /// Those of runs that are gone.
    pub fn stale(&self) -> Vec<Noted> {
        let before = now().saturating_sub(STALE.as_secs());
        self.noted.iter().filter(|noted| noted.begun < before).cloned().collect()
    }

    fn keep(&mut self) -> Result<()> {
        let size = |noted: &Noted| noted.key.len() + noted.upload.len() + 128;
        let mut bytes: usize = self.noted.iter().map(size).sum();
        let mut beyond = 0;
        while bytes > MOST_BYTES {
            bytes -= size(&self.noted[beyond]);
            beyond += 1;
        }
        // The newest are those of the delivery at hand.
        let newest = &self.noted[beyond..];
        let value = if newest.is_empty() { Value::Null } else { json!({"uploads": newest}) };
        if self.cx.remembers() { self.cx.remember(&value) } else { Ok(()) }
    }
}

/// A short name for a delivery's key.
fn mark(key: &str) -> String {
    hexadecimal::write(&sha256_of(key.as_bytes())[..8])
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
