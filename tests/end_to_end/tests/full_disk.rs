//! A disk that is full: a clear word, nothing lost, and on it goes when there is room.

use engine_end_to_end_tests::{Caller, Place, Tmpfs, line, lines, sqlite_count, sqlite_rows, until};

#[test]
fn senders_wait_while_the_disk_of_the_spool_is_full() {
    const CALLS: u64 = 20_000;
    let place = Place::new();
    let Some(disk) = Tmpfs::mount(&place.path(".engine/spool"), 2048) else { return };
    place.write(
        "calls.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n\
         spool: { segment: 256KiB }\n",
    );
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let address = engine.address().expect("it listens");
    let ballast = disk.fill(64);
    let sender = std::thread::spawn(move || {
        let mut caller = Caller::new(address);
        caller.send(lines(0..CALLS));
        caller.close();
    });
    let told = engine.logs("senders wait until there is room");
    assert!(told.contains("no space left"), "{told}");
    assert!(sqlite_count(&place.path("calls.db"), "calls") < CALLS);
    std::fs::remove_file(ballast).unwrap();
    engine.logs("there is room again");
    sender.join().unwrap();
    until("all calls arrive", || sqlite_count(&place.path("calls.db"), "calls") == CALLS);
    engine.terminate();
    engine.wait().with_code(0).report().adds_up();
    let distinct = sqlite_rows(&place.path("calls.db"), "SELECT count(DISTINCT called_number) FROM calls");
    assert_eq!(distinct, [[CALLS.to_string()]]);
}

#[test]
fn a_full_disk_under_the_state_ends_the_run_and_the_next_one_completes_it() {
    const CALLS: u64 = 500;
    const MALFORMED: usize = 20_000;
    let place = Place::new();
    let Some(disk) = Tmpfs::mount(&place.path(".engine"), 3072) else { return };
    let mut log = lines(0..CALLS / 2);
    // Each becomes a dead letter, and these lie in the state.
    for number in 0..MALFORMED {
        log.extend_from_slice(format!("no call, number {number}, {:60}\r\n", "").as_bytes());
    }
    log.extend(lines(CALLS / 2..CALLS));
    place.write("pbx.log", log);
    place.write(
        "calls.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n\
         retry: { attempts: 2, backoff: 10ms }\n",
    );
    let failed = place.engine(&["--json", "run", "calls.yaml"]);
    assert!(matches!(failed.code, Some(1 | 3)), "{failed:?}");
    failed.says(&["no space left", "free some space"]);
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 0);

    disk.resize(64 << 10);
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!(report.resumed, 1);
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), CALLS);
    assert_eq!(place.final_letters(), MALFORMED);
}

#[test]
fn a_full_disk_under_the_output_leaves_no_half_file() {
    const CALLS: u64 = 40_000;
    let place = Place::new();
    let Some(disk) = Tmpfs::mount(&place.path("out"), 1024) else { return };
    place.write("pbx.log", lines(0..CALLS));
    place.write(
        "calls.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: file, with: { path: out/calls.csv }, format: csv }\n\
         retry: { attempts: 2, backoff: 10ms }\n",
    );
    let failed = place.engine(&["--json", "run", "calls.yaml"]).with_code(1);
    failed.says(&["calls.csv", "No space left"]);
    assert!(!place.path("out/calls.csv").exists());

    disk.resize(64 << 10);
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    assert_eq!((report.resumed, report.sink("file").written), (1, CALLS));
    let csv = std::fs::read_to_string(place.path("out/calls.csv")).unwrap();
    assert_eq!(csv.lines().count() as u64, CALLS + 1);
    let left: Vec<_> = std::fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["calls.csv"]);
}

#[test]
fn a_full_disk_under_a_table_is_waited_for() {
    const CALLS: u64 = 20_000;
    let place = Place::new();
    let Some(disk) = Tmpfs::mount(&place.path("out"), 512) else { return };
    place.write(
        "calls.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: out/calls.db, table: calls, create: true } }\n\
         retry: { backoff: 100ms, max: 500ms }\n",
    );
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let address = engine.address().expect("it listens");
    let mut caller = Caller::new(address);
    caller.send(lines(0..CALLS));
    let told = engine.logs("next attempt");
    assert!(told.contains("full"), "{told}");
    caller.send(line(CALLS));
    caller.close();
    disk.resize(64 << 10);
    until("all calls arrive", || sqlite_count(&place.path("out/calls.db"), "calls") == CALLS + 1);
    engine.terminate();
    engine.wait().with_code(0);
    let distinct = sqlite_rows(&place.path("out/calls.db"), "SELECT count(DISTINCT called_number) FROM calls");
    assert_eq!(distinct, [[(CALLS + 1).to_string()]]);
}
