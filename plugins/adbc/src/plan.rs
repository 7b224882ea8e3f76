//! What a run reads: a table or a query, whole or what is new.

use std::str::FromStr;

use arrow_schema::TimeUnit;
use chrono::{NaiveDateTime, Utc};
use engine_sdk::database::{
    Compared, Cursor, Extraction, Growth, Parameters, Position, Scalar, Selection, Statement, WINDOW_END, WINDOW_START,
    Window,
};
use engine_sdk::prelude::*;

use crate::driver::Session;
use crate::name::{Quote, Target};
use crate::sql::Draft;
use crate::value::{Bound, check_cursor, scalar};

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
    /// The types of the cursor's values, which are compared as what they are.
    #[serde(default, skip_serializing_if = "Types::is_unknown")]
    pub types: Types,
}

/// The types of a cursor's column and key, as Arrow writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Types {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Types {
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    fn bound(&self, compared: Compared, value: Scalar) -> Bound {
        let shown = match compared {
            Compared::Column => &self.column,
            Compared::Key => &self.key,
        };
        // A type that an older engine wrote otherwise: the value is bound as what it is.
        let data_type = shown.as_deref().and_then(|shown| DataType::from_str(shown).ok());
        Bound { value, data_type }
    }
}

/// What stands behind FROM.
fn from(draft: &mut Draft, piece: &Piece, catalog: Option<&String>, quote: Quote) -> Result<String> {
    match &piece.selection {
        Selection::Table(table) => Ok(Target::new(catalog.cloned(), table)?.sql(quote)),
        Selection::Query(query) => {
            let query = query_text(draft, query, piece)?;
            // In lines of its own: the query may end with a comment. Without AS, which Oracle does not take here.
            Ok(format!("(\n{query}\n) {}", quote.name("engine_rows")))
        }
    }
}

fn query_text(draft: &mut Draft, query: &str, piece: &Piece) -> Result<String> {
    draft.query(query, |name| {
        let value = Statement::value(name, &piece.parameters, piece.window.as_ref())?;
        Ok(match name {
            WINDOW_START | WINDOW_END => piece.types.bound(Compared::Column, value),
            _ => value.into(),
        })
    })
}

/// The statement of a piece.
pub fn statement(piece: &Piece, catalog: Option<&String>, quote: Quote) -> Result<Draft> {
    let mut draft = Draft::new(quote);
    let windowed = piece.window.as_ref().and_then(|window| Some((window, window.column.as_ref()?)));
    let Some((window, column)) = windowed else {
        draft.text = match &piece.selection {
            Selection::Query(query) => query_text(&mut draft, query, piece)?,
            Selection::Table(_) => format!("SELECT * FROM {}", from(&mut draft, piece, catalog, quote)?),
        };
        return Ok(draft);
    };
    let from = from(&mut draft, piece, catalog, quote)?;
    let (column, key) = (quote.name(column), window.key.as_ref().map(|key| quote.name(key)));
    let conditions = window.conditions(&column, key.as_deref(), |compared, value| {
        Ok(draft.value(piece.types.bound(compared, value.clone())))
    })?;
    let order: Vec<_> = std::iter::once(column).chain(key).collect();
    draft.text = format!("SELECT * FROM {from} WHERE {} ORDER BY {}", conditions.join(" AND "), order.join(", "));
    Ok(draft)
}

/// The columns of what is read; none where the driver cannot tell without running a query. A missing table or a
/// broken query is found here, before there is a window.
pub fn columns(session: &mut Session, piece: &Piece, catalog: Option<&String>) -> Result<Option<Schema>> {
    if let Some(columns) = session.describe(&statement(piece, catalog, session.access().quote())?)? {
        return Ok(Some(columns));
    }
    let Selection::Table(table) = &piece.selection else { return Ok(None) };
    let target = Target::new(catalog.cloned(), table)?;
    match session.table(&target)? {
        Some(columns) => Ok(Some(columns)),
        None => Err(target.missing()),
    }
}

