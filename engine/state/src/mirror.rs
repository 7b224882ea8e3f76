//! A state that stands elsewhere: in a database that engines on several machines
//! can reach.
//!
//! The file stays what every call works on. Each transaction that writes also
//! goes to a [`Mirror`], before it is committed here: as the rows that it changed,
//! in one transaction of the mirror, which takes it only from the engine that
//! holds the state and only in its order. What the mirror has not taken has not
//! happened; what it has taken is brought here from there, should the engine die
//! before its own commit.

use std::collections::BTreeMap;

use engine_abi::message::{Acquired, StateChange, StoreRequest};
use engine_abi::{Error, ErrorKind, Result, hexadecimal};
use rusqlite::types::{Value as Column, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, params_from_iter};
use serde_json::{Map, Value, json};

use crate::error::{Fault, Step};
use crate::operations;
use crate::schema;

/// How many rows are written to a mirror at a time when it is filled for the first time.
const FILL_ROWS: usize = 1_000;
/// Which table holds logins; no mirror has it.
const SECRETS: &str = "remembered";
/// Which table says how far the file has got; no mirror has it.
const OWN: &str = "mirror";

/// Where the state stands, seen from the engine that holds it.
///
/// Calls block until they are answered. An error of kind `Unavailable` from
/// `store` leaves open whether the change was taken.
pub trait Mirror: Send {
    /// Takes the state, or says that this engine still has it.
    ///
    /// # Errors
    /// `Unavailable`, naming the holder, while another engine has it.
    fn acquire(&mut self) -> Result<Acquired>;

    /// Every row of the state.
    fn load(&mut self) -> Result<Box<dyn Iterator<Item = Result<StateChange>> + '_>>;

    /// Takes one change.
    ///
    /// # Errors
    /// `Denied` when another engine has taken the state over.
    fn store(&mut self, request: &StoreRequest) -> Result<()>;

    /// Gives the state back.
    fn release(&mut self) -> Result<()>;
}

/// How a file stands to its mirror.
pub(crate) struct Mirrored {
    mirror: Box<dyn Mirror>,
    tables: Tables,
    /// How many changes the file has.
    sequence: u64,
    /// One that the mirror may have taken, and the file has not.
    doubtful: Option<StoreRequest>,
    /// Where pipelines begin that the state does not know yet.
    pub(crate) positions: BTreeMap<String, Value>,
}

impl Mirrored {
    /// Makes the file what the mirror says, or fills a mirror that is empty.
    pub(crate) fn open(connection: &mut Connection, mut mirror: Box<dyn Mirror>) -> Step<Self> {
        let acquired = mirror.acquire()?;
        let mut mirrored = Self {
            mirror,
            tables: Tables::of(connection)?,
            sequence: acquired.sequence,
            doubtful: None,
            positions: acquired.positions.clone(),
        };
        match mirrored.bring(connection, &acquired) {
            Ok(()) => Ok(mirrored),
            Err(fault) => {
                // Another engine may do better.
                let _ = mirrored.mirror.release();
                Err(fault)
            }
        }
    }

    fn bring(&mut self, connection: &mut Connection, acquired: &Acquired) -> Step<()> {
        let known = known(connection)?;
        let layout = schema::LAYOUT;
        if acquired.sequence > 0 && acquired.layout != layout {
            return Err(Error::config(format!(
                "the state was written by another version of the engine (layout {}; this one writes {layout})",
                acquired.layout
            ))
            .hint(
                "an engine of the version that wrote it must go on with it: a state in a database is not brought to \
                 another layout",
            )
            .into());
        }
        match known {
            _ if acquired.sequence == 0 => self.fill(connection)?,
            // The number alone would not tell a database that was put back and has gone on since.
            Some((known, last)) if known == acquired.sequence && Some(last.as_str()) == acquired.last.as_deref() => {}
            Some((known, _)) if known > acquired.sequence => {
                return Err(Error::config(format!(
                    "the state in the database is older than the copy of it here: it has {} changes, the copy {known}",
                    acquired.sequence
                ))
                .hint("the database was put back to an older time: move the local state folder away to go on from that time, at the price of what was delivered since being delivered again")
                .into());
            }
            None if has_history(connection)? => {
                return Err(Error::config(
                    "the local state folder has a history of its own, and the database has another one",
                )
                .hint("move the local state folder away to go on with the database's")
                .into());
            }
            _ => self.reload(connection, acquired.last.as_deref().unwrap_or_default())?,
        }
        self.tables.watch(connection)
    }

