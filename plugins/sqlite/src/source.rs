//! The source: one table or query, read on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use arrow_array::{ArrayRef, BooleanArray, StringArray};
use engine_sdk::database::{Cursor, Cut, Extraction, Parameters, Quoting, Range, Selection, Window, default_batch};
use engine_sdk::prelude::*;
use engine_sdk::{too_late, types};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, InterruptHandle};

use crate::database::{Access, default_busy_timeout, failure, open};
use crate::kind::{Column, Kind, text_of};
use crate::plan::{Declared, Piece, ranges, statement, window};
use crate::watch::{LOOK, watched};

/// A batch is handed on when it has taken in this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Reads a table or the rows of a query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The file, relative to the pipeline file.
    path: types::Template,
    /// The table or view to read, in the order of its rows' numbers or its key.
    #[serde(default)]
    table: Option<String>,
    /// The query to read, instead of a table. Give it an `ORDER BY`: without
    /// one SQLite may answer in another order each time.
    #[serde(default)]
    query: Option<String>,
    /// Values of the placeholders in `query`: `:region` is the value of
    /// `region`. Each is one value, whatever is in it, and never SQL.
    #[serde(default)]
    parameters: Parameters,
    /// Reads only what is new since the last run.
    #[serde(default)]
    cursor: Option<Cursor>,
    /// A column of whole numbers by which what is read is cut into `splits`, best
    /// the primary key. Each split is delivered on its own, and is a snapshot of its
    /// own. Other columns are not cut.
    #[serde(default)]
    key: Option<String>,
    /// Into how many splits, at most. Unset: 4, where there is a `key`.
    #[serde(default)]
    splits: Option<std::num::NonZeroU16>,
    /// The most rows of a batch.
    #[serde(default = "default_batch")]
    batch: std::num::NonZeroU32,
    /// How long to wait while another program holds the file.
    #[serde(default = "default_busy_timeout")]
    busy_timeout: types::Duration,
    /// How long the next rows may take. Unset: as long as they take.
    #[serde(default)]
    timeout: Option<types::Duration>,
}

pub struct SqliteSource {
    path: PathBuf,
    extraction: Extraction,
    cut: Option<Cut>,
    batch: usize,
    busy_timeout: types::Duration,
    timeout: Option<std::time::Duration>,
    cx: Context,
}

impl Component for SqliteSource {
    type Config = SourceConfig;
    const SUMMARY: &'static str = "Reads a table or a query of an SQLite file";

    fn examples() -> Vec<Example> {
        vec![
            example("a table", json!({"path": "calls.db", "table": "calls"})),
            example("a query", json!({"path": "calls.db", "query": "SELECT number, cost FROM calls ORDER BY number"})),
            example(
                "what is new since the last run, with a value of its own",
                json!({
                    "path": "calls.db",
                    "query": "SELECT * FROM calls WHERE region = :region",
                    "parameters": {"region": "north"},
                    "cursor": {"column": "started", "key": "id", "lag": "1m"}
                }),
            ),
        ]
    }

    fn open(config: SourceConfig, cx: Context) -> Result<Self> {
        let (table, query, cursor) = (config.table, config.query, config.cursor);
        let extraction = Extraction::new("sqlite", table, query, config.parameters, cursor, Quoting::SQLITE)?;
        Ok(Self {
            path: cx.resolve(&*config.path),
            extraction,
            cut: Cut::of(config.key, config.splits)?,
            batch: usize::try_from(config.batch.get()).unwrap_or(usize::MAX),
            busy_timeout: config.busy_timeout,
            timeout: config.timeout.map(|timeout| timeout.0),
            cx,
        })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let connection = self.connect()?;
        let columns = statement(&connection, &self.piece(None))?.1.len();
        self.ranges(&connection, &self.piece(None))?;
        if self.extraction.cursor().is_some() {
            self.window(&connection, &PlanRequest::default())?;
        }
        let what = match self.extraction.selection() {
            Selection::Table(table) => format!("table {table} with {}", engine_sdk::counted(columns, "column")),
            Selection::Query(_) => format!("the query gives {}", engine_sdk::counted(columns, "column")),
        };
        Ok(CheckReport { summary: format!("SQLite file {}, {what}", self.path.display()) })
    }
}

impl SqliteSource {
    fn connect(&self) -> Result<Connection> {
        open(&self.path, Access::Read, self.busy_timeout)
    }

    fn window(&self, connection: &Connection, request: &PlanRequest) -> Result<Option<Window>> {
        watched(connection, &self.cx, self.timeout, || window(connection, &self.extraction, request))
    }

    fn ranges(&self, connection: &Connection, piece: &Piece) -> Result<Vec<Range<i64>>> {
        let Some(cut) = &self.cut else { return Ok(vec![]) };
        watched(connection, &self.cx, self.timeout, || ranges(connection, piece, cut))
    }

