//! Which requests of a delivery were taken: they are not sent again.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use engine_sdk::hexadecimal;
use engine_sdk::prelude::{Context, Error, Result, Value, json};
use sha2::{Digest, Sha256};

use crate::sender::halves;

/// How long answers wait to be kept together. A crash repeats the requests of this time.
const EVERY: Duration = Duration::from_millis(100);
/// The most requests of one delivery that are told apart. Those beyond are sent again when it is repeated.
const MOST: usize = 1_000_000;

/// What a request is known by: its content, and how many like it came before in the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// For a header.
    pub fn text(self) -> String {
        hexadecimal::write(&self.0)
    }

    /// That of a part of the request, or its own where the part is all of its `count` records.
    pub fn part(self, from: usize, to: usize, count: usize) -> Self {
        if to - from == count {
            return self;
        }
        Self::of(&[&self.0, &from.to_be_bytes(), &to.to_be_bytes()])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        Self(id)
    }
}

/// The requests of one delivery.
pub struct Ledger {
    key: String,
    /// How often a content came; by a part of its hash, since a mistake only makes another id.
    seen: HashMap<u64, u32>,
    /// Those that an earlier attempt has sent.
    answered: std::collections::HashSet<Id>,
    /// Those that are to be kept.
    fresh: Vec<Id>,
    /// The numbers that answers have told, those of earlier attempts too.
    pub figures: BTreeMap<String, i64>,
    /// What of them is to be kept.
    fresh_figures: BTreeMap<String, i64>,
    kept: Instant,
    noted: usize,
    /// Requests so far.
    count: u64,
}

impl Ledger {
    /// That of a delivery with this key; `answered` is what earlier attempts have kept.
    pub fn new(key: &str, answered: &[Value]) -> Result<Self> {
        let mut found = std::collections::HashSet::new();
        let mut figures = BTreeMap::new();
        for part in answered {
            for (name, number) in part.get("figures").and_then(Value::as_object).into_iter().flatten() {
                add(&mut figures, name, number.as_i64().unwrap_or_default());
            }
            let text = part.get("requests").and_then(Value::as_str).unwrap_or_default();
            found.extend(ids(text).ok_or_else(|| {
                Error::internal("what was kept of an earlier attempt cannot be read")
                    .hint("another version of the module kept it: go on with that one")
            })?);
        }
        let noted = found.len();
        Ok(Self {
            key: key.to_owned(),
            seen: HashMap::new(),
            answered: found,
            fresh: vec![],
            figures,
            fresh_figures: BTreeMap::new(),
            kept: Instant::now(),
            noted,
            count: 0,
        })
    }

    /// The id of the delivery's next request.
    pub fn id(&mut self, content: &[u8]) -> Id {
        let content = Id::of(&[self.key.as_bytes(), content]);
        let mut short = [0; 8];
        short.copy_from_slice(&content.0[..8]);
        let short = u64::from_be_bytes(short);
        self.count += 1;
        if self.seen.len() >= MOST && !self.seen.contains_key(&short) {
            return Id::of(&[&content.0, b"at", &self.count.to_be_bytes()]);
        }
        let before = self.seen.entry(short).or_default();
        *before += 1;
        if *before == 1 { content } else { Id::of(&[&content.0, &before.to_be_bytes()]) }
    }

    /// Which of a request's records no earlier attempt has sent, in the parts in which they are to be sent: as
    /// a whole only where none of its parts was taken.
    pub fn missing(&mut self, id: Id, count: usize) -> Vec<(usize, usize)> {
        let mut missing = Vec::new();
        if !self.answered.is_empty() {
            self.look(id, (0, count), count, &mut missing);
            return missing;
        }
        missing.push((0, count));
        missing
    }

