//! How much is held at a time, whatever the size of a file.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine_test_tools::http::{Answer, Request, Server};

use super::*;

const PART: usize = 5 << 20;

fn config(server: &Server, more: Value) -> Value {
    merged(merged(example(), json!({"endpoint": server.url(), "timeout": "60s"})), more)
}

#[test]
fn a_file_waits_for_its_parts() {
    const PARTS: usize = 12;
    const CONCURRENCY: usize = 2;
    let pulled = Arc::new(AtomicUsize::new(0));
    let (taken, now, most) = (AtomicUsize::new(0), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let ahead = Arc::new(AtomicUsize::new(0));
    let (by_server, most_ahead, most_at_once) = (Arc::clone(&pulled), Arc::clone(&ahead), Arc::clone(&most));
    let server = Server::start(move |request: Request| {
        if request.method == "PUT" {
            most_at_once.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let held = by_server.load(Ordering::SeqCst) - taken.load(Ordering::SeqCst) * PART;
            most_ahead.fetch_max(held, Ordering::SeqCst);
            taken.fetch_add(1, Ordering::SeqCst);
            now.fetch_sub(1, Ordering::SeqCst);
            return Answer::Send(200, vec![("etag".into(), "p".into())], vec![]);
        }
        match request.method.as_str() {
            "POST" if request.path.contains("uploads=") => Answer::text(200, "<R><UploadId>u</UploadId></R>"),
            "POST" => Answer::text(200, "<R/>"),
            _ => Answer::status(404),
        }
    });
    let host = Host::new();
    let more = json!({"part_size": PART, "concurrency": CONCURRENCY});
    let mut sink: S3Sink = host.open(config(&server, more)).unwrap();
    let piece = bytes(PART / 4);
    let batches = (0..PARTS * 4).map(move |_| {
        pulled.fetch_add(PART / 4, Ordering::SeqCst);
        Ok(file_piece("", &piece))
    });
    sink.write(&delivery("k"), Batches::new(files_schema(), batches)).unwrap();
    assert!(most.load(Ordering::SeqCst) <= CONCURRENCY);
    // Those on their way, the one that is filled, and a piece; an answer may not have been noticed yet.
    assert!(ahead.load(Ordering::SeqCst) <= PART * (CONCURRENCY + 2), "{ahead:?}");
}

#[test]
fn an_object_is_fetched_no_further_ahead_than_is_said() {
    const RANGE: usize = 64 << 10;
    const RANGES: usize = 40;
    const CONCURRENCY: usize = 3;
    let content = Arc::new(bytes(RANGE * RANGES));
    let (given, body) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&content));
    let (ahead, by_server) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::clone(&given));
    let seen = Arc::clone(&ahead);
    let server = Server::start(move |request: Request| {
        let tag = ("etag".to_owned(), "e".to_owned());
        if request.method == "HEAD" {
            return Answer::Send(200, vec![tag], body.to_vec());
        }
        let range = request.header("range").unwrap().strip_prefix("bytes=").unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        seen.lock().unwrap().insert(from, (from + RANGE).saturating_sub(by_server.load(Ordering::SeqCst)));
        Answer::Send(206, vec![tag], body[from..=to].to_vec())
    });
    let host = Host::new();
    let more = json!({"part_size": RANGE, "concurrency": CONCURRENCY});
    let mut source: S3Source = host.open(config(&server, more)).unwrap();
    let split = plan(&mut source).remove(0);
    let mut all = Vec::new();
    for batch in source.read(&split).unwrap() {
        for (_, data) in file_pieces(&batch.unwrap()).unwrap() {
            all.extend_from_slice(data);
            given.fetch_add(data.len(), Ordering::SeqCst);
        }
    }
    assert!(all == *content);
    let ahead = ahead.lock().unwrap();
    assert_eq!(ahead.len(), RANGES);
    assert!(ahead.values().all(|ahead| *ahead <= RANGE * CONCURRENCY), "{ahead:?}");
}
