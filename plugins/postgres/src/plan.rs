//! Which rows a run reads, and in how many pieces.

use chrono::DateTime;
use engine_postgres_copy::Kind;
use engine_sdk::database::{
    Cursor, Cut, Extraction, Growth, Parameters, Position, Quoting, Range, Scalar, Selection, Statement, Window,
};
use engine_sdk::prelude::*;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::connection::execute;
use crate::error::Failure;
use crate::name::{cursor_value, literal, rendered};
use crate::selection::{Piece, Reading, Selected};

/// Sees the database at one moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// What is read, and how its values look as text, does not depend on the login's settings.
const SETTINGS: &str = "SET LOCAL standard_conforming_strings = on; SET LOCAL TimeZone = 'UTC'; \
    SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; \
    SET LOCAL idle_in_transaction_session_timeout = 0";
/// Without these, a big table without a key is read from wherever another scan is.
const IN_ORDER: &str = "SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0";

/// Whether the settings fit the columns.
pub async fn check(
    connection: &mut PgConnection,
    reading: &Reading,
    extraction: &Extraction,
    cut: Option<&Cut>,
) -> Result<(), Failure> {
    if let Some((cursor, growth)) = extraction.cursor() {
        let values;
        let (column, key) = match growth {
            Growth::Column { column, key } => {
                let key = key.map(|key| reading.column("cursor.key", key)).transpose()?;
                (reading.column("cursor", column)?, key)
            }
            Growth::Query(query) => {
                values = self::values(connection, query, extraction.parameters()).await?;
                (&values.columns[0], None)
            }
        };
        growing(column)?;
        if let Some(key) = key {
            growing(key)?;
        }
        if cursor.lag.is_some() && !is_time(column) {
            return Err(Cursor::not_a_time(&column.name).into());
        }
    }
    if let Some(cut) = cut {
        reading.column("key", &cut.key)?;
    }
    Ok(())
}

