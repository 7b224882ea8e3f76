//! What the sink keeps beside a collection: stages, collections that replace it, keys of deliveries.

use bson::{Bson, Document, doc};
use engine_sdk::prelude::*;
use mongodb::Database;
use sha2::{Digest, Sha256};

use crate::connection::find_collection;
use crate::error::{Failure, NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND};

/// The collection of the keys of deliveries.
const COMMITS: &str = "_engine_commits";
/// What has taken the place of the window's split once a window has replaced all.
pub const FINISHED: &str = "*finished*";

/// A short name for something with long ones.
pub fn digest(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\0").as_bytes());
    engine_sdk::hexadecimal::write(&digest[..8])
}

fn id(delivery: &Delivery) -> Result<Document> {
    let window = window(delivery.window)?;
    Ok(doc! {
        "state": &delivery.state, "pipeline": &delivery.pipeline, "sink": &delivery.sink, "window": window,
        "split": &delivery.split,
    })
}

fn window(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::internal(format!("window {number} is too large a number")))
}

/// The receipt of a delivery that has been committed.
pub async fn find_commit(database: &Database, delivery: &Delivery) -> Result<Option<Receipt>, Failure> {
    let found = database.collection::<Document>(COMMITS).find_one(doc! {"_id": id(delivery)?}).await?;
    // An older or newer engine's receipt is still a commit.
    Ok(found.map(|found| {
        found.get_str("receipt").ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }))
}

/// Keeps a delivery's key, and forgets those that never come again.
pub async fn add_commit(database: &Database, delivery: &Delivery, receipt: &Receipt) -> Result<(), Failure> {
    let receipt = serde_json::to_string(receipt)
        .map_err(|error| Error::internal(format!("a receipt cannot be written: {error}")))?;
    let commits = database.collection::<Document>(COMMITS);
    let set = doc! {"$set": {"receipt": receipt, "committed_at": bson::DateTime::now()}};
    commits.update_one(doc! {"_id": id(delivery)?}, set).upsert(true).await?;
    let settled = doc! {
        "_id.state": &delivery.state, "_id.pipeline": &delivery.pipeline, "_id.sink": &delivery.sink,
        "_id.window": {"$lt": window(delivery.settled_before)?},
    };
    commits.delete_many(settled).await?;
    Ok(())
}

/// Names of collections that begin so.
pub async fn names(database: &Database, prefix: &str) -> Result<Vec<String>, Failure> {
    let filter = doc! {"name": {"$gte": prefix, "$lt": format!("{prefix}\u{10ffff}")}};
    let mut names = database.list_collection_names().filter(filter).await?;
    names.retain(|name| name.starts_with(prefix));
    Ok(names)
}

/// Drops a collection, if it is there.
pub async fn drop_collection(database: &Database, name: &str) -> Result<(), Failure> {
    match database.run_command(doc! {"drop": name}).await.map_err(Failure::from) {
        Ok(_) | Err(Failure::Refused { code: NAMESPACE_NOT_FOUND, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// The indexes of a collection beside the one on `_id`; none of one that is not there.
pub async fn indexes(database: &Database, name: &str) -> Result<Vec<Document>, Failure> {
    let answer = match database
        .run_command(doc! {"listIndexes": name, "cursor": {"batchSize": 1000}})
        .await
        .map_err(Failure::from)
    {
        Ok(answer) => answer,
        Err(Failure::Refused { code: NAMESPACE_NOT_FOUND, .. }) => return Ok(vec![]),
        Err(failure) => return Err(failure),
    };
    let batch = answer.get_document("cursor").ok().and_then(|cursor| cursor.get_array("firstBatch").ok());
    let indexes = batch.into_iter().flatten().filter_map(Bson::as_document).cloned();
    Ok(indexes.filter(|index| !index.get_str("name").is_ok_and(|name| name == "_id_")).collect())
}

/// Makes a collection like another one: with its rules for documents, and the indexes that `wanted` picks.
pub async fn create_like(
    database: &Database,
    name: &str,
    like: &str,
    wanted: impl Fn(&Document) -> bool,
) -> Result<(), Failure> {
    let mut create = doc! {"create": name};
    if let Some(found) = find_collection(database, like).await?
        && let Ok(options) = found.get_document("options")
    {
        for option in ["validator", "validationLevel", "validationAction", "collation"] {
            if let Some(value) = options.get(option) {
                create.insert(option, value.clone());
            }
        }
    }
    match database.run_command(create).await.map_err(Failure::from) {
        Ok(_) | Err(Failure::Refused { code: NAMESPACE_EXISTS, .. }) => {}
        Err(failure) => return Err(failure),
    }
    let indexes: Vec<_> = indexes(database, like)
        .await?
        .into_iter()
        .filter(wanted)
        .map(|mut index| {
            index.remove("ns");
            index
        })
        .collect();
    if !indexes.is_empty() {
        database.run_command(doc! {"createIndexes": name, "indexes": indexes}).await?;
    }
    Ok(())
}
