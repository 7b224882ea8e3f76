//! The questions about tables that the connector asks, answered from SQLite's own catalogue. What stands in them as
//! SQL is not run: they are known by their whole text.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::session::Session;
use super::types::{Type, parts};
use super::{Answer, Refused};
use crate::questions;

pub fn answer(session: &mut Session, sql: &str, arguments: &[Value]) -> Option<Result<Answer, Refused>> {
    let argument = |at: usize| arguments.get(at).map(super::types::text).unwrap_or_default();
    let text = |text: &str| Value::Text(text.into());
    let whole = Value::Integer;
    let server = std::sync::Arc::clone(&session.server);
    let answer = match sql {
        questions::FIND => {
            let name = unquoted(&argument(0));
            let found = kind_of(&session.sqlite, &name);
            let rows = found.map(|(name, kind)| {
                let count = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
                let count = session.sqlite.query_row(&count, [], |row| row.get(0)).unwrap_or(0);
                vec![text("dbo"), text(&name), text(kind), whole(count)]
            });
            Answer::of(&["nvarchar", "nvarchar", "nvarchar", "bigint"], rows.into_iter().collect())
        }
        questions::COLUMNS => {
            let types = ["nvarchar", "nvarchar", "int", "int", "int", "int", "int", "int", "int", "nvarchar", "int"];
            Answer::of(&types, columns(&session.sqlite, &unquoted(&argument(0))))
        }
        questions::UNIQUE => {
            Answer::of(&["nvarchar", "nvarchar", "int"], unique(&session.sqlite, &unquoted(&argument(0))))
        }
        questions::CHECKS => {
            let sql = definition(&session.sqlite, &unquoted(&argument(0)));
            let checks = sql.split("CHECK (").skip(1).map(|rest| {
                let mut depth = 0;
                let end = rest.find(|character| {
                    depth += match character {
                        '(' => 1,
                        ')' => -1,
                        _ => 0,
                    };
                    depth < 0
                });
                vec![Value::Text(format!("({})", &rest[..end.unwrap()]))]
            });
            Answer::of(&["nvarchar(0)"], checks.collect())
        }
        questions::TABLES => Answer::of(&["nvarchar"], names(&session.sqlite, "%", "_engine%")),
        questions::BEGINNING => Answer::of(&["nvarchar"], names(&session.sqlite, &format!("{}%", argument(1)), "")),
        questions::REFERS => {
            let target = unquoted(&argument(0));
            let children = names(&session.sqlite, "%", "").into_iter().flatten().filter(|child| {
                let sql = format!(
                    "SELECT count(*) FROM pragma_foreign_key_list('{}') WHERE \"table\" = '{target}'",
                    super::types::text(child)
                );
                let references: i64 = session.sqlite.query_row(&sql, [], |row| row.get(0)).unwrap();
                references > 0 && super::types::text(child) != target
            });
            Answer::of(
                &["nvarchar"],
                children.take(1).map(|child| vec![text(&format!("dbo.{}", super::types::text(&child)))]).collect(),
            )
        }
        questions::DESCRIBE => return Some(describe(session, &argument(0))),
        questions::LOCK => {
            server.take_lock();
            Answer::of(&["int"], vec![vec![whole(0)]])
        }
        questions::UNLOCK => {
            server.release_lock();
            Answer::default()
        }
        questions::STATE => Answer::of(&["int"], vec![vec![whole(i64::from(!session.sqlite.is_autocommit()))]]),
        questions::SNAPSHOTS => Answer::of(&["int"], vec![vec![whole(i64::from(server.settings().snapshots))]]),
        questions::NOW => Answer::of(&["nvarchar"], vec![vec![text(super::NOW)]]),
        questions::VERSION => Answer::of(&["nvarchar"], vec![vec![text("16.0.1000.6")]]),
        questions::MAY => {
            let denied = server.settings().denied.contains(&argument(1));
            Answer::of(&["int"], vec![vec![whole(i64::from(!denied))]])
        }
        questions::SCHEMA => Answer::of(&["nvarchar"], vec![vec![text("dbo")]]),
        _ => return None,
    };
    Some(Ok(answer))
}

/// The last part of `[dbo].[name]`.
fn unquoted(name: &str) -> String {
    let name = name.strip_prefix("[dbo].").unwrap_or(name);
    name[1..name.len() - 1].replace("]]", "]")
}

fn kind_of(sqlite: &Connection, name: &str) -> Option<(String, &'static str)> {
    let sql = "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE";
    let found = sqlite.query_row(sql, [name], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).ok();
    found.map(|(name, kind): (String, _)| (name, if kind == "view" { "V" } else { "U" }))
}

fn definition(sqlite: &Connection, name: &str) -> String {
    sqlite.query_row("SELECT sql FROM sqlite_master WHERE name = ?1", [name], |row| row.get(0)).unwrap_or_default()
}

