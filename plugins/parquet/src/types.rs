//! As what each column is written, and which cannot be.

use std::sync::Arc;

use arrow_cast::can_cast_types;
use arrow_schema::{Fields, TimeUnit};
use engine_sdk::prelude::*;
use parquet::arrow::ArrowSchemaConverter;

/// The columns of the file. A type that Parquet has no word for becomes one that
/// it has, if no value changes by that.
///
/// # Errors
/// `Config` where there is none, with the name of the column.
pub fn written(columns: &Schema) -> Result<SchemaRef> {
    let fields = columns.fields().iter().map(|field| {
        let refused = |why: &str| {
            Error::config(format!(
                "column `{}` is of the type {}, which cannot be written: {why}",
                field.name(),
                field.data_type()
            ))
            .hint("turn it into a number or text before, or leave it out with `columns`")
        };
        let kind = target(field.data_type()).map_err(refused)?;
        if &kind != field.data_type() && !can_cast_types(field.data_type(), &kind) {
            return Err(refused("Parquet has no such type"));
        }
        // Without what is noted about it, which has no order and would make other bytes every time.
        let field = Field::new(field.name(), kind, field.is_nullable());
        ArrowSchemaConverter::new()
            .convert(&Schema::new(vec![field.clone()]))
            .map_err(|error| refused(&error.to_string()))?;
        Ok(field)
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// What a type is written as.
fn target(kind: &DataType) -> Result<DataType, &'static str> {
    Ok(match kind {
        DataType::Duration(_) | DataType::Interval(_) => return Err("Parquet has no lengths of time"),
        DataType::Union(..) => return Err("Parquet has no columns of several types"),
        DataType::Struct(fields) if fields.is_empty() => return Err("it has no members"),
        // Other readers would find mere numbers.
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::Dictionary(_, values) => match values.as_ref() {
            // With keys for as many values as several batches may have together.
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                DataType::Dictionary(Box::new(DataType::Int32), values.clone())
            }
            values => target(values)?,
        },
        DataType::RunEndEncoded(_, values) => target(values.data_type())?,
        DataType::List(item) => DataType::List(inside(item)?),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(inside(item)?),
        DataType::ListView(item) => DataType::List(inside(item)?),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inside(item)?, *length),
        DataType::Map(entries, sorted) => DataType::Map(inside(entries)?, *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect::<Result<Fields, _>>()?),
        other => other.clone(),
    })
}

fn inside(field: &Arc<Field>) -> Result<Arc<Field>, &'static str> {
    Ok(Arc::new(Field::new(field.name(), target(field.data_type())?, field.is_nullable())))
}

/// The columns of a file of which some leaves are timestamps of 96 bits: in
/// microseconds. Nanoseconds, as which the library reads them, end in the year 2262,
/// and what lies beyond would come out as some other time.
pub fn far_reaching(columns: &Schema, mut is_long: impl Iterator<Item = bool>) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| reaching(field, &mut is_long));
    Arc::new(Schema::new_with_metadata(fields.collect::<Fields>(), columns.metadata().clone()))
}

fn reaching(field: &Arc<Field>, is_long: &mut impl Iterator<Item = bool>) -> Arc<Field> {
    let kind = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| reaching(field, is_long)).collect()),
        DataType::List(item) => DataType::List(reaching(item, is_long)),
        DataType::Map(entries, sorted) => DataType::Map(reaching(entries, is_long), *sorted),
        leaf => match is_long.next() {
            Some(true) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => leaf.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// How many bytes a row of this type takes in memory where it holds nothing: a
/// null of a fixed length takes all of it.
pub fn width(kind: &DataType) -> usize {
    match kind {
        DataType::FixedSizeBinary(length) => usize::try_from(*length).unwrap_or(0),
        DataType::FixedSizeList(item, length) => {
            usize::try_from(*length).unwrap_or(0).saturating_mul(width(item.data_type()))
        }
        DataType::Struct(fields) => {
            fields.iter().fold(1, |sum: usize, field| sum.saturating_add(width(field.data_type())))
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            width(item.data_type()).saturating_add(8)
        }
        other => other.primitive_width().unwrap_or(16),
    }
}