/// Finds out which window comes next. None: nothing is new.
pub fn window(
    session: &mut Session,
    extraction: &Extraction,
    catalog: Option<&String>,
    request: &PlanRequest,
) -> Result<Option<Piece>> {
    let Some((cursor, growth)) = extraction.cursor() else {
        return Err(Error::internal("a source without a cursor was asked for a window"));
    };
    let quote = session.access().quote();
    let piece = |selection: Selection| Piece {
        selection,
        parameters: extraction.parameters().clone(),
        window: None,
        types: Types::default(),
    };
    let whole = piece(extraction.selection().clone());
    let values = match growth {
        Growth::Column { .. } => whole.clone(),
        Growth::Query(query) => piece(Selection::Query(query.to_owned())),
    };
    let mut search = Search { session, values: &values, catalog, quote };
    let (column, key) = search.columns(growth)?;
    let types = |column: &Field, key: Option<&Field>| Types {
        column: Some(column.data_type().to_string()),
        key: key.map(|key| key.data_type().to_string()),
    };
    let mut known = types(&column, key.as_ref());
    let mut window = Window::next(cursor, growth, request)?;
    if window.to.is_none() {
        let Some((to, found)) = search.end(cursor, &window, (&column, key.as_ref()), &known)? else { return Ok(None) };
        window.to = Some(to);
        // More is known of types where there are values: SQLite has none without them.
        known = found;
    }
    Ok(Some(Piece { window: Some(window), types: known, ..whole }))
}

/// The search for the end of a window.
struct Search<'a> {
    session: &'a mut Session,
    values: &'a Piece,
    catalog: Option<&'a String>,
    quote: Quote,
}

impl Search<'_> {
    fn from(&self, draft: &mut Draft) -> Result<String> {
        from(draft, self.values, self.catalog, self.quote)
    }

    /// The cursor's column and key, as they are called and typed.
    fn columns(&mut self, growth: Growth<'_>) -> Result<(Field, Option<Field>)> {
        let mut draft = Draft::new(self.quote);
        let from = self.from(&mut draft)?;
        let list = match growth {
            Growth::Column { column, key } => self.quote.list(std::iter::once(column).chain(key)),
            Growth::Query(_) => "*".into(),
        };
        draft.text = format!("SELECT {list} FROM {from} WHERE 1 = 0");
        let batches = self.session.rows(&draft)?;
        let schema = batches.first().map(RecordBatch::schema).unwrap_or_else(|| Schema::empty().into());
        let fields = schema.fields();
        let (column, key) = match (growth, fields.as_ref()) {
            (Growth::Column { key: None, .. } | Growth::Query(_), [column]) => (column, None),
            (Growth::Column { .. }, [column, key]) => (column, Some(key)),
            _ => return Err(Cursor::not_one_column(fields.len())),
        };
        for field in std::iter::once(column).chain(key) {
            check_cursor(field.name(), field)?;
        }
        Ok((column.as_ref().clone(), key.map(|key| key.as_ref().clone())))
    }

    /// Where the window ends, and the types that its values turned out to have.
    fn end(
        &mut self,
        cursor: &Cursor,
        window: &Window,
        (column, key): (&Field, Option<&Field>),
        types: &Types,
    ) -> Result<Option<(Position, Types)>> {
        let (column_sql, key_sql) = (self.quote.name(column.name()), key.map(|key| self.quote.name(key.name())));
        // Everything that may be read now, as a condition in the statement that asks for `what`.
        let among = |this: &Self, what: &str, also: &mut dyn FnMut(&mut Draft) -> Option<String>| {
            let mut draft = Draft::new(this.quote);
            let from = this.from(&mut draft)?;
            let mut conditions = window.search(&column_sql, key_sql.as_deref(), |compared, value| {
                Ok(draft.value(types.bound(compared, value.clone())))
            })?;
            conditions.extend(newest(cursor, &mut draft, &column_sql, column)?);
            conditions.extend(also(&mut draft));
            draft.text = format!("SELECT {what} FROM {from} WHERE {}", conditions.join(" AND "));
            Ok::<_, Error>(draft)
        };
        if let Some((key, key_sql)) = key.zip(key_sql.as_ref()) {
            let missing = among(self, "COUNT(*)", &mut |_| Some(format!("{key_sql} IS NULL")))?;
            // A row without a key would be in no window.
            if !is_none(&self.only("COUNT(*)", &missing)?.0) {
                return Err(Cursor::without_key(key.name()));
            }
        }
        // By MAX: there is no one way to ask for the first row that all databases know.
        let largest = among(self, &format!("MAX({column_sql})"), &mut |_| None)?;
        let (value, found) = self.only(column.name(), &largest)?;
        if value == Scalar::Null {
            return Ok(None);
        }
        let mut found = Types { column: Some(found.to_string()), key: None };
        let Some((key, key_sql)) = key.zip(key_sql.as_ref()) else { return Ok(Some((Position::Value(value), found))) };
        let last = among(self, &format!("MAX({key_sql})"), &mut |draft| {
            let value = draft.value(found.bound(Compared::Column, value.clone()));
            Some(format!("{column_sql} = {value}"))
        })?;
        let (last, key_type) = self.only(key.name(), &last)?;
        found.key = Some(key_type.to_string());
        if last == Scalar::Null {
            return Err(Error::unavailable("the rows of the newest value went away while they were looked at"));
        }
        Ok(Some((Position::Keyed { value, key: last }, found)))
    }

    /// The one value that a query gives, and its type.
    fn only(&mut self, name: &str, draft: &Draft) -> Result<(Scalar, DataType)> {
        let batches = self.session.rows(draft)?;
        let row = batches.iter().find(|batch| batch.num_rows() > 0 && batch.num_columns() > 0);
        let row = row.ok_or_else(|| Error::internal(format!("a query for one value of `{name}` gave none")))?;
        let array = row.column(0);
        if name != "COUNT(*)" && !array.is_null(0) {
            check_cursor(name, row.schema_ref().field(0))?;
        }
        Ok((scalar(name, array)?, array.data_type().clone()))
    }
}

