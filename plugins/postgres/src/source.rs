//! The source: one query, read with `COPY … TO STDOUT (FORMAT binary)`.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use engine_sdk::prelude::*;
use engine_sdk::{Runtime, types};
use futures_util::TryStreamExt;
use sqlx::postgres::PgColumn;
use sqlx::{AssertSqlSafe, Column as _, Executor, PgConnection, SqlSafeStr, Statement};
use tokio::sync::mpsc;

use crate::catalog;
use crate::connection::{Address, Server, Tls, execute};
use crate::decode::{Decoded, Decoder};
use crate::error::Failure;
use crate::kind::Kind;
use crate::name::{TableName, quote};

/// Reads a table or the rows of a query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The server and the database: `postgres://USER:PASSWORD@HOST:5432/DATABASE`.
    url: types::Secret,
    /// How the connection is protected. Unset: verified, except to this machine
    /// itself, where TLS is used if the server offers it.
    #[serde(default)]
    tls: Option<Tls>,
    /// A PEM file with the authority that signed the server's certificate.
    /// Trusted in addition to the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: types::Duration,
    /// The table or view to read: `calls` or `reports.calls`. In the order of
    /// its primary key, if it has one.
    #[serde(default)]
    table: Option<String>,
    /// The query to read, instead of a table. Give it an `ORDER BY`: without
    /// one PostgreSQL may answer in another order each time.
    #[serde(default)]
    query: Option<String>,
    /// The most rows of a batch.
    #[serde(default = "default_batch")]
    batch: std::num::NonZeroU32,
}

pub fn default_connect_timeout() -> types::Duration {
    types::Duration::seconds(10)
}

fn default_batch() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(8192).expect("not zero")
}

/// What is read, as a split's `spec` keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Selection {
    Table(String),
    Query(String),
}

pub struct PostgresSource {
    address: Address,
    selection: Selection,
    batch: usize,
    cx: Context,
}

impl Component for PostgresSource {
    type Config = SourceConfig;
    const SUMMARY: &'static str = "Reads a table or a query of a PostgreSQL database";

    fn examples() -> Vec<Example> {
        vec![
            example("a table", json!({"url": "postgres://reader:secret@localhost/calls", "table": "avaya_cdr"})),
            example(
                "a query",
                json!({
                    "url": "postgres://reader:secret@localhost/calls",
                    "query": "SELECT calling_number, count(*) AS calls FROM avaya_cdr GROUP BY 1 ORDER BY 1"
                }),
            ),
        ]
    }

    fn open(config: SourceConfig, cx: Context) -> Result<Self> {
        let selection = match (config.table, config.query) {
            (Some(table), None) => {
                TableName::parse(&table)?;
                Selection::Table(table)
            }
            (None, Some(query)) => Selection::Query(query),
            _ => {
                return Err(Error::config("a postgres source needs either `table` or `query`, and not both"));
            }
        };
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout)?;
        let batch = usize::try_from(config.batch.get()).unwrap_or(usize::MAX);
        Ok(Self { address, selection, batch, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let selection = self.selection.clone();
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let (version, columns) = server.run(async |connection| {
            let reading = Reading::new(connection, &selection).await?;
            // What may not be read is refused here already.
            connection.prepare(AssertSqlSafe(reading.select.as_str()).into_sql_str()).await?;
            Ok((version(connection).await?, reading.kinds.len()))
        })?;
        let what = match &self.selection {
            Selection::Table(table) => format!("table {table} with {}", counted(columns)),
            Selection::Query(_) => format!("the query gives {}", counted(columns)),
        };
        Ok(CheckReport { summary: format!("PostgreSQL {version} at {}, {what}", self.address.shown()) })
    }
}

/// The server's version as it says it.
pub async fn version(connection: &mut PgConnection) -> Result<String, Failure> {
    Ok(sqlx::query_scalar("SELECT pg_catalog.current_setting('server_version')").fetch_one(connection).await?)
}

impl Source for PostgresSource {
    fn plan(&mut self, _: &PlanRequest) -> Result<Plan> {
        let selection = self.selection.clone();
        // A missing table or a broken query is found now, before there is a window.
        Server::new(self.address.clone(), self.cx.clone())?
            .run(async |connection| Reading::new(connection, &selection).await)?;
        let spec = serde_json::to_value(&self.selection)
            .map_err(|error| Error::internal(format!("a split cannot be described: {error}")))?;
        Ok(Plan { upper: None, splits: vec![Split { id: "0000".into(), spec, estimated_rows: None }] })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let selection: Selection = serde_json::from_value(split.spec.clone())
            .map_err(|error| Error::internal(format!("a split's description cannot be read: {error}")))?;
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let reading = server.run(async |connection| {
            let reading = Reading::new(connection, &selection).await?;
            if matches!(selection, Selection::Table(_)) {
                // Without these, a big table without a key is read from wherever another scan is.
                execute(connection, "SET synchronize_seqscans = off; SET max_parallel_workers_per_gather = 0").await?;
            }
            Ok(reading)
        })?;
        let (connection, runtime) = server.into_stream_parts()?;
        let schema = Arc::clone(&reading.schema);
        let decoder = Decoder::new(Arc::clone(&schema), &reading.kinds, self.batch);
        let (sender, receiver) = mpsc::channel(1);
        let copy: Copying = Box::pin(copy(connection, reading.select, decoder, sender));
        let rows = Rows { copy: Some(copy), receiver, runtime, cx: self.cx.clone() };
        Ok(Batches::new(schema, rows))
    }
}

/// How a selection is read.
struct Reading {
    select: String,
    schema: SchemaRef,
    kinds: Vec<Kind>,
}

impl Reading {
    async fn new(connection: &mut PgConnection, selection: &Selection) -> Result<Self, Failure> {
        match selection {
            Selection::Table(table) => Self::table(connection, &TableName::parse(table)?).await,
            Selection::Query(query) => Self::query(connection, query).await,
        }
    }

