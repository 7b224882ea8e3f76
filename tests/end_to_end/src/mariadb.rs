//! Databases of the MariaDB server of the test run.

use std::sync::atomic::{AtomicU64, Ordering};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, Row, Value};

use crate::wait::block_on;

/// A database of a test's own, gone at its end.
pub struct MariaDatabase {
    url: String,
    server: String,
    name: String,
}

impl MariaDatabase {
    /// A new, empty one.
    ///
    /// # Panics
    /// When there is no server, saying how to start it.
    #[track_caller]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = std::env::var("ENGINE_TEST_MYSQL_URL").expect("not run: no MariaDB server; run `make test`");
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let (base, _) = server.rsplit_once('/').expect("an address has a database");
        let url = format!("{base}/{name}");
        execute(&server, &format!("CREATE DATABASE {name}"));
        Self { url, server, name }
    }

    /// Its address, with the login.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs statements, with a semicolon and a line end between them.
    #[track_caller]
    pub fn execute(&self, statements: &str) {
        statements.split(";\n").filter(|it| !it.trim().is_empty()).for_each(|it| execute(&self.url, it));
    }

    /// The rows of a query, each value as text, nulls as `NULL`.
    #[track_caller]
    pub fn rows(&self, query: &str) -> Vec<Vec<String>> {
        let rows: Result<Vec<Row>, _> = block_on(async {
            let mut connection = Conn::new(Opts::from_url(&self.url)?).await?;
            let rows = connection.query(query).await?;
            connection.disconnect().await?;
            Ok::<_, mysql_async::Error>(rows)
        });
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }
}

impl Default for MariaDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MariaDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            execute(&self.server, &format!("DROP DATABASE {}", self.name));
        }
    }
}

/// As the server's text protocol gives it.
fn text(value: Value) -> String {
    match value {
        Value::NULL => "NULL".into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => other.as_sql(true),
    }
}

#[track_caller]
fn execute(url: &str, statement: &str) {
    let done = block_on(async {
        let mut connection = Conn::new(Opts::from_url(url)?).await?;
        connection.query_drop(statement).await?;
        connection.disconnect().await
    });
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}
