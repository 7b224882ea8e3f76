//! Reading only what is new: settings, positions, windows.

use chrono::{NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use engine_abi::message::PlanRequest;
use engine_abi::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scalar, Statement, suggestion};
use crate::types;

/// Reads only rows that are new since the last run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// A column whose values only grow: a number, a time, a sortable id. Rows
    /// without a value in it are not read.
    #[serde(default)]
    pub column: Option<String>,
    /// A column that tells rows with the same value of `column` apart and grows
    /// among them, such as the primary key. With it, a row that gets the newest
    /// value later is still read.
    #[serde(default)]
    pub key: Option<String>,
    /// Instead of `column`: a query of one column with the values that the
    /// windows go by. The source's own `query` then says with `:window_start`
    /// and `:window_end` what it reads of a window.
    #[serde(default)]
    pub query: Option<String>,
    /// Where the first run begins: with `column` this value included, with
    /// `query` the first `:window_start`. Unset: with the smallest value that
    /// there is.
    #[serde(default)]
    pub start: Option<Scalar>,
    /// How long a value of a time has to be in the past before it is read.
    /// Longer than any transaction that writes such rows takes: what is
    /// committed later than a larger value was read is never read.
    #[serde(default)]
    pub lag: Option<types::Duration>,
    /// The time zone of times without time zone, for `lag`: `Europe/Dublin`.
    /// Unset: UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// By what the windows of a cursor go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth<'a> {
    /// A column of what is read, and what tells equal values apart.
    Column {
        /// The column.
        column: &'a str,
        /// The column that tells equal values apart.
        key: Option<&'a str>,
    },
    /// The values of a query.
    Query(&'a str),
}

impl Cursor {
    /// By what its windows go.
    ///
    /// # Errors
    /// `Config`, where the settings do not say it or contradict each other or
    /// `statement`, the source's query if it has one.
    pub(super) fn growth(&self, statement: Option<&Statement>) -> Result<Growth<'_>> {
        self.zone()?;
        let names_window = statement.is_some_and(Statement::names_window);
        match (&self.column, &self.query) {
            (Some(_), None) if names_window => Err(Error::config(
                "the query names its window, and `cursor.column` would cut it a second time",
            )
            .hint("write `cursor.query`, a query of the values that windows go by, or leave `:window_start` and `:window_end` out")),
            (Some(column), None) => {
                if self.key.as_ref() == Some(column) {
                    return Err(Error::config("`cursor.key` is the column that `cursor.column` is")
                        .hint("leave `cursor.key` out, or name another column, such as the primary key"));
                }
                Ok(Growth::Column { column, key: self.key.as_deref() })
            }
            (None, Some(_)) if self.key.is_some() => Err(Error::config("`cursor.key` belongs to `cursor.column`")
                .hint("leave `cursor.key` out")),
            (None, Some(_)) if !names_window => Err(Error::config(
                "`cursor.query` needs a `query` with `:window_end`, and mostly `:window_start`",
            )
            .hint("write for example `WHERE changed > :window_start AND changed <= :window_end`")),
            (None, Some(query)) => {
                let uses_start = statement.is_some_and(|statement| statement.names_window_start());
                if self.start.is_none() && uses_start {
                    return Err(Error::config("`cursor.query` needs `cursor.start`")
                        .hint("write the value that the first `:window_start` is, such as `1900-01-01`"));
                }
                Ok(Growth::Query(query))
            }
            (None, None) | (Some(_), Some(_)) => {
                Err(Error::config("a cursor needs either `column` or `query`, and not both"))
            }
        }
    }
}

impl Cursor {
    /// The newest time that may be read at `now`, both in UTC, or in `time_zone`
    /// where the times have no zone of their own (`is_local`). None without `lag`.
    ///
    /// Where clocks are about to be set back, local times wait until they cannot
    /// come a second time: read by their values, rows of the hour that comes twice
    /// would otherwise lie behind the cursor.
    ///
    /// # Errors
    /// `Config`, where `time_zone` is none.
    pub fn newest(&self, now: NaiveDateTime, is_local: bool) -> Result<Option<NaiveDateTime>> {
        let zone = self.zone()?;
        let Some(lag) = self.lag else { return Ok(None) };
        let local = |at: NaiveDateTime| match zone.filter(|_| is_local) {
            Some(zone) => zone.from_utc_datetime(&at).naive_local(),
            None => at,
        };
        let lag = TimeDelta::from_std(lag.0).unwrap_or(TimeDelta::MAX);
        let too_long = || Error::config("`cursor.lag` reaches back beyond all times");
        let at = now.checked_sub_signed(lag).ok_or_else(too_long)?;
        let ahead = at.checked_add_signed(SET_BACK).ok_or_else(too_long)?;
        Ok(Some(local(at).min(local(ahead) - SET_BACK)))
    }

