//! The sink: one transaction a delivery, with the delivery's key in it.

use std::path::PathBuf;

use engine_sdk::database::{Create, Ddl, Delivering, Loaded, Mode, TableName, TableSink, default_connect_timeout};
use engine_sdk::prelude::*;
use engine_sdk::types;
use sqlx::PgConnection;

use crate::catalog::{self, Table};
use crate::commits;
use crate::connection::{Address, execute};
use crate::error::{Failure, UNIQUE_VIOLATION, kind};
use crate::load::load;
use crate::name::quote;
use crate::replace;
use crate::source::version;
use crate::target::{Mapping, create_table};

/// Writes rows into a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
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
    /// The table to write to: `calls` or `reports.calls`. The stream's columns
    /// go to the columns of the same names; the others get their defaults.
    table: String,
    /// What happens to rows that are there already.
    #[serde(default)]
    mode: Mode,
    /// For `upsert`: the columns that tell rows apart. They need a unique index
    /// or primary key.
    #[serde(default)]
    key: Vec<String>,
    /// Makes the table when it is missing.
    #[serde(default)]
    create: Create,
}

pub struct PostgresSink {
    delivering: Delivering<Address>,
}

impl Component for PostgresSink {
    type Config = SinkConfig;
    const SUMMARY: &'static str = "Writes rows into a table of a PostgreSQL database, each delivery exactly once";

    fn examples() -> Vec<Example> {
        let url = "postgres://writer:secret@localhost/calls";
        vec![
            example(
                "add rows, and make the table if it is missing",
                json!({"url": url, "table": "calls", "create": true}),
            ),
            example(
                "replace rows with the same number",
                json!({"url": url, "table": "reports.accounts", "mode": "upsert", "key": ["account"]}),
            ),
            example(
                "a table with a key of its own",
                json!({"url": url, "table": "calls", "create": {"ddl": "CREATE TABLE calls (id serial PRIMARY KEY, number varchar(50))"}}),
            ),
        ]
    }

    fn open(config: SinkConfig, cx: Context) -> Result<Self> {
        let name = TableName::parse(&config.table)?;
        config.mode.check_key(&config.key)?;
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout)?;
        let (key, mode, create) = (config.key, config.mode, config.create);
        Ok(Self { delivering: Delivering::new(address, name, key, mode, create, cx)? })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (may_create, mode) = (self.delivering.may_create(), self.delivering.mode);
        let Delivering { server, name, .. } = &mut self.delivering;
        let (version, found) = server.run(async |connection| {
            let version = version(connection).await?;
            let Some(table) = catalog::find(connection, name).await? else {
                if may_create {
                    return Ok((version, "will be created"));
                }
                catalog::require(connection, name).await?;
                return Ok((version, "found"));
            };
            let rights: &[&str] = if mode == Mode::Replace { &["INSERT", "DELETE"] } else { &["INSERT"] };
            for right in rights {
                let may: bool = sqlx::query_scalar("SELECT pg_catalog.has_table_privilege($1::int8::oid, $2)")
                    .bind(table.oid)
                    .bind(right)
                    .fetch_one(&mut *connection)
                    .await?;
                if !may {
                    return Err(Error::denied(format!("the login has no right to {right} for table {name}"))
                        .hint(format!("GRANT {right} ON {} TO the login", table.quoted()))
                        .into());
                }
            }
            Ok((version, "found"))
        })?;
        Ok(CheckReport { summary: format!("PostgreSQL {version} at {}, table {} {found}", server.shown(), name) })
    }
}

impl TableSink for PostgresSink {
    type Endpoint = Address;

    fn delivering(&self) -> &Delivering<Address> {
        &self.delivering
    }

    fn delivering_mut(&mut self) -> &mut Delivering<Address> {
        &mut self.delivering
    }

    async fn ensure_commits(link: &mut PgConnection, table: &TableName, may_create: bool) -> Result<String, Failure> {
        let schema = schema_of(link, table, may_create).await?;
        commits::ensure(link, &schema).await
    }

    async fn find_commit(
        link: &mut PgConnection,
        commits: &str,
        delivery: &Delivery,
    ) -> Result<Option<Receipt>, Failure> {
        commits::find(link, commits, delivery).await
    }

    async fn add_commit(
        link: &mut PgConnection,
        commits: &str,
        delivery: &Delivery,
        receipt: &Receipt,
    ) -> Result<(), Failure> {
        commits::add(link, commits, delivery, receipt).await
    }

