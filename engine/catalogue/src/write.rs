//! Writing executions into the catalogue, and reading them back. Whatever is written is written under the execution's
//! id, so that writing it once more changes nothing.

use chrono::{DateTime, Utc};
use engine_abi::Result;
use engine_server::{DeliveryLog, Execution, ExecutionStatus, LogStatus};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error as Failure, Params, Row, params};

use crate::database::Database;
use crate::tables::{number, text};

const EXECUTION: &str = "INSERT INTO report_executions (id, config_id, schedule_id, status, started_at, completed_at, \
    executed_by, execution_context, query_execution_time_ms, rows_returned, file_generated_path, file_size_bytes, \
    error_message) VALUES (:id, :config, :schedule, :status, :started, :completed, :by, :context, :took, :rows, :path, \
    :size, :error) \
    ON DUPLICATE KEY UPDATE status = :status, started_at = :started, completed_at = :completed, executed_by = :by, \
    execution_context = :context, query_execution_time_ms = :took, rows_returned = :rows, \
    file_generated_path = :path, file_size_bytes = :size, error_message = :error";
const FIND_LOG: &str =
    "SELECT id FROM report_delivery_logs WHERE execution_id = ? AND delivery_id = ? ORDER BY id LIMIT 1";
const NEW_LOG: &str = "INSERT INTO report_delivery_logs (config_id, delivery_id, schedule_id, execution_id, status, sent_at, \
    completed_at, recipient_count, success_count, failure_count, retry_count, error_message, delivery_details, \
    file_size_bytes, processing_time_ms) VALUES (:config, :delivery, :schedule, :execution, :status, :sent, :completed, \
    :recipients, :succeeded, :failed, :retries, :error, :details, :size, :took)";
const LOG: &str = "UPDATE report_delivery_logs SET status = :status, sent_at = :sent, completed_at = :completed, \
    recipient_count = :recipients, success_count = :succeeded, failure_count = :failed, retry_count = :retries, \
    error_message = :error, delivery_details = :details, file_size_bytes = :size, processing_time_ms = :took \
    WHERE id = :log";
/// It never moves back: what is written late is of an earlier run.
const LAST_RUN: &str = "UPDATE report_schedules SET last_run_at = :at \
    WHERE id = :schedule AND (last_run_at IS NULL OR last_run_at < :at)";

/// A time as a column takes it, in the session's zone, which is UTC.
fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Writes an execution with its deliveries, all or nothing. `about`: the end of the time that its run is about.
///
/// # Errors
/// Those of the database.
pub(crate) fn execution(database: &Database, execution: &Execution, about: Option<DateTime<Utc>>) -> Result<()> {
    database.with(async |connection| {
        connection.query_drop("START TRANSACTION").await?;
        // The row is locked from here on: who writes the same execution waits.
        connection.exec_drop(EXECUTION, of_execution(execution)).await?;
        for log in &execution.deliveries {
            let found: Option<Row> =
                connection.exec_first(FIND_LOG, (&execution.execution_id, log.delivery_id)).await?;
            let found = found.and_then(|row| number(&row, 0));
            connection.exec_drop(if found.is_some() { LOG } else { NEW_LOG }, of_log(execution, log, found)).await?;
        }
        if let (Some(schedule), Some(about)) = (execution.schedule_id, about) {
            let at = about.format("%Y-%m-%d %H:%M:%S").to_string();
            connection.exec_drop(LAST_RUN, params! {"at" => at, "schedule" => schedule}).await?;
        }
        connection.query_drop("COMMIT").await
    })
}

fn of_execution(execution: &Execution) -> Params {
    params! {
        "id" => &execution.execution_id,
        "config" => execution.config_id,
        "schedule" => execution.schedule_id,
        "status" => execution.status.as_str(),
        "started" => moment(execution.started_at.unwrap_or_else(Utc::now)),
        "completed" => execution.completed_at.map(moment),
        "by" => &execution.executed_by,
        "context" => execution.execution_context.as_ref().map(ToString::to_string),
        "took" => execution.query_execution_time_ms,
        "rows" => execution.rows_returned,
        "path" => &execution.file_generated_path,
        "size" => execution.file_size_bytes,
        "error" => &execution.error_message,
    }
}