    /// The error of a `lag` on a column that holds no times.
    pub fn not_a_time(column: &str) -> Error {
        Error::config(format!("`cursor.lag` is for columns of times, and `{column}` is none")).hint("leave `lag` out")
    }

    /// The error of rows that have no value in the column `key` names: they would be in no window.
    pub fn without_key(key: &str) -> Error {
        Error::config(format!("rows of this window have no value in `{key}`, which `cursor.key` names"))
            .hint("they could not be told from others: name a column that is never null, such as the primary key")
    }

    /// The error of a `query` that gives another number of columns than one.
    pub fn not_one_column(count: usize) -> Error {
        Error::config(format!("`cursor.query` gives {count} columns"))
            .hint("it gives one: the values that windows go by")
    }

    fn zone(&self) -> Result<Option<Tz>> {
        let Some(name) = &self.time_zone else { return Ok(None) };
        name.parse().map(Some).map_err(|_| {
            let known = suggestion(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            Error::config(format!("`cursor.time_zone: {name}` is no time zone")).hint(known)
        })
    }
}

/// How far ahead is looked for clocks that are set back: further than they ever are.
const SET_BACK: TimeDelta = TimeDelta::hours(3);

/// How far a cursor has got: what a plan answers as `upper`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Position {
    /// All rows with this value and below.
    Value(Scalar),
    /// All rows below this value, and those with it up to this key.
    Keyed {
        /// The value.
        value: Scalar,
        /// The key, among the rows with the value.
        key: Scalar,
    },
}

impl Position {
    /// What the engine has kept of the last window, or a person has set.
    ///
    /// # Errors
    /// `Config`, where it is none.
    pub fn of(request: &PlanRequest) -> Result<Option<Self>> {
        Self::read(request.cursor.as_ref())
    }

    /// Where a window is to end, if that is asked for.
    ///
    /// # Errors
    /// `Config`, where it is none.
    pub fn end_of(request: &PlanRequest) -> Result<Option<Self>> {
        Self::read(request.upper.as_ref())
    }

    fn read(cursor: Option<&serde_json::Value>) -> Result<Option<Self>> {
        let Some(cursor) = cursor else { return Ok(None) };
        let position = Self::deserialize(cursor).ok().filter(|position| *position.value() != Scalar::Null);
        position.map(Some).ok_or_else(|| {
            Error::config(format!("the stored cursor {cursor} is no position of this source"))
                .hint("set it with `engine state set`, to a number, a text or {\"value\": …, \"key\": …}")
        })
    }

    /// The value.
    pub fn value(&self) -> &Scalar {
        match self {
            Self::Value(value) | Self::Keyed { value, .. } => value,
        }
    }

    /// The key, where it has one.
    pub fn key(&self) -> Option<&Scalar> {
        match self {
            Self::Value(_) => None,
            Self::Keyed { key, .. } => Some(key),
        }
    }
}

/// What one window of a cursor reads: above one position, up to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The column; none where the query names its window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The column that tells equal values apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only what is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
    /// Only what is not smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Scalar>,
    /// Only what is not larger. Absent while it is searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Position>,
}

/// What a value of a window is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The cursor's column.
    Column,
    /// The column that tells equal values apart.
    Key,
}

impl Window {
    /// The next one: above the last window or from the start, and up to where the request
    /// says, if it does.
    ///
    /// # Errors
    /// `Config`, where the request holds no position.
    pub fn next(cursor: &Cursor, growth: Growth<'_>, request: &PlanRequest) -> Result<Self> {
        let (column, key) = match growth {
            Growth::Column { column, key } => (Some(column.to_owned()), key.map(str::to_owned)),
            Growth::Query(_) => (None, None),
        };
        let after = Position::of(request)?;
        let from = if after.is_none() { cursor.start.clone() } else { None };
        Ok(Self { column, key, after, from, to: Position::end_of(request)? })
    }

