//! The sink: one transaction a delivery, with the delivery's key in it.

use std::path::PathBuf;

use engine_sdk::database::{Create, Ddl, Mode, TableName, default_connect_timeout};
use engine_sdk::prelude::*;
use engine_sdk::types;

use crate::catalog::{self, Table};
use crate::commits;
use crate::connection::{Address, Link, Server, Tls, execute, number, rows, value};
use crate::create::create_table;
use crate::error::Failure;
use crate::load::{Loaded, load, make_stage};
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
    tls: Option<Tls>,
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
    server: Server,
    name: TableName,
    key: Vec<String>,
    mode: Mode,
    create: Create,
    /// The window that is being delivered.
    run: SinkRun,
    /// The table with the keys of deliveries, once it is known to be there.
    commits: Option<String>,
    /// The delivery whose rows are in the open transaction.
    open: Option<Open>,
    cx: Context,
}

struct Open {
    key: String,
    receipt: Receipt,
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
        let server = Server::new(address, cx.clone())?;
        let (key, mode, create) = (config.key, config.mode, config.create);
        Ok(Self { server, name, key, mode, create, run: SinkRun::default(), commits: None, open: None, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (name, create) = (self.name.clone(), self.create != Create::default());
        let mode = self.mode;
        let (version, found) = self.server.run(async |connection| {
            let version = version(connection).await?;
            let Some(table) = catalog::find(connection, &name).await? else {
                if create {
                    return Ok((version, "will be created"));
                }
                catalog::require(connection, &name).await?;
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
        Ok(CheckReport { summary: format!("{version} at {}, table {} {found}", self.server.shown(), self.name) })
    }
}

impl Sink for SqlServerSink {
    const PROMISE: Promise = Promise::EffectivelyOnce;

    // Not parallel: whether two writers get on with one another at a real server was never tried.

    fn begin_run(&mut self, run: &SinkRun) -> Result<()> {
        self.run = run.clone();
        Ok(())
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.give_up();
        let commits = self.commits()?;
        let receipt = self.server.run(async |connection| commits::find(connection, &commits, delivery).await)?;
        Ok(receipt.map_or(Begun::New, |receipt| Begun::Committed { receipt }))
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        self.give_up();
        let written = self.load(input);
        let Loaded { rows, bytes } = match written {
            Ok(loaded) => loaded,
            Err(error) => {
                self.server.roll_back();
                return Err(error);
            }
        };
        let location = Some(format!("{} in {}", self.name, self.server.shown()));
        let receipt = Receipt { rows, bytes, location, ..Receipt::default() };
        self.open = Some(Open { key: delivery.key.clone(), receipt });
        Ok(Sealed { rows, bytes, ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let open = self.open.take().filter(|open| open.key == delivery.key && self.server.is_connected());
        let (Some(open), Some(commits)) = (open, self.commits.clone()) else {
            self.server.roll_back();
            return Err(Error::unavailable(format!("the transaction of delivery {} is gone", delivery.key))
                .hint("the rows must be written again"));
        };
        let committed = self.server.run(async |connection| {
            match commits::add(connection, &commits, delivery, &open.receipt).await {
                Err(Failure::Refused(refusal)) if refusal.is_duplicate() => {
                    let message = format!("delivery {} was committed by somebody else meanwhile", delivery.key);
                    return Err(Error::unavailable(message).into());
                }
                added => added?,
            }
            execute(connection, "COMMIT TRANSACTION").await?;
            Ok(())
        });
        match committed {
            Ok(()) => Ok(open.receipt),
            Err(error) => {
                self.server.roll_back();
                Err(error)
            }
        }
    }

    fn abort(&mut self, _: &Delivery) -> Result<()> {
        self.give_up();
        Ok(())
    }

    fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        self.run = run.clone();
        if !self.replaces() {
            return Ok(());
        }
        let (commits, name) = (self.commits()?, &self.name);
        self.server.run(async |connection| replace::finish(connection, run, name, &commits).await)
    }
}

impl SqlServerSink {
    /// Whether the window's rows take the place of the others. Dead letters that are tried again
    /// belong to rows that are there.
    fn replaces(&self) -> bool {
        self.mode == Mode::Replace && !self.run.replay
    }

    /// The table with the keys of deliveries.
    fn commits(&mut self) -> Result<String> {
        if let Some(known) = &self.commits {
            return Ok(known.clone());
        }
        let (name, may_create) = (&self.name, self.create != Create::default());
        let commits = self.server.run(async |connection| {
            let schema = schema_of(connection, name, may_create).await?;
            commits::ensure(connection, &schema).await
        })?;
        Ok(self.commits.insert(commits).clone())
    }

    /// Rolls back what an unfinished delivery has left.
    fn give_up(&mut self) {
        if self.open.take().is_some() {
            self.server.roll_back();
        }
    }

    /// Opens the transaction and loads the stream into it.
    fn load(&mut self, input: Batches) -> Result<Loaded> {
        let schema = input.schema();
        let commits = self.commits()?;
        if schema.fields().is_empty() {
            return self.load_nothing(input);
        }
        let beside = self.replaces().then_some(&self.run);
        let (name, key, create) = (&self.name, &self.key, &self.create);
        let mapping = self.server.run(async |connection| {
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
        load(&mut self.server, &mapping, input, &self.cx).map_err(|error| self.server.located(error))
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
        self.server.run(async |connection| execute(connection, BEGIN).await)?;
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
