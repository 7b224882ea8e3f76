//! Notices: what somebody is to be told of a pipeline's runs, kept until it is told.

use chrono::{DateTime, Utc};
use engine_abi::Result;
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use crate::State;
use crate::error::Step;
use crate::ledger::Delivery;
use crate::store::{int, json_from, json_text, time_from, time_text};

/// Notices of a pipeline that are kept while nobody can be told; older ones go.
pub const KEPT_NOTICES: i64 = 100;

/// How a pipeline has been.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// When the first of the runs ended that have failed since the last good one.
    pub failing_since: Option<DateTime<Utc>>,
    /// How many have failed since.
    pub failures: u64,
    /// When somebody was last told of a failure.
    pub told: Option<DateTime<Utc>>,
}

/// Something that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Counts up in a pipeline. A number is never used twice.
    pub number: u64,
    /// The key of the pipeline file that says who is told.
    pub event: String,
    /// What is told.
    pub record: Value,
}

impl State {
    /// What is to be told, oldest first.
    pub fn notices(&self, pipeline: &str) -> Result<Vec<Notice>> {
        self.look("list the notices", |transaction| {
            let mut statement = transaction
                .prepare_cached("SELECT number, event, record FROM notices WHERE pipeline = ?1 ORDER BY number")?;
            let mut rows = statement.query([pipeline])?;
            let mut notices = Vec::new();
            while let Some(row) = rows.next()? {
                let record: String = row.get(2)?;
                notices.push(Notice {
                    number: row.get::<_, i64>(0)? as u64,
                    event: row.get(1)?,
                    record: json_from(&record)?,
                });
            }
            Ok(notices)
        })
    }

    /// Stores what is to be told, apart from any run: events with their records.
    pub fn add_notices(&self, pipeline: &str, notices: Vec<(String, Value)>) -> Result<()> {
        self.write("store a notice", |transaction| note(transaction, pipeline, |_| notices))
    }

    /// Forgets a notice: it was told, or nobody is there to be told any more.
    pub fn forget_notice(&self, pipeline: &str, notice: &Notice) -> Result<()> {
        self.write("forget a notice", |transaction| {
            let number = notice.number as i64;
            transaction
                .prepare_cached("DELETE FROM answers WHERE pipeline = ?1 AND sink = ?2 AND window = ?3")?
                .execute(params![pipeline, notice.event, number])?;
            transaction
                .prepare_cached("DELETE FROM notices WHERE pipeline = ?1 AND number = ?2")?
                .execute(params![pipeline, number])?;
            Ok(())
        })
    }
}

/// Whether a delivery is that of a notice: its window is the notice's number, its sink the event.
pub(crate) fn is_one(transaction: &Transaction<'_>, delivery: &Delivery) -> Step<bool> {
    let mut statement =
        transaction.prepare_cached("SELECT 1 FROM notices WHERE pipeline = ?1 AND number = ?2 AND event = ?3")?;
    Ok(statement.exists(params![delivery.pipeline, int(delivery.window), delivery.sink])?)
}

