//! One deployment: address, TLS, timeouts, cancellation.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bson::{Document, doc};
use engine_sdk::Runtime;
use engine_sdk::database::suggestion;
use engine_sdk::prelude::*;
use engine_sdk::types::{self, Tls};
use mongodb::options::{ClientOptions, ConnectionString, ServerAddress, Tls as DriverTls, TlsOptions, WriteConcern};
use mongodb::{Client, Database};

use crate::error::Failure;

/// How long taking back what was begun may take.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(10);
/// How long a goodbye to the server may take.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);
/// How long the search for why nobody answers may take.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// Where distributions keep the authorities that the system trusts.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where a deployment is and how to get there.
#[derive(Clone)]
pub struct Address {
    string: ConnectionString,
    shown: String,
    database: String,
    ca: Option<PathBuf>,
    timeout: Duration,
    answer_timeout: Option<Duration>,
}

impl Address {
    /// Reads the settings that source and sink share. Opens nothing.
    pub fn new(
        url: &types::Secret,
        tls: Option<Tls>,
        ca: Option<PathBuf>,
        connect_timeout: types::Duration,
        database: Option<String>,
    ) -> Result<Self> {
        if url.reveal().starts_with("mongodb+srv:") {
            return Err(Error::config("`mongodb+srv` addresses are not supported").hint(
                "write the hosts themselves: mongodb://HOST:27017,HOST:27017/DATABASE?replicaSet=NAME&authSource=admin",
            ));
        }
        // The driver's own error can repeat the address, password and all.
        let mut string = ConnectionString::parse(url.reveal()).map_err(|_| {
            Error::config("`url` is not the address of a MongoDB deployment")
                .hint("write mongodb://USER:PASSWORD@HOST:27017/DATABASE; special characters as %XX")
        })?;
        let database = database.or(string.default_database.take()).ok_or_else(|| {
            Error::config("no database is named").hint("write `database: NAME`, or put it at the end of `url`")
        })?;
        check_name("database", &database, &['/', '\\', '.', ' ', '"', '$', '\0'])?;
        let hosts = match &string.host_info {
            mongodb::options::HostInfo::HostIdentifiers(hosts) => hosts.clone(),
            _ => vec![],
        };
        string.tls = Some(protection(string.tls.take(), &hosts, tls, ca.as_deref())?);
        let shown = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // The login of `url` is that of the database there, whatever is read.
        Ok(Self {
            string,
            shown: format!("{shown}/{database}"),
            database,
            ca,
            timeout: connect_timeout.0,
            answer_timeout: None,
        })
    }

    /// Limits how long the server may take for an answer.
    pub fn answering_within(self, timeout: Option<types::Duration>) -> Self {
        Self { answer_timeout: timeout.map(|timeout| timeout.0), ..self }
    }