    /// Everything that the file has, to a mirror that has nothing.
    fn fill(&mut self, connection: &mut Connection) -> Step<()> {
        // What a filling that was broken off has left.
        let mut changes = Vec::new();
        for left in self.mirror.load()? {
            changes.push(StateChange { document: None, ..left? });
        }
        for table in self.tables.names() {
            for key in self.tables.keys(connection, table)? {
                changes.push(self.tables.change(connection, table, &key)?);
            }
        }
        // The first one: without it the mirror stays empty, and is filled anew.
        let mut pieces: Vec<_> = changes.chunks(FILL_ROWS).map(<[_]>::to_vec).collect();
        if pieces.is_empty() {
            pieces.push(Vec::new());
        }
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            let id = uuid::Uuid::new_v4().to_string();
            if at == last {
                // Before it is sent: an engine that dies then knows it again, or fills the mirror once more.
                set_known(connection, 1, &id)?;
            }
            self.mirror.store(&StoreRequest {
                holder: String::new(),
                id,
                after: 0,
                sequence: u64::from(at == last),
                layout: schema::LAYOUT,
                changes: piece,
                operations: Vec::new(),
            })?;
        }
        self.sequence = 1;
        Ok(())
    }

    /// Throws the file's rows away and takes those of the mirror.
    fn reload(&mut self, connection: &mut Connection, last: &str) -> Step<()> {
        // Rows come in no order that references would hold in.
        connection.pragma_update(None, "foreign_keys", false)?;
        let transaction = connection.transaction()?;
        for table in self.tables.names() {
            transaction.execute(&format!("DELETE FROM {table}"), [])?;
        }
        for change in self.mirror.load()? {
            self.tables.apply(&transaction, &change?)?;
        }
        set_known(&transaction, self.sequence, last)?;
        transaction.commit()?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(())
    }

    /// Finds out what has become of the last change, where that is not known.
    pub(crate) fn settle(&mut self, connection: &mut Connection) -> Step<()> {
        let Some(request) = &self.doubtful else { return Ok(()) };
        let acquired = self.mirror.acquire()?;
        if acquired.sequence == request.sequence && acquired.last.as_deref() == Some(&request.id) {
            connection.pragma_update(None, "foreign_keys", false)?;
            let transaction = connection.transaction()?;
            // What goes first makes room for what takes its place.
            let (gone, there): (Vec<_>, Vec<_>) = request.changes.iter().partition(|change| change.document.is_none());
            for change in gone.into_iter().chain(there) {
                self.tables.apply(&transaction, change)?;
            }
            transaction.execute("DELETE FROM temp.changed", [])?;
            set_known(&transaction, request.sequence, &request.id)?;
            transaction.commit()?;
            connection.pragma_update(None, "foreign_keys", true)?;
            self.sequence = request.sequence;
        } else if acquired.sequence != self.sequence {
            // It is of no use here, and another engine may want it.
            let _ = self.mirror.release();
            return Err(Error::new(ErrorKind::Denied, "another engine has written to the state meanwhile")
                .hint("end this one; the other goes on with what it has left")
                .into());
        }
        self.doubtful = None;
        Ok(())
    }

    /// Hands on what a transaction has changed, before its commit.
    pub(crate) fn store(&mut self, transaction: &Transaction<'_>) -> Step<()> {
        let changes = self.tables.changes(transaction)?;
        if changes.is_empty() {
            return Ok(());
        }
        let request = StoreRequest {
            holder: String::new(),
            id: uuid::Uuid::new_v4().to_string(),
            after: self.sequence,
            sequence: self.sequence + 1,
            layout: schema::LAYOUT,
            operations: operations::of(transaction, &changes)?,
            changes,
        };
        match self.mirror.store(&request) {
            Ok(()) => {
                // Until the commit here, which may fail.
                let request = self.doubtful.insert(request);
                set_known(transaction, request.sequence, &request.id)
            }
            Err(error) => {
                // Whatever it is: the next call asks what has become of it.
                self.doubtful = Some(request);
                Err(error.into())
            }
        }
    }

    /// After the commit here.
    pub(crate) fn committed(&mut self) {
        if let Some(request) = self.doubtful.take() {
            self.sequence = request.sequence;
        }
    }

    pub(crate) fn release(&mut self) -> Result<()> {
        self.mirror.release()
    }
}

