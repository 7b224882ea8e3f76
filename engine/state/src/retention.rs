//! Letting go of finished windows, so that the file does not grow with the number of runs.

use rusqlite::{Transaction, params};

use crate::error::Step;
use crate::store::int;

/// The newest windows kept a pipeline. Older ones go, with their part of the ledger,
/// once they are finished; unfinished ones and dead letters never go.
pub const KEPT_WINDOWS: u64 = 1_000;

/// Removes the finished windows before the newest `kept`, and what belongs to them
/// alone. Finds nothing or one window in the usual case.
pub(crate) fn forget_old_windows(transaction: &Transaction<'_>, pipeline: &str, kept: u64) -> Step<()> {
    let old: Vec<i64> = transaction
        .prepare_cached(
            "SELECT id FROM windows WHERE pipeline = ?1 AND finished IS NOT NULL AND tells = 0 \
             AND id < (SELECT next_window FROM pipelines WHERE name = ?1) - ?2",
        )?
        .query_map(params![pipeline, int(kept)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &old {
        for sql in [
            "DELETE FROM deliveries WHERE pipeline = ?1 AND window = ?2",
            "DELETE FROM window_sinks WHERE pipeline = ?1 AND window = ?2",
            "DELETE FROM splits WHERE pipeline = ?1 AND window = ?2",
            "DELETE FROM windows WHERE pipeline = ?1 AND id = ?2",
        ] {
            transaction.prepare_cached(sql)?.execute(params![pipeline, id])?;
        }
    }
    if !old.is_empty() {
        forget_unused_definitions(transaction)?;
    }
    Ok(())
}

pub(crate) fn forget_unused_definitions(transaction: &Transaction<'_>) -> Step<()> {
    transaction
        .prepare_cached("DELETE FROM definitions WHERE NOT EXISTS (SELECT 1 FROM windows WHERE definition = hash)")?
        .execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine_abi::Unit;
    use engine_abi::message::{Receipt, Split};
    use serde_json::{Value, json};

    use super::*;
    use crate::{Delivery, NewWindow, SinkPlan, State, WindowKind};

    fn create(state: &State, version: u64) -> u64 {
        let new = NewWindow {
            pipeline: "p".into(),
            run: "run".into(),
            kind: WindowKind::Read,
            lower: None,
            upper: None,
            splits: vec![Split { id: "0000".into(), ..Split::default() }],
            definition: json!({ "version": version }),
            context: Value::Null,
            sinks: vec![SinkPlan { name: "s".into(), unit: Unit::Split }],
            replays: Vec::new(),
            backfill: None,
            tells: false,
            about: None,
        };
        state.create_window(&new).unwrap().id
    }

    fn settle(state: &State, window: u64) {
        let delivery = Delivery { pipeline: "p".into(), sink: "s".into(), window, split: "0000".into() };
        state.settle(&delivery, &Receipt::default(), 0, 0).unwrap();
    }

    fn rows(state: &State, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        state.look("count", |transaction| Ok(transaction.query_row(&sql, [], |row| row.get(0))?)).unwrap()
    }

    #[test]
    fn old_windows_go_with_their_ledger_and_unfinished_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let ids: Vec<_> = (0..6).map(|version| create(&state, version)).collect();
        for id in ids.iter().filter(|id| **id != 2) {
            settle(&state, *id);
        }
        let forget = || state.write("forget", |transaction| forget_old_windows(transaction, "p", 2)).unwrap();
        forget();
        assert_eq!(state.window("p", 1).unwrap().map(|window| window.id), None);
        assert!(state.window("p", 2).unwrap().is_some());
        assert!(state.window("p", 5).unwrap().is_some());
        for (table, left) in [("windows", 3), ("splits", 3), ("window_sinks", 3), ("deliveries", 2), ("definitions", 3)]
        {
            assert_eq!(rows(&state, table), left, "{table}");
        }
        settle(&state, 2);
        assert_eq!(state.cursor("p", "s").unwrap().unwrap().window, 6);
        forget();
        assert_eq!(rows(&state, "windows"), 2);
        assert_eq!(create(&state, 0), 7);
    }
}
