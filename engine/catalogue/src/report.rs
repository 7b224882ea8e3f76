//! Reports: rows that belong together, as pipelines.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::datasource;
use crate::delivery::{self, Form};
use crate::parameters::Parameters;
use crate::tables::{Config, Datasource, Delivery, Rows, Schedule};
use crate::texts::fixed;

/// A report, on demand or of one schedule.
#[derive(Debug, Clone)]
pub struct Report {
    /// The pipeline's name: `report-7`, and `report-7-3` of its schedule 3.
    pub pipeline: String,
    /// Where it stands, for messages.
    pub place: String,
    /// `report_configs.id`
    pub config: i64,
    /// What it is called there.
    pub name: String,
    /// Its schedule. None: it runs on demand.
    pub schedule: Option<Scheduled>,
    /// Where it goes, as far as that is active.
    pub deliveries: Vec<ReportDelivery>,
    /// The engine's names of its parameters, by those of its row.
    pub parameters: BTreeMap<String, String>,
    /// The pipeline, in the form of a pipeline file, or what is wrong with the rows.
    pub definition: Result<Value, String>,
}

/// The schedule of a report.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// `report_schedules.id`
    pub id: i64,
    /// Its cron expression.
    pub cron: String,
    /// The zone of its times.
    pub timezone: String,
    /// When its last run began, as its row says.
    pub last_run_at: Option<DateTime<Utc>>,
}

/// Where a report goes.
#[derive(Debug, Clone)]
pub struct ReportDelivery {
    /// `report_deliveries.id`
    pub id: i64,
    /// What it is called there.
    pub name: String,
    /// How it is delivered.
    pub method: String,
    /// How many get it.
    pub recipients: u64,
}

/// The pipelines' names begin so.
const PREFIX: &str = "report-";

/// The report, and its schedule, that a pipeline is of. None: it is of no report.
pub(crate) fn of_pipeline(name: &str) -> Option<(i64, Option<i64>)> {
    let rest = name.strip_prefix(PREFIX)?;
    match rest.split_once('-') {
        Some((config, schedule)) => Some((config.parse().ok()?, Some(schedule.parse().ok()?))),
        None => Some((rest.parse().ok()?, None)),
    }
}

/// Whether a pipeline of that name is taken for a report.
pub fn is_report(name: &str) -> bool {
    of_pipeline(name).is_some()
}

/// The pipeline of a report, or of a schedule of it.
pub(crate) fn pipeline_of(config: i64, schedule: Option<i64>) -> String {
    match schedule {
        Some(schedule) => format!("{PREFIX}{config}-{schedule}"),
        None => format!("{PREFIX}{config}"),
    }
}

/// Every active report: once on demand, and once for each active schedule.
pub fn reports(rows: &Rows) -> Vec<Report> {
    let mut reports = Vec::new();
    for config in rows.configs.iter().filter(|config| config.is_active) {
        let of_config = |schedule: &&Schedule| schedule.config_id == config.id && schedule.is_active;
        let schedules: Vec<_> = rows.schedules.iter().filter(of_config).collect();
        let zone = schedules.first().map_or("UTC", |schedule| zone(schedule));
        reports.push(report(rows, config, None, zone));
        reports.extend(schedules.iter().map(|schedule| report(rows, config, Some(schedule), self::zone(schedule))));
    }
    reports
}

fn zone(schedule: &Schedule) -> &str {
    let zone = schedule.timezone.trim();
    if zone.is_empty() { "UTC" } else { zone }
}

fn report(rows: &Rows, config: &Config, schedule: Option<&Schedule>, zone: &str) -> Report {
    let place = match schedule {
        Some(schedule) => format!("catalogue: report {} ({}), schedule {}", config.id, config.report_name, schedule.id),
        None => format!("catalogue: report {} ({})", config.id, config.report_name),
    };
    let of_config = |delivery: &&Delivery| delivery.config_id == config.id && delivery.is_active;
    let active: Vec<_> = rows.deliveries.iter().filter(of_config).collect();
    let about = |delivery: &&Delivery| ReportDelivery {
        id: delivery.id,
        name: delivery.delivery_name.clone(),
        method: delivery.method.clone(),
        recipients: if delivery.method == "email" { recipients(rows, delivery.id).count() as u64 } else { 1 },
    };
    let parameters = Parameters::read(&config.parameters, schedule.is_some());
    Report {
        pipeline: pipeline_of(config.id, schedule.map(|schedule| schedule.id)),
        place,
        config: config.id,
        name: config.report_name.clone(),
        schedule: schedule.map(|schedule| Scheduled {
            id: schedule.id,
            cron: schedule.cron_expression.trim().to_owned(),
            timezone: zone.to_owned(),
            last_run_at: schedule.last_run_at,
        }),
        deliveries: active.iter().map(about).collect(),
        parameters: parameters.as_ref().map(|it| it.called().clone()).unwrap_or_default(),
        definition: parameters.and_then(|parameters| definition(rows, config, schedule, zone, &active, &parameters)),
    }
}

