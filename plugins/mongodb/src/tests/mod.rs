//! Against a stand-in server, which `tests/services` starts.

mod connection;
mod decode;
mod round_trip;
mod sink;
mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bson::{Document, doc};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_test_tools::line::Line;
use mongodb::{Client, Collection, Database};

use crate::sink::MongoSink;
use crate::source::MongoSource;

/// A variable that `tests/services` sets.
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `tests/services run --only mongodb -- cargo test -p engine-plugin-mongodb`")
    })
}

/// A server of a test's own, which it may stop. Others go on with the shared one.
struct Own {
    folder: std::path::PathBuf,
    url: String,
    control: String,
}

impl Own {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("engine-mongodb-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        services(&folder, &["start", "--only", "mongodb"]);
        let file = std::fs::read_to_string(folder.join("services.env")).unwrap();
        let variable = |name: &str| {
            let value = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_else(|| panic!("no {name} in {file}")).trim_matches('\'').to_owned()
        };
        let (url, control) = (variable("ENGINE_TEST_MONGODB_URL"), variable("ENGINE_TEST_MONGODB_CTL"));
        Self { folder, url, control }
    }

    fn control(&self, action: &str) {
        let done = std::process::Command::new(&self.control).arg(action).status().unwrap();
        assert!(done.success(), "{action}");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        services(&self.folder, &["stop"]);
    }
}

fn services(folder: &std::path::Path, arguments: &[&str]) {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services");
    let output =
        std::process::Command::new(script).args(arguments).env("ENGINE_SERVICES_DIR", folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A database of a test's own, gone at its end.
struct Scratch {
    url: String,
    name: String,
    runtime: tokio::runtime::Runtime,
    client: Option<Client>,
}

impl Scratch {
    fn new() -> Self {
        Self::at(setting("ENGINE_TEST_MONGODB_URL"))
    }

    fn at(url: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("scratch_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(Client::with_uri_str(&url)).unwrap();
        Self { url, name, runtime, client: Some(client) }
    }

    fn database(&self) -> Database {
        self.client.as_ref().unwrap().database(&self.name)
    }

    fn collection(&self) -> Collection<Document> {
        self.database().collection("calls")
    }

    /// Settings for its collection, with more.
    fn with(&self, more: Value) -> Value {
        let mut config = json!({
            "url": self.url, "database": self.name, "collection": "calls", "connect_timeout": "10s",
        });
        let Value::Object(more) = more else { panic!("settings are an object") };
        config.as_object_mut().unwrap().extend(more);
        config
    }

    fn insert(&self, documents: impl IntoIterator<Item = Document>) {
        let documents: Vec<_> = documents.into_iter().collect();
        self.runtime.block_on(async { self.collection().insert_many(documents).await }).unwrap();
    }

    fn run(&self, command: Document) -> Document {
        self.runtime.block_on(async { self.database().run_command(command).await }).unwrap()
    }

    /// All documents of a collection, by `_id`.
    fn all(&self) -> Vec<Document> {
        self.runtime.block_on(async {
            let mut cursor = self.collection().find(doc! {}).sort(doc! {"_id": 1}).await.unwrap();
            let mut all = vec![];
            while cursor.advance().await.unwrap() {
                all.push(Document::try_from(cursor.current()).unwrap());
            }
            all
        })
    }

    /// Names of collections, without that of the keys of deliveries.
    fn names(&self) -> Vec<String> {
        let mut names = self.runtime.block_on(async { self.database().list_collection_names().await }).unwrap();
        names.retain(|name| name != "_engine_commits");
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (database, client) = (self.database(), self.client.take());
        self.runtime.block_on(async move {
            if !std::thread::panicking() {
                database.drop().await.unwrap();
            }
            drop((database, client));
        });
    }
}

/// The same server by a line on which everything that it says comes `late`.
fn by_slow_line(url: &str, late: std::time::Duration) -> (Line, String) {
    let (head, tail) = url.split_once('@').unwrap();
    let (server, path) = tail.split_once('/').unwrap();
    let line = Line::to(server, late);
    // Directly: a replica set would name the other address.
    let url = format!("{head}@{}/{path}&directConnection=true", line.address());
    (line, url)
}

fn delivery(window: u64) -> Delivery {
    Delivery {
        key: format!("state/test/mongodb/{window}/0000"),
        state: "state".into(),
        pipeline: "test".into(),
        sink: "mongodb".into(),
        window,
        split: "0000".into(),
        ..Delivery::default()
    }
}

fn run(window: u64) -> SinkRun {
    SinkRun {
        state: "state".into(),
        pipeline: "test".into(),
        sink: "mongodb".into(),
        window,
        splits: vec!["0000".into()],
        replay: false,
    }
}

/// Two columns, `id` and `number`.
fn calls<'a>(rows: impl IntoIterator<Item = (i64, Option<&'a str>)>) -> RecordBatch {
    let (ids, numbers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    batch(vec![("id", Arc::new(Int64Array::from(ids))), ("number", Arc::new(StringArray::from(numbers)))])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Writes and commits one delivery.
fn deliver(sink: &mut MongoSink, window: u64, rows: RecordBatch) -> Result<Receipt> {
    let mut delivery = delivery(window);
    sink.begin_run(&run(window))?;
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    delivery.sealed = Some(sink.write(&delivery, Batches::once(rows))?);
    let receipt = sink.commit(&delivery)?;
    sink.finish_run(&run(window))?;
    Ok(receipt)
}

/// All rows of a source's splits, in one batch each.
fn read(source: &mut MongoSource, request: &PlanRequest) -> Result<(Plan, Vec<RecordBatch>)> {
    let plan = source.plan(request)?;
    let mut all = vec![];
    for split in &plan.splits {
        let batches = source.read(split)?;
        let schema = batches.schema();
        let batches = batches.collect::<Result<Vec<_>>>()?;
        all.push(arrow_select::concat::concat_batches(&schema, &batches).unwrap());
    }
    Ok((plan, all))
}

/// An error of `open`, which gives no value that could be printed.
fn open_error<T: Component>(host: &Host, config: Value) -> Error {
    match host.open::<T>(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}