    /// Hosts and database, without the login: for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    async fn connect(&self) -> Result<Client, Failure> {
        if let Some(path) = &self.ca {
            std::fs::File::open(path).map_err(|error| {
                Error::config(format!("the certificate authority `{}` cannot be read: {error}", path.display()))
                    .hint("`ca` is the path of a PEM file")
            })?;
        }
        let mut options = ClientOptions::parse(self.string.clone()).await?;
        options.app_name.get_or_insert_with(|| "engine".into());
        options.connect_timeout = Some(self.timeout);
        options.server_selection_timeout = Some(self.timeout);
        // What is taken as written must not be undone by the election of another primary.
        options.write_concern.get_or_insert_with(WriteConcern::majority);
        // Whether to try again is the engine's business.
        options.retry_reads = Some(false);
        options.retry_writes = Some(false);
        let client = Client::with_options(options)?;
        match client.database(&self.database).run_command(doc! {"ping": 1}).await {
            Ok(_) => Ok(client),
            Err(error) if matches!(*error.kind, mongodb::error::ErrorKind::ServerSelection { .. }) => {
                Err(self.why().await.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why no server answers, found out by trying it.
    async fn why(&self) -> Error {
        let mongodb::options::HostInfo::HostIdentifiers(hosts) = &self.string.host_info else {
            return Error::unavailable("no server answers");
        };
        let Some(ServerAddress::Tcp { host, port }) = hosts.first() else {
            return Error::unavailable("no server answers");
        };
        let port = port.unwrap_or(27017);
        let found = tokio::time::timeout(PROBE_LIMIT, async {
            let addresses: Vec<_> = match tokio::net::lookup_host((host.as_str(), port)).await {
                Ok(addresses) => addresses.collect(),
                Err(_) => return Error::unavailable(format!("the name of the host `{host}` is not known")),
            };
            match tokio::net::TcpStream::connect(addresses.as_slice()).await {
                Ok(_) => match self.string.tls {
                    Some(DriverTls::Enabled(_)) => {
                        Error::denied(format!("{host}:{port} answers, but no verified TLS connection could be made"))
                            .hint("set `ca` to the authority's PEM file; for a server without TLS write `tls: disable`")
                    }
                    _ => Error::unavailable(format!("{host}:{port} answers, but not as a MongoDB without TLS"))
                        .hint("if the server wants TLS write `tls: verify`; check `replicaSet` and the port in `url`"),
                },
                Err(error) => Error::unavailable(format!("nobody answers at {host}:{port}: {}", error.kind()))
                    .hint("check that the server runs and that host and port in `url` are right"),
            }
        });
        found.await.unwrap_or_else(|_| {
            Error::unavailable(format!("{host}:{port} does not answer"))
                .hint("check host and port in `url`, firewalls, and `connect_timeout`")
        })
    }
}

/// Refuses names that no server has.
pub fn check_name(what: &str, name: &str, never: &[char]) -> Result<()> {
    if name.is_empty() || name.len() > 255 || name.contains(never) {
        return Err(Error::config(format!("`{}` is no name of a {what}", name.escape_debug()))
            .hint("names are not empty, and have neither NUL nor `$`"));
    }
    Ok(())
}

/// Refuses names that no collection has, and those that are the server's own.
pub fn check_collection(name: &str) -> Result<()> {
    check_name("collection", name, &['$', '\0'])?;
    if name.starts_with("system.") || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(Error::config(format!("`{name}` is no name of a collection of one's own")));
    }
    Ok(())
}

/// A verified connection unless the server is this machine, or the user says
/// otherwise in a setting of its own. The address can only ask for more than the default.
fn protection(
    asked: Option<DriverTls>,
    hosts: &[ServerAddress],
    tls: Option<Tls>,
    ca: Option<&Path>,
) -> Result<DriverTls> {
    let weak = || {
        Err(Error::config("`url` asks for a connection that is not verified")
            .hint("leave it out; for a server without TLS write `tls: disable`"))
    };
    let mut options = match asked {
        Some(DriverTls::Enabled(options)) if options.allow_invalid_certificates == Some(true) => return weak(),
        Some(DriverTls::Enabled(options)) => options,
        Some(DriverTls::Disabled) if tls.is_none() && !hosts.iter().all(is_local) => return weak(),
        Some(DriverTls::Disabled) if tls != Some(Tls::Verify) => return Ok(DriverTls::Disabled),
        None if tls.is_none() && ca.is_none() && hosts.iter().all(is_local) => return Ok(DriverTls::Disabled),
        _ => TlsOptions::default(),
    };
    if tls == Some(Tls::Disable) {
        return Ok(DriverTls::Disabled);
    }
    options.allow_invalid_certificates = None;
    let system = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    options.ca_file_path = ca.map(Path::to_owned).or(options.ca_file_path).or_else(system);
    Ok(DriverTls::Enabled(options))
}

fn is_local(host: &ServerAddress) -> bool {
    match host {
        ServerAddress::Tcp { host, .. } => types::is_this_machine(host),
        _ => true,
    }
}

/// A deployment, reached when it is first needed. The driver keeps its connections.
pub struct Server {
    address: Address,
    client: Option<Client>,
    runtime: Runtime,
    cx: Context,
}

impl Server {
    /// Prepares for an address. Opens nothing.
    pub fn new(address: Address, cx: Context) -> Result<Self> {
        let answer_timeout = address.answer_timeout;
        Ok(Self { address, client: None, runtime: Runtime::new()?.answering_within(answer_timeout), cx })
    }

    /// Where it is, for messages.
    pub fn shown(&self) -> &str {
        self.address.shown()
    }

    /// Does some work, until it ends, the engine wants to stop or the deadline passes.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&Database) -> Result<T, Failure>) -> Result<T> {
        let done = self.runtime.run(&self.cx, with_client(self.client.clone(), &self.address, work));
        self.keep(done)
    }

    /// Does work that takes back what was begun, although the engine wants to stop.
    pub fn take_back<T>(&mut self, work: impl AsyncFnOnce(&Database) -> Result<T, Failure>) -> Result<T> {
        let done = self.runtime.take_back(TAKE_BACK_LIMIT, with_client(self.client.clone(), &self.address, work));
        self.keep(done)
    }

    fn keep<T>(&mut self, done: Result<(Client, Result<T, Failure>)>) -> Result<T> {
        let (client, done) = done.map_err(|error| self.located(error))?;
        self.client = Some(client);
        done.map_err(|failure| self.located(failure.into()))
    }

    fn located(&self, error: Error) -> Error {
        match error.kind {
            ErrorKind::Unavailable | ErrorKind::Denied => error.context(format!("MongoDB at {}", self.address.shown)),
            _ => error,
        }
    }

    /// Lets go of what must tell the server so.
    pub fn release<T>(&self, gone: T) {
        self.runtime.block_on(async {
            drop(gone);
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The driver's own clean-up wants its runtime.
        let client = self.client.take();
        self.runtime.block_on(async {
            if let Some(client) = client {
                let _ = tokio::time::timeout(GOODBYE_LIMIT, client.shutdown()).await;
            }
        });
    }
}

/// Does some work with the client that was kept, or a new one.
async fn with_client<T>(
    kept: Option<Client>,
    address: &Address,
    work: impl AsyncFnOnce(&Database) -> Result<T, Failure>,
) -> Result<(Client, Result<T, Failure>)> {
    let client = match kept {
        Some(client) => client,
        None => address.connect().await?,
    };
    let done = work(&client.database(&address.database)).await;
    Ok((client, done))
}

/// The server's version as it says it.
pub async fn version(database: &Database) -> Result<String, Failure> {
    let answer = database.run_command(doc! {"buildInfo": 1}).await?;
    Ok(answer.get_str("version").unwrap_or("of an unknown version").to_owned())
}

/// What the server knows about a collection, as `listCollections` says it.
pub async fn find_collection(database: &Database, name: &str) -> Result<Option<Document>, Failure> {
    let answer = database.run_command(doc! {"listCollections": 1, "filter": {"name": name}}).await?;
    let cursor = answer.get_document("cursor").ok();
    let found = cursor.and_then(|cursor| cursor.get_array("firstBatch").ok()).and_then(|batch| batch.first());
    Ok(found.and_then(|found| found.as_document()).cloned())
}

/// The error for a collection that is not there.
pub async fn missing_collection(database: &Database, name: &str) -> Failure {
    let names = match database.list_collection_names().await {
        Ok(names) => names,
        Err(error) => return error.into(),
    };
    Error::config(format!("there is no collection `{name}` in database `{}`", database.name()))
        .hint(suggestion(name, names.iter().map(String::as_str)))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, tls: Option<Tls>) -> Result<String> {
        let address = Address::new(&types::Secret::new(url), tls, None, types::Duration::seconds(1), None)?;
        Ok(match address.string.tls {
            Some(DriverTls::Enabled(_)) => "verify".into(),
            _ => "plain".into(),
        })
    }

    #[test]
    fn other_machines_are_verified_and_this_one_need_not_be() {
        assert_eq!(address("mongodb://db.example.com/d", None).unwrap(), "verify");
        assert_eq!(address("mongodb://localhost,db.example.com/d", None).unwrap(), "verify");
        assert_eq!(address("mongodb://db.example.com/d", Some(Tls::Disable)).unwrap(), "plain");
        for local in ["localhost", "127.0.0.1", "127.8.8.8"] {
            assert_eq!(address(&format!("mongodb://{local}:1/d"), None).unwrap(), "plain", "{local}");
        }
        assert_eq!(address("mongodb://localhost/d?tls=true", None).unwrap(), "verify");
        assert_eq!(address("mongodb://localhost/d", Some(Tls::Verify)).unwrap(), "verify");
    }

    #[test]
    fn an_unverified_connection_to_another_machine_must_be_asked_for_by_name() {
        for url in
            ["mongodb://u:hunter2@db.example.com/d?tls=false", "mongodb://db.example.com/d?tls=true&tlsInsecure=true"]
        {
            let error = address(url, None).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config);
            assert!(error.hint.unwrap().contains("tls: disable"));
        }
    }

    #[test]
    fn a_bad_address_is_not_repeated() {
        for url in ["mongodb://user:hunter2@host:port/x", "mongodb+srv://user:hunter2@host/x", "hunter2"] {
            let error = address(url, None).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn names_that_no_server_has_are_refused() {
        for name in ["", "a$b", "a\0b", "system.users", ".a", "a..b"] {
            assert!(check_collection(name).is_err(), "{name:?}");
        }
        check_collection("calls.2025 'odd' \"name\"").unwrap();
    }
}
