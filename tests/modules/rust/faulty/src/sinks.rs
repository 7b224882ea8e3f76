//! A sink that puts rows on a shelf in memory, and what can be wrong with one.
//! The shelves outlive the instances, as a server outlives its clients.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use engine_sdk::prelude::*;

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Makes rows visible in `write`.
pub const SHOWS_EARLY: u8 = 1;
/// Forgets which deliveries it has, and adds them again.
pub const DOUBLES: u8 = 2;
/// Commits in `abort`.
pub const KEEPS_ABORTED: u8 = 3;
/// Adds to what an interrupted write has left.
pub const ADDS_TO_PIECES: u8 = 4;
/// Calls sealed what only its own memory held.
pub const TRUSTS_MEMORY: u8 = 5;
/// Every delivery takes the place of the ones before.
pub const OVERWRITES: u8 = 6;
/// Fails when a run begins twice.
pub const BEGINS_ONCE: u8 = 7;
/// Does not say where the rows are.
pub const NO_PLACE: u8 = 8;
/// Loses rows without a text.
pub const LOSES_ROWS: u8 = 9;
/// Throws away what other instances have made ready, and says that they may work beside it.
pub const ALONE: u8 = 10;

/// Where the rows go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the shelf.
    shelf: String,
}

/// What the other side keeps.
#[derive(Default)]
struct Kept {
    committed: Vec<(String, Vec<RecordBatch>)>,
    staged: BTreeMap<String, Staged>,
}

#[derive(Default, Clone)]
struct Staged {
    batches: Vec<RecordBatch>,
    complete: bool,
}

static SHELVES: Mutex<BTreeMap<String, Kept>> = Mutex::new(BTreeMap::new());

fn shelves() -> MutexGuard<'static, BTreeMap<String, Kept>> {
    SHELVES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn examples() -> Vec<Example> {
    vec![example("a shelf", json!({"shelf": "a"}))]
}

/// Puts rows on a shelf; `FAULT` says what is wrong with it.
pub struct Shelf<const FAULT: u8> {
    config: Config,
    cx: Context,
    memory: Staged,
    begun: bool,
}

impl<const FAULT: u8> Component for Shelf<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Puts rows on a shelf";

    fn examples() -> Vec<Example> {
        examples()
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self { config, cx, memory: Staged::default(), begun: false })
    }
}

impl<const FAULT: u8> Shelf<FAULT> {
    fn on_shelf<R>(&self, work: impl FnOnce(&mut Kept) -> R) -> R {
        work(shelves().entry(self.config.shelf.clone()).or_default())
    }

    fn publish(kept: &mut Kept, key: &str, batches: Vec<RecordBatch>) {
        if FAULT == OVERWRITES {
            kept.committed.clear();
        }
        if FAULT != DOUBLES {
            kept.committed.retain(|(other, _)| other != key);
        }
        kept.committed.push((key.to_owned(), batches));
    }
}

impl<const FAULT: u8> Sink for Shelf<FAULT> {
    const PROMISE: Promise = if FAULT == DOUBLES { Promise::Idempotent } else { Promise::EffectivelyOnce };

    fn begin_run(&mut self, _: &SinkRun) -> Result<()> {
        if FAULT == BEGINS_ONCE && self.begun {
            return Err(Error::internal("the run has begun before"));
        }
        self.begun = true;
        Ok(())
    }

