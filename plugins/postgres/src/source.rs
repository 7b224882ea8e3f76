//! The source: one query, read with `COPY … TO STDOUT (FORMAT binary)`.

use std::path::PathBuf;
use std::sync::Arc;

use engine_postgres_copy::Decoder;
use engine_sdk::database::{
    Cursor, Cut, Extraction, Parameters, Quoting, Selection, TableName, default_batch, default_connect_timeout,
};
use engine_sdk::prelude::*;
use engine_sdk::types;
use sqlx::{AssertSqlSafe, Executor, PgConnection, SqlSafeStr};

use crate::connection::{Address, Server};
use crate::error::Failure;
use crate::plan;
use crate::selection::{Piece, Reading};
use crate::stream::{Home, Rows, Session, copy};

/// Reads a table or the rows of a query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The server and the database: `postgres://USER:PASSWORD@HOST:5432/DATABASE`.
    url: types::Secret,
    /// How the connection is protected. Unset: verified, except to this machine
    /// itself, where TLS is used if the server offers it.
    #[serde(default)]
    tls: Option<types::Tls>,
    /// A PEM file with the authority that signed the server's certificate.
    /// Trusted in addition to the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: types::Duration,
    /// How long the server may take until it answers: with the first rows of a
    /// query, and with more of them. Unset: as long as it takes.
    #[serde(default)]
    timeout: Option<types::Duration>,
    /// The table or view to read: `calls` or `reports.calls`. In the order of
    /// its primary key, if it has one.
    #[serde(default)]
    table: Option<String>,
    /// The query to read, instead of a table. Give it an `ORDER BY`: without
    /// one PostgreSQL may answer in another order each time.
    #[serde(default)]
    query: Option<String>,
    /// Values of the placeholders in `query`: `:region` is the value of
    /// `region`. Each is one value, whatever is in it, and never SQL.
    #[serde(default)]
    parameters: Parameters,
    /// Reads only what is new since the last run.
    #[serde(default)]
    cursor: Option<Cursor>,
    /// Cuts the table into splits by this column, best the primary key: ranges
    /// of about as many rows each, by the server's statistics (`ANALYZE`), all
    /// as they were at one moment. Each split is delivered on its own.
    #[serde(default)]
    key: Option<String>,
    /// How many splits `key` makes. Unset: 4.
    #[serde(default)]
    splits: Option<std::num::NonZeroU16>,
    /// The most rows of a batch.
    #[serde(default = "default_batch")]
    batch: std::num::NonZeroU32,
}

pub struct PostgresSource {
    address: Address,
    extraction: Extraction,
    cut: Option<Cut>,
    batch: usize,
    /// The session that planned, so that its splits see what it saw.
    home: Home,
    cx: Context,
}

impl Component for PostgresSource {
    type Config = SourceConfig;
    const SUMMARY: &'static str = "Reads a table or a query of a PostgreSQL database";

    fn examples() -> Vec<Example> {
        let url = "postgres://reader:secret@localhost/calls";
        vec![
            example("a table", json!({"url": url, "table": "avaya_cdr"})),
            example(
                "a query",
                json!({
                    "url": url,
                    "query": "SELECT calling_number, count(*) AS calls FROM avaya_cdr GROUP BY 1 ORDER BY 1"
                }),
            ),
            example(
                "what is new since the last run, but nothing younger than a minute",
                json!({"url": url, "table": "avaya_cdr", "cursor": {"column": "date", "start": "2025-01-01", "lag": "1m"}}),
            ),
            example(
                "a query with a value of its own, and windows by what it names",
                json!({
                    "url": url,
                    "query": "SELECT * FROM calls WHERE region = :region AND changed > :window_start AND changed <= :window_end ORDER BY id",
                    "parameters": {"region": "north"},
                    "cursor": {"query": "SELECT changed FROM calls", "start": "2025-01-01"}
                }),
            ),
            example(
                "a large table in eight splits",
                json!({"url": url, "table": "avaya_cdr", "key": "id", "splits": 8}),
            ),
        ]
    }