/// Whether a count is 0: some databases count in decimals.
fn is_none(count: &Scalar) -> bool {
    match count {
        Scalar::Null => true,
        Scalar::Integer(count) => *count == 0,
        Scalar::Number(count) => *count == 0.0,
        Scalar::Text(count) => count.parse() == Ok(0.0),
        Scalar::Boolean(_) => false,
    }
}

/// The condition that keeps what is younger than the lag.
fn newest(cursor: &Cursor, draft: &mut Draft, sql: &str, column: &Field) -> Result<Option<String>> {
    let data_type = column.data_type();
    let is_local = !matches!(data_type, DataType::Timestamp(_, Some(_)));
    let Some(newest) = cursor.newest(Utc::now().naive_utc(), is_local)? else { return Ok(None) };
    let shown = |at: NaiveDateTime| match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => at.format("%Y-%m-%dT%H:%M:%S").to_string(),
        _ => at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
    };
    let mut bound = |text: String| draft.value(Bound { value: text.into(), data_type: Some(data_type.clone()) });
    match data_type {
        // A day is over when the next one begins.
        DataType::Date32 | DataType::Date64 => Ok(Some(format!("{sql} < {}", bound(newest.date().to_string())))),
        DataType::Timestamp(..) => Ok(Some(format!("{sql} <= {}", bound(shown(newest))))),
        _ => Err(Cursor::not_a_time(column.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_number_of_any_type() {
        for none in [Scalar::Null, Scalar::Integer(0), Scalar::Number(0.0), "0".into(), "0.00".into()] {
            assert!(is_none(&none), "{none:?}");
        }
        for some in [Scalar::Integer(2), Scalar::Number(2.0), "2".into(), "10.0".into()] {
            assert!(!is_none(&some), "{some:?}");
        }
    }
}