    fn is_parallel(&self) -> bool {
        matches!(FAULT, SOUND | ALONE)
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        let key = &delivery.key;
        Ok(self.on_shelf(|kept| {
            if FAULT == ALONE {
                kept.staged.retain(|staged, _| staged == key);
            }
            let arrived = kept.committed.iter().any(|(committed, _)| committed == key);
            let staged = kept.staged.get(key).is_some_and(|staged| staged.complete);
            match &delivery.sealed {
                _ if arrived && FAULT != DOUBLES && FAULT != SHOWS_EARLY => {
                    Begun::Committed { receipt: Receipt::default() }
                }
                _ if arrived && FAULT == SHOWS_EARLY && !staged => Begun::Committed { receipt: Receipt::default() },
                Some(_) if staged || FAULT == TRUSTS_MEMORY => Begun::Sealed,
                _ => Begun::New,
            }
        }))
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let mut staged = Staged::default();
        for batch in input {
            self.cx.check_cancelled()?;
            let mut batch = batch?;
            let texts = batch.column_by_name("text").filter(|_| FAULT == LOSES_ROWS);
            if let Some(texts) = texts.filter(|texts| texts.null_count() < texts.len()) {
                let present = BooleanArray::from_iter((0..texts.len()).map(|row| Some(texts.is_valid(row))));
                batch = filter_record_batch(&batch, &present).map_err(|error| Error::internal(error.to_string()))?;
            }
            if FAULT == ADDS_TO_PIECES {
                let piece = batch.clone();
                self.on_shelf(|kept| kept.staged.entry(delivery.key.clone()).or_default().batches.push(piece));
            }
            staged.batches.push(batch);
        }
        staged.complete = true;
        let rows = staged.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if FAULT == TRUSTS_MEMORY {
            self.memory = staged;
        } else {
            self.on_shelf(|kept| {
                let place = kept.staged.entry(delivery.key.clone()).or_default();
                let batches = if FAULT == ADDS_TO_PIECES { std::mem::take(&mut place.batches) } else { staged.batches };
                *place = Staged { batches: batches.clone(), complete: true };
                if FAULT == SHOWS_EARLY {
                    Self::publish(kept, &delivery.key, batches);
                }
            });
        }
        Ok(Sealed { rows, ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let memory = std::mem::take(&mut self.memory);
        self.on_shelf(|kept| {
            let staged = kept.staged.remove(&delivery.key).unwrap_or(memory);
            Self::publish(kept, &delivery.key, staged.batches);
        });
        let location = Some(format!("shelf {}", self.config.shelf)).filter(|_| FAULT != NO_PLACE);
        let rows = delivery.sealed.as_ref().map_or(0, |sealed| sealed.rows);
        Ok(Receipt { rows, location, ..Receipt::default() })
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        self.memory = Staged::default();
        self.on_shelf(|kept| {
            if FAULT == SHOWS_EARLY {
                kept.committed.retain(|(key, _)| *key != delivery.key);
            }
            let staged = kept.staged.remove(&delivery.key).filter(|staged| staged.complete);
            if let Some(staged) = staged.filter(|_| FAULT == KEEPS_ABORTED) {
                Self::publish(kept, &delivery.key, staged.batches);
            }
        });
        Ok(())
    }
}

/// Reads what is on a shelf.
pub struct ShelfSource {
    config: Config,
}

impl Component for ShelfSource {
    type Config = Config;
    const SUMMARY: &'static str = "Reads what is on a shelf";

    fn examples() -> Vec<Example> {
        examples()
    }

    fn open(config: Config, _: Context) -> Result<Self> {
        Ok(Self { config })
    }
}

impl ShelfSource {
    fn batches(&self) -> Vec<RecordBatch> {
        let shelves = shelves();
        let committed = shelves.get(&self.config.shelf).into_iter().flat_map(|kept| &kept.committed);
        committed.flat_map(|(_, batches)| batches.clone()).collect()
    }
}

impl Source for ShelfSource {
    fn plan(&mut self, _: &PlanRequest) -> Result<Plan> {
        let split = Split { id: "0000".into(), spec: json!({}), ..Split::default() };
        Ok(Plan {
            upper: None,
            splits: if self.batches().is_empty() { vec![] } else { vec![split] },
            ..Plan::default()
        })
    }

    fn read(&mut self, _: &Split) -> Result<Batches> {
        let batches = self.batches();
        let schema = batches.first().map_or_else(|| std::sync::Arc::new(Schema::empty()), RecordBatch::schema);
        Ok(Batches::new(schema, batches.into_iter().map(Ok)))
    }
}
