//! Nothing is lost, doubled or torn, whenever the engine dies.

use std::path::PathBuf;
use std::time::Duration;

use engine_crash_tests::between::Between;
use engine_crash_tests::copied::Copied;
use engine_crash_tests::file_to_postgres::FileToPostgres;
use engine_crash_tests::log_to_file::LogToFile;
use engine_crash_tests::postgres_replaced::PostgresReplaced;
use engine_crash_tests::postgres_to_sqlite::PostgresToSqlite;
use engine_crash_tests::scheduled::Scheduled;
use engine_crash_tests::shelves::{Folder, S3, Sftp};
use engine_crash_tests::stores::{
    MariadbToApi, MariadbToMongodb, MariadbToPostgres, MongodbToPostgres, PostgresToMariadb,
};
use engine_crash_tests::tcp_to_postgres::TcpToPostgres;
use engine_crash_tests::{Damage, Death, Pair, Tally, kills_at, program_with_failpoints, random_kills};
use engine_end_to_end_tests::{Place, program, sqlite_count, until};
use engine_state::{ABANDONED_FAILPOINT, SCHEDULE_FAILPOINTS};
use engine_test_tools::random::Random;

/// Kills a pair, unless `ENGINE_CRASH_KILLS` says otherwise.
const KILLS: u64 = 20;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn seed() -> u64 {
    let seed = variable("ENGINE_CRASH_SEED", 20_260_213);
    println!("ENGINE_CRASH_SEED={seed}");
    seed
}

/// Fails when there is damage.
#[track_caller]
fn judge(tallies: &[Tally]) {
    let damaged: Vec<_> = tallies.iter().filter(|tally| tally.damage != Damage::default()).collect();
    assert!(damaged.is_empty(), "{damaged:?}");
}

fn at_random<P: Pair>() {
    let tally = random_kills::<P>(program(), variable("ENGINE_CRASH_KILLS", KILLS), seed());
    assert!(tally.kills > 0);
    println!("\n{}\n{tally}", Tally::HEAD);
    judge(&[tally]);
}

#[test]
fn random_kills_of_tcp_to_postgres() {
    at_random::<TcpToPostgres>();
}

#[test]
fn random_kills_of_postgres_to_sqlite() {
    at_random::<PostgresToSqlite>();
}

#[test]
fn random_kills_of_splits_into_a_replaced_table() {
    at_random::<PostgresReplaced>();
}

#[test]
fn random_kills_of_a_log_file_to_csv() {
    at_random::<LogToFile<Folder>>();
}

#[test]
fn random_kills_of_a_log_file_to_csv_over_sftp() {
    at_random::<LogToFile<Sftp>>();
}

#[test]
fn random_kills_of_a_log_file_to_csv_in_s3() {
    at_random::<LogToFile<S3>>();
}

#[test]
fn random_kills_of_a_large_file_over_sftp() {
    at_random::<Copied<Sftp>>();
}

#[test]
fn random_kills_of_a_large_file_to_s3() {
    at_random::<Copied<S3>>();
}

#[test]
fn random_kills_of_csv_ranges_to_postgres() {
    at_random::<FileToPostgres>();
}

#[test]
fn random_kills_of_mariadb_to_postgres() {
    at_random::<Between<MariadbToPostgres>>();
}

#[test]
fn random_kills_of_postgres_to_mariadb() {
    at_random::<Between<PostgresToMariadb>>();
}

#[test]
fn random_kills_of_mongodb_to_postgres() {
    at_random::<Between<MongodbToPostgres>>();
}

#[test]
fn random_kills_of_mariadb_to_mongodb() {
    at_random::<Between<MariadbToMongodb>>();
}

#[test]
fn random_kills_of_mariadb_to_an_api() {
    at_random::<Between<MariadbToApi>>();
}

/// Lives of a service are longer than those of a run: fewer are enough for the same number of runs that are hit.
#[test]
fn random_kills_of_a_service_with_a_dozen_schedules() {
    let kills = (variable("ENGINE_CRASH_KILLS", KILLS) / 5).clamp(4, 100);
    let mut random = Random::new(seed());
    let mut service = Scheduled::new(program());
    let mut tally = Tally::new("schedules to SQLite", "random moments");
    while tally.kills < kills {
        let life = Duration::from_micros(150_000 + random.below(2_500_000));
        tally.kills += u64::from(service.life(&Death::After(life), Duration::ZERO));
    }
    tally.damage = service.finish();
    println!("\n{}\n{tally}", Tally::HEAD);
    judge(&[tally]);
}

