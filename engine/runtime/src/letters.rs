//! Refused records on their way into the state, as dead letters.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal64Type, Decimal128Type, Decimal256Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::DataType;
use engine_abi::{Error, Result};
use engine_host::{Payload, Rejection};
use engine_state::{NewDeadLetter, State};
use serde_json::json;

/// How many letters are stored in one transaction.
const PAGE: usize = 256;

/// How many bytes of letters wait in memory for their transaction.
const PAGE_BYTES: usize = 1 << 20;

/// Where the ordinals of a stage's second component begin, and where they end.
const SECOND: u64 = 1 << 40;
const END: u64 = 1 << 41;

/// The part of a record that is shown to a person, in bytes.
const SHOWN: usize = 4096;

/// Where rejections go while nothing is delivered: previews, tests, checks.
#[derive(Debug, Default)]
pub struct Collected(Mutex<Vec<Rejection>>);

impl Collected {
    /// Takes what was collected so far.
    pub fn take(&self) -> Vec<Rejection> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a stage's rejections go.
#[derive(Clone)]
pub enum Letters {
    /// Into the state, under the split that is being worked on.
    Stored(Arc<Stored>),
    /// Into memory.
    Collected(Arc<Collected>),
    /// Nowhere: a compression sees no records, and may refuse none.
    Nowhere,
}

impl Letters {
    /// Keeps what was refused; answers how many records that were.
    pub fn keep(&self, rejection: Rejection) -> Result<u64> {
        match self {
            Self::Stored(stored) => stored.keep(rejection),
            Self::Collected(collected) => {
                let records = match &rejection.payload {
                    Payload::Rows(rows) => rows.num_rows() as u64,
                    Payload::Bytes { .. } => 1,
                };
                collected.0.lock().unwrap_or_else(PoisonError::into_inner).push(rejection);
                Ok(records)
            }
            Self::Nowhere => Err(Error::internal("a compression refused a record, and it sees none")
                .hint("this is a bug in the component, which has to fail instead; report it to its author")),
        }
    }
}

/// Which window and split a stage is working on.
#[derive(Debug, Clone, Default)]
pub struct At {
    /// The window.
    pub window: u64,
    /// The split, or `run`.
    pub split: String,
    /// The run that does it.
    pub run: String,
}

#[derive(Default)]
struct Open {
    at: At,
    ordinal: u64,
    page: Vec<NewDeadLetter>,
    bytes: usize,
}

/// One stage's dead letters in the state.
pub struct Stored {
    state: Arc<State>,
    pipeline: String,
    stage: String,
    ordinals: Range<u64>,
    open: Mutex<Open>,
}

impl Stored {
    /// The letters of one stage.
    pub fn new(state: &Arc<State>, pipeline: &str, stage: &str) -> Self {
        Self::from(state, pipeline, stage, 0..SECOND)
    }

    /// The letters of a second component of one stage: its ordinals begin where
    /// the first one's never come, so that they do not depend on which of the two
    /// is faster.
    pub fn second(state: &Arc<State>, pipeline: &str, stage: &str) -> Self {
        Self::from(state, pipeline, stage, SECOND..END)
    }

