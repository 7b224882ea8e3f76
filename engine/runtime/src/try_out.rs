//! Without writing anything: the first rows after each stage, and the cases of
//! a pipeline's `tests:` block.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use engine_abi::message::PlanRequest;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result};
use engine_host::{Direction, Payload, Rejection};
use engine_spec::{TemplateVariables, TestCase, TestInput};
use engine_state::{Spool, SpoolOptions, State};
use serde::Serialize;
use serde_json::{Value, json};

use crate::assembly::{Assembly, Part};
use crate::letters::{Collected, Letters, rows_as_json};
use crate::plain::plain;
use crate::run::covered;
use crate::slot::Slot;
use crate::stage_host::StageHost;
use crate::stop::Stop;
use crate::upstream::files;

/// The first rows after one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StagePreview {
    /// The stage's name.
    pub stage: String,
    /// The component's name.
    pub component: String,
    /// Name and type of each column.
    pub columns: Vec<(String, String)>,
    /// The rows, as JSON objects.
    pub rows: Vec<Value>,
    /// Records that the stage refused: the reason and the record.
    pub dead_letters: Vec<(String, Value)>,
}

/// The first rows after each stage.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// In the order of the stages.
    pub stages: Vec<StagePreview>,
    /// Why there is less to see than one would expect.
    pub notes: Vec<String>,
}

/// What a case of the `tests:` block came to.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// What is not as expected; empty when it passed.
    pub differences: Vec<String>,
}

/// Keeps the first rows that pass.
#[derive(Clone, Default)]
struct Tap {
    kept: Arc<Mutex<(Option<SchemaRef>, Vec<Value>)>>,
}

impl Tap {
    fn watch(&self, batches: Batches, limit: usize) -> Batches {
        let schema = batches.schema();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(Arc::clone(&schema));
        let tap = self.clone();
        let watched = batches.inspect(move |item| {
            let Ok(batch) = item else { return };
            let rows = &mut tap.kept.lock().unwrap_or_else(PoisonError::into_inner).1;
            let more = limit.saturating_sub(rows.len()).min(batch.num_rows());
            if more > 0 {
                rows.extend(rows_to_show(&batch.slice(0, more)));
            }
        });
        Batches::new(schema, watched)
    }
}

/// Rows as JSON; pieces of files as text.
fn rows_to_show(batch: &RecordBatch) -> Vec<Value> {
    if batch.schema() == files::schema() {
        let names = batch.column(0).as_any().downcast_ref::<arrow_array::StringArray>();
        let data = batch.column(1).as_any().downcast_ref::<arrow_array::BinaryArray>();
        if let (Some(names), Some(data)) = (names, data) {
            let shown = |at: usize| {
                let bytes = data.value(at);
                let first = &bytes[..bytes.len().min(400)];
                // A character that is cut in two at the end is text all the same.
                let is_text = std::str::from_utf8(first).map_or_else(|error| error.error_len().is_none(), |_| true);
                let text = match is_text {
                    true => String::from_utf8_lossy(first).into_owned(),
                    false => format!("{} bytes that are no text", bytes.len()),
                };
                json!({"name": names.value(at), "data": text})
            };
            return (0..batch.num_rows()).map(shown).collect();
        }
    }
    rows_as_json(batch).unwrap_or_default()
}

struct Tried {
    slot: Slot,
    collected: Arc<Collected>,
    tap: Tap,
    stage: String,
    direction: Option<Direction>,
}

impl Tried {
    fn new(assembly: &Assembly, part: &Part, stage: &str, direction: Option<Direction>) -> Self {
        let collected = Arc::new(Collected::default());
        let letters = Letters::Collected(Arc::clone(&collected));
        let host = StageHost::new(&assembly.name, &part.stage, &Stop::new(), letters);
        Self { slot: Slot::new(part, host), collected, tap: Tap::default(), stage: stage.into(), direction }
    }

    fn preview(&self, limit: usize) -> StagePreview {
        let kept = self.tap.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let columns = kept.0.iter().flat_map(|schema| schema.fields().iter());
        StagePreview {
            stage: self.stage.clone(),
            component: self.slot.part.component.name().to_owned(),
            columns: columns.map(|field| (field.name().clone(), field.data_type().to_string())).collect(),
            rows: kept.1.clone(),
            dead_letters: self.collected.take().into_iter().flat_map(shown).take(limit).collect(),
        }
    }
}

fn shown(rejection: Rejection) -> Vec<(String, Value)> {
    let Rejection { reason, payload, .. } = rejection;
    match payload {
        Payload::Bytes { data, .. } => vec![(reason, json!(String::from_utf8_lossy(&data)))],
        Payload::Rows(rows) => rows_to_show(&rows).into_iter().map(|row| (reason.clone(), row)).collect(),
    }
}

