//! Which rows a run reads, and in how many pieces.

use engine_postgres_copy::Kind;
use engine_sdk::prelude::*;
use engine_sdk::types;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::connection::execute;
use crate::error::Failure;
use crate::name::literal;
use crate::selection::{Piece, Range, Reading, Selected, Selection, Window};

/// Sees the database at one moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// What is read, and how its values look as text, does not depend on the login's settings.
const SETTINGS: &str = "SET LOCAL standard_conforming_strings = on; SET LOCAL TimeZone = 'UTC'; \
    SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; \
    SET LOCAL idle_in_transaction_session_timeout = 0";
/// Without these, a big table without a key is read from wherever another scan is.
const IN_ORDER: &str = "SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0";

/// Reads only rows that are new since the last run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// A column whose values only grow: a number, a time, a sortable id. Rows
    /// without a value in it are not read.
    pub column: String,
    /// Where the first run begins, this value included. Unset: with the
    /// smallest value that there is.
    #[serde(default)]
    pub start: Option<Start>,
    /// How long a row of a time column has to be in the past before it is read.
    /// Longer than any transaction that writes such rows takes: what is
    /// committed later than a larger value was read is never read.
    #[serde(default)]
    pub lag: Option<types::Duration>,
    /// The time zone of a column of the type `timestamp` without time zone,
    /// for `lag`: `Europe/Dublin`. Unset: UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A first value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Start {
    /// Of a column of numbers.
    Integer(i64),
    /// Of any column, as PostgreSQL reads it.
    Text(String),
}

