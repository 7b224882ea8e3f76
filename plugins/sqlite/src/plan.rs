//! What a run reads: a table or a query, whole or what is new.

use chrono::{NaiveDateTime, Utc};
use engine_sdk::database::{
    Cursor, Cut, Extraction, Growth, Parameters, Position, Quoting, Range, Scalar, Selection, Statement, Window,
};
use engine_sdk::prelude::*;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use crate::database::{failure, quote, quote_list, suggestion};
use crate::kind::Kind;
use crate::table::{self, Table};

/// What one split reads: all that it takes to read it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub selection: Selection,
    /// The values of the query's placeholders.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// The window of a cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Which of the splits it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range<i64>>,
}

/// A result's columns, with their kinds where a type is declared.
pub type Declared = Vec<(String, Option<Kind>)>;

/// What stands behind FROM, its columns, and its order without a cursor.
struct Rows {
    from: String,
    columns: Declared,
    order: String,
    table: Option<Table>,
}

impl Rows {
    fn of(connection: &Connection, piece: &Piece) -> Result<Self> {
        match &piece.selection {
            Selection::Table(name) => {
                let table = table::require(connection, name)?;
                let columns = table.columns.iter();
                let columns = columns.map(|it| (it.name.clone(), Kind::declared(&it.declared))).collect();
                Ok(Self { from: quote(&table.name), columns, order: table.order.clone(), table: Some(table) })
            }
            Selection::Query(query) => Self::query(connection, query, &piece.parameters, piece.window.as_ref()),
        }
    }

    fn query(connection: &Connection, query: &str, parameters: &Parameters, window: Option<&Window>) -> Result<Self> {
        let sql = rendered(query, parameters, window)?;
        let columns = columns(connection, &sql)?;
        // In lines of its own: the query may end with a comment.
        Ok(Self { from: format!("(\n{sql}\n)"), columns, order: String::new(), table: None })
    }

    fn column(&self, setting: &str, name: &str) -> Result<(&str, Option<Kind>)> {
        let found = self.columns.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
        found.map(|(name, kind)| (name.as_str(), *kind)).ok_or_else(|| {
            let columns: Vec<_> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
            Error::config(format!("there is no column `{name}`, which `{setting}` names"))
                .hint(suggestion(name, columns))
        })
    }
}

/// The SQL of a piece, and its columns with their declared kinds.
pub fn statement(connection: &Connection, piece: &Piece) -> Result<(String, Declared)> {
    let windowed = piece.window.as_ref().and_then(|window| Some((window, window.column.as_ref()?)));
    if let (Selection::Query(query), None, None) = (&piece.selection, windowed, &piece.range) {
        let sql = rendered(query, &piece.parameters, piece.window.as_ref())?;
        let columns = columns(connection, &sql)?;
        return Ok((sql, columns));
    }
    let rows = Rows::of(connection, piece)?;
    let list = quote_list(rows.columns.iter().map(|(name, _)| name.as_str()));
    let mut sql = format!("SELECT {list} FROM {}", rows.from);
    let (mut order, mut all) = (vec![], vec![]);
    if let Some(range) = &piece.range {
        all.push(range.condition(&quote(rows.column("key", &range.column)?.0), |bound| format!("({bound})")));
    }
    if let Some((window, column)) = windowed {
        let column = quote(rows.column("cursor", column)?.0);
        let key =
            window.key.as_ref().map(|key| Ok::<_, Error>(quote(rows.column("cursor.key", key)?.0))).transpose()?;
        all.extend(window.conditions(&column, key.as_deref(), |_, value| Ok(literal(value)))?);
        order.push(column);
        order.extend(key);
    }
    if !all.is_empty() {
        sql.push_str(&format!(" WHERE {}", all.join(" AND ")));
    }
    order.extend(Some(rows.order).filter(|order| !order.is_empty()));
    if !order.is_empty() {
        sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    Ok((sql, rows.columns))
}

/// Ranges at equal distances from the smallest to the largest value of the key. None: no column of whole numbers, or
/// no rows.
pub fn ranges(connection: &Connection, piece: &Piece, cut: &Cut) -> Result<Vec<Range<i64>>> {
    let rows = Rows::of(connection, piece)?;
    let (column, kind) = rows.column("key", &cut.key)?;
    if kind != Some(Kind::Integer) {
        return Ok(vec![]);
    }
    // What is no number in spite of its type is larger than all of them: it is in the last range.
    let key = quote(column);
    let ends = format!("SELECT min({key}), max({key}) FROM {} WHERE typeof({key}) = 'integer'", rows.from);
    let ends: (Option<i64>, Option<i64>) =
        connection.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failure)?;
    let (Some(smallest), Some(largest)) = ends else { return Ok(vec![]) };
    let (width, steps) = (i128::from(largest) - i128::from(smallest) + 1, cut.splits as i128);
    let bounds = (1..steps).map(|step| i128::from(smallest) + width * step / steps);
    let bounds = bounds.filter(|bound| *bound > i128::from(smallest)).filter_map(|bound| i64::try_from(bound).ok());
    Ok(Range::between(column, bounds.collect()))
}