    /// Whether something of a part was taken; what was not goes to `missing`.
    fn look(&mut self, id: Id, (from, to): (usize, usize), count: usize, missing: &mut Vec<(usize, usize)>) -> bool {
        if self.answered.remove(&id.part(from, to, count)) {
            return true;
        }
        if to - from > 1 {
            let (first, second) = halves(from, to);
            let before = missing.len();
            let some = self.look(id, first, count, missing) | self.look(id, second, count, missing);
            if some {
                return true;
            }
            missing.truncate(before);
        }
        missing.push((from, to));
        false
    }

    /// Notes a request that was taken, with the numbers that its answer told.
    pub fn taken(&mut self, id: Id, figures: &BTreeMap<String, i64>, cx: &Context) -> Result<()> {
        for (name, number) in figures {
            add(&mut self.figures, name, *number);
            add(&mut self.fresh_figures, name, *number);
        }
        if self.noted < MOST {
            self.noted += 1;
            self.fresh.push(id);
        }
        if self.kept.elapsed() >= EVERY { self.keep(cx) } else { Ok(()) }
    }

    /// Keeps what was noted.
    pub fn keep(&mut self, cx: &Context) -> Result<()> {
        self.kept = Instant::now();
        if self.fresh.is_empty() {
            return Ok(());
        }
        let text: String = self.fresh.drain(..).map(Id::text).collect();
        let mut part = json!({"requests": text});
        let figures = std::mem::take(&mut self.fresh_figures);
        if !figures.is_empty() {
            part["figures"] = json!(figures);
        }
        cx.receipt(&part)
    }
}

fn add(sums: &mut BTreeMap<String, i64>, name: &str, number: i64) {
    let sum = sums.entry(name.to_owned()).or_default();
    *sum = sum.saturating_add(number);
}

/// Ids, one behind the other.
fn ids(text: &str) -> Option<Vec<Id>> {
    let bytes = hexadecimal::read(text)?;
    let (whole, rest) = bytes.as_chunks();
    rest.is_empty().then(|| whole.iter().map(|id| Id(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_content_and_by_how_many_came_before() {
        let mut first = Ledger::new("key", &[]).unwrap();
        let made = [first.id(b"a"), first.id(b"b"), first.id(b"a"), first.id(b"a")];
        let different: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(different.len(), 4);
        let mut again = Ledger::new("key", &[]).unwrap();
        assert_eq!(made, [again.id(b"a"), again.id(b"b"), again.id(b"a"), again.id(b"a")]);
        assert_ne!(made[0], Ledger::new("other", &[]).unwrap().id(b"a"));
        assert_ne!(made[0].part(0, 1, 2), made[0].part(1, 2, 2));
        assert_eq!(made[0].part(0, 2, 2), made[0]);
    }

    #[test]
    fn a_request_is_sent_whole_only_where_none_of_its_parts_was_taken() {
        let id = Ledger::new("key", &[]).unwrap().id(b"a");
        let missing = |taken: &[(usize, usize)]| {
            let text: String = taken.iter().map(|(from, to)| id.part(*from, *to, 8).text()).collect();
            Ledger::new("key", &[json!({"requests": text})]).unwrap().missing(id, 8)
        };
        assert_eq!(missing(&[]), [(0, 8)]);
        assert_eq!(missing(&[(0, 8)]), []);
        assert_eq!(missing(&[(0, 4)]), [(4, 8)]);
        assert_eq!(missing(&[(2, 3)]), [(0, 2), (3, 4), (4, 8)]);
        assert_eq!(missing(&[(0, 4), (4, 8)]), []);
    }

    #[test]
    fn what_was_kept_is_not_sent_again_and_nothing_else_is_left_out() {
        let mut first = Ledger::new("key", &[]).unwrap();
        let (_, second) = (first.id(b"a"), first.id(b"a"));
        let kept = json!({"requests": second.text()});
        let mut again = Ledger::new("key", &[kept]).unwrap();
        let ids = [again.id(b"a"), again.id(b"a"), again.id(b"a")];
        assert_eq!(ids.map(|id| again.missing(id, 1).is_empty()), [false, true, false]);
        assert!(Ledger::new("key", &[json!({"requests": "abc"})]).is_err());
    }
}
