//! A split on its way: one answer, decoded.

use std::sync::Arc;

use engine_sdk::database::Part;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;

use crate::connection::{Address, Link};
use crate::decode::Decoder;
use crate::error::Failure;
use crate::selection::{Selected, schema};

/// A transaction that sees the database at one moment. While it is open, the server holds the
/// table as it is, and what changes its columns would wait for it for ever.
pub type Session = engine_sdk::database::Session<Address>;
/// Where it waits for its next split.
pub type Home = engine_sdk::database::Home<Address>;
/// The rows of one split.
pub type Rows = engine_sdk::database::Rows<Address>;

/// Reads the answer to `select` to its end and sends what was decoded. Owns the connection, which the
/// driver's answer only borrows, and gives it back.
///
/// A prepared statement, since its values come as they are stored: as text, a FLOAT has six digits.
pub async fn fetch(
    mut connection: Link,
    select: String,
    most: usize,
    sender: mpsc::Sender<Part>,
) -> Result<Link, Failure> {
    let statement = connection.prep(select).await?;
    let mut answer = connection.exec_iter(&statement, ()).await?;
    // Not those of the statement: what an expression gives can show only now.
    let columns: Vec<_> = answer.columns_ref().iter().map(Selected::of).collect();
    let schema = schema(&columns);
    // The receiver lives as long as this future.
    let _ = sender.send(Part::Columns(Arc::clone(&schema))).await;
    let mut decoder = Decoder::new(schema, columns.iter().map(|column| column.kind).collect(), most);
    while let Some(row) = answer.next().await? {
        decoder.push(row)?;
        if decoder.is_full() {
            let _ = sender.send(Part::Rows(decoder.finish()?)).await;
        }
    }
    drop(answer);
    if !decoder.is_empty() {
        let _ = sender.send(Part::Rows(decoder.finish()?)).await;
    }
    connection.close(statement).await?;
    Ok(connection)
}
