//! The state: what the engine remembers, in two tables.

use std::path::PathBuf;

use engine_sdk::database::default_connect_timeout;
use engine_sdk::message::{AcquireRequest, Acquired, ReleaseRequest, StateChange, StoreRequest};
use engine_sdk::prelude::*;
use engine_sdk::{Documents, state, types};

use crate::commits::{alone, digest};
use crate::connection::{Address, Link, Server, execute, rows, text, value};
use crate::error::Failure;
use crate::name::literal;
use crate::source::version;

const HEAD: &str = "`_engine_state`";
const DOCUMENTS: &str = "`_engine_state_documents`";
/// Documents that `load` reads at a time.
const PAGE: usize = 1_000;
/// Bytes of documents that one statement holds, about: a server takes 16 MiB as a rule.
const STATEMENT_BYTES: usize = 1 << 20;

/// Keeps what the engine remembers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// The server and the database: `mysql://USER:PASSWORD@HOST:3306/DATABASE`. The
    /// tables `_engine_state` and `_engine_state_documents` are there, or are made there.
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
    /// Which state: several can stand in one database.
    #[serde(default = "default_name")]
    name: String,
}

fn default_name() -> String {
    "engine".into()
}

pub struct MysqlState {
    address: Address,
    server: Server,
    name: String,
    cx: Context,
}

impl Component for MysqlState {
    type Config = StateConfig;
    const SUMMARY: &'static str = "Keeps the engine's state in a MySQL or MariaDB database";

    fn examples() -> Vec<Example> {
        vec![example("a state that machines share", json!({"url": "mysql://engine:secret@localhost/engine"}))]
    }

    fn open(config: StateConfig, cx: Context) -> Result<Self> {
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout)?;
        let server = Server::new(address.clone(), cx.clone())?;
        Ok(Self { address, server, name: config.name, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let version = self.server.run(async |connection| version(connection).await)?;
        Ok(CheckReport { summary: format!("{version} at {}", self.server.shown()) })
    }
}

impl StateStore for MysqlState {
    fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired> {
        let (id, name) = (digest([self.name.as_str()]), &self.name);
        self.server.run(async |connection| {
            ensure(connection).await?;
            execute(connection, format!("INSERT IGNORE INTO {HEAD} (id, name) VALUES ({id}, {})", literal(name)))
                .await?;
            let holder = literal(&request.holder);
            let former = request.former.as_deref().map_or("NULL".into(), literal);
            let taken = execute(
                connection,
                format!(
                    "UPDATE {HEAD} SET holder = {holder}, shown = {}, lease_ms = {}, seen = NOW(6), signs = signs + 1 \
                     WHERE id = {id} AND (holder IS NULL OR holder = {holder} OR holder = {former} \
                         OR seen + INTERVAL lease_ms * 1000 MICROSECOND < NOW(6))",
                    literal(&request.shown),
                    request.lease_ms
                ),
            );
            if taken.await? == 0 {
                return Err(held(connection, &id, name).await?.into());
            }
            let found = rows(connection, &format!("SELECT sequence, layout, last FROM {HEAD} WHERE id = {id}")).await?;
            let number = |place| found.first().and_then(|row| text(row, place)?.parse().ok()).unwrap_or_default();
            let last = found.first().and_then(|row| text(row, 2));
            Ok(Acquired { sequence: number(0), layout: number(1), last, ..Acquired::default() })
        })
    }

