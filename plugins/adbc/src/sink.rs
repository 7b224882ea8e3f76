//! The sink: bulk ingest, in one transaction a delivery with the delivery's key in it, where the
//! driver has transactions.

use std::sync::Arc;

use adbc_core::options::IngestMode;
use engine_sdk::prelude::*;

use crate::commits;
use crate::driver::{Access, Session, Settings};
use crate::ingest::{Loaded, fit, ingest};
use crate::name::{Quote, Target};
use crate::options::{Options, SecretOptions};
use crate::replace;
use crate::sql::Placeholders;

/// Writes rows into a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
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
    /// Options of the driver's statement that takes the rows.
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
    /// The table to write to: `calls` or `reports.calls`, in the case that the
    /// database keeps. The stream's columns go to the columns of the same names.
    table: String,
    /// What happens to rows that are there already.
    #[serde(default)]
    mode: Mode,
    /// Makes the table when it is missing, with the types that the driver
    /// chooses for the stream's columns.
    #[serde(default)]
    create: bool,
    /// Writes each delivery in one transaction, with its key beside the rows, so
    /// that it arrives once. `false` is for drivers that have no transactions: a
    /// delivery that fails may leave rows behind, and come again.
    #[serde(default = "yes")]
    transactions: bool,
}

fn yes() -> bool {
    true
}

/// What happens to rows that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay, and every row of the stream is added.
    #[default]
    Append,
    /// They go. The rows of a window are collected beside the target, and take
    /// the place of its rows when all are there, in one transaction.
    Replace,
}

pub struct AdbcSink {
    access: Arc<Access>,
    target: Target,
    commits: Target,
    mode: Mode,
    create: bool,
    transactions: bool,
    session: Option<Session>,
    /// The table with the keys of deliveries is there.
    has_commits: bool,
    /// The window that is being delivered.
    run: SinkRun,
    /// The delivery that has been written.
    open: Option<(String, Receipt)>,
    cx: Context,
}

impl Component for AdbcSink {
    type Config = SinkConfig;
    const SUMMARY: &'static str = "Writes rows into a table through an ADBC driver, by bulk ingest";

    fn examples() -> Vec<Example> {
        let driver = "/opt/drivers/libadbc_driver_postgresql.so";
        let database = json!({"uri": "postgresql://writer:secret@localhost/calls"});
        vec![
            example(
                "add rows, and make the table if it is missing",
                json!({"driver": driver, "database": database, "table": "calls", "create": true}),
            ),
            example(
                "replace all rows",
                json!({"driver": driver, "database": database, "table": "reports.calls", "mode": "replace"}),
            ),
            example(
                "a driver without transactions",
                json!({
                    "driver": "adbc_driver_bigquery",
                    "database": {"adbc.bigquery.sql.project_id": "my-project"},
                    "quote": "backtick",
                    "catalog": "my-project",
                    "table": "reports.calls",
                    "transactions": false
                }),
            ),
        ]
    }

    fn open(config: SinkConfig, cx: Context) -> Result<Self> {
        let SinkConfig { driver, entrypoint, database, session, statement, quote, placeholders, .. } = config;
        let settings = Settings { driver, entrypoint, database, session, statement, quote, placeholders };
        let access = Access::new(settings, &cx)?;
        let target = Target::new(config.catalog, &config.table)?;
        if config.mode == Mode::Replace && !config.transactions {
            return Err(Error::config("`mode: replace` needs transactions")
                .hint("leave `transactions: false` out; a driver without them cannot exchange rows as a whole"));
        }
        Ok(Self {
            access,
            commits: commits::beside(&target),
            target,
            mode: config.mode,
            create: config.create,
            transactions: config.transactions,
            session: None,
            has_commits: false,
            run: SinkRun::default(),
            open: None,
            cx,
        })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (target, create, transactions) = (self.target.clone(), self.create, self.transactions);
        self.with(|session, _| {
            let found = match session.table(&target)? {
                Some(_) => "found",
                None if create => "will be created",
                None => {
                    return Err(target.missing().hint("check its name, or let the sink make it with `create: true`"));
                }
            };
            if transactions {
                session.begin()?;
                session.roll_back()?;
            }
            let vendor = match session.vendor() {
                "" => "a database that the driver does not name",
                vendor => vendor,
            };
            Ok(CheckReport { summary: format!("connected to {vendor}, table {target} {found}") })
        })
    }
}

impl Sink for AdbcSink {
    // What always holds: not every driver has transactions, and not in every database a transaction
    // spans what bulk ingest does.
    const PROMISE: Promise = Promise::AtLeastOnce;