fn recipients(rows: &Rows, delivery: i64) -> impl Iterator<Item = &crate::tables::Recipient> {
    rows.recipients.iter().filter(move |recipient| recipient.delivery_id == delivery && recipient.is_active)
}

fn definition(
    rows: &Rows,
    config: &Config,
    schedule: Option<&Schedule>,
    zone: &str,
    active: &[&Delivery],
    parameters: &Parameters,
) -> Result<Value, String> {
    let datasource = datasource_of(rows, config.datasource_id)?;
    if zone.parse::<chrono_tz::Tz>().is_err() {
        return Err(format!("`timezone` is `{zone}`, which is no time zone; write one such as Asia/Kolkata"));
    }
    if active.is_empty() {
        return Err("it has no active delivery".into());
    }
    let source = datasource::source(datasource, config, parameters)
        .map_err(|why| format!("{why} (datasource {}, {})", datasource.id, datasource.name))?;
    if schedule.is_some()
        && let Some(name) = parameters.without_value(parameters.called().keys())
    {
        return Err(format!("`parameters`: `{name}` has no default, and a schedule sets none"));
    }
    let (ending, format) = format(config)?;
    let form = Form { report: &config.report_name, ending, format, zone, parameters };
    let sink = |delivery: &&Delivery| {
        let recipients: Vec<_> = recipients(rows, delivery.id).collect();
        let sink = delivery::sink(delivery, &recipients, &form);
        sink.map_err(|why| format!("{why} (delivery {}, {})", delivery.id, delivery.delivery_name))
    };
    let mut made = Map::new();
    made.insert("name".into(), json!(pipeline_of(config.id, schedule.map(|schedule| schedule.id))));
    made.insert("description".into(), json!(config.report_name));
    made.insert("timezone".into(), json!(zone));
    if let Some(schedule) = schedule {
        made.insert("schedule".into(), json!({"cron": schedule.cron_expression, "timezone": zone}));
    }
    if !parameters.declared().is_empty() {
        made.insert("params".into(), parameters.declared().clone().into());
    }
    match config.max_rows {
        None | Some(0) => {}
        Some(most) if most > 0 => _ = made.insert("max_rows".into(), json!(most)),
        Some(most) => return Err(format!("`max_rows` is {most}")),
    }
    // Each execution is one by itself: what one could not deliver is no matter of the next, nor are its columns.
    made.insert("unfinished".into(), json!("give_up"));
    made.insert("on_schema_change".into(), json!("ignore"));
    made.insert("parallelism".into(), json!(1));
    made.insert("source".into(), source);
    made.insert("sinks".into(), active.iter().map(sink).collect::<Result<Vec<_>, _>>()?.into());
    Ok(made.into())
}

fn datasource_of(rows: &Rows, id: i64) -> Result<&Datasource, String> {
    let found = rows.datasources.iter().find(|datasource| datasource.id == id);
    let found = found.ok_or_else(|| format!("there is no datasource {id}"))?;
    if found.is_active { Ok(found) } else { Err(format!("the datasource {id} ({}) is not active", found.name)) }
}

/// The ending of the file's name, and what makes the file.
fn format(config: &Config) -> Result<(&'static str, Value), String> {
    match config.output_format.to_lowercase().as_str() {
        "csv" => Ok(("csv", json!("csv"))),
        "xlsx" | "excel" => Ok(("xlsx", json!("excel"))),
        "json" => Ok(("json", json!("json"))),
        "pdf" => {
            let with = json!({"title": fixed(&config.report_name), "date": "{{ params.execution_time }}"});
            Ok(("pdf", json!({"use": "pdf", "with": with})))
        }
        other => Err(format!("`output_format` is `{other}`; there are csv, xlsx, json and pdf")),
    }
}

impl Rows {
    /// The source of a datasource, active or not, to be tried out. None: there is none of that id.
    pub fn source_to_try(&self, id: i64) -> Option<Result<Value, String>> {
        let found = self.datasources.iter().find(|datasource| datasource.id == id)?;
        Some(datasource::probe(found))
    }

    /// The sink of a delivery, active or not, to be tried out. None: there is none of that id.
    pub fn sink_to_try(&self, id: i64) -> Option<Result<Value, String>> {
        let found = self.deliveries.iter().find(|delivery| delivery.id == id)?;
        let config = self.configs.iter().find(|config| config.id == found.config_id);
        let parameters = Parameters::read(config.map_or("", |config| &config.parameters), true).unwrap_or_default();
        let form = Form { report: "report", ending: "csv", format: json!("csv"), zone: "UTC", parameters: &parameters };
        Some(delivery::sink(found, &recipients(self, id).collect::<Vec<_>>(), &form))
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
