//! An execution as the catalogue's tables have it, made of what the state holds.

use chrono::{DateTime, Utc};
use engine_server::{DeliveryLog, Execution, ExecutionStatus, LogStatus};
use engine_state::{DeliveryRecord, Outcome, Run};
use serde_json::{Value, json};

use crate::delivery;
use crate::facts::Facts;
use crate::journal::{Open, Place};
use crate::report::of_pipeline;

/// The longest text of an error, in characters.
const LONGEST_ERROR: usize = 4_000;

/// An execution, from what the state holds of it. `is_at_work`: the service has it at work, or in its queue. `mask`:
/// takes secrets out of a text.
pub(crate) fn execution(
    id: &str,
    open: &Open,
    facts: &Facts,
    is_at_work: bool,
    mask: &dyn Fn(&str) -> String,
) -> Execution {
    let (config_id, schedule_id) = of_pipeline(&open.pipeline).unwrap_or_default();
    let given_up = facts.deliveries.iter().any(|record| given_up(record).is_some());
    let status = status(facts, given_up, is_at_work);
    let last = facts.last();
    let report = last.and_then(|run| run.report.as_ref());
    let ended = last.and_then(|run| run.ended).or_else(|| status.is_final().then(Utc::now));
    let error = error(facts, status, mask);
    let deliveries: Vec<_> =
        open.deliveries.iter().map(|place| log(place, facts, status, ended, error.as_deref(), mask)).collect();
    let read_seconds = facts.runs.iter().find_map(|run| run.report.as_ref()?["read_seconds"].as_f64());
    let arrived =
        || facts.deliveries.iter().filter(|record| record.receipt.is_some() && self::given_up(record).is_none());
    let rows = arrived().map(|record| record.rows as i64).max();
    let read = report.and_then(|report| report["read"].as_i64()).filter(|_| !facts.windows.is_empty());
    Execution {
        execution_id: id.to_owned(),
        config_id,
        schedule_id,
        status,
        started_at: facts.runs.first().map(|run| run.started),
        completed_at: ended.filter(|_| status.is_final()),
        executed_by: Some(open.executed_by.clone()),
        execution_context: Some(context(open, facts)),
        query_execution_time_ms: read_seconds.map(|seconds| (seconds * 1000.0).round() as i64),
        rows_returned: rows.or(read).filter(|_| status.is_final()),
        file_generated_path: place_of_file(open, facts),
        file_size_bytes: arrived().map(|record| record.bytes as i64).max(),
        error_message: error,
        deliveries,
    }
}

fn status(facts: &Facts, given_up: bool, is_at_work: bool) -> ExecutionStatus {
    match facts.last() {
        _ if is_at_work => ExecutionStatus::Running,
        None => ExecutionStatus::Cancelled,
        Some(Run { outcome: None, .. }) => ExecutionStatus::Failed,
        Some(Run { outcome: Some(Outcome::Failed), .. }) => ExecutionStatus::Failed,
        Some(Run { outcome: Some(Outcome::Succeeded), .. }) if given_up => ExecutionStatus::Failed,
        Some(Run { outcome: Some(Outcome::Succeeded), .. }) => ExecutionStatus::Completed,
        // Stopped when everything had arrived.
        Some(_) if !facts.windows.is_empty() && !facts.is_unfinished() && !given_up => ExecutionStatus::Completed,
        Some(_) => ExecutionStatus::Cancelled,
    }
}

