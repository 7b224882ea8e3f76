//! Windows of a cursor, splits of a table, and the moment at which both are seen.

use chrono::DateTime;
use engine_sdk::database::{
    Cursor, Cut, Extraction, Growth, Parameters, Position, Quoting, Range, Scalar, Statement, Window,
};
use engine_sdk::prelude::*;

use crate::connection::{Link, execute, rows, text, value};
use crate::error::Failure;
use crate::kind::Kind;
use crate::name::{Values, rendered};
use crate::selection::{Bounds, Compare, Piece, Reading, Selected, growing};

/// Sees the database at one moment, and changes nothing.
const BEGIN: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
];

/// Begins the transaction of a session.
pub async fn begin(connection: &mut Link) -> Result<(), Failure> {
    for statement in BEGIN {
        execute(connection, statement).await?;
    }
    Ok(())
}

/// Whether the settings fit the columns.
pub async fn check(
    connection: &mut Link,
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
        if cursor.lag.is_some() && growing(column)? != Values::Times {
            return Err(Cursor::not_a_time(&column.name).into());
        }
    }
    if let Some(cut) = cut {
        reading.column("key", &cut.key)?;
    }
    Ok(())
}

/// The values that windows go by, where a query of their own gives them.
async fn values(connection: &mut Link, query: &str, parameters: &Parameters) -> Result<Reading, Failure> {
    let statement = Statement::parse(query, Quoting::MYSQL)?;
    let values = Reading::query(connection, &rendered(&statement, parameters, None)?).await?;
    match values.columns.len() {
        1 => Ok(values),
        count => Err(Cursor::not_one_column(count).into()),
    }
}