/// Lets `tell` decide, from how a pipeline was, how it is and what is told of that: events with their records.
pub(crate) fn note(
    transaction: &Transaction<'_>,
    pipeline: &str,
    tell: impl FnOnce(&mut Health) -> Vec<(String, Value)>,
) -> Step<()> {
    let (before, mut next) = load(transaction, pipeline)?;
    let mut health = before.clone();
    let notices = tell(&mut health);
    if health == before && notices.is_empty() {
        return Ok(());
    }
    for (event, record) in notices {
        transaction
            .prepare_cached("INSERT INTO notices (pipeline, number, event, record) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![pipeline, next, event, json_text(&record)?])?;
        next += 1;
    }
    transaction
        .prepare_cached("DELETE FROM notices WHERE pipeline = ?1 AND number < ?2")?
        .execute(params![pipeline, next - KEPT_NOTICES])?;
    transaction
        .prepare_cached(
            "INSERT INTO health (pipeline, failing_since, failures, told, next_notice) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (pipeline) DO UPDATE SET failing_since = ?2, failures = ?3, told = ?4, next_notice = ?5",
        )?
        .execute(params![
            pipeline,
            health.failing_since.map(time_text),
            health.failures as i64,
            health.told.map(time_text),
            next
        ])?;
    Ok(())
}

/// How a pipeline was last, and the number of its next notice.
fn load(transaction: &Transaction<'_>, pipeline: &str) -> Step<(Health, i64)> {
    let found = transaction
        .prepare_cached("SELECT failing_since, failures, told, next_notice FROM health WHERE pipeline = ?1")?
        .query_row([pipeline], |row| {
            let times: (Option<String>, Option<String>) = (row.get(0)?, row.get(2)?);
            Ok((times, row.get::<_, i64>(1)?, row.get::<_, i64>(3)?))
        })
        .optional()?;
    let Some(((failing_since, told), failures, next)) = found else { return Ok((Health::default(), 1)) };
    let health = Health {
        failing_since: failing_since.as_deref().map(time_from).transpose()?,
        failures: failures as u64,
        told: told.as_deref().map(time_from).transpose()?,
    };
    Ok((health, next))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Outcome;

    fn time(minute: u32) -> DateTime<Utc> {
        format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap()
    }

    fn end(state: &State, tell: impl FnOnce(&mut Health) -> Vec<(String, Value)>) {
        let run = state.begin_run("p", "command", Utc::now()).unwrap();
        state.end_run_telling(&run, Outcome::Failed, &Value::Null, tell).unwrap();
    }

    #[test]
    fn a_notice_is_kept_until_it_is_told_and_its_number_is_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let tell = |text: &str| vec![("on_failure".to_owned(), json!({"what": text}))];
        end(&state, |_| tell("first"));
        end(&state, |_| tell("second"));
        let numbers = || state.notices("p").unwrap().iter().map(|notice| notice.number).collect::<Vec<_>>();
        assert_eq!(numbers(), [1, 2]);
        assert_eq!(state.notices("p").unwrap()[1].record, json!({"what": "second"}));
        for notice in state.notices("p").unwrap() {
            state.forget_notice("p", &notice).unwrap();
        }
        end(&state, |_| tell("third"));
        assert_eq!(numbers(), [3]);
        assert!(state.notices("q").unwrap().is_empty());
    }

    #[test]
    fn answers_to_a_notice_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let delivery = Delivery { pipeline: "p".into(), sink: "on_failure".into(), window: 1, split: "0000".into() };
        assert!(state.add_answer(&delivery, &json!(1)).is_err(), "there is no such notice");
        end(&state, |_| vec![("on_failure".to_owned(), json!({}))]);
        state.add_answer(&delivery, &json!(1)).unwrap();
        assert_eq!(state.answers(&delivery).unwrap(), [json!(1)]);
        state.forget_notice("p", &state.notices("p").unwrap()[0]).unwrap();
        assert!(state.answers(&delivery).unwrap().is_empty());
    }

    #[test]
    fn of_many_that_cannot_be_told_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        for _ in 0..KEPT_NOTICES + 5 {
            end(&state, |_| vec![("on_failure".to_owned(), json!({}))]);
        }
        let notices = state.notices("p").unwrap();
        assert_eq!((notices.len() as i64, notices[0].number), (KEPT_NOTICES, 6));
    }

    #[test]
    fn health_is_what_the_last_run_has_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let failing = Health { failing_since: Some(time(1)), failures: 2, told: Some(time(3)) };
        end(&state, |health| {
            assert_eq!(*health, Health::default());
            *health = failing.clone();
            vec![]
        });
        drop(state);
        let state = State::open(folder.path()).unwrap();
        end(&state, |health| {
            assert_eq!(*health, failing);
            vec![]
        });
    }
}
