//! The source: one table or query, read on a thread of its own, batch by batch as the driver gives it.

use std::sync::Arc;

use adbc_core::Statement as _;
use engine_sdk::database::{Cursor, Extraction, Parameters, Selection};
use engine_sdk::prelude::*;

use crate::driver::{Access, Settings};
use crate::name::{Quote, Target};
use crate::options::{Options, SecretOptions};
use crate::plan::{Piece, Types, columns, statement, window};
use crate::sql::{Placeholders, quoting};
use crate::worker::Worker;

/// Reads a table or the rows of a query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The driver's library: a path, relative to the pipeline file, or a name
    /// that the system's loader or a driver manifest has.
    driver: String,
    /// The function that the library begins with. Unset: the one that its name
    /// stands for, or `AdbcDriverInit`.
    #[serde(default)]
    entrypoint: Option<String>,
    /// Options of the driver's database, such as `uri`, `username` and
    /// `password`. Their values are kept secret.
    #[serde(default)]
    database: SecretOptions,
    /// Options of the driver's connection, such as `adbc.connection.db_schema`.
    #[serde(default)]
    session: Options,
    /// Options of the driver's statement, such as the size of its batches.
    #[serde(default)]
    statement: Options,
    /// How names are quoted.
    #[serde(default)]
    quote: Quote,
    /// What stands for a value in the database's SQL. Unset: what goes with the
    /// database that the driver names.
    #[serde(default)]
    placeholders: Option<Placeholders>,
    /// The catalog, project or database that `table` is in, above its schema.
    #[serde(default)]
    catalog: Option<String>,
    /// The table or view to read: `calls` or `reports.calls`, in the case that
    /// the database keeps.
    #[serde(default)]
    table: Option<String>,
    /// The query to read, instead of a table. Give it an `ORDER BY`: without one
    /// a database may answer in another order each time.
    #[serde(default)]
    query: Option<String>,
    /// Values of the placeholders in `query`: `:region` is the value of
    /// `region`. Each is one value, whatever is in it, and never SQL.
    #[serde(default)]
    parameters: Parameters,
    /// Reads only what is new since the last run.
    #[serde(default)]
    cursor: Option<Cursor>,
    /// How long the driver may take until it answers: with the first rows of a
    /// query, and with more of them. Unset: as long as it takes.
    #[serde(default)]
    timeout: Option<Duration>,
}

pub struct AdbcSource {
    access: Arc<Access>,
    timeout: Option<std::time::Duration>,
    catalog: Option<String>,
    extraction: Extraction,
    cx: Context,
}

/// What the reading thread gives: first the columns, then rows.
enum Part {
    Columns(SchemaRef),
    Rows(RecordBatch),
}

