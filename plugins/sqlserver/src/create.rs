//! The table that is made for a stream.

use engine_sdk::database::TableName;
use engine_sdk::prelude::*;

use crate::name::{quote, quote_list, quote_table};

/// The type of a column that is made for a stream's column, `in_key` if it is to have an index. None: there is none.
fn declared(data_type: &DataType, in_key: bool) -> Option<String> {
    const EXACT: &str = "COLLATE Latin1_General_100_BIN2";
    let name = match data_type {
        DataType::Boolean => "bit",
        DataType::UInt8 => "tinyint",
        DataType::Int8 | DataType::Int16 => "smallint",
        DataType::Int32 | DataType::UInt16 => "int",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "decimal(20, 0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "float",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 && *scale as u8 <= *precision && *precision <= 38 =>
        {
            return Some(format!("decimal({precision}, {scale})"));
        }
        // An index holds no text of any length.
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if in_key => {
            return Some(format!("nvarchar(255) {EXACT}"));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            return Some(format!("nvarchar(max) {EXACT}"));
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) if in_key => {
            "varbinary(255)"
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "varbinary(max)"
        }
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time(7)",
        DataType::Timestamp(_, None) => "datetime2(7)",
        DataType::Timestamp(_, Some(_)) => "datetimeoffset(7)",
        DataType::Dictionary(_, values) => return declared(values, in_key),
        _ => return None,
    };
    Some(name.into())
}

/// The statement that makes a table for a stream. Texts are told apart by every character.
pub fn create_table(name: &TableName, schema: &Schema, key: &[String]) -> Result<String> {
    let mut parts = vec![];
    for field in schema.fields() {
        let in_key = key.contains(field.name());
        let declared = declared(field.data_type(), in_key).ok_or_else(|| {
            Error::config(format!(
                "no SQL Server type is known for column `{}` of type {}",
                field.name(),
                field.data_type()
            ))
            .hint("convert it before the sink, or make the table with `create: {ddl: …}`")
        })?;
        parts.push(format!("{} {declared}{}", quote(field.name()), if in_key { " NOT NULL" } else { " NULL" }));
    }
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quote_list(key.iter().map(String::as_str))));
    }
    Ok(format!("CREATE TABLE {} ({})", quote_table(name), parts.join(", ")))
}