/// Why it failed.
fn error(facts: &Facts, status: ExecutionStatus, mask: &dyn Fn(&str) -> String) -> Option<String> {
    let last = facts.last();
    match status {
        ExecutionStatus::Running | ExecutionStatus::Completed => None,
        ExecutionStatus::Cancelled if last.is_none() => Some("it never began: its report is not there any more".into()),
        ExecutionStatus::Cancelled => Some("it was asked to stop".into()),
        ExecutionStatus::Failed if last.is_some_and(|run| run.outcome.is_none()) => {
            Some("the engine ended in it, and its report could not be taken up".into())
        }
        ExecutionStatus::Failed => {
            let report = last.and_then(|run| run.report.as_ref());
            let errors = report.and_then(|report| report["errors"].as_array());
            let told = |error: &Value| {
                let stage = error["stage"].as_str().map(|stage| format!("{stage}: ")).unwrap_or_default();
                format!("{stage}{}", error["message"].as_str().unwrap_or_default())
            };
            let all: Vec<_> = errors.into_iter().flatten().map(told).collect();
            let all = match all.is_empty() {
                true => facts.deliveries.iter().filter_map(given_up).map(str::to_owned).collect(),
                false => all,
            };
            Some(short(&mask(&all.join("; "))))
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_ERROR).collect()
}

/// Why a delivery was given up.
fn given_up(record: &DeliveryRecord) -> Option<&str> {
    record.receipt.as_ref()?.detail.get("given_up")?.as_str()
}

fn context(open: &Open, facts: &Facts) -> Value {
    let (first, last) = (facts.runs.first(), facts.last());
    let parameters = facts.windows.first().and_then(|window| window.context.get("params")).cloned();
    json!({
        "pipeline": open.pipeline,
        "run": last.map(|run| run.id.clone()),
        "trigger": first.map(|run| run.trigger.clone()),
        "slot": first.and_then(|run| run.slot),
        "asked": first.and_then(|run| run.params.clone()),
        "parameters": parameters,
        "taken_up": facts.runs.len().saturating_sub(1),
    })
}

/// Where the report's file is: on a share, if it went to one, else at the first place that names one.
fn place_of_file(open: &Open, facts: &Facts) -> Option<String> {
    let located = |methods: &[&str]| {
        let places = open.deliveries.iter().filter(|place| methods.contains(&place.method.as_str()));
        let records = places
            .filter_map(|place| facts.deliveries.iter().find(|it| it.delivery.sink == delivery::sink_name(place.id)));
        records.filter_map(|record| record.receipt.as_ref()?.location.clone()).next()
    };
    located(&["file_share"]).or_else(|| located(&["sftp", "s3"]))
}

fn log(
    place: &Place,
    facts: &Facts,
    status: ExecutionStatus,
    ended: Option<DateTime<Utc>>,
    error: Option<&str>,
    mask: &dyn Fn(&str) -> String,
) -> DeliveryLog {
    let sink = delivery::sink_name(place.id);
    let record = facts.deliveries.iter().find(|record| record.delivery.sink == sink);
    let receipt = record.and_then(|record| record.receipt.as_ref());
    let failure = record.and_then(|record| record.failure.as_ref()).map(|failure| failure.message.as_str());
    let why = record.and_then(given_up);
    let of_delivery = match (receipt, why) {
        (Some(_), Some(_)) => LogStatus::Failed,
        (Some(_), None) => LogStatus::Success,
        (None, _) if status.is_final() => LogStatus::Failed,
        (None, _) if failure.is_some() => LogStatus::Retry,
        (None, _) => LogStatus::Pending,
    };
    let recipients = place.recipients as i64;
    let alerts = receipt.map(|receipt| receipt.alerts.as_slice()).unwrap_or_default();
    let refused = if place.method == "email" { (alerts.len() as i64).min(recipients) } else { 0 };
    let (success_count, failure_count) = match of_delivery {
        LogStatus::Success => (recipients - refused, refused),
        LogStatus::Failed => (0, recipients),
        LogStatus::Pending | LogStatus::Retry => (0, 0),
    };
    let settled = record.and_then(|record| record.settled);
    let window = record.and_then(|record| facts.windows.iter().find(|window| window.id == record.delivery.window));
    let told: Vec<_> = alerts.iter().map(|alert| mask(&alert.message)).collect();
    let is_over = matches!(of_delivery, LogStatus::Success | LogStatus::Failed);
    let why = match of_delivery {
        LogStatus::Failed => why.or(failure).or(error),
        LogStatus::Retry => failure,
        LogStatus::Success | LogStatus::Pending => None,
    };
    DeliveryLog {
        delivery_id: place.id,
        status: of_delivery,
        sent_at: settled.filter(|_| of_delivery == LogStatus::Success),
        completed_at: settled.or(ended).filter(|_| is_over),
        recipient_count: recipients,
        success_count,
        failure_count,
        retry_count: record.map_or(0, |record| i64::from(record.attempts.saturating_sub(1))),
        error_message: why.map(|why| short(&mask(why))),
        delivery_details: Some(json!({
            "name": place.name,
            "method": place.method,
            "location": receipt.and_then(|receipt| receipt.location.clone()),
            "sha256": receipt.and_then(|receipt| receipt.sha256.clone()),
            "rows": record.map(|record| record.rows),
            "window": record.map(|record| record.delivery.window),
            "alerts": told,
        })),
        file_size_bytes: record.filter(|_| of_delivery == LogStatus::Success).map(|record| record.bytes as i64),
        processing_time_ms: settled.zip(window).map(|(settled, window)| (settled - window.created).num_milliseconds()),
    }
}
