//! Windows of a cursor, splits of a table, and the moment at which both are seen.

use chrono::NaiveDateTime;
use engine_sdk::database::{
    Cursor, Cut, Extraction, Growth, Parameters, Position, Quoting, Range, Scalar, Statement, Window,
};
use engine_sdk::prelude::*;

use crate::connection::{Link, count, execute, number, rows, text, value};
use crate::error::Failure;
use crate::name::{Arguments, Call, Values, rendered};
use crate::questions::{NOW, SNAPSHOTS};
use crate::selection::{Bounds, Compare, Piece, Reading, Selected, growing};

/// Begins to see the database at one moment, where it lets that be. Answers whether it does.
pub async fn begin(connection: &mut Link) -> Result<bool, Failure> {
    let sees_one_moment = count(connection, SNAPSHOTS.to_owned()).await? == Some(1);
    if sees_one_moment {
        execute(connection, "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION").await?;
    }
    Ok(sees_one_moment)
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
        if cursor.lag.is_some() && !growing(column)?.are_times() {
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
    let statement = Statement::parse(query, Quoting::SQL_SERVER)?;
    let values = Reading::query(connection, rendered(&statement, parameters, None)?).await?;
    match values.columns.len() {
        1 => Ok(values),
        count => Err(Cursor::not_one_column(count).into()),
    }
}

/// Plans, in a session's transaction if it has a name.
pub async fn plan(
    connection: &mut Link,
    extraction: &Extraction,
    cut: Option<&Cut>,
    request: &PlanRequest,
    session: Option<&str>,
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
    let split = |(at, range): (usize, Option<Range<i64>>)| {
        let piece = Piece {
            selection: selection.clone(),
            parameters: parameters.clone(),
            window: window.clone(),
            range,
            session: session.map(str::to_owned),
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
    let mut arguments = reading.arguments.clone();
    if let Some(to) = &window.to {
        // Old windows again: whatever lies in them by now.
        values.write(to.value(), &mut arguments)?;
        return Ok(Some(Bounds { window, values }));
    }
    let sql = column.sql();
    let key_sql = key.map(Selected::sql);
    let compare = Compare::new(column, key)?;
    let write = |with, value: &Scalar| compare.write(with, value, &mut arguments);
    let mut wanted = window.search(&sql, key_sql.as_deref(), write)?;
    if let Some(limit) = newest(connection, cursor, column, values, &mut arguments).await? {
        wanted.push(limit);
    }
    let wanted = wanted.join(" AND ");
    if let Some(key) = key {
        refuse_missing_keys(connection, reading, &wanted, &arguments, key).await?;
    }
    let last = match key {
        Some(key) => growing(key)?.shown(&key.sql()),
        None => "CAST(NULL AS nvarchar(1))".into(),
    };
    let order = key_sql.map_or(String::new(), |key| format!(", {key} DESC"));
    let shown = values.shown(&sql);
    let largest = format!(
        "SELECT TOP (1) {shown} AS [value], {last} AS [key] FROM {} WHERE {wanted} ORDER BY {sql} DESC{order}",
        reading.from
    );
    let found = rows(connection, Call { sql: largest, arguments }).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let value = Scalar::Text(text(row, 0).unwrap_or_default());
    let to = match text(row, 1) {
        Some(key) => Position::Keyed { value, key: key.into() },
        None => Position::Value(value),
    };
    Ok(Some(Bounds { window: Window { to: Some(to), ..window }, values }))
}

/// Only what is older than `cursor.lag`, as a condition.
async fn newest(
    connection: &mut Link,
    cursor: &Cursor,
    column: &Selected,
    values: Values,
    arguments: &mut Arguments,
) -> Result<Option<String>, Failure> {
    if cursor.lag.is_none() {
        return Ok(None);
    }
    let now = value(connection, NOW.to_owned()).await?.unwrap_or_default();
    let now = NaiveDateTime::parse_from_str(&now, "%Y-%m-%d %H:%M:%S%.f")
        .map_err(|_| Error::internal("the server does not say what time it is"))?;
    let Some(newest) = cursor.newest(now, values != Values::Instants)? else { return Ok(None) };
    let sql = column.sql();
    if values == Values::Days {
        // A day is over when the next one begins.
        let today = values.write(&newest.date().to_string().into(), arguments)?;
        return Ok(Some(format!("{sql} < {today}")));
    }
    let newest = newest.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    Ok(Some(format!("{sql} <= {}", values.write(&newest.into(), arguments)?)))
}

/// A row without a key would be in no window.
async fn refuse_missing_keys(
    connection: &mut Link,
    reading: &Reading,
    wanted: &str,
    arguments: &Arguments,
    key: &Selected,
) -> Result<(), Failure> {
    if reading.table.as_ref().is_some_and(|table| table.refuses_null(&key.name)) {
        return Ok(());
    }
    let sql = format!("SELECT TOP (1) 1 AS found FROM {} WHERE {} IS NULL AND {wanted}", reading.from, key.sql());
    if count(connection, Call { sql, arguments: arguments.clone() }).await?.is_some() {
        return Err(Cursor::without_key(&key.name).into());
    }
    Ok(())
}

/// Ranges at equal distances from the smallest to the largest. None: no column of whole numbers.
async fn ranges(connection: &mut Link, reading: &Reading, cut: &Cut) -> Result<Vec<Range<i64>>, Failure> {
    let key = reading.column("key", &cut.key)?;
    if !key.kind.is_whole() {
        return Ok(vec![]);
    }
    let sql = format!(
        "SELECT CAST(MIN({0}) AS bigint) AS [first], CAST(MAX({0}) AS bigint) AS [last] FROM {1}",
        key.sql(),
        reading.from
    );
    let ends = rows(connection, Call { sql, arguments: reading.arguments.clone() }).await?;
    let end = |place| ends.first().and_then(|row| number(row, place)).map(i128::from);
    let (Some(first), Some(last)) = (end(0), end(1)) else { return Ok(vec![]) };
    let steps = cut.splits as i128;
    let bounds = (1..steps).map(|step| first + (last - first) * step / steps).filter(|bound| *bound > first);
    // Between two of its values.
    Ok(Range::between(&key.name, bounds.map(|bound| bound as i64).collect()))
}
