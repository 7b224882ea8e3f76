//! Columns of objects become columns of what is in them.

use std::num::NonZeroU32;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::NullBuffer;
use arrow_select::nullif::nullif;
use engine_sdk::prelude::*;

use crate::names;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The columns to open. Left out: all that hold objects.
    columns: Option<Vec<String>>,
    /// Stands between the name of a column and that of what is in it.
    #[serde(default = "underscore")]
    separator: String,
    /// How many levels are opened: 1 leaves objects that stand inside objects as they are. Left out: all.
    depth: Option<NonZeroU32>,
}

fn underscore() -> String {
    "_".into()
}

/// The component.
pub struct Flatten {
    config: Config,
    cx: Context,
}

impl Component for Flatten {
    type Config = Config;
    const SUMMARY: &'static str = "Makes columns of what is in objects";

    fn examples() -> Vec<Example> {
        vec![
            example("every object, whole", json!({})),
            example("one column, one level: `address.city`", {
                json!({"columns": ["address"], "separator": ".", "depth": 1})
            }),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.columns.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::config("`columns` is empty: nothing would be opened")
                .hint("name columns, or leave it away: then all objects are opened"));
        }
        Ok(Self { config, cx })
    }
}

impl Transform for Flatten {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let plan = Plan::new(&self.config, &input.schema())?;
        let (schema, cx) = (SchemaRef::clone(&plan.schema), self.cx.clone());
        let output = input.map(move |batch| {
            cx.check_cancelled()?;
            plan.flatten(&batch?)
        });
        Ok(Batches::new(schema, output))
    }
}

/// What becomes of the columns of one stream.
struct Plan {
    /// For each column, how deep it is opened.
    columns: Vec<u32>,
    schema: SchemaRef,
}

impl Plan {
    fn new(config: &Config, schema: &Schema) -> Result<Self> {
        let deep = config.depth.map_or(u32::MAX, NonZeroU32::get);
        let is_object = |at: usize| matches!(schema.field(at).data_type(), DataType::Struct(_));
        let mut columns = vec![0; schema.fields().len()];
        match &config.columns {
            None => (0..columns.len()).filter(|at| is_object(*at)).for_each(|at| columns[at] = deep),
            Some(named) => {
                for at in names::find_all(schema, named)? {
                    if !is_object(at) {
                        let field = schema.field(at);
                        let what = format!("the column `{}` holds no objects but {}", field.name(), field.data_type());
                        let objects = (0..columns.len()).filter(|at| is_object(*at));
                        let objects: Vec<_> = objects.map(|at| schema.field(at).name().as_str()).collect();
                        return Err(Error::config(what).hint(match objects.as_slice() {
                            [] => "no column of the stream does: leave the step out".into(),
                            _ => format!("columns that do are {}", objects.join(", ")),
                        }));
                    }
                    columns[at] = deep;
                }
            }
        }
        let mut fields = Vec::new();
        for (field, depth) in schema.fields().iter().zip(&columns) {
            open_field(field, *depth, &config.separator, &mut fields)?;
        }
        for (at, (field, from)) in fields.iter().enumerate() {
            // Two that came with one name, and are not opened, are nobody's business here.
            let same = |other: &&(Field, String)| {
                other.0.name() == field.name() && (&other.1 != field.name() || from != field.name())
            };
            if let Some((_, other)) = fields[..at].iter().find(same) {
                let what = format!("`{other}` and `{from}` would both become a column `{}`", field.name());
                return Err(Error::config(what).hint("choose another `separator`, or rename one of them before"));
            }
        }
        let fields: Vec<_> = fields.into_iter().map(|(field, _)| field).collect();
        Ok(Self { columns, schema: Arc::new(Schema::new(fields)) })
    }

    fn flatten(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (column, depth) in batch.columns().iter().zip(&self.columns) {
            open_column(column, *depth, None, &mut columns)?;
        }
        let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &count)?)
    }
}

/// Adds what a field becomes, each with the path that it comes from.
fn open_field(field: &Field, depth: u32, separator: &str, out: &mut Vec<(Field, String)>) -> Result<()> {
    fn open(field: Field, path: String, depth: u32, separator: &str, out: &mut Vec<(Field, String)>) -> Result<()> {
        let DataType::Struct(members) = field.data_type().clone() else {
            out.push((field, path));
            return Ok(());
        };
        if depth == 0 {
            out.push((field, path));
            return Ok(());
        }
        for member in &members {
            let path = format!("{path}.{}", member.name());
            let name = format!("{}{separator}{}", field.name(), member.name());
            let nullable = field.is_nullable() || member.is_nullable();
            if field.is_nullable() && !has_validity(member.data_type()) {
                let what =
                    format!("`{path}` is of the type {}, which cannot say that there is no value", member.data_type());
                return Err(Error::config(what).hint("leave that column out of `columns`, or set `depth`"));
            }
            open(member.as_ref().clone().with_name(name).with_nullable(nullable), path, depth - 1, separator, out)?;
        }
        Ok(())
    }
    open(field.clone(), field.name().clone(), depth, separator, out)
}

/// Whether values of a type are null by a mask of their own, or all null.
fn has_validity(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Union(..) | DataType::RunEndEncoded(..))
}

/// Adds what a column becomes. Where `outer` says that there is no object, nothing in it has a value.
fn open_column(column: &ArrayRef, depth: u32, outer: Option<&NullBuffer>, out: &mut Vec<ArrayRef>) -> Result<()> {
    let column = match outer.filter(|outer| outer.null_count() > 0) {
        None => ArrayRef::clone(column),
        Some(outer) => nullif(column, &BooleanArray::new(!outer.inner(), None))?,
    };
    let Some(object) = column.as_struct_opt().filter(|_| depth > 0) else {
        out.push(column);
        return Ok(());
    };
    object.columns().iter().try_for_each(|member| open_column(member, depth - 1, object.nulls(), out))
}

#[cfg(test)]
mod tests;
