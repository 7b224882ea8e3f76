//! What one connection has open: a connection to SQLite, and what TDS keeps beside it.

use std::sync::Arc;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode};

use super::types::{Type, text};
use super::{Answer, Refused, Shared, catalog, translate};

/// Stands before a value of `CAST(… AS decimal(19, 4))`, which has no column to say its type.
const TYPED: &str = "\u{1}";

/// Conversions that fail.
const CONVERSIONS: [u32; 6] = [241, 242, 245, 8114, 8169, 9400];

pub struct Session {
    pub server: Arc<Shared>,
    pub sqlite: Connection,
    snapshot: bool,
    /// The columns of a bulk load whose rows are to come.
    pub bulk: Option<String>,
    /// What has happened to the transaction, as TDS counts it.
    pub change: Option<u8>,
}

impl Session {
    pub fn new(server: Arc<Shared>) -> Self {
        let sqlite = open(&server);
        Self { server, sqlite, snapshot: false, bulk: None, change: None }
    }

    /// Runs the statements of a batch, as far as the first that is refused. Answers the last.
    pub fn batch(&mut self, sql: &str, arguments: &[Value]) -> Result<Answer, Refused> {
        self.server.seen(sql);
        if let Some(answer) = catalog::answer(self, sql, arguments) {
            return answer;
        }
        let mut answer = Answer::default();
        for statement in translate::statements(sql) {
            answer = self.statement(&statement, arguments).inspect_err(|refused| self.end_for(refused.number))?;
        }
        Ok(answer)
    }

    fn statement(&mut self, sql: &str, arguments: &[Value]) -> Result<Answer, Refused> {
        let mut simply = |sql: &str, change: Option<u8>| {
            self.sqlite.execute_batch(sql).map_err(refused)?;
            self.change = change.or(self.change);
            Ok(Answer::default())
        };
        match sql {
            "BEGIN TRANSACTION" => simply(if self.snapshot { "BEGIN" } else { "BEGIN IMMEDIATE" }, Some(8)),
            "COMMIT TRANSACTION" if self.server.loses_commits() => {
                simply("COMMIT", Some(9))?;
                Err(Refused::gone())
            }
            "COMMIT TRANSACTION" => simply("COMMIT", Some(9)),
            "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION" if self.sqlite.is_autocommit() => Ok(Answer::default()),
            "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION" => simply("ROLLBACK", Some(10)),
            "SAVE TRANSACTION engine_rows" => simply("SAVEPOINT engine_rows", None),
            "ROLLBACK TRANSACTION engine_rows" => simply("ROLLBACK TO engine_rows", None),
            "IF OBJECT_ID(N'tempdb..#engine_stage') IS NOT NULL DROP TABLE #engine_stage" => {
                simply("DROP TABLE IF EXISTS temp.engine_stage", None)
            }
            _ if sql.starts_with("SET ") => {
                if let Some(level) = sql.strip_prefix("SET TRANSACTION ISOLATION LEVEL ") {
                    self.snapshot = level == "SNAPSHOT";
                }
                Ok(Answer::default())
            }
            _ if sql.starts_with("INSERT BULK ") => {
                self.bulk = Some(sql.to_owned());
                Ok(Answer::default())
            }
            _ => {
                let sql = match sql.strip_prefix("SELECT TOP 0 ") {
                    Some(rest) => format!("SELECT {rest} LIMIT 0"),
                    None => sql.to_owned(),
                };
                self.run(&translate::statement(&sql), arguments)
            }
        }
    }

    /// A conversion that fails takes the transaction with it.
    fn end_for(&mut self, number: u32) {
        if CONVERSIONS.contains(&number) && !self.sqlite.is_autocommit() {
            self.sqlite.execute_batch("ROLLBACK").unwrap();
            self.change = Some(10);
        }
    }

    fn run(&mut self, sql: &str, arguments: &[Value]) -> Result<Answer, Refused> {
        let mut statement = self.sqlite.prepare(sql).map_err(refused)?;
        let count = statement.parameter_count();
        let given = rusqlite::params_from_iter(arguments.iter().take(count));
        let mut columns: Vec<_> = statement
            .columns()
            .iter()
            .map(|column| (column.name().to_owned(), column.decl_type().map(str::to_owned)))
            .collect();
        let mut found = statement.query(given).map_err(refused)?;
        let mut rows = vec![];
        while let Some(row) = found.next().map_err(refused)? {
            let values: Vec<Value> = (0..columns.len()).map(|at| row.get(at).unwrap()).collect();
            rows.push(values);
        }
        for (at, (_, declared)) in columns.iter_mut().enumerate() {
            if declared.is_none() {
                *declared = Some(guessed(rows.iter_mut().map(|row: &mut Vec<Value>| &mut row[at])));
            }
        }
        // That which refuses nulls comes as such: a bulk load must know.
        let not_null = sql.contains("LIMIT 0");
        let columns = columns.into_iter().map(|(name, declared)| {
            let declared = declared.unwrap_or_default();
            let kind = Type::of(&declared).unwrap_or_else(|| panic!("the stand-in knows no type {declared}"));
            let kind = if not_null && name == crate::questions::ROW { Type::FixedInt } else { kind };
            (name, kind)
        });
        Ok(Answer { columns: columns.collect(), rows })
    }

