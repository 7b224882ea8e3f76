//! The sink: a delivery is staged beside the collection, and moved there by its commit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bson::doc;
use engine_sdk::database::{Mode, default_connect_timeout, suggestion};
use engine_sdk::prelude::*;
use engine_sdk::types;
use mongodb::Database;

use crate::connection::{Address, Server, check_collection, find_collection, missing_collection, version};
use crate::encode::{Word, columns};
use crate::error::{Failure, NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND, word};
use crate::moving::{Moved, move_documents};
use crate::stage::{Documents, Unique, insert};
use crate::store::{self, FINISHED, digest};

/// Writes rows as documents into a collection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// The deployment: `mongodb://USER:PASSWORD@HOST:27017/DATABASE`, with several
    /// hosts and `?replicaSet=NAME` for a replica set. The login is looked up in
    /// DATABASE unless `authSource` names another one.
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
    /// The collection to write to. The stream's columns become the fields of the
    /// same names. Without a column `_id`, documents get one that tells the
    /// delivery and the row.
    collection: String,
    /// What happens to documents that are there already.
    #[serde(default)]
    mode: Mode,
    /// For `upsert`: the columns that tell documents apart. They need an index,
    /// best a unique one.
    #[serde(default)]
    key: Vec<String>,
    /// Makes the collection when it is missing; for `upsert` with a unique index
    /// on `key`.
    #[serde(default)]
    create: bool,
    /// What columns become that would otherwise stay text: `object_id`, `uuid`,
    /// `decimal` or `json` by the column's name; or `text`, for columns that are
    /// to become text.
    #[serde(default)]
    types: BTreeMap<String, Word>,
}

pub struct MongoSink {
    server: Server,
    collection: String,
    mode: Mode,
    key: Vec<String>,
    create: bool,
    types: BTreeMap<String, Word>,
    /// The window that is being delivered.
    run: SinkRun,
    /// The delivery that is staged, and where.
    open: Option<(String, String)>,
    cx: Context,
}

impl Component for MongoSink {
    type Config = SinkConfig;
    const SUMMARY: &'static str = "Writes rows as documents into a MongoDB collection";

    fn examples() -> Vec<Example> {
        let url = "mongodb://writer:secret@localhost/calls?authSource=admin";
        vec![
            example(
                "add documents, and make the collection if it is missing",
                json!({"url": url, "collection": "calls", "create": true}),
            ),
            example(
                "replace the fields of documents with the same number",
                json!({"url": url, "collection": "accounts", "mode": "upsert", "key": ["account"]}),
            ),
            example(
                "text that becomes object ids and nested documents",
                json!({"url": url, "collection": "calls", "types": {"_id": "object_id", "agent": "json"}}),
            ),
        ]
    }

    fn open(config: SinkConfig, cx: Context) -> Result<Self> {
        check_collection(&config.collection)?;
        config.mode.check_key(&config.key)?;
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout, config.database)?;
        let server = Server::new(address, cx.clone())?;
        Ok(Self {
            server,
            collection: config.collection,
            mode: config.mode,
            key: config.key,
            create: config.create,
            types: config.types,
            run: SinkRun::default(),
            open: None,
            cx,
        })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (name, create) = (&self.collection, self.create);
        let (version, found) = self.server.run(async |database| {
            let version = version(database).await?;
            match find_collection(database, name).await? {
                Some(found) if found.get_str("type").is_ok_and(|kind| kind != "collection") => {
                    Err(not_a_collection(name).into())
                }
                Some(_) => Ok((version, "found")),
                None if create => Ok((version, "will be created")),
                None => Err(missing_collection(database, name).await),
            }
        })?;
        Ok(CheckReport {
            summary: format!("MongoDB {version} at {}, collection {} {found}", self.server.shown(), self.collection),
        })
    }
}

fn not_a_collection(name: &str) -> Error {
    Error::config(format!("`{name}` is a view or a time series, and takes no documents from here"))
        .hint("name the collection behind it")
}

impl Sink for MongoSink {
    const PROMISE: Promise = Promise::Idempotent;

    fn begin_run(&mut self, run: &SinkRun) -> Result<()> {
        self.run = run.clone();
        Ok(())
    }

