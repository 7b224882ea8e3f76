//! Loading drivers, their options, and connections.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use adbc_core::error::{Error as Refusal, Status};
use adbc_core::options::{AdbcVersion, InfoCode, OptionConnection, OptionDatabase, OptionStatement, OptionValue};
use adbc_core::{Connection as _, Database as _, Driver as _, LOAD_FLAG_DEFAULT, Optionable as _, Statement as _};
use adbc_driver_manager::{ManagedConnection, ManagedDriver, ManagedStatement};
use arrow_array::UnionArray;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_schema::ArrowError;
use engine_sdk::prelude::*;

use crate::error::{Secrets, failure, kind};
use crate::name::{Quote, Target};
use crate::options::{OptionText, Options, SecretOptions, SecretText};
use crate::sql::{Draft, Placeholders};
use crate::value;
use crate::worker::Handle;

/// How the driver of Snowflake names its database.
const SNOWFLAKE: &str = "Snowflake";

/// The settings that source and sink share.
pub struct Settings {
    pub driver: String,
    pub entrypoint: Option<String>,
    pub database: SecretOptions,
    pub session: Options,
    pub statement: Options,
    pub quote: Quote,
    pub placeholders: Option<Placeholders>,
}

/// Where a driver is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Library {
    /// A file.
    File(PathBuf),
    /// What the system's loader finds, or a manifest of a driver.
    Name(String),
}

impl std::fmt::Display for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A driver, and what it takes to connect through it. Reaches nothing until it is asked to.
pub struct Access {
    library: Library,
    entrypoint: Option<String>,
    database: SecretOptions,
    session: Options,
    statement: Options,
    quote: Quote,
    placeholders: Option<Placeholders>,
    secrets: Secrets,
}

impl Access {
    pub fn new(settings: Settings, cx: &Context) -> Result<Arc<Self>> {
        let Settings { driver, entrypoint, database, session, statement, quote, placeholders } = settings;
        if driver.is_empty() || entrypoint.as_deref() == Some("") {
            return Err(Error::config("`driver` and `entrypoint` must not be empty")
                .hint("name the driver's library: `driver: /opt/drivers/libadbc_driver_snowflake.so`"));
        }
        // A path from the pipeline file; anything else is looked for.
        let library = if driver.contains(std::path::is_separator) {
            Library::File(std::path::absolute(cx.resolve(&driver))?)
        } else {
            Library::Name(driver)
        };
        let secrets = Secrets::of(database.iter().map(|(name, value)| (name.as_str(), value.0.reveal())));
        Ok(Arc::new(Self { library, entrypoint, database, session, statement, quote, placeholders, secrets }))
    }

    /// How names are quoted.
    pub fn quote(&self) -> Quote {
        self.quote
    }

    /// Opens a connection.
    pub fn connect(self: &Arc<Self>) -> Result<Session> {
        let mut driver = self.load()?;
        let named = |error: Refusal| self.failure(&error).context(format!("ADBC driver {}", self.library));
        let options = self
            .database
            .iter()
            .map(|(name, SecretText(value))| (OptionDatabase::from(name.as_str()), OptionValue::from(value.reveal())));
        let database = driver.new_database_with_opts(options).map_err(named)?;
        // The standard's own options describe a connection that is there. A driver's own may be needed to make it.
        let options = self.session.iter().map(|(name, OptionText(value))| {
            (OptionConnection::from(name.as_str()), OptionValue::from(value.as_str()))
        });
        let (before, after): (Vec<_>, Vec<_>) =
            options.partition(|(name, _)| matches!(name, OptionConnection::Other(_)));
        let mut connection = database.new_connection_with_opts(before).map_err(named)?;
        for (name, value) in after {
            connection.set_option(name, value).map_err(named)?;
        }
        Ok(Session {
            connection,
            access: Arc::clone(self),
            placeholders: self.placeholders,
            vendor: None,
            handle: None,
        })
    }

