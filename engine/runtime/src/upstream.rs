//! Everything before the fan-out: the source, its decoder, the transforms.

use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use engine_abi::message::{Delivered, Plan, PlanRequest, Split};
use engine_abi::stream::Batches;
use engine_abi::{Error, Result, Scope, Shape};
use engine_host::{Direction, Payload, Rejection};
use engine_spec::{OnSchemaChange, TemplateVariables};
use engine_state::spool::Framing;
use engine_state::{Spool, State};

use crate::assembly::Assembly;
use crate::drift::Drift;
use crate::edge::{Edge, add_up};
use crate::front::{self, Front, Opening};
use crate::letters::{At, Letters, Stored};
use crate::queue::{QUEUE_BYTES, ahead};
use crate::slot::Slot;
use crate::stage_host::StageHost;
use crate::stop::Stop;

/// The most bytes of the spool that go to the decoder at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Where the rows of a pass come from.
#[derive(Clone)]
pub(crate) enum Feed {
    /// The source reads them.
    Source,
    /// A push source has spooled them.
    Spool(Arc<Spool>),
    /// Dead letters, brought back in front of the stage that refused them.
    Replay(Arc<Replayed>),
}

/// Dead letters that are tried again.
pub(crate) struct Replayed {
    /// The transform in front of which they go: 0 is the first, after the decoder.
    pub(crate) transform: usize,
    /// They are a decoder's records and go in front of the decoder.
    pub(crate) raw: bool,
    /// How many they are.
    pub(crate) letters: u64,
    /// Their batches, all of one schema.
    pub(crate) open: Box<dyn Fn() -> Result<Batches> + Send + Sync>,
}

/// What one split brought, before the fan-out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SplitCounts {
    /// Records that the source gave, after decoding, dead letters included.
    pub read: u64,
    /// Rows left out on purpose.
    pub filtered: u64,
    /// Records that became dead letters before the fan-out.
    pub dead_letters: u64,
    /// Rows that went to the sinks.
    pub rows: u64,
}

/// The open stages before the fan-out. One pass uses them at a time.
pub(crate) struct Upstream {
    pub(crate) front: front::Shared,
    source_host: Arc<StageHost>,
    decoder_host: Option<Arc<StageHost>>,
    /// Without a decoder files stay files.
    copies: bool,
    transforms: Vec<Slot>,
    letters: Vec<Arc<Stored>>,
    /// After the source, the decoder, and each transform.
    edges: Vec<Edge>,
    pub(crate) queue_bytes: usize,
}

impl Upstream {
    pub(crate) fn new(assembly: &Assembly, state: &Arc<State>, stop: &Stop, policy: OnSchemaChange) -> Self {
        let mut letters = vec![Arc::new(Stored::new(state, &assembly.name, "source"))];
        let at_source = Letters::Stored(Arc::clone(&letters[0]));
        let host = |stage: &str, letters: Letters| StageHost::with_memory(&assembly.name, stage, state, stop, letters);
        let source = Slot::new(&assembly.source.part, host("source", at_source));
        let compression = assembly.source.compression.as_ref();
        let compression = compression.map(|part| Slot::new(part, host("source", Letters::Nowhere)));
        let decoder = assembly.source.decoder.as_ref();
        let decoder = decoder.map(|part| {
            let stored = Arc::new(Stored::second(state, &assembly.name, "source"));
            letters.push(Arc::clone(&stored));
            Slot::new(part, host("source", Letters::Stored(stored)))
        });
        let mut transforms = Vec::new();
        for part in &assembly.transforms {
            let stored = Arc::new(Stored::new(state, &assembly.name, &part.stage));
            transforms.push(Slot::new(part, host(&part.stage, Letters::Stored(Arc::clone(&stored)))));
            letters.push(stored);
        }
        // Each an edge of its own: a clone would count for the same one.
        let edges: Vec<_> = (0..transforms.len() + 2).map(|_| Edge::default()).collect();
        let (source_host, decoder_host) = (Arc::clone(&source.host), decoder.as_ref().map(|it| Arc::clone(&it.host)));
        let copies = decoder.is_none() && source.part.component.description().gives == Shape::Files;
        let (edge, drift) = (edges[0].clone(), Drift::of(assembly, state, policy));
        let front = Arc::new(Mutex::new(Front { source, compression, decoder, edge, drift }));
        Self { front, source_host, decoder_host, copies, transforms, letters, edges, queue_bytes: QUEUE_BYTES }
    }

