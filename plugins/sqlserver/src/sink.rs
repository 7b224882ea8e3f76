//! The sink: one transaction a delivery, with the delivery's key in it.

use std::path::PathBuf;

use engine_sdk::database::{Create, Ddl, Delivering, Loaded, Mode, TableName, TableSink, default_connect_timeout};
use engine_sdk::prelude::*;
use engine_sdk::types;

use crate::catalog::{self, Table};
use crate::commits;
use crate::connection::{Address, Link, execute, number, rows, value};
use crate::create::create_table;
use crate::error::Failure;
use crate::load::{load, make_stage};
use crate::name::{Arguments, Call, quote};
use crate::questions::{MAY, SCHEMA};
use crate::replace;
use crate::source::version;
use crate::target::Mapping;

/// Others add rows to the same table meanwhile, and gaps between rows are not locked.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN TRANSACTION";

/// Writes rows into a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// The server and the database: `mssql://USER:PASSWORD@HOST:1433/DATABASE`.
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

pub struct SqlServerSink {
    delivering: Delivering<Address>,
}

impl Component for SqlServerSink {
    type Config = SinkConfig;
    const SUMMARY: &'static str = "Writes rows into a table of a SQL Server database, each delivery exactly once";

    fn examples() -> Vec<Example> {
        let url = "mssql://writer:secret@localhost/calls";
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
                json!({"url": url, "table": "calls", "create": {"ddl": "CREATE TABLE calls (id bigint IDENTITY PRIMARY KEY, number varchar(50))"}}),
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
            refuse_view(&table)?;
            for right in rights(mode) {
                let mut arguments = Arguments::default();
                arguments.text(table.quoted());
                arguments.text(*right);
                let answer = rows(connection, Call { sql: MAY.into(), arguments }).await?;
                if answer.first().and_then(|row| number(row, 0)) == Some(0) {
                    return Err(Error::denied(format!("the login has no right to {right} in table {name}"))
                        .hint(format!("GRANT {} ON {} TO the login's user", rights(mode).join(", "), table.quoted()))
                        .into());
                }
            }
            Ok((version, "found"))
        })?;
        Ok(CheckReport { summary: format!("{version} at {}, table {} {found}", server.shown(), name) })
    }
}

impl TableSink for SqlServerSink {
    type Endpoint = Address;

    fn delivering(&self) -> &Delivering<Address> {
        &self.delivering
    }

    fn delivering_mut(&mut self) -> &mut Delivering<Address> {
        &mut self.delivering
    }

    // Whether two writers get on with one another at a real server was never tried.
    fn is_parallel(&self) -> bool {
        false
    }

    async fn ensure_commits(link: &mut Link, table: &TableName, may_create: bool) -> Result<String, Failure> {
        let schema = schema_of(link, table, may_create).await?;
        commits::ensure(link, &schema).await
    }

    async fn find_commit(link: &mut Link, commits: &str, delivery: &Delivery) -> Result<Option<Receipt>, Failure> {
        commits::find(link, commits, delivery).await
    }

    async fn add_commit(link: &mut Link, commits: &str, delivery: &Delivery, receipt: &Receipt) -> Result<(), Failure> {
        commits::add(link, commits, delivery, receipt).await
    }

    fn is_duplicate(failure: &Failure) -> bool {
        matches!(failure, Failure::Refused(refusal) if refusal.is_duplicate())
    }

    async fn commit_transaction(link: &mut Link) -> Result<(), Failure> {
        execute(link, "COMMIT TRANSACTION").await
    }

    async fn finish_replace(link: &mut Link, run: &SinkRun, table: &TableName, commits: &str) -> Result<(), Failure> {
        replace::finish(link, run, table, commits).await
    }

