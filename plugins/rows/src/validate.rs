//! Rows that break a rule become dead letters.

mod bound;
mod rule;

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use bound::Limit;
use rule::{Broken, Check};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What must hold of which columns. A row that breaks a rule becomes a dead letter with all that it breaks.
    rules: IndexMap<String, Rule>,
}

/// What must hold of a column. But for `required`, a row without a value there breaks nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// There is a value.
    #[serde(default)]
    required: bool,
    /// A text has characters other than white space; a list has elements.
    #[serde(default)]
    not_empty: bool,
    /// How many characters a text has.
    length: Option<Length>,
    /// A regular expression that the whole of a text matches.
    pattern: Option<String>,
    /// The smallest number, date or timestamp.
    min: Option<Limit>,
    /// The largest number, date or timestamp.
    max: Option<Limit>,
    /// The values that there may be.
    one_of: Option<Vec<Limit>>,
}

/// From and up to how many.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Length {
    /// The fewest.
    min: Option<u64>,
    /// The most.
    max: Option<u64>,
}

/// The component.
pub struct Validate {
    config: Config,
    cx: Context,
}

impl Component for Validate {
    type Config = Config;
    const SUMMARY: &'static str = "Makes dead letters of rows that break a rule";

    fn examples() -> Vec<Example> {
        vec![example("an amount that is there and not negative, and one of two words", {
            json!({"rules": {
                "amount": {"required": true, "min": 0},
                "status": {"one_of": ["open", "closed"]},
            }})
        })]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.rules.is_empty() {
            return Err(Error::config("`rules` is empty: nothing would be looked at")
                .hint("name columns and what must hold of them"));
        }
        for (column, rule) in &config.rules {
            rule.require_sense(column)?;
        }
        Ok(Self { config, cx })
    }
}

impl Rule {
    /// Refuses what no column could keep to.
    fn require_sense(&self, column: &str) -> Result<()> {
        let wrong = |what: String, hint: &str| Err(Error::config(format!("`rules.{column}`: {what}")).hint(hint));
        let ranged = self.min.is_some() || self.max.is_some() || self.one_of.is_some();
        if !(self.required || self.not_empty || self.length.is_some() || self.pattern.is_some() || ranged) {
            return wrong("there is no rule".into(), "write one, such as `required: true`, or leave the column out");
        }
        if let Some(Length { min, max }) = self.length
            && (min.is_none() && max.is_none() || min.zip(max).is_some_and(|(min, max)| min > max))
        {
            return wrong("no text is of that `length`".into(), "write `min`, `max` or both, the smaller one as `min`");
        }
        if self.one_of.as_ref().is_some_and(Vec::is_empty) {
            return wrong("`one_of` is empty: no value would be right".into(), "write the values that there may be");
        }
        if let Some(pattern) = &self.pattern {
            rule::pattern(pattern).map_err(|error| error.context(format_args!("`rules.{column}`")))?;
        }
        Ok(())
    }
}

impl Transform for Validate {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let schema = input.schema();
        let rules = self.config.rules.iter();
        let checks = rules.map(|(column, rule)| Check::new(&schema, column, rule)).collect::<Result<Vec<_>>>()?;
        let cx = self.cx.clone();
        Ok(Batches::new(schema, input.map(move |batch| validate(&batch?, &checks, &cx))))
    }
}

fn validate(batch: &RecordBatch, checks: &[Check], cx: &Context) -> Result<RecordBatch> {
    cx.check_cancelled()?;
    let mut broken: Vec<Vec<Broken>> = vec![Vec::new(); batch.num_rows()];
    for check in checks {
        check.apply(batch, &mut broken)?;
    }
    if broken.iter().all(Vec::is_empty) {
        return Ok(batch.clone());
    }
    for (row, broken) in broken.iter().enumerate() {
        if let Some(first) = broken.first() {
            let reasons: Vec<_> = broken.iter().map(|it| it.reason.as_str()).collect();
            cx.reject_rows(&batch.slice(row, 1), first.code, &reasons.join("; "))?;
        }
    }
    let good = BooleanArray::from(broken.iter().map(Vec::is_empty).collect::<Vec<_>>());
    Ok(filter_record_batch(batch, &good)?)
}

#[cfg(test)]
mod tests;
