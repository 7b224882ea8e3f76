//! What the spool makes of files that a crash, or a failing disk, left behind.

use std::fs;
use std::path::{Path, PathBuf};

use engine_abi::ErrorKind;
use engine_state::spool::{Framing, Record};
use engine_state::{Spool, SpoolOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Printed with a failure by the test's name; the same every time.
const SEED: [u8; 32] = *b"the spool recovers whole records";

fn options(segment_bytes: u64) -> SpoolOptions {
    SpoolOptions { segment_bytes, ..SpoolOptions::default() }
}

fn record(bytes: &[u8]) -> Record<'_> {
    Record { connection: 1, peer: "peer", received: 0, frames: 1, framing: Framing::Complete, bytes }
}

/// A spool of these records, and where each ends.
fn fill(folder: &Path, segment_bytes: u64, payloads: &[Vec<u8>], sync_each: bool) -> Vec<u64> {
    let spool = Spool::open(folder, options(segment_bytes)).unwrap();
    let append = |payload: &Vec<u8>| {
        let end = spool.append(&record(payload)).unwrap();
        if sync_each {
            spool.wait_durable(end).unwrap();
        }
        end
    };
    payloads.iter().map(append).collect()
}

fn read(spool: &Spool) -> Vec<Vec<u8>> {
    let mut records = spool.read(spool.start(), spool.durable_end()).unwrap();
    let mut all = Vec::new();
    while let Some(stored) = records.next().unwrap() {
        all.push(stored.record.bytes.to_vec());
    }
    all
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn start_of(segment: &Path) -> u64 {
    segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// The folder as a crash leaves it that came when the last segment had `length` bytes.
fn copy_cut(from: &Path, to: &Path, length: u64) {
    let paths = segments(from);
    for path in &paths {
        fs::copy(path, to.join(path.file_name().unwrap())).unwrap();
    }
    let last = to.join(paths.last().unwrap().file_name().unwrap());
    fs::OpenOptions::new().write(true).open(last).unwrap().set_len(length).unwrap();
}

#[test]
fn any_prefix_of_the_last_segment_recovers_exactly_the_whole_records_before_it() {
    println!("seed: {}", String::from_utf8_lossy(&SEED));
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let payloads = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12);
    let strategy = (payloads, 200_u64..2000, 0.0..=1.0_f64, prop::collection::vec(any::<u8>(), 0..80), any::<bool>());
    runner
        .run(&strategy, |(payloads, segment_bytes, part, garbage, sync_each)| {
            let (folder, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let ends = fill(folder.path(), segment_bytes, &payloads, sync_each);
            let last = segments(folder.path()).pop().unwrap();
            let start = start_of(&last);
            let length = ((fs::metadata(&last).unwrap().len() as f64) * part) as u64;
            copy_cut(folder.path(), crashed.path(), length);
            // A torn write may leave anything behind the last whole one.
            let target = crashed.path().join(last.file_name().unwrap());
            fs::write(&target, [fs::read(&target).unwrap(), garbage.clone()].concat()).unwrap();

            let whole = ends.iter().filter(|end| **end <= start + length).count();
            let end = whole.checked_sub(1).map_or(0, |at| ends[at]);
            let spool = Spool::open(crashed.path(), options(segment_bytes)).unwrap();
            prop_assert_eq!(spool.durable_end(), end);
            prop_assert_eq!(spool.cut_bytes(), start + length + garbage.len() as u64 - end);
            prop_assert_eq!(read(&spool), &payloads[..whole]);
            // It goes on where it was cut.
            spool.append(&record(b"after")).unwrap();
            spool.flush().unwrap();
            let mut records = spool.read(end, spool.durable_end()).unwrap();
            prop_assert_eq!(records.next().unwrap().unwrap().sequence, whole as u64);
            Ok(())
        })
        .unwrap();
}

#[test]
fn damage_before_records_that_were_promised_is_refused_and_nothing_is_changed() {
    let payloads: Vec<_> = (0..4).map(|byte| vec![byte; 100]).collect();
    let pristine = tempfile::tempdir().unwrap();
    let ends = fill(pristine.path(), 1 << 20, &payloads, true);
    let name = segments(pristine.path()).remove(0);
    for at in [0, 5, 9, 13, 60, ends[0] as usize + 70, ends[1] as usize + 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name.file_name().unwrap());
        let mut bytes = fs::read(&name).unwrap();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let error = Spool::open(folder.path(), options(1 << 20)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "byte {at}");
        assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
        assert!(error.hint.is_some());
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_segment_in_the_middle_that_is_missing_or_short_is_refused() {
    let payloads: Vec<_> = (0..9).map(|byte| vec![byte; 100]).collect();
    for short in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 400, &payloads, false);
        let paths = segments(folder.path());
        assert!(paths.len() > 3);
        if short {
            fs::OpenOptions::new().write(true).open(&paths[1]).unwrap().set_len(77).unwrap();
        } else {
            fs::remove_file(&paths[1]).unwrap();
        }
        let error = Spool::open(folder.path(), options(400)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
    }
}

#[test]
fn damage_in_an_older_segment_is_found_by_the_reader() {
    let payloads: Vec<_> = (0..9).map(|byte| vec![byte; 100]).collect();
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 400, &payloads, false);
    let path = segments(folder.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let spool = Spool::open(folder.path(), options(400)).unwrap();
    let mut records = spool.read(0, spool.durable_end()).unwrap();
    let mut good = 0;
    let error = loop {
        match records.next() {
            Ok(Some(_)) => good += 1,
            Ok(None) => panic!("the damage was skipped"),
            Err(error) => break error,
        }
    };
    assert_eq!(good, 1);
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
}

#[test]
fn numbers_go_on_when_a_crash_came_right_after_a_new_segment_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let end = *fill(folder.path(), 1 << 20, &[vec![1], vec![2]], true).last().unwrap();
    fs::write(folder.path().join(format!("{end:020}.spool")), b"").unwrap();
    fs::write(folder.path().join("notes.txt"), b"left alone").unwrap();
    let spool = Spool::open(folder.path(), options(1 << 20)).unwrap();
    assert_eq!(spool.truncate_before(end).unwrap(), 0, "its numbers are still needed");
    spool.append(&record(b"next")).unwrap();
    spool.flush().unwrap();
    let mut records = spool.read(end, spool.durable_end()).unwrap();
    assert_eq!(records.next().unwrap().unwrap().sequence, 2);
    assert_eq!(spool.truncate_before(end).unwrap(), end);
    assert!(folder.path().join("notes.txt").exists());
}