    /// What its end is looked for among, as conditions of a WHERE; as [`Window::conditions`].
    ///
    /// # Errors
    /// Those of `literal`.
    pub fn search(
        &self,
        column: &str,
        key: Option<&str>,
        mut literal: impl FnMut(Compared, &Scalar) -> Result<String>,
    ) -> Result<Vec<String>> {
        let mut conditions = vec![format!("{column} IS NOT NULL")];
        match &self.from {
            // As the query itself does it.
            Some(from) if self.column.is_none() => {
                conditions.push(format!("{column} > {}", literal(Compared::Column, from)?));
            }
            _ => conditions.extend(self.conditions(column, key, literal)?),
        }
        Ok(conditions)
    }

    /// What `:window_start` is.
    pub fn start(&self) -> Scalar {
        self.after.as_ref().map(Position::value).or(self.from.as_ref()).cloned().unwrap_or(Scalar::Null)
    }

    /// What `:window_end` is.
    pub fn end(&self) -> Scalar {
        self.to.as_ref().map_or(Scalar::Null, |position| position.value().clone())
    }

    /// The window as conditions of a WHERE, for `column` and `key` as SQL text.
    /// `literal` writes a value to compare with one of them. Positions without a key
    /// stand for all rows with their value.
    ///
    /// # Errors
    /// Those of `literal`.
    pub fn conditions(
        &self,
        column: &str,
        key: Option<&str>,
        mut literal: impl FnMut(Compared, &Scalar) -> Result<String>,
    ) -> Result<Vec<String>> {
        let mut conditions = vec![];
        if let Some(after) = &self.after {
            let value = literal(Compared::Column, after.value())?;
            match key.zip(after.key()) {
                // The first half alone can be looked up in an index.
                Some((key, last)) => conditions.push(format!(
                    "{column} >= {value} AND ({column} > {value} OR {key} > {})",
                    literal(Compared::Key, last)?
                )),
                None => conditions.push(format!("{column} > {value}")),
            }
        }
        if let Some(from) = &self.from {
            conditions.push(format!("{column} >= {}", literal(Compared::Column, from)?));
        }
        if let Some(to) = &self.to {
            let value = literal(Compared::Column, to.value())?;
            match key.zip(to.key()) {
                Some((key, last)) => conditions.push(format!(
                    "{column} <= {value} AND ({column} < {value} OR {key} <= {})",
                    literal(Compared::Key, last)?
                )),
                None => conditions.push(format!("{column} <= {value}")),
            }
        }
        Ok(conditions)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::database::Quoting;

    fn cursor(config: serde_json::Value) -> Cursor {
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_cursor_goes_by_a_column_or_by_a_query_that_names_its_window() {
        let named =
            Statement::parse("SELECT 1 WHERE a > :window_start AND a <= :window_end", Quoting::STANDARD).unwrap();
        let plain = Statement::parse("SELECT 1", Quoting::STANDARD).unwrap();
        let by_column = cursor(json!({"column": "at", "key": "id"}));
        assert_eq!(by_column.growth(Some(&plain)).unwrap(), Growth::Column { column: "at", key: Some("id") });
        assert_eq!(by_column.growth(None).unwrap(), Growth::Column { column: "at", key: Some("id") });
        let by_query = cursor(json!({"query": "SELECT at FROM t", "start": 0}));
        assert_eq!(by_query.growth(Some(&named)).unwrap(), Growth::Query("SELECT at FROM t"));
        for (config, statement, said) in [
            (json!({"column": "at"}), Some(&named), "cut it a second time"),
            (json!({"column": "at", "key": "at"}), None, "is the column that"),
            (json!({"query": "q", "start": 0, "key": "id"}), Some(&named), "belongs to"),
            (json!({"query": "q", "start": 0}), Some(&plain), "needs a `query` with"),
            (json!({"query": "q", "start": 0}), None, "needs a `query` with"),
            (json!({"query": "q"}), Some(&named), "needs `cursor.start`"),
            (json!({"query": "q", "column": "at"}), Some(&named), "and not both"),
            (json!({}), None, "and not both"),
        ] {
            let error = cursor(config.clone()).growth(statement).unwrap_err();
            assert!(error.message.contains(said), "{config}: {error}");
        }
    }

    #[test]
    fn local_times_that_come_twice_are_read_when_they_cannot_come_again() {
        let dublin = cursor(json!({"column": "at", "lag": "1m", "time_zone": "Europe/Dublin"}));
        let newest = |now: &str, is_local| dublin.newest(now.parse().unwrap(), is_local).unwrap().unwrap().to_string();
        // Summer time ends on 25 October 2026 at 01:00 UTC: 02:00 becomes 01:00.
        assert_eq!(newest("2026-10-24T12:01:00", true), "2026-10-24 13:00:00");
        assert_eq!(newest("2026-10-25T00:31:00", true), "2026-10-25 00:30:00", "and not 01:30, which comes again");
        assert_eq!(newest("2026-10-25T01:01:00", true), "2026-10-25 01:00:00");
        assert_eq!(newest("2026-10-25T01:31:00", true), "2026-10-25 01:30:00", "for the second time");
        // It begins on 29 March 2026 at 01:00 UTC: 01:00 becomes 02:00.
        assert_eq!(newest("2026-03-29T00:31:00", true), "2026-03-29 00:30:00");
        assert_eq!(newest("2026-03-29T01:31:00", true), "2026-03-29 02:30:00");
        assert_eq!(newest("2026-10-25T00:31:00", false), "2026-10-25 00:30:00", "moments never come twice");
        // Whatever is written later has a time that no window before has reached.
        let begin = "2026-10-24T18:00:00".parse::<NaiveDateTime>().unwrap();
        let minutes: Vec<_> = (0..24 * 60).map(|minute| begin + TimeDelta::minutes(minute)).collect();
        let written: Vec<_> =
            minutes.iter().map(|at| chrono_tz::Europe::Dublin.from_utc_datetime(at).naive_local()).collect();
        for (at, now) in minutes.iter().enumerate() {
            let read = dublin.newest(*now, true).unwrap().unwrap();
            assert!(written[at..].iter().all(|later| *later > read), "{now}");
        }
        let wrong = cursor(json!({"column": "at", "time_zone": "Europe/Dublinn"}));
        assert!(wrong.growth(None).unwrap_err().hint.unwrap().contains("Europe/Dublin"));
    }

    #[test]
    fn positions_are_read_as_they_were_kept_and_as_people_set_them() {
        let of = |cursor| Position::of(&PlanRequest { cursor: Some(cursor), ..PlanRequest::default() });
        assert_eq!(of(json!("2026-01-01")).unwrap(), Some(Position::Value("2026-01-01".into())));
        assert_eq!(of(json!(4)).unwrap(), Some(Position::Value(4.into())));
        let keyed = Position::Keyed { value: "4".into(), key: "17".into() };
        assert_eq!(of(serde_json::to_value(&keyed).unwrap()).unwrap(), Some(keyed));
        for wrong in [json!([]), json!({"value": 1}), json!(null), json!({"value": null, "key": 1})] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(Position::of(&PlanRequest::default()).unwrap(), None);
    }

    #[test]
    fn a_window_takes_up_among_equal_values_where_the_last_one_ended() {
        let window = Window {
            column: Some("at".into()),
            key: Some("id".into()),
            after: Some(Position::Keyed { value: 3.into(), key: 7.into() }),
            from: None,
            to: Some(Position::Keyed { value: 5.into(), key: 9.into() }),
        };
        let literal = |_, value: &Scalar| Ok(value.to_string());
        assert_eq!(
            window.conditions("c", Some("k"), literal).unwrap(),
            ["c >= 3 AND (c > 3 OR k > 7)", "c <= 5 AND (c < 5 OR k <= 9)"]
        );
        let window = Window { after: Some(Position::Value(3.into())), ..window };
        assert_eq!(window.conditions("c", Some("k"), literal).unwrap()[0], "c > 3", "set by a person, without a key");
        assert_eq!((window.start(), window.end()), (3.into(), 5.into()));
    }
}
