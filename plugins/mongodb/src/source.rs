//! The source: documents that match a filter, or the results of a pipeline.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use bson::{Bson, Document};
use engine_sdk::database::{Cursor, default_batch, default_connect_timeout};
use engine_sdk::prelude::*;
use engine_sdk::types;
use indexmap::IndexMap;
use serde_json::Map;

use crate::columns::UnknownFields;
use crate::connection::{Address, Server, check_collection, version};
use crate::decode::{Decoder, schema};
use crate::error::{Failure, NO_SNAPSHOT};
use crate::kind::{Declared, Kind, Nested};
use crate::plan;
use crate::query::{Piece, Query};
use crate::rows::Rows;

/// Reads documents of a collection, or the results of an aggregation pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
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
    /// How long the deployment may take until it answers: with the first rows of a
    /// query, and with more of them. Unset: as long as it takes.
    #[serde(default)]
    timeout: Option<types::Duration>,
    /// The database. Unset: the one in `url`.
    #[serde(default)]
    database: Option<String>,
    /// The collection or view to read.
    collection: String,
    /// Which documents: a query of MongoDB as Extended JSON, such as
    /// `{"status": "done", "at": {"$gte": {"$date": "2025-01-01T00:00:00Z"}}}`.
    #[serde(default)]
    filter: Option<Map<String, Value>>,
    /// An aggregation pipeline, as a list of stages in Extended JSON, instead of
    /// `filter` and `fields`.
    #[serde(default)]
    pipeline: Option<Vec<Map<String, Value>>>,
    /// Only these fields: names, or paths such as `address.city`. `_id` is left
    /// out unless it is named. Unset: all.
    #[serde(default)]
    fields: Vec<String>,
    /// The columns and their types: `text`, `integer`, `int32`, `number`, `decimal`,
    /// `decimal(12,2)`, `boolean`, `timestamptz`, `binary`, `object_id`, `uuid`,
    /// `json`; `[TYPE]` for a list, `{FIELD: TYPE, …}` for a document. Unset: found
    /// out from the first documents of each window.
    #[serde(default)]
    columns: IndexMap<String, Declared>,
    /// From how many documents the columns are found out, as far as these have no
    /// more than 16 MiB.
    #[serde(default = "thousand")]
    sample: NonZeroU32,
    /// What becomes of documents and arrays inside documents.
    #[serde(default)]
    nested: Nested,
    /// What becomes of fields that no column takes.
    #[serde(default)]
    unknown_fields: UnknownFields,
    /// Reads only what is new since the last run. `column` is a field or a path.
    #[serde(default)]
    cursor: Option<Cursor>,
    /// The field by whose ranges the collection is cut into `splits`. It needs an
    /// index. Unset: `_id`.
    #[serde(default)]
    key: Option<String>,
    /// How many splits to make: ranges of about as many documents each, each read
    /// and delivered on its own. Unset: one, or 4 where there is a `key`.
    #[serde(default)]
    splits: Option<NonZeroU16>,
    /// The most rows of a batch.
    #[serde(default = "default_batch")]
    batch: NonZeroU32,
}

fn thousand() -> NonZeroU32 {
    NonZeroU32::new(1000).expect("not zero")
}

/// What is read, and how it is planned.
pub struct Extraction {
    pub query: Query,
    pub columns: Option<IndexMap<String, Kind>>,
    pub sample: u32,
    pub nested: Nested,
    pub cursor: Option<Cursor>,
    pub cut: Option<(String, u16)>,
}

pub struct MongoSource {
    address: Address,
    extraction: Extraction,
    unknown: UnknownFields,
    batch: usize,
    /// The connections that planned.
    home: Option<Server>,
    cx: Context,
}

impl Component for MongoSource {
    type Config = SourceConfig;
    const SUMMARY: &'static str = "Reads documents of a MongoDB collection";

