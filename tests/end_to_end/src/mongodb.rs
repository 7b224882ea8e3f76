//! Databases of the stand-in for MongoDB.

use std::sync::atomic::{AtomicU64, Ordering};

use bson::Document;
use mongodb::{Client, Database};

use crate::wait::block_on;

/// A database of a test's own, gone at its end.
pub struct MongoDatabase {
    server: String,
    name: String,
}

impl MongoDatabase {
    /// A new, empty one.
    ///
    /// # Panics
    /// When there is no server, saying how to start it.
    #[track_caller]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = std::env::var("ENGINE_TEST_MONGODB_URL").expect("not run: no MongoDB server; run `make test`");
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Self { server, name }
    }

    /// Its address, with the login, by way of `HOST:PORT` instead of the server's own.
    pub fn url_by(&self, address: &str) -> String {
        let (login, rest) = self.server.split_once('@').expect("an address has a login");
        let (_, settings) = rest.split_once('?').expect("an address has settings");
        // Directly: a replica set would name its own address.
        format!("{login}@{address}/{}?{settings}&directConnection=true", self.name)
    }

    /// Where the server is: `HOST:PORT`.
    pub fn address(&self) -> &str {
        let (_, rest) = self.server.split_once('@').expect("an address has a login");
        rest.split_once('/').expect("an address has a database").0
    }

    /// All documents of a collection, in the order in which they came.
    #[track_caller]
    pub fn all(&self, collection: &str) -> Vec<Document> {
        self.with(async |database| {
            let mut cursor = database.collection::<Document>(collection).find(bson::doc! {}).await?;
            let mut all = Vec::new();
            while cursor.advance().await? {
                all.push(Document::try_from(cursor.current()).expect("a document is one"));
            }
            Ok(all)
        })
    }

    /// Runs a command.
    #[track_caller]
    pub fn run(&self, command: Document) {
        self.with(async |database| database.run_command(command).await.map(drop));
    }

    /// Adds documents.
    #[track_caller]
    pub fn insert_many(&self, collection: &str, documents: Vec<Document>) {
        self.with(async |database| database.collection::<Document>(collection).insert_many(documents).await.map(drop));
    }

    /// Adds a document.
    #[track_caller]
    pub fn insert(&self, collection: &str, document: &Document) {
        self.with(async |database| database.collection::<Document>(collection).insert_one(document).await.map(drop));
    }

    #[track_caller]
    fn with<T>(&self, work: impl AsyncFnOnce(&Database) -> mongodb::error::Result<T>) -> T {
        let done = block_on(async {
            let client = Client::with_uri_str(self.url_by(self.address())).await?;
            let done = work(&client.database(&self.name)).await;
            client.shutdown().immediate(true).await;
            done
        });
        done.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Default for MongoDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MongoDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.with(async |database| database.drop().await);
        }
    }
}