    fn open(config: SourceConfig, cx: Context) -> Result<Self> {
        if let Some(table) = &config.table {
            TableName::parse(table)?;
        }
        let (table, query, cursor) = (config.table, config.query, config.cursor);
        let extraction = Extraction::new("postgres", table, query, config.parameters, cursor, Quoting::POSTGRES)?;
        let cut = Cut::of(config.key, config.splits)?;
        let ca = config.ca.map(|path| cx.resolve(path));
        let address =
            Address::new(&config.url, config.tls, ca, config.connect_timeout)?.answering_within(config.timeout);
        let batch = usize::try_from(config.batch.get()).unwrap_or(usize::MAX);
        Ok(Self { address, extraction, cut, batch, home: Home::default(), cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (extraction, cut) = (&self.extraction, self.cut.as_ref());
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let (version, columns) = server.run(async |connection| {
            let (selection, parameters) = (extraction.selection().clone(), extraction.parameters().clone());
            let reading = Reading::new(connection, &selection, &parameters, None).await?;
            plan::check(connection, &reading, extraction, cut).await?;
            // What may not be read is refused here already.
            let piece = Piece { selection, parameters, window: None, range: None, snapshot: None };
            connection.prepare(AssertSqlSafe(reading.select(&piece)?).into_sql_str()).await?;
            Ok((version(connection).await?, reading.columns.len()))
        })?;
        let what = match self.extraction.selection() {
            Selection::Table(table) => format!("table {table} with {}", engine_sdk::counted(columns, "column")),
            Selection::Query(_) => format!("the query gives {}", engine_sdk::counted(columns, "column")),
        };
        Ok(CheckReport { summary: format!("PostgreSQL {version} at {}, {what}", self.address.shown()) })
    }
}

/// The server's version as it says it.
pub async fn version(connection: &mut PgConnection) -> Result<String, Failure> {
    Ok(sqlx::query_scalar("SELECT pg_catalog.current_setting('server_version')").fetch_one(connection).await?)
}

impl Source for PostgresSource {
    const RANGES: bool = true;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.home.clear();
        let (extraction, cut) = (&self.extraction, self.cut.as_ref());
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        // A missing table or a broken query is found now, before there is a window.
        let (plan, snapshot) = server.run(async |connection| {
            let snapshot = plan::begin(connection, extraction.selection()).await?;
            let plan = plan::plan(connection, extraction, cut, request, snapshot.as_deref()).await?;
            Ok((plan, snapshot))
        })?;
        if snapshot.is_none() && plan.splits.len() > 1 {
            self.cx.log(Level::Warn, "the server gives no snapshot away: each split is read as the table is then");
        }
        // Without a name nobody could ask for it.
        if snapshot.is_some() && !plan.splits.is_empty() {
            self.home.keep(Session { server, name: snapshot, splits: plan.splits.len() });
        }
        Ok(plan)
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let piece: Piece = split.spec_as()?;
        let mut session = match self.home.take(piece.snapshot.as_deref()) {
            Some(session) => session,
            None => self.begin(&piece)?,
        };
        let (copied, reading) = session.server.run(async |connection| {
            let reading = Reading::new(connection, &piece.selection, &piece.parameters, piece.window.as_ref()).await?;
            Ok((reading.source(&piece)?, reading))
        })?;
        let schema = reading.schema();
        let decoder = Decoder::new(Arc::clone(&schema), &reading.kinds(), self.batch);
        let copy = |connection, sender| copy(connection, copied, schema, decoder, sender);
        let (schema, rows) = Rows::begin(session, self.home.clone(), self.cx.clone(), copy)?;
        Ok(Batches::new(schema, rows))
    }
}

impl PostgresSource {
    /// A session of its own, that sees the snapshot if it still can be seen.
    fn begin(&self, piece: &Piece) -> Result<Session> {
        let (selection, snapshot) = (&piece.selection, piece.snapshot.as_deref());
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let joined = server.run(async |connection| plan::join(connection, selection, snapshot).await)?;
        if snapshot.is_some() && !joined {
            // Ranges that were cut at another moment need not fit together.
            self.cx.log(
                if piece.range.is_some() { Level::Warn } else { Level::Info },
                "the moment at which this window was planned can no longer be seen; rows that were changed since are \
                 read as they are now",
            );
        }
        let name = snapshot.filter(|_| joined).map(str::to_owned);
        Ok(Session { server, name, splits: 1 })
    }
}
