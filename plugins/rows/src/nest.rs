//! Rows become documents, with objects and lists in them.

mod build;
mod constant;
mod document;
mod groups;
mod input;
mod plan;
mod runs;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, RecordBatchOptions};
use engine_sdk::prelude::*;

use crate::held::{Budget, default_memory};
use crate::keys::Keys;
use crate::names::{self, Names};
use build::{Rows, Sets};
use document::{Document, Node, Order};
use input::Input;
use plan::{Part, Sorter};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The columns that make rows one document.
    key: Names,
    /// The fields of a document, by name: a column's name, a constant, an object, or a list. See below.
    document: Document,
    /// The columns by which the rows of a document are sorted, each with `asc` or `desc` behind it or nothing. A
    /// field takes the first value that there is. Left out: the rows stay as they come.
    #[serde(default)]
    order: Names,
    /// The rows come sorted by the key, upwards or downwards: each document is made as soon as the next one begins,
    /// and no more than its rows are kept. Rows that do not are an error.
    #[serde(default)]
    sorted: bool,
    /// How much may be kept in memory: all rows, or with `sorted` those of one document.
    #[serde(default = "default_memory")]
    memory: ByteSize,
}

/// The component.
pub struct Nest {
    config: Config,
    document: Node,
    cx: Context,
}

impl Component for Nest {
    type Config = Config;
    const SUMMARY: &'static str = "Makes documents with objects and lists of rows";

    fn examples() -> Vec<Example> {
        vec![example("an account with its products and the ways to reach it", {
            json!({
                "key": ["account"],
                "document": {
                    "Account": "account",
                    "Customer": {"Name": "name", "Segment": {"column": "segment", "default": "unknown"}},
                    "Contacts": [
                        {"Type": {"constant": "email"}, "Value": "email"},
                        {"Type": {"constant": "mobile"}, "Value": "mobile"},
                    ],
                    "Products": {"each": {"Id": "product", "Name": "product_name"}, "distinct": "product"},
                    "Last_Payment": {"each": {"At": "paid_at", "Amount": "paid"}, "order": "paid_at desc", "limit": 1},
                },
            })
        })]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.key.list().is_empty() {
            return Err(Error::config("`key` is empty: all rows would be one document")
                .hint("name the columns whose values make rows one document"));
        }
        let document = Node::document(&config.document)?;
        Ok(Self { config, document, cx })
    }
}

impl Transform for Nest {
    const SCOPE: Scope = Scope::Window;

    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let plan = Plan::new(&self.config, &self.document, &input.schema())?;
        let cx = self.cx.clone();
        Ok(if self.config.sorted {
            let hint = "raise `memory`: it is about the rows of a single document";
            runs::stream(input, plan, Budget::new(self.config.memory, hint), cx)
        } else {
            let hint = "raise `memory`, or sort the rows by the key where they come from and set `sorted: true`";
            groups::stream(input, plan, Budget::new(self.config.memory, hint), cx)
        })
    }
}

/// What is made of the rows of one stream.
struct Plan {
    input: Input,
    keys: Keys,
    order: Option<Sorter>,
    part: Part,
    schema: SchemaRef,
}

impl Plan {
    fn new(config: &Config, document: &Node, schema: &Schema) -> Result<Self> {
        let plain = input::plain(schema);
        let key = names::find_all(&plain, config.key.list())?;
        let order: Vec<_> = config.order.list().iter().map(|text| Order::parse(text)).collect();
        let sorter = Sorter::new(&plain, &order)?;
        let part = Part::new("document", document, &plain)?;
        let DataType::Struct(fields) = part.data_type(&plain) else {
            return Err(Error::internal("a document is no object"));
        };
        let named = document.columns().into_iter().chain(order.iter().map(|order| order.column.as_str()));
        let mut used = named.map(|name| names::find(&plain, name)).collect::<Result<Vec<_>>>()?;
        used.extend(&key);
        let input = Input::new(&plain, &used);
        Ok(Self { input, keys: Keys::new(&plain, key)?, order: sorter, part, schema: Arc::new(Schema::new(fields)) })
    }

    /// The documents of a batch in which the rows of each stand together: so many one after the other.
    fn documents(&self, batch: RecordBatch, lengths: impl IntoIterator<Item = usize>) -> Result<RecordBatch> {
        let mut sets = Sets::of_lengths(lengths);
        if let Some(order) = &self.order {
            sets.sort(&order.keys(&batch)?);
        }
        let documents = self.part.build(&Rows::new(batch), &sets)?;
        let count = RecordBatchOptions::new().with_row_count(Some(sets.len()));
        let columns = documents.as_struct().columns().to_vec();
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &count)?)
    }
}

#[cfg(test)]
mod tests;
