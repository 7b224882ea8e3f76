//! The state: what the engine remembers, in two tables.

use std::path::PathBuf;

use engine_sdk::database::default_connect_timeout;
use engine_sdk::message::{AcquireRequest, Acquired, ReleaseRequest, StateChange, StoreRequest};
use engine_sdk::prelude::*;
use engine_sdk::{Documents, state, types};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::commits::CREATE_LOCK;
use crate::connection::{Address, Server, execute};
use crate::error::Failure;
use crate::name::quote;
use crate::source::version;

/// Documents that `load` reads at a time.
const PAGE: i64 = 1_000;

/// Keeps what the engine remembers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
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
    /// Where the tables `_engine_state` and `_engine_state_documents` are, or are
    /// made. Unset: the first schema of the login's search path.
    #[serde(default)]
    schema: Option<String>,
    /// Which state: several can stand in one database.
    #[serde(default = "default_name")]
    name: String,
}

fn default_name() -> String {
    "engine".into()
}

pub struct PostgresState {
    address: Address,
    server: Server,
    tables: Tables,
    name: String,
    cx: Context,
}

/// Names of the tables, as SQL text.
#[derive(Clone)]
struct Tables {
    head: String,
    documents: String,
}

impl Component for PostgresState {
    type Config = StateConfig;
    const SUMMARY: &'static str = "Keeps the engine's state in a PostgreSQL database";

    fn examples() -> Vec<Example> {
        vec![example("a state that machines share", json!({"url": "postgres://engine:secret@localhost/engine"}))]
    }

    fn open(config: StateConfig, cx: Context) -> Result<Self> {
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout)?;
        let schema = config.schema.map(|schema| format!("{}.", quote(&schema))).unwrap_or_default();
        let tables =
            Tables { head: format!("{schema}_engine_state"), documents: format!("{schema}_engine_state_documents") };
        let server = Server::new(address.clone(), cx.clone())?;
        Ok(Self { address, server, tables, name: config.name, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let version = self.server.run(async |connection| version(connection).await)?;
        Ok(CheckReport { summary: format!("PostgreSQL {version} at {}", self.server.shown()) })
    }
}

impl StateStore for PostgresState {
    fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired> {
        let (tables, name) = (&self.tables, &self.name);
        let acquired = self.server.run(async |connection| {
            ensure(connection, tables).await?;
            let insert = format!("INSERT INTO {} (name) VALUES ($1) ON CONFLICT DO NOTHING", tables.head);
            sqlx::query(AssertSqlSafe(insert)).bind(name).persistent(false).execute(&mut *connection).await?;
            let take = format!(
                "UPDATE {} SET holder = $2, shown = $3, lease_ms = $5, seen = clock_timestamp() \
                 WHERE name = $1 AND (holder IS NULL OR holder = $2 OR holder = $4 \
                     OR seen + lease_ms * interval '1 millisecond' < clock_timestamp()) \
                 RETURNING sequence, layout, last",
                tables.head
            );
            let taken = sqlx::query(AssertSqlSafe(take))
                .bind(name)
                .bind(&request.holder)
                .bind(&request.shown)
                .bind(request.former.as_deref())
                .bind(signed(request.lease_ms))
                .persistent(false)
                .fetch_optional(&mut *connection)
                .await?;
            let Some(taken) = taken else { return Err(held(connection, tables, name).await?.into()) };
            Ok(Acquired {
                sequence: unsigned(taken.try_get(0)?),
                layout: unsigned(taken.try_get(1)?),
                last: taken.try_get(2)?,
                ..Acquired::default()
            })
        })?;
        Ok(acquired)
    }

    fn load(&mut self) -> Result<Documents> {
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let page = format!(
            "SELECT collection, key, document::text FROM {} \
             WHERE name = $1 AND (collection, key) > ($2, $3) ORDER BY collection, key LIMIT {PAGE}",
            self.tables.documents
        );
        let name = self.name.clone();
        let mut after = Some((String::new(), String::new()));
        Ok(Box::new(std::iter::from_fn(move || {
            let (collection, key) = after.take()?;
            let read = server.run(async |connection| {
                let rows = sqlx::query(AssertSqlSafe(page.as_str()))
                    .bind(&name)
                    .bind(&collection)
                    .bind(&key)
                    .persistent(false)
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(document).collect::<Result<Vec<_>, Failure>>()
            });
            if let Ok(Some(last)) = read.as_ref().map(|documents| documents.last()) {
                after = Some((last.collection.clone(), last.key.clone()));
            }
            Some(read).filter(|read| read.as_ref().map_or(true, |documents| !documents.is_empty()))
        })))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        let (tables, name) = (&self.tables, &self.name);
        let stored = self.server.run(async |connection| {
            execute(connection, "BEGIN").await?;
            let advance = format!(
                "UPDATE {} SET sequence = $4, seen = clock_timestamp(), \
                     layout = CASE WHEN $4 = $3 THEN layout ELSE $5 END, last = CASE WHEN $4 = $3 THEN last ELSE $6 END \
                 WHERE name = $1 AND holder = $2 AND sequence = $3",
                tables.head
            );
            let advanced = sqlx::query(AssertSqlSafe(advance))
                .bind(name)
                .bind(&request.holder)
                .bind(signed(request.after))
                .bind(signed(request.sequence))
                .bind(signed(request.layout))
                .bind(&request.id)
                .persistent(false)
                .execute(&mut *connection)
                .await?;
            if advanced.rows_affected() == 0 {
                execute(connection, "ROLLBACK").await?;
                let holder = held(connection, tables, name).await?;
                return Err(state::lost(&holder).into());
            }
            put(connection, tables, name, &request.changes).await?;
            execute(connection, "COMMIT").await?;
            Ok(())
        });
        // Whatever went wrong, the transaction is not to stay open.
        if stored.as_ref().is_err_and(|error| error.kind != ErrorKind::Denied) {
            self.server.roll_back();
        }
        stored
    }

