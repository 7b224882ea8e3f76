//! What other programs read of the engine's work: a document for each pipeline, and one for each run.

use std::collections::BTreeMap;

use bson::{Bson, DateTime, Document, doc};
use chrono::{NaiveDate, NaiveDateTime};
use engine_sdk::message::{Operation, OperationRun};
use engine_sdk::prelude::*;
use mongodb::{ClientSession, Database};

use crate::connection::check_collection;
use crate::error::Failure;
use crate::state_document::to_bson;

/// Documents for other programs and people.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationsConfig {
    /// The collection with one document a pipeline: `Operation_name`,
    /// `Process_Operation_Sequence`, which counts its runs, `Last_execution_dtm`, up to
    /// where everything was delivered, `created_dtm` and `end_dtm` of the last run.
    /// Where a pipeline has never run, it begins at the `Last_execution_dtm` that
    /// stands there.
    #[serde(default = "default_collection")]
    collection: String,
    /// The collection with one document a run: windows, counts, outcome, error.
    #[serde(default = "default_audit")]
    audit: String,
    /// Names of operations by those of pipelines. Pipelines that are not here have
    /// no such documents. Unset: every pipeline has, under its own name.
    #[serde(default)]
    names: Option<BTreeMap<String, String>>,
}

fn default_collection() -> String {
    "Process_Operation".into()
}

fn default_audit() -> String {
    "Process_Operation_Audit".into()
}

/// Keeps those documents.
pub struct Operations {
    config: OperationsConfig,
}

impl Operations {
    pub fn new(config: OperationsConfig) -> Result<Self> {
        for name in [&config.collection, &config.audit] {
            check_collection(name)?;
        }
        if config.collection == config.audit {
            return Err(Error::config("`operations.audit` is the collection that `operations.collection` is")
                .hint("give them different names"));
        }
        let names: Vec<_> = config.names.iter().flat_map(BTreeMap::values).collect();
        if let Some(name) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(Error::config(format!("two pipelines would be the operation `{}`", name.1))
                .hint("give each a name of its own under `operations.names`"));
        }
        Ok(Self { config })
    }

    /// The collections that are written to.
    pub fn collections(&self) -> impl Iterator<Item = &str> {
        [self.config.collection.as_str(), self.config.audit.as_str()].into_iter()
    }

    /// The operation of a pipeline, if there is to be one.
    fn operation<'a>(&'a self, pipeline: &'a str) -> Option<&'a str> {
        match &self.config.names {
            Some(names) => names.get(pipeline).map(String::as_str),
            None => Some(pipeline),
        }
    }

    /// Where pipelines begin that have never run with this engine.
    pub async fn positions(&self, database: &Database) -> Result<BTreeMap<String, Value>, Failure> {
        let mut cursor = database.collection::<Document>(&self.config.collection).find(doc! {}).await?;
        let mut positions = BTreeMap::new();
        while cursor.advance().await? {
            let found = Document::try_from(cursor.current()).map_err(mongodb::error::Error::from)?;
            let Ok(operation) = found.get_str("Operation_name") else { continue };
            let pipeline = match &self.config.names {
                Some(names) => names.iter().find(|(_, name)| *name == operation).map(|(pipeline, _)| pipeline.as_str()),
                None => Some(operation),
            };
            let last = found.get("Last_execution_dtm").filter(|last| **last != Bson::Null);
            if let (Some(pipeline), Some(last)) = (pipeline, last) {
                // To begin at the beginning instead would send everything again.
                let last = position(last).ok_or_else(|| {
                    Error::config(format!("`Last_execution_dtm` of operation `{operation}` is no date: {last}"))
                        .hint("write a BSON date, {\"$date\": \"2026-01-31T10:00:00Z\"}, or that text alone")
                })?;
                positions.insert(pipeline.to_owned(), last);
            }
        }
        Ok(positions)
    }

    /// Brings the documents of a pipeline up to date.
    pub async fn note(
        &self,
        database: &Database,
        session: &mut ClientSession,
        operation: &Operation,
    ) -> Result<(), Failure> {
        let Some(name) = self.operation(&operation.pipeline) else { return Ok(()) };
        let operations = database.collection::<Document>(&self.config.collection);
        let audit = database.collection::<Document>(&self.config.audit);
        let mut set = Document::new();
        if let Some(position) = &operation.position {
            set.insert("Last_execution_dtm", stored(position));
        }
        let mut begun = 0;
        for run in &operation.runs {
            match &run.ended {
                None => {
                    begun += 1;
                    set.extend(doc! {"created_dtm": date(&run.started), "end_dtm": Bson::Null});
                }
                Some(ended) => set.extend(doc! {"created_dtm": date(&run.started), "end_dtm": date(ended)}),
            }
        }
        let mut update = doc! {"$inc": {"Process_Operation_Sequence": begun}};
        if !set.is_empty() {
            update.insert("$set", set);
        }
        let filter = doc! {"Operation_name": name};
        operations.update_one(filter.clone(), update).upsert(true).session(&mut *session).await?;
        if operation.runs.is_empty() {
            return Ok(());
        }
        let now = operations.find_one(filter).session(&mut *session).await?.unwrap_or_default();
        let sequence = now.get("Process_Operation_Sequence").cloned().unwrap_or(Bson::Null);
        for run in &operation.runs {
            let mut update = doc! {"$set": told(name, run)};
            // The number of a run is that of its beginning.
            update.insert("$setOnInsert", doc! {"Process_Operation_Sequence": &sequence});
            audit.update_one(doc! {"_id": &run.id}, update).upsert(true).session(&mut *session).await?;
        }
        Ok(())
    }
}

