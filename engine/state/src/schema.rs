//! The tables of `state.db` and how older files become newer ones.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Step;
use engine_abi::{Error, ErrorKind};

/// The steps that concern tables of which no mirror has anything.
const LOCAL_STEPS: usize = 1;
/// What a mirror's documents are laid out by.
pub(crate) const LAYOUT: u64 = (MIGRATIONS.len() - LOCAL_STEPS) as u64;

/// Ordered steps; a file whose `user_version` is *n* has the first *n* behind it.
/// A step that was released is never edited: add another.
pub(crate) const MIGRATIONS: &[&str] =
    &[FIRST, MIRROR, COLUMNS, BACKFILLS, ANSWERS, NOTICES, REMEMBERED, TOLD, SCHEDULES];

const FIRST: &str = "
    -- The state's id and when it was made.
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE runs (
        id        TEXT PRIMARY KEY,
        pipeline  TEXT NOT NULL,
        trigger   TEXT NOT NULL,
        started   TEXT NOT NULL,
        ended     TEXT,
        outcome   TEXT CHECK (outcome IN ('succeeded', 'failed', 'stopped')),
        report    TEXT
    ) WITHOUT ROWID;
    CREATE INDEX runs_of_pipeline ON runs (pipeline, id);
    CREATE INDEX runs_open ON runs (pipeline, id) WHERE ended IS NULL;

    -- Outlives a reset, so that no window number is ever used twice.
    CREATE TABLE pipelines (
        name         TEXT PRIMARY KEY,
        next_window  INTEGER NOT NULL DEFAULT 1,
        position     TEXT
    ) WITHOUT ROWID;

    CREATE TABLE definitions (hash BLOB PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE windows (
        pipeline    TEXT NOT NULL,
        id          INTEGER NOT NULL,
        run         TEXT NOT NULL,
        kind        TEXT NOT NULL CHECK (kind IN ('read', 'replay')),
        lower       TEXT,
        upper       TEXT,
        definition  BLOB NOT NULL REFERENCES definitions (hash),
        context     TEXT NOT NULL,
        created     TEXT NOT NULL,
        finished    TEXT,
        PRIMARY KEY (pipeline, id)
    ) WITHOUT ROWID;
    CREATE INDEX windows_unfinished ON windows (pipeline, id) WHERE finished IS NULL;
    CREATE INDEX windows_of_definition ON windows (definition);

    CREATE TABLE splits (
        pipeline        TEXT NOT NULL,
        window          INTEGER NOT NULL,
        position        INTEGER NOT NULL,
        id              TEXT NOT NULL,
        spec            TEXT NOT NULL,
        estimated_rows  INTEGER,
        PRIMARY KEY (pipeline, window, position),
        UNIQUE (pipeline, window, id)
    ) WITHOUT ROWID;

    -- Which sinks a window is for, and how many deliveries each still waits for.
    CREATE TABLE window_sinks (
        pipeline  TEXT NOT NULL,
        window    INTEGER NOT NULL,
        position  INTEGER NOT NULL,
        sink      TEXT NOT NULL,
        unit      TEXT NOT NULL CHECK (unit IN ('run', 'split')),
        missing   INTEGER NOT NULL,
        PRIMARY KEY (pipeline, window, position),
        UNIQUE (pipeline, window, sink)
    ) WITHOUT ROWID;
    CREATE INDEX window_sinks_missing ON window_sinks (pipeline, sink, window) WHERE missing > 0;
    CREATE INDEX window_sinks_done ON window_sinks (pipeline, sink, window) WHERE missing = 0;

    -- The ledger: one row a delivery from its first attempt on.
    CREATE TABLE deliveries (
        pipeline  TEXT NOT NULL,
        window    INTEGER NOT NULL,
        sink      TEXT NOT NULL,
        split     TEXT NOT NULL,
        attempts  INTEGER NOT NULL DEFAULT 0,
        sealed    TEXT,
        receipt   TEXT,
        rows      INTEGER,
        bytes     INTEGER,
        settled   TEXT,
        PRIMARY KEY (pipeline, window, sink, split)
    ) WITHOUT ROWID;

    CREATE TABLE cursors (
        pipeline  TEXT NOT NULL,
        sink      TEXT NOT NULL,
        window    INTEGER NOT NULL,
        value     TEXT,
        moved     TEXT NOT NULL,
        PRIMARY KEY (pipeline, sink)
    ) WITHOUT ROWID;

    CREATE TABLE dead_letters (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        pipeline  TEXT NOT NULL,
        window    INTEGER NOT NULL,
        split     TEXT NOT NULL,
        stage     TEXT NOT NULL,
        ordinal   INTEGER NOT NULL,
        run       TEXT NOT NULL,
        status    TEXT NOT NULL CHECK (status IN ('pending', 'final', 'replayed', 'dropped')),
        code      TEXT NOT NULL,
        reason    TEXT NOT NULL,
        display   TEXT NOT NULL,
        name      TEXT,
        payload   BLOB NOT NULL,
        created   TEXT NOT NULL,
        UNIQUE (pipeline, window, split, stage, ordinal)
    );
    CREATE INDEX dead_letters_by_stage ON dead_letters (pipeline, stage, status);
    CREATE INDEX dead_letters_by_status ON dead_letters (pipeline, status);
    CREATE INDEX dead_letters_pending ON dead_letters (pipeline, window) WHERE status = 'pending';

    -- Letters that an unfinished replay window has taken; each belongs to one at most.
    CREATE TABLE replays (
        letter    INTEGER PRIMARY KEY REFERENCES dead_letters (id),
        pipeline  TEXT NOT NULL,
        window    INTEGER NOT NULL
    );
    CREATE INDEX replays_of_window ON replays (pipeline, window, letter);
";

const MIRROR: &str = "
    -- One row, where the file is a copy of a state that stands elsewhere: how many
    -- of its changes the copy has, and which one was the last.
    CREATE TABLE mirror (
        one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, last TEXT NOT NULL);
";

const COLUMNS: &str = "
    -- What a pipeline's source gave last: its columns, and what of the pipeline decides about them.
    ALTER TABLE pipelines ADD COLUMN columns TEXT;
";

const BACKFILLS: &str = "
    -- Windows of a kind more, for which the table is made anew.
    CREATE TABLE new_windows (
        pipeline    TEXT NOT NULL,
        id          INTEGER NOT NULL,
        run         TEXT NOT NULL,
        kind        TEXT NOT NULL CHECK (kind IN ('read', 'replay', 'backfill')),
        lower       TEXT,
        upper       TEXT,
        definition  BLOB NOT NULL REFERENCES definitions (hash),
        context     TEXT NOT NULL,
        created     TEXT NOT NULL,
        finished    TEXT,
        PRIMARY KEY (pipeline, id)
    ) WITHOUT ROWID;
    INSERT INTO new_windows SELECT * FROM windows;
    DROP TABLE windows;
    ALTER TABLE new_windows RENAME TO windows;
    CREATE INDEX windows_unfinished ON windows (pipeline, id) WHERE finished IS NULL;
    CREATE INDEX windows_of_definition ON windows (definition);

    -- Old windows that are being read again: how far, until all of them are planned.
    CREATE TABLE backfills (
        pipeline  TEXT NOT NULL,
        lower     TEXT NOT NULL,
        upper     TEXT NOT NULL,
        step      TEXT NOT NULL,
        reached   TEXT NOT NULL,
        PRIMARY KEY (pipeline, lower, upper, step)
    ) WITHOUT ROWID;
";

const ANSWERS: &str = "
    -- What the other side has answered for pieces of deliveries that are not settled yet.
    CREATE TABLE answers (
        pipeline  TEXT NOT NULL,
        window    INTEGER NOT NULL,
        sink      TEXT NOT NULL,
        split     TEXT NOT NULL,
        position  INTEGER NOT NULL,
        answer    TEXT NOT NULL,
        PRIMARY KEY (pipeline, window, sink, split, position)
    ) WITHOUT ROWID;
";

const NOTICES: &str = "
    -- How pipelines have been. Outlives a reset, so that no number of a notice is ever used twice.
    CREATE TABLE health (
        pipeline       TEXT PRIMARY KEY,
        failing_since  TEXT,
        failures       INTEGER NOT NULL,
        told           TEXT,
        next_notice    INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- What somebody is still to be told of a pipeline.
    CREATE TABLE notices (
        pipeline  TEXT NOT NULL,
        number    INTEGER NOT NULL,
        event     TEXT NOT NULL,
        record    TEXT NOT NULL,
        PRIMARY KEY (pipeline, number)
    ) WITHOUT ROWID;
";

const REMEMBERED: &str = "
    -- What stages keep for themselves, such as a login. In no mirror: it is a secret, and can be had again.
    CREATE TABLE remembered (
        pipeline  TEXT NOT NULL,
        stage     TEXT NOT NULL,
        value     TEXT NOT NULL,
        PRIMARY KEY (pipeline, stage)
    ) WITHOUT ROWID;
";

const TOLD: &str = "
    -- 1: the source is to be told once the window is finished; 0: it was, or does not want to.
    ALTER TABLE windows ADD COLUMN tells INTEGER NOT NULL DEFAULT 0;
    -- Why the last attempt has failed: an error, with its time.
    ALTER TABLE deliveries ADD COLUMN failure TEXT;
    CREATE INDEX windows_to_tell ON windows (pipeline, id) WHERE tells = 1 AND finished IS NOT NULL;
";

const SCHEDULES: &str = "
    -- How far schedules have been decided on. NULL: only paused so far.
    CREATE TABLE schedules (
        pipeline  TEXT PRIMARY KEY,
        times     TEXT,
        reached   TEXT,
        paused    INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Runs that are to begin.
    CREATE TABLE waiting (
        number    INTEGER PRIMARY KEY AUTOINCREMENT,
        pipeline  TEXT NOT NULL,
        trigger   TEXT NOT NULL,
        slot      TEXT,
        params    TEXT NOT NULL,
        reference TEXT,
        since     TEXT NOT NULL,
        UNIQUE (pipeline, slot)
    );

    -- What a run is for: the time of a schedule, the values of parameters that were given, what it is called by
    -- whoever asked for it.
    ALTER TABLE runs ADD COLUMN slot TEXT;
    ALTER TABLE runs ADD COLUMN params TEXT;
    ALTER TABLE runs ADD COLUMN reference TEXT;

    -- The time that a window is about, and up to when those of a pipeline are.
    ALTER TABLE windows ADD COLUMN about_from TEXT;
    ALTER TABLE windows ADD COLUMN about_to TEXT;
    ALTER TABLE pipelines ADD COLUMN covered TEXT;
    UPDATE pipelines SET covered = (
        SELECT max(started) FROM runs WHERE pipeline = pipelines.name AND (
            (outcome = 'succeeded' AND trigger NOT IN ('replay', 'resend', 'backfill'))
            OR id IN (SELECT run FROM windows WHERE pipeline = pipelines.name AND kind = 'read' AND finished IS NULL)));
";

/// How many steps the file has behind it.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map(|version| version.max(0) as usize)
}

/// Takes the steps that the file has not behind it yet, each with its number in
/// one transaction. A file of a newer engine is refused untouched.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Step<()> {
    let found = version(connection)?;
    refuse_newer(found, migrations.len())?;
    for (at, sql) in migrations.iter().enumerate().skip(found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", at as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Refuses what this engine would misread.
pub(crate) fn refuse_newer(found: usize, known: usize) -> Step<()> {
    if found <= known {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!("the state was written by a newer engine (layout {found}; this one knows layouts up to {known})"),
    )
    .hint("run the newer engine, or choose another folder with --state")
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_in_order_and_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)", "ALTER TABLE a ADD COLUMN y DEFAULT 7"];
        migrate(&mut connection, &steps[..2]).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        migrate(&mut connection, &steps).unwrap();
        migrate(&mut connection, &steps).unwrap();
        let row: (i64, i64) =
            connection.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (1, 7));
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_at_the_step_before() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)"];
        assert!(migrate(&mut connection, &steps).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_file_of_a_newer_engine_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(migrate(&mut connection, MIGRATIONS).is_err());
    }
}