    /// Asks the source what there is to read.
    pub(crate) fn plan(&mut self, request: &PlanRequest, variables: &TemplateVariables) -> Result<Plan> {
        let mut front = front::lock(&self.front);
        let planned = front.source.instance(variables).and_then(|instance| instance.plan(request));
        planned.map_err(|error| {
            front.source.close();
            error.at("source")
        })
    }

    /// Tells the source that every sink has all of a window.
    pub(crate) fn delivered(&mut self, window: &Delivered, variables: &TemplateVariables) -> Result<()> {
        let mut front = front::lock(&self.front);
        let told = front.source.instance(variables).and_then(|instance| instance.delivered(window));
        told.map_err(|error| {
            front.source.close();
            error.at("source")
        })
    }

    /// Does something to every stage.
    fn each(&mut self, mut work: impl FnMut(&mut Slot)) {
        front::lock(&self.front).slots().for_each(&mut work);
        self.transforms.iter_mut().for_each(work);
    }

    /// Binds the stages to a pass that can be stopped alone, with queues of this size.
    pub(crate) fn bind(&mut self, stop: &Stop, queue_bytes: usize) {
        self.queue_bytes = queue_bytes;
        self.each(|slot| slot.host.set_stop(stop));
    }

    /// Lets all instances go after a failure.
    pub(crate) fn close(&mut self) {
        self.each(Slot::close);
    }

    /// Opens the stream of one split, as it comes out of the last transform.
    pub(crate) fn open(
        &mut self,
        split: &Split,
        at: &At,
        feed: &Feed,
        variables: &TemplateVariables,
        stop: &Stop,
    ) -> Result<Batches> {
        for letters in &self.letters {
            letters.begin(at.clone());
        }
        self.edges.iter().for_each(Edge::reset);
        self.each(|slot| slot.host.counts.reset());

        let (variables, queue_bytes) = (variables.clone(), self.queue_bytes);
        let opening = Opening { variables, stop: stop.clone(), queue_bytes };
        let (mut stream, first) = match feed {
            Feed::Source => (front::open(&self.front, split, &opening)?, 0),
            // Spooled records and dead letters are what the decoder reads already.
            Feed::Spool(spool) => (self.decode(spooled(spool, split, &self.source_host)?, &opening)?, 0),
            Feed::Replay(replayed) if replayed.raw => (self.decode((replayed.open)()?, &opening)?, replayed.transform),
            Feed::Replay(replayed) => (self.edges[0].count(at_stage((replayed.open)()?, "source")), replayed.transform),
        };
        stream = if self.copies { self.edges[1].count_files(stream) } else { self.edges[1].count(stream) };
        for (slot, edge) in self.transforms.iter_mut().zip(&self.edges[2..]).skip(first) {
            let stage = slot.part.stage.clone();
            let input = ahead(&stage, stream, stop, self.queue_bytes)?;
            let applied = slot.instance(&opening.variables).and_then(|it| it.apply(Direction::Apply, input));
            stream = edge.count(at_stage(applied.map_err(|error| error.at(&stage))?, &stage));
        }
        Ok(stream)
    }

    /// Records that did not come out of the source itself, decoded.
    fn decode(&self, stream: Batches, opening: &Opening) -> Result<Batches> {
        let stream = self.edges[0].count(at_stage(stream, "source"));
        front::lock(&self.front).decode(stream, opening)
    }

    /// After the stream's end: stores the last dead letters, and makes sure that
    /// no stage lost or made up a row.
    pub(crate) fn finish(&self, feed: &Feed) -> Result<SplitCounts> {
        for letters in &self.letters {
            letters.finish()?;
        }
        let mut counts = SplitCounts { rows: self.edges[self.edges.len() - 1].rows(), ..SplitCounts::default() };
        let decoded = self.edges[1].rows();
        let mut dead = self.source_host.counts.rejected();
        counts.read = decoded + dead;
        let (decode, first) = match feed {
            Feed::Replay(replayed) => (replayed.raw, replayed.transform),
            _ => (true, 0),
        };
        if let Some(decoder) = self.decoder_host.as_ref().filter(|_| decode) {
            let own = &decoder.counts;
            add_up("source", own.records(), &[("rows", decoded), ("dead letters", own.rejected())])?;
            counts.read += own.rejected();
            dead += own.rejected();
        }
        let mut came = decoded;
        for (slot, edge) in self.transforms.iter().zip(&self.edges[2..]).skip(first) {
            let own = &slot.host.counts;
            let parts = [("rows", edge.rows()), ("filtered", own.filtered()), ("dead letters", own.rejected())];
            if slot.part.scope() == Scope::Row {
                add_up(&slot.part.stage, came, &parts)?;
            }
            counts.filtered += own.filtered();
            dead += own.rejected();
            came = edge.rows();
        }
        counts.rows = came;
        counts.dead_letters = dead;
        if let Feed::Replay(replayed) = feed
            && counts.read < replayed.letters
        {
            // They would count as replayed and be gone.
            return Err(Error::config(format!(
                "{} dead letters were replayed, but only {} records came of them",
                replayed.letters, counts.read
            ))
            .hint("the format no longer sees them as records; look at one with `engine dead-letters show`")
            .at("source"));
        }
        Ok(counts)
    }
}

