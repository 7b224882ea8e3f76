//! A PostgreSQL table, cut into splits, in the place of another one's rows, some of which that one refuses.

use std::collections::BTreeSet;
use std::path::PathBuf;

use engine_end_to_end_tests::{Database, Place, Server};

use crate::bounded::Cycles;
use crate::{Damage, Death, Pair, Round};

const ROWS: u64 = 6_000;
/// One row in so many breaks a rule of the table that it goes into.
const REFUSED: u64 = 600;

fn is_accepted(number: u64) -> bool {
    number % REFUSED != 17
}

/// PostgreSQL → PostgreSQL, replaced.
pub struct PostgresReplaced {
    cycles: Cycles,
    database: Database,
    /// Rows that a reader has seen beside those of another edition.
    torn: u64,
}

impl Pair for PostgresReplaced {
    const NAME: &'static str = "PostgreSQL → PostgreSQL, replaced";

    fn new(program: PathBuf, _: u64) -> Self {
        let database = Server::shared().database();
        database.execute(&format!(
            "CREATE TABLE calls AS SELECT number, number::text AS called_number, 0 AS edition \
             FROM generate_series(0, {}) AS number; \
             ANALYZE calls; \
             CREATE TABLE report (number bigint PRIMARY KEY CHECK (number % {REFUSED} <> 17), called_number text, \
             edition integer NOT NULL)",
            ROWS - 1
        ));
        let mut place = Place::with_program(program);
        place.set("URL", database.url());
        place.write(
            "calls.yaml",
            "source: { use: postgres, with: { url: \"${env:URL}\", table: calls, key: number, splits: 3 } }\n\
             sink: { use: postgres, with: { url: \"${env:URL}\", table: report, mode: replace } }\n\
             parallelism: 3\n",
        );
        Self { cycles: Cycles::new(place), database, torn: 0 }
    }

    fn round(&mut self, death: &Death) -> Round {
        let (database, before) = (&self.database, self.cycles.completed);
        let round = self.cycles.round(death, |_| judge(database));
        if self.cycles.completed > before {
            // The next edition is another one.
            self.database.execute("UPDATE calls SET edition = edition + 1");
        } else {
            // Whoever reads now sees one edition, whole: the last one, or already this one.
            let this = damage_of(&self.database, Some(before));
            if this != Damage::default() {
                let last = damage_of(&self.database, before.checked_sub(1));
                self.torn += last.lost + last.doubled + last.torn;
            }
        }
        round
    }

    fn finish(&mut self) -> Damage {
        let database = &self.database;
        let mut damage = self.cycles.finish(|_| judge(database));
        damage.torn += self.torn;
        damage += self.cycles.letters((0..ROWS).filter(|number| !is_accepted(*number)), self.cycles.completed);
        let left = self.database.rows("SELECT relname::text FROM pg_class WHERE relname LIKE '%engine_replace%'");
        assert!(left.is_empty(), "tables are left over: {left:?}");
        damage
    }
}

/// What a completed cycle has left.
fn judge(database: &Database) -> Damage {
    let edition = database.rows("SELECT DISTINCT edition::text FROM calls");
    damage_of(database, Some(edition[0][0].parse().expect("a number")))
}

/// How the table differs from an edition; from none: from being empty.
fn damage_of(database: &Database, edition: Option<u64>) -> Damage {
    let rows = database.rows("SELECT number::text, edition::text, (called_number = number::text)::text FROM report");
    let Some(edition) = edition else {
        return Damage { torn: rows.len() as u64, ..Damage::default() };
    };
    let expected: BTreeSet<u64> = (0..ROWS).filter(|number| is_accepted(*number)).collect();
    let mut damage = Damage::of(&expected, rows.iter().map(|row| row[0].parse().expect("a number")));
    let edition = edition.to_string();
    damage.torn += rows.iter().filter(|row| row[1] != edition || row[2] != "true").count() as u64;
    damage
}
