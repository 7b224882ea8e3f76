//! Which documents a run reads, in how many pieces, and as which columns.

use bson::{Bson, Document, Timestamp, doc};
use engine_sdk::database::{Cursor, Position};
use engine_sdk::prelude::*;
use indexmap::IndexMap;
use mongodb::Database;

use crate::connection::{find_collection, missing_collection};
use crate::error::{Failure, kind};
use crate::kind::{COLUMNS, Kind};
use crate::query::{Piece, Query};
use crate::source::Extraction;
use crate::value::{self, Class, at_path, class, of_scalar, to_scalar};

/// Of documents from which columns are found out.
const SAMPLE_BYTES: usize = 16 << 20;

/// Refuses a collection that is not there, which the server takes for an empty one.
pub async fn require(database: &Database, collection: &str) -> Result<(), Failure> {
    match find_collection(database, collection).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(missing_collection(database, collection).await),
        // Who may read a collection need not be one who may list them.
        Err(Failure::Refused { code, .. }) if kind(code) == ErrorKind::Denied && code == 13 => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// A moment at which all splits can be read, where the server has such.
pub async fn snapshot(database: &Database, collection: &str) -> Result<Option<Timestamp>, Failure> {
    let command = doc! {
        "find": collection, "limit": 1, "singleBatch": true, "projection": {"_id": 1},
        "readConcern": {"level": "snapshot"},
    };
    match database.run_command(command).await.map_err(Failure::from) {
        Ok(answer) => {
            Ok(answer.get_document("cursor").ok().and_then(|cursor| cursor.get_timestamp("atClusterTime").ok()))
        }
        // A server alone has none, nor have views and some collections.
        Err(Failure::Refused { code, .. }) if kind(code) == ErrorKind::Denied => {
            Err(Failure::Refused { code, message: format!("the login may not read {collection}") })
        }
        Err(Failure::Refused { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Plans a window.
pub async fn plan(
    database: &Database,
    extraction: &Extraction,
    request: &PlanRequest,
    snapshot: Option<Timestamp>,
) -> Result<Plan, Failure> {
    let query = &extraction.query;
    let (mut conditions, mut sort, mut upper) = (vec![], Document::new(), None);
    if let Some(cursor) = &extraction.cursor {
        let Some(window) = window(database, query, cursor, request).await? else {
            // Nothing new.
            return Ok(Plan { upper: request.cursor.clone(), splits: vec![], ..Plan::default() });
        };
        conditions.extend(window.conditions);
        sort.extend(window.sort);
        upper = Some(json!(window.to));
    }
    let ranges = match &extraction.cut {
        Some((key, splits)) => ranges(database, query, &conditions, key, *splits).await?,
        None => vec![],
    };
    if let Some((key, _)) = extraction.cut.as_ref().filter(|(key, _)| !sort.contains_key(key)) {
        sort.insert(key, 1);
    }
    if query.pipeline.is_none() && !sort.contains_key("_id") {
        sort.insert("_id", 1);
    }
    let whole = query.piece(conditions.clone(), sort.clone(), snapshot);
    let columns = columns(database, extraction, &whole).await?;
    if columns.is_empty() {
        return Ok(Plan { upper, splits: vec![], ..Plan::default() });
    }
    let ranges = if ranges.is_empty() { vec![None] } else { ranges.into_iter().map(Some).collect() };
    let split = |(at, range): (usize, Option<Document>)| {
        let conditions = conditions.iter().cloned().chain(range).collect();
        let mut piece = query.piece(conditions, sort.clone(), snapshot);
        piece.columns = columns.clone();
        Split::new(format!("{at:04}"), &piece)
    };
    let splits = ranges.into_iter().enumerate().map(split).collect::<Result<_>>()?;
    Ok(Plan { upper, splits, ..Plan::default() })
}

/// The columns: the settings', or what the first documents have.
pub async fn columns(
    database: &Database,
    extraction: &Extraction,
    piece: &Piece,
) -> Result<IndexMap<String, Kind>, Failure> {
    if let Some(columns) = &extraction.columns {
        return Ok(columns.clone());
    }
    let batch = usize::try_from(extraction.sample).unwrap_or(usize::MAX).min(1000);
    let mut cursor = database.run_cursor_command(piece.command(batch, Some(extraction.sample))?).await?;
    let (mut kind, mut bytes, mut any) = (Kind::Struct(IndexMap::new()), 0, false);
    while bytes < SAMPLE_BYTES && cursor.advance().await? {
        kind.see(cursor.current(), extraction.nested, 0);
        any = true;
        bytes += cursor.current().as_bytes().len();
    }
    let Kind::Struct(mut columns) = kind else { return Ok(IndexMap::new()) };
    // What none of them has may come later.
    for name in extraction.query.named().filter(|_| any) {
        columns.entry(name.to_owned()).or_insert(Kind::Null);
    }
    if columns.len() > COLUMNS {
        return Err(Error::config(format!("the documents have more than {COLUMNS} fields"))
            .hint("name those that are to be read in `fields`, or put maps into a document with `pipeline`")
            .into());
    }
    Ok(columns.into_iter().map(|(name, kind)| (name, kind.settled())).collect())
}

/// The first document that meets the conditions, in an order.
async fn first(
    database: &Database,
    query: &Query,
    conditions: Vec<Document>,
    sort: Document,
    skip: i64,
) -> Result<Option<Document>, Failure> {
    let piece = query.piece(conditions, sort, None);
    let mut command = piece.command(1, None)?;
    if query.pipeline.is_some() {
        if let Ok(stages) = command.get_array_mut("pipeline") {
            stages.push(Bson::Document(doc! {"$limit": 1i64}));
        }
    } else {
        // `fields` need not have what the window goes by.
        command.remove("projection");
        command.extend(doc! {"limit": 1i64, "skip": skip, "singleBatch": true});
    }
    let mut cursor = database.run_cursor_command(command).await?;
    if !cursor.advance().await? {
        return Ok(None);
    }
    // Of a repeated key the last one counts here.
    Ok(Some(Document::try_from(cursor.current()).map_err(|_| Error::rejected("a document is damaged"))?))
}

struct Window {
    conditions: Vec<Document>,
    sort: Document,
    to: Position,
}

/// What is new: everything above the last window, up to the largest value there is.
async fn window(
    database: &Database,
    query: &Query,
    cursor: &Cursor,
    request: &PlanRequest,
) -> Result<Option<Window>, Failure> {
    let column = cursor.column.as_deref().unwrap_or_default();
    let after = Position::of(request)?;
    // What is larger than everything would be the last window for ever.
    let known = doc! {column: {"$nin": [Bson::Null, Bson::Double(f64::INFINITY)]}};
    let Some(smallest) = first(database, query, vec![known.clone()], doc! {column: 1}, 0).await? else {
        return Ok(None);
    };
    let like = value_of(&smallest, column)?;
    let mut lower = vec![known];
    let mut key_like = None;
    match &after {
        Some(position) => {
            let value = of_scalar(position.value(), &like, "the stored cursor")?;
            match (cursor.key.as_deref(), position.key()) {
                (Some(key), Some(last)) => {
                    let like =
                        match first(database, query, vec![doc! {key: {"$ne": Bson::Null}}], doc! {key: 1}, 0).await? {
                            Some(found) => value_of(&found, key)?,
                            None => return Err(keyless(key).into()),
                        };
                    let last = of_scalar(last, &like, "the stored cursor's key")?;
                    lower.push(doc! {column: {"$gte": value.clone()}});
                    lower.push(doc! {"$or": [
                        {column: {"$gt": value.clone()}},
                        {column: {"$eq": value}, key: {"$gt": last}},
                    ]});
                    key_like = Some(like);
                }
                _ => lower.push(doc! {column: {"$gt": value}}),
            }
        }
        None => {
            if let Some(start) = &cursor.start {
                lower.push(doc! {column: {"$gte": of_scalar(start, &like, "`cursor.start`")?}});
            }
        }
    }
    if cursor.lag.is_some() {
        let hello = database.run_command(doc! {"hello": 1}).await?;
        let now =
            hello.get_datetime("localTime").map_err(|_| Error::unavailable("the server does not say its time"))?;
        let now = chrono::DateTime::from_timestamp_millis(now.timestamp_millis())
            .ok_or_else(|| Error::internal("the server's clock says no time"))?
            .naive_utc();
        if let Some(newest) = cursor.newest(now, false)? {
            lower.push(doc! {column: {"$lte": value::newest(newest, &like, column)?}});
        }
    }
    let mut order = doc! {column: -1};
    order.extend(cursor.key.iter().map(|key| (key.clone(), Bson::Int32(-1))));
    let Some(largest) = first(database, query, lower.clone(), order, 0).await? else { return Ok(None) };
    let top = value_of(&largest, column)?;
    if class(&top) != class(&like) {
        return Err(Error::config(format!("field `{column}` has values of several types, and cannot be a cursor"))
            .hint("take another field, or leave the others out with `filter: {FIELD: {\"$type\": …}}`")
            .into());
    }
    let mut sort = doc! {column: 1};
    let mut conditions = lower;
    let to = match cursor.key.as_deref() {
        None => {
            conditions.push(doc! {column: {"$lte": top.clone()}});
            Position::Value(to_scalar(&top)?)
        }
        Some(key) => {
            conditions.push(doc! {column: {"$lte": top.clone()}});
            let lacking: Vec<_> = conditions.iter().cloned().chain([doc! {key: Bson::Null}]).collect();
            if first(database, query, lacking, Document::new(), 0).await?.is_some() {
                return Err(keyless(key).into());
            }
            let last = value_of(&largest, key)?;
            if key_like.is_some_and(|like| class(&like) != class(&last)) {
                return Err(
                    Error::config(format!("field `{key}` has values of several types, and cannot be a key")).into()
                );
            }
            conditions.push(doc! {"$or": [
                {column: {"$lt": top.clone()}},
                {column: {"$eq": top.clone()}, key: {"$lte": last.clone()}},
            ]});
            sort.insert(key, 1);
            Position::Keyed { value: to_scalar(&top)?, key: to_scalar(&last)? }
        }
    };
    Ok(Some(Window { conditions, sort, to }))
}

fn keyless(key: &str) -> Error {
    Error::config(format!("documents of this window have no value in `{key}`, which `cursor.key` names"))
        .hint("they could not be told from others: name a field that is never null, such as `_id`")
}

/// The value of a field that windows go by.
fn value_of(document: &Document, path: &str) -> Result<Bson> {
    let value = at_path(document, path).cloned().unwrap_or(Bson::Null);
    match class(&value) {
        Some(_) => Ok(value),
        None => Err(Error::config(format!("field `{path}` has a {:?}, and cannot be a cursor", value.element_type()))
            .hint("a cursor is a field of numbers, dates, texts, object ids or uuids that only grow")),
    }
}

/// Ranges of about as many documents each. Together they hold every document once.
async fn ranges(
    database: &Database,
    query: &Query,
    conditions: &[Document],
    key: &str,
    splits: u16,
) -> Result<Vec<Document>, Failure> {
    let mut all = conditions.to_vec();
    all.extend(Some(query.filter.clone()).filter(|filter| !filter.is_empty()));
    let filter = if all.is_empty() {
        Document::new()
    } else {
        doc! {"$and": all}
    };
    let counted = database.run_command(doc! {"count": &query.collection, "query": filter}).await?;
    let count = match counted.get("n") {
        Some(Bson::Int32(count)) => i64::from(*count),
        Some(Bson::Int64(count)) => *count,
        Some(Bson::Double(count)) => *count as i64,
        _ => 0,
    };
    let mut bounds: Vec<Bson> = vec![];
    let mut same: Option<Class> = None;
    for at in 1..i64::from(splits) {
        let found = first(database, query, conditions.to_vec(), doc! {key: 1}, count * at / i64::from(splits)).await?;
        let Some(bound) = found.and_then(|found| at_path(&found, key).cloned()) else { continue };
        // Comparisons see values of the same type only: all bounds are of one, and the first range has the others.
        let Some(found) = class(&bound).filter(|_| !matches!(bound, Bson::Double(number) if number.is_nan())) else {
            continue;
        };
        if *same.get_or_insert(found) == found && bounds.last() != Some(&bound) {
            bounds.push(bound);
        }
    }
    let Some(lowest) = bounds.first().cloned() else { return Ok(vec![]) };
    // An array has values in several ranges.
    let single = doc! {key: {"$not": {"$type": "array"}}};
    let mut ranges = vec![doc! {"$or": [{"$nor": [{key: {"$gte": lowest}}]}, {key: {"$type": "array"}}]}];
    for (at, from) in bounds.iter().enumerate() {
        let mut range = doc! {"$gte": from.clone()};
        if let Some(below) = bounds.get(at + 1) {
            range.insert("$lt", below.clone());
        }
        ranges.push(doc! {"$and": [{key: range}, single.clone()]});
    }
    Ok(ranges)
}
