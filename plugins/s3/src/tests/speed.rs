//! Sends one file up, or fetches one object down, as fast as it goes, and prints the seconds and the most memory.
//!
//! `speed up FILE KEY`, `speed down KEY FILE`, inside of `tests/services run --only s3 --`.

#[path = "../ask.rs"]
mod ask;
#[path = "../away.rs"]
mod away;
#[path = "../background.rs"]
mod background;
#[path = "../checksum.rs"]
mod checksum;
#[path = "../client.rs"]
mod client;
#[path = "../config.rs"]
mod config;
#[path = "../fault.rs"]
mod fault;
#[path = "../key.rs"]
mod key;
#[path = "../ledger.rs"]
mod ledger;
#[path = "../login.rs"]
mod login;
#[path = "../publish.rs"]
mod publish;
#[path = "../reading.rs"]
mod reading;
#[path = "../settings.rs"]
mod settings;
#[path = "../sign.rs"]
mod sign;
#[path = "../sink.rs"]
mod sink;
#[path = "../source.rs"]
mod source;
#[path = "../store.rs"]
mod store;
#[path = "../sweep.rs"]
mod sweep;
#[path = "../upload.rs"]
mod upload;
#[path = "../xml.rs"]
mod xml;

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::time::Instant;

use engine_sdk::prelude::{Batches, Delivery, PlanRequest, Sink, Source, json};
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};

use sink::S3Sink;
use source::S3Source;

/// What files are read by, as the connector for files does.
const PIECE: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let begun = Instant::now();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up", file, key] => up(file, key)?,
        ["down", key, file] => down(key, file)?,
        _ => return Err("speed up FILE KEY | speed down KEY FILE".into()),
    }
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let most = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{seconds:.3} s  {most}");
    Ok(())
}

fn settings(key: &str) -> Result<serde_json::Value, Box<dyn Error>> {
    let of = |name: &str| std::env::var(format!("ENGINE_TEST_S3_{name}"));
    Ok(json!({
        "bucket": of("BUCKET")?, "endpoint": of("ENDPOINT")?, "access_key": of("ACCESS_KEY")?,
        "secret_key": of("SECRET_KEY")?, "path": key,
    }))
}

fn up(file: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let host = Host::new();
    let mut settings = settings(key)?;
    settings["overwrite"] = json!(true);
    let mut sink: S3Sink = host.open(settings)?;
    let mut file = File::open(file)?;
    let mut piece = vec![0; PIECE];
    let batches = std::iter::from_fn(move || match file.read(&mut piece) {
        Ok(0) => None,
        Ok(length) => Some(Ok(file_piece("", &piece[..length]))),
        Err(error) => Some(Err(error.into())),
    });
    let mut delivery = Delivery { key: key.into(), ..Delivery::default() };
    delivery.sealed = Some(sink.write(&delivery, Batches::new(files_schema(), batches))?);
    sink.commit(&delivery)?;
    Ok(())
}

fn down(key: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let host = Host::new();
    let mut source: S3Source = host.open(settings(key)?)?;
    let mut file = File::create(file)?;
    for split in source.plan(&PlanRequest::default())?.splits {
        for batch in source.read(&split)? {
            for (_, data) in file_pieces(&batch?)? {
                file.write_all(data)?;
            }
        }
    }
    Ok(())
}
