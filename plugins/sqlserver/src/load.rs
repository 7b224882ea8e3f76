//! Rows into the table: by bulk load into a table of the session's own, and from there, in statements that are taken
//! whole or not at all, to their place. So a row which the table refuses does not cost its neighbours, nothing is
//! sent twice while it is looked for, and defaults, conditions and triggers work as in any INSERT, which a bulk load
//! into the table itself would pass by.

use engine_sdk::database::Loaded;
use engine_sdk::prelude::*;
use tiberius::{ColumnData, TokenRow};

use crate::connection::{Link, Server, call, count, execute, rows};
use crate::encode::Encoder;
use crate::error::{DUPLICATE, Failure, Refusal};
use crate::name::{Arguments, Call};
use crate::prepare::prepare;
use crate::questions::{ROW, STATE};
use crate::target::{Mapped, Mapping, STAGE};

/// How many rows wait at most. Longer statements are not faster.
const ROWS: usize = 8192;
/// How many bytes they take at most, about.
const BYTES: usize = 4 << 20;
/// The driver's bulk load takes no longer texts and bytes; rows with such are sent one by one.
const BULK_BYTES: usize = 65_535;
/// How many numbers of rows stand in one statement, which takes 2,100 values.
const NUMBERS: usize = 1000;

const SAVE: &str = "SAVE TRANSACTION engine_rows";
const BACK: &str = "ROLLBACK TRANSACTION engine_rows";

/// Makes the table in which rows wait. Before the transaction, which a rollback would take it along with.
pub async fn make_stage(connection: &mut Link, mapping: &Mapping) -> Result<(), Failure> {
    let sql = format!("IF OBJECT_ID(N'tempdb..{STAGE}') IS NOT NULL DROP TABLE {STAGE}");
    execute(connection, &sql).await?;
    execute(connection, &mapping.stage).await
}

/// Loads a stream, inside the transaction that is open.
pub fn load(server: &mut Server, mapping: &Mapping, input: Batches, cx: &Context) -> Result<Loaded> {
    // Lost with every error but a refusal, which makes the server roll back.
    let mut connection = server.take_connection()?;
    let mut loaded = Loaded::default();
    let mut chunk = Chunk::default();
    for batch in input {
        cx.check_cancelled()?;
        let piece = prepare(&batch?, &mapping.columns, cx)?;
        let encoder = Encoder::new(&piece.arrays, &mapping.columns)?;
        chunk.pieces.push((chunk.rows.len(), piece.original.clone()));
        for row in 0..piece.original.num_rows() {
            let values = encoder.row(row);
            let size: usize = values.iter().map(size).sum();
            // Small values take more room here than on their way.
            let held = size + values.len() * size_of::<ColumnData<'static>>();
            if !chunk.rows.is_empty() && (chunk.rows.len() == ROWS || chunk.held + held > BYTES) {
                let full = std::mem::take(&mut chunk);
                server.drive(async { Ok(full.send(&mut connection, mapping, &mut loaded, cx).await?) })?;
                chunk.pieces.push((0, piece.original.slice(row, piece.original.num_rows() - row)));
            }
            chunk.bytes += size;
            chunk.held += held;
            chunk.rows.push(values);
        }
    }
    server.drive(async { Ok(chunk.send(&mut connection, mapping, &mut loaded, cx).await?) })?;
    server.put_back(connection);
    Ok(loaded)
}

/// About how many bytes a value has on its way.
fn size(value: &ColumnData<'static>) -> usize {
    match value {
        ColumnData::String(Some(text)) => 2 * text.encode_utf16().count(),
        ColumnData::Binary(Some(bytes)) => bytes.len(),
        _ => 8,
    }
}

/// Rows that go to the server at once.
#[derive(Default)]
struct Chunk {
    rows: Vec<Vec<ColumnData<'static>>>,
    /// On their way, and here.
    bytes: usize,
    held: usize,
    /// The rows as they came, and the number of the first of each.
    pieces: Vec<(usize, RecordBatch)>,
}