    /// Loads the driver, once a process. It stays: the runtimes that drivers bring along, such as Go's,
    /// cannot be taken out of a process again.
    fn load(&self) -> Result<ManagedDriver> {
        type Loaded = BTreeMap<(Library, Option<String>), ManagedDriver>;
        static LOADED: Mutex<Loaded> = Mutex::new(Loaded::new());

        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.library.clone(), self.entrypoint.clone());
        if let Some(driver) = loaded.get(&key) {
            return Ok(driver.clone());
        }
        if let Library::File(path) = &self.library
            && !path.is_file()
        {
            return Err(Error::config(format!("there is no ADBC driver {}", path.display()))
                .hint("check `driver`; a path is relative to the pipeline file"));
        }
        let load = |version| {
            let entrypoint = self.entrypoint.as_ref().map(String::as_bytes);
            match &self.library {
                Library::Name(name) if std::path::Path::new(name).extension().is_some() => {
                    ManagedDriver::load_dynamic_from_filename(name, entrypoint, version)
                }
                Library::Name(name) => {
                    ManagedDriver::load_from_name(name, entrypoint, version, LOAD_FLAG_DEFAULT, None)
                }
                Library::File(path) => {
                    ManagedDriver::load_from_name(path, entrypoint, version, LOAD_FLAG_DEFAULT, None)
                }
            }
        };
        let driver = match load(AdbcVersion::V110) {
            // A driver of the standard's first version says so.
            Err(refusal) if refusal.status == Status::NotImplemented => load(AdbcVersion::V100),
            other => other,
        };
        let driver = driver.map_err(|refusal| {
            let reason = self.secrets.hide(refusal.message.trim());
            Error::config(format!("ADBC driver {} cannot be loaded: {reason}", self.library)).hint(
                "name the library of an ADBC driver for this system, and its `entrypoint` if that is not AdbcDriverInit",
            )
        })?;
        loaded.insert(key, driver.clone());
        Ok(driver)
    }

    /// A driver's error as the engine's.
    pub fn failure(&self, refusal: &Refusal) -> Error {
        failure(refusal, &self.secrets)
    }

    /// An error in the middle of a result. Its status is lost on the way through Arrow's interface for
    /// streams; that the connection broke is the most likely reason, and to try again is the safe answer.
    pub fn broken(&self, error: &ArrowError) -> Error {
        let reason = match error {
            ArrowError::CDataInterface(reason) => reason.clone(),
            other => other.to_string(),
        };
        Error::unavailable(format!("the driver stopped giving rows: {}", self.secrets.hide(reason.trim())))
            .hint("if it stops at the same place each time, the reason lies in the data or the query")
    }
}

/// One connection.
pub struct Session {
    connection: ManagedConnection,
    access: Arc<Access>,
    placeholders: Option<Placeholders>,
    vendor: Option<String>,
    /// What somebody who wants to stop takes hold of.
    handle: Option<Handle>,
}

impl Session {
    /// Lets somebody cancel whatever statement is under way.
    pub fn let_cancel(&mut self, handle: &Handle) {
        self.handle = Some(handle.clone());
    }

    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// A driver's error as the engine's.
    pub fn failure(&self, refusal: &Refusal) -> Error {
        self.access.failure(refusal)
    }

    /// The database's name, as far as the driver tells it.
    pub fn vendor(&mut self) -> &str {
        if self.vendor.is_none() {
            self.vendor = Some(self.ask_vendor().unwrap_or_default());
        }
        self.vendor.as_deref().unwrap_or_default()
    }

    fn ask_vendor(&self) -> Option<String> {
        let codes = HashSet::from([InfoCode::VendorName]);
        for batch in self.connection.get_info(Some(codes)).ok()? {
            let batch = batch.ok()?;
            let names = batch.column(0).as_primitive_opt::<UInt32Type>()?;
            let values = batch.column(1).as_any().downcast_ref::<UnionArray>()?;
            let wanted = u32::from(&InfoCode::VendorName);
            if let Some(row) = names.values().iter().position(|name| *name == wanted) {
                return values.value(row).as_string_opt::<i32>().map(|vendor| vendor.value(0).to_owned());
            }
        }
        None
    }

    /// A new statement.
    pub fn statement(&mut self) -> Result<ManagedStatement> {
        let statement = self.connection.new_statement().map_err(|refusal| self.failure(&refusal))?;
        if let Some(handle) = &self.handle {
            handle.hold(&statement);
        }
        Ok(statement)
    }

    /// A statement with the options of the settings.
    pub fn tuned_statement(&mut self) -> Result<ManagedStatement> {
        let mut statement = self.statement()?;
        for (name, OptionText(value)) in &self.access.statement {
            statement
                .set_option(OptionStatement::from(name.as_str()), value.as_str().into())
                .map_err(|refusal| self.failure(&refusal).context(format!("option `{name}` of `statement`")))?;
        }
        Ok(statement)
    }

