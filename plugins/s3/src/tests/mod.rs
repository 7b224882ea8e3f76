//! Against a server that verifies what it is told, and against servers of the tests' own that fail on purpose.

mod bounds;
mod faults;
mod sink;
mod source;
mod stages;
mod ways;

use std::path::PathBuf;

use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};

use crate::{S3Sink, S3Source};

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `tests/services run -- cargo test`"))
}

/// Settings that lead nowhere.
pub fn example() -> Value {
    json!({"bucket": "calls", "path": "a", "endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"})
}

fn merged(mut config: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("settings are an object") };
    config.as_object_mut().unwrap().extend(more);
    config
}

/// Keys that no other test has, in the bucket of the real server.
struct Place {
    prefix: String,
}

impl Place {
    fn new(test: &str) -> Self {
        Self { prefix: format!("{test}-{}", uuid::Uuid::new_v4().simple()) }
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn with(&self, name: &str, more: Value) -> Value {
        let config = json!({
            "bucket": environment("ENGINE_TEST_S3_BUCKET"), "endpoint": environment("ENGINE_TEST_S3_ENDPOINT"),
            "access_key": environment("ENGINE_TEST_S3_ACCESS_KEY"), "secret_key": environment("ENGINE_TEST_S3_SECRET_KEY"),
            "path": self.key(name), "timeout": "60s",
        });
        merged(config, more)
    }

    fn sink(&self, host: &Host, name: &str, more: Value) -> S3Sink {
        host.open(self.with(name, more)).unwrap()
    }

    fn source(&self, host: &Host, name: &str, more: Value) -> S3Source {
        host.open(self.with(name, more)).unwrap()
    }

    /// The file in which the server keeps an object.
    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(environment("ENGINE_TEST_S3_FOLDER")).join(self.key(name))
    }

    /// What an object has. None: there is none.
    fn content(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.file(name)).ok()
    }

    /// Puts an object there that nobody's upload made.
    fn put(&self, name: &str, content: &[u8]) {
        let file = self.file(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
}

fn delivery(key: &str) -> Delivery {
    Delivery { key: key.into(), ..Delivery::default() }
}

fn sealed(key: &str, sealed: &Sealed) -> Delivery {
    Delivery { sealed: Some(sealed.clone()), ..delivery(key) }
}

fn input(pieces: &[(&str, &[u8])]) -> Batches {
    let batches: Vec<_> = pieces.iter().map(|(name, data)| Ok(file_piece(name, data))).collect();
    Batches::new(files_schema(), batches.into_iter())
}

fn deliver(sink: &mut S3Sink, key: &str, pieces: &[(&str, &[u8])]) -> Result<Receipt> {
    assert_eq!(sink.begin_split(&delivery(key))?, Begun::New);
    match sink.write(&delivery(key), input(pieces)) {
        Ok(ready) => sink.commit(&sealed(key, &ready)),
        Err(error) => {
            sink.abort(&delivery(key))?;
            Err(error)
        }
    }
}

fn plan(source: &mut S3Source) -> Vec<Split> {
    source.plan(&PlanRequest::default()).unwrap().splits
}

fn read(source: &mut S3Source, split: &Split) -> Result<(String, Vec<u8>)> {
    let (mut name, mut all) = (String::new(), Vec::new());
    for batch in source.read(split)? {
        for (file, data) in file_pieces(&batch?)? {
            name = file.into();
            all.extend_from_slice(data);
        }
    }
    Ok((name, all))
}

/// Bytes in no order that a fault could keep by chance.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}