/// The columns that a query gives, which must only read.
fn columns(connection: &Connection, sql: &str) -> Result<Declared> {
    let prepared = connection.prepare(sql).map_err(failure)?;
    if !prepared.readonly() || prepared.column_count() == 0 {
        return Err(Error::config("`query` must be one that only reads, such as SELECT"));
    }
    let columns = prepared.columns();
    Ok(columns.iter().map(|it| (it.name().to_owned(), it.decl_type().and_then(Kind::declared))).collect())
}

/// Which window comes next. None: nothing is new.
pub fn window(connection: &Connection, extraction: &Extraction, request: &PlanRequest) -> Result<Option<Window>> {
    let Some((cursor, growth)) = extraction.cursor() else {
        return Err(Error::internal("a source without a cursor was asked for a window"));
    };
    let (selection, parameters) = (extraction.selection().clone(), extraction.parameters().clone());
    let whole = Piece { selection, parameters, window: None, range: None };
    let (rows, column, key) = match growth {
        Growth::Column { column, key } => (Rows::of(connection, &whole)?, column.to_owned(), key),
        Growth::Query(query) => {
            let values = Rows::query(connection, query, extraction.parameters(), None)?;
            let [(only, _)] = values.columns.as_slice() else {
                return Err(Cursor::not_one_column(values.columns.len()));
            };
            let only = only.clone();
            (values, only, None)
        }
    };
    let (column, kind) = rows.column("cursor", &column)?;
    let key = key.map(|key| rows.column("cursor.key", key)).transpose()?.map(|(key, _)| key);
    growing(column, kind)?;
    let window = Window::next(cursor, growth, request)?;
    if window.to.is_some() {
        return Ok(Some(window));
    }
    let (sql, key_sql) = (quote(column), key.map(quote));
    let mut conditions = window.search(&sql, key_sql.as_deref(), |_, value| Ok(literal(value)))?;
    conditions.extend(newest(cursor, &sql, column, kind)?);
    let conditions = conditions.join(" AND ");
    if let Some((key, key_sql)) = key.zip(key_sql.as_ref()) {
        let not_null = |table: &Table| table.columns.iter().any(|it| it.name == key && it.not_null);
        if !rows.table.as_ref().is_some_and(not_null) {
            refuse_missing_keys(connection, &rows.from, &conditions, key, key_sql)?;
        }
    }
    let (last, order) = key_sql.map_or(("NULL".into(), String::new()), |key| (key.clone(), format!(", {key} DESC")));
    let largest =
        format!("SELECT {sql}, {last} FROM {} WHERE {conditions} ORDER BY {sql} DESC{order} LIMIT 1", rows.from);
    let largest = connection
        .query_row(&largest, [], |row| Ok((scalar(row.get_ref(0)?), scalar(row.get_ref(1)?))))
        .optional()
        .map_err(failure)?;
    let Some((value, last)) = largest else { return Ok(None) };
    let refused = || {
        Error::config(format!("column `{column}` holds bytes, which cannot be a cursor"))
            .hint("a cursor is a column of numbers, times or texts that only grow")
    };
    let (value, last) = (value.ok_or_else(refused)?, last.ok_or_else(refused)?);
    let to = if key.is_some() { Position::Keyed { value, key: last } } else { Position::Value(value) };
    Ok(Some(Window { to: Some(to), ..window }))
}