    /// Gives a statement its text and its values.
    pub fn fill(&mut self, statement: &mut ManagedStatement, draft: &Draft) -> Result<()> {
        let placeholders = match self.placeholders {
            Some(known) => known,
            None => *self.placeholders.insert(Placeholders::of_vendor(&{
                let vendor = self.vendor.clone();
                vendor.or_else(|| self.ask_vendor()).unwrap_or_default()
            })),
        };
        let (text, values) = draft.finish(placeholders)?;
        let values = match values {
            // The driver takes neither times nor decimals; the database reads them as what they are compared with.
            Some(values) if self.vendor() == SNOWFLAKE => Some(value::as_texts(&values)?),
            values => values,
        };
        statement.set_sql_query(&text).map_err(|refusal| self.failure(&refusal))?;
        let Some(values) = values else { return Ok(()) };
        statement.bind(values).map_err(|refusal| match refusal.status {
            Status::NotImplemented => Error::config("this driver takes no values beside a query")
                .hint("write a query without `:name`, and without a `cursor` that puts values into it"),
            _ => self.failure(&refusal).context("the values of the query's parameters"),
        })
    }

    /// The rows of a query, which are few.
    pub fn rows(&mut self, draft: &Draft) -> Result<Vec<RecordBatch>> {
        let mut statement = self.statement()?;
        self.fill(&mut statement, draft)?;
        self.rows_of(&mut statement)
    }

    /// The rows of a statement, which are few. At least one batch, which may be empty.
    pub fn rows_of(&self, statement: &mut ManagedStatement) -> Result<Vec<RecordBatch>> {
        let reader = statement.execute().map_err(|refusal| self.failure(&refusal))?;
        let schema = reader.schema();
        let mut batches = vec![RecordBatch::new_empty(schema)];
        for batch in reader {
            batches.push(batch.map_err(|error| self.access.broken(&error))?);
        }
        Ok(batches)
    }

    /// Runs what gives no rows.
    pub fn execute(&mut self, draft: &Draft) -> Result<(), Refused> {
        let mut statement = self.statement()?;
        self.fill(&mut statement, draft)?;
        match statement.execute_update() {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Refused { kind: kind(&refusal), error: self.failure(&refusal) }),
        }
    }

    /// Runs a statement without values.
    pub fn execute_text(&mut self, text: String) -> Result<(), Refused> {
        self.execute(&Draft::text(text, self.access.quote))
    }

    /// The columns that a query gives, if the driver can tell without running it.
    pub fn describe(&mut self, draft: &Draft) -> Result<Option<Schema>> {
        let mut statement = self.statement()?;
        self.fill(&mut statement, draft)?;
        match statement.execute_schema() {
            Ok(schema) => Ok(Some(schema)),
            Err(refusal) if refusal.status == Status::NotImplemented => Ok(None),
            Err(refusal) => Err(self.failure(&refusal)),
        }
    }

    /// The columns of a table. None: there is no such table.
    pub fn table(&mut self, target: &Target) -> Result<Option<Schema>> {
        let found =
            self.connection.get_table_schema(target.catalog.as_deref(), target.schema.as_deref(), &target.table);
        match found {
            Ok(schema) => Ok(Some(schema)),
            Err(refusal) if refusal.status == Status::NotFound => Ok(None),
            // Not all drivers can look tables up, nor say in one way that there is none.
            Err(refusal) if kind(&refusal) == ErrorKind::Config || refusal.status == Status::Internal => {
                let text = format!("SELECT * FROM {} WHERE 1 = 0", target.sql(self.access.quote));
                match self.rows(&Draft::text(text, self.access.quote)) {
                    Ok(batches) => Ok(batches.first().map(|batch| batch.schema().as_ref().clone())),
                    Err(error) if error.kind == ErrorKind::Config => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Err(refusal) => Err(self.failure(&refusal)),
        }
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<()> {
        self.connection.set_option(OptionConnection::AutoCommit, false.into()).map_err(|refusal| {
            let error = self.failure(&refusal);
            match refusal.status {
                Status::NotImplemented | Status::NotFound | Status::InvalidArguments | Status::InvalidState => {
                    Error::config(format!("this driver has no transactions: {}", error.message)).hint(
                        "with `transactions: false` rows are written without them, and may come twice after a failure",
                    )
                }
                _ => error,
            }
        })
    }

    /// Ends the transaction.
    pub fn commit(&mut self) -> Result<()> {
        self.connection.commit().map_err(|refusal| self.failure(&refusal))?;
        self.end()
    }

    /// Takes the transaction back.
    pub fn roll_back(&mut self) -> Result<()> {
        self.connection.rollback().map_err(|refusal| self.failure(&refusal))?;
        self.end()
    }

    /// Drivers begin the next transaction at once; the connection is to wait without one.
    fn end(&mut self) -> Result<()> {
        let ended = self.connection.set_option(OptionConnection::AutoCommit, true.into());
        ended.map_err(|refusal| self.failure(&refusal))
    }
}

/// A statement that was refused.
pub struct Refused {
    pub kind: ErrorKind,
    pub error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { kind: error.kind, error }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}