/// Plans inside a session's transaction.
pub async fn plan(
    connection: &mut Link,
    extraction: &Extraction,
    cut: Option<&Cut>,
    request: &PlanRequest,
    session: &str,
) -> Result<Plan, Failure> {
    let (selection, parameters) = (extraction.selection(), extraction.parameters());
    let reading = Reading::new(connection, selection, parameters, None).await?;
    check(connection, &reading, extraction, cut).await?;
    extraction.check_request(request)?;
    let window = match extraction.cursor() {
        Some((cursor, growth)) => match window(connection, &reading, parameters, cursor, growth, request).await? {
            Some(window) => Some(window),
            // Nothing new.
            None => return Ok(Plan { upper: request.cursor.clone(), splits: vec![], ..Plan::default() }),
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
        (Some(table), None) => table.estimated_rows.filter(|rows| *rows > 0).map(|rows| rows / ranges.len() as u64),
        _ => None,
    };
    let split = |(at, range): (usize, Option<Range<i128>>)| {
        let piece = Piece {
            selection: selection.clone(),
            parameters: parameters.clone(),
            window: window.clone(),
            range,
            session: Some(session.to_owned()),
        };
        let split = Split::new(format!("{at:04}"), &piece)?;
        Ok::<_, Error>(Split { estimated_rows: rows, ..split })
    };
    let splits = ranges.into_iter().enumerate().map(split).collect::<Result<_, _>>()?;
    let upper = window.and_then(|bounds| bounds.window.to).map(|to| json!(to));
    Ok(Plan { upper, splits, ..Plan::default() })
}

/// What is new: everything above the last window, up to the largest value there is.
async fn window(
    connection: &mut Link,
    reading: &Reading,
    parameters: &Parameters,
    cursor: &Cursor,
    growth: Growth<'_>,
    request: &PlanRequest,
) -> Result<Option<Bounds>, Failure> {
    let queried;
    let (reading, column, key) = match growth {
        Growth::Column { column, key } => {
            let key = key.map(|key| reading.column("cursor.key", key)).transpose()?;
            (reading, reading.column("cursor", column)?, key)
        }
        Growth::Query(query) => {
            queried = self::values(connection, query, parameters).await?;
            (&queried, &queried.columns[0], None)
        }
    };
    let values = growing(column)?;
    let window = Window::next(cursor, growth, request)?;
    if let Some(to) = &window.to {
        // Old windows again: whatever lies in them by now.
        values.write(to.value())?;
        return Ok(Some(Bounds { window, values }));
    }
    let sql = column.sql();
    let key_sql = key.map(Selected::sql);
    let compare = Compare::new(column, key)?;
    let mut wanted = window.search(&sql, key_sql.as_deref(), |with, value| compare.write(with, value))?;
    // A zero date, and a day that no calendar has, becomes a dead letter of the window that it falls into, or of none.
    if let Some(limit) = newest(connection, cursor, column).await? {
        wanted.push(limit);
    }
    let wanted = wanted.join(" AND ");
    if let Some(key) = key {
        refuse_missing_keys(connection, reading, &wanted, key).await?;
    }
    let last = key_sql.clone().unwrap_or_else(|| "NULL".into());
    let order = key_sql.map_or(String::new(), |key| format!(", {key} DESC"));
    let largest =
        format!("SELECT {sql}, {last} FROM {} WHERE {wanted} ORDER BY {sql} DESC{order} LIMIT 1", reading.from);
    let found = rows(connection, &largest).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let value = Scalar::Text(text(row, 0).unwrap_or_default());
    if values == Values::Times {
        // Refused here and not in every window that begins with it.
        values.write(&value).map_err(|_| {
            Error::config(format!(
                "the largest value of `{}` is `{value}`, which is no day of the calendar",
                column.name
            ))
            .hint("correct that row, or take another column as the cursor")
        })?;
    }
    let to = match text(row, 1) {
        Some(key) => Position::Keyed { value, key: key.into() },
        None => Position::Value(value),
    };
    Ok(Some(Bounds { window: Window { to: Some(to), ..window }, values }))
}

/// Only what is older than `cursor.lag`, as a condition.
async fn newest(connection: &mut Link, cursor: &Cursor, column: &Selected) -> Result<Option<String>, Failure> {
    if cursor.lag.is_none() {
        return Ok(None);
    }
    let now = value(connection, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)").await?;
    let now = now
        .and_then(|now| now.parse().ok())
        .and_then(DateTime::from_timestamp_micros)
        .ok_or_else(|| Error::internal("the server does not say what time it is"))?
        .naive_utc();
    let Some(newest) = cursor.newest(now, column.kind != Kind::Timestamp)? else { return Ok(None) };
    let sql = column.sql();
    // A day is over when the next one begins.
    let moment = if column.kind == Kind::Date { format!("({sql} + INTERVAL 1 DAY)") } else { sql };
    // The session is in UTC.
    Ok(Some(format!("{moment} <= '{}'", newest.format("%Y-%m-%d %H:%M:%S%.6f"))))
}

/// A row without a key would be in no window.
async fn refuse_missing_keys(
    connection: &mut Link,
    reading: &Reading,
    wanted: &str,
    key: &Selected,
) -> Result<(), Failure> {
    if reading.table.as_ref().is_some_and(|table| table.refuses_null(&key.name)) {
        return Ok(());
    }
    let sql = format!("SELECT 1 FROM {} WHERE {} IS NULL AND {wanted} LIMIT 1", reading.from, key.sql());
    if value(connection, &sql).await?.is_some() {
        return Err(Cursor::without_key(&key.name).into());
    }
    Ok(())
}

/// Ranges at equal distances from the smallest to the largest. None: no column of whole numbers.
async fn ranges(connection: &mut Link, reading: &Reading, cut: &Cut) -> Result<Vec<Range<i128>>, Failure> {
    let key = reading.column("key", &cut.key)?;
    if !matches!(key.kind, Kind::Integer { .. }) {
        return Ok(vec![]);
    }
    let ends = format!("SELECT MIN({0}), MAX({0}) FROM {1}", key.sql(), reading.from);
    let ends = rows(connection, &ends).await?;
    let end = |place| ends.first().and_then(|row| text(row, place)).and_then(|end| end.parse::<i128>().ok());
    let (Some(first), Some(last)) = (end(0), end(1)) else { return Ok(vec![]) };
    let steps = cut.splits as i128;
    let bounds = (1..steps).map(|step| first + (last - first) * step / steps).filter(|bound| *bound > first);
    Ok(Range::between(&key.name, bounds.collect()))
}