    fn examples() -> Vec<Example> {
        let url = "mongodb://reader:secret@localhost/calls?authSource=admin";
        vec![
            example("a collection", json!({"url": url, "collection": "calls"})),
            example(
                "some fields of some documents, with fixed types",
                json!({
                    "url": url,
                    "collection": "calls",
                    "filter": {"status": "done", "seconds": {"$gt": 0}},
                    "fields": ["_id", "number", "seconds", "agent"],
                    "columns": {"_id": "object_id", "number": "text", "seconds": "integer", "agent": {"name": "text", "skills": ["text"]}}
                }),
            ),
            example(
                "what is new since the last run, but nothing younger than a minute",
                json!({"url": url, "collection": "calls", "cursor": {"column": "changed", "key": "_id", "lag": "1m"}}),
            ),
            example(
                "the results of a pipeline",
                json!({
                    "url": url,
                    "collection": "calls",
                    "pipeline": [{"$group": {"_id": "$number", "calls": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
                }),
            ),
            example("a large collection in eight splits", json!({"url": url, "collection": "calls", "splits": 8})),
        ]
    }

    fn open(config: SourceConfig, cx: Context) -> Result<Self> {
        check_collection(&config.collection)?;
        let query = Query::new(config.collection, config.filter, config.pipeline, &config.fields)?;
        if let Some(cursor) = &config.cursor {
            if cursor.query.is_some() || cursor.column.is_none() {
                return Err(Error::config("a cursor of MongoDB goes by `column`, and has no `query`"));
            }
            if cursor.column == cursor.key {
                return Err(Error::config("`cursor.key` is the field that `cursor.column` is"));
            }
            if cursor.time_zone.is_some() {
                return Err(Error::config("`cursor.time_zone` means nothing here: dates of MongoDB are moments"));
            }
        }
        let cut = match (config.key, config.splits) {
            (None, None) => None,
            (key, splits) => Some((key.unwrap_or_else(|| "_id".into()), splits.map_or(4, NonZeroU16::get))),
        };
        if cut.is_some() && query.pipeline.is_some() {
            return Err(Error::config("`splits` and `key` cut a collection, not the results of a `pipeline`"));
        }
        let columns: IndexMap<_, _> =
            config.columns.into_iter().map(|(name, kind)| Ok((name, kind.kind()?))).collect::<Result<_>>()?;
        let columns = Some(columns).filter(|columns| !columns.is_empty());
        let ca = config.ca.map(|path| cx.resolve(path));
        let address = Address::new(&config.url, config.tls, ca, config.connect_timeout, config.database)?
            .answering_within(config.timeout);
        let extraction = Extraction {
            query,
            columns,
            sample: config.sample.get(),
            nested: config.nested,
            cursor: config.cursor,
            cut,
        };
        let batch = usize::try_from(config.batch.get()).unwrap_or(usize::MAX);
        Ok(Self { address, extraction, unknown: config.unknown_fields, batch, home: None, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let extraction = &self.extraction;
        let (version, columns) = server.run(async |database| {
            plan::require(database, &extraction.query.collection).await?;
            let columns =
                plan::columns(database, extraction, &extraction.query.piece(vec![], Document::new(), None)).await?;
            Ok((version(database).await?, columns.len()))
        })?;
        let what = &self.extraction.query.collection;
        Ok(CheckReport {
            summary: format!(
                "MongoDB {version} at {}, collection {what} with {}",
                self.address.shown(),
                engine_sdk::counted(columns, "column")
            ),
        })
    }
}

impl Source for MongoSource {
    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let mut server = Server::new(self.address.clone(), self.cx.clone())?;
        let extraction = &self.extraction;
        let (plan, snapshot) = server.run(async |database| {
            plan::require(database, &extraction.query.collection).await?;
            let snapshot = plan::snapshot(database, &extraction.query.collection).await?;
            Ok((plan::plan(database, extraction, request, snapshot).await?, snapshot))
        })?;
        if snapshot.is_none() && plan.splits.len() > 1 {
            self.cx.log(Level::Warn, "the server gives no snapshot away: each split is read as the collection is then");
        }
        self.home = Some(server);
        Ok(plan)
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let mut piece: Piece = split.spec_as()?;
        let mut server = match self.home.take() {
            Some(server) => server,
            None => Server::new(self.address.clone(), self.cx.clone())?,
        };
        let (batch, cx) = (self.batch, &self.cx);
        let cursor = server.run(async |database| {
            loop {
                match database.run_cursor_command(piece.command(batch, None)?).await.map_err(Failure::from) {
                    Ok(cursor) => return Ok(cursor),
                    Err(Failure::Refused { code, .. }) if piece.snapshot.is_some() && NO_SNAPSHOT.contains(&code) => {
                        cx.log(
                            Level::Warn,
                            "the moment at which this window was planned can no longer be seen; documents that were \
                             changed since are read as they are now",
                        );
                        piece.snapshot = None;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        })?;
        let schema = schema(&piece.columns, self.unknown);
        let decoder = Decoder::new(&piece.columns, self.unknown);
        Ok(Batches::new(schema, Rows::new(server, cursor, decoder, self.batch, self.cx.clone())))
    }
}

/// A value of the settings as BSON: Extended JSON.
pub fn from_json(setting: &str, value: Value) -> Result<Bson> {
    Bson::try_from(value).map_err(|error| {
        Error::config(format!("`{setting}` is no Extended JSON: {error}"))
            .hint("write dates as {\"$date\": \"2025-01-01T00:00:00Z\"} and object ids as {\"$oid\": \"…\"}")
    })
}
