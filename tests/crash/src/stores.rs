//! The databases, and the API, that rows go between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bson::doc;
use engine_end_to_end_tests::{Database, MariaDatabase, MongoDatabase, Place, Server};
use engine_test_tools::http::{self, Answer};
use serde_json::Value;

use crate::between::{Couple, REFUSED, REST, ROWS, Store};

impl Store for Database {
    fn new(place: &mut Place) -> Self {
        let database = Server::shared().database();
        place.set("POSTGRES", database.url());
        database
    }

    fn as_source(&self) -> String {
        self.execute(&format!(
            "CREATE TABLE calls AS SELECT number, number::text AS called_number, 3 * number AS duration \
             FROM generate_series(0, {}) AS number",
            ROWS - 1
        ));
        "{ use: postgres, with: { url: \"${env:POSTGRES}\", query: SELECT * FROM calls ORDER BY number } }".into()
    }

    fn as_sink(&self) -> String {
        self.execute(&format!(
            "CREATE TABLE arrived (number bigint CHECK (number % {REFUSED} <> {REST}), called_number text, \
             duration bigint)"
        ));
        "{ use: postgres, with: { url: \"${env:POSTGRES}\", table: arrived } }".into()
    }

    fn take(&self) -> Vec<(u64, bool)> {
        let whole = "(called_number = number::text AND duration = 3 * number)::text";
        let rows = self.rows(&format!("SELECT number::text, {whole} FROM arrived"));
        self.execute("TRUNCATE arrived");
        rows.iter().map(|row| (row[0].parse().expect("a number"), row[1] == "true")).collect()
    }
}

impl Store for MariaDatabase {
    fn new(place: &mut Place) -> Self {
        let database = Self::new();
        place.set("MARIADB", database.url());
        database
    }

    fn as_source(&self) -> String {
        self.execute(&format!(
            "CREATE TABLE calls AS SELECT seq AS number, CAST(seq AS CHAR) AS called_number, 3 * seq AS duration \
             FROM seq_0_to_{}",
            ROWS - 1
        ));
        "{ use: mysql, with: { url: \"${env:MARIADB}\", query: SELECT * FROM calls ORDER BY number } }".into()
    }

    fn as_sink(&self) -> String {
        self.execute(&format!(
            "CREATE TABLE arrived (number bigint CHECK (number % {REFUSED} <> {REST}), called_number text, \
             duration bigint) ENGINE = InnoDB"
        ));
        "{ use: mysql, with: { url: \"${env:MARIADB}\", table: arrived } }".into()
    }

    fn take(&self) -> Vec<(u64, bool)> {
        let whole = "called_number = CAST(number AS CHAR) AND duration = 3 * number";
        let rows = self.rows(&format!("SELECT number, {whole} FROM arrived"));
        self.execute("TRUNCATE arrived");
        rows.iter().map(|row| (row[0].parse().expect("a number"), row[1] == "1")).collect()
    }
}

impl Store for MongoDatabase {
    fn new(place: &mut Place) -> Self {
        let database = Self::new();
        place.set("MONGODB", database.url_by(database.address()));
        database
    }

    fn as_source(&self) -> String {
        let number = |number: u64| i64::try_from(number).expect("few rows");
        let documents = (0..ROWS).map(|at| {
            doc! {"_id": number(at), "number": number(at), "called_number": at.to_string(), "duration": number(3 * at)}
        });
        self.insert_many("calls", documents.collect());
        "{ use: mongodb, with: { url: \"${env:MONGODB}\", collection: calls, \
         fields: [number, called_number, duration] } }"
            .into()
    }

    fn as_sink(&self) -> String {
        let (modulus, rest) = (REFUSED.cast_signed(), REST.cast_signed());
        self.run(doc! {
            "create": "arrived", "validator": {"number": {"$not": {"$mod": [modulus, rest]}}},
        });
        "{ use: mongodb, with: { url: \"${env:MONGODB}\", collection: arrived } }".into()
    }

    fn take(&self) -> Vec<(u64, bool)> {
        let documents = self.all("arrived");
        self.run(doc! {"delete": "arrived", "deletes": [{"q": {}, "limit": 0}]});
        let row = |document: &bson::Document| {
            let number = document.get_i64("number").expect("a number");
            let whole = document.get_str("called_number").is_ok_and(|text| text == number.to_string())
                && document.get_i64("duration").is_ok_and(|duration| duration == 3 * number);
            (number.cast_unsigned(), whole)
        };
        documents.iter().map(row).collect()
    }
}

/// An API that takes a record under a key once, as APIs do that know such keys.
pub struct Api {
    server: http::Server,
    taken: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Store for Api {
    fn new(place: &mut Place) -> Self {
        let taken = Arc::new(Mutex::new(BTreeMap::new()));
        let keeping = Arc::clone(&taken);
        let server = http::Server::start(move |request| {
            let record: Value = serde_json::from_slice(&request.body).expect("a record is JSON");
            if record["number"].as_u64().is_some_and(|number| number % REFUSED == REST) {
                return Answer::text(422, "this number is refused");
            }
            let key = request.header("idempotency-key").expect("every request has a key").to_owned();
            keeping.lock().unwrap_or_else(PoisonError::into_inner).insert(key, record);
            Answer::status(201)
        });
        place.set("API", server.url());
        Self { server, taken }
    }

    fn as_source(&self) -> String {
        panic!("nothing is read from {}", self.server.url())
    }

    fn as_sink(&self) -> String {
        "{ use: http, with: { url: \"${env:API}/calls\", concurrency: 4 } }".into()
    }

    fn take(&self) -> Vec<(u64, bool)> {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        let row = |record: &Value| {
            let number = record["number"].as_u64().expect("a number");
            let text = record["called_number"].as_str();
            (number, text == Some(number.to_string().as_str()) && record["duration"] == 3 * number)
        };
        taken.values().map(row).collect()
    }
}

macro_rules! couples {
    ($($couple:ident: $from:ty => $to:ty, $name:literal;)*) => {$(
        #[doc = $name]
        pub struct $couple;

        impl Couple for $couple {
            type From = $from;
            type To = $to;
            const NAME: &'static str = $name;
        }
    )*};
}

couples! {
    MariadbToPostgres: MariaDatabase => Database, "MariaDB → PostgreSQL";
    PostgresToMariadb: Database => MariaDatabase, "PostgreSQL → MariaDB";
    MongodbToPostgres: MongoDatabase => Database, "MongoDB (stand-in) → PostgreSQL";
    MariadbToMongodb: MariaDatabase => MongoDatabase, "MariaDB → MongoDB (stand-in)";
    MariadbToApi: MariaDatabase => Api, "MariaDB → HTTP API that knows keys";
}
