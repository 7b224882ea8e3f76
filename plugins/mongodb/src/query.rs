//! What is read, as MongoDB's commands.

use bson::{Bson, Document, Timestamp, doc};
use engine_sdk::prelude::*;
use indexmap::IndexMap;
use serde_json::Map;

use crate::kind::Kind;
use crate::source::from_json;

/// What the settings select.
#[derive(Debug, Clone)]
pub struct Query {
    pub collection: String,
    pub filter: Document,
    pub pipeline: Option<Vec<Document>>,
    projection: Document,
}

impl Query {
    pub fn new(
        collection: String,
        filter: Option<Map<String, Value>>,
        pipeline: Option<Vec<Map<String, Value>>>,
        fields: &[String],
    ) -> Result<Self> {
        if pipeline.is_some() && (filter.is_some() || !fields.is_empty()) {
            return Err(Error::config("a `pipeline` stands instead of `filter` and `fields`")
                .hint("write the stages {\"$match\": …} and {\"$project\": …} instead"));
        }
        let document = |setting: &str, object: Map<String, Value>| match from_json(setting, Value::Object(object))? {
            Bson::Document(document) => Ok(document),
            _ => Err(Error::config(format!("`{setting}` is a value, and not a document"))),
        };
        let filter = filter.map(|filter| document("filter", filter)).transpose()?.unwrap_or_default();
        let pipeline = pipeline
            .map(|stages| stages.into_iter().map(|stage| document("pipeline", stage)).collect::<Result<Vec<_>>>())
            .transpose()?;
        if let Some(stage) =
            pipeline.iter().flatten().find(|stage| stage.contains_key("$out") || stage.contains_key("$merge"))
        {
            let name = stage.keys().next().map_or("", String::as_str);
            return Err(Error::config(format!("the stage {name} of `pipeline` writes, and a source only reads"))
                .hint("leave it out, and use a mongodb sink"));
        }
        let mut projection = Document::new();
        for field in fields {
            if field.is_empty() || field.starts_with('$') || field.contains('\0') {
                return Err(Error::config(format!("`{}` in `fields` is no field", field.escape_debug())));
            }
            projection.insert(field, 1);
        }
        if !fields.is_empty() && !fields.iter().any(|field| field == "_id") {
            projection.insert("_id", 0);
        }
        Ok(Self { collection, filter, pipeline, projection })
    }

    /// The fields that are asked for by name, at the top.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let asked = self.projection.iter().filter(|(_, asked)| **asked == Bson::Int32(1));
        asked.map(|(path, _)| path.split_once('.').map_or(path.as_str(), |(name, _)| name))
    }

    /// A part of it: what meets the conditions, in this order.
    pub fn piece(&self, conditions: Vec<Document>, sort: Document, snapshot: Option<Timestamp>) -> Piece {
        let mut all: Vec<_> = conditions;
        if !self.filter.is_empty() {
            all.insert(0, self.filter.clone());
        }
        let filter = match all.len() {
            0 => Document::new(),
            1 => all.remove(0),
            _ => doc! {"$and": all},
        };
        let json = |document: Document| Bson::Document(document).into_canonical_extjson();
        let pipeline = self.pipeline.clone().map(|mut stages| {
            if !filter.is_empty() {
                stages.push(doc! {"$match": filter.clone()});
            }
            if !sort.is_empty() {
                stages.push(doc! {"$sort": sort.clone()});
            }
            stages.into_iter().map(json).collect()
        });
        Piece {
            collection: self.collection.clone(),
            filter: if pipeline.is_some() { Value::Null } else { json(filter) },
            pipeline,
            projection: json(self.projection.clone()),
            sort: json(sort),
            columns: IndexMap::new(),
            snapshot: snapshot.map(|at| (at.time, at.increment)),
        }
    }
}

/// What one split reads: all that it takes to read it again, from any machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub collection: String,
    /// All conditions: the settings', the window's, the range's.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    filter: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pipeline: Option<Vec<Value>>,
    projection: Value,
    sort: Value,
    pub columns: IndexMap<String, Kind>,
    /// The moment at which the window was planned, for as long as the server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<(u32, u32)>,
}

impl Piece {
    /// The command that reads it.
    pub fn command(&self, batch: usize, limit: Option<u32>) -> Result<Document> {
        let batch = i32::try_from(batch).unwrap_or(i32::MAX);
        let document = |value: &Value| match from_json("spec", value.clone())? {
            Bson::Document(document) => Ok(document),
            _ => Err(Error::internal("a part of a split is no document")),
        };
        let mut command = match &self.pipeline {
            Some(stages) => {
                let mut stages = stages.iter().map(document).collect::<Result<Vec<_>>>()?;
                stages.extend(limit.map(|limit| doc! {"$limit": i64::from(limit)}));
                doc! {"aggregate": &self.collection, "pipeline": stages, "cursor": {"batchSize": batch}, "allowDiskUse": true}
            }
            None => {
                let mut command = doc! {
                    "find": &self.collection, "filter": document(&self.filter)?, "sort": document(&self.sort)?,
                    "projection": document(&self.projection)?, "batchSize": batch, "allowDiskUse": true,
                };
                if let Some(limit) = limit {
                    command.insert("limit", i64::from(limit));
                }
                command
            }
        };
        if let Some((time, increment)) = self.snapshot {
            command.insert("readConcern", doc! {"level": "snapshot", "atClusterTime": Timestamp { time, increment }});
        }
        Ok(command)
    }
}