impl Start {
    fn text(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// How a table is cut.
#[derive(Debug, Clone)]
pub struct Cut {
    pub key: String,
    pub splits: usize,
}

/// Whether the settings fit the columns.
pub fn check(reading: &Reading, cursor: Option<&Cursor>, cut: Option<&Cut>) -> Result<()> {
    if let Some(cursor) = cursor {
        let column = reading.column("cursor", &cursor.column)?;
        growing(column)?;
        if cursor.lag.is_some() && !is_time(column) {
            return Err(Error::config(format!("`cursor.lag` is for columns of times, and `{}` is none", column.name))
                .hint("leave `lag` out"));
        }
    }
    if let Some(cut) = cut {
        reading.column("key", &cut.key)?;
    }
    Ok(())
}

fn settings(selection: &Selection) -> String {
    match selection {
        Selection::Table(_) => format!("{SETTINGS}; {IN_ORDER}"),
        Selection::Query(_) => SETTINGS.into(),
    }
}

/// Begins the transaction of a session. Answers the snapshot that it sees, if it has a name.
pub async fn begin(connection: &mut PgConnection, selection: &Selection) -> Result<Option<String>, Failure> {
    let settings = settings(selection);
    execute(connection, &format!("{BEGIN}; {settings}")).await?;
    let exported = sqlx::query_scalar("SELECT pg_catalog.pg_export_snapshot()").persistent(false);
    match exported.fetch_one(&mut *connection).await.map_err(Failure::from) {
        Ok(snapshot) => Ok(Some(snapshot)),
        // A standby or a proxy may not have any.
        Err(Failure::Refused(_)) => {
            execute(connection, &format!("ROLLBACK; {BEGIN}; {settings}")).await?;
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Begins a transaction that sees what another one sees. `false`: the server no longer knows that
/// moment, and the transaction sees the present.
pub async fn join(
    connection: &mut PgConnection,
    selection: &Selection,
    snapshot: Option<&str>,
) -> Result<bool, Failure> {
    let settings = settings(selection);
    let Some(snapshot) = snapshot else {
        execute(connection, &format!("{BEGIN}; {settings}")).await?;
        return Ok(false);
    };
    execute(connection, BEGIN).await?;
    match execute(connection, &format!("SET TRANSACTION SNAPSHOT {}", literal(snapshot))).await {
        Ok(_) => {
            execute(connection, &settings).await?;
            Ok(true)
        }
        Err(Failure::Refused(_)) => {
            execute(connection, &format!("ROLLBACK; {BEGIN}; {settings}")).await?;
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// Plans inside a session's transaction.
pub async fn plan(
    connection: &mut PgConnection,
    selection: &Selection,
    cursor: Option<&Cursor>,
    cut: Option<&Cut>,
    request: &PlanRequest,
    snapshot: Option<&str>,
) -> Result<Plan, Failure> {
    let reading = Reading::new(connection, selection).await?;
    check(&reading, cursor, cut)?;
    let window = match cursor {
        Some(cursor) => match window(connection, &reading, cursor, request).await? {
            Some(window) => Some(window),
            // Nothing new.
            None => return Ok(Plan { upper: None, splits: vec![] }),
        },
        None => None,
    };
    let ranges = match cut {
        Some(cut) => ranges(connection, &reading, cut).await?,
        None => vec![],
    };
    let ranges: Vec<_> = if ranges.is_empty() { vec![None] } else { ranges.into_iter().map(Some).collect() };
    let rows = match (&reading.table, &window) {
        (Some(table), None) => estimate(connection, table.oid).await?.map(|rows| rows / ranges.len() as u64),
        _ => None,
    };
    let split = |(at, range): (usize, Option<Range>)| {
        let piece = Piece {
            selection: selection.clone(),
            window: window.clone(),
            range,
            snapshot: snapshot.map(str::to_owned),
        };
        let split = Split::new(format!("{at:04}"), &piece)?;
        Ok::<_, Error>(Split { estimated_rows: rows, ..split })
    };
    let splits = ranges.into_iter().enumerate().map(split).collect::<Result<_, _>>()?;
    Ok(Plan { upper: window.map(|window| json!(window.to)), splits })
}

/// About how many rows a table has, if the server has counted.
async fn estimate(connection: &mut PgConnection, table: i64) -> Result<Option<u64>, Failure> {
    let rows: f32 = sqlx::query_scalar("SELECT reltuples FROM pg_catalog.pg_class WHERE oid = $1::int8::oid")
        .bind(table)
        .persistent(false)
        .fetch_one(connection)
        .await?;
    // -1: never counted. 0 may be an estimate of before the first rows came.
    Ok((rows > 0.0).then_some(rows as u64))
}

/// What is new: everything above the last window, up to the largest value there is.
async fn window(
    connection: &mut PgConnection,
    reading: &Reading,
    cursor: &Cursor,
    request: &PlanRequest,
) -> Result<Option<Window>, Failure> {
    let column = reading.column("cursor", &cursor.column)?;
    let after = match &request.cursor {
        None => None,
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        Some(number @ serde_json::Value::Number(_)) => Some(number.to_string()),
        Some(other) => {
            return Err(Error::config(format!("the stored cursor {other} is no value of column `{}`", column.name))
                .hint("set it with `engine state set`, to a number or a text")
                .into());
        }
    };
    let from = if after.is_none() { cursor.start.as_ref().map(Start::text) } else { None };
    let sql = &column.sql;
    let mut conditions = vec![format!("{sql} IS NOT NULL")];
    conditions.extend(after.iter().map(|after| format!("{sql} > {}", literal(after))));
    conditions.extend(from.iter().map(|from| format!("{sql} >= {}", literal(from))));
    // What is larger than everything would be the last window for ever.
    if is_time(column) {
        conditions.push(format!("pg_catalog.isfinite({sql})"));
    } else if matches!(column.kind, Kind::Numeric(..) | Kind::WideNumeric) {
        conditions.push(format!("{sql}::text NOT IN ('NaN', 'Infinity', '-Infinity')"));
    }
    if let Some(lag) = &cursor.lag {
        let now = match column.kind {
            Kind::TimestampTz => "pg_catalog.now()".to_owned(),
            _ => format!("(pg_catalog.now() AT TIME ZONE {})", literal(cursor.time_zone.as_deref().unwrap_or("UTC"))),
        };
        // A day is over when the next one begins.
        let moment = if column.kind == Kind::Date { format!("({sql} + 1)") } else { sql.clone() };
        conditions.push(format!("{moment} <= {now} - interval '{} milliseconds'", lag.0.as_millis()));
    }
    let largest = format!(
        "SELECT {sql}::text FROM {} WHERE {} ORDER BY {sql} DESC LIMIT 1",
        reading.from,
        conditions.join(" AND ")
    );
    let largest: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(largest)).persistent(false).fetch_optional(connection).await?;
    Ok(largest.map(|to| Window { column: column.name.clone(), after, from, to }))
}

fn is_time(column: &Selected) -> bool {
    matches!(column.kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz)
}

/// Whether values of a column can be a cursor.
fn growing(column: &Selected) -> Result<()> {
    use Kind::{Date, Int2, Int4, Int8, Numeric, Text, Timestamp, TimestampTz, Uuid, WideNumeric};
    match column.kind {
        Int2 | Int4 | Int8 | Numeric(..) | WideNumeric | Date | Timestamp | TimestampTz | Text(_) | Uuid => Ok(()),
        _ => Err(Error::config(format!("column `{}` cannot be a cursor", column.name))
            .hint("a cursor is a column of whole or decimal numbers, times, texts or uuids that only grow")),
    }
}

/// Ranges of about as many rows each, by what the server knows about the key. None: it knows nothing.
async fn ranges(connection: &mut PgConnection, reading: &Reading, cut: &Cut) -> Result<Vec<Range>, Failure> {
    let key = reading.column("key", &cut.key)?;
    let mut known: Vec<String> = match &reading.table {
        Some(table) => histogram(connection, &table.schema, &table.name, &key.name).await?,
        None => vec![],
    };
    if known.len() < 2 && matches!(key.kind, Kind::Int2 | Kind::Int4 | Kind::Int8) {
        known = even(connection, reading, key, cut.splits).await?;
    }
    // The first and the last are the smallest and the largest; what lies between cuts.
    let steps = known.len().saturating_sub(1);
    let mut bounds: Vec<String> =
        (1..cut.splits).map(|at| at * steps / cut.splits).filter(|at| *at > 0).map(|at| known[at].clone()).collect();
    bounds.dedup();
    if bounds.is_empty() {
        return Ok(vec![]);
    }
    let from = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let below = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
    Ok(from.zip(below).map(|(from, below)| Range { column: key.name.clone(), from, below }).collect())
}

/// Values that have as many rows between each two.
async fn histogram(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
    column: &str,
) -> Result<Vec<String>, Failure> {
    let row = sqlx::query(
        "SELECT histogram_bounds::text::text[] FROM pg_catalog.pg_stats \
         WHERE schemaname = $1 AND tablename = $2 AND attname = $3 ORDER BY inherited DESC LIMIT 1",
    )
    .bind(schema)
    .bind(table)
    .bind(column)
    .persistent(false)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.try_get::<Option<Vec<String>>, _>(0)).transpose()?.flatten().unwrap_or_default())
}

/// Values at equal distances from the smallest to the largest.
async fn even(
    connection: &mut PgConnection,
    reading: &Reading,
    key: &Selected,
    splits: usize,
) -> Result<Vec<String>, Failure> {
    let ends = format!("SELECT min({0})::int8, max({0})::int8 FROM {1}", key.sql, reading.from);
    let row = sqlx::query(AssertSqlSafe(ends)).persistent(false).fetch_one(connection).await?;
    let (Some(first), Some(last)) = (row.try_get::<Option<i64>, _>(0)?, row.try_get::<Option<i64>, _>(1)?) else {
        return Ok(vec![]);
    };
    let (first, distance) = (i128::from(first), i128::from(last) - i128::from(first));
    let steps = splits as i128;
    Ok((0..=steps).map(|step| (first + distance * step / steps).to_string()).collect())
}
