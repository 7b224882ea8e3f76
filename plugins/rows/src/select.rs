//! Which columns go on, under which names, as which types.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use engine_sdk::columns::ColumnType;
use engine_sdk::prelude::*;

use crate::convert::{Conversion, Refusal};
use crate::names;

/// The settings. Columns are named as they come in, everywhere.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The columns that go on, in this order. Left out: all of them, as they come.
    keep: Option<Vec<String>>,
    /// The columns that end here. Not together with `keep`.
    #[serde(default)]
    drop: Vec<String>,
    /// New names of columns.
    #[serde(default)]
    rename: BTreeMap<String, String>,
    /// New types of columns. A value that the type does not hold exactly makes a dead letter of its row.
    #[serde(default)]
    types: BTreeMap<String, ColumnType>,
}

/// The component.
pub struct Select {
    config: Config,
    cx: Context,
}

impl Component for Select {
    type Config = Config;
    const SUMMARY: &'static str = "Keeps, drops, renames and retypes columns";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "two columns, one of them under another name",
                json!({"keep": ["called_number", "duration"], "rename": {"called_number": "callee"}}),
            ),
            example("all but one, and a text that becomes an amount", {
                json!({"drop": ["comment"], "types": {"amount": "decimal(12,2)"}})
            }),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.keep.is_some() && !config.drop.is_empty() {
            return Err(Error::config("`keep` and `drop` stand together")
                .hint("`keep` names all columns that go on: leave `drop` away"));
        }
        if config.keep.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::config("`keep` is empty: no column would go on").hint("name the columns that go on"));
        }
        let nothing = config.keep.is_none() && config.drop.is_empty();
        if nothing && config.rename.is_empty() && config.types.is_empty() {
            return Err(Error::config("there is nothing to select").hint("write `keep`, `drop`, `rename` or `types`"));
        }
        Ok(Self { config, cx })
    }
}

impl Transform for Select {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let plan = Plan::new(&self.config, &input.schema())?;
        let (schema, cx) = (SchemaRef::clone(&plan.schema), self.cx.clone());
        Ok(Batches::new(schema, input.map(move |batch| plan.select(&batch?, &cx))))
    }
}

/// What becomes of the columns of one stream.
struct Plan {
    columns: Vec<(usize, Option<Conversion>)>,
    schema: SchemaRef,
}

impl Plan {
    fn new(config: &Config, schema: &Schema) -> Result<Self> {
        let named = |names: &[String]| names.iter().map(|name| names::find(schema, name)).collect::<Result<Vec<_>>>();
        let dropped = named(&config.drop)?;
        let kept = match &config.keep {
            Some(keep) => named(keep)?,
            None => (0..schema.fields().len()).filter(|at| !dropped.contains(at)).collect(),
        };
        let renamed = config.rename.keys().map(|name| ("rename", name));
        for (word, name) in renamed.chain(config.types.keys().map(|name| ("types", name))) {
            if !kept.contains(&names::find(schema, name)?) {
                return Err(Error::config(format!("`{word}` names the column `{name}`, which does not go on"))
                    .hint("keep it, or leave it away there"));
            }
        }
        let (mut columns, mut fields) = (Vec::with_capacity(kept.len()), Vec::<Arc<Field>>::with_capacity(kept.len()));
        for at in kept {
            let from = &schema.fields()[at];
            let (name, to) = (from.name(), config.types.get(from.name()).copied());
            let to = to.filter(|to| to.data_type() != *from.data_type());
            let mut field = from.as_ref().clone().with_name(config.rename.get(name).unwrap_or(name));
            if let Some(to) = to {
                field.set_data_type(to.data_type());
            }
            if fields.iter().any(|other| other.name() == field.name()) {
                return Err(Error::config(format!("two columns would be named `{}`", field.name()))
                    .hint("give one of them another name, or keep one of them"));
            }
            columns.push((at, to.map(|to| Conversion::new(name, from.data_type(), to)).transpose()?));
            fields.push(Arc::new(field));
        }
        Ok(Self { columns, schema: Arc::new(Schema::new(fields)) })
    }