/// The condition that keeps what is younger than the lag.
fn newest(cursor: &Cursor, sql: &str, column: &str, kind: Option<Kind>) -> Result<Option<String>> {
    let is_local = kind != Some(Kind::TimestampTz);
    let Some(newest) = cursor.newest(Utc::now().naive_utc(), is_local)? else { return Ok(None) };
    let shown = |at: NaiveDateTime| at.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    match kind {
        // A day is over when the next one begins.
        Some(Kind::Date) => Ok(Some(format!("{sql} < {}", literal(&newest.date().to_string().into())))),
        // Times are texts; with an offset behind it, an equal one would be larger.
        Some(Kind::Timestamp | Kind::TimestampTz) => Ok(Some(format!("{sql} <= {}", literal(&shown(newest).into())))),
        _ => {
            Err(Cursor::not_a_time(column)
                .hint("leave `lag` out, or declare the column as DATE, TIMESTAMP or TIMESTAMPTZ"))
        }
    }
}

/// A row without a key would be in no window.
fn refuse_missing_keys(connection: &Connection, from: &str, conditions: &str, key: &str, key_sql: &str) -> Result<()> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {from} WHERE {key_sql} IS NULL AND {conditions})");
    if connection.query_row(&sql, [], |row| row.get(0)).map_err(failure)? {
        return Err(Cursor::without_key(key));
    }
    Ok(())
}

/// Whether values of a column can be a cursor, as far as it is declared.
fn growing(column: &str, kind: Option<Kind>) -> Result<()> {
    match kind {
        // As texts, which they are, 9 is larger than 10.
        Some(Kind::Decimal(..)) | Some(Kind::Blob) | Some(Kind::Bool) => {
            Err(Error::config(format!("column `{column}` cannot be a cursor"))
                .hint("a cursor is a column of whole or floating-point numbers, times or texts that only grow"))
        }
        _ => Ok(()),
    }
}

/// None: bytes.
fn scalar(value: ValueRef<'_>) -> Option<Scalar> {
    match value {
        ValueRef::Null => Some(Scalar::Null),
        ValueRef::Integer(number) => Some(Scalar::Integer(number)),
        ValueRef::Real(number) => Some(Scalar::Number(number)),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Scalar::from),
        ValueRef::Blob(_) => None,
    }
}

/// A query with its values in their places. `window`: what its bounds are, NULL if there is none.
fn rendered(query: &str, parameters: &Parameters, window: Option<&Window>) -> Result<String> {
    let statement = Statement::parse(query.trim().trim_end_matches(';'), Quoting::SQLITE)?;
    statement.render(|name| Ok(literal(&Statement::value(name, parameters, window)?)))
}

/// A value as SQL text.
fn literal(value: &Scalar) -> String {
    match value {
        Scalar::Null => "NULL".into(),
        Scalar::Boolean(value) => u8::from(*value).to_string(),
        // In parentheses: `2 -:n` must not become a comment.
        Scalar::Integer(number) => format!("({number})"),
        // All digits, with an exponent: 1.0 is no integer.
        Scalar::Number(number) => format!("({number:e})"),
        // A NUL would end the statement.
        Scalar::Text(text) if text.contains('\0') => {
            let hexadecimal = engine_sdk::hexadecimal::write(text.as_bytes());
            format!("CAST(x'{hexadecimal}' AS TEXT)")
        }
        Scalar::Text(text) => format!("'{}'", text.replace('\'', "''")),
    }
}