/// Whether the file is a copy of a state that stands elsewhere.
pub(crate) fn is_copy(connection: &Connection) -> Step<bool> {
    Ok(known(connection)?.is_some())
}

/// How many changes the copy has, and the id of the last.
fn known(connection: &Connection) -> Step<Option<(u64, String)>> {
    let known = connection
        .query_row("SELECT sequence, last FROM mirror", [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)));
    Ok(known.optional()?)
}

fn set_known(connection: &Connection, sequence: u64, last: &str) -> Step<()> {
    connection
        .prepare_cached(
            "INSERT INTO mirror (one, sequence, last) VALUES (1, ?1, ?2) \
             ON CONFLICT (one) DO UPDATE SET sequence = ?1, last = ?2",
        )?
        .execute((sequence as i64, last))?;
    Ok(())
}

/// Whether any pipeline has run with the file.
fn has_history(connection: &Connection) -> Step<bool> {
    Ok(connection
        .query_row("SELECT EXISTS (SELECT 1 FROM runs) OR EXISTS (SELECT 1 FROM pipelines)", [], |row| row.get(0))?)
}

/// The tables of the file, and how their rows stand in documents.
struct Tables(BTreeMap<String, Table>);

struct Table {
    columns: Vec<String>,
    /// Which of them hold bytes.
    blobs: Vec<bool>,
    /// Places of the key's columns, in the key's order.
    key: Vec<usize>,
    /// Replaces a row whole.
    put: String,
    get: String,
    delete: String,
}

impl Tables {
    fn of(connection: &Connection) -> Step<Self> {
        let mut tables = BTreeMap::new();
        let mut names = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN (?1, ?2)",
        )?;
        for name in names.query_map([OWN, SECRETS], |row| row.get::<_, String>(0))? {
            let name = name?;
            let mut info =
                connection.prepare("SELECT name, type = 'BLOB', pk FROM pragma_table_info(?1) ORDER BY cid")?;
            let found: Vec<(String, bool, i64)> = info
                .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut key: Vec<usize> = (0..found.len()).filter(|at| found[*at].2 > 0).collect();
            key.sort_by_key(|at| found[*at].2);
            let blobs = found.iter().map(|(_, is_blob, _)| *is_blob).collect();
            let columns: Vec<String> = found.into_iter().map(|(name, ..)| name).collect();
            let condition: Vec<_> =
                key.iter().enumerate().map(|(at, column)| format!("{} = ?{}", columns[*column], at + 1)).collect();
            let condition = condition.join(" AND ");
            let places: Vec<_> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
            let list = columns.join(", ");
            let table = Table {
                put: format!("INSERT OR REPLACE INTO {name} ({list}) VALUES ({})", places.join(", ")),
                get: format!("SELECT {list} FROM {name} WHERE {condition}"),
                delete: format!("DELETE FROM {name} WHERE {condition}"),
                columns,
                blobs,
                key,
            };
            tables.insert(name, table);
        }
        Ok(Self(tables))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn get(&self, table: &str) -> Step<&Table> {
        self.0.get(table).ok_or_else(|| Fault::Unreadable(format!("the state has no table {table:?}")))
    }

