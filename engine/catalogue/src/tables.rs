//! The tables: making those that are missing, and reading what the other service has written.

use chrono::{DateTime, NaiveDateTime, Utc};
use engine_abi::Result;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error as Failure, Row, Value};

use crate::database::Database;

/// What makes the tables that are missing. None is ever changed or dropped.
const TABLES: &str = include_str!("tables.sql");

/// Makes the tables that are missing.
///
/// # Errors
/// Those of the database.
pub fn make_tables(database: &Database) -> Result<()> {
    database.with(async |connection| {
        for statement in TABLES.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            connection.query_drop(statement).await?;
        }
        Ok(())
    })
}

/// Every row that decides about reports, as they were at one moment.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub(crate) datasources: Vec<Datasource>,
    pub(crate) configs: Vec<Config>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) recipients: Vec<Recipient>,
}

/// A database to ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Datasource {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) connection_url: String,
    pub(crate) db_type: String,
    pub(crate) connection_config: String,
    pub(crate) is_active: bool,
}

/// A report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub(crate) id: i64,
    pub(crate) report_name: String,
    pub(crate) report_query: String,
    pub(crate) output_format: String,
    pub(crate) datasource_id: i64,
    pub(crate) parameters: String,
    pub(crate) timeout_seconds: Option<i64>,
    pub(crate) max_rows: Option<i64>,
    pub(crate) is_active: bool,
}

/// When a report runs by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schedule {
    pub(crate) id: i64,
    pub(crate) config_id: i64,
    pub(crate) cron_expression: String,
    pub(crate) timezone: String,
    pub(crate) is_active: bool,
    pub(crate) last_run_at: Option<DateTime<Utc>>,
}

/// Where a report goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) config_id: i64,
    pub(crate) delivery_name: String,
    pub(crate) method: String,
    pub(crate) delivery_config: String,
    pub(crate) max_retry: Option<i64>,
    pub(crate) retry_interval_minutes: Option<i64>,
    pub(crate) is_active: bool,
}

/// Who gets a delivery.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipient {
    pub(crate) delivery_id: i64,
    pub(crate) recipient_type: String,
    pub(crate) recipient_value: String,
    pub(crate) is_active: bool,
}

/// Reads all rows that decide about reports.
///
/// # Errors
/// Those of the database.
pub fn read(database: &Database) -> Result<Rows> {
    database.with(async |connection| {
        connection.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
        let rows = read_all(connection).await?;
        connection.query_drop("COMMIT").await?;
        Ok(rows)
    })
}

async fn read_all(connection: &mut Conn) -> std::result::Result<Rows, Failure> {
    let datasources = "SELECT id, name, connection_url, db_type, connection_config, is_active FROM report_datasources";
    let datasources = connection.query_map(datasources, |row: Row| Datasource {
        id: number(&row, 0).unwrap_or_default(),
        name: text(&row, 1),
        connection_url: text(&row, 2),
        db_type: text(&row, 3),
        connection_config: text(&row, 4),
        is_active: flag(&row, 5),
    });
    let datasources = datasources.await?;
    let configs = "SELECT id, report_name, report_query, output_format, datasource_id, parameters, timeout_seconds, \
                   max_rows, is_active FROM report_configs ORDER BY id";
    let configs = connection.query_map(configs, |row: Row| Config {
        id: number(&row, 0).unwrap_or_default(),
        report_name: text(&row, 1),
        report_query: text(&row, 2),
        output_format: text(&row, 3),
        datasource_id: number(&row, 4).unwrap_or_default(),
        parameters: text(&row, 5),
        timeout_seconds: number(&row, 6),
        max_rows: number(&row, 7),
        is_active: flag(&row, 8),
    });
    let configs = configs.await?;
    let schedules = "SELECT id, config_id, cron_expression, timezone, is_active, last_run_at FROM report_schedules \
                     ORDER BY id";
    let schedules = connection.query_map(schedules, |row: Row| Schedule {
        id: number(&row, 0).unwrap_or_default(),
        config_id: number(&row, 1).unwrap_or_default(),
        cron_expression: text(&row, 2),
        timezone: text(&row, 3),
        is_active: flag(&row, 4),
        last_run_at: time(&text(&row, 5)),
    });
    let schedules = schedules.await?;
    let deliveries = "SELECT id, config_id, delivery_name, method, delivery_config, max_retry, \
                      retry_interval_minutes, is_active FROM report_deliveries ORDER BY id";
    let deliveries = connection.query_map(deliveries, |row: Row| Delivery {
        id: number(&row, 0).unwrap_or_default(),
        config_id: number(&row, 1).unwrap_or_default(),
        delivery_name: text(&row, 2),
        method: text(&row, 3),
        delivery_config: text(&row, 4),
        max_retry: number(&row, 5),
        retry_interval_minutes: number(&row, 6),
        is_active: flag(&row, 7),
    });
    let deliveries = deliveries.await?;
    let recipients = "SELECT delivery_id, recipient_type, recipient_value, is_active \
                      FROM report_delivery_recipients ORDER BY id";
    let recipients = connection.query_map(recipients, |row: Row| Recipient {
        delivery_id: number(&row, 0).unwrap_or_default(),
        recipient_type: text(&row, 1),
        recipient_value: text(&row, 2),
        is_active: flag(&row, 3),
    });
    Ok(Rows { datasources, configs, schedules, deliveries, recipients: recipients.await? })
}

/// A value as text; empty where there is none.
pub(crate) fn text(row: &Row, place: usize) -> String {
    match row.as_ref(place) {
        None | Some(Value::NULL) => String::new(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(other) => other.as_sql(true).trim_matches('\'').to_owned(),
    }
}

pub(crate) fn number(row: &Row, place: usize) -> Option<i64> {
    text(row, place).trim().parse().ok()
}

/// A truth value, of whatever type the column is: `bit(1)` comes as a byte.
fn flag(row: &Row, place: usize) -> bool {
    match row.as_ref(place) {
        Some(Value::Bytes(bytes)) => !matches!(bytes.as_slice(), [] | [0] | b"0" | b"N" | b"n"),
        other => other.is_some_and(|value| !matches!(value, Value::NULL | Value::Int(0) | Value::UInt(0))),
    }
}

/// A time of the session, which is UTC.
pub(crate) fn time(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}
