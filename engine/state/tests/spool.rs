//! The spool: appending, reading, truncation, and waiting for room.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::SmallDisk;
use engine_abi::ErrorKind;
use engine_state::spool::{Framing, MAX_RECORD_BYTES, Record};
use engine_state::{Spool, SpoolOptions};

const LONG: Duration = Duration::from_secs(30);

fn record(connection: u64, bytes: &[u8]) -> Record<'_> {
    Record {
        connection,
        peer: "192.0.2.7:50112",
        received: 1_771_000_000_000_000,
        frames: 1,
        framing: Framing::Complete,
        bytes,
    }
}

fn small(max_bytes: u64, segment_bytes: u64) -> SpoolOptions {
    SpoolOptions { max_bytes, segment_bytes, ..SpoolOptions::default() }
}

fn open(folder: &Path, options: SpoolOptions) -> Spool {
    Spool::open(folder, options).unwrap()
}

/// Sequence and bytes of all that is kept and durable.
fn contents(spool: &Spool) -> Vec<(u64, Vec<u8>)> {
    let mut records = spool.read(spool.start(), spool.durable_end()).unwrap();
    let mut all = Vec::new();
    while let Some(stored) = records.next().unwrap() {
        all.push((stored.sequence, stored.record.bytes.to_vec()));
    }
    all
}

fn wait_until_full(spool: &Spool) {
    while !spool.is_full() {
        std::thread::yield_now();
    }
}

fn segments(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_appended_is_read_again_whole() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), SpoolOptions::default());
    let sent = [
        record(1, b"one\r\ntwo\r\n"),
        Record { framing: Framing::Partial, frames: 3, received: -1, ..record(2, b"half") },
        Record { framing: Framing::Oversize, peer: "", ..record(u64::MAX, &[0; 100_000]) },
        record(3, b""),
    ];
    let ends: Vec<_> = sent.iter().map(|record| spool.append(record).unwrap()).collect();
    spool.wait_durable(ends[3]).unwrap();
    let mut records = spool.read(0, spool.durable_end()).unwrap();
    for (at, (sent, end)) in sent.iter().zip(&ends).enumerate() {
        let stored = records.next().unwrap().unwrap();
        assert_eq!((&stored.record, stored.sequence, stored.end), (sent, at as u64, *end));
    }
    assert!(records.next().unwrap().is_none());
}

#[test]
fn the_group_commit_makes_records_durable_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), SpoolOptions::default());
    assert!(!spool.wait_beyond(0, Duration::ZERO).unwrap());
    let end = spool.append(&record(1, b"line\n")).unwrap();
    assert!(spool.wait_beyond(0, LONG).unwrap());
    assert_eq!(spool.durable_end(), end);
}

#[test]
fn offsets_and_sequence_go_on_after_a_restart_and_a_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let options = small(1 << 20, 256);
    let mut end = 0;
    for restart in 0..10_u64 {
        let spool = open(folder.path(), options);
        assert_eq!(spool.cut_bytes(), 0);
        assert_eq!(spool.durable_end(), end);
        for _ in 0..5 {
            end = spool.append(&record(1, format!("restart {restart}\n").as_bytes())).unwrap();
        }
        spool.flush().unwrap();
        spool.truncate_before(end).unwrap();
        assert_eq!(contents(&spool).last().unwrap().0, restart * 5 + 4);
        assert!(spool.held_bytes() <= 256);
        assert_eq!(segments(folder.path()).len(), 1);
    }
}

#[test]
fn an_empty_spool_begins_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), SpoolOptions { first_offset: 777, ..SpoolOptions::default() });
    assert_eq!((spool.start(), spool.durable_end()), (777, 777));
    assert_eq!(segments(folder.path()), ["00000000000000000777.spool"]);
    let end = spool.append(&record(1, b"line\n")).unwrap();
    assert_eq!(spool.flush().unwrap(), end);
    drop(spool);
    let spool = open(folder.path(), SpoolOptions::default());
    assert_eq!((spool.start(), spool.durable_end()), (777, end));
    assert_eq!(contents(&spool), [(0, b"line\n".to_vec())]);
}

#[test]
fn many_connections_append_at_once_each_in_its_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), small(64 << 20, 16 << 10));
    std::thread::scope(|scope| {
        for connection in 0..8 {
            let spool = &spool;
            scope.spawn(move || {
                for line in 0..200_u64 {
                    let end = spool.append(&record(connection, &line.to_le_bytes())).unwrap();
                    if line % 50 == 0 {
                        spool.wait_durable(end).unwrap();
                        assert!(spool.durable_end() >= end);
                    }
                }
            });
        }
    });
    spool.flush().unwrap();
    assert!(segments(folder.path()).len() > 2);
    let mut next = [0_u64; 8];
    let mut records = spool.read(0, spool.durable_end()).unwrap();
    let mut sequence = 0;
    while let Some(stored) = records.next().unwrap() {
        let line = u64::from_le_bytes(stored.record.bytes.try_into().unwrap());
        let expected = &mut next[stored.record.connection as usize];
        assert_eq!((line, stored.sequence), (*expected, sequence));
        *expected += 1;
        sequence += 1;
    }
    assert_eq!(next, [200; 8]);
}