    /// The columns of a query, each with its type.
    pub fn columns(&mut self, sql: &str) -> Result<Vec<(String, String)>, Refused> {
        let statements = translate::statements(sql);
        let Some(last) = statements.last() else { return Ok(vec![]) };
        let translated = translate::statement(last);
        let declared: Vec<_> = {
            let statement = self.sqlite.prepare(&translated).map_err(refused)?;
            statement
                .columns()
                .iter()
                .map(|column| (column.name().to_owned(), column.decl_type().map(str::to_owned)))
                .collect()
        };
        if declared.iter().all(|(_, declared)| declared.is_some()) {
            return Ok(declared.into_iter().map(|(name, declared)| (name, declared.unwrap_or_default())).collect());
        }
        // Values say what they are.
        let nulls = vec![Value::Null; 20];
        let mut rows = self.run_readonly(&translated, &nulls)?;
        let guess = |(at, (name, declared)): (usize, (String, Option<String>))| {
            let declared = declared.unwrap_or_else(|| guessed(rows.iter_mut().map(|row| &mut row[at])));
            (name, declared)
        };
        Ok(declared.into_iter().enumerate().map(guess).collect())
    }

    fn run_readonly(&mut self, sql: &str, arguments: &[Value]) -> Result<Vec<Vec<Value>>, Refused> {
        let statement = self.sqlite.prepare(sql).map_err(refused)?;
        assert!(statement.readonly(), "what is described is not run");
        drop(statement);
        let limited = format!("SELECT * FROM ({sql}) LIMIT 1");
        let mut statement = self.sqlite.prepare(&limited).map_err(refused)?;
        let (count, width) = (statement.parameter_count(), statement.column_count());
        let given = rusqlite::params_from_iter(arguments.iter().take(count));
        let mut rows = statement.query(given).map_err(refused)?;
        let mut found = vec![];
        while let Some(row) = rows.next().map_err(refused)? {
            found.push((0..width).map(|at| row.get(at).unwrap()).collect());
        }
        Ok(found)
    }
}

/// The type of an expression, by its values.
fn guessed<'a>(values: impl Iterator<Item = &'a mut Value>) -> String {
    let mut guess = "nvarchar(0)".to_owned();
    for value in values {
        match value {
            Value::Integer(_) => guess = "bigint".into(),
            Value::Real(_) => guess = "float".into(),
            Value::Blob(_) => guess = "varbinary(0)".into(),
            Value::Text(text) => {
                if let Some((declared, rest)) = text.strip_prefix(TYPED).and_then(|text| text.split_once(TYPED)) {
                    guess = declared.to_owned();
                    *value = if rest.is_empty() { Value::Null } else { Value::Text(rest.to_owned()) };
                }
            }
            Value::Null => {}
        }
    }
    guess
}

/// A connection that knows what SQL Server's CASTs do.
pub fn open(server: &Shared) -> Connection {
    let sqlite = Connection::open(&server.file).unwrap();
    sqlite.busy_timeout(server.settings().patience).unwrap();
    sqlite.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON").unwrap();
    // A name that is not there would be a text.
    sqlite.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DML, false).unwrap();
    sqlite.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DDL, false).unwrap();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let value = |value: ValueRef<'_>| Value::try_from(value).unwrap();
    let keep = |declared: &str, value: &Value| {
        let kind = Type::of(declared).unwrap_or_else(|| panic!("the stand-in knows no type {declared}"));
        kind.keep(value)
    };
    sqlite
        .create_scalar_function("tds_text", 1, flags, move |context| {
            let value = value(context.get_raw(0));
            Ok(if value == Value::Null { Value::Null } else { Value::Text(text(&value)) })
        })
        .unwrap();
    sqlite
        .create_scalar_function("tds_cast", 2, flags, move |context| {
            let declared: String = context.get(1)?;
            keep(&declared, &value(context.get_raw(0)))
                .map_err(|number| rusqlite::Error::UserFunctionError(number.to_string().into()))
        })
        .unwrap();
    sqlite
        .create_scalar_function("tds_try", 2, flags, move |context| {
            let declared: String = context.get(1)?;
            Ok(keep(&declared, &value(context.get_raw(0))).unwrap_or(Value::Null))
        })
        .unwrap();
    sqlite
        .create_scalar_function("tds_typed", 2, flags, move |context| {
            let declared: String = context.get(1)?;
            let kept = keep(&declared, &value(context.get_raw(0))).unwrap_or(Value::Null);
            Ok(format!("{TYPED}{declared}{TYPED}{}", text(&kept)))
        })
        .unwrap();
    sqlite
}

/// What SQL Server would say.
pub fn refused(error: rusqlite::Error) -> Refused {
    let (code, message) = match &error {
        rusqlite::Error::SqliteFailure(code, message) => (Some(*code), message.clone().unwrap_or_default()),
        rusqlite::Error::SqlInputError { error, msg, .. } => (Some(*error), msg.clone()),
        other => (None, other.to_string()),
    };
    let number = match code.map(|code| (code.code, code.extended_code)) {
        Some((ErrorCode::ConstraintViolation, extended)) => match extended {
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
            | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID => 2627,
            rusqlite::ffi::SQLITE_CONSTRAINT_NOTNULL => 515,
            // RAISE in a trigger.
            rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER => 50_000,
            _ => 547,
        },
        Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => 1222,
        _ if message.starts_with("no such table") => 208,
        _ if message.starts_with("no such column") => 207,
        _ if message.contains("already exists") => 2714,
        // That of a function of ours.
        _ => message.parse().unwrap_or(102),
    };
    let class = match number {
        2627 => 14,
        102 => 15,
        _ => 16,
    };
    Refused { number, class, message }
}
