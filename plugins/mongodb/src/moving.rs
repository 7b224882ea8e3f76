//! From a stage into the collection. Done twice, it gives the same documents.

use std::sync::Arc;

use arrow_array::StringArray;
use bson::raw::{RawArrayBuf, cstr};
use bson::{Bson, Document, RawDocumentBuf, doc};
use engine_sdk::database::Mode;
use engine_sdk::prelude::*;
use mongodb::Database;

use crate::error::{DUPLICATE_KEY, Failure, kind, word};
use crate::json::{self, Form};
use crate::stage::{Refusal, insert};

/// What is moved at a time.
const CHUNK_ROWS: usize = 2000;
const CHUNK_BYTES: usize = 8 << 20;

/// What has got into the collection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moved {
    pub rows: u64,
    pub bytes: u64,
}

/// Moves all documents of a stage. What the collection refuses only now, because somebody else has
/// changed it meanwhile or because it is an update, becomes a dead letter.
pub async fn move_documents(
    database: &Database,
    stage: &str,
    target: &str,
    mode: Mode,
    cx: &Context,
) -> Result<Moved, Failure> {
    let mut moved = Moved::default();
    let find = doc! {"find": stage, "sort": {"_id": 1}, "batchSize": CHUNK_ROWS as i32};
    let mut cursor = database.run_cursor_command(find).await?;
    let mut more = true;
    while more {
        cx.check_cancelled()?;
        let (mut chunk, mut bytes) = (vec![], 0);
        while chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            more = cursor.advance().await?;
            if !more {
                break;
            }
            bytes += cursor.current().as_bytes().len();
            chunk.push(cursor.current().to_owned());
        }
        if chunk.is_empty() {
            break;
        }
        let refused = match mode {
            Mode::Upsert => update(database, target, &chunk).await?,
            Mode::Append | Mode::Replace => {
                let refused = insert(database, target, &chunk.iter().collect::<Vec<_>>()).await?;
                others(database, target, &chunk, refused).await?
            }
        };
        moved.rows += (chunk.len() - refused.len()) as u64;
        moved.bytes += bytes as u64;
        for refusal in refused {
            let reason = format!("{} (code {})", refusal.message, refusal.code);
            cx.reject_rows(&letter(&chunk[refusal.at]), word(refusal.code), &reason)?;
        }
    }
    Ok(moved)
}

/// Without what an earlier try of the same delivery has moved.
async fn others(
    database: &Database,
    target: &str,
    chunk: &[RawDocumentBuf],
    refused: Vec<Refusal>,
) -> Result<Vec<Refusal>, Failure> {
    let mut others = vec![];
    for refusal in refused {
        let document = &chunk[refusal.at];
        if refusal.code == DUPLICATE_KEY
            && let Ok(Some(id)) = document.get("_id")
            && let Ok(id) = Bson::try_from(id)
        {
            let there = database.collection::<RawDocumentBuf>(target).find_one(doc! {"_id": {"$eq": id}}).await?;
            if there.is_some_and(|there| there.as_bytes() == document.as_bytes()) {
                continue;
            }
        }
        others.push(refusal);
    }
    Ok(others)
}

async fn update(database: &Database, target: &str, chunk: &[RawDocumentBuf]) -> Result<Vec<Refusal>, Failure> {
    let damaged = |_| Error::internal("a staged document is damaged");
    let mut updates = RawArrayBuf::new();
    for staged in chunk {
        let mut update = RawDocumentBuf::new();
        update.append(cstr!("q"), staged.get_document("q").map_err(damaged)?);
        update.append(cstr!("u"), staged.get_document("u").map_err(damaged)?);
        update.append(cstr!("upsert"), true);
        updates.push(update);
    }
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("update"), target);
    command.append(cstr!("ordered"), false);
    command.append(cstr!("updates"), updates);
    let mut concern = RawDocumentBuf::new();
    concern.append(cstr!("w"), "majority");
    command.append(cstr!("writeConcern"), concern);
    let answer = database.run_raw_command(command).await?;
    let mut refused = vec![];
    for error in answer.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
        let (at, code) = (number(error, "index"), number(error, "code"));
        let message = error.get_str("errmsg").unwrap_or("it did not say why").to_owned();
        if kind(code) != ErrorKind::Rejected {
            return Err(Failure::Refused { code, message });
        }
        refused.push(Refusal { at: usize::try_from(at).unwrap_or(0).min(chunk.len() - 1), code, message });
    }
    if let Ok(error) = answer.get_document("writeConcernError") {
        let message = error.get_str("errmsg").unwrap_or_default().to_owned();
        return Err(Failure::Refused { code: number(error, "code"), message });
    }
    Ok(refused)
}

fn number(document: &Document, name: &str) -> i32 {
    match document.get(name) {
        Some(Bson::Int32(number)) => *number,
        Some(Bson::Int64(number)) => i32::try_from(*number).unwrap_or(i32::MAX),
        _ => -1,
    }
}

fn letter(document: &RawDocumentBuf) -> RecordBatch {
    // It was written by this sink, and no deeper than its columns are.
    let text = json::document(document, Form::Canonical).unwrap_or_default();
    RecordBatch::try_from_iter([("document", Arc::new(StringArray::from(vec![text])) as _)])
        .expect("one column of one row")
}