#[test]
fn a_range_is_cut_between_two_records() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), small(1 << 20, 300));
    let ends: Vec<_> = (0..10).map(|_| spool.append(&record(1, &[b'x'; 35])).unwrap()).collect();
    spool.flush().unwrap();
    let length = ends[0];
    assert_eq!(length, 100);
    assert_eq!(spool.cut(0, 1000).unwrap(), 1000);
    assert_eq!(spool.cut(0, 999).unwrap(), 900);
    assert_eq!(spool.cut(200, 350).unwrap(), 500);
    assert_eq!(spool.cut(0, 1).unwrap(), 100, "one record at least");
    assert_eq!(spool.cut(1000, 50).unwrap(), 1000);
    let mut records = spool.read(200, 500).unwrap();
    let mut sequences = Vec::new();
    while let Some(stored) = records.next().unwrap() {
        sequences.push(stored.sequence);
    }
    assert_eq!(sequences, [2, 3, 4]);
}

#[test]
fn what_is_not_there_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), small(1 << 20, 200));
    for _ in 0..6 {
        spool.append(&record(1, &[b'x'; 35])).unwrap();
    }
    let end = spool.flush().unwrap();
    assert_eq!(spool.truncate_before(399).unwrap(), 200);
    assert_eq!(spool.start(), 200);
    for (from, to) in [(0, end), (200, end + 1), (400, 300)] {
        assert_eq!(spool.read(from, to).map(|_| ()).unwrap_err().kind, ErrorKind::Internal, "{from} {to}");
    }
    assert!(spool.wait_durable(end + 1).is_err());
    let error = spool.read(250, end).unwrap().next().map(|_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal, "not between two records");
}

#[test]
fn an_appender_waits_at_the_cap_and_goes_on_after_a_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), small(1000, 200));
    for _ in 0..10 {
        spool.append(&record(1, &[b'x'; 35])).unwrap();
    }
    assert_eq!(spool.held_bytes(), 1000);
    let appended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let end = spool.append(&record(2, &[b'y'; 35])).unwrap();
            appended.store(true, Ordering::SeqCst);
            assert_eq!(end, 1100);
        });
        wait_until_full(&spool);
        assert!(!appended.load(Ordering::SeqCst));
        // What was there when it began to wait is durable when it goes on, and the committer at rest.
        spool.flush().unwrap();
        assert_eq!(spool.truncate_before(450).unwrap(), 400);
        assert!(spool.wait_beyond(1000, LONG).unwrap());
    });
    assert_eq!(contents(&spool).len(), 7);
}

#[test]
fn cancelling_frees_those_who_wait_and_keeps_what_was_appended() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), small(200, 100));
    spool.append(&record(1, &[b'x'; 35])).unwrap();
    spool.append(&record(1, &[b'x'; 35])).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| spool.append(&record(1, &[b'x'; 35])).unwrap_err().kind);
        wait_until_full(&spool);
        spool.cancel();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Cancelled);
    });
    assert_eq!(spool.append(&record(1, b"")).unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(spool.flush().unwrap(), 200);
    assert_eq!(contents(&spool).len(), 2);
}

#[test]
fn a_record_that_could_never_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), small(1000, 1000));
    assert_eq!(spool.append(&record(1, &[0; 600])).unwrap_err().kind, ErrorKind::Rejected);
    let large = open(&folder.path().join("large"), SpoolOptions::default());
    let bytes = vec![0; MAX_RECORD_BYTES];
    assert_eq!(large.append(&record(1, &bytes)).unwrap_err().kind, ErrorKind::Rejected);
    assert_eq!(large.append(&record(1, b"next")).unwrap(), 69);
}

#[test]
fn closing_makes_everything_durable() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), SpoolOptions::default());
    let end = spool.append(&record(1, b"last words")).unwrap();
    drop(spool);
    assert_eq!(open(folder.path(), SpoolOptions::default()).durable_end(), end);
}

#[test]
fn a_full_disk_keeps_senders_waiting_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("a full disk under the spool", 1 << 20) else { return };
    let folder = disk.path().join("spool");
    let spool = open(&folder, small(64 << 20, 128 << 10));
    let filler = disk.fill(200 << 10);
    let total = 60_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..total {
                // Not a multiple of the page: the last write finds part of its room.
                let mut bytes = vec![b'x'; 10_001];
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                spool.append(&record(1, &bytes)).unwrap();
            }
        });
        wait_until_full(&spool);
        spool.flush().unwrap();
        let held = contents(&spool).len() as u64;
        assert!(held > 10 && held < total, "{held} records fit");
        std::fs::remove_file(&filler).unwrap();
    });
    spool.flush().unwrap();
    drop(spool);
    let spool = open(&folder, small(64 << 20, 128 << 10));
    assert_eq!(spool.cut_bytes(), 0);
    let numbers: Vec<_> =
        contents(&spool).iter().map(|(_, bytes)| u64::from_le_bytes(bytes[..8].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..total).collect::<Vec<_>>());
}