/// `log`: the row that is there already. Each statement takes of the values what it names.
fn of_log(execution: &Execution, log: &DeliveryLog, row: Option<i64>) -> Params {
    let all = params! {
        "status" => log.status.as_str(),
        "sent" => log.sent_at.map(moment),
        "completed" => log.completed_at.map(moment),
        "recipients" => log.recipient_count,
        "succeeded" => log.success_count,
        "failed" => log.failure_count,
        "retries" => log.retry_count,
        "error" => &log.error_message,
        "details" => log.delivery_details.as_ref().map(ToString::to_string),
        "size" => log.file_size_bytes,
        "took" => log.processing_time_ms,
    };
    let more = match row {
        Some(row) => params! {"log" => row},
        None => params! {
            "config" => execution.config_id,
            "delivery" => log.delivery_id,
            "schedule" => execution.schedule_id,
            "execution" => &execution.execution_id,
        },
    };
    match (all, more) {
        (Params::Named(mut all), Params::Named(more)) => {
            all.extend(more);
            Params::Named(all)
        }
        (all, _) => all,
    }
}

/// Reads an execution back. None: there is none of that id.
///
/// # Errors
/// Those of the database.
pub(crate) fn read(database: &Database, id: &str) -> Result<Option<Execution>> {
    database.with(async |connection| {
        let sql = "SELECT id, config_id, schedule_id, status, started_at, completed_at, executed_by, \
                   execution_context, query_execution_time_ms, rows_returned, file_generated_path, file_size_bytes, \
                   error_message FROM report_executions WHERE id = ?";
        let Some(row): Option<Row> = connection.exec_first(sql, (id,)).await? else { return Ok(None) };
        Ok(Some(Execution {
            execution_id: text(&row, 0),
            config_id: number(&row, 1).unwrap_or_default(),
            schedule_id: number(&row, 2),
            status: ExecutionStatus::of_word(&text(&row, 3)).unwrap_or(ExecutionStatus::Running),
            started_at: time(&row, 4),
            completed_at: time(&row, 5),
            executed_by: optional(&row, 6),
            execution_context: json(&row, 7),
            query_execution_time_ms: number(&row, 8),
            rows_returned: number(&row, 9),
            file_generated_path: optional(&row, 10),
            file_size_bytes: number(&row, 11),
            error_message: optional(&row, 12),
            deliveries: logs(connection, id).await?,
        }))
    })
}

async fn logs(connection: &mut Conn, execution: &str) -> std::result::Result<Vec<DeliveryLog>, Failure> {
    let sql = "SELECT delivery_id, status, sent_at, completed_at, recipient_count, success_count, failure_count, \
               retry_count, error_message, delivery_details, file_size_bytes, processing_time_ms \
               FROM report_delivery_logs WHERE execution_id = ? ORDER BY id";
    let rows: Vec<Row> = connection.exec(sql, (execution,)).await?;
    let log = |row: &Row| DeliveryLog {
        delivery_id: number(row, 0).unwrap_or_default(),
        status: LogStatus::of_word(&text(row, 1)).unwrap_or(LogStatus::Pending),
        sent_at: time(row, 2),
        completed_at: time(row, 3),
        recipient_count: number(row, 4).unwrap_or_default(),
        success_count: number(row, 5).unwrap_or_default(),
        failure_count: number(row, 6).unwrap_or_default(),
        retry_count: number(row, 7).unwrap_or_default(),
        error_message: optional(row, 8),
        delivery_details: json(row, 9),
        file_size_bytes: number(row, 10),
        processing_time_ms: number(row, 11),
    };
    Ok(rows.iter().map(log).collect())
}

fn optional(row: &Row, place: usize) -> Option<String> {
    Some(text(row, place)).filter(|text| !text.is_empty())
}

fn json(row: &Row, place: usize) -> Option<serde_json::Value> {
    serde_json::from_str(&text(row, place)).ok()
}

fn time(row: &Row, place: usize) -> Option<DateTime<Utc>> {
    crate::tables::time(&text(row, place))
}
