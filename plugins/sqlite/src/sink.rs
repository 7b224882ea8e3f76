//! The sink: one transaction a delivery, with the delivery's key in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine_sdk::database::{Create, Ddl, Mode};
use engine_sdk::prelude::*;
use engine_sdk::types;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Statement};

use crate::bind::{Values, values};
use crate::commits;
use crate::database::{Access, default_busy_timeout, failure, is_refusal, open, quote, quote_list};
use crate::replace;
use crate::table;

/// Rows of one INSERT. More gain nothing.
const ROWS_A_STATEMENT: usize = 64;
/// SQLite's limit of values of one statement.
const MAX_VALUES: usize = 32_766;

/// Writes rows into a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// The file, relative to the pipeline file. Made with the table if `create` says so.
    path: types::Template,
    /// The table to write to. The stream's columns go to the columns of the
    /// same names; the others get their defaults.
    table: String,
    /// What happens to rows that are there already.
    #[serde(default)]
    mode: Mode,
    /// For `upsert`: the columns that tell rows apart. They need a unique index
    /// or primary key.
    #[serde(default)]
    key: Vec<String>,
    /// Makes the table, and the file, when it is missing.
    #[serde(default)]
    create: Create,
    /// How long to wait while another program writes to the file.
    #[serde(default = "default_busy_timeout")]
    busy_timeout: types::Duration,
}

pub struct SqliteSink {
    path: PathBuf,
    table: String,
    mode: Mode,
    key: Vec<String>,
    create: Create,
    busy_timeout: types::Duration,
    connection: Option<Connection>,
    /// The window whose rows take the place of the table's.
    replacing: Option<SinkRun>,
    /// The delivery whose rows are in the open transaction.
    open: Option<(String, Receipt)>,
    cx: Context,
}

impl Component for SqliteSink {
    type Config = SinkConfig;
    const SUMMARY: &'static str = "Writes rows into a table of an SQLite file, each delivery exactly once";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "add rows, and make file and table if missing",
                json!({"path": "calls.db", "table": "calls", "create": true}),
            ),
            example(
                "replace rows with the same number",
                json!({"path": "calls.db", "table": "accounts", "mode": "upsert", "key": ["account"]}),
            ),
        ]
    }

    fn open(config: SinkConfig, cx: Context) -> Result<Self> {
        config.mode.check_key(&config.key)?;
        Ok(Self {
            path: cx.resolve(&*config.path),
            table: config.table,
            mode: config.mode,
            key: config.key,
            create: config.create,
            busy_timeout: config.busy_timeout,
            connection: None,
            replacing: None,
            open: None,
            cx,
        })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let shown = self.path.display();
        let missing = |what: &str| CheckReport { summary: format!("SQLite file {shown}, {what} will be created") };
        if self.may_create() && !self.path.exists() {
            return Ok(missing("which"));
        }
        let connection = open(&self.path, Access::Write, self.busy_timeout)?;
        if self.may_create() && table::find(&connection, &self.table)?.is_none() {
            return Ok(missing(&format!("table {}", self.table)));
        }
        table::require(&connection, &self.table)?;
        Ok(CheckReport { summary: format!("SQLite file {shown}, table {} found", self.table) })
    }
}

impl Sink for SqliteSink {
    const PROMISE: Promise = Promise::EffectivelyOnce;

    fn begin_run(&mut self, run: &SinkRun) -> Result<()> {
        self.replacing = (self.mode == Mode::Replace && !run.replay).then(|| run.clone());
        if let Some(run) = &self.replacing.clone() {
            self.roll_back();
            let table = self.table.clone();
            replace::prepare(self.connect()?, run, &table)?;
        }
        Ok(())
    }

