//! Hides all but the last characters of a text column.

use std::sync::Arc;

use arrow_array::{BooleanArray, StringArray};
use arrow_select::filter::filter_record_batch;
use engine_sdk::find_text_column;
use engine_sdk::prelude::*;

/// Which column, and how much of it stays readable.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The text column to hide.
    column: String,

    /// How many characters at the end stay. A text that is not longer than
    /// this would be shown whole; its row becomes a dead letter.
    #[serde(default = "four")]
    keep: usize,
}

fn four() -> usize {
    4
}

struct Mask {
    config: Config,
    cx: Context,
}

impl Component for Mask {
    type Config = Config;
    const SUMMARY: &'static str = "Hides all but the last characters of a text column";

    fn examples() -> Vec<Example> {
        vec![example("the last four digits stay", json!({"column": "number"}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.column.is_empty() {
            return Err(Error::config("`column` is empty").hint("name the text column to hide"));
        }
        Ok(Self { config, cx })
    }
}

impl Transform for Mask {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let schema = input.schema();
        let column = find_text_column(&schema, &self.config.column)?;
        let (cx, keep) = (self.cx.clone(), self.config.keep);
        let output = input.map(move |batch| {
            cx.check_cancelled()?;
            mask(&batch?, column, keep, &cx)
        });
        Ok(Batches::new(schema, output))
    }
}

fn mask(batch: &RecordBatch, column: usize, keep: usize, cx: &Context) -> Result<RecordBatch> {
    let texts = batch.column(column).as_any().downcast_ref::<StringArray>();
    let texts = texts.ok_or_else(|| Error::internal("the column has another type than the stream announced"))?;

    let long_enough: BooleanArray =
        texts.iter().map(|text| Some(text.is_none_or(|text| text.chars().count() > keep))).collect();
    for row in (0..batch.num_rows()).filter(|row| !long_enough.value(*row)) {
        let reason = format!("`{}` is not longer than {keep} characters", batch.schema().field(column).name());
        cx.reject_rows(&batch.slice(row, 1), "too_short", &reason)?;
    }

    let good = filter_record_batch(batch, &long_enough)?;
    let texts = good.column(column).as_any().downcast_ref::<StringArray>().expect("filtering keeps types");
    let masked: StringArray = texts.iter().map(|text| text.map(|text| hide(text, keep))).collect();
    let mut columns = good.columns().to_vec();
    columns[column] = Arc::new(masked);
    Ok(RecordBatch::try_new(good.schema(), columns)?)
}

fn hide(text: &str, keep: usize) -> String {
    let hidden = text.chars().count() - keep;
    text.chars().enumerate().map(|(at, character)| if at < hidden { '*' } else { character }).collect()
}

engine_sdk::module!("mask": transform "mask" => Mask);

#[cfg(test)]
mod tests {
    use engine_sdk::testing::Host;

    use super::*;

    fn numbers(texts: Vec<Option<&str>>) -> Batches {
        let column = Arc::new(StringArray::from(texts)) as _;
        Batches::once(RecordBatch::try_from_iter_with_nullable([("number", column, true)]).unwrap())
    }

    #[test]
    fn all_but_the_last_characters_are_hidden_and_nulls_stay() {
        let host = Host::new();
        let mut mask: Mask = host.open(json!({"column": "number", "keep": 2})).unwrap();
        let rows: Vec<_> = mask.apply(numbers(vec![Some("2434"), None])).unwrap().map(Result::unwrap).collect();
        let texts = rows[0].column(0).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("**34"), None]);
    }

    #[test]
    fn a_text_that_would_be_shown_whole_is_refused_and_its_neighbours_go_on() {
        let host = Host::new();
        let mut mask: Mask = host.open(json!({"column": "number"})).unwrap();
        let rows: usize = mask
            .apply(numbers(vec![Some("0223007051"), Some("2434")]))
            .unwrap()
            .map(|rows| rows.unwrap().num_rows())
            .sum();
        assert_eq!(rows, 1);
        assert_eq!(host.rejections()[0].code, "too_short");
    }

    #[test]
    fn a_column_that_is_not_there_is_a_mistake_of_the_configuration() {
        let host = Host::new();
        let mut mask: Mask = host.open(json!({"column": "nmber"})).unwrap();
        let error = mask.apply(numbers(vec![])).err().unwrap();
        assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Config, Some("the columns are number")));
    }
}