    /// The keys of all rows of a table.
    fn keys(&self, connection: &Connection, table: &str) -> Step<Vec<Vec<Column>>> {
        let it = self.get(table)?;
        let list: Vec<_> = it.key.iter().map(|at| it.columns[*at].as_str()).collect();
        let mut statement = connection.prepare(&format!("SELECT {} FROM {table}", list.join(", ")))?;
        let rows = statement.query_map([], |row| (0..list.len()).map(|at| row.get::<_, Column>(at)).collect())?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Has the keys of rows noted down that are written from now on.
    fn watch(&self, connection: &Connection) -> Step<()> {
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.execute_batch(
            // Keys may stand there twice: inside a trigger, an ON CONFLICT is the outer statement's.
            "CREATE TEMP TABLE changed (name TEXT NOT NULL, key TEXT NOT NULL)",
        )?;
        for (name, table) in &self.0 {
            let key = |of: &str| {
                let columns = table.key.iter().map(|at| {
                    let column = format!("{of}.{}", table.columns[*at]);
                    // JSON has no bytes.
                    if table.blobs[*at] { format!("json_object('bytes', lower(hex({column})))") } else { column }
                });
                format!("json_array({})", columns.collect::<Vec<_>>().join(", "))
            };
            for (event, of) in [("INSERT", "NEW"), ("UPDATE", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")] {
                connection.execute_batch(&format!(
                    "CREATE TEMP TRIGGER {name}_{event}_{of} AFTER {event} ON main.{name} BEGIN \
                     INSERT INTO changed VALUES ('{name}', {}); END",
                    key(of)
                ))?;
            }
        }
        Ok(())
    }

    /// The rows that a transaction has changed, as they are now.
    fn changes(&self, transaction: &Transaction<'_>) -> Step<Vec<StateChange>> {
        let mut changes = Vec::new();
        let mut noted = transaction.prepare_cached("SELECT DISTINCT name, key FROM temp.changed ORDER BY name, key")?;
        let mut rows = noted.query([])?;
        while let Some(row) = rows.next()? {
            let (table, key): (String, String) = (row.get(0)?, row.get(1)?);
            changes.push(self.change(transaction, &table, &columns_of(&key)?)?);
        }
        transaction.prepare_cached("DELETE FROM temp.changed")?.execute([])?;
        Ok(changes)
    }

    /// A row as it is now, or that it is gone.
    fn change(&self, connection: &Connection, table: &str, key: &[Column]) -> Step<StateChange> {
        let it = self.get(table)?;
        let mut get = connection.prepare_cached(&it.get)?;
        let document = get
            .query_row(params_from_iter(key), |row| {
                let mut document = Map::new();
                for (at, name) in it.columns.iter().enumerate() {
                    document.insert(name.clone(), to_json(row.get_ref(at)?));
                }
                Ok(Value::Object(document))
            })
            .optional()?;
        let key: Vec<Value> = key.iter().map(|value| to_json(ValueRef::from(value))).collect();
        Ok(StateChange { collection: table.to_owned(), key: Value::Array(key).to_string(), document })
    }

    /// Puts a row of the mirror into the file, or takes it out.
    fn apply(&self, connection: &Connection, change: &StateChange) -> Step<()> {
        let it = self.get(&change.collection)?;
        match &change.document {
            Some(document) => {
                let values: Vec<Column> = it
                    .columns
                    .iter()
                    .map(|name| from_json(document.get(name).unwrap_or(&Value::Null)))
                    .collect::<Step<_>>()?;
                connection.prepare_cached(&it.put)?.execute(params_from_iter(values))?;
            }
            None => {
                connection.prepare_cached(&it.delete)?.execute(params_from_iter(columns_of(&change.key)?))?;
            }
        }
        Ok(())
    }
}

/// The columns of a key.
fn columns_of(key: &str) -> Step<Vec<Column>> {
    let values: Vec<Value> =
        serde_json::from_str(key).map_err(|_| Fault::Unreadable(format!("{key:?} is no key of a row")))?;
    values.iter().map(from_json).collect()
}

fn to_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => json!({ "bytes": hexadecimal::write(bytes) }),
    }
}

fn from_json(value: &Value) -> Step<Column> {
    let unreadable = || Fault::Unreadable(format!("{value} is no value of a column"));
    Ok(match value {
        Value::Null => Column::Null,
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Column::Integer(whole),
            None => Column::Real(number.as_f64().ok_or_else(unreadable)?),
        },
        Value::String(text) => Column::Text(text.clone()),
        Value::Object(object) => {
            let text = object.get("bytes").and_then(Value::as_str).ok_or_else(unreadable)?;
            Column::Blob(hexadecimal::read(text).ok_or_else(unreadable)?)
        }
        Value::Bool(_) | Value::Array(_) => return Err(unreadable()),
    })
}
