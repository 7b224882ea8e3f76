//! A state in the memory of the process, and what can be wrong with one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration as Time, Instant};

use engine_sdk::Documents;
use engine_sdk::message::{AcquireRequest, Acquired, ReleaseRequest, StateChange, StoreRequest};
use engine_sdk::prelude::*;

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Gives a state away that another engine holds.
pub const GIVES_AWAY: u8 = 1;
/// Holds a state for ever.
pub const HOLDS_ON: u8 = 2;
/// Takes changes in any order.
pub const ANY_ORDER: u8 = 3;
/// Makes half of a change before it looks at its order.
pub const BY_HALVES: u8 = 4;
/// Keeps what should be gone.
pub const KEEPS: u8 = 5;

/// Which state.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name.
    name: String,
}

#[derive(Default)]
struct Stored {
    documents: BTreeMap<(String, String), Value>,
    sequence: u64,
    layout: u64,
    last: Option<String>,
    holder: Option<Holder>,
}

struct Holder {
    id: String,
    shown: String,
    lease: Time,
    seen: Instant,
}

/// All states of the process, by what is wrong with them and by name.
type All = BTreeMap<(u8, String), Arc<Mutex<Stored>>>;

/// Keeps documents; `FAULT` says what is wrong with it.
pub struct Memory<const FAULT: u8>(Arc<Mutex<Stored>>);

impl<const FAULT: u8> Component for Memory<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Keeps a state in memory";

    fn examples() -> Vec<Example> {
        vec![example("one of its own", json!({"name": "mine"}))]
    }

    fn open(config: Config, _: Context) -> Result<Self> {
        static ALL: Mutex<All> = Mutex::new(BTreeMap::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self(Arc::clone(all.entry((FAULT, config.name)).or_default())))
    }
}

impl<const FAULT: u8> StateStore for Memory<FAULT> {
    fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired> {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = &stored.holder {
            let is_mine = holder.id == request.holder || Some(&holder.id) == request.former.as_ref();
            let is_over = FAULT != HOLDS_ON && holder.seen.elapsed() > holder.lease;
            if !is_mine && !is_over && FAULT != GIVES_AWAY {
                return Err(Error::unavailable(format!("{} holds the state", holder.shown)));
            }
        }
        let (id, shown) = (request.holder.clone(), request.shown.clone());
        let lease = Time::from_millis(request.lease_ms);
        stored.holder = Some(Holder { id, shown, lease, seen: Instant::now() });
        Ok(Acquired {
            sequence: stored.sequence,
            layout: stored.layout,
            last: stored.last.clone(),
            ..Acquired::default()
        })
    }

    fn load(&mut self) -> Result<Documents> {
        let stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let document = |((collection, key), document): (&(String, String), &Value)| StateChange {
            collection: collection.clone(),
            key: key.clone(),
            document: Some(document.clone()),
        };
        let documents: Vec<_> = stored.documents.iter().map(document).collect();
        Ok(Box::new(std::iter::once(Ok(documents))))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = stored.holder.as_ref().is_some_and(|holder| holder.id == request.holder);
        let fits = (stored.sequence == request.after || FAULT == ANY_ORDER) && is_held;
        let made = if fits { request.changes.len() } else { request.changes.len() / 2 };
        for change in request.changes.iter().take(if fits || FAULT == BY_HALVES { made } else { 0 }) {
            let key = (change.collection.clone(), change.key.clone());
            match &change.document {
                Some(document) => drop(stored.documents.insert(key, document.clone())),
                None if FAULT == KEEPS => {}
                None => drop(stored.documents.remove(&key)),
            }
        }
        if !fits {
            return Err(Error::denied("another engine has the state, or has changed it"));
        }
        if let Some(holder) = &mut stored.holder {
            holder.seen = Instant::now();
        }
        if request.sequence != request.after {
            (stored.sequence, stored.layout, stored.last) =
                (request.sequence, request.layout, Some(request.id.clone()));
        }
        Ok(())
    }

    fn release(&mut self, request: &ReleaseRequest) -> Result<()> {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.holder.as_ref().is_some_and(|holder| holder.id == request.holder) {
            stored.holder = None;
        }
        Ok(())
    }
}