    async fn table(connection: &mut PgConnection, name: &TableName) -> Result<Self, Failure> {
        let table = catalog::require(connection, name).await?;
        let columns: Vec<_> = table.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        let list: Vec<_> = columns.iter().map(|(name, kind)| selected(&quote(name), *kind)).collect();
        let mut select = format!("SELECT {} FROM {}", list.join(", "), table.quoted());
        if !table.primary_key.is_empty() {
            let key = crate::name::quote_list(table.primary_key.iter().map(String::as_str));
            select.push_str(&format!(" ORDER BY {key}"));
        }
        Ok(Self::of(columns, select))
    }

    async fn query(connection: &mut PgConnection, query: &str) -> Result<Self, Failure> {
        let query = query.trim().trim_end_matches(';');
        // In lines of its own: the query may end with a comment.
        let inner = format!("(\n{query}\n) AS q");
        let probe = format!("SELECT * FROM {inner}");
        let statement = connection.prepare(AssertSqlSafe(probe).into_sql_str()).await?;
        let mut columns = vec![];
        for column in statement.columns() {
            columns.push((column.name().to_owned(), column_kind(connection, column).await?));
        }
        if columns.is_empty() {
            return Err(Error::config("the query gives no columns").into());
        }
        // Positions, since a query may give two columns of one name.
        let places: Vec<_> = (1..=columns.len()).map(|place| format!("c{place}")).collect();
        let list: Vec<_> = places.iter().zip(&columns).map(|(place, (_, kind))| selected(place, *kind)).collect();
        let select = format!("SELECT {} FROM {inner} ({})", list.join(", "), places.join(", "));
        Ok(Self::of(columns, select))
    }

    fn of(columns: Vec<(String, Kind)>, select: String) -> Self {
        let fields: Vec<_> = columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
        let kinds = columns.into_iter().map(|(_, kind)| kind).collect();
        Self { select, schema: Arc::new(Schema::new(fields)), kinds }
    }
}

fn selected(column: &str, kind: Kind) -> String {
    if kind.is_read_in_binary() { column.to_owned() } else { format!("{column}::text") }
}

async fn column_kind(connection: &mut PgConnection, column: &PgColumn) -> Result<Kind, Failure> {
    let oid = column.type_info().oid().map_or(0, |oid| oid.0);
    let modifier = match (column.relation_id(), column.relation_attribute_no()) {
        (Some(relation), Some(attribute)) => catalog::modifier(connection, i64::from(relation.0), attribute).await?,
        _ => -1,
    };
    Ok(Kind::of(oid, modifier))
}

/// Reads to the end and sends what was decoded. Owns the connection, which the
/// driver's stream of rows only borrows.
async fn copy(
    mut connection: PgConnection,
    select: String,
    mut decoder: Decoder,
    sender: mpsc::Sender<Decoded>,
) -> Result<(), Failure> {
    let mut pieces = connection.copy_out_raw(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await?;
    while let Some(piece) = pieces.try_next().await? {
        decoder.push(&piece)?;
        // The receiver lives as long as this future.
        if decoder.is_full() && sender.send(decoder.finish()?).await.is_err() {
            return Ok(());
        }
    }
    if !decoder.has_ended() {
        return Err(Error::unavailable("the server's answer ended in the middle").into());
    }
    if !decoder.is_empty() {
        let _ = sender.send(decoder.finish()?).await;
    }
    Ok(())
}

type Copying = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

struct Rows {
    // Before the runtime that drives it.
    copy: Option<Copying>,
    receiver: mpsc::Receiver<Decoded>,
    runtime: Runtime,
    cx: Context,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (copy, receiver) = (&mut self.copy, &mut self.receiver);
        let received = self.runtime.run(&self.cx, async move {
            let Some(running) = copy else { return Ok(receiver.recv().await) };
            tokio::select! {
                biased;
                decoded = receiver.recv() => Ok(decoded),
                outcome = running => {
                    *copy = None;
                    outcome?;
                    Ok(receiver.recv().await)
                }
            }
        });
        let received = received.and_then(|decoded| decoded.map(|decoded| self.hand_on(decoded)).transpose());
        if received.is_err() {
            self.copy = None;
            self.receiver.close();
        }
        received.transpose()
    }
}

impl Rows {
    fn hand_on(&self, decoded: Decoded) -> Result<RecordBatch> {
        let rows = decoded.batch.num_rows() + decoded.refused.len();
        self.cx.progress(rows as u64, decoded.bytes);
        for refused in &decoded.refused {
            self.cx.reject_rows(&refused.row, "no_such_value", &refused.reason)?;
        }
        Ok(decoded.batch)
    }
}

fn counted(columns: usize) -> String {
    if columns == 1 { "1 column".into() } else { format!("{columns} columns") }
}
