//! Against a server of each test's own.

mod answers;
mod logins;
mod requests;
mod retries;
mod rules;
mod source;
mod uploads;
mod ways;

use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Int64Array, StringArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_test_tools::http::{Answer, Request, Server};

use crate::sink::HttpSink;

/// A server that notes what comes.
struct Api {
    server: Server,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Api {
    /// Answers with what `answer` makes of a request and its number, from 0.
    fn start(answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let server = Server::start(move |request: Request| {
            let number = {
                let mut seen: std::sync::MutexGuard<'_, Vec<Request>> = notes.lock().unwrap();
                seen.push(request.clone());
                seen.len() - 1
            };
            answer(&request, number)
        });
        Self { server, seen }
    }

    /// One that takes everything.
    fn taking() -> Self {
        Self::start(|_, _| Answer::status(201))
    }

    fn with(&self, more: Value) -> Value {
        let mut config = json!({"url": format!("{}/calls", self.server.url()), "timeout": "10s"});
        let Value::Object(more) = more else { panic!("settings are an object") };
        config.as_object_mut().unwrap().extend(more);
        config
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<Value> {
        self.seen().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// The numbers of records, in the order in which they came.
    fn numbers(&self) -> Vec<i64> {
        self.bodies().iter().filter_map(|body| body["n"].as_i64()).collect()
    }
}

fn delivery() -> Delivery {
    Delivery { key: "state/test/http/1/0000".into(), window: 1, split: "0000".into(), ..Delivery::default() }
}

/// Rows with numbers, and a text each.
fn calls(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Vec<_> = numbers.into_iter().collect();
    let texts: Vec<_> = numbers.iter().map(|number| format!("call {number}")).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("n", Arc::new(Int64Array::from(numbers))), ("text", Arc::new(StringArray::from(texts)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn stream(batches: Vec<RecordBatch>) -> Batches {
    let schema = batches[0].schema();
    Batches::new(schema, batches.into_iter().map(Ok))
}

/// Makes one delivery; `answered` is what earlier attempts have kept.
fn deliver(host: &Host, config: Value, batches: Vec<RecordBatch>, answered: Vec<Value>) -> Result<Receipt> {
    deliver_as(host, config, batches, Delivery { answered, ..delivery() })
}

/// Ends a delivery whose attempts are spent.
fn give_up(host: &Host, config: Value, batches: Vec<RecordBatch>, answered: Vec<Value>) -> Result<Receipt> {
    let given_up = GivenUp { code: "unavailable".into(), reason: "it was down".into() };
    deliver_as(host, config, batches, Delivery { answered, given_up: Some(given_up), ..delivery() })
}

fn deliver_as(host: &Host, config: Value, batches: Vec<RecordBatch>, mut delivery: Delivery) -> Result<Receipt> {
    let mut sink: HttpSink = host.open(config)?;
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    delivery.answered.clear();
    match sink.write(&delivery, stream(batches)) {
        Ok(sealed) => delivery.sealed = Some(sealed),
        Err(error) => {
            sink.abort(&delivery)?;
            return Err(error);
        }
    }
    sink.commit(&delivery)
}