    /// Of several rows with one key the last one stays, so upserted splits keep their order.
    fn is_parallel(&self) -> bool {
        self.mode != Mode::Upsert
    }

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.open = None;
        let stage = sealed_stage(delivery);
        self.server.run(async |database| {
            if let Some(receipt) = store::find_commit(database, delivery).await? {
                return Ok(Begun::Committed { receipt });
            }
            match stage {
                Some(stage) if find_collection(database, stage).await?.is_some() => Ok(Begun::Sealed),
                _ => Ok(Begun::New),
            }
        })
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        self.open = None;
        self.check_columns(&input.schema())?;
        let stage = format!("{}{}", stage_prefix(delivery), &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let unique = self.prepare(delivery, &stage, &input.schema())?;
        let mut documents = Documents::new(delivery, self.mode, &self.key);
        let (mut rows, mut bytes) = (0, 0);
        for batch in input {
            self.cx.check_cancelled()?;
            let batch = batch?;
            let columns = columns(&batch, &self.types)?;
            let mut from = 0;
            while from < batch.num_rows() {
                let (chunk, next, refused) = documents.chunk(&columns, from, batch.num_rows());
                from = next;
                for (row, bad) in refused {
                    self.cx.reject_rows(&batch.slice(row, 1), bad.code, &bad.reason)?;
                }
                if chunk.is_empty() {
                    continue;
                }
                let (stage, unique) = (&stage, &unique);
                let chunk = &chunk;
                let refused = self.server.run(async |database| {
                    // What the collection would refuse must not count as taken.
                    let duplicates = unique.find(database, chunk).await?;
                    let fresh: Vec<_> = (0..chunk.len()).filter(|at| !duplicates.contains(at)).collect();
                    let documents: Vec<_> = fresh.iter().map(|at| &chunk[*at].document).collect();
                    let mut refused: Vec<_> = insert(database, stage, &documents)
                        .await?
                        .into_iter()
                        .map(|refusal| {
                            (
                                chunk[fresh[refusal.at]].row,
                                word(refusal.code),
                                format!("{} (code {})", refusal.message, refusal.code),
                            )
                        })
                        .collect();
                    refused.extend(duplicates.iter().map(|at| {
                        (
                            chunk[*at].row,
                            "duplicate",
                            "the collection has a document with the same unique key".to_owned(),
                        )
                    }));
                    Ok(refused)
                })?;
                rows += (chunk.len() - refused.len()) as u64;
                bytes += chunk.iter().map(|staged| staged.document.as_bytes().len() as u64).sum::<u64>();
                for (row, code, reason) in refused {
                    self.cx.reject_rows(&batch.slice(row, 1), code, &reason)?;
                }
            }
        }
        let part = json!({"stage": stage, "rows": rows, "bytes": bytes});
        self.open = Some((delivery.key.clone(), stage));
        Ok(Sealed { rows, bytes, parts: vec![part], ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let open = self.open.take().filter(|(key, _)| *key == delivery.key).map(|(_, stage)| stage);
        let stage = open.or(sealed_stage(delivery).map(str::to_owned)).ok_or_else(|| {
            Error::unavailable(format!("what delivery {} had staged is gone", delivery.key))
                .hint("the rows must be written again")
        })?;
        let (mode, collection, shown) = (self.mode, &self.collection, self.server.shown().to_owned());
        let beside = self.replaces().then(|| beside(&self.run, collection));
        let cx = &self.cx;
        self.server.run(async |database| {
            if let Some(receipt) = store::find_commit(database, delivery).await? {
                return Ok(receipt);
            }
            if find_collection(database, &stage).await?.is_none() {
                return Err(Error::unavailable(format!("what delivery {} had staged is gone", delivery.key)).into());
            }
            let target = match &beside {
                Some(beside) => {
                    store::create_like(database, beside, collection, |_| true).await?;
                    beside
                }
                None => collection,
            };
            let Moved { rows, bytes } = move_documents(database, &stage, target, mode, cx).await?;
            let location = Some(format!("{collection} in {shown}"));
            let receipt = Receipt { rows, bytes, location, ..Receipt::default() };
            store::add_commit(database, delivery, &receipt).await?;
            store::drop_collection(database, &stage).await?;
            Ok(receipt)
        })
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        self.open = None;
        let prefix = stage_prefix(delivery);
        self.server.take_back(async |database| drop_all(database, store::names(database, &prefix).await?).await)
    }

    fn finish_run(&mut self, run: &SinkRun) -> Result<()> {
        self.run = run.clone();
        let (replaces, collection) = (self.replaces(), &self.collection);
        self.server.run(async |database| {
            // Those of deliveries that were given up.
            let prefix = run_prefix(&run.state, &run.pipeline, &run.sink);
            let mut old = store::names(database, &prefix).await?;
            old.retain(|name| window_in(name, &prefix).is_some_and(|window| window <= run.window));
            drop_all(database, old).await?;
            if replaces { replace(database, run, collection).await } else { Ok(()) }
        })
    }
}

impl MongoSink {
    /// Whether the window's rows take the place of the others. Dead letters that are tried again
    /// belong to rows that are there.
    fn replaces(&self) -> bool {
        self.mode == Mode::Replace && !self.run.replay
    }

    fn check_columns(&self, schema: &Schema) -> Result<()> {
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        for (setting, name) in
            self.key.iter().map(|name| ("key", name)).chain(self.types.keys().map(|name| ("types", name)))
        {
            if !names().any(|column| column == name) {
                return Err(Error::config(format!("there is no column `{name}`, which `{setting}` names"))
                    .hint(suggestion(name, names())));
            }
        }
        if let Some(name) = names().find(|name| name.starts_with('$')) {
            return Err(Error::config(format!("the column `{name}` would become an operator of MongoDB"))
                .hint("rename it with `select`"));
        }
        let is_path = |name: &&str| name.contains('.') || name.is_empty();
        if let Some(name) = names().find(is_path).filter(|_| self.mode == Mode::Upsert) {
            return Err(Error::config(format!(
                "the column `{name}` would become a path, and `upsert` sets fields by their names"
            ))
            .hint("rename it with `select`"));
        }
        if let Some(name) = names().enumerate().find(|(at, name)| names().take(*at).any(|other| other == *name)) {
            return Err(Error::config(format!("two columns are called `{}`", name.1)).hint("rename one with `select`"));
        }
        Ok(())
    }

    /// Makes the stage, and the collection where it may. Answers what must be unique there.
    fn prepare(&mut self, delivery: &Delivery, stage: &str, schema: &Schema) -> Result<Unique> {
        let (collection, mode, key, create) = (&self.collection, self.mode, &self.key, self.create);
        let replaces = self.replaces();
        let own_ids = schema.field_with_name("_id").is_ok();
        let prefix = stage_prefix(delivery);
        self.server.run(async |database| {
            drop_all(database, store::names(database, &prefix).await?).await?;
            match find_collection(database, collection).await? {
                Some(found) if found.get_str("type").is_ok_and(|kind| kind != "collection") => {
                    return Err(not_a_collection(collection).into());
                }
                Some(_) => {}
                None if create => make(database, collection, mode, key).await?,
                None => return Err(missing_collection(database, collection).await),
            }
            if mode == Mode::Upsert {
                database.run_command(doc! {"create": stage}).await?;
                return Ok(Unique::default());
            }
            store::create_like(database, stage, collection, |index| index.get_bool("unique").unwrap_or(false)).await?;
            if replaces { Ok(Unique::default()) } else { Unique::of(database, collection, own_ids).await }
        })
    }
}

async fn make(database: &Database, collection: &str, mode: Mode, key: &[String]) -> Result<(), Failure> {
    match database.run_command(doc! {"create": collection}).await.map_err(Failure::from) {
        Ok(_) | Err(Failure::Refused { code: NAMESPACE_EXISTS, .. }) => {}
        Err(failure) => return Err(failure),
    }
    if mode == Mode::Upsert && key != ["_id"] {
        let fields: bson::Document = key.iter().map(|name| (name.clone(), bson::Bson::Int32(1))).collect();
        let name = key.join("_");
        database
            .run_command(doc! {"createIndexes": collection, "indexes": [{"key": fields, "name": name, "unique": true}]})
            .await?;
    }
    Ok(())
}

async fn drop_all(database: &Database, names: Vec<String>) -> Result<(), Failure> {
    for name in names {
        store::drop_collection(database, &name).await?;
    }
    Ok(())
}

/// Puts the window's documents in the place of the collection's. Done before: does nothing.
async fn replace(database: &Database, run: &SinkRun, collection: &str) -> Result<(), Failure> {
    let marker = run.marker(FINISHED);
    if store::find_commit(database, &marker).await?.is_some() {
        return Ok(());
    }
    let full = |name: &str| format!("{}.{name}", database.name());
    let rename = doc! {"renameCollection": full(&beside(run, collection)), "to": full(collection), "dropTarget": true};
    match database.client().database("admin").run_command(rename).await.map_err(Failure::from) {
        // Without it no delivery has come, or the exchange was made before.
        Ok(_) | Err(Failure::Refused { code: NAMESPACE_NOT_FOUND, .. }) => {}
        Err(failure) => return Err(failure),
    }
    let prefix = beside_prefix(run, collection);
    let mut old = store::names(database, &prefix).await?;
    old.retain(|name| window_in(name, &prefix).is_some_and(|window| window <= run.window));
    drop_all(database, old).await?;
    store::add_commit(database, &marker, &Receipt::default()).await
}

/// What the names of all stages of one sink begin with.
fn run_prefix(state: &str, pipeline: &str, sink: &str) -> String {
    format!("_engine_stage_{}_", digest(&[state, pipeline, sink]))
}

/// What the names of all stages of a delivery begin with.
fn stage_prefix(delivery: &Delivery) -> String {
    let run = run_prefix(&delivery.state, &delivery.pipeline, &delivery.sink);
    format!("{run}{}_{}_", delivery.window, digest(&[&delivery.split]))
}

fn sealed_stage(delivery: &Delivery) -> Option<&str> {
    let stage = delivery.sealed.as_ref()?.parts.first()?.get("stage")?.as_str()?;
    stage.starts_with(&stage_prefix(delivery)).then_some(stage)
}

fn beside_prefix(run: &SinkRun, collection: &str) -> String {
    format!("_engine_replace_{}_", digest(&[&run.state, &run.pipeline, &run.sink, collection]))
}

/// The collection beside another one, for a window.
fn beside(run: &SinkRun, collection: &str) -> String {
    format!("{}{}", beside_prefix(run, collection), run.window)
}

/// The window that a name tells behind its prefix.
fn window_in(name: &str, prefix: &str) -> Option<u64> {
    let rest = name.strip_prefix(prefix)?;
    rest.split_once('_').map_or(rest, |(window, _)| window).parse().ok()
}
