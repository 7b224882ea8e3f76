//! The state: what the engine remembers, a collection for each sort of document.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bson::{Bson, DateTime, Document, doc};
use engine_sdk::database::default_connect_timeout;
use engine_sdk::message::{AcquireRequest, Acquired, ReleaseRequest, StateChange, StoreRequest};
use engine_sdk::prelude::*;
use engine_sdk::{Documents, state, types};
use mongodb::{ClientSession, Database};

use crate::connection::{Address, Server, check_name, version};
use crate::error::{DUPLICATE_KEY, Failure, NAMESPACE_EXISTS};
use crate::operations::{Operations, OperationsConfig};
use crate::state_document::{from_bson, to_bson};
use crate::store;

/// The collection of the states' heads: one document each.
const HEADS: &str = "_engine_state";
/// Before the names of the collections with the documents.
const PREFIX: &str = "_engine_state_";
/// Documents that `load` reads at a time.
const PAGE: i64 = 1_000;
/// The most changes of one command, and about how many bytes of documents.
const COMMAND: (usize, usize) = (1_000, 8 << 20);

/// Keeps what the engine remembers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// The deployment: `mongodb://USER:PASSWORD@HOST:27017/DATABASE`, with further
    /// hosts after commas. It is a replica set, of one server at least, since a state
    /// needs transactions. The collections, whose names begin with `_engine_state`,
    /// are made where they are missing.
    url: types::Secret,
    /// How the connection is protected. Unset: verified, except to this machine
    /// itself, where TLS is used if `url` or `ca` asks for it.
    #[serde(default)]
    tls: Option<types::Tls>,
    /// A PEM file with the authority that signed the server's certificate.
    /// Trusted in the place of the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long to wait for a server of the deployment.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: types::Duration,
    /// The database. Unset: the one in `url`.
    #[serde(default)]
    database: Option<String>,
    /// Which state: several can stand in one database.
    #[serde(default = "default_name")]
    name: String,
    /// Also keeps one document a pipeline and one a run in collections of their own,
    /// for other programs and people. Unset: none.
    #[serde(default)]
    operations: Option<OperationsConfig>,
}

fn default_name() -> String {
    "engine".into()
}

pub struct MongoState {
    address: Address,
    server: Server,
    name: String,
    operations: Option<Operations>,
    /// How long the state stays this holder's, in milliseconds, since it took it.
    lease_ms: u64,
    /// Collections that are known to be there: none is made inside a transaction.
    made: BTreeSet<String>,
    cx: Context,
}

impl Component for MongoState {
    type Config = StateConfig;
    const SUMMARY: &'static str = "Keeps the engine's state in a MongoDB database";

    fn examples() -> Vec<Example> {
        let url = "mongodb://engine:secret@localhost/engine?authSource=admin";
        vec![
            example("a state that machines share", json!({"url": url})),
            example(
                "beside it, an operation and an audit trail that other programs read",
                json!({"url": url, "operations": {"names": {"incident_window": "Incident creation"}}}),
            ),
        ]
    }

    fn open(config: StateConfig, cx: Context) -> Result<Self> {
        check_name("state", &config.name, &['\0', ' ', '$'])?;
        let operations = config.operations.map(Operations::new).transpose()?;
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout, config.database)?;
        let server = Server::new(address.clone(), cx.clone())?;
        Ok(Self { address, server, name: config.name, operations, lease_ms: 0, made: BTreeSet::new(), cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let version = self.server.run(async |database| {
            clock(database).await?;
            version(database).await
        })?;
        Ok(CheckReport { summary: format!("MongoDB {version} at {}", self.server.shown()) })
    }
}

impl StateStore for MongoState {
    fn acquire(&mut self, request: &AcquireRequest) -> Result<Acquired> {
        self.lease_ms = request.lease_ms;
        let (name, operations) = (&self.name, &self.operations);
        self.server.run(async |database| {
            let now = clock(database).await?;
            ensure(database, HEADS).await?;
            add_head(database, name).await?;
            let mut free =
                vec![doc! {"holder": Bson::Null}, doc! {"holder": &request.holder}, doc! {"expires": {"$lt": now}}];
            free.extend(request.former.as_ref().map(|former| doc! {"holder": former}));
            let take = doc! {"$set": {
                "holder": &request.holder, "shown": &request.shown, "lease_ms": signed(request.lease_ms),
                "expires": later(now, request.lease_ms),
            }};
            let heads = database.collection::<Document>(HEADS);
            let taken = heads.find_one_and_update(doc! {"_id": name, "$or": free}, take).await?;
            let Some(head) = taken else { return Err(held(database, name, now).await?.into()) };
            let positions = match operations {
                Some(operations) => operations.positions(database).await?,
                None => Default::default(),
            };
            Ok(Acquired {
                sequence: unsigned(&head, "sequence"),
                layout: unsigned(&head, "layout"),
                last: head.get_str("last").ok().map(str::to_owned),
                positions,
            })
        })
    }

