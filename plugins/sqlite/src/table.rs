//! What a file holds: tables and their columns.

use engine_sdk::prelude::*;
use rusqlite::{Connection, OptionalExtension};

use crate::database::{failure, quote, quote_list, suggestion};
use crate::kind::declared_for;

/// The table with the keys of deliveries.
pub const COMMITS: &str = "_engine_commits";

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// As the table has it.
    pub name: String,
    /// The declared type; may be empty.
    pub declared: String,
    /// Refuses nulls.
    pub not_null: bool,
    /// Fills itself when it is left out.
    pub has_default: bool,
    /// Computed by the table.
    pub generated: bool,
}

/// A table or view.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// In their order.
    pub columns: Vec<Column>,
    /// What its rows are in the order of, as SQL text; empty for a view.
    pub order: String,
}

/// Looks a table up. None: there is none of that name.
pub fn find(connection: &Connection, name: &str) -> Result<Option<Table>> {
    let look = || -> rusqlite::Result<Option<Table>> {
        let found = connection
            .query_row("SELECT name, type, wr FROM pragma_table_list(?1) WHERE schema = 'main'", [name], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
            })
            .optional()?;
        let Some((name, kind, without_rowid)) = found else { return Ok(None) };
        let mut statement = connection.prepare(
            "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1)",
        )?;
        let mut columns: Vec<Column> = vec![];
        let mut key = vec![];
        let mut rows = statement.query([&name])?;
        while let Some(row) = rows.next()? {
            let (hidden, place): (i64, i64) = (row.get(5)?, row.get(4)?);
            let column = Column {
                name: row.get(0)?,
                declared: row.get(1)?,
                not_null: row.get(2)?,
                has_default: row.get(3)?,
                generated: hidden >= 2,
            };
            if place > 0 {
                key.push((place, column.name.clone()));
            }
            // 1: a virtual table's argument, which is no column of its rows.
            if hidden != 1 {
                columns.push(column);
            }
        }
        key.sort();
        // The one column that is the row's own number fills itself.
        if let ([(_, only)], false) = (key.as_slice(), without_rowid)
            && let Some(column) = columns.iter_mut().find(|column| column.name == *only)
        {
            column.has_default |= column.declared.eq_ignore_ascii_case("INTEGER");
        }
        let order = if kind == "view" {
            String::new()
        } else if without_rowid {
            quote_list(key.iter().map(|(_, name)| name.as_str()))
        } else {
            let taken = |word: &&&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(word));
            ["_rowid_", "rowid", "oid"].iter().find(taken).map(|word| (*word).to_owned()).unwrap_or_default()
        };
        Ok(Some(Table { name, columns, order }))
    };
    look().map_err(failure)
}

/// Looks a table up that must be there.
pub fn require(connection: &Connection, name: &str) -> Result<Table> {
    if let Some(table) = find(connection, name)? {
        return Ok(table);
    }
    let list = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' AND name <> ?1",
        )?;
        statement.query_map([COMMITS], |row| row.get(0))?.collect()
    };
    let tables = list().map_err(failure)?;
    Err(Error::config(format!("there is no table `{name}`")).hint(suggestion(name, tables.iter().map(String::as_str))))
}

/// The statement that makes a table for a stream.
pub fn create(name: &str, schema: &Schema, key: &[String]) -> Result<String> {
    let mut parts = vec![];
    for field in schema.fields() {
        let declared = declared_for(field.data_type()).ok_or_else(|| {
            Error::config(format!(
                "no SQLite type is known for column `{}` of type {}",
                field.name(),
                field.data_type()
            ))
            .hint("convert it before the sink")
        })?;
        parts.push(format!("{} {declared}", quote(field.name())));
    }
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quote_list(key.iter().map(String::as_str))));
    }
    Ok(format!("CREATE TABLE IF NOT EXISTS {} ({})", quote(name), parts.join(", ")))
}

/// Checks that a stream fits a table.
pub fn fit(schema: &Schema, table: &Table, key: &[String]) -> Result<()> {
    let streams = || schema.fields().iter().map(|field| field.name().as_str());
    for (place, name) in streams().enumerate() {
        // SQLite's names do not tell upper and lower case apart.
        if streams().take(place).any(|before| before.eq_ignore_ascii_case(name)) {
            return Err(Error::config(format!("the stream has two columns `{name}`")).hint("rename one of them"));
        }
        let column = table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            Error::config(format!("table {} has no column `{name}`", table.name))
                .hint(suggestion(name, table.columns.iter().map(|column| column.name.as_str())))
        })?;
        if column.generated {
            return Err(Error::config(format!("column `{name}` of table {} is computed by the table", table.name))
                .hint("leave it out of the stream"));
        }
    }
    let has = |name: &str| streams().any(|column| column.eq_ignore_ascii_case(name));
    if let Some(name) = key.iter().find(|name| !has(name)) {
        return Err(Error::config(format!("the stream has no column `{name}`, which `key` names"))
            .hint(suggestion(name, streams().collect::<Vec<_>>())));
    }
    let missing = |column: &&Column| column.not_null && !column.has_default && !column.generated && !has(&column.name);
    match table.columns.iter().find(missing) {
        Some(column) => {
            let message = format!("the stream has no column `{}`, and table {} needs it", column.name, table.name);
            Err(Error::config(message).hint(suggestion(&column.name, streams().collect::<Vec<_>>())))
        }
        None => Ok(()),
    }
}