    fn begin_run(&mut self, run: &SinkRun) -> Result<()> {
        self.run = run.clone();
        Ok(())
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.give_up();
        if !self.transactions {
            return Ok(Begun::New);
        }
        self.ensure_commits()?;
        let receipt = self.with(|session, commits| commits::find(session, commits, delivery))?;
        Ok(receipt.map_or(Begun::New, |receipt| Begun::Committed { receipt }))
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        self.give_up();
        if self.transactions {
            self.ensure_commits()?;
        }
        let Loaded { rows, bytes, .. } = self.load(input)?;
        let location = Some(self.target.to_string());
        let receipt = Receipt { rows, bytes, location, ..Receipt::default() };
        self.open = Some((delivery.key.clone(), receipt));
        Ok(Sealed { rows, bytes, ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let open = self.open.take().filter(|(key, _)| *key == delivery.key);
        let Some((_, receipt)) = open.filter(|_| self.session.is_some()) else {
            self.session = None;
            return Err(Error::unavailable(format!("the transaction of delivery {} is gone", delivery.key))
                .hint("the rows must be written again"));
        };
        if !self.transactions {
            return Ok(receipt);
        }
        self.with(|session, commits| {
            commits::add(session, commits, delivery, &receipt).map_err(|refused| match refused.kind {
                ErrorKind::Rejected => {
                    Error::unavailable(format!("delivery {} was committed by somebody else meanwhile", delivery.key))
                }
                _ => refused.error,
            })?;
            session.commit()
        })?;
        Ok(receipt)
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
        self.ensure_commits()?;
        let (target, create) = (self.target.clone(), self.create);
        self.with(|session, commits| replace::finish(session, run, &target, commits, create))
    }
}

impl AdbcSink {
    /// Whether the window's rows take the place of the others. Dead letters that are tried again
    /// belong to rows that are there.
    fn replaces(&self) -> bool {
        self.mode == Mode::Replace && !self.run.replay
    }

    /// Works with the connection. One on which something failed is not used again: nobody knows what
    /// state its driver is in, and to close it takes back what was not committed.
    fn with<T>(&mut self, work: impl FnOnce(&mut Session, &Target) -> Result<T>) -> Result<T> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.access.connect()?,
        };
        let done = work(&mut session, &self.commits);
        if done.is_ok() {
            self.session = Some(session);
        }
        done
    }

    /// Takes back what an unfinished delivery has left, as far as that can be done.
    fn give_up(&mut self) {
        if self.open.take().is_some()
            && self.transactions
            && let Some(mut session) = self.session.take()
            && session.roll_back().is_ok()
        {
            self.session = Some(session);
        }
    }

    fn ensure_commits(&mut self) -> Result<()> {
        if !self.has_commits {
            self.with(commits::ensure)?;
            self.has_commits = true;
        }
        Ok(())
    }

    /// Opens the transaction and writes the stream into it.
    fn load(&mut self, input: Batches) -> Result<Loaded> {
        let (target, create, transactions, cx) = (self.target.clone(), self.create, self.transactions, self.cx.clone());
        let replaced = self.replaces().then(|| self.run.clone());
        self.with(|session, commits| {
            let table = session.table(&target)?;
            match &table {
                Some(table) => fit(&input.schema(), &target, table)?,
                None if create => {}
                None => {
                    return Err(target.missing().hint("check its name, or let the sink make it with `create: true`"));
                }
            }
            let (into, is_there) = match &replaced {
                Some(run) => {
                    replace::prepare(session, run, &target, commits)?;
                    let beside = replace::beside(run, &target);
                    let is_there = session.table(&beside)?.is_some();
                    (beside, is_there)
                }
                None => (target, table.is_some()),
            };
            // A driver of the standard's first version knows no mode that does both.
            let mode = if is_there { IngestMode::Append } else { IngestMode::Create };
            if transactions {
                session.begin()?;
            }
            let loaded = match ingest(session, &into, mode, input, &cx) {
                Ok(loaded) => loaded,
                Err(error) => {
                    if transactions {
                        // To close the connection would do as well, but not at once.
                        let _ = session.roll_back();
                    }
                    return Err(error);
                }
            };
            match loaded.written.and_then(|written| u64::try_from(written).ok()) {
                Some(written) if written != loaded.rows => {
                    let said = format!("the driver got {} rows and says it has written {written}", loaded.rows);
                    if transactions {
                        return Err(Error::internal(said).hint("nothing was committed"));
                    }
                    // They are there. To fail now would only bring them again.
                    cx.log(Level::Warn, format!("{said}; look at table {into}"));
                    Ok(loaded)
                }
                _ => Ok(loaded),
            }
        })
    }
}