/// Names the stage of an error that comes out of its stream.
pub(crate) fn at_stage(batches: Batches, stage: &str) -> Batches {
    let schema = batches.schema();
    let stage = stage.to_owned();
    Batches::new(schema, batches.map(move |item| item.map_err(|error| error.at(&stage))))
}

/// A range of the spool as a stream of files, one name a peer. What is not whole
/// becomes a dead letter here.
fn spooled(spool: &Arc<Spool>, split: &Split, host: &Arc<StageHost>) -> Result<Batches> {
    let bound = |name: &str| {
        let value = split.spec.get(name).and_then(serde_json::Value::as_u64);
        value.ok_or_else(|| Error::internal(format!("a stored split of a push source has no `{name}`")))
    };
    let mut records = spool.read(bound("from")?, bound("to")?)?;
    let host = Arc::clone(host);
    let schema = files::schema();
    let pieces = std::iter::from_fn(move || {
        let mut pieces = files::Pieces::default();
        loop {
            match records.next() {
                Err(error) => return Some(Err(error)),
                Ok(None) if pieces.is_empty() => return None,
                Ok(None) => return Some(Ok(pieces.finish())),
                Ok(Some(stored)) => {
                    let record = stored.record;
                    let (code, reason) = match record.framing {
                        Framing::Complete => {
                            pieces.push(record.peer, record.bytes);
                            if pieces.bytes() >= PIECE_BYTES {
                                return Some(Ok(pieces.finish()));
                            }
                            continue;
                        }
                        Framing::Partial => ("partial", "the sender went away before it ended the record"),
                        Framing::Oversize => {
                            ("oversize", "longer than the source's longest record; this is its beginning")
                        }
                    };
                    let payload = Payload::Bytes { name: record.peer.to_owned(), data: record.bytes.to_vec() };
                    let rejection = Rejection { code: code.into(), reason: reason.into(), payload };
                    if let Err(error) = engine_host::Host::reject(&*host, rejection) {
                        return Some(Err(error));
                    }
                }
            }
        }
    });
    Ok(Batches::new(schema, pieces))
}

/// Batches of a stream of files.
pub(crate) mod files {
    use std::sync::Arc;

    use arrow_array::builder::{BinaryBuilder, StringBuilder};
    use arrow_schema::{DataType, Field, Schema, SchemaRef};

    use super::RecordBatch;

    /// `{name: Utf8, data: Binary}`
    pub(crate) fn schema() -> SchemaRef {
        let (name, data) = (Field::new("name", DataType::Utf8, false), Field::new("data", DataType::Binary, false));
        Arc::new(Schema::new(vec![name, data]))
    }

    /// A batch in the making.
    #[derive(Default)]
    pub(crate) struct Pieces {
        names: StringBuilder,
        data: BinaryBuilder,
        bytes: usize,
        rows: usize,
    }

    impl Pieces {
        pub(crate) fn push(&mut self, name: &str, data: &[u8]) {
            self.names.append_value(name);
            self.data.append_value(data);
            self.bytes += data.len();
            self.rows += 1;
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.rows == 0
        }

        pub(crate) fn bytes(&self) -> usize {
            self.bytes
        }

        pub(crate) fn finish(&mut self) -> RecordBatch {
            (self.bytes, self.rows) = (0, 0);
            RecordBatch::try_new(schema(), vec![Arc::new(self.names.finish()), Arc::new(self.data.finish())])
                .expect("two columns of one length, neither null")
        }
    }
}
