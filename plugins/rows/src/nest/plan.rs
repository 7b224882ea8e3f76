//! A document's parts, for the columns of one stream.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_cast::can_cast_types;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{FieldRef, Fields, SortOptions};
use engine_sdk::prelude::*;

use super::constant::{constant, default};
use super::document::{Each, Node, Order};
use crate::keys::Keys;
use crate::names;

/// A part of a document that knows its columns and its type.
pub enum Part {
    /// The first value of a column, or a column of one row that stands for none.
    Column(usize, Option<ArrayRef>),
    /// A column of one row.
    Constant(ArrayRef),
    /// Parts by name.
    Object(Fields, Vec<Part>),
    /// An element for each row or group of rows.
    Each(Box<EachPart>),
    /// Elements one by one: of one type.
    List(FieldRef, Vec<Element>),
}

/// What a row or a group of rows becomes in a list.
pub struct Element {
    pub part: Part,
    /// The columns in it. Where none has a value, there is no element; an element without columns always is.
    pub columns: Vec<usize>,
}

/// See [`Each`].
pub struct EachPart {
    pub element: Element,
    pub field: FieldRef,
    pub distinct: Option<Keys>,
    pub present: Vec<usize>,
    pub order: Option<Sorter>,
    pub limit: usize,
}

/// The columns that rows are sorted by, as one key that sorts as they do. Rows without a value come last.
pub struct Sorter {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Sorter {
    /// Nothing to sort by is none.
    pub fn new(schema: &Schema, order: &[Order]) -> Result<Option<Self>> {
        if order.is_empty() {
            return Ok(None);
        }
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for order in order {
            let at = names::find(schema, &order.column)?;
            let data_type = schema.field(at).data_type();
            let options = SortOptions { descending: order.descending, nulls_first: false };
            let field = SortField::new_with_options(data_type.clone(), options);
            if data_type.is_nested() || !RowConverter::supports_fields(std::slice::from_ref(&field)) {
                return Err(Error::config(format!(
                    "rows cannot be sorted by the column `{}`: {data_type}",
                    order.column
                ))
                .hint("sort by columns of numbers, dates or texts"));
            }
            columns.push(at);
            fields.push(field);
        }
        Ok(Some(Self { columns, converter: RowConverter::new(fields)? }))
    }

    /// Sorts rows of a batch. Those that are alike stay in their order.
    pub fn keys(&self, batch: &RecordBatch) -> Result<arrow_row::Rows> {
        let columns: Vec<_> = self.columns.iter().map(|at| ArrayRef::clone(batch.column(*at))).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }
}

impl Part {
    /// A node for the columns of `schema`. `path` says where it stands.
    pub fn new(path: &str, node: &Node, schema: &Schema) -> Result<Self> {
        let at_path = |error: Error| error.context(format_args!("`{path}`"));
        Ok(match node {
            Node::Constant(value) => Self::Constant(constant(value)),
            Node::Column { name, default: None } => Self::Column(names::find(schema, name).map_err(at_path)?, None),
            Node::Column { name, default: Some(value) } => {
                let at = names::find(schema, name).map_err(at_path)?;
                let value = default(&format!("`{path}.default`"), value, schema.field(at).data_type())?;
                match schema.field(at).data_type() {
                    DataType::Null => Self::Constant(value),
                    _ => Self::Column(at, Some(value)),
                }
            }
            Node::Object(fields) => {
                let parts = fields.iter().map(|(name, it)| Self::new(&format!("{path}.{name}"), it, schema));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let types = fields.keys().zip(&parts);
                let types = types.map(|(name, part)| Field::new(name, part.data_type(schema), true));
                Self::Object(types.collect(), parts)
            }
            Node::Each(each) => Self::Each(Box::new(
                EachPart::new(path, each, schema)
                    .map_err(|error| if error.message.starts_with('`') { error } else { at_path(error) })?,
            )),
            Node::List(elements) => {
                let parts = elements.iter().enumerate();
                let parts = parts.map(|(at, it)| Element::new(&format!("{path}[{at}]"), it, schema));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let mut whole = parts[0].part.data_type(schema);
                for (at, element) in parts.iter().enumerate().skip(1) {
                    let other = element.part.data_type(schema);
                    whole = common(&whole, &other).ok_or_else(|| {
                        Error::config(format!("`{path}`: the elements 0 and {at} of the list differ: {whole}, {other}"))
                            .hint("give all elements the same fields in the same order, of the same types")
                    })?;
                }
                Self::List(item(whole), parts)
            }
        })
    }

    /// What it becomes.
    pub fn data_type(&self, schema: &Schema) -> DataType {
        match self {
            Self::Column(at, _) => schema.field(*at).data_type().clone(),
            Self::Constant(value) => value.data_type().clone(),
            Self::Object(fields, _) => DataType::Struct(fields.clone()),
            Self::Each(each) => DataType::List(Arc::clone(&each.field)),
            Self::List(field, _) => DataType::List(Arc::clone(field)),
        }
    }
}

impl Element {
    fn new(path: &str, node: &Node, schema: &Schema) -> Result<Self> {
        let part = Part::new(path, node, schema)?;
        let mut columns = Vec::new();
        part.collect_columns(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        Ok(Self { part, columns })
    }
}

impl Part {
    fn collect_columns(&self, into: &mut Vec<usize>) {
        match self {
            Self::Column(at, _) => into.push(*at),
            Self::Constant(_) => {}
            Self::Object(_, parts) => parts.iter().for_each(|part| part.collect_columns(into)),
            Self::Each(each) => into.extend(&each.element.columns),
            Self::List(_, elements) => elements.iter().for_each(|element| into.extend(&element.columns)),
        }
    }
}

impl EachPart {
    fn new(path: &str, each: &Each, schema: &Schema) -> Result<Self> {
        let element = Element::new(&format!("{path}.each"), &each.element, schema)?;
        let distinct = names::find_all(schema, &each.distinct)?;
        Ok(Self {
            field: item(element.part.data_type(schema)),
            element,
            distinct: if distinct.is_empty() { None } else { Some(Keys::new(schema, distinct)?) },
            present: names::find_all(schema, &each.present)?,
            order: Sorter::new(schema, &each.order)?,
            limit: each.limit.unwrap_or(usize::MAX),
        })
    }
}

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

/// The type that holds the values of both, if one does without loss.
fn common(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as T;
    match (left, right) {
        _ if left == right => Some(left.clone()),
        (T::Null, other) | (other, T::Null) => can_cast_types(&T::Null, other).then(|| other.clone()),
        (T::Utf8, T::LargeUtf8) | (T::LargeUtf8, T::Utf8) => Some(T::LargeUtf8),
        (T::Struct(left), T::Struct(right)) if left.len() == right.len() => {
            let fields = left.iter().zip(right).map(|(left, right)| {
                let both = common(left.data_type(), right.data_type()).filter(|_| left.name() == right.name());
                both.map(|both| Field::new(left.name(), both, true))
            });
            Some(T::Struct(fields.collect::<Option<_>>()?))
        }
        (T::List(left), T::List(right)) => Some(T::List(item(common(left.data_type(), right.data_type())?))),
        _ => None,
    }
}