impl Chunk {
    /// Keeps what the table took. Rows that it refuses for their data are cut in half until the bad
    /// ones stand alone; these become dead letters.
    async fn send(
        mut self,
        connection: &mut Link,
        mapping: &Mapping,
        loaded: &mut Loaded,
        cx: &Context,
    ) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let total = self.rows.len();
        loaded.bytes += self.bytes as u64;
        self.stage(connection, &mapping.columns).await?;
        let mut refused = vec![false; total];
        for column in mapping.columns.iter().filter(|column| column.is_converted()) {
            self.refuse_texts(connection, column, &mut refused, cx).await?;
        }
        take_out(connection, &refused).await?;
        let mut waiting = vec![(0, total)];
        while let Some((from, to)) = waiting.pop() {
            let rows = refused[from..to].iter().filter(|refused| !**refused).count();
            if rows == 0 {
                continue;
            }
            execute(connection, SAVE).await?;
            let mut arguments = Arguments::default();
            arguments.whole(from as i64);
            arguments.whole(to as i64);
            match call(connection, Call { sql: mapping.apply.clone(), arguments }).await {
                Ok(()) => loaded.rows += rows as u64,
                Err(Failure::Refused(refusal)) if refusal.is_of_rows() => {
                    cx.check_cancelled()?;
                    if count(connection, STATE.to_owned()).await? != Some(1) {
                        return Err(ended(&refusal));
                    }
                    execute(connection, BACK).await?;
                    if rows == 1 {
                        let row = (from..to).find(|row| !refused[*row]).unwrap_or(from);
                        let reason = format!("{} (error {})", refusal.message, refusal.number);
                        self.reject(row, code(refusal.number), &reason, cx)?;
                    } else {
                        let middle = from + (to - from) / 2;
                        // In order: of two rows with one key the first one gets in.
                        waiting.extend([(middle, to), (from, middle)]);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        execute(connection, &format!("TRUNCATE TABLE {STAGE}")).await
    }

    /// Sends the rows to where they wait, each with its number.
    async fn stage(&mut self, connection: &mut Link, columns: &[Mapped]) -> Result<(), Failure> {
        let names: Vec<_> = std::iter::once(ROW.to_owned()).chain(columns.iter().map(Mapped::staged)).collect();
        let mut large = vec![];
        let mut small = vec![];
        for (at, values) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            let fits = values.iter().all(|value| size(value) <= BULK_BYTES);
            if fits { &mut small } else { &mut large }.push((at, values));
        }
        if !small.is_empty() {
            let list: Vec<_> = names.iter().map(String::as_str).collect();
            let mut bulk = connection.bulk_insert_columns(STAGE, &list).await?;
            for (at, values) in small {
                let mut row = TokenRow::with_capacity(names.len());
                row.push(ColumnData::I32(Some(at as i32)));
                values.into_iter().for_each(|value| row.push(value));
                bulk.send(row).await?;
            }
            bulk.finalize().await?;
        }
        for (at, values) in large {
            let mut arguments = Arguments::default();
            let mut list = vec![arguments.whole(at as i64)];
            list.extend(values.into_iter().map(|value| arguments.add(value)));
            let sql = format!("INSERT INTO {STAGE} ({}) VALUES ({})", names.join(", "), list.join(", "));
            call(connection, Call { sql, arguments }).await?;
        }
        Ok(())
    }

    /// Texts that look like a value of their column and are none. A conversion that fails would end the transaction.
    async fn refuse_texts(
        &self,
        connection: &mut Link,
        column: &Mapped,
        refused: &mut [bool],
        cx: &Context,
    ) -> Result<(), Failure> {
        let sql = format!(
            "SELECT {ROW} FROM {STAGE} WHERE {} IS NOT NULL AND {} IS NULL ORDER BY {ROW}",
            column.staged(),
            column.tried()
        );
        for row in rows(connection, sql).await? {
            let at = crate::connection::number(&row, 0).and_then(|at| usize::try_from(at).ok());
            let at = at.filter(|at| *at < refused.len());
            let at = at.ok_or_else(|| Error::internal("a row that waits has no number"))?;
            if !std::mem::replace(&mut refused[at], true) {
                let reason = format!("{}: the text is no value of {}", column.name, column.declared);
                self.reject(at, "no_such_value", &reason, cx)?;
            }
        }
        Ok(())
    }

    fn reject(&self, row: usize, code: &str, reason: &str, cx: &Context) -> Result<()> {
        let at = self.pieces.partition_point(|(first, _)| *first <= row) - 1;
        let (first, piece) = &self.pieces[at];
        cx.reject_rows(&piece.slice(row - first, 1), code, reason)
    }
}

/// Takes refused rows away from those that wait.
async fn take_out(connection: &mut Link, refused: &[bool]) -> Result<(), Failure> {
    let gone: Vec<_> = (0..refused.len()).filter(|row| refused[*row]).collect();
    for some in gone.chunks(NUMBERS) {
        let mut arguments = Arguments::default();
        let list: Vec<_> = some.iter().map(|row| arguments.whole(*row as i64)).collect();
        let sql = format!("DELETE FROM {STAGE} WHERE {ROW} IN ({})", list.join(", "));
        call(connection, Call { sql, arguments }).await?;
    }
    Ok(())
}

/// A refusal that has taken the transaction with it, and all rows before it.
fn ended(refusal: &Refusal) -> Failure {
    let error = Error::config(format!(
        "a row was refused in a way that ends the transaction, so it cannot be told from its neighbours: {} (error {})",
        refusal.message, refusal.number
    ));
    error
        .hint("have the table's trigger refuse rows by RAISERROR and without ROLLBACK, or by a CHECK; or keep such rows out before the sink")
        .into()
}

/// A short word to group dead letters by.
fn code(number: u32) -> &'static str {
    match number {
        number if DUPLICATE.contains(&number) => "duplicate",
        // One number for foreign keys and checks alike.
        547 => "constraint",
        515 => "null",
        511 | 1946 | 2628 | 8152 => "too_long",
        220 | 232 | 244 | 248 | 8115 => "out_of_range",
        _ => "refused",
    }
}