fn variables(assembly: &Assembly, state: Option<&State>) -> Result<TemplateVariables> {
    let now = chrono::Utc::now();
    let covered = state.map(|state| covered(state, &assembly.name, now)).transpose()?.flatten();
    assembly.variables("preview", now, assembly.range(covered, None, now))
}

/// What decompresses the source's files, with a tap behind it.
fn compression(assembly: &Assembly) -> Option<Tried> {
    let part = assembly.source.compression.as_ref();
    part.map(|part| Tried::new(assembly, part, "source.compression", Some(Direction::Decode)))
}

/// The stages from the format to the sinks, with a tap behind each.
fn stages(assembly: &Assembly) -> Vec<Tried> {
    let decoder = assembly.source.decoder.iter();
    let decoder = decoder.map(|part| Tried::new(assembly, part, "source.format", Some(Direction::Decode)));
    let transforms = assembly.transforms.iter();
    decoder.chain(transforms.map(|part| Tried::new(assembly, part, &part.stage, Some(Direction::Apply)))).collect()
}

fn chain(mut stream: Batches, stages: &mut [Tried], variables: &TemplateVariables, limit: usize) -> Result<Batches> {
    for tried in stages {
        let direction = tried.direction.unwrap_or(Direction::Apply);
        let stage = tried.slot.part.stage.clone();
        let applied = tried.slot.instance(variables).and_then(|it| it.apply(direction, stream));
        stream = tried.tap.watch(applied.map_err(|error| error.at(stage))?, limit);
    }
    Ok(stream)
}

/// Shows the first `limit` rows after each stage. Opens the source, no sink.
///
/// # Errors
/// What a stage fails with.
pub fn preview(assembly: &Assembly, state: Option<&State>, limit: usize) -> Result<Preview> {
    let variables = variables(assembly, state)?;
    let mut notes = Vec::new();
    let mut source = Tried::new(assembly, &assembly.source.part, "source", None);
    let mut stages: Vec<_> = compression(assembly).into_iter().chain(stages(assembly)).collect();
    let stream = if assembly.source.is_push() {
        spooled(assembly, state, &mut notes)?
    } else {
        let instance = source.slot.instance(&variables)?;
        let plan = instance.plan(&PlanRequest::default()).map_err(|error| error.at("source"))?;
        match plan.splits.first() {
            None => {
                notes.push("the source has nothing to read".into());
                None
            }
            Some(split) => {
                if plan.splits.len() > 1 {
                    notes.push(format!("of {} splits, the first is shown", plan.splits.len()));
                }
                let stream = instance.read(split).map_err(|error| error.at("source"))?;
                let checked = assembly.source.compression.is_none() && assembly.source.decoder.is_some();
                Some(if checked { plain(stream) } else { stream })
            }
        }
    };
    if let Some(stream) = stream {
        let stream = source.tap.watch(stream, limit);
        let mut rows = 0;
        for batch in chain(stream, &mut stages, &variables, limit)? {
            rows += batch?.num_rows();
            if rows >= limit {
                break;
            }
        }
    }
    let stages = std::iter::once(&source).chain(&stages).map(|tried| tried.preview(limit)).collect();
    Ok(Preview { stages, notes })
}

/// What a push source has received and not delivered yet.
fn spooled(assembly: &Assembly, state: Option<&State>, notes: &mut Vec<String>) -> Result<Option<Batches>> {
    notes.push("a push source is not opened for a preview; what waits in its spool is shown".into());
    let Some(state) = state else { return Ok(None) };
    let folder = state.folder().join("spool").join(&assembly.name);
    if !folder.exists() {
        notes.push("it has received nothing yet".into());
        return Ok(None);
    }
    let spool = Spool::open(&folder, SpoolOptions::default())?;
    let mut records = spool.read(spool.start(), spool.cut(spool.start(), 64 << 10)?)?;
    let mut pieces = files::Pieces::default();
    while let Some(stored) = records.next()? {
        pieces.push(stored.record.peer, stored.record.bytes);
    }
    if pieces.is_empty() {
        notes.push("nothing waits in it".into());
        return Ok(None);
    }
    Ok(Some(Batches::once(pieces.finish())))
}

