//! Rows as documents in a delivery's stage.

use std::collections::{HashMap, HashSet};

use bson::{Bson, Document, RawDocumentBuf, doc};
use engine_sdk::database::Mode;
use engine_sdk::prelude::*;
use mongodb::Database;
use mongodb::error::ErrorKind as Driver;

use crate::encode::{Bad, Column, begin, end, inside, text};
use crate::error::{Failure, kind};
use crate::store::{digest, indexes};
use crate::value::at_path;

/// What goes to the server at a time.
const CHUNK_ROWS: usize = 2000;
const CHUNK_BYTES: usize = 8 << 20;
/// How many documents are looked for at a time.
const LOOKUP: usize = 500;

/// A document on its way to the stage.
pub struct Staged {
    /// Its row in the batch.
    pub row: usize,
    pub document: RawDocumentBuf,
}

/// Makes documents of rows.
pub struct Documents<'a> {
    mode: Mode,
    key: &'a [String],
    /// What the ids of the delivery's documents begin with: they sort in the order of the rows, and
    /// a repeated delivery gives the same ones.
    prefix: String,
    /// Of the next row in the delivery.
    ordinal: u64,
}

impl<'a> Documents<'a> {
    pub fn new(delivery: &Delivery, mode: Mode, key: &'a [String]) -> Self {
        let sink = digest(&[&delivery.state, &delivery.pipeline, &delivery.sink]);
        Self { mode, key, prefix: format!("{sink}-{:010}-{}", delivery.window, delivery.split), ordinal: 0 }
    }

    /// As many documents as go to the server at a time; the row to go on with; rows that are none.
    pub fn chunk(&mut self, columns: &[Column], from: usize, rows: usize) -> (Vec<Staged>, usize, Vec<(usize, Bad)>) {
        let (mut chunk, mut refused, mut bytes, mut row) = (vec![], vec![], 0, from);
        while row < rows && chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let id = format!("{}-{:010}", self.prefix, self.ordinal);
            self.ordinal += 1;
            let mut out = Vec::with_capacity(256);
            let written = match self.mode {
                Mode::Upsert => self.update(columns, row, &id, &mut out),
                Mode::Append | Mode::Replace => document(columns, row, &id, &mut out),
            };
            let document = written.and_then(|()| {
                RawDocumentBuf::from_bytes(out)
                    .map_err(|_| Bad { code: "refused", reason: "it makes no document".into() })
            });
            match document {
                Ok(document) => {
                    bytes += document.as_bytes().len();
                    chunk.push(Staged { row, document });
                }
                Err(bad) => refused.push((row, bad)),
            }
            row += 1;
        }
        (chunk, row, refused)
    }

    /// `{_id, q, u}`: what an update command takes.
    fn update(&self, columns: &[Column], row: usize, id: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
        let is_key = |column: &&Column| self.key.iter().any(|name| name == column.name());
        if let Some(column) = columns.iter().filter(is_key).find(|column| column.is_null(row)) {
            return Err(Bad { code: "null", reason: format!("column `{}` of the key has no value", column.name()) });
        }
        let start = begin(out);
        text("_id", id, out)?;
        inside("q", out, |out| {
            for column in columns.iter().filter(is_key) {
                // An operator of its own: a document as a value must not be read as operators.
                inside(column.name(), out, |out| column.write_as("$eq", row, out))?;
            }
            Ok(())
        })?;
        inside("u", out, |out| {
            let id_column = columns.iter().find(|column| column.name() == "_id");
            let set = || columns.iter().filter(|column| column.name() != "_id" && !is_key(column));
            if set().next().is_some() {
                inside("$set", out, |out| set().try_for_each(|column| column.write(row, out)))?;
            }
            if id_column.is_some_and(|column| is_key(&column)) {
                // The query gives it; without anything to set, there is nothing to change.
                return if set().next().is_none() {
                    inside("$setOnInsert", out, |out| id_column.map_or(Ok(()), |column| column.write(row, out)))
                } else {
                    Ok(())
                };
            }
            inside("$setOnInsert", out, |out| match id_column.filter(|column| !column.is_null(row)) {
                Some(column) => column.write(row, out),
                None => text("_id", id, out),
            })
        })?;
        end(start, out)
    }
}

fn document(columns: &[Column], row: usize, id: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
    let start = begin(out);
    match columns.iter().find(|column| column.name() == "_id").filter(|column| !column.is_null(row)) {
        Some(column) => column.write(row, out)?,
        None => text("_id", id, out)?,
    }
    for column in columns.iter().filter(|column| column.name() != "_id") {
        column.write(row, out)?;
    }
    end(start, out)
}

