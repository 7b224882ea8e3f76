//! PostgreSQL: the server of the test run, servers of a test's own, databases.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, ValueRef as _};

use crate::build::workspace;

/// A server.
pub struct Server {
    url: String,
    control: PathBuf,
    /// Where it stands, if it is this test's own.
    own: Option<tempfile::TempDir>,
}

impl Server {
    /// The server that `tests/services` started for all tests. Not to be stopped.
    ///
    /// # Panics
    /// When there is none, saying how to start it.
    #[track_caller]
    pub fn shared() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_else(|_| not_run());
        Self {
            url: variable("ENGINE_TEST_POSTGRES_URL"),
            control: variable("ENGINE_TEST_POSTGRES_CTL").into(),
            own: None,
        }
    }

    /// A server of the test's own, which it may stop.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn own() -> Self {
        let folder = tempfile::Builder::new().prefix("engine-pg-").tempdir_in("/tmp").expect("a folder can be made");
        let started = services(&folder, "start");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let file = std::fs::read_to_string(folder.path().join("services.env")).expect("`start` writes it");
        let variable = |name: &str| {
            let value = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_else(|| panic!("no {name} in {file}")).to_owned()
        };
        let (url, control) = (variable("ENGINE_TEST_POSTGRES_URL"), variable("ENGINE_TEST_POSTGRES_CTL"));
        Self { url, control: control.into(), own: Some(folder) }
    }

    /// Stops, starts or restarts a server of the test's own: `stop fast`, `start`, `restart immediate`.
    #[track_caller]
    pub fn control(&self, what: &str) {
        assert!(self.own.is_some(), "the shared server serves other tests");
        let output = Command::new(&self.control).args(what.split(' ')).output().expect("the script can be run");
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A new, empty database.
    #[track_caller]
    pub fn database(&self) -> Database {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let first = Database { url: self.url.clone() };
        first.execute(&format!("CREATE DATABASE {name}"));
        let (server, _) = self.url.rsplit_once('/').expect("an address has a database");
        Database { url: format!("{server}/{name}") }
    }
}

#[track_caller]
fn not_run() -> ! {
    panic!("not run: no PostgreSQL server; run `make test`, or `tests/services run -- cargo test`")
}

fn services(folder: &tempfile::TempDir, what: &str) -> std::process::Output {
    let mut command = Command::new(workspace().join("tests/services"));
    command.args([what, "--only", "postgres"]).env("ENGINE_SERVICES_DIR", folder.path());
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(folder) = &self.own {
            services(folder, "stop");
        }
    }
}

/// A database of one test's own. It goes with its server.
pub struct Database {
    url: String,
}

impl Database {
    /// Its address, with login.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The password in its address.
    pub fn password(&self) -> &str {
        let login = self.url.split('@').next().expect("an address has a login");
        login.rsplit(':').next().expect("a login has a password")
    }

    /// Runs statements.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.rows(sql);
    }

    /// The rows of a query, each value as text, nulls as `NULL`.
    ///
    /// # Panics
    /// When it cannot be answered.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first value of a query's answer.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        self.rows(sql).swap_remove(0).swap_remove(0)
    }

    /// How many rows a table has; 0 while there is no such table, or no server.
    pub fn count(&self, table: &str) -> u64 {
        let rows = self.try_rows(&format!("SELECT count(*) FROM {table}"));
        rows.ok().and_then(|rows| rows.first()?.first()?.parse().ok()).unwrap_or(0)
    }

    /// Keeps everybody else from writing to a table, until it is dropped.
    #[track_caller]
    pub fn lock(&self, table: &str) -> Locked {
        let runtime = runtime();
        let connection = runtime.block_on(async {
            let mut connection = sqlx::PgConnection::connect(&self.url).await?;
            let lock = format!("BEGIN; LOCK TABLE {table} IN SHARE MODE");
            connection.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await?;
            Ok::<_, sqlx::Error>(connection)
        });
        let connection = connection.unwrap_or_else(|error| panic!("{table} cannot be locked: {error}"));
        Locked { connection: Some(connection), runtime }
    }

    fn try_rows(&self, sql: &str) -> Result<Vec<Vec<String>>, sqlx::Error> {
        runtime().block_on(async {
            let options: sqlx::postgres::PgConnectOptions = self.url.parse()?;
            let mut connection = options.disable_statement_logging().connect().await?;
            // The simple protocol, which answers in text.
            let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
            let rows = rows.iter().map(|row| {
                (0..row.len())
                    .map(|at| {
                        let value = row.try_get_raw(at)?;
                        let text =
                            if value.is_null() { "NULL" } else { value.as_str().map_err(sqlx::Error::Decode)? };
                        Ok(text.to_owned())
                    })
                    .collect::<Result<Vec<_>, sqlx::Error>>()
            });
            let rows = rows.collect();
            connection.close().await?;
            rows
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

/// A table that nobody can write to.
pub struct Locked {
    connection: Option<sqlx::PgConnection>,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }
}
