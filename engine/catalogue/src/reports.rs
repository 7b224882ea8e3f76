//! The catalogue as the service asks it.

use std::sync::{Arc, Mutex, PoisonError};

use engine_abi::{Error, Result};
use engine_server::{Execution, Refusal, ReportEntry, Reports, Service, Which, Wish};
use serde_json::{Map, Value};

use crate::database::Database;
use crate::record::Recorder;
use crate::tables::{Rows, read};
use crate::write;

/// Tries out a stage, in the form of a pipeline file: the first is whether it is a source.
type Try = Box<dyn Fn(bool, &Value) -> Result<String> + Send + Sync>;

/// A catalogue that a service serves.
pub struct Catalogued {
    database: Arc<Database>,
    recorder: Arc<Recorder>,
    attempt: Try,
    reached: Arc<Mutex<Option<Error>>>,
}

impl Catalogued {
    /// A catalogue. `attempt`: tries a source (`true`) or a sink out. `reached`: what kept it from being read last.
    pub fn new(
        database: Arc<Database>,
        recorder: Arc<Recorder>,
        attempt: Try,
        reached: Arc<Mutex<Option<Error>>>,
    ) -> Self {
        Self { database, recorder, attempt, reached }
    }

    fn test(
        &self,
        is_source: bool,
        find: impl Fn(&Rows) -> Option<std::result::Result<Value, String>>,
    ) -> Option<Result<String>> {
        let rows = match read(&self.database) {
            Ok(rows) => rows,
            Err(error) => return Some(Err(error)),
        };
        let stage = find(&rows)?.map_err(Error::config);
        Some(stage.and_then(|stage| (self.attempt)(is_source, &stage)))
    }
}

impl Reports for Catalogued {
    fn list(&self) -> Vec<ReportEntry> {
        let reports = self.recorder.reports();
        let entry = |report: &crate::Report| ReportEntry {
            pipeline: report.pipeline.clone(),
            config_id: report.config,
            name: report.name.clone(),
            schedule: report.schedule.as_ref().map(|it| (it.id, it.cron.clone(), it.timezone.clone())),
        };
        reports.iter().map(entry).collect()
    }

    fn execute(&self, service: &Service, which: Which, wish: Wish) -> std::result::Result<String, Refusal> {
        let reports = self.recorder.reports();
        let found = reports.iter().find(|report| match (which, &report.schedule) {
            (Which::Config(id), None) => report.config == id,
            (Which::Schedule(id), Some(schedule)) => schedule.id == id,
            _ => false,
        });
        let report = found.ok_or_else(|| {
            if !service.has_begun() {
                return Refusal::Error(Error::unavailable("the catalogue is being read").hint("try again in a moment"));
            }
            Refusal::Unknown(match which {
                Which::Config(id) => format!("report {id}"),
                Which::Schedule(id) => format!("schedule {id}"),
            })
        })?;
        let own = |(name, value): (String, Value)| (report.parameters.get(&name).cloned().unwrap_or(name), value);
        let params = Value::Object(wish.parameters.into_iter().map(own).collect::<Map<_, _>>());
        let id = uuid::Uuid::new_v4().hyphenated().to_string();
        match which {
            Which::Config(_) => service.enqueue(&report.pipeline, "api", params, Some(id.clone()))?,
            Which::Schedule(_) => service.trigger(&report.pipeline, "api", params, Some(id.clone()))?,
        }
        let by = wish.executed_by.as_deref().filter(|by| !by.trim().is_empty());
        self.recorder.open(&report.pipeline, &id, by, "api")?;
        Ok(id)
    }

    fn execution(&self, id: &str) -> Result<Option<Execution>> {
        if let Some(live) = self.recorder.live(id)? {
            return Ok(Some(live));
        }
        write::read(&self.database, id)
    }

    fn test_datasource(&self, id: i64) -> Option<Result<String>> {
        self.test(true, |rows| rows.source_to_try(id))
    }

    fn test_delivery(&self, id: i64) -> Option<Result<String>> {
        self.test(false, |rows| rows.sink_to_try(id))
    }

    fn reached(&self) -> Result<()> {
        match &*self.reached.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}