fn names(sqlite: &Connection, like: &str, unlike: &str) -> Vec<Vec<Value>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
               AND name LIKE ?1 AND name NOT LIKE ?2 ORDER BY name";
    let mut statement = sqlite.prepare(sql).unwrap();
    statement.query_map([like, unlike], |row| Ok(vec![row.get(0)?])).unwrap().map(Result::unwrap).collect()
}

fn columns(sqlite: &Connection, table: &str) -> Vec<Vec<Value>> {
    let counts = definition(sqlite, table).contains("AUTOINCREMENT");
    let mut statement = sqlite.prepare("SELECT * FROM pragma_table_xinfo(?1)").unwrap();
    let column = |row: &rusqlite::Row<'_>| {
        let declared: String = row.get(2)?;
        let (name, sizes) = parts(&declared);
        let size = |at: usize, otherwise: i64| sizes.get(at).map_or(otherwise, |size| i64::from(*size));
        let (not_null, key, hidden): (i64, i64, i64) = (row.get(3)?, row.get(5)?, row.get(6)?);
        let default: Option<String> = row.get(4)?;
        let is_text = ["char", "varchar", "nchar", "nvarchar", "text", "ntext"].contains(&&*name);
        let width = if name.starts_with('n') { 2 } else { 1 };
        let length = match size(0, 0) {
            0 => -1,
            length => length * width,
        };
        let (precision, scale) = match name.as_str() {
            "decimal" | "numeric" => (size(0, 18), size(1, 0)),
            "time" | "datetime2" | "datetimeoffset" => (0, size(0, 7)),
            _ => (0, 0),
        };
        Ok(vec![
            row.get(1)?,
            Value::Text(if name == "integer" { "int".into() } else { name }),
            Value::Integer(length),
            Value::Integer(precision),
            Value::Integer(scale),
            Value::Integer(i64::from(not_null == 0 && key == 0)),
            Value::Integer(i64::from(counts && key > 0)),
            Value::Integer(i64::from(hidden > 1)),
            Value::Integer(i64::from(default.is_some())),
            if is_text { Value::Text("Latin1_General_100_BIN2".into()) } else { Value::Null },
            if is_text { Value::Integer(1252) } else { Value::Null },
        ])
    };
    statement.query_map([table], column).unwrap().map(Result::unwrap).collect()
}

fn unique(sqlite: &Connection, table: &str) -> Vec<Vec<Value>> {
    let mut found = vec![];
    let mut keys = sqlite.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk").unwrap();
    for name in keys.query_map([table], |row| row.get::<_, Value>(0)).unwrap() {
        found.push(vec![Value::Text("PK".into()), name.unwrap(), Value::Integer(1)]);
    }
    let sql = "SELECT l.name, i.name FROM pragma_index_list(?1) AS l JOIN pragma_index_info(l.name) AS i \
               WHERE l.\"unique\" = 1 AND l.origin <> 'pk' AND l.partial = 0 ORDER BY l.seq, i.seqno";
    let mut indexes = sqlite.prepare(sql).unwrap();
    for row in indexes.query_map([table], |row| Ok(vec![row.get(0)?, row.get(1)?, Value::Integer(0)])).unwrap() {
        found.push(row.unwrap());
    }
    found
}

fn describe(session: &mut Session, sql: &str) -> Result<Answer, Refused> {
    let types = ["nvarchar", "nvarchar", "int", "int", "int", "nvarchar(0)"];
    if sql == super::ENDLESS {
        let number = [Value::Text("n".into()), Value::Text("bigint".into()), Value::Integer(19), Value::Integer(0)];
        return Ok(Answer::of(&types, vec![[&number[..], &[Value::Null, Value::Null]].concat()]));
    }
    let described = match session.columns(sql) {
        Ok(columns) => columns,
        Err(refused) => {
            let error = vec![Value::Integer(refused.number.into()), Value::Text(refused.message)];
            let row = [vec![Value::Null, Value::Null, Value::Integer(0), Value::Integer(0)], error].concat();
            return Ok(Answer::of(&types, vec![row]));
        }
    };
    let row = |(name, declared): (String, String)| {
        let (kind, _) = parts(&declared);
        let (precision, scale) = match Type::of(&declared) {
            Some(Type::Decimal(precision, scale)) => (precision, scale),
            Some(Type::Time(scale) | Type::DateTime2(scale) | Type::Offset(scale)) => (0, scale),
            _ => (0, 0),
        };
        let kind = match kind.as_str() {
            "integer" => "int",
            "rowversion" => "timestamp",
            kind => kind,
        };
        vec![
            Value::Text(name),
            Value::Text(kind.into()),
            Value::Integer(precision.into()),
            Value::Integer(scale.into()),
            Value::Null,
            Value::Null,
        ]
    };
    Ok(Answer::of(&types, described.into_iter().map(row).collect()))
}
