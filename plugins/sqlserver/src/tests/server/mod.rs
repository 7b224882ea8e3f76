//! A STAND-IN for SQL Server, and no SQL Server: it speaks TDS 7.4 with SQLite behind it. What the connector sends
//! goes through the protocol as it is (PRELOGIN, TLS, LOGIN7, batches, calls of sp_executesql, bulk loads,
//! transactions, errors by their numbers); its SQL is then translated to SQLite's as far as the tests need, and the
//! questions about the catalogue are known by their text and answered from SQLite's. So these tests show what the
//! connector does with a server's answers, and not that a real server answers so.

mod catalog;
mod session;
mod translate;
mod types;
mod wire;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::types::Value;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use session::Session;
use types::Type;
use wire::{Reader, Writer};

pub const PASSWORD: &str = "hunter2/@";
const DATABASE: &str = "calls";
/// What time it is there.
pub const NOW: &str = "2026-11-28 12:00:00.0000000";
/// A query that a server has to do with for days, and that is never answered to its end here.
pub const ENDLESS: &str = "SELECT CAST(a.object_id AS bigint) AS n FROM sys.all_objects AS a \
    CROSS JOIN sys.all_objects AS b CROSS JOIN sys.all_objects AS c";
/// With the header.
const PACKET: usize = 4096;

/// The answer to a statement.
#[derive(Default)]
pub struct Answer {
    columns: Vec<(String, Type)>,
    rows: Vec<Vec<Value>>,
}

impl Answer {
    fn of(types: &[&str], rows: Vec<Vec<Value>>) -> Self {
        let columns = types.iter().enumerate().map(|(at, kind)| (format!("c{at}"), Type::of(kind).unwrap()));
        Self { columns: columns.collect(), rows }
    }
}

/// An error, as a server has them.
#[derive(Debug, Clone)]
pub struct Refused {
    number: u32,
    class: u8,
    message: String,
}

impl Refused {
    /// The connection ends without a word.
    fn gone() -> Self {
        Self { number: 0, class: 0, message: String::new() }
    }
}

/// What a test wants of it.
pub struct Settings {
    pub snapshots: bool,
    /// Rights that the login does not have.
    pub denied: HashSet<String>,
    pub tls: Option<Arc<ServerConfig>>,
    /// The kind of the packets that its side of the TLS handshake comes in.
    pub wrapping: u8,
    /// How long it waits for a lock.
    pub patience: Duration,
    /// Where it sends a login on to.
    pub moved: Option<u16>,
}

pub struct Shared {
    file: PathBuf,
    settings: Mutex<Settings>,
    loses_commit: AtomicBool,
    statements: Mutex<Vec<String>>,
    connections: Mutex<Vec<TcpStream>>,
    lock: Mutex<bool>,
    unlocked: Condvar,
}

impl Shared {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap()
    }

    fn loses_commits(&self) -> bool {
        self.loses_commit.swap(false, Ordering::SeqCst)
    }

    fn seen(&self, sql: &str) {
        self.statements.lock().unwrap().push(sql.to_owned());
    }

    fn take_lock(&self) {
        let mut taken = self.unlocked.wait_while(self.lock.lock().unwrap(), |taken| *taken).unwrap();
        *taken = true;
    }

    fn release_lock(&self) {
        *self.lock.lock().unwrap() = false;
        self.unlocked.notify_one();
    }
}

/// A server with a database of a test's own, gone at its end.
pub struct StandIn {
    shared: Arc<Shared>,
    pub port: u16,
    _folder: tempfile::TempDir,
}