    fn release(&mut self, request: &ReleaseRequest) -> Result<()> {
        let release = format!("UPDATE {} SET holder = NULL WHERE name = $1 AND holder = $2", self.tables.head);
        let name = &self.name;
        self.server.run(async |connection| {
            sqlx::query(AssertSqlSafe(release))
                .bind(name)
                .bind(&request.holder)
                .persistent(false)
                .execute(connection)
                .await?;
            Ok(())
        })
    }
}

/// Makes the tables, alone among all engines.
async fn ensure(connection: &mut PgConnection, tables: &Tables) -> Result<(), Failure> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL")
        .bind(&tables.head)
        .bind(&tables.documents)
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    if there {
        return Ok(());
    }
    let Tables { head, documents } = tables;
    let create = format!(
        "BEGIN; {CREATE_LOCK};
             CREATE TABLE IF NOT EXISTS {head} (
                 name text PRIMARY KEY, sequence bigint NOT NULL DEFAULT 0, layout bigint NOT NULL DEFAULT 0, last text,
                 holder text, shown text, lease_ms bigint NOT NULL DEFAULT 0, seen timestamptz);
             CREATE TABLE IF NOT EXISTS {documents} (
                 name text NOT NULL, collection text NOT NULL, key text COLLATE \"C\" NOT NULL, document json NOT NULL,
                 PRIMARY KEY (name, collection, key));
             COMMIT"
    );
    if let Err(failure) = execute(connection, &create).await {
        let _ = execute(connection, "ROLLBACK").await;
        return Err(failure);
    }
    Ok(())
}

async fn put(
    connection: &mut PgConnection,
    tables: &Tables,
    name: &str,
    changes: &[StateChange],
) -> Result<(), Failure> {
    let (there, gone): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.document.is_some());
    let column =
        |of: &[&StateChange], text: fn(&StateChange) -> String| of.iter().map(|it| text(it)).collect::<Vec<_>>();
    if !gone.is_empty() {
        let delete = format!(
            "DELETE FROM {} d USING unnest($2::text[], $3::text[]) AS g (collection, key) \
             WHERE d.name = $1 AND d.collection = g.collection AND d.key = g.key",
            tables.documents
        );
        sqlx::query(AssertSqlSafe(delete))
            .bind(name)
            .bind(column(&gone, |it| it.collection.clone()))
            .bind(column(&gone, |it| it.key.clone()))
            .persistent(false)
            .execute(&mut *connection)
            .await?;
    }
    if !there.is_empty() {
        let upsert = format!(
            "INSERT INTO {} (name, collection, key, document) \
             SELECT $1, collection, key, document::json FROM unnest($2::text[], $3::text[], $4::text[]) \
                 AS t (collection, key, document) \
             ON CONFLICT (name, collection, key) DO UPDATE SET document = EXCLUDED.document",
            tables.documents
        );
        sqlx::query(AssertSqlSafe(upsert))
            .bind(name)
            .bind(column(&there, |it| it.collection.clone()))
            .bind(column(&there, |it| it.key.clone()))
            .bind(column(&there, |it| it.document.as_ref().map(Value::to_string).unwrap_or_default()))
            .persistent(false)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Who has the state, as the error of whoever has not.
async fn held(connection: &mut PgConnection, tables: &Tables, name: &str) -> Result<Error, Failure> {
    let who = format!(
        "SELECT shown, (EXTRACT(epoch FROM clock_timestamp() - seen))::int8, lease_ms / 1000 FROM {} \
         WHERE name = $1 AND holder IS NOT NULL",
        tables.head
    );
    let who = sqlx::query(AssertSqlSafe(who)).bind(name).persistent(false).fetch_optional(connection).await?;
    let Some(who) = who else { return Ok(state::given_back(name)) };
    let (shown, ago, lease): (Option<String>, Option<i64>, i64) = (who.try_get(0)?, who.try_get(1)?, who.try_get(2)?);
    Ok(state::held(name, &shown.unwrap_or_default(), ago.unwrap_or_default(), lease))
}

fn document(row: &sqlx::postgres::PgRow) -> Result<StateChange, Failure> {
    let text: String = row.try_get(2)?;
    let document = serde_json::from_str(&text)
        .map_err(|error| Error::config(format!("a document of the state is not what was stored: {error}")))?;
    Ok(StateChange { collection: row.try_get(0)?, key: row.try_get(1)?, document: Some(document) })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
