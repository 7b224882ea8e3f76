//! Memory is bounded, whatever comes.

use engine_end_to_end_tests::{Caller, Place, line, lines, sqlite_count, until};

/// The most memory that an engine may ever hold, in KiB.
const MOST_KIB: u64 = 96 << 10;

#[test]
fn a_peer_that_never_ends_its_line_costs_one_dead_letter_and_no_memory() {
    /// Of 64 KiB.
    const PIECES: usize = 4096;
    let place = Place::new();
    place.write(
        "calls.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n",
    );
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let address = engine.address().expect("it listens");
    let mut caller = Caller::new(address);
    caller.send(line(0));
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..PIECES {
        caller.send(&piece);
    }
    caller.send("\r\n");
    caller.send(line(1));
    until("the lines before and after arrive", || sqlite_count(&place.path("calls.db"), "calls") == 2);
    caller.close();
    engine.terminate();
    let ended = engine.wait().with_code(0);
    ended.report().adds_up();
    let letters = place.dead_letters(engine_state::DeadLetterStatus::Final);
    assert_eq!(letters.iter().map(|letter| letter.code.as_str()).collect::<Vec<_>>(), ["oversize"]);
    println!("{} MiB without a line end: at most {} KiB", PIECES >> 4, ended.peak_kib);
    assert!((1..MOST_KIB).contains(&ended.peak_kib), "{} KiB", ended.peak_kib);
}

#[test]
fn a_large_file_passes_through_little_memory() {
    const CALLS: u64 = 300_000;
    let place = Place::new();
    place.write("pbx.log", lines(0..CALLS));
    place.write(
        "calls.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n",
    );
    let ended = place.engine(&["--json", "run", "calls.yaml"]).with_code(0);
    assert_eq!(ended.report().sink("sqlite").written, CALLS);
    println!("{CALLS} rows: at most {} KiB", ended.peak_kib);
    assert!((1..MOST_KIB).contains(&ended.peak_kib), "{} KiB", ended.peak_kib);
}
