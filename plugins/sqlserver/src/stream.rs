//! A split on its way: one answer, decoded.

use std::sync::Arc;

use engine_sdk::database::Part;
use engine_sdk::prelude::*;
use futures_util::TryStreamExt;
use tiberius::QueryItem;
use tokio::sync::mpsc;

use crate::connection::{Address, Link, query};
use crate::decode::Decoder;
use crate::error::Failure;
use crate::name::Call;
use crate::selection::{Selected, schema};

/// A transaction that sees the database at one moment. While it is open, the server keeps every
/// row that it could still ask for.
pub type Session = engine_sdk::database::Session<Address>;
/// Where it waits for its next split.
pub type Home = engine_sdk::database::Home<Address>;
/// The rows of one split.
pub type Rows = engine_sdk::database::Rows<Address>;

/// Reads the answer to `select` to its end and sends what was decoded. Owns the connection, which the
/// driver's answer only borrows, and gives it back.
pub async fn fetch(
    mut connection: Link,
    select: Call,
    columns: Vec<Selected>,
    most: usize,
    sender: mpsc::Sender<Part>,
) -> Result<Link, Failure> {
    let mut answer = query(select).query(&mut connection).await?;
    let given = answer.columns().await?.map_or(0, <[_]>::len);
    if given != columns.len() {
        return Err(Failure::Broken(Error::config(format!(
            "the query gives {given} columns now, and not those that it did"
        ))));
    }
    let schema = schema(&columns);
    // The receiver lives as long as this future.
    let _ = sender.send(Part::Columns(Arc::clone(&schema))).await;
    let mut decoder = Decoder::new(schema, columns.iter().map(|column| column.kind).collect(), most);
    let mut answers = 0;
    while let Some(item) = answer.try_next().await? {
        match item {
            QueryItem::Metadata(_) => answers += 1,
            QueryItem::Row(_) if answers > 1 => {
                return Err(Failure::Broken(
                    Error::config("the query gives several answers").hint("a source reads one: leave the others out"),
                ));
            }
            QueryItem::Row(row) => decoder.push_row(row)?,
        }
        if decoder.is_full() {
            let _ = sender.send(Part::Rows(decoder.finish()?)).await;
        }
    }
    drop(answer);
    if !decoder.is_empty() {
        let _ = sender.send(Part::Rows(decoder.finish()?)).await;
    }
    Ok(connection)
}