/// The values that windows go by, where a query of their own gives them.
async fn values(connection: &mut PgConnection, query: &str, parameters: &Parameters) -> Result<Reading, Failure> {
    let statement = Statement::parse(query, Quoting::POSTGRES)?;
    let values = Reading::query(connection, &rendered(&statement, parameters, None)?).await?;
    match values.columns.len() {
        1 => Ok(values),
        count => Err(Cursor::not_one_column(count).into()),
    }
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
    extraction: &Extraction,
    cut: Option<&Cut>,
    request: &PlanRequest,
    snapshot: Option<&str>,
) -> Result<Plan, Failure> {
    let (selection, parameters) = (extraction.selection(), extraction.parameters());
    let reading = Reading::new(connection, selection, parameters, None).await?;
    check(connection, &reading, extraction, cut).await?;
    extraction.check_request(request)?;
    let window = match extraction.cursor() {
        Some((cursor, growth)) => match window(connection, &reading, parameters, cursor, growth, request).await? {
            Some(window) => Some(window),
            // Nothing new.
            None => return Ok(Plan { upper: None, splits: vec![], ..Plan::default() }),
        },
        None => None,
    };
    let ranges = match cut {
        Some(cut) if reading.table.is_none() && window.is_some() => {
            // The key's ends are those of the window where the query names it.
            let reading = Reading::new(connection, selection, parameters, window.as_ref()).await?;
            ranges(connection, &reading, cut).await?
        }
        Some(cut) => ranges(connection, &reading, cut).await?,
        None => vec![],
    };
    let ranges: Vec<_> = if ranges.is_empty() { vec![None] } else { ranges.into_iter().map(Some).collect() };
    let rows = match (&reading.table, &window) {
        (Some(table), None) => estimate(connection, table.oid).await?.map(|rows| rows / ranges.len() as u64),
        _ => None,
    };
    let split = |(at, range): (usize, Option<Range<String>>)| {
        let piece = Piece {
            selection: selection.clone(),
            parameters: parameters.clone(),
            window: window.clone(),
            range,
            snapshot: snapshot.map(str::to_owned),
        };
        let split = Split::new(format!("{at:04}"), &piece)?;
        Ok::<_, Error>(Split { estimated_rows: rows, ..split })
    };
    let splits = ranges.into_iter().enumerate().map(split).collect::<Result<_, _>>()?;
    let upper = window.and_then(|window| window.to).map(|to| json!(to));
    Ok(Plan { upper, splits, ..Plan::default() })
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
    parameters: &Parameters,
    cursor: &Cursor,
    growth: Growth<'_>,
    request: &PlanRequest,
) -> Result<Option<Window>, Failure> {
    let values;
    let (reading, column, key) = match growth {
        Growth::Column { column, key } => {
            let key = key.map(|key| reading.column("cursor.key", key)).transpose()?;
            (reading, reading.column("cursor", column)?, key)
        }
        Growth::Query(query) => {
            values = self::values(connection, query, parameters).await?;
            (&values, &values.columns[0], None)
        }
    };
    let window = Window::next(cursor, growth, request)?;
    if window.to.is_some() {
        // Old windows again: whatever lies in them by now.
        return Ok(Some(window));
    }
    let sql = &column.sql;
    let key_sql = key.map(|key| key.sql.as_str());
    let mut conditions = window.search(sql, key_sql, |_, value| Ok(cursor_value(value)))?;
    // What is larger than everything would be the last window for ever.
    if is_time(column) {
        conditions.push(format!("pg_catalog.isfinite({sql})"));
    } else if matches!(column.kind, Kind::Numeric(..) | Kind::WideNumeric) {
        conditions.push(format!("{sql}::text NOT IN ('NaN', 'Infinity', '-Infinity')"));
    }
    if cursor.lag.is_some() {
        let now = "SELECT (EXTRACT(epoch FROM pg_catalog.now()) * 1000000)::int8";
        let now: i64 = sqlx::query_scalar(now).persistent(false).fetch_one(&mut *connection).await?;
        let now = DateTime::from_timestamp_micros(now)
            .ok_or_else(|| Error::internal(format!("the server's clock says {now} µs")))?
            .naive_utc();
        if let Some(newest) = cursor.newest(now, column.kind != Kind::TimestampTz)? {
            // A day is over when the next one begins.
            let moment = if column.kind == Kind::Date { format!("({sql} + 1)") } else { sql.clone() };
            // The session is in UTC.
            conditions.push(format!("{moment} <= {}", literal(&newest.to_string())));
        }
    }
    let conditions = conditions.join(" AND ");
    if let Some(key) = key {
        refuse_missing_keys(connection, reading, &conditions, key).await?;
    }
    let last = key_sql.map_or("NULL".into(), |key| format!("{key}::text"));
    let order = key_sql.map_or(String::new(), |key| format!(", {key} DESC"));
    let largest = format!(
        "SELECT {sql}::text, {last} FROM {} WHERE {conditions} ORDER BY {sql} DESC{order} LIMIT 1",
        reading.from,
    );
    let largest = sqlx::query(AssertSqlSafe(largest)).persistent(false).fetch_optional(connection).await?;
    let Some(largest) = largest else { return Ok(None) };
    let value = Scalar::Text(largest.try_get(0)?);
    let key: Option<String> = largest.try_get(1)?;
    let to = key.map_or(Position::Value(value.clone()), |key| Position::Keyed { value, key: key.into() });
    Ok(Some(Window { to: Some(to), ..window }))
}

/// A row without a key would be in no window.
async fn refuse_missing_keys(
    connection: &mut PgConnection,
    reading: &Reading,
    conditions: &str,
    key: &Selected,
) -> Result<(), Failure> {
    if reading.table.as_ref().is_some_and(|table| table.refuses_null(&key.name)) {
        return Ok(());
    }
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {} IS NULL AND {conditions})", reading.from, key.sql);
    let lacks: bool = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await?;
    if lacks {
        return Err(Cursor::without_key(&key.name).into());
    }
    Ok(())
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
async fn ranges(connection: &mut PgConnection, reading: &Reading, cut: &Cut) -> Result<Vec<Range<String>>, Failure> {
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
    let bounds = (1..cut.splits).map(|at| at * steps / cut.splits).filter(|at| *at > 0);
    Ok(Range::between(&key.name, bounds.map(|at| known[at].clone()).collect()))
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