/// A document that the server refused.
pub struct Refusal {
    /// Its place among those that were sent.
    pub at: usize,
    pub code: i32,
    pub message: String,
}

/// Inserts documents. Those that the server refuses for what is in them do not cost the others.
pub async fn insert(
    database: &Database,
    collection: &str,
    documents: &[&RawDocumentBuf],
) -> Result<Vec<Refusal>, Failure> {
    if documents.is_empty() {
        return Ok(vec![]);
    }
    let target = database.collection::<RawDocumentBuf>(collection);
    let error = match target.insert_many(documents.iter().copied()).ordered(false).await {
        Ok(_) => return Ok(vec![]),
        Err(error) => error,
    };
    let Driver::InsertMany(many) = error.kind.as_ref() else { return Err(error.into()) };
    if let Some(concern) = &many.write_concern_error {
        return Err(Failure::Refused { code: concern.code, message: concern.message.clone() });
    }
    let mut refused = vec![];
    for write in many.write_errors.iter().flatten() {
        if kind(write.code) != ErrorKind::Rejected {
            return Err(Failure::Refused { code: write.code, message: write.message.clone() });
        }
        refused.push(Refusal { at: write.index, code: write.code, message: write.message.clone() });
    }
    if refused.is_empty() {
        return Err(error.into());
    }
    Ok(refused)
}

/// What must be unique in a collection.
#[derive(Default)]
pub struct Unique(Vec<Vec<String>>, String);

impl Unique {
    /// Partial indexes are left to the moment when the documents are moved.
    pub async fn of(database: &Database, collection: &str, own_ids: bool) -> Result<Self, Failure> {
        let mut unique: Vec<Vec<String>> = own_ids.then(|| vec!["_id".to_owned()]).into_iter().collect();
        for index in indexes(database, collection).await? {
            let partial = index.contains_key("partialFilterExpression") || index.contains_key("collation");
            if index.get_bool("unique").unwrap_or(false)
                && !partial
                && let Ok(fields) = index.get_document("key")
            {
                unique.push(fields.keys().cloned().collect());
            }
        }
        Ok(Self(unique, collection.to_owned()))
    }

    /// The places of documents whose keys the collection has already, in other documents.
    pub async fn find(&self, database: &Database, chunk: &[Staged]) -> Result<HashSet<usize>, Failure> {
        let mut found = HashSet::new();
        if self.0.is_empty() {
            return Ok(found);
        }
        let read = |staged: &Staged| {
            Document::try_from(staged.document.as_ref()).map_err(|_| Error::internal("a staged document is damaged"))
        };
        let documents = chunk.iter().map(read).collect::<Result<Vec<_>>>()?;
        for fields in &self.0 {
            for (at, part) in documents.chunks(LOOKUP).enumerate() {
                look(database, &self.1, fields, part, at * LOOKUP, &mut found).await?;
            }
        }
        Ok(found)
    }
}

async fn look(
    database: &Database,
    collection: &str,
    fields: &[String],
    part: &[Document],
    offset: usize,
    found: &mut HashSet<usize>,
) -> Result<(), Failure> {
    let conditions: Vec<Document> = part.iter().map(|document| same_key(document, fields)).collect();
    let places: HashMap<String, usize> =
        part.iter().enumerate().map(|(at, document)| (key_of(document, fields), at)).collect();
    let mut cursor = database.collection::<Document>(collection).find(doc! {"$or": conditions}).await?;
    while cursor.advance().await? {
        let there = Document::try_from(cursor.current()).map_err(|_| Error::internal("a document is damaged"))?;
        if let Some(at) = places.get(&key_of(&there, fields)) {
            // The same document: an earlier try of this delivery has brought it.
            if part[*at] != there {
                found.insert(offset + at);
            }
        }
    }
    Ok(())
}

/// The values of a key. Numbers of several types are one where the server takes them for one.
fn key_of(document: &Document, fields: &[String]) -> String {
    let values = fields.iter().map(|field| match at_path(document, field) {
        None => Bson::Null,
        Some(Bson::Int32(number)) => Bson::Int64((*number).into()),
        Some(Bson::Double(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Bson::Int64(*number as i64),
        Some(value) => value.clone(),
    });
    format!("{:?}", values.collect::<Vec<_>>())
}

/// The condition that a document has the same key.
fn same_key(document: &Document, fields: &[String]) -> Document {
    let equal = |field: &String| {
        let value = at_path(document, field).cloned().unwrap_or(Bson::Null);
        (field.clone(), Bson::Document(doc! {"$eq": value}))
    };
    fields.iter().map(equal).collect()
}