impl StandIn {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::at("127.0.0.1:0", change)
    }

    pub fn at(address: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            snapshots: true,
            denied: HashSet::new(),
            tls: None,
            wrapping: 0x12,
            patience: Duration::from_secs(10),
            moved: None,
        };
        change(&mut settings);
        let shared = Arc::new(Shared {
            file: folder.path().join("database"),
            settings: Mutex::new(settings),
            loses_commit: AtomicBool::new(false),
            statements: Mutex::default(),
            connections: Mutex::default(),
            lock: Mutex::default(),
            unlocked: Condvar::new(),
        });
        drop(session::open(&shared));
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, stream) = (Arc::clone(&server), stream.unwrap());
                server.connections.lock().unwrap().push(stream.try_clone().unwrap());
                // A client that goes away ends its thread, and SQLite rolls back.
                std::thread::spawn(move || {
                    let kept = stream.try_clone().unwrap();
                    let _ = serve(&server, stream);
                    let _ = kept.shutdown(Shutdown::Both);
                });
            }
        });
        Self { shared, port, _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("mssql://reader:hunter2%2F%40@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// Runs T-SQL, past the protocol.
    pub fn sql(&self, sql: &str) {
        let sqlite = session::open(&self.shared);
        for statement in translate::statements(sql) {
            let statement = translate::statement(&statement);
            sqlite.execute_batch(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Somebody else who holds every lock, until it is dropped.
    pub fn somebody_else(&self) -> rusqlite::Connection {
        let sqlite = session::open(&self.shared);
        sqlite.execute_batch("BEGIN IMMEDIATE").unwrap();
        sqlite
    }

    /// The rows of a query, as `a|b`.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let sqlite = session::open(&self.shared);
        let mut statement = sqlite.prepare(&translate::statement(sql)).unwrap();
        let width = statement.column_count();
        let shown = |value: Value| if value == Value::Null { "NULL".into() } else { types::text(&value) };
        let row = |row: &rusqlite::Row<'_>| {
            (0..width).map(|at| Ok(shown(row.get(at)?))).collect::<Result<Vec<_>, _>>().map(|row| row.join("|"))
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }

    /// What it was sent so far.
    pub fn statements(&self) -> Vec<String> {
        self.shared.statements.lock().unwrap().clone()
    }

    pub fn deny(&self, right: &str) {
        self.shared.settings().denied.insert(right.into());
    }

    /// The next commit is done, and its answer is lost.
    pub fn lose_the_next_commits_answer(&self) {
        self.shared.loses_commit.store(true, Ordering::SeqCst);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One message: its kind and what its packets hold.
fn message(stream: &mut dyn Stream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut body = vec![];
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header)?;
        let from = body.len();
        body.resize(from + usize::from(u16::from_be_bytes([header[2], header[3]])) - 8, 0);
        stream.read_exact(&mut body[from..])?;
        if header[1] & 1 == 1 {
            return Ok((header[0], body));
        }
    }
}

fn send(stream: &mut dyn Stream, kind: u8, body: &[u8], is_end: bool) -> std::io::Result<()> {
    let mut pieces = body.chunks(PACKET - 8).peekable();
    while let Some(piece) = pieces.next() {
        let length = ((piece.len() + 8) as u16).to_be_bytes();
        let end = u8::from(is_end && pieces.peek().is_none());
        stream.write_all(&[&[kind, end, length[0], length[1], 0, 0, 1, 0], piece].concat())?;
    }
    stream.flush()
}

fn serve(server: &Arc<Shared>, mut tcp: TcpStream) -> std::io::Result<()> {
    let (kind, body) = message(&mut tcp)?;
    assert_eq!(kind, 0x12, "a client begins with PRELOGIN");
    let tls = server.settings().tls.clone();
    let wrapping = server.settings().wrapping;
    assert_eq!((body[0], body[5]), (0, 1), "VERSION and ENCRYPTION, in this order");
    let wanted = body[usize::from(body[7])];
    let agreed = if tls.is_some() { 1 } else { 2 };
    let answer = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 3, 232, 0, 0, agreed];
    send(&mut tcp, 4, &answer, true)?;
    match tls.filter(|_| wanted != 2) {
        Some(config) => {
            let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
            while tls.is_handshaking() {
                if tls.wants_write() {
                    let mut out = vec![];
                    tls.write_tls(&mut out)?;
                    send(&mut tcp, wrapping, &out, true)?;
                } else {
                    let (_, body) = message(&mut tcp)?;
                    let mut rest = &body[..];
                    while !rest.is_empty() {
                        tls.read_tls(&mut rest)?;
                        tls.process_new_packets().map_err(std::io::Error::other)?;
                    }
                }
            }
            let mut out = vec![];
            while tls.wants_write() {
                tls.write_tls(&mut out)?;
            }
            send(&mut tcp, wrapping, &out, true)?;
            answers(server, &mut StreamOwned::new(tls, tcp))
        }
        None => answers(server, &mut tcp),
    }
}

fn answers(server: &Arc<Shared>, stream: &mut dyn Stream) -> std::io::Result<()> {
    let (kind, body) = message(stream)?;
    assert_eq!(kind, 0x10, "LOGIN7 follows");
    let field = |at: usize| {
        let part = |at: usize| usize::from(u16::from_le_bytes([body[at], body[at + 1]]));
        body[part(at)..part(at) + 2 * part(at + 2)].to_vec()
    };
    let text = |bytes: Vec<u8>| Reader(&bytes).utf16(bytes.len() / 2);
    let (user, database) = (text(field(40)), text(field(68)));
    let password = text(field(44).into_iter().map(|byte| (byte ^ 0xa5).rotate_left(4)).collect());
    let mut answer = Writer::default();
    let moved = server.settings().moved;
    if (user.as_str(), password.as_str()) != ("reader", PASSWORD) {
        answer.error(18456, 14, &format!("Login failed for user '{user}'."));
    } else if database != DATABASE {
        answer.error(4060, 11, &format!("Cannot open database \"{database}\" requested by the login."));
        answer.error(18456, 14, &format!("Login failed for user '{user}'."));
    } else {
        answer.login(&database);
        if let Some(port) = moved {
            answer.routing("localhost", port);
        }
    }
    let is_in = answer.0[0] == 0xe3 && moved.is_none();
    answer.done(0xfd, !is_in && moved.is_none());
    send(stream, 4, &answer.0, true)?;
    if !is_in {
        return Ok(());
    }
    let mut session = Session::new(Arc::clone(server));
    loop {
        let (kind, body) = message(stream)?;
        let mut reader = Reader(&body);
        let (done, outcome) = match kind {
            0x01 => {
                reader.headers();
                let units = reader.0.len() / 2;
                (0xfd, session.batch(&reader.utf16(units), &[]))
            }
            0x03 => {
                let (sql, arguments) = call(&mut reader);
                if sql == ENDLESS {
                    server.seen(&sql);
                    endless(stream)?;
                }
                (0xfe, session.batch(&sql, &arguments))
            }
            0x07 => (0xfd, bulk(&mut session, &mut reader)),
            other => panic!("the stand-in does not know packet {other:#x}"),
        };
        let mut answer = Writer::default();
        if let Some(change) = session.change.take() {
            answer.transaction(change);
        }
        match &outcome {
            Ok(Answer { columns, rows }) if !columns.is_empty() => {
                answer.columns(columns);
                rows.iter().for_each(|row| answer.row(columns, row));
            }
            Err(refused) if refused.number == 0 => return Ok(()),
            Err(refused) => answer.error(refused.number, refused.class, &refused.message),
            Ok(_) => {}
        }
        answer.done(done, outcome.is_err());
        send(stream, 4, &answer.0, true)?;
    }
}

/// A call of sp_executesql: the statement and its values.
fn call(reader: &mut Reader<'_>) -> (String, Vec<Value>) {
    reader.headers();
    assert_eq!((reader.u16(), reader.u16()), (0xffff, 10), "only sp_executesql is called");
    reader.u16();
    let mut values = vec![];
    while !reader.0.is_empty() {
        reader.name();
        reader.u8();
        let sent = reader.type_info();
        values.push(reader.value(sent));
    }
    let sql = types::text(&values[0]);
    // The second are the declarations.
    (sql, values.split_off(2))
}

/// The rows of a bulk load.
fn bulk(session: &mut Session, reader: &mut Reader<'_>) -> Result<Answer, Refused> {
    let announced = session.bulk.take().expect("INSERT BULK stands before the rows");
    assert_eq!(reader.u8(), 0x81, "columns come first");
    let mut columns = vec![];
    for _ in 0..reader.u16() {
        reader.u32();
        reader.u16();
        let sent = reader.type_info();
        columns.push((reader.name(), sent));
    }
    let names: Vec<_> = columns.iter().map(|(name, _)| format!("[{name}]")).collect();
    for name in &names {
        assert!(announced.contains(name), "{announced} has no {name}");
    }
    let places: Vec<_> = (1..=names.len()).map(|at| format!("@P{at}")).collect();
    let insert = format!("INSERT INTO #engine_stage ({}) VALUES ({})", names.join(", "), places.join(", "));
    while reader.u8() == 0xd1 {
        let row: Vec<_> = columns.iter().map(|(_, sent)| reader.value(*sent)).collect();
        session.batch(&insert, &row)?;
    }
    Ok(Answer::default())
}

/// Rows until the client has enough of them.
fn endless(stream: &mut dyn Stream) -> std::io::Result<()> {
    let columns = [("n".to_owned(), Type::Int(8))];
    let mut head = Writer::default();
    head.columns(&columns);
    send(stream, 4, &head.0, false)?;
    let mut rows = Writer::default();
    for number in 0..400 {
        rows.row(&columns, &[Value::Integer(number)]);
    }
    loop {
        send(stream, 4, &rows.0, false)?;
    }
}