    fn load(&mut self) -> Result<Documents> {
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let name = self.name.clone();
        let mut collections = server.run(async |database| store::names(database, PREFIX).await)?.into_iter();
        let mut collection = collections.next();
        let mut after = id(&name, "");
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                let from = collection.clone()?;
                // Keys of this state alone: `!` comes right behind the space.
                let range = doc! {"_id": {"$gt": &after, "$lt": format!("{name}!")}};
                let read = server.run(async |database| page(database, &from, range).await);
                match read.and_then(|documents| documents.iter().map(|it| change(&from, &name, it)).collect()) {
                    Ok(changes) => {
                        let changes: Vec<StateChange> = changes;
                        match changes.last() {
                            Some(last) => after = id(&name, &last.key),
                            None => {
                                (collection, after) = (collections.next(), id(&name, ""));
                                continue;
                            }
                        }
                        return Some(Ok(changes));
                    }
                    Err(error) => {
                        collection = None;
                        return Some(Err(error));
                    }
                }
            }
        })))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        let (name, operations, made, lease_ms) = (&self.name, &self.operations, &mut self.made, self.lease_ms);
        self.server.run(async |database| {
            let now = clock(database).await?;
            if request.after == request.sequence && request.changes.is_empty() {
                // A sign of life needs no transaction.
                let filter = doc! {"_id": name, "holder": &request.holder, "sequence": signed(request.after)};
                let sign = doc! {"$set": {"expires": later(now, lease_ms)}};
                let seen = database.collection::<Document>(HEADS).update_one(filter, sign).await?;
                return if seen.matched_count == 1 { Ok(()) } else { Err(lost(database, name, now).await) };
            }
            prepare(database, request, operations.as_ref(), made).await?;
            let mut session = database.client().start_session().await?;
            session.start_transaction().await?;
            let written = write(database, &mut session, name, request, later(now, lease_ms), operations.as_ref()).await;
            match written {
                Ok(true) => Ok(session.commit_transaction().await?),
                Ok(false) => {
                    let _ = session.abort_transaction().await;
                    Err(lost(database, name, now).await)
                }
                Err(failure) => {
                    let _ = session.abort_transaction().await;
                    Err(failure)
                }
            }
        })
    }

    fn release(&mut self, request: &ReleaseRequest) -> Result<()> {
        let name = &self.name;
        self.server.run(async |database| {
            let filter = doc! {"_id": name, "holder": &request.holder};
            let free = doc! {"$set": {"holder": Bson::Null}};
            database.collection::<Document>(HEADS).update_one(filter, free).await?;
            Ok(())
        })
    }
}

/// What time it is for the database. Refuses deployments without transactions.
async fn clock(database: &Database) -> Result<DateTime, Failure> {
    let hello = database.run_command(doc! {"hello": 1}).await?;
    if !hello.contains_key("setName") && !hello.get_str("msg").is_ok_and(|kind| kind == "isdbgrid") {
        return Err(Error::config("a state needs transactions, and this server stands alone")
            .hint("make it a replica set, of this one server at least (`mongod --replSet NAME`)")
            .into());
    }
    hello.get_datetime("localTime").copied().map_err(|_| {
        Error::unavailable("the other side does not say what time it is, and so cannot keep a lease").into()
    })
}

fn later(now: DateTime, lease_ms: u64) -> DateTime {
    DateTime::from_millis(now.timestamp_millis().saturating_add(signed(lease_ms)))
}

