//! The source: one query, read as it comes.

use std::path::PathBuf;

use engine_sdk::database::{
    Cursor, Cut, Extraction, Parameters, Quoting, Selection, TableName, default_batch, default_connect_timeout,
};
use engine_sdk::prelude::*;
use engine_sdk::types;

use crate::connection::{Address, Link, Server, value};
use crate::error::Failure;
use crate::plan;
use crate::selection::{Piece, Reading};
use crate::stream::{Home, Rows, Session, fetch};

/// Reads a table or the rows of a query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The server and the database: `mysql://USER:PASSWORD@HOST:3306/DATABASE`.
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
    /// one the server may answer in another order each time.
    #[serde(default)]
    query: Option<String>,
    /// Values of the placeholders in `query`: `:region` is the value of
    /// `region`. Each is one value, whatever is in it, and never SQL.
    #[serde(default)]
    parameters: Parameters,
    /// Reads only what is new since the last run.
    #[serde(default)]
    cursor: Option<Cursor>,
    /// Cuts the table into splits by this column of whole numbers, best the
    /// primary key: ranges at equal distances from the smallest to the largest.
    /// Each split is delivered on its own. Other columns are not cut.
    #[serde(default)]
    key: Option<String>,
    /// How many splits `key` makes. Unset: 4.
    #[serde(default)]
    splits: Option<std::num::NonZeroU16>,
    /// The most rows of a batch.
    #[serde(default = "default_batch")]
    batch: std::num::NonZeroU32,
}

pub struct MysqlSource {
    address: Address,
    extraction: Extraction,
    cut: Option<Cut>,
    batch: usize,
    /// The session that planned, so that its splits see what it saw.
    home: Home,
    cx: Context,
}

impl Component for MysqlSource {
    type Config = SourceConfig;
    const SUMMARY: &'static str = "Reads a table or a query of a MySQL or MariaDB database";

    fn examples() -> Vec<Example> {
        let url = "mysql://reader:secret@localhost/calls";
        vec![
            example("a table", json!({"url": url, "table": "avaya_cdr"})),
            example(
                "a query with a value of its own",
                json!({
                    "url": url,
                    "query": "SELECT calling_number, count(*) AS calls FROM avaya_cdr WHERE call_code = :code GROUP BY 1 ORDER BY 1",
                    "parameters": {"code": "9"}
                }),
            ),
            example(
                "what is new since the last run, but nothing younger than a minute",
                json!({"url": url, "table": "avaya_cdr", "cursor": {"column": "date", "start": "2025-01-01", "lag": "1m"}}),
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
        let extraction = Extraction::new("mysql", table, query, config.parameters, cursor, Quoting::MYSQL)?;
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
            let reading = Reading::new(connection, extraction.selection(), extraction.parameters(), None).await?;
            plan::check(connection, &reading, extraction, cut).await?;
            Ok((version(connection).await?, reading.columns.len()))
        })?;
        let what = match self.extraction.selection() {
            Selection::Table(table) => format!("table {table} with {}", engine_sdk::counted(columns, "column")),
            Selection::Query(_) => format!("the query gives {}", engine_sdk::counted(columns, "column")),
        };
        Ok(CheckReport { summary: format!("{version} at {}, {what}", self.address.shown()) })
    }
}

/// The server and its version as it says it.
pub async fn version(connection: &mut Link) -> Result<String, Failure> {
    let version = value(connection, "SELECT VERSION()").await?.unwrap_or_default();
    let product = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    Ok(format!("{product} {}", version.split('-').next().unwrap_or_default()))
}

impl Source for MysqlSource {
    const RANGES: bool = true;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        self.home.clear();
        let (extraction, cut) = (&self.extraction, self.cut.as_ref());
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let name = uuid::Uuid::new_v4().to_string();
        // A missing table or a broken query is found now, before there is a window.
        let plan = server.run(async |connection| {
            plan::begin(connection).await?;
            plan::plan(connection, extraction, cut, request, &name).await
        })?;
        if plan.splits.is_empty() {
            server.roll_back();
        } else {
            self.home.keep(Session { server, name: Some(name), splits: plan.splits.len() });
        }
        Ok(plan)
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let piece: Piece = split.spec_as()?;
        let mut session = match self.home.take(piece.session.as_deref()) {
            Some(session) => session,
            None => self.begin(&piece)?,
        };
        let select = session.server.run(async |connection| {
            let reading = Reading::new(connection, &piece.selection, &piece.parameters, piece.window.as_ref()).await?;
            Ok(reading.select(&piece)?)
        })?;
        let fetch = |connection, sender| fetch(connection, select, self.batch, sender);
        let (schema, rows) = Rows::begin(session, self.home.clone(), self.cx.clone(), fetch)?;
        Ok(Batches::new(schema, rows))
    }
}

impl MysqlSource {
    /// A session of its own, that sees the database as it is now.
    fn begin(&self, piece: &Piece) -> Result<Session> {
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        server.run(async |connection| plan::begin(connection).await)?;
        self.cx.log(
            // Ranges that were cut at another moment need not fit together.
            if piece.range.is_some() { Level::Warn } else { Level::Info },
            "the moment at which this window was planned can no longer be seen; rows that were changed since are read \
             as they are now",
        );
        Ok(Session { server, name: None, splits: 1 })
    }
}
