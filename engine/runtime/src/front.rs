//! Source, decompression and decoder: what rows are before any transform.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_abi::message::{Plan, Split};
use engine_abi::stream::Batches;
use engine_abi::{Error, Result, Scope};
use engine_host::Direction;
use engine_spec::TemplateVariables;
use serde_json::json;

use crate::assembly::Assembly;
use crate::drift::Drift;
use crate::edge::Edge;
use crate::plain::plain;
use crate::queue::ahead;
use crate::slot::Slot;
use crate::stop::Stop;
use crate::upstream::at_stage;

/// The id of a split that is all splits of its window.
const WHOLE: &str = "whole";
/// Under which its `spec` holds them.
const PARTS: &str = "engine.parts";

/// The open stages before the transforms.
pub(crate) struct Front {
    pub(crate) source: Slot,
    pub(crate) compression: Option<Slot>,
    pub(crate) decoder: Option<Slot>,
    /// Counts what the source gives.
    pub(crate) edge: Edge,
    pub(crate) drift: Option<Drift>,
}

/// What a split is opened with.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) variables: TemplateVariables,
    pub(crate) stop: Stop,
    pub(crate) queue_bytes: usize,
}

/// A [`Front`] that streams may open parts of while they are read.
pub(crate) type Shared = Arc<Mutex<Front>>;

pub(crate) fn lock(front: &Shared) -> MutexGuard<'_, Front> {
    front.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    pub(crate) fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        std::iter::once(&mut self.source).chain(&mut self.compression).chain(&mut self.decoder)
    }

    /// The records of a split as its source and its format give them.
    fn open(&mut self, split: &Split, opening: &Opening) -> Result<Batches> {
        let opened = self.source.instance(&opening.variables).and_then(|source| source.read(split));
        let opened = opened.map_err(|error| error.at("source"))?;
        if let Some(drift) = &self.drift {
            drift.look(&opened.schema())?;
        }
        let stream = self.edge.count(at_stage(opened, "source"));
        let stream = match &mut self.compression {
            Some(compression) => {
                let input = ahead("source", stream, &opening.stop, opening.queue_bytes)?;
                let files = compression.instance(&opening.variables).and_then(|it| it.apply(Direction::Decode, input));
                at_stage(files.map_err(|error| error.at("source"))?, "source")
            }
            None if self.decoder.is_some() => at_stage(plain(stream), "source"),
            None => stream,
        };
        self.decode(stream, opening)
    }

    /// Decodes records, where there is a decoder.
    pub(crate) fn decode(&mut self, stream: Batches, opening: &Opening) -> Result<Batches> {
        let Some(decoder) = &mut self.decoder else { return Ok(stream) };
        // The source and its compression work while the decoder works on what came before.
        let name = if self.compression.is_some() { "decompression" } else { "source" };
        let input = ahead(name, stream, &opening.stop, opening.queue_bytes)?;
        let decoded = decoder.instance(&opening.variables).and_then(|it| it.apply(Direction::Decode, input));
        Ok(at_stage(decoded.map_err(|error| error.at("source"))?, "source"))
    }
}

/// Makes all splits of a plan one, where a transform must see the whole window as one stream.
pub(crate) fn join(assembly: &Assembly, plan: Plan) -> Plan {
    let is_whole = assembly.transforms.iter().any(|part| part.scope() == Scope::Window);
    if !is_whole || plan.splits.len() < 2 {
        return plan;
    }
    let rows: Option<u64> = plan.splits.iter().map(|split| split.estimated_rows).sum();
    let split = Split { id: WHOLE.into(), spec: json!({ PARTS: plan.splits }), estimated_rows: rows, cut: None };
    Plan { splits: vec![split], ..plan }
}

/// The splits that a source planned, of those that [`join`] may have made of them.
pub(crate) fn parts_of(splits: &[Split]) -> Result<Vec<Split>> {
    match splits {
        [split] if split.id == WHOLE && split.spec.get(PARTS).is_some() => parts(&split.spec[PARTS]),
        _ => Ok(splits.to_vec()),
    }
}

fn parts<T: serde::de::DeserializeOwned>(stored: &serde_json::Value) -> Result<T> {
    T::deserialize(stored)
        .map_err(|error| Error::internal(format!("a stored window has splits that are none: {error}")))
}

/// Opens a split that [`join`] may have made of several: one stream, in their order.
pub(crate) fn open(front: &Shared, split: &Split, opening: &Opening) -> Result<Batches> {
    let parts = split.spec.get(PARTS).filter(|_| split.id == WHOLE);
    let Some(parts) = parts else { return lock(front).open(split, opening) };
    let mut parts: VecDeque<Split> = self::parts(parts)?;
    let mut stream = next_part(front, &mut parts, opening)?.map(|(_, stream)| stream);
    let (front, opening) = (Arc::clone(front), opening.clone());
    // Nulls may be in one part and not in another.
    let nullable = |field: &arrow_schema::FieldRef| field.as_ref().clone().with_nullable(true);
    let fields = stream.as_ref().map(|stream| stream.schema().fields().iter().map(nullable).collect::<Vec<_>>());
    let schema = Arc::new(arrow_schema::Schema::new(fields.unwrap_or_default()));
    let columns = Arc::clone(&schema);
    let joined = std::iter::from_fn(move || {
        loop {
            if let Some(item) = stream.as_mut()?.next() {
                let item = item.and_then(|batch| {
                    let fitted = arrow_array::RecordBatch::try_new(Arc::clone(&columns), batch.columns().to_vec());
                    fitted.map_err(|error| Error::internal(format!("a batch does not fit its stream: {error}")))
                });
                if item.is_err() {
                    stream = None;
                }
                return Some(item);
            }
            // The one before must be gone: an instance has one stream at a time.
            stream = None;
            let next = next_part(&front, &mut parts, &opening);
            match next.and_then(|next| next.map(|(part, next)| same_columns(&columns, next, &part)).transpose()) {
                Ok(next) => stream = Some(next?),
                Err(error) => return Some(Err(error)),
            }
        }
    });
    Ok(Batches::new(schema, joined))
}

/// Opens the next part that has columns. A file without a record need not say which it would have.
fn next_part(front: &Shared, parts: &mut VecDeque<Split>, opening: &Opening) -> Result<Option<(Split, Batches)>> {
    while let Some(part) = parts.pop_front() {
        let stream = lock(front).open(&part, opening)?;
        if !stream.schema().fields().is_empty() {
            return Ok(Some((part, stream)));
        }
        for batch in stream {
            if batch?.num_rows() > 0 {
                let message =
                    format!("{} has rows without columns, and a transform wants the window as one stream", part.id);
                return Err(Error::config(message).hint("name the columns in the settings of the format").at("source"));
            }
        }
    }
    Ok(None)
}

fn same_columns(columns: &arrow_schema::SchemaRef, next: Batches, part: &Split) -> Result<Batches> {
    let names = |schema: &arrow_schema::Schema| {
        let column = |field: &arrow_schema::FieldRef| format!("{} {}", field.name(), field.data_type());
        schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
    };
    let (expected, found) = (names(columns), names(&next.schema()));
    if expected == found {
        return Ok(next);
    }
    Err(Error::config(format!(
        "the parts of this window have different columns, and a transform wants them as one stream: {expected}; in {}: {found}",
        part.id
    ))
    .hint("give the columns types of their own, such as with `types` of the format")
    .at("source"))
}
