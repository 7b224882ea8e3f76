//! An exchange that sends over TCP, into PostgreSQL.
//!
//! The exchange can send again: after a kill it asks what the engine had taken
//! (what is in the spool, the table or a dead letter), and sends the rest. So
//! every record must arrive once; one that was taken and does not is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine_end_to_end_tests::{Database, Engine, Place, Server, line, until};
use engine_state::{DeadLetterStatus, Spool, SpoolOptions};
use engine_test_tools::random::Random;
use engine_test_tools::sequence;

use crate::judge::{assert_at_rest, number_of};
use crate::{Damage, Death, Pair, Round, written_numbers};

/// Records that wait to be sent when an engine starts.
const RECORDS: u64 = 400;
/// One record in so many is no call …
const MALFORMED: u64 = 53;
/// … and one in so many has a called number that the column cannot hold.
const TOO_LONG: u64 = 71;
/// Nothing but dead letters come of these.
fn is_call(number: u64) -> bool {
    number % MALFORMED != 11 && number % TOO_LONG != 13
}

fn record(number: u64) -> Vec<u8> {
    match (number % MALFORMED, number % TOO_LONG) {
        (11, _) => format!("malformed {number}\r\n").into_bytes(),
        (_, 13) => format!("170925 1547 00252 {number:051} 0 2432\n").into_bytes(),
        _ => line(number),
    }
}

/// TCP → PostgreSQL.
pub struct TcpToPostgres {
    place: Place,
    database: Database,
    random: Random,
    /// Records so far; each has its number.
    records: u64,
    /// What the engine is known to have taken.
    taken: BTreeSet<u64>,
    /// Rows up to this id are among that.
    looked_at: u64,
}

impl Pair for TcpToPostgres {
    const NAME: &'static str = "TCP → PostgreSQL";

    fn new(program: PathBuf, seed: u64) -> Self {
        let database = Server::shared().database();
        database.execute(
            "CREATE TABLE calls (id serial PRIMARY KEY, date timestamp NOT NULL, duration integer NOT NULL, \
             calling_number varchar(50), called_number varchar(50), call_code varchar(10))",
        );
        let mut place = Place::with_program(program);
        place.set("URL", database.url());
        // Small segments, so that the spool is cut off behind the deliveries all the time.
        place.write(
            "calls.yaml",
            "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
             sink: { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n\
             spool: { segment: 4KiB }\n\
             retry: { backoff: 50ms, max: 200ms }\n",
        );
        Self { place, database, random: Random::new(seed), records: 0, taken: BTreeSet::new(), looked_at: 0 }
    }

    fn round(&mut self, death: &Death) -> Round {
        let started = Instant::now();
        let point = if let Death::At(point) = death { point } else { "" };
        self.place.set("ENGINE_FAILPOINT", point);
        let mut engine = self.place.start(&["--json", "run", "calls.yaml"]);
        self.records = self.taken.len() as u64 + RECORDS;
        let round = match death {
            Death::After(delay) => {
                let pieces = self.pieces();
                std::thread::scope(|scope| {
                    // Killed whatever it is doing, be it before it listens.
                    let killer = scope.spawn(|| std::thread::sleep(delay.saturating_sub(started.elapsed())));
                    if let Some(address) = address_before(&mut engine, || killer.is_finished()) {
                        let sender = scope.spawn(move || send(address, pieces.iter()));
                        killer.join().expect("it only sleeps");
                        engine.kill();
                        sender.join().expect("it does not panic");
                    }
                    engine.kill();
                });
                engine.wait();
                Round::Killed
            }
            Death::At(_) => self.until_dead(engine),
        };
        self.look();
        round
    }

    fn finish(&mut self) -> Damage {
        self.place.set("ENGINE_FAILPOINT", "");
        let mut engine = self.place.start(&["--json", "run", "calls.yaml"]);
        let address = engine.address().expect("it listens");
        send(address, self.pieces().iter());
        let everything = self.records as usize;
        until("everything arrives", || self.arrived() >= everything);
        engine.terminate();
        engine.wait().with_code(0);
        assert_at_rest(&self.place, "calls");

        let rows = self.database.rows("SELECT called_number, duration, calling_number, call_code FROM calls");
        let numbers = || rows.iter().map(|row| row[0].parse().expect("a number"));
        let mut damage = Damage::of(&(0..self.records).filter(|number| is_call(*number)).collect(), numbers());
        let whole = |(number, row): (u64, &Vec<String>)| {
            let call = sequence::call(number);
            row[1] == call.duration.to_string()
                && Some(&row[2]) == call.calling.as_ref()
                && Some(&row[3]) == call.code.as_ref()
        };
        damage.torn += numbers().zip(&rows).filter(|row| !whole(*row)).count() as u64;
        let letters = written_numbers(&self.place, DeadLetterStatus::Final);
        damage += Damage::of(&(0..self.records).filter(|number| !is_call(*number)).collect(), letters);
        damage
    }
}

impl TcpToPostgres {
    /// What is not known to be taken, cut at random: within lines, too.
    fn pieces(&mut self) -> Vec<Vec<u8>> {
        let mut bytes: Vec<u8> =
            (0..self.records).filter(|number| !self.taken.contains(number)).flat_map(record).collect();
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let length = (1 + self.random.below(2_000) as usize).min(bytes.len());
            let rest = bytes.split_off(length);
            pieces.push(std::mem::replace(&mut bytes, rest));
        }
        pieces
    }

