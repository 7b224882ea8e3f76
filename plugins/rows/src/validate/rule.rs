//! The rules of one column.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use regex::Regex;

use super::bound::{Bound, Limit};
use super::{Length, Rule};
use crate::names;
use crate::shown::shown;

/// How many of the values that there may be a reason names.
const NAMED: usize = 10;

/// What a row breaks: a word to group by, and a sentence.
#[derive(Debug, Clone)]
pub struct Broken {
    pub code: &'static str,
    pub reason: String,
}

/// The rules of one column, for the columns of one stream.
pub struct Check {
    at: usize,
    name: String,
    required: bool,
    not_empty: bool,
    length: Option<Length>,
    pattern: Option<Regex>,
    min: Option<(Bound, String)>,
    max: Option<(Bound, String)>,
    one_of: Option<(Vec<Bound>, String)>,
}

/// A pattern that matches texts as a whole.
pub fn pattern(pattern: &str) -> Result<Regex> {
    let wrong = |error: regex::Error| {
        let error = error.to_string();
        let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Error::config(format!("the pattern {} cannot be read: {what}", shown(pattern)))
            .hint("it is a regular expression of the `regex` crate, without look-around and back references")
    };
    Regex::new(pattern).map_err(wrong)?;
    Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(wrong)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => matches!(other, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_))
}

impl Check {
    /// Fails where a rule cannot be asked about a column.
    pub fn new(schema: &Schema, name: &str, rule: &Rule) -> Result<Self> {
        let at = names::find(schema, name)?;
        let data_type = schema.field(at).data_type();
        let misplaced = |word: &str, wanted: &str| {
            Error::config(format!("`rules.{name}`: `{word}` is about {wanted}, and the column is {data_type}"))
                .hint("give the column another type before, with `select`, or leave the rule out")
        };
        let bound = |word: &str, limit: &Limit| {
            let ordered = !is_text(data_type) && data_type != &DataType::Boolean;
            if word != "one_of" && !ordered {
                return Err(misplaced(word, "numbers, dates and timestamps"));
            }
            Bound::new(limit, data_type).map_err(|why| {
                Error::config(format!("`rules.{name}`: `{word}: {limit}` {why}"))
                    .hint(format!("write a value of the column's type, {data_type}"))
            })
        };
        // A column of nothing but nulls has no value that could break a rule.
        let known = data_type != &DataType::Null;
        if known && rule.not_empty && !is_text(data_type) && !is_list(data_type) {
            return Err(misplaced("not_empty", "texts and lists"));
        }
        for (word, there) in [("length", rule.length.is_some()), ("pattern", rule.pattern.is_some())] {
            if known && there && !is_text(data_type) {
                return Err(misplaced(word, "texts"));
            }
        }
        let limit = |word: &str, limit: &Option<Limit>| -> Result<_> {
            match limit {
                Some(limit) if known => Ok(Some((bound(word, limit)?, limit.to_string()))),
                _ => Ok(None),
            }
        };
        let one_of = match &rule.one_of {
            Some(values) if known => {
                let bounds = values.iter().map(|value| bound("one_of", value)).collect::<Result<_>>()?;
                let mut named: Vec<_> = values.iter().take(NAMED).map(Limit::to_string).collect();
                named.extend((values.len() > NAMED).then(|| "…".to_owned()));
                Some((bounds, named.join(", ")))
            }
            _ => None,
        };
        Ok(Self {
            at,
            name: name.to_owned(),
            required: rule.required,
            not_empty: rule.not_empty,
            length: rule.length,
            pattern: rule.pattern.as_deref().map(pattern).transpose()?,
            min: limit("min", &rule.min)?,
            max: limit("max", &rule.max)?,
            one_of,
        })
    }

    /// Adds what each row breaks.
    pub fn apply(&self, batch: &RecordBatch, broken: &mut [Vec<Broken>]) -> Result<()> {
        let column = batch.column(self.at);
        let nulls = column.logical_nulls();
        let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        if self.required {
            for (_, broken) in broken.iter_mut().enumerate().filter(|(row, _)| is_null(*row)) {
                broken.push(Broken { code: "required", reason: format!("`{}` has no value", self.name) });
            }
        }
        if is_list(column.data_type()) {
            if self.not_empty {
                let length = list_lengths(column);
                for (row, broken) in broken.iter_mut().enumerate().filter(|(row, _)| !is_null(*row)) {
                    if length(row) == 0 {
                        broken.push(Broken { code: "not_empty", reason: format!("`{}` is an empty list", self.name) });
                    }
                }
            }
            return Ok(());
        }
        if !self.looks_at_values() {
            return Ok(());
        }
        let cells = Cells::new(column)?;
        for (row, broken) in broken.iter_mut().enumerate().filter(|(row, _)| !is_null(*row)) {
            self.judge(&cells, row, broken)?;
        }
        Ok(())
    }

    fn looks_at_values(&self) -> bool {
        self.not_empty
            || self.length.is_some()
            || self.pattern.is_some()
            || self.min.is_some()
            || self.max.is_some()
            || self.one_of.is_some()
    }

    fn judge(&self, cells: &Cells, row: usize, broken: &mut Vec<Broken>) -> Result<()> {
        let mut refuse = |code: &'static str, what: &str| -> Result<()> {
            let mut text = Vec::new();
            cells.write(row, b'T', &mut text);
            let text = String::from_utf8(text).map_err(|_| Error::internal("a value's text is not UTF-8"))?;
            broken.push(Broken { code, reason: format!("`{}` is {}: {what}", self.name, shown(&text)) });
            Ok(())
        };
        if let Some(text) = cells.text(row) {
            if self.not_empty && text.trim().is_empty() {
                refuse("not_empty", "nothing but white space")?;
            }
            if let Some(Length { min, max }) = self.length {
                let length = text.chars().count() as u64;
                if let Some(min) = min.filter(|min| length < *min) {
                    refuse("too_short", &format!("{length} characters, and at least {min} are wanted"))?;
                }
                if let Some(max) = max.filter(|max| length > *max) {
                    refuse("too_long", &format!("{length} characters, and at most {max} are allowed"))?;
                }
            }
            if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
                let written = pattern.as_str();
                let own = &written[r"\A(?:".len()..written.len() - r")\z".len()];
                refuse("pattern", &format!("not of the pattern {}", shown(own)))?;
            }
        }
        // What is not a number is neither above nor below, and within no bounds.
        if let Some((min, written)) = &self.min
            && !matches!(min.compare(cells, row), Some(Ordering::Greater | Ordering::Equal))
        {
            refuse("below_min", &format!("not at least {written}"))?;
        }
        if let Some((max, written)) = &self.max
            && !matches!(max.compare(cells, row), Some(Ordering::Less | Ordering::Equal))
        {
            refuse("above_max", &format!("not at most {written}"))?;
        }
        if let Some((values, written)) = &self.one_of
            && !values.iter().any(|value| value.compare(cells, row) == Some(Ordering::Equal))
        {
            refuse("one_of", &format!("none of {written}"))?;
        }
        Ok(())
    }
}

/// How many elements the list of a row has.
fn list_lengths(column: &ArrayRef) -> Box<dyn Fn(usize) -> usize + '_> {
    match column.as_list_opt::<i32>() {
        Some(lists) => Box::new(|row| lists.value_length(row) as usize),
        None => {
            let lists = column.as_list::<i64>();
            Box::new(|row| lists.value_length(row) as usize)
        }
    }
}