async fn ensure(database: &Database, collection: &str) -> Result<(), Failure> {
    match database.run_command(doc! {"create": collection}).await.map_err(Failure::from) {
        Ok(_) | Err(Failure::Refused { code: NAMESPACE_EXISTS, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

async fn add_head(database: &Database, name: &str) -> Result<(), Failure> {
    let head = doc! {"sequence": 0_i64, "layout": 0_i64, "last": Bson::Null, "holder": Bson::Null, "lease_ms": 0_i64};
    let heads = database.collection::<Document>(HEADS);
    let added = heads.update_one(doc! {"_id": name}, doc! {"$setOnInsert": head}).upsert(true).await;
    match added.map_err(Failure::from) {
        // Another engine was as fast.
        Ok(_) | Err(Failure::Refused { code: DUPLICATE_KEY, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Makes the collections that a change writes to.
async fn prepare(
    database: &Database,
    request: &StoreRequest,
    operations: Option<&Operations>,
    made: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    let mut needed: Vec<String> =
        request.changes.iter().map(|change| format!("{PREFIX}{}", change.collection)).collect();
    if let (Some(operations), false) = (operations, request.operations.is_empty()) {
        needed.extend(operations.collections().map(str::to_owned));
    }
    needed.dedup();
    for collection in needed {
        if !made.contains(&collection) {
            ensure(database, &collection).await?;
            made.insert(collection);
        }
    }
    Ok(())
}

/// False, where the holder or the number of changes is another one.
async fn write(
    database: &Database,
    session: &mut ClientSession,
    name: &str,
    request: &StoreRequest,
    expires: DateTime,
    operations: Option<&Operations>,
) -> Result<bool, Failure> {
    let filter = doc! {"_id": name, "holder": &request.holder, "sequence": signed(request.after)};
    let mut head = doc! {"expires": expires};
    if request.sequence != request.after {
        head.extend(doc! {
            "sequence": signed(request.sequence), "layout": signed(request.layout), "last": &request.id,
        });
    }
    let heads = database.collection::<Document>(HEADS);
    if heads.update_one(filter, doc! {"$set": head}).session(&mut *session).await?.matched_count != 1 {
        return Ok(false);
    }
    let collections: BTreeSet<&str> = request.changes.iter().map(|change| change.collection.as_str()).collect();
    for collection in collections {
        let changes = request.changes.iter().filter(|change| change.collection == collection);
        put(database, session, name, collection, changes).await?;
    }
    if let Some(operations) = operations {
        for operation in &request.operations {
            operations.note(database, session, operation).await?;
        }
    }
    Ok(true)
}

async fn put(
    database: &Database,
    session: &mut ClientSession,
    name: &str,
    collection: &str,
    changes: impl Iterator<Item = &StateChange>,
) -> Result<(), Failure> {
    let collection = format!("{PREFIX}{collection}");
    let (mut updates, mut deletes, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut changes = changes.peekable();
    while let Some(change) = changes.next() {
        let id = id(name, &change.key);
        match &change.document {
            Some(document) => {
                bytes += document.to_string().len();
                let put = doc! {"_id": &id, "document": to_bson(document)};
                updates.push(Bson::Document(doc! {"q": {"_id": id}, "u": put, "upsert": true}));
            }
            None => deletes.push(Bson::Document(doc! {"q": {"_id": id}, "limit": 1})),
        }
        if changes.peek().is_none() || updates.len() + deletes.len() == COMMAND.0 || bytes > COMMAND.1 {
            for (command, what) in [("update", &mut updates), ("delete", &mut deletes)] {
                if what.is_empty() {
                    continue;
                }
                let list = if command == "update" { "updates" } else { "deletes" };
                let command = doc! {command: &collection, list: std::mem::take(what)};
                refused(&database.run_command(command).session(&mut *session).await?)?;
            }
            bytes = 0;
        }
    }
    Ok(())
}

/// Errors of single changes stand in an answer that is none.
fn refused(answer: &Document) -> Result<(), Failure> {
    let errors = answer.get_array("writeErrors").ok();
    match errors.and_then(|errors| errors.first()).and_then(Bson::as_document) {
        Some(error) => Err(Failure::Refused {
            code: error.get_i32("code").unwrap_or_default(),
            message: error.get_str("errmsg").unwrap_or_default().to_owned(),
        }),
        None => Ok(()),
    }
}

async fn page(database: &Database, collection: &str, range: Document) -> Result<Vec<Document>, Failure> {
    let mut cursor = database.collection::<Document>(collection).find(range).sort(doc! {"_id": 1}).limit(PAGE).await?;
    let mut documents = Vec::new();
    while cursor.advance().await? {
        documents.push(Document::try_from(cursor.current()).map_err(mongodb::error::Error::from)?);
    }
    Ok(documents)
}

fn change(collection: &str, name: &str, found: &Document) -> Result<StateChange> {
    let wrong = || Error::config("a document of the state is not what was stored").hint("restore the database");
    let key = found.get_str("_id").ok().and_then(|id| id.strip_prefix(name)?.strip_prefix(' ')).ok_or_else(wrong)?;
    let document = found.get("document").and_then(from_bson).ok_or_else(wrong)?;
    let collection = collection.strip_prefix(PREFIX).unwrap_or(collection).to_owned();
    Ok(StateChange { collection, key: key.to_owned(), document: Some(document) })
}

/// The key of a document of one state.
fn id(name: &str, key: &str) -> String {
    format!("{name} {key}")
}

async fn head(database: &Database, name: &str) -> Result<Option<Document>, Failure> {
    Ok(database.collection::<Document>(HEADS).find_one(doc! {"_id": name}).await?)
}

/// Who has the state, as the error of whoever has not.
async fn held(database: &Database, name: &str, now: DateTime) -> Result<Error, Failure> {
    let head = head(database, name).await?.unwrap_or_default();
    if head.get_str("holder").is_err() {
        return Ok(state::given_back(name));
    }
    let lease = signed(unsigned(&head, "lease_ms"));
    let expires = head.get_datetime("expires").map_or(0, |expires| expires.timestamp_millis());
    let ago = now.timestamp_millis() - expires + lease;
    Ok(state::held(name, head.get_str("shown").unwrap_or_default(), ago / 1000, lease / 1000))
}

async fn lost(database: &Database, name: &str, now: DateTime) -> Failure {
    match held(database, name, now).await {
        Ok(holder) => state::lost(&holder).into(),
        Err(failure) => failure,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(head: &Document, name: &str) -> u64 {
    head.get_i64(name).ok().and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}