    fn piece(&self, window: Option<Window>) -> Piece {
        let (selection, parameters) = (self.extraction.selection().clone(), self.extraction.parameters().clone());
        Piece { selection, parameters, window, range: None }
    }
}

impl Source for SqliteSource {
    const RANGES: bool = true;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let connection = self.connect()?;
        // A missing table or a broken query is found now, before there is a window.
        statement(&connection, &self.piece(None))?;
        self.extraction.check_request(request)?;
        let window = match self.extraction.cursor() {
            Some(_) => match self.window(&connection, request)? {
                Some(window) => Some(window),
                // Nothing new.
                None => return Ok(Plan { upper: None, splits: vec![], ..Plan::default() }),
            },
            None => None,
        };
        let upper = window.as_ref().and_then(|window| window.to.as_ref()).map(|to| json!(to));
        let piece = self.piece(window);
        let mut ranges: Vec<_> = self.ranges(&connection, &piece)?.into_iter().map(Some).collect();
        if ranges.is_empty() {
            ranges.push(None);
        }
        let split = |(at, range)| Split::new(format!("{at:04}"), Piece { range, ..piece.clone() });
        Ok(Plan { upper, splits: ranges.into_iter().enumerate().map(split).collect::<Result<_>>()?, ..Plan::default() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let piece: Piece = split.spec_as()?;
        let connection = self.connect()?;
        // One snapshot for finding out the types and for reading.
        connection.execute_batch("BEGIN").map_err(failure)?;
        let (sql, columns) = statement(&connection, &piece)?;
        let typed = || typed(&connection, &sql, columns, self.batch);
        let columns = watched(&connection, &self.cx, self.timeout, typed)?;
        let fields: Vec<_> = columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let interrupt = connection.get_interrupt_handle();
        let (sender, receiver) = sync_channel(2);
        let reader = Reader {
            collected: columns.iter().map(|(_, kind)| Column::new(*kind)).collect(),
            schema: Arc::clone(&schema),
            batch: self.batch,
            sender,
        };
        let thread = std::thread::Builder::new()
            .name("sqlite reader".into())
            .spawn(move || reader.run(&connection, &sql))
            .map_err(|error| Error::from(error).context("a thread for reading cannot be started"))?;
        let (timeout, cx) = (self.timeout, self.cx.clone());
        let rows = Rows { receiver: Some(receiver), interrupt, thread: Some(thread), timeout, cx };
        Ok(Batches::new(schema, rows))
    }
}

/// Finds out what a result's undeclared columns hold, by looking at the first rows.
fn typed(connection: &Connection, sql: &str, columns: Declared, first_rows: usize) -> Result<Vec<(String, Kind)>> {
    let mut found: Vec<Option<Kind>> = columns.iter().map(|(_, kind)| *kind).collect();
    let unknown: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
    if !unknown.is_empty() {
        let mut look = || -> rusqlite::Result<()> {
            let mut prepared = connection.prepare(sql)?;
            let mut rows = prepared.query([])?;
            for _ in 0..first_rows {
                let Some(row) = rows.next()? else { break };
                for at in &unknown {
                    found[*at] = widen(found[*at], row.get_ref(*at)?.data_type());
                }
            }
            Ok(())
        };
        look().map_err(failure)?;
    }
    Ok(columns.into_iter().zip(found).map(|((name, _), kind)| (name, kind.unwrap_or(Kind::Text))).collect())
}

fn widen(kind: Option<Kind>, value: Type) -> Option<Kind> {
    let this = match value {
        Type::Null => return kind,
        Type::Integer => Kind::Integer,
        Type::Real => Kind::Real,
        Type::Text => Kind::Text,
        Type::Blob => Kind::Blob,
    };
    Some(match kind {
        None => this,
        Some(kind) if kind == this => kind,
        Some(Kind::Integer | Kind::Real) if matches!(this, Kind::Integer | Kind::Real) => Kind::Real,
        Some(_) => Kind::Text,
    })
}

/// A row that has a value which does not fit its column's type.
struct Refused {
    row: RecordBatch,
    reason: String,
}

struct Chunk {
    batch: RecordBatch,
    refused: Vec<Refused>,
    bytes: u64,
}

/// What the thread works with.
struct Reader {
    collected: Vec<Column>,
    schema: SchemaRef,
    batch: usize,
    sender: SyncSender<Result<Chunk>>,
}

impl Reader {
    fn run(mut self, connection: &Connection, sql: &str) {
        if let Err(error) = self.read(connection, sql) {
            // The receiver may be gone: then nobody wants to know.
            let _ = self.sender.send(Err(error));
        }
    }

