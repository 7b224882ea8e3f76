//! What arrived: rows of SQLite tables and CSV files, as text.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// How many rows a table has; 0 while there is no such file or table.
pub fn sqlite_count(file: &Path, table: &str) -> u64 {
    let rows = sqlite_try(file, &format!("SELECT count(*) FROM {table}"));
    rows.and_then(|rows| rows.first()?.first()?.parse().ok()).unwrap_or(0)
}

/// The rows of a query, each value as text, nulls as `NULL`.
///
/// # Panics
/// When the query cannot be answered.
#[track_caller]
pub fn sqlite_rows(file: &Path, query: &str) -> Vec<Vec<String>> {
    sqlite_try(file, query).unwrap_or_else(|| panic!("{}: {query}", file.display()))
}

fn sqlite_try(file: &Path, query: &str) -> Option<Vec<Vec<String>>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.busy_timeout(crate::LIMIT).ok()?;
    let mut statement = connection.prepare(query).ok()?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|at| row.get_ref(at).map(text)).collect());
    rows.ok()?.collect::<rusqlite::Result<_>>().ok()
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}

/// The rows of a CSV text without quotes and line breaks in its values, and
/// without its header; empty values as `NULL`.
pub fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let value = |value: &str| if value.is_empty() { "NULL".to_owned() } else { value.to_owned() };
    text.lines().skip(1).map(|line| line.split(',').map(value).collect()).collect()
}