    fn from(state: &Arc<State>, pipeline: &str, stage: &str, ordinals: Range<u64>) -> Self {
        let open = Mutex::default();
        Self { state: Arc::clone(state), pipeline: pipeline.into(), stage: stage.into(), ordinals, open }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt at a split begins. What an earlier one left pending stays until this one has come to its end:
    /// the same records have the same keys, and another sink that reads for itself may count on them.
    pub fn begin(&self, at: At) {
        *self.lock() = Open { at, ordinal: self.ordinals.start, ..Open::default() };
    }

    /// The end of an attempt: stores what is still in memory, and clears what an earlier attempt refused beyond it.
    pub fn finish(&self) -> Result<()> {
        let mut open = self.lock();
        self.store(&mut open)?;
        let (at, beyond) = (&open.at, open.ordinal..self.ordinals.end);
        self.state.clear_pending(&self.pipeline, at.window, &at.split, &self.stage, beyond)
    }

    fn store(&self, open: &mut Open) -> Result<()> {
        open.bytes = 0;
        let page = std::mem::take(&mut open.page);
        if page.is_empty() { Ok(()) } else { self.state.put_dead_letters(&page) }
    }

    fn keep(&self, rejection: Rejection) -> Result<u64> {
        let Rejection { code, reason, payload } = rejection;
        let mut open = self.lock();
        match payload {
            Payload::Bytes { name, data } => {
                let display = shown_bytes(&name, &data);
                let payload = engine_state::Payload::Raw { name, bytes: data };
                self.add(&mut open, &code, &reason, display, payload)?;
                Ok(1)
            }
            Payload::Rows(rows) => {
                for at in 0..rows.num_rows() {
                    let row = rows.slice(at, 1);
                    let payload = engine_state::Payload::Row { ipc: to_ipc(&row)? };
                    self.add(&mut open, &code, &reason, shown_row(&row), payload)?;
                }
                Ok(rows.num_rows() as u64)
            }
        }
    }

    fn add(
        &self,
        open: &mut Open,
        code: &str,
        reason: &str,
        display: String,
        payload: engine_state::Payload,
    ) -> Result<()> {
        open.bytes += display.len()
            + match &payload {
                engine_state::Payload::Raw { bytes, .. } | engine_state::Payload::Row { ipc: bytes } => bytes.len(),
            };
        let letter = NewDeadLetter {
            pipeline: self.pipeline.clone(),
            window: open.at.window,
            split: open.at.split.clone(),
            stage: self.stage.clone(),
            ordinal: open.ordinal,
            run: open.at.run.clone(),
            code: code.to_owned(),
            reason: reason.to_owned(),
            display,
            payload,
        };
        open.ordinal += 1;
        open.page.push(letter);
        if open.page.len() >= PAGE || open.bytes >= PAGE_BYTES { self.store(open) } else { Ok(()) }
    }
}

fn shown_bytes(name: &str, data: &[u8]) -> String {
    let text = String::from_utf8_lossy(&data[..data.len().min(SHOWN)]);
    json!({"from": name, "record": text, "bytes": data.len()}).to_string()
}

/// A row as JSON; what JSON cannot hold is left to the payload.
pub(crate) fn shown_row(row: &RecordBatch) -> String {
    rows_as_json(row).ok().and_then(|mut rows| rows.pop()).unwrap_or_default().to_string()
}

/// Rows as JSON objects, nulls included. A decimal column's value with more digits than a number in JSON is sure to keep is text.
pub fn rows_as_json(rows: &RecordBatch) -> Result<Vec<serde_json::Value>> {
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("rows cannot be shown as JSON: {error}"));
    let mut text = Vec::new();
    let builder = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow_json::writer::LineDelimited>(&mut text);
    writer.write(rows).and_then(|()| writer.finish()).map_err(|error| failed(&error))?;
    drop(writer);
    let mut objects: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error: serde_json::Error| failed(&error))?;
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        for (row, object) in objects.iter_mut().enumerate() {
            if let Some(exact) = exact_text(column, row) {
                object[field.name()] = exact.into();
            }
        }
    }
    Ok(objects)
}

/// The text of a decimal that a number of 64 bits would change.
fn exact_text(column: &ArrayRef, row: usize) -> Option<String> {
    /// As many digits come back from a floating-point number whatever they are.
    const SAFE_DIGITS: usize = 15;
    if column.is_null(row) {
        return None;
    }
    let text = match column.data_type() {
        DataType::Decimal64(..) => column.as_primitive::<Decimal64Type>().value_as_string(row),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => column.as_primitive::<Decimal256Type>().value_as_string(row),
        _ => return None,
    };
    let is_whole = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (!is_whole && digits.trim_matches('0').len() > SAFE_DIGITS).then_some(text)
}