    fn select(&self, batch: &RecordBatch, cx: &Context) -> Result<RecordBatch> {
        cx.check_cancelled()?;
        let mut refused: Vec<Option<Refusal>> = vec![None; batch.num_rows()];
        let columns = self.columns.iter().map(|(at, conversion)| match conversion {
            Some(conversion) => conversion.apply(batch.column(*at), &mut refused),
            None => Ok(ArrayRef::clone(batch.column(*at))),
        });
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        let mut rows = batch.num_rows();
        if refused.iter().any(Option::is_some) {
            for (row, (code, reason)) in refused.iter().enumerate().filter_map(|(row, it)| Some((row, it.as_ref()?))) {
                cx.reject_rows(&batch.slice(row, 1), code, reason)?;
            }
            let good = BooleanArray::from(refused.iter().map(Option::is_none).collect::<Vec<_>>());
            // Where a value was refused its column may say that it has none: it goes before that is looked at.
            let nullable = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
            let all = RecordBatch::try_new(Arc::new(Schema::new(nullable.collect::<Vec<_>>())), columns)?;
            let kept = filter_record_batch(&all, &good)?;
            (columns, rows) = (kept.columns().to_vec(), kept.num_rows());
        }
        let count = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &count)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, Float64Array, Int64Array, StringArray, create_array};
    use engine_sdk::testing::{Host, Rejected};
    use proptest::prelude::*;

    use super::*;

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("id", create_array!(Int64, [1, 2, 3]) as ArrayRef),
            ("amount", create_array!(Utf8, [Some("1.50"), Some("ten"), None]) as _),
            ("rate", create_array!(Float64, [0.5, 2.0, 3.0]) as _),
        ])
        .unwrap()
    }

    fn select(config: Value, input: RecordBatch) -> Result<(RecordBatch, Vec<Rejected>)> {
        let host = Host::new();
        let mut select: Select = host.open(config)?;
        let mut output = select.apply(Batches::once(input))?;
        let batch = output.next().unwrap()?;
        assert!(output.next().is_none());
        assert_eq!(batch.schema(), output.schema());
        Ok((batch, host.rejections()))
    }

    fn names(batch: &RecordBatch) -> Vec<String> {
        batch.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    #[test]
    fn columns_go_on_in_the_order_of_keep_and_under_their_new_names() {
        let config = json!({"keep": ["rate", "id"], "rename": {"id": "number"}});
        let (out, _) = select(config, batch()).unwrap();
        assert_eq!(names(&out), ["rate", "number"]);
        assert_eq!(out.column(1), batch().column(0));
        let (out, _) = select(json!({"drop": ["amount"]}), batch()).unwrap();
        assert_eq!(names(&out), ["id", "rate"]);
        // Names may change places: they are those that come in.
        let (out, _) = select(json!({"rename": {"id": "rate", "rate": "id"}}), batch()).unwrap();
        assert_eq!(names(&out), ["rate", "amount", "id"]);
    }

    #[test]
    fn a_value_that_the_type_does_not_hold_costs_its_row_and_is_kept_as_it_came() {
        let config = json!({"types": {"amount": "decimal(12,2)", "rate": "integer"}});
        let (out, rejected) = select(config, batch()).unwrap();
        assert_eq!(out.column(0).as_ref(), &Int64Array::from(vec![3]) as &dyn Array);
        assert!(out.column(1).is_null(0));
        assert_eq!(out.column(2).as_ref(), &Int64Array::from(vec![3]) as &dyn Array);
        let codes: Vec<_> = rejected.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(codes, ["bad_integer", "bad_decimal"]);
        assert_eq!(rejected[0].reason, "`0.5` in the column `rate` is not a whole number of 64 bits");
        assert_eq!(rejected[1].rows, Some(batch().slice(1, 1)));
    }

    #[test]
    fn what_does_not_fit_the_columns_is_refused_before_a_row_is_read() {
        for (config, said) in [
            (json!({"keep": ["id", "nothing"]}), "there is no column `nothing`"),
            (json!({"drop": ["nothing"]}), "there is no column `nothing`"),
            (json!({"rename": {"nothing": "x"}}), "there is no column `nothing`"),
            (json!({"rename": {"id": "rate"}}), "two columns would be named `rate`"),
            (json!({"keep": ["id", "id"]}), "two columns would be named `id`"),
            (json!({"keep": ["id"], "types": {"rate": "text"}}), "which does not go on"),
            (json!({"keep": ["id"], "drop": ["rate"]}), "stand together"),
            (json!({"keep": []}), "`keep` is empty"),
            (json!({}), "nothing to select"),
        ] {
            let error = select(config, batch()).map(drop).unwrap_err();
            assert!(error.message.contains(said) && error.hint.is_some(), "{error}");
        }
    }

    #[test]
    fn whole_numbers_stay_whole_however_large() {
        let large = RecordBatch::try_from_iter([("n", Arc::new(Float64Array::from(vec![1e16, -0.0])) as ArrayRef)]);
        let (out, rejected) = select(json!({"types": {"n": "decimal(38,0)"}}), large.unwrap()).unwrap();
        assert_eq!(rejected, []);
        let back = select(json!({"types": {"n": "text"}}), out).unwrap().0;
        assert_eq!(back.column(0).as_ref(), &StringArray::from(vec!["10000000000000000", "0"]) as &dyn Array);
    }

    proptest! {
        #[test]
        fn what_becomes_text_becomes_itself_again(numbers in proptest::collection::vec(any::<Option<i64>>(), 1..50)) {
            let sent = RecordBatch::try_from_iter_with_nullable([
                ("n", Arc::new(Int64Array::from(numbers)) as ArrayRef, true),
            ]).unwrap();
            let (texts, _) = select(json!({"types": {"n": "text"}}), sent.clone()).unwrap();
            let (came, rejected) = select(json!({"types": {"n": "integer"}}), texts).unwrap();
            prop_assert_eq!(came, sent);
            prop_assert_eq!(rejected, []);
        }
    }
}