/// Runs one case: its input through the stages, its rows against what is expected.
///
/// # Errors
/// What a stage fails with.
pub fn run_case(assembly: &Assembly, case: &TestCase) -> Result<CaseResult> {
    let variables = variables(assembly, None)?;
    // The text of a case is what the format reads: nobody writes gzip into YAML.
    let mut stages = stages(assembly);
    let (stream, first) = match &case.input {
        TestInput::Text(text) => {
            let mut pieces = files::Pieces::default();
            let end = if text.ends_with('\n') { "" } else { "\n" };
            pieces.push("test", format!("{text}{end}").as_bytes());
            (Batches::once(pieces.finish()), 0)
        }
        // Records are what the decoder would have given.
        TestInput::Records(records) => (from_json(records)?, usize::from(assembly.source.decoder.is_some())),
    };
    let mut rows = Vec::new();
    for batch in chain(stream, &mut stages[first..], &variables, 0)? {
        rows.extend(rows_as_json(&batch?)?);
    }
    let dead: Vec<_> = stages.iter().flat_map(|tried| tried.collected.take()).flat_map(shown).collect();
    let mut differences = Vec::new();
    if let Some(expect) = &case.expect {
        if rows.len() != expect.len() {
            let are = if expect.len() == 1 { "is" } else { "are" };
            let came = counted(rows.len(), "row");
            differences.push(format!("{came} came out, {} {are} expected", expect.len()));
            differences.extend(rows.iter().skip(expect.len()).map(|row| format!("not expected: {row}")));
            differences.extend(expect.iter().skip(rows.len()).map(|row| format!("missing: {row}")));
        }
        for (at, (row, expected)) in rows.iter().zip(expect).enumerate() {
            differences.extend(compare(row, expected).into_iter().map(|what| format!("row {}: {what}", at + 1)));
        }
    }
    if case.dead_letters != dead.len() as u64 {
        let are = if case.dead_letters == 1 { "is" } else { "are" };
        let came = counted(dead.len(), "dead letter");
        differences.push(format!("{came}, {} {are} expected", case.dead_letters));
        differences.extend(dead.iter().map(|(reason, _)| format!("refused: {reason}")));
    }
    Ok(CaseResult { name: case.name.clone(), differences })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Every expected column, with its value; other columns are not looked at.
fn compare(row: &Value, expected: &Value) -> Vec<String> {
    let Some(expected) = expected.as_object() else { return vec![format!("`{expected}` is not a record")] };
    let differs = |(column, expected): (&String, &Value)| match row.get(column) {
        None => Some(format!("there is no column `{column}`")),
        Some(value) if same(value, expected) => None,
        Some(value) => Some(format!("`{column}` is {value}, expected {expected}")),
    };
    expected.iter().filter_map(differs).collect()
}

/// Equal, or equal as numbers or as moments (`2025-09-17T15:44:08` written either way).
fn same(value: &Value, expected: &Value) -> bool {
    let moment = |value: &Value| {
        let text = value.as_str()?.replacen(' ', "T", 1);
        let text = text.strip_suffix('Z').unwrap_or(&text);
        let text = text
            .split_once('.')
            .map_or(text, |(whole, part)| if part.bytes().all(|b| b == b'0') { whole } else { text });
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
    };
    // Two whole numbers that are not the same may be so as floating-point numbers.
    let is_whole = |value: &Value| value.is_i64() || value.is_u64();
    let both_whole = is_whole(value) && is_whole(expected);
    value == expected
        || (!both_whole && matches!((value.as_f64(), expected.as_f64()), (Some(a), Some(b)) if a == b))
        || matches!((moment(value), moment(expected)), (Some(a), Some(b)) if a == b)
}

fn from_json(records: &[Value]) -> Result<Batches> {
    let failed =
        |error: arrow_schema::ArrowError| Error::config(format!("the input of a test cannot be read: {error}"));
    let schema = arrow_json::reader::infer_json_schema_from_iterator(records.iter().map(Ok)).map_err(failed)?;
    let schema = Arc::new(Schema::new(schema.fields().clone()));
    let mut decoder = arrow_json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder().map_err(failed)?;
    decoder.serialize(records).map_err(failed)?;
    let batch = decoder.flush().map_err(failed)?;
    Ok(batch.map_or_else(|| Batches::empty(schema), Batches::once))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_moments_are_the_same_however_they_are_written() {
        for (value, expected, are) in [
            (json!(5), json!(5.0), true),
            (json!(1.5), json!(1.50), true),
            (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), false),
            (json!(u64::MAX), json!(u64::MAX - 1), false),
            (json!("12345678901234567.89"), json!("12345678901234567.89"), true),
            (json!("12345678901234567.89"), json!("12345678901234567.88"), false),
            (json!("2025-09-17T15:44:08"), json!("2025-09-17 15:44:08.000"), true),
            (json!("7"), json!(7), false),
        ] {
            assert_eq!(same(&value, &expected), are, "{value} and {expected}");
        }
    }
}