#[test]
fn kills_between_the_decision_on_a_slot_and_its_run() {
    let mut service = Scheduled::new(program_with_failpoints());
    let mut tally = Tally::new("schedules to SQLite", "between decision and run");
    for (point, times) in SCHEDULE_FAILPOINTS.iter().flat_map(|point| [1, 2, 3].map(|times| (point, times))) {
        let killed = service.life(&Death::At(format!("{point}:{times}")), Duration::from_secs(30));
        assert!(killed, "no service comes to {point}");
        tally.kills += 1;
    }
    tally.damage = service.finish();
    println!("\n{}\n{tally}", Tally::HEAD);
    judge(&[tally]);
}

/// What a run has given up, with nobody having anything of it, is read by the next one, whenever the engine dies.
#[test]
fn a_kill_between_a_window_that_is_given_up_and_the_end_of_its_run() {
    let mut place = Place::with_program(program_with_failpoints());
    let rows: String = (0..100).map(|number| format!("{number}\n")).collect();
    place.write("rows.csv", format!("number\n{rows}"));
    let pipeline = |create: bool| {
        format!(
            "unfinished: give_up\nsource: {{ use: file, with: {{ path: rows.csv }}, format: csv }}\nsinks:\n  \
             - {{ name: one, use: sqlite, with: {{ path: rows.db, table: one, create: {create} }} }}\n  \
             - {{ name: two, use: sqlite, with: {{ path: rows.db, table: two, create: {create} }} }}\n"
        )
    };
    place.write("pipeline.yaml", pipeline(false));
    place.set("ENGINE_FAILPOINT", format!("{ABANDONED_FAILPOINT}:1"));
    let mut engine = place.start(&["run", "pipeline.yaml"]);
    until("it has died", || !engine.runs());
    engine.wait();
    place.set("ENGINE_FAILPOINT", "");
    place.write("pipeline.yaml", pipeline(true));
    place.engine(&["run", "pipeline.yaml"]).with_code(0);
    assert_eq!(["one", "two"].map(|table| sqlite_count(&place.path("rows.db"), table)), [100, 100]);
}

#[test]
fn kills_between_any_two_writes() {
    let (program, seed) = (program_with_failpoints(), seed());
    let points = Place::with_program(program.clone()).engine(&["failpoints"]).with_code(0).stdout;
    let points: Vec<_> = points.lines().collect();
    assert!(points.len() > 10, "{points:?}");
    let of_pair = |kill: fn(PathBuf, &str, u64) -> Tally| {
        points.iter().map(|point| kill(program.clone(), point, seed)).collect::<Vec<_>>()
    };
    let of_pairs = std::thread::scope(|scope| {
        let pairs = [
            scope.spawn(|| of_pair(kills_at::<TcpToPostgres>)),
            scope.spawn(|| of_pair(kills_at::<PostgresToSqlite>)),
            scope.spawn(|| of_pair(kills_at::<PostgresReplaced>)),
            scope.spawn(|| of_pair(kills_at::<LogToFile<Folder>>)),
            scope.spawn(|| of_pair(kills_at::<LogToFile<Sftp>>)),
            scope.spawn(|| of_pair(kills_at::<LogToFile<S3>>)),
            scope.spawn(|| of_pair(kills_at::<FileToPostgres>)),
            scope.spawn(|| of_pair(kills_at::<Between<PostgresToMariadb>>)),
            scope.spawn(|| of_pair(kills_at::<Between<MariadbToMongodb>>)),
            scope.spawn(|| of_pair(kills_at::<Between<MariadbToApi>>)),
        ];
        pairs.map(|pair| pair.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)))
    });
    println!("\n{}", Tally::HEAD);
    of_pairs.iter().flatten().for_each(|tally| println!("{tally}"));
    for (at, point) in points.iter().enumerate() {
        assert!(of_pairs.iter().any(|tallies| tallies[at].kills > 0), "no pair ever comes to {point}");
    }
    of_pairs.iter().for_each(|tallies| judge(tallies));
}
