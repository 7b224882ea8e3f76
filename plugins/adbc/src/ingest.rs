//! Bulk ingest: rows go to the driver as Arrow, batch by batch as they come.

use std::sync::{Arc, Mutex, PoisonError};

use adbc_core::error::Status;
use adbc_core::options::{IngestMode, OptionStatement, OptionValue};
use adbc_core::{Optionable as _, Statement as _};
use arrow_array::RecordBatchReader;
use arrow_schema::ArrowError;
use engine_sdk::database::suggestion;
use engine_sdk::prelude::*;

use crate::driver::Session;
use crate::error::kind;
use crate::name::Target;
use crate::worker::watched;

/// What a stream came to.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub rows: u64,
    pub bytes: u64,
    /// What the driver says it has written, if it says anything.
    pub written: Option<i64>,
}

/// What happens while the driver takes rows, seen from outside of it.
#[derive(Default)]
struct Seen {
    loaded: Loaded,
    /// Why the rows ended before their end.
    error: Option<Error>,
}

/// The rows as a driver takes them.
struct Feed {
    schema: SchemaRef,
    input: Batches,
    seen: Arc<Mutex<Seen>>,
    cx: Context,
}

impl Iterator for Feed {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.cx.check_cancelled() {
            Ok(()) => self.input.next()?,
            Err(cancelled) => Err(cancelled),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match batch {
            Ok(batch) => {
                seen.loaded.rows += batch.num_rows() as u64;
                seen.loaded.bytes += batch.get_array_memory_size() as u64;
                Ok(batch)
            }
            Err(error) => {
                seen.error.get_or_insert(error);
                // The driver's own error, which quotes this one, is not shown.
                Err(ArrowError::ComputeError("the rows ended before their end".into()))
            }
        })
    }
}

impl RecordBatchReader for Feed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Writes a stream into a table.
pub fn ingest(
    session: &mut Session,
    target: &Target,
    mode: IngestMode,
    input: Batches,
    cx: &Context,
) -> Result<Loaded> {
    let schema = input.schema();
    // No table has no columns; such a stream has no rows either.
    if schema.fields().is_empty() {
        input.into_iter().try_for_each(|batch| batch.map(drop))?;
        return Ok(Loaded::default());
    }
    let mut statement = session.tuned_statement()?;
    let options = [
        (OptionStatement::TargetCatalog, target.catalog.as_deref()),
        (OptionStatement::TargetDbSchema, target.schema.as_deref()),
        (OptionStatement::TargetTable, Some(target.table.as_str())),
    ];
    let options = options.into_iter().filter_map(|(option, value)| Some((option, OptionValue::from(value?))));
    for (option, value) in options.chain([(OptionStatement::IngestMode, mode.into())]) {
        statement
            .set_option(option, value)
            .map_err(|refusal| session.failure(&refusal).context(format!("bulk ingest into {target}")))?;
    }
    let seen = Arc::new(Mutex::new(Seen::default()));
    let feed = Feed { schema, input, seen: Arc::clone(&seen), cx: cx.clone() };
    let written = statement
        .bind_stream(Box::new(feed))
        .and_then(|()| watched(cx, &mut statement, |statement| statement.execute_update()));
    // The driver lets go of the stream with the statement.
    drop(statement);
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = seen.error.take() {
        return Err(error);
    }
    match written {
        Ok(written) => Ok(Loaded { written, ..seen.loaded.clone() }),
        Err(_) if cx.cancelled() => Err(Error::cancelled()),
        Err(_) if cx.deadline().is_some_and(|left| left.is_zero()) => {
            Err(Error::unavailable(format!("the driver did not write the rows for table {target} in time")))
        }
        Err(refusal) => {
            let error = session.failure(&refusal).context(format!("rows for table {target}"));
            let hint = if kind(&refusal) == ErrorKind::Rejected {
                // It names no row. To refuse the delivery would bury every row of it for the sake of one.
                "the table refuses a row, and the driver cannot say which: mend the data before the sink"
            } else if refusal.status == Status::Internal && seen.loaded.rows == 0 {
                // Not a row has been looked at, so it is not about rows.
                "the driver took no row: mostly it knows no type for a column, which then must be converted before the sink"
            } else {
                return Err(error);
            };
            Err(Error { kind: ErrorKind::Config, ..error }.hint(hint))
        }
    }
}

/// Checks that the columns of a stream are in a table.
pub fn fit(schema: &Schema, target: &Target, table: &Schema) -> Result<()> {
    let known: Vec<_> = table.fields().iter().map(|field| field.name().as_str()).collect();
    let mut streams = schema.fields().iter().map(|field| field.name().as_str());
    // Some databases do not tell upper and lower case apart.
    match streams.find(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        None => Ok(()),
        Some(name) => {
            Err(Error::config(format!("table {target} has no column `{name}`")).hint(suggestion(name, known)))
        }
    }
}
