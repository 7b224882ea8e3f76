//! Against a real mail server that keeps what it takes.

mod attachments;
mod messages;
mod refusals;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use mail_parser::{Message, MessageParser};

use crate::sink::SmtpSink;

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `tests/services run -- cargo test`"))
}

/// Receivers that no other test has.
struct Mailboxes {
    domain: String,
}

/// A message as the server has it.
struct Taken {
    bytes: Vec<u8>,
    from: String,
    to: Vec<String>,
}

impl Taken {
    fn message(&self) -> Message<'_> {
        MessageParser::default().parse(&self.bytes).unwrap()
    }
}

impl Mailboxes {
    fn new(test: &str) -> Self {
        Self { domain: format!("{}.{}.test", test.replace('_', "-"), std::process::id()) }
    }

    fn at(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }

    /// Settings with STARTTLS and the login.
    fn with(&self, more: Value) -> Value {
        let mut config = json!({
            "host": "localhost", "port": environment("ENGINE_TEST_SMTP_PORT").parse::<u16>().unwrap(),
            "ca": environment("ENGINE_TEST_SMTP_CA"), "username": "engine",
            "password": environment("ENGINE_TEST_SMTP_PASSWORD"), "from": "Engine <engine@example.com>",
            "to": [self.at("one")], "timeout": "20s",
        });
        let Value::Object(more) = more else { panic!("settings are an object") };
        config.as_object_mut().unwrap().extend(more);
        config
    }

    /// What was sent to these mailboxes, in the order in which it came.
    fn taken(&self) -> Vec<Taken> {
        let folder = PathBuf::from(environment("ENGINE_TEST_SMTP_FOLDER"));
        let mut found = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|it| it != "json") {
                continue;
            }
            let envelope: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let to: Vec<String> = serde_json::from_value(envelope["to"].clone()).unwrap();
            if !to.iter().any(|address| address.ends_with(&self.domain)) {
                continue;
            }
            let number: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let bytes = std::fs::read(path.with_extension("eml")).unwrap();
            found.push((number, Taken { bytes, from: envelope["from"].as_str().unwrap().to_owned(), to }));
        }
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, taken)| taken).collect()
    }
}

fn delivery(key: &str) -> Delivery {
    Delivery { key: key.to_owned(), pipeline: "report".into(), window: 3, split: "0000".into(), ..Delivery::default() }
}

/// People with numbers.
fn people(names: &[&str]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("name", Arc::new(StringArray::from(names.to_vec()))),
        ("number", Arc::new(Int64Array::from_iter_values(1..=names.len() as i64))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Makes one delivery; `answered` is what earlier attempts have kept.
fn deliver(host: &Host, config: Value, batches: Vec<RecordBatch>, answered: Vec<Value>) -> Result<Receipt> {
    deliver_as(host, config, batches, Delivery { answered, ..delivery("state/report/smtp/3/0000") })
}

/// Ends a delivery whose attempts are spent.
fn give_up(host: &Host, config: Value, batches: Vec<RecordBatch>, answered: Vec<Value>) -> Result<Receipt> {
    let given_up = GivenUp { code: "unavailable".into(), reason: "it was down".into() };
    deliver_as(
        host,
        config,
        batches,
        Delivery { answered, given_up: Some(given_up), ..delivery("state/report/smtp/3/0000") },
    )
}

fn deliver_as(host: &Host, config: Value, batches: Vec<RecordBatch>, mut delivery: Delivery) -> Result<Receipt> {
    let mut sink: SmtpSink = host.open(config)?;
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    delivery.answered.clear();
    let schema = batches[0].schema();
    match sink.write(&delivery, Batches::new(schema, batches.into_iter().map(Ok))) {
        Ok(sealed) => delivery.sealed = Some(sealed),
        Err(error) => {
            sink.abort(&delivery)?;
            return Err(error);
        }
    }
    sink.commit(&delivery)
}