impl Component for AdbcSource {
    type Config = SourceConfig;
    const SUMMARY: &'static str = "Reads a table or a query through an ADBC driver";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "a table",
                json!({
                    "driver": "/opt/drivers/libadbc_driver_postgresql.so",
                    "database": {"uri": "postgresql://reader:secret@localhost/calls"},
                    "table": "reports.calls"
                }),
            ),
            example(
                "what is new, from Snowflake",
                json!({
                    "driver": "/opt/drivers/libadbc_driver_snowflake.so",
                    "database": {
                        "username": "READER",
                        "password": "secret",
                        "adbc.snowflake.sql.account": "AB12345",
                        "adbc.snowflake.sql.db": "CALLS"
                    },
                    "table": "PUBLIC.CALLS",
                    "cursor": {"column": "CHANGED", "key": "ID", "lag": "1m"}
                }),
            ),
            example(
                "a query with a value, from BigQuery",
                json!({
                    "driver": "adbc_driver_bigquery",
                    "database": {"adbc.bigquery.sql.project_id": "my-project"},
                    "quote": "backtick",
                    "query": "SELECT number, cost FROM reports.calls WHERE region = :region ORDER BY number",
                    "parameters": {"region": "north"}
                }),
            ),
        ]
    }

    fn open(config: SourceConfig, cx: Context) -> Result<Self> {
        let SourceConfig { driver, entrypoint, database, session, statement, quote, placeholders, .. } = config;
        let settings = Settings { driver, entrypoint, database, session, statement, quote, placeholders };
        let access = Access::new(settings, &cx)?;
        match &config.table {
            Some(table) => drop(Target::new(config.catalog.clone(), table)?),
            None if config.catalog.is_some() => {
                return Err(Error::config("`catalog` belongs to `table`")
                    .hint("write the whole name into the query, or leave `catalog` out"));
            }
            None => {}
        }
        let (table, query, cursor) = (config.table, config.query, config.cursor);
        let extraction = Extraction::new("adbc", table, query, config.parameters, cursor, quoting(quote))?;
        let timeout = config.timeout.map(|timeout| timeout.0);
        Ok(Self { access, timeout, catalog: config.catalog, extraction, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (access, piece, catalog) = (Arc::clone(&self.access), self.piece(), self.catalog.clone());
        let extraction = self.extraction.clone();
        let summary = Worker::start(&self.cx, self.timeout, move |port| {
            let mut session = access.connect()?;
            session.let_cancel(port.handle());
            let columns = columns(&mut session, &piece, catalog.as_ref())?;
            if extraction.cursor().is_some() {
                window(&mut session, &extraction, catalog.as_ref(), &PlanRequest::default())?;
            }
            let columns = columns.map(|columns| engine_sdk::counted(columns.fields().len(), "column"));
            let what = match (&piece.selection, columns) {
                (Selection::Table(table), Some(columns)) => format!(", table {table} with {columns}"),
                (Selection::Table(table), None) => format!(", table {table}"),
                (Selection::Query(_), Some(columns)) => format!(", the query gives {columns}"),
                (Selection::Query(_), None) => "; the driver cannot look at the query without running it".into(),
            };
            let vendor = match session.vendor() {
                "" => "a database that the driver does not name",
                vendor => vendor,
            };
            port.send(format!("connected to {vendor}{what}"));
            Ok(())
        })?;
        Ok(CheckReport { summary: summary.only()? })
    }
}

impl AdbcSource {
    /// All that there is.
    fn piece(&self) -> Piece {
        let (selection, parameters) = (self.extraction.selection().clone(), self.extraction.parameters().clone());
        Piece { selection, parameters, window: None, types: Types::default() }
    }
}

impl Source for AdbcSource {
    const RANGES: bool = true;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.extraction.check_request(request)?;
        let (access, whole, catalog) = (Arc::clone(&self.access), self.piece(), self.catalog.clone());
        let (extraction, request) = (self.extraction.clone(), request.clone());
        let planned = Worker::start(&self.cx, self.timeout, move |port| {
            let mut session = access.connect()?;
            session.let_cancel(port.handle());
            port.send(match extraction.cursor() {
                Some(_) => window(&mut session, &extraction, catalog.as_ref(), &request)?,
                None => {
                    columns(&mut session, &whole, catalog.as_ref())?;
                    Some(whole)
                }
            });
            Ok(())
        })?;
        // Nothing new.
        let Some(piece) = planned.only()? else { return Ok(Plan { upper: None, splits: vec![], ..Plan::default() }) };
        let upper = piece.window.as_ref().and_then(|window| window.to.as_ref()).map(|to| json!(to));
        Ok(Plan { upper, splits: vec![Split::new("0000", piece)?], ..Plan::default() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let piece: Piece = split.spec_as()?;
        let draft = statement(&piece, self.catalog.as_ref(), self.access.quote())?;
        let access = Arc::clone(&self.access);
        let mut worker = Worker::start(&self.cx, self.timeout, move |port| {
            let mut session = access.connect()?;
            session.let_cancel(port.handle());
            let mut statement = session.tuned_statement()?;
            session.fill(&mut statement, &draft)?;
            let reader = statement.execute().map_err(|refusal| access.failure(&refusal))?;
            if !port.send(Part::Columns(reader.schema())) {
                return Ok(());
            }
            for batch in reader {
                let batch = batch.map_err(|error| access.broken(&error))?;
                if batch.num_rows() > 0 && !port.send(Part::Rows(batch)) {
                    break;
                }
            }
            Ok(())
        })?;
        let wrong = || Error::internal("the driver's thread gave rows before their columns");
        let Some(Part::Columns(schema)) = worker.next().transpose()? else { return Err(wrong()) };
        let cx = self.cx.clone();
        let rows = worker.map(move |part| match part? {
            Part::Rows(batch) => {
                cx.progress(batch.num_rows() as u64, batch.get_array_memory_size() as u64);
                Ok(batch)
            }
            Part::Columns(_) => Err(wrong()),
        });
        Ok(Batches::new(schema, rows))
    }
}
