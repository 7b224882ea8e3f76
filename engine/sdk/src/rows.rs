//! The daily bread of transforms, so that an author writes what happens to one
//! value and nothing else.

use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow_select::filter::filter_record_batch;
use engine_abi::{Batches, Result};

use crate::{Context, find_text_column};

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, with this text.
    Keep(String),
    /// It is left out on purpose.
    Drop,
    /// It is refused, and becomes a dead letter.
    Reject {
        /// A short stable word to group by, such as `bad_number`.
        code: &'static str,
        /// What is wrong, for a person.
        reason: String,
    },
}

/// Asks `judge` about every text of a column. Rows without a value go on as they are.
///
/// Rows in = rows out + dropped + rejected, which the engine adds up.
pub fn map_text(
    input: Batches,
    cx: &Context,
    column: &str,
    mut judge: impl FnMut(&str) -> Verdict + Send + 'static,
) -> Result<Batches> {
    let (schema, cx) = (input.schema(), cx.clone());
    let column = find_text_column(&schema, column)?;
    let output = input.map(move |batch| {
        cx.check_cancelled()?;
        map_batch(&batch?, &cx, column, &mut judge)
    });
    Ok(Batches::new(schema, output))
}

fn map_batch(
    batch: &RecordBatch,
    cx: &Context,
    column: usize,
    judge: &mut impl FnMut(&str) -> Verdict,
) -> Result<RecordBatch> {
    let texts = batch.column(column).as_any().downcast_ref::<StringArray>().expect("the stream announced text");
    let (mut kept, mut going_on, mut dropped) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()), 0);
    for (row, text) in texts.iter().enumerate() {
        let verdict = text.map(&mut *judge);
        going_on.push(matches!(verdict, None | Some(Verdict::Keep(_))));
        match verdict {
            None => kept.push(None),
            Some(Verdict::Keep(text)) => kept.push(Some(text)),
            Some(Verdict::Drop) => dropped += 1,
            Some(Verdict::Reject { code, reason }) => cx.reject_rows(&batch.slice(row, 1), code, &reason)?,
        }
    }
    if dropped > 0 {
        cx.filtered(dropped);
    }
    let rows = filter_record_batch(batch, &BooleanArray::from(going_on))?;
    let mut columns = rows.columns().to_vec();
    columns[column] = Arc::new(StringArray::from(kept));
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use arrow_array::create_array;
    use serde_json::json;

    use super::*;
    use crate::prelude::*;
    use crate::testing::Host;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Config {}

    struct Shout(Context);

    impl Component for Shout {
        type Config = Config;
        const SUMMARY: &'static str = "Test";

        fn examples() -> Vec<Example> {
            Vec::new()
        }

        fn open(_: Config, cx: Context) -> Result<Self> {
            Ok(Self(cx))
        }
    }

    impl Transform for Shout {
        fn apply(&mut self, input: Batches) -> Result<Batches> {
            map_text(input, &self.0, "text", |text| match text {
                "" => Verdict::Drop,
                "bad" => Verdict::Reject { code: "bad", reason: "it is bad".into() },
                text => Verdict::Keep(text.to_uppercase()),
            })
        }
    }

    #[test]
    fn rows_are_kept_dropped_or_rejected() {
        let host = Host::new();
        let mut shout: Shout = host.open(json!({})).unwrap();
        let texts = create_array!(Utf8, [Some("a"), None, Some(""), Some("bad"), Some("b")]) as _;
        let numbers = create_array!(Int64, [1, 2, 3, 4, 5]) as _;
        let input = RecordBatch::try_from_iter_with_nullable([("text", texts, true), ("n", numbers, false)]).unwrap();
        let out = shout.apply(Batches::once(input)).unwrap().collect::<Result<Vec<_>>>().unwrap();
        assert_eq!(out[0].column(0), &(create_array!(Utf8, [Some("A"), None, Some("B")]) as _));
        assert_eq!(out[0].column(1), &(create_array!(Int64, [1, 2, 5]) as _));
        assert_eq!(host.filtered(), 1);
        assert_eq!(host.rejections()[0].code, "bad");
    }
}