    fn finish_run(&mut self, _: &SinkRun) -> Result<()> {
        if let Some(run) = &self.replacing.clone() {
            self.roll_back();
            let table = self.table.clone();
            replace::finish(self.connect()?, run, &table)?;
        }
        Ok(())
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.roll_back();
        if self.may_create() && !self.path.exists() {
            return Ok(Begun::New);
        }
        let receipt = commits::find(self.connect()?, delivery)?;
        Ok(receipt.map_or(Begun::New, |receipt| Begun::Committed { receipt }))
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        self.roll_back();
        let (rows, bytes) = match self.load(input) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.roll_back();
                return Err(error);
            }
        };
        let location = Some(format!("{} in {}", self.table, self.path.display()));
        let receipt = Receipt { rows, bytes, location, ..Receipt::default() };
        self.open = Some((delivery.key.clone(), receipt));
        Ok(Sealed { rows, bytes, ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let open = self.open.take().filter(|(key, _)| *key == delivery.key);
        let committed = match (open, &self.connection) {
            (Some((_, receipt)), Some(connection)) => commits::add(connection, delivery, &receipt).map(|()| receipt),
            _ => Err(Error::unavailable(format!("the transaction of delivery {} is gone", delivery.key))
                .hint("the rows must be written again")),
        };
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    fn abort(&mut self, _: &Delivery) -> Result<()> {
        self.roll_back();
        Ok(())
    }
}

impl SqliteSink {
    fn may_create(&self) -> bool {
        self.create != Create::default()
    }

    fn connect(&mut self) -> Result<&Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let access = if self.may_create() { Access::Create } else { Access::Write };
                if let Some(folder) = self.path.parent().filter(|_| self.may_create()) {
                    let missing = |error: std::io::Error| Error::from(error).context(folder.display());
                    std::fs::create_dir_all(folder).map_err(missing)?;
                }
                open(&self.path, access, self.busy_timeout)?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Throws away what an unfinished delivery has left.
    fn roll_back(&mut self) {
        self.open = None;
        let Some(connection) = &self.connection else { return };
        if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
            // Closing rolls back as well.
            self.connection = None;
        }
    }

    /// Opens the transaction and loads the stream into it. Answers rows and bytes.
    fn load(&mut self, input: Batches) -> Result<(u64, u64)> {
        let schema = input.schema();
        let (cx, name, key, create) = (self.cx.clone(), self.table.clone(), self.key.clone(), self.create.clone());
        let replacing = self.replacing.clone();
        let connection = self.connect()?;
        // At once, so that two writers wait for each other here and not in the middle.
        connection.execute_batch("BEGIN IMMEDIATE").map_err(failure)?;
        commits::make(connection)?;
        if table::find(connection, &name)?.is_none() {
            let ddl = match &create {
                Create::Derived(false) => None,
                Create::Derived(true) => Some(table::create(&name, &schema, &key)?),
                Create::Stated(Ddl { ddl }) => Some(ddl.clone()),
            };
            if let Some(ddl) = ddl {
                let made = connection.execute_batch(&ddl);
                made.map_err(|error| failure(error).context(format!("table `{name}` cannot be created")))?;
            }
        }
        let mut table = table::require(connection, &name)?;
        table::fit(&schema, &table, &key)?;
        let mut renamed = None;
        if let Some(run) = &replacing {
            let beside = replace::beside(run, &name);
            replace::make(connection, &table, &beside)?;
            renamed = Some((beside.clone(), std::mem::replace(&mut table.name, beside)));
        }
        let rows = ROWS_A_STATEMENT.min(MAX_VALUES / schema.fields().len().max(1)).max(1);
        let prepare = |rows| connection.prepare(&insert(&table.name, &schema, &key, rows)).map_err(failure);
        let mut loader =
            Loader { connection, cx: &cx, many: prepare(rows)?, one: prepare(1)?, rows, loaded: 0, renamed };
        let mut bytes = 0;
        for batch in input {
            cx.check_cancelled()?;
            let batch = batch?;
            bytes += batch.get_array_memory_size() as u64;
            loader.batch(&batch, &key)?;
        }
        Ok((loader.loaded, bytes))
    }
}