    /// Sends to an engine that is to kill itself, until it has, or has done everything.
    fn until_dead(&mut self, mut engine: Engine) -> Round {
        if let Some(address) = engine.address() {
            // In two parts with a pause between them: a second window, a second time at every point.
            let pieces = self.pieces();
            let half = pieces.len() / 2;
            send(
                address,
                pieces
                    .iter()
                    .enumerate()
                    .inspect(|(at, _)| {
                        if *at == half {
                            until("the first part arrives", || !engine.runs() || self.arrived() > 0);
                        }
                    })
                    .map(|(_, piece)| piece),
            );
            let everything = self.records as usize;
            until("everything arrives", || !engine.runs() || self.arrived() >= everything);
            engine.terminate();
        }
        if engine.wait().code.is_some() { Round::Done } else { Round::Killed }
    }

    /// Records that are where they belong.
    fn arrived(&self) -> usize {
        self.database.count("calls") as usize + self.place.final_letters()
    }

    /// Finds out what the engine had taken when it died.
    fn look(&mut self) {
        let spooled = spooled(&self.place.state().join("spool/calls"));
        let new = format!("SELECT called_number, id FROM calls WHERE id > {} ORDER BY id", self.looked_at);
        for row in self.database.rows(&new) {
            self.taken.insert(row[0].parse().expect("a number"));
            self.looked_at = row[1].parse().expect("a number");
        }
        self.taken.extend(written_numbers(&self.place, DeadLetterStatus::Final));
        // None of them twice in the spool: what it has is not sent again.
        for (number, times) in spooled {
            assert_eq!(times, 1, "record {number} is in the spool {times} times");
            self.taken.insert(number);
        }
    }
}

/// Where an engine listens, unless it is `too_late` or the engine dies before.
fn address_before(engine: &mut Engine, too_late: impl Fn() -> bool) -> Option<SocketAddr> {
    while !too_late() {
        let log = engine.log();
        if let Some(line) = log.iter().find(|line| line.contains("listening on ")) {
            return line.rsplit(' ').next()?.parse().ok();
        }
        assert!(engine.runs(), "it ended by itself:\n{}", log.join("\n"));
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Sends pieces as far as they are taken, and closes.
fn send<'a>(address: SocketAddr, mut pieces: impl Iterator<Item = &'a Vec<u8>>) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let _ = stream.set_nodelay(true);
    while pieces.next().is_some_and(|piece| stream.write_all(piece).is_ok()) {}
}

/// The records that a spool holds, by opening a copy of it as an engine would.
fn spooled(folder: &Path) -> BTreeMap<u64, u64> {
    let copy = tempfile::tempdir().expect("a folder can be made");
    let Ok(segments) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    for segment in segments {
        let path = segment.expect("a folder can be read").path();
        let name = path.file_name().expect("it has a name");
        std::fs::copy(&path, copy.path().join(name)).expect("a segment can be copied");
    }
    let spool = Spool::open(copy.path(), SpoolOptions::default()).expect("a spool opens after every kill");
    let mut records = spool.read(spool.start(), spool.durable_end()).expect("it can be read");
    let mut found = BTreeMap::new();
    while let Some(stored) = records.next().expect("every record is good") {
        let text = String::from_utf8_lossy(stored.record.bytes);
        for line in text.split(['\r', '\n']).filter(|line| !line.trim_matches('\0').trim().is_empty()) {
            *found.entry(number_of(line).unwrap_or_else(|| panic!("half a record: {line:?}"))).or_default() += 1;
        }
    }
    found
}
