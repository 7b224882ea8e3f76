//! Who has got which message of a delivery: it is not sent to them again.

use std::collections::{HashMap, HashSet};

use engine_sdk::hexadecimal;
use engine_sdk::prelude::{Context, Error, Result, Value, json};
use sha2::{Digest, Sha256};

/// What a message to one receiver is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// That of a text.
    pub fn of(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        Self(id)
    }

    /// For a header.
    pub fn text(self) -> String {
        hexadecimal::write(&self.0)
    }
}

/// The messages of one delivery.
#[derive(Debug)]
pub struct Ledger {
    key: String,
    sent: HashSet<String>,
    /// How often a content came.
    seen: HashMap<Id, u32>,
}

impl Ledger {
    /// That of a delivery with this key; `answered` is what earlier attempts have kept.
    pub fn new(key: &str, answered: &[Value]) -> Result<Self> {
        let mut sent = HashSet::new();
        for part in answered {
            let ids = part.get("sent").and_then(Value::as_array).ok_or_else(|| {
                Error::internal("what was kept of an earlier attempt cannot be read")
                    .hint("another version of the module kept it: go on with that one")
            })?;
            sent.extend(ids.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        Ok(Self { key: key.to_owned(), sent, seen: HashMap::new() })
    }

    /// The id of the delivery's next message, the same whenever it is made again: by what is in it, and how many
    /// like it came before.
    pub fn message(&mut self, content: &[String]) -> Id {
        let parts: Vec<_> = std::iter::once(self.key.as_str()).chain(content.iter().map(String::as_str)).collect();
        let id = Id::of(&parts);
        let before = self.seen.entry(id).or_default();
        *before += 1;
        if *before == 1 { id } else { Id::of(&[&id.text(), &before.to_string()]) }
    }

    /// Whether a receiver has got a message.
    pub fn has(&self, message: Id, receiver: &str) -> bool {
        self.sent.contains(&of(message, receiver))
    }

    /// Keeps that these receivers have got a message.
    pub fn keep<'a>(&self, message: Id, receivers: impl Iterator<Item = &'a str>, cx: &Context) -> Result<()> {
        let sent: Vec<_> = receivers.map(|receiver| of(message, receiver)).collect();
        if sent.is_empty() { Ok(()) } else { cx.receipt(&json!({"sent": sent})) }
    }
}

fn of(message: Id, receiver: &str) -> String {
    Id::of(&[&message.text(), &receiver.to_lowercase()]).text()
}