    fn load(&mut self) -> Result<Documents> {
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let state = digest([self.name.as_str()]);
        let mut after = Some("''".to_owned());
        Ok(Box::new(std::iter::from_fn(move || {
            let from = after.take()?;
            let page = format!(
                "SELECT HEX(id), collection, document_key, document FROM {DOCUMENTS} \
                 WHERE state = {state} AND id > {from} ORDER BY id LIMIT {PAGE}"
            );
            let read = server.run(async |connection| rows(connection, &page).await);
            let found = match read {
                Ok(found) if found.is_empty() => return None,
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            after = found.last().and_then(|row| text(row, 0)).map(|id| format!("x'{id}'"));
            Some(found.iter().map(document).collect())
        })))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        let (id, name) = (digest([self.name.as_str()]), &self.name);
        let stored = self.server.run(async |connection| {
            execute(connection, "START TRANSACTION").await?;
            let is_change = request.sequence != request.after;
            let change = if is_change {
                format!(", layout = {}, last = {}", request.layout, literal(&request.id))
            } else {
                String::new()
            };
            let advance = format!(
                "UPDATE {HEAD} SET sequence = {}, seen = NOW(6), signs = signs + 1{change} \
                 WHERE id = {id} AND holder = {} AND sequence = {}",
                request.sequence,
                literal(&request.holder),
                request.after
            );
            if execute(connection, advance).await? == 0 {
                execute(connection, "ROLLBACK").await?;
                let holder = held(connection, &id, name).await?;
                return Err(state::lost(&holder).into());
            }
            put(connection, &id, name, &request.changes).await?;
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
        let id = digest([self.name.as_str()]);
        let release =
            format!("UPDATE {HEAD} SET holder = NULL WHERE id = {id} AND holder = {}", literal(&request.holder));
        self.server.run(async |connection| execute(connection, release).await)?;
        Ok(())
    }
}

/// Makes the tables, alone among all engines.
async fn ensure(connection: &mut Link) -> Result<(), Failure> {
    let there = "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                 AND TABLE_NAME IN ('_engine_state', '_engine_state_documents')";
    if value(connection, there).await?.as_deref() == Some("2") {
        return Ok(());
    }
    const KIND: &str = "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    // An index holds 3,072 bytes, and keys may be longer: it holds digests of them.
    let create = [
        format!(
            "CREATE TABLE IF NOT EXISTS {HEAD} (id binary(32) PRIMARY KEY, name text NOT NULL, \
             sequence bigint NOT NULL DEFAULT 0, layout bigint NOT NULL DEFAULT 0, last varchar(100), \
             holder varchar(100), shown text, lease_ms bigint NOT NULL DEFAULT 0, \
             seen datetime(6), signs bigint NOT NULL DEFAULT 0) {KIND}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {DOCUMENTS} (state binary(32) NOT NULL, id binary(32) NOT NULL, \
             name text NOT NULL, collection text NOT NULL, document_key longtext NOT NULL, document longtext NOT NULL, \
             PRIMARY KEY (state, id)) {KIND}"
        ),
    ];
    alone(connection, async |connection| {
        for create in create {
            execute(connection, create).await?;
        }
        Ok(())
    })
    .await
}

async fn put(connection: &mut Link, state: &str, name: &str, changes: &[StateChange]) -> Result<(), Failure> {
    let id = |change: &StateChange| digest([change.collection.as_str(), change.key.as_str()]);
    let (there, gone): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.document.is_some());
    for some in gone.chunks(PAGE) {
        let ids: Vec<_> = some.iter().map(|change| id(change)).collect();
        let delete = format!("DELETE FROM {DOCUMENTS} WHERE state = {state} AND id IN ({})", ids.join(", "));
        execute(connection, delete).await?;
    }
    let mut statement = String::new();
    for (at, change) in there.iter().enumerate() {
        let document = change.document.as_ref().map(Value::to_string).unwrap_or_default();
        statement.push_str(if statement.is_empty() { "" } else { ", " });
        statement.push_str(&format!(
            "({state}, {}, {}, {}, {}, {})",
            id(change),
            literal(name),
            literal(&change.collection),
            literal(&change.key),
            literal(&document)
        ));
        if statement.len() >= STATEMENT_BYTES || at + 1 == there.len() {
            let values = std::mem::take(&mut statement);
            let insert = format!(
                "INSERT INTO {DOCUMENTS} (state, id, name, collection, document_key, document) VALUES {values} \
                 ON DUPLICATE KEY UPDATE document = VALUES(document)"
            );
            execute(connection, insert).await?;
        }
    }
    Ok(())
}

/// Who has the state, as the error of whoever has not.
async fn held(connection: &mut Link, id: &str, name: &str) -> Result<Error, Failure> {
    let who = format!(
        "SELECT shown, TIMESTAMPDIFF(SECOND, seen, NOW(6)), lease_ms DIV 1000 FROM {HEAD} \
         WHERE id = {id} AND holder IS NOT NULL"
    );
    let found = rows(connection, &who).await?;
    let Some(row) = found.first() else { return Ok(state::given_back(name)) };
    let seconds = |place| text(row, place).and_then(|number| number.parse().ok()).unwrap_or_default();
    Ok(state::held(name, &text(row, 0).unwrap_or_default(), seconds(1), seconds(2)))
}

fn document(row: &mysql_async::Row) -> Result<StateChange> {
    let part = |place| text(row, place).unwrap_or_default();
    let document = serde_json::from_str(&part(3))
        .map_err(|error| Error::config(format!("a document of the state is not what was stored: {error}")))?;
    Ok(StateChange { collection: part(1), key: part(2), document: Some(document) })
}