fn to_ipc(row: &RecordBatch) -> Result<Vec<u8>> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), &row.schema())?;
        writer.write(row)?;
        writer.into_inner()
    };
    write().map_err(|error| Error::internal(format!("a refused row cannot be stored: {error}")))
}

/// The row that [`Stored`] kept.
pub(crate) fn from_ipc(ipc: &[u8]) -> Result<RecordBatch> {
    let read = || {
        let mut batches = StreamReader::try_new(ipc, None)?;
        batches.next().transpose()
    };
    match read() {
        Ok(Some(row)) => Ok(row),
        Ok(None) => Err(Error::internal("a dead letter holds no row")),
        Err(error) => Err(Error::internal(format!("a dead letter cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Decimal128Array, Decimal256Array, Int32Array, StringArray};
    use arrow_buffer::i256;
    use arrow_schema::{Field, Schema};

    #[test]
    fn a_decimal_is_shown_with_all_its_digits() {
        let nines = "9".repeat(76);
        let wide = [nines.as_str(), "150", "", "1234567890123456"].map(i256::from_string).to_vec();
        let wide: ArrayRef = Arc::new(Decimal256Array::from(wide).with_precision_and_scale(76, 2).unwrap());
        let usual = vec![123_456_789_012_345_678_901, 100_000_000_000_000_000_000, -5, 12_345_678_901_234_500];
        let usual: ArrayRef = Arc::new(Decimal128Array::from(usual).with_precision_and_scale(38, 2).unwrap());
        let whole = vec![18_446_744_073_709_551_615, 18_446_744_073_709_551_617, i128::from(i64::MIN), 0];
        let whole: ArrayRef = Arc::new(Decimal128Array::from(whole).with_precision_and_scale(38, 0).unwrap());
        let rows = RecordBatch::try_from_iter([("wide", wide), ("usual", usual), ("whole", whole)]).unwrap();
        let (before, behind) = nines.split_at(74);
        assert_eq!(
            rows_as_json(&rows).unwrap(),
            [
                json!({"wide": format!("{before}.{behind}"), "usual": "1234567890123456789.01", "whole": u64::MAX}),
                json!({"wide": 1.5, "usual": 1e18, "whole": "18446744073709551617"}),
                json!({"wide": null, "usual": -0.05, "whole": i64::MIN}),
                json!({"wide": "12345678901234.56", "usual": 123_456_789_012_345.0, "whole": 0}),
            ]
        );
    }

    #[test]
    fn an_attempt_leaves_what_another_one_stored_until_it_knows_better() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let at = At { window: 1, split: "0000".into(), run: "r".into() };
        let attempt = |stored: &Stored, refused: usize| {
            for record in 0..refused {
                let payload = Payload::Bytes { name: String::new(), data: vec![record as u8] };
                stored.keep(Rejection { code: "bad".into(), reason: "bad".into(), payload }).unwrap();
            }
        };
        let kept = || state.dead_letters(&engine_state::DeadLetterFilter::default()).unwrap().len();
        let (one, two) = (Stored::new(&state, "p", "source"), Stored::second(&state, "p", "source"));
        for stored in [&one, &two] {
            stored.begin(at.clone());
            attempt(stored, 3);
            stored.finish().unwrap();
        }
        assert_eq!(kept(), 6);
        // Another sink reads for itself; what the first has counted on is there all the time.
        let other = Stored::new(&state, "p", "source");
        other.begin(at.clone());
        assert_eq!(kept(), 6);
        attempt(&other, 2);
        other.finish().unwrap();
        assert_eq!(kept(), 5);
        two.begin(at);
        two.finish().unwrap();
        assert_eq!(kept(), 2);
    }

    #[test]
    fn a_refused_row_comes_back_as_it_was() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8, false)]);
        let columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec!["a", "b"]))];
        let rows = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        let row = rows.slice(1, 1);
        assert_eq!(from_ipc(&to_ipc(&row).unwrap()).unwrap(), row);
        assert_eq!(shown_row(&row), r#"{"n":null,"t":"b"}"#);
    }
}
