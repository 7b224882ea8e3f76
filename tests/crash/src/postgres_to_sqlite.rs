//! A PostgreSQL table into an SQLite one, some of whose rows SQLite refuses.

use std::collections::BTreeSet;
use std::path::PathBuf;

use engine_end_to_end_tests::{Database, Place, Server, sqlite_rows};

use crate::bounded::Cycles;
use crate::{Damage, Death, Pair, Round};

const ROWS: u64 = 6_000;
/// One row in so many holds a number that SQLite has not: NaN.
const REFUSED: u64 = 600;

fn is_accepted(number: u64) -> bool {
    number % REFUSED != 17
}

/// PostgreSQL → SQLite.
pub struct PostgresToSqlite {
    cycles: Cycles,
    _database: Database,
}

impl Pair for PostgresToSqlite {
    const NAME: &'static str = "PostgreSQL → SQLite";

    fn new(program: PathBuf, _: u64) -> Self {
        let database = Server::shared().database();
        database.execute(&format!(
            "CREATE TABLE calls AS SELECT number::text AS called_number, number * 3 AS duration, \
             timestamp '2025-09-01' + number * interval '1 minute' AS date, \
             CASE WHEN number % {REFUSED} = 17 THEN 'NaN' ELSE number / 8.0 END::double precision AS price \
             FROM generate_series(0, {}) AS number",
            ROWS - 1
        ));
        let mut place = Place::with_program(program);
        place.set("URL", database.url());
        place.write(
            "calls.yaml",
            "source: { use: postgres, with: { url: \"${env:URL}\", query: SELECT * FROM calls ORDER BY called_number } }\n\
             sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n",
        );
        Self { cycles: Cycles::new(place), _database: database }
    }

    fn round(&mut self, death: &Death) -> Round {
        self.cycles.round(death, judge)
    }

    fn finish(&mut self) -> Damage {
        let mut damage = self.cycles.finish(judge);
        damage += self.cycles.letters((0..ROWS).filter(|number| !is_accepted(*number)), self.cycles.completed);
        damage
    }
}

/// What a completed cycle has left.
fn judge(place: &Place) -> Damage {
    let path = place.path("calls.db");
    let whole = "duration = 3 * called_number AND price = called_number / 8.0 \
                 AND date LIKE strftime('%Y-%m-%d_%H:%M:%S', '2025-09-01', '+' || called_number || ' minutes') || '%'";
    let rows = sqlite_rows(&path, &format!("SELECT called_number, {whole} FROM calls"));
    let expected: BTreeSet<u64> = (0..ROWS).filter(|number| is_accepted(*number)).collect();
    let mut damage = Damage::of(&expected, rows.iter().map(|row| row[0].parse().expect("a number")));
    damage.torn += rows.iter().filter(|row| row[1] != "1").count() as u64;
    for end in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(place.path(format!("calls.db{end}")));
    }
    damage
}