    fn is_duplicate(failure: &Failure) -> bool {
        matches!(failure, Failure::Refused(refusal) if refusal.state == UNIQUE_VIOLATION)
    }

    async fn commit_transaction(link: &mut PgConnection) -> Result<(), Failure> {
        execute(link, "COMMIT").await.map(drop)
    }

    async fn finish_replace(
        link: &mut PgConnection,
        run: &SinkRun,
        table: &TableName,
        commits: &str,
    ) -> Result<(), Failure> {
        replace::finish(link, run, table, commits).await
    }

    /// Opens the transaction and loads the stream into it.
    fn load(&mut self, commits: &str, input: Batches) -> Result<Loaded> {
        let schema = input.schema();
        let replaces = self.delivering.replaces();
        let Delivering { server, name, key, create, run, cx, .. } = &mut self.delivering;
        let beside = replaces.then_some(&*run);
        let mapping = server.run(async |connection| {
            let table = match create {
                Create::Derived(false) => catalog::require(connection, name).await?,
                Create::Derived(true) => ensure_table(connection, name, &create_table(name, &schema, key)?).await?,
                Create::Stated(Ddl { ddl }) => ensure_table(connection, name, ddl).await?,
            };
            // Keys in one schema and rows in another: a later start would look for the keys beside the rows.
            if !commits.starts_with(&format!("{}.", quote(&table.schema))) {
                return Err(Error::config(format!(
                    "`create` has made {} outside of the login's first schema",
                    table.quoted()
                ))
                .hint(format!("write `table: {}.{}`", table.schema, table.name))
                .into());
            }
            let into = match beside {
                Some(run) => replace::prepare(connection, run, &table).await?,
                None => table.quoted(),
            };
            let mapping = Mapping::new(&schema, &table, &into, key)?;
            execute(connection, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            if let Some(stage) = &mapping.stage {
                execute(connection, &stage.create).await?;
            }
            Ok(mapping)
        })?;
        let loaded = load(server, &mapping, input, cx).map_err(|error| server.located(error))?;
        // What is deferred to the end would otherwise fail the commit, after the rows count as taken.
        server.run(async |connection| {
            execute(connection, "SET CONSTRAINTS ALL IMMEDIATE").await.map_err(deferred)?;
            Ok(())
        })?;
        Ok(loaded)
    }
}

/// A violation that shows only after all rows are in. It names no row, so it must not count as a
/// refusal: that would bury the whole delivery for one of them.
fn deferred(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(refusal) if kind(&refusal.state) == ErrorKind::Rejected => Error::config(format!(
            "a deferred constraint does not hold, and cannot say for which row: {} (SQLSTATE {})",
            refusal.message, refusal.state
        ))
        .hint("make the constraint NOT DEFERRABLE or INITIALLY IMMEDIATE; it refuses only the row then")
        .into(),
        other => other,
    }
}

/// Finds the table, or makes it with `ddl`, alone among all engines.
async fn ensure_table(connection: &mut PgConnection, name: &TableName, ddl: &str) -> Result<Table, Failure> {
    if let Some(table) = catalog::find(connection, name).await? {
        return Ok(table);
    }
    execute(connection, "BEGIN").await?;
    let made = async {
        execute(connection, commits::CREATE_LOCK).await?;
        if catalog::find(connection, name).await?.is_none() {
            execute(connection, ddl).await?;
        }
        Ok::<_, Failure>(())
    };
    match made.await {
        Ok(()) => execute(connection, "COMMIT").await?,
        Err(failure) => {
            let _ = execute(connection, "ROLLBACK").await;
            return Err(match failure {
                Failure::Refused(refusal) => {
                    Failure::Ours(Error::from(refusal).context(format!("table `{name}` cannot be created")))
                }
                other => other,
            });
        }
    };
    catalog::require(connection, name).await
}

/// The schema of the table, or the one that it will be made in.
async fn schema_of(connection: &mut PgConnection, name: &TableName, may_create: bool) -> Result<String, Failure> {
    if !may_create {
        return Ok(catalog::require(connection, name).await?.schema);
    }
    if let Some(table) = catalog::find(connection, name).await? {
        return Ok(table.schema);
    }
    if let Some(schema) = &name.schema {
        return Ok(schema.clone());
    }
    let schema: Option<String> =
        sqlx::query_scalar("SELECT pg_catalog.current_schema()::text").fetch_one(connection).await?;
    schema.ok_or_else(|| {
        Error::config("the login has no schema to create tables in").hint("write `table: SCHEMA.TABLE`").into()
    })
}
