//! A split on its way: one COPY, decoded.

use engine_postgres_copy::Decoder;
use engine_sdk::database::{Decoded, Part, Refused};
use engine_sdk::prelude::*;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::connection::Address;
use crate::error::Failure;

/// A transaction that sees the database at one moment. While it is open it holds locks, and what
/// writes to the same table would wait for it for ever. Its name is that of its snapshot; absent
/// where the server does not give one.
pub type Session = engine_sdk::database::Session<Address>;
/// Where it waits for its next split.
pub type Home = engine_sdk::database::Home<Address>;
/// The rows of one split.
pub type Rows = engine_sdk::database::Rows<Address>;

/// Reads `copied` to the end and sends what was decoded. Owns the connection, which the
/// driver's stream of rows only borrows, and gives it back.
pub async fn copy(
    mut connection: PgConnection,
    copied: String,
    schema: SchemaRef,
    mut decoder: Decoder,
    sender: mpsc::Sender<Part>,
) -> Result<PgConnection, Failure> {
    // The receiver lives as long as this future.
    let _ = sender.send(Part::Columns(schema)).await;
    let mut pieces = connection.copy_out_raw(&format!("COPY {copied} TO STDOUT (FORMAT binary)")).await?;
    while let Some(piece) = pieces.try_next().await? {
        decoder.push(&piece)?;
        if decoder.is_full() {
            let _ = sender.send(rows(decoder.finish()?)).await;
        }
    }
    drop(pieces);
    if !decoder.has_ended() {
        return Err(Error::unavailable("the server's answer ended in the middle").into());
    }
    if !decoder.is_empty() {
        let _ = sender.send(rows(decoder.finish()?)).await;
    }
    Ok(connection)
}

fn rows(decoded: engine_postgres_copy::Decoded) -> Part {
    let engine_postgres_copy::Decoded { batch, refused, bytes } = decoded;
    let refused = refused.into_iter().map(|refused| Refused { row: refused.row, reason: refused.reason }).collect();
    Part::Rows(Decoded { batch, refused, bytes })
}