/// An INSERT of some rows.
fn insert(table: &str, schema: &Schema, key: &[String], rows: usize) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let row = format!("({})", vec!["?"; names.len()].join(", "));
    let mut sql = format!(
        "INSERT INTO {} ({}) VALUES {}",
        quote(table),
        quote_list(names.iter().copied()),
        vec![row; rows].join(", ")
    );
    if !key.is_empty() {
        let others = names.iter().filter(|name| !key.iter().any(|key| key.eq_ignore_ascii_case(name)));
        let updates: Vec<_> = others.map(|name| format!("{0} = excluded.{0}", quote(name))).collect();
        let action = if updates.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", updates.join(", ")) };
        sql.push_str(&format!(" ON CONFLICT ({}) DO {action}", quote_list(key.iter().map(String::as_str))));
    }
    sql
}

struct Loader<'a> {
    connection: &'a Connection,
    cx: &'a Context,
    /// An INSERT of `rows` rows.
    many: Statement<'a>,
    /// An INSERT of one.
    one: Statement<'a>,
    rows: usize,
    loaded: u64,
    /// What the table is called in SQLite's words, and what it is to be called.
    renamed: Option<(String, String)>,
}

impl Loader<'_> {
    fn batch(&mut self, batch: &RecordBatch, key: &[String]) -> Result<()> {
        let mut bad = BTreeMap::new();
        let schema = batch.schema();
        let mut columns = vec![];
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            columns.push(values(field.name(), array, &mut bad)?);
            if key.iter().any(|key| key.eq_ignore_ascii_case(field.name()))
                && let Some(nulls) = array.logical_nulls()
            {
                for row in (0..array.len()).filter(|row| nulls.is_null(*row)) {
                    // Nulls are never the same as each other: every delivery would add another row.
                    bad.entry(row).or_insert_with(|| ("null", format!("{}: null in the key", field.name())));
                }
            }
        }
        for (row, (code, reason)) in &bad {
            self.cx.reject_rows(&batch.slice(*row, 1), code, reason)?;
        }
        let good: Vec<usize> = (0..batch.num_rows()).filter(|row| !bad.contains_key(row)).collect();
        for rows in good.chunks(self.rows) {
            if rows.len() == self.rows && run(self.connection, &mut self.many, &columns, rows)?.is_none() {
                self.loaded += rows.len() as u64;
                continue;
            }
            // A statement that was refused has left nothing behind, so its rows can be tried one by one.
            for row in rows {
                match run(self.connection, &mut self.one, &columns, &[*row])? {
                    None => self.loaded += 1,
                    Some(refused) => {
                        let mut reason = failure(refused).message;
                        if let Some((name, shown)) = &self.renamed {
                            reason = reason.replace(name, shown);
                        }
                        self.cx.reject_rows(&batch.slice(*row, 1), "constraint", &reason)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Inserts all of the rows or none. Answers the error when the table refused them for what is in them.
fn run(
    connection: &Connection,
    statement: &mut Statement<'_>,
    columns: &[Values],
    rows: &[usize],
) -> Result<Option<rusqlite::Error>> {
    let mut place = 1;
    for row in rows {
        for column in columns {
            statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(column.get(*row))).map_err(failure)?;
            place += 1;
        }
    }
    // A trigger or constraint that says FAIL keeps what the statement did before the row it
    // refuses; without the savepoint that would be in the table twice, or besides being refused.
    connection.execute_batch("SAVEPOINT engine_rows").map_err(failure)?;
    match statement.raw_execute() {
        Ok(_) => {
            connection.execute_batch("RELEASE engine_rows").map_err(failure)?;
            Ok(None)
        }
        Err(error) if is_refusal(&error) && !connection.is_autocommit() => {
            connection.execute_batch("ROLLBACK TO engine_rows; RELEASE engine_rows").map_err(failure)?;
            Ok(Some(error))
        }
        // Not a refusal of the delivery: it would bury every row for the sake of one.
        Err(error) if is_refusal(&error) => Err(Error::config(format!(
            "a trigger or constraint of the table rolls the whole transaction back for one row: {}",
            failure(error).message
        ))
        .hint(
            "write RAISE(ABORT, …) instead of RAISE(ROLLBACK, …), or ON CONFLICT ABORT; only the row is refused then",
        )),
        Err(error) => Err(failure(error)),
    }
}