    /// Opens the transaction and loads the stream into it.
    fn load(&mut self, commits: &str, input: Batches) -> Result<Loaded> {
        let schema = input.schema();
        if schema.fields().is_empty() {
            return self.load_nothing(input);
        }
        let replaces = self.delivering.replaces();
        let Delivering { server, name, key, create, run, cx, .. } = &mut self.delivering;
        let beside = replaces.then_some(&*run);
        let mapping = server.run(async |connection| {
            let table = match create {
                Create::Derived(false) => catalog::require(connection, name).await?,
                Create::Derived(true) => ensure_table(connection, name, &create_table(name, &schema, key)?).await?,
                Create::Stated(Ddl { ddl }) => ensure_table(connection, name, ddl).await?,
            };
            refuse_view(&table)?;
            // Keys in one schema and rows in another: a later start would look for the keys beside the rows.
            if !commits.starts_with(&format!("{}.", quote(&table.schema))) {
                return Err(Error::config(format!("`create` has made {} in another schema", table.quoted()))
                    .hint(format!("write `table: {}.{}`", table.schema, table.name))
                    .into());
            }
            let has = |name: &str| schema.index_of(name).is_ok();
            // What stays also if the delivery does not; the transaction begins behind it.
            let into = match beside {
                Some(run) => replace::prepare(connection, run, &table, &has).await?,
                None => table.quoted(),
            };
            let mapping = Mapping::new(&schema, &table, &into, key)?;
            make_stage(connection, &mapping).await?;
            if let Some(table) = &mapping.identity {
                execute(connection, &format!("SET IDENTITY_INSERT {table} ON")).await?;
            }
            execute(connection, BEGIN).await?;
            Ok(mapping)
        })?;
        load(server, &mapping, input, cx).map_err(|error| server.located(error))
    }
}

impl SqlServerSink {
    /// A stream without columns has no rows that could be written; its delivery is committed all the same.
    fn load_nothing(&mut self, input: Batches) -> Result<Loaded> {
        for batch in input {
            if batch?.num_rows() > 0 {
                return Err(Error::config("the stream has rows and no columns")
                    .hint("give it at least one column before the sink"));
            }
        }
        self.delivering.server.run(async |connection| execute(connection, BEGIN).await)?;
        Ok(Loaded::default())
    }
}

/// What a sink must be allowed to do.
fn rights(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::Append => &["INSERT"],
        // Both statements read the table.
        Mode::Upsert => &["SELECT", "INSERT", "UPDATE"],
        Mode::Replace => &["INSERT", "DELETE"],
    }
}

/// Several tables may stand behind one, and triggers that do something else.
fn refuse_view(table: &Table) -> Result<()> {
    if table.is_view {
        return Err(Error::config(format!("{} is a view", table.quoted())).hint("name the table behind it"));
    }
    Ok(())
}

/// Finds the table, or makes it with `ddl`, alone among all engines.
async fn ensure_table(connection: &mut Link, name: &TableName, ddl: &str) -> Result<Table, Failure> {
    if let Some(table) = catalog::find(connection, name).await? {
        return Ok(table);
    }
    let made = commits::alone(connection, async |connection| {
        if catalog::find(connection, name).await?.is_none() {
            execute(connection, ddl).await?;
        }
        Ok(())
    });
    match made.await {
        Ok(()) => catalog::require(connection, name).await,
        Err(Failure::Refused(refusal)) => {
            let error = Error::from(refusal);
            let error =
                Error { kind: if error.kind == ErrorKind::Rejected { ErrorKind::Config } else { error.kind }, ..error };
            Err(error.context(format!("table `{name}` cannot be created")).into())
        }
        Err(failure) => Err(failure),
    }
}

/// The schema of the table, or the one that it will be made in.
async fn schema_of(connection: &mut Link, name: &TableName, may_create: bool) -> Result<String, Failure> {
    if !may_create {
        return Ok(catalog::require(connection, name).await?.schema);
    }
    if let Some(table) = catalog::find(connection, name).await? {
        return Ok(table.schema);
    }
    if let Some(schema) = &name.schema {
        return Ok(schema.clone());
    }
    let schema = value(connection, SCHEMA.to_owned()).await?;
    schema.ok_or_else(|| Error::internal("the login has no schema of its own").into())
}