/// A run for the audit trail.
fn told(operation: &str, run: &OperationRun) -> Document {
    let mut told = doc! {"Operation_name": operation, "trigger": &run.trigger, "created_dtm": date(&run.started)};
    told.insert("end_dtm", run.ended.as_deref().map_or(Bson::Null, date));
    told.insert("outcome", run.outcome.clone().map_or(Bson::Null, Bson::String));
    let bound = |value: &Option<Value>| value.as_ref().map_or(Bson::Null, stored);
    let windows = run.windows.iter().map(|window| {
        let id = i64::try_from(window.id).unwrap_or(i64::MAX);
        Bson::Document(doc! {"window": id, "start": bound(&window.lower), "end": bound(&window.upper)})
    });
    told.insert("windows", windows.collect::<Vec<_>>());
    let Some(Value::Object(report)) = &run.report else { return told };
    if let Some(figures) = report.get("figures") {
        told.insert("counts", to_bson(figures));
    }
    let errors = report.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let first = errors.first().map_or(Bson::Null, |error| {
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        Bson::Document(doc! {"kind": text("kind"), "message": text("message"), "stage": text("stage")})
    });
    told.insert("error", first);
    told
}

/// A position that other programs wrote, as a cursor takes it: a date as text without zone, in UTC.
fn position(value: &Bson) -> Option<Value> {
    Some(match value {
        Bson::DateTime(date) => Value::from(written(naive(*date)?)),
        Bson::String(text) => moment(text).map_or_else(|| Value::from(text.as_str()), |at| Value::from(written(at))),
        // As `mongoexport` writes dates, and some programs then store them.
        Bson::Document(document) if document.len() == 1 => match document.get("$date")? {
            Bson::String(text) => Value::from(written(moment(text)?)),
            Bson::Int64(milliseconds) => Value::from(written(naive(DateTime::from_millis(*milliseconds))?)),
            Bson::Document(long) => {
                let milliseconds = long.get_str("$numberLong").ok()?.parse().ok()?;
                Value::from(written(naive(DateTime::from_millis(milliseconds))?))
            }
            date => position(date)?,
        },
        Bson::Int32(number) => Value::from(*number),
        Bson::Int64(number) => Value::from(*number),
        _ => return None,
    })
}

fn naive(date: DateTime) -> Option<NaiveDateTime> {
    chrono::DateTime::from_timestamp_millis(date.timestamp_millis()).map(|at| at.naive_utc())
}

fn written(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.f").to_string()
}

/// A position as other programs read it: what is a moment becomes a date.
fn stored(position: &Value) -> Bson {
    let value = position.get("value").unwrap_or(position);
    match value.as_str().and_then(moment) {
        Some(at) => Bson::DateTime(DateTime::from_millis(at.and_utc().timestamp_millis())),
        None => to_bson(value),
    }
}

fn date(text: &str) -> Bson {
    moment(text).map_or(Bson::Null, |at| Bson::DateTime(DateTime::from_millis(at.and_utc().timestamp_millis())))
}

/// Dates and times in the forms that databases and programs write; UTC where no zone is named.
fn moment(text: &str) -> Option<NaiveDateTime> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)) {
        return Some(at.naive_utc());
    }
    for form in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, form) {
            return Some(at);
        }
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_all_three_forms_and_written_as_dates() {
        let at = DateTime::from_millis(1_756_713_600_123);
        let text = json!("2025-09-01 08:00:00.123");
        for value in [
            Bson::DateTime(at),
            Bson::String("2025-09-01T08:00:00.123Z".into()),
            Bson::String("2025-09-01T10:00:00.123+02:00".into()),
            Bson::Document(doc! {"$date": "2025-09-01T08:00:00.123Z"}),
            Bson::Document(doc! {"$date": 1_756_713_600_123_i64}),
            Bson::Document(doc! {"$date": {"$numberLong": "1756713600123"}}),
        ] {
            assert_eq!(position(&value), Some(text.clone()), "{value}");
        }
        assert_eq!(stored(&text), Bson::DateTime(at));
        assert_eq!(stored(&json!({"value": "2025-09-01 08:00:00.123", "key": 7})), Bson::DateTime(at));
        assert_eq!(stored(&json!(7)), Bson::Int64(7));
        assert_eq!(position(&Bson::DateTime(DateTime::from_millis(0))), Some(json!("1970-01-01 00:00:00")));
        assert_eq!(position(&Bson::Null), None);
    }
}
