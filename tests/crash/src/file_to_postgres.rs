//! A CSV file, cut into ranges, added to a PostgreSQL table by several connections. The table refuses some rows.

use std::collections::BTreeSet;
use std::path::PathBuf;

use engine_end_to_end_tests::{Database, Place, Server};

use crate::bounded::Cycles;
use crate::{Damage, Death, Pair, Round};

const ROWS: u64 = 6_000;
/// One row in so many breaks a rule of the table.
const REFUSED: u64 = 600;

fn is_accepted(number: u64) -> bool {
    number % REFUSED != 17
}

/// CSV ranges → PostgreSQL.
pub struct FileToPostgres {
    cycles: Cycles,
    database: Database,
}

impl Pair for FileToPostgres {
    const NAME: &'static str = "CSV ranges → PostgreSQL";

    fn new(program: PathBuf, _: u64) -> Self {
        let database = Server::shared().database();
        database.execute(&format!(
            "CREATE TABLE calls (called_number text CHECK (called_number::bigint % {REFUSED} <> 17), note text)"
        ));
        let mut place = Place::with_program(program);
        place.set("URL", database.url());
        let mut file = String::from("called_number,note\n");
        // Most line ends of the file end no record.
        (0..ROWS).for_each(|number| file.push_str(&format!("{number},\"of {number}\n\n\"\"{number}\"\"\n\"\n")));
        place.write("calls.csv", file);
        place.write(
            "calls.yaml",
            "source: { use: file, with: { path: calls.csv, split: 32KiB }, format: csv }\n\
             sink: { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n\
             parallelism: 3\n",
        );
        Self { cycles: Cycles::new(place), database }
    }

    fn round(&mut self, death: &Death) -> Round {
        let database = &self.database;
        self.cycles.round(death, |_| judge(database))
    }

    fn finish(&mut self) -> Damage {
        let database = &self.database;
        let mut damage = self.cycles.finish(|_| judge(database));
        damage += self.cycles.letters((0..ROWS).filter(|number| !is_accepted(*number)), self.cycles.completed);
        damage
    }
}

/// What a completed cycle has left.
fn judge(database: &Database) -> Damage {
    let whole = "note = format(E'of %1$s\\n\\n\"%1$s\"\\n', called_number)";
    let rows = database.rows(&format!("SELECT called_number, ({whole})::text FROM calls"));
    let expected: BTreeSet<u64> = (0..ROWS).filter(|number| is_accepted(*number)).collect();
    let mut damage = Damage::of(&expected, rows.iter().map(|row| row[0].parse().expect("a number")));
    damage.torn += rows.iter().filter(|row| row[1] != "true").count() as u64;
    database.execute("TRUNCATE calls");
    damage
}