    fn read(&mut self, connection: &Connection, sql: &str) -> Result<()> {
        let mut prepared = connection.prepare(sql).map_err(failure)?;
        let mut rows = prepared.query([]).map_err(failure)?;
        let (mut count, mut bytes) = (0, 0);
        let (mut refused, mut bad) = (vec![], vec![]);
        while let Some(row) = rows.next().map_err(failure)? {
            let mut first_bad = None;
            for (at, column) in self.collected.iter_mut().enumerate() {
                let value = row.get_ref(at).map_err(failure)?;
                bytes += size(value);
                if !column.value(value) {
                    column.null();
                    first_bad.get_or_insert(at);
                }
            }
            if let Some(at) = first_bad {
                refused.push(self.refuse(row, at)?);
                bad.push(count);
            }
            count += 1;
            if count >= self.batch || bytes >= BATCH_BYTES {
                let chunk = self.chunk(count, bytes, &mut refused, &mut bad)?;
                if self.sender.send(Ok(chunk)).is_err() {
                    return Ok(());
                }
                (count, bytes) = (0, 0);
            }
        }
        if count > 0 {
            let chunk = self.chunk(count, bytes, &mut refused, &mut bad)?;
            let _ = self.sender.send(Ok(chunk));
        }
        Ok(())
    }

    fn chunk(&mut self, count: usize, bytes: usize, refused: &mut Vec<Refused>, bad: &mut Vec<usize>) -> Result<Chunk> {
        let internal = |error| Error::internal(format!("rows cannot be put together: {error}"));
        let columns: Vec<ArrayRef> = self.collected.iter_mut().map(Column::finish).collect();
        let mut batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(internal)?;
        if !bad.is_empty() {
            let mut keep = vec![true; count];
            bad.drain(..).for_each(|row| keep[row] = false);
            batch = arrow_select::filter::filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(internal)?;
        }
        Ok(Chunk { batch, refused: std::mem::take(refused), bytes: bytes as u64 })
    }

    fn refuse(&self, row: &rusqlite::Row<'_>, bad: usize) -> Result<Refused> {
        let mut columns: Vec<ArrayRef> = vec![];
        let mut fields = vec![];
        for (at, field) in self.schema.fields().iter().enumerate() {
            let text = shown(row.get_ref(at).map_err(failure)?);
            columns.push(Arc::new(StringArray::from(vec![text])));
            fields.push(Field::new(field.name(), DataType::Utf8, true));
        }
        let value = row.get_ref(bad).map_err(failure)?;
        let field = self.schema.field(bad);
        let reason = format!(
            "{}: {} ({}) is not a {}",
            field.name(),
            shown(value).unwrap_or_default(),
            value.data_type(),
            field.data_type()
        );
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| Error::internal(format!("a refused row cannot be shown: {error}")))?;
        Ok(Refused { row, reason })
    }
}

fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
    }
}

/// A value for a dead letter; bytes as an SQL literal.
fn shown(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) if text_of(value).is_none() => {
            let hexadecimal = engine_sdk::hexadecimal::write(bytes);
            Some(format!("x'{hexadecimal}'"))
        }
        value => text_of(value).map(std::borrow::Cow::into_owned),
    }
}

struct Rows {
    receiver: Option<Receiver<Result<Chunk>>>,
    interrupt: InterruptHandle,
    thread: Option<JoinHandle<()>>,
    timeout: Option<std::time::Duration>,
    cx: Context,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let begun = Instant::now();
        let received = loop {
            let receiver = self.receiver.as_ref()?;
            // Before every batch: rows may come so fast that nobody ever waits for them.
            if let Err(cancelled) = self.cx.check_cancelled() {
                break Err(cancelled);
            }
            match receiver.recv_timeout(LOOK) {
                Ok(received) => break received.and_then(|chunk| self.hand_on(chunk)),
                Err(RecvTimeoutError::Disconnected) => {
                    self.receiver = None;
                    return match self.thread.take()?.join() {
                        Ok(()) => None,
                        Err(_) => Some(Err(Error::internal("the thread that reads the file panicked"))),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.cx.deadline().is_some_and(|left| left.is_zero()) {
                        break Err(Error::unavailable("the query did not give its next rows in time"));
                    }
                    if let Some(limit) = self.timeout.filter(|limit| begun.elapsed() > *limit) {
                        break Err(too_late(limit));
                    }
                }
            }
        };
        if received.is_err() {
            self.receiver = None;
        }
        Some(received)
    }
}

impl Rows {
    fn hand_on(&self, chunk: Chunk) -> Result<RecordBatch> {
        let rows = chunk.batch.num_rows() + chunk.refused.len();
        self.cx.progress(rows as u64, chunk.bytes);
        for refused in &chunk.refused {
            self.cx.reject_rows(&refused.row, "wrong_type", &refused.reason)?;
        }
        Ok(chunk.batch)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // The thread ends at its next row or its next send, whichever it waits for.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // Until it has ended: an interrupt stops only a statement that is already under way.
            while !thread.is_finished() {
                self.interrupt.interrupt();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}
