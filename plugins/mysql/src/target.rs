//! The table that a sink writes to, and how a stream's columns map to it.

use arrow_schema::TimeUnit;
use engine_sdk::database::{TableName, suggestion};
use engine_sdk::prelude::*;

use crate::catalog::{Column, PART, Table};
use crate::name::{quote, quote_list};
use crate::texts::Shape;

/// How a value is written as SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// From the smallest to the largest.
    Integer {
        least: i128,
        most: i128,
    },
    /// Two digits would become four.
    Year,
    Float,
    Double,
    Decimal,
    Text,
    Bytes,
    Date,
    Moment,
    Time,
}

/// A column of the stream and where it goes.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// Its place in the stream.
    pub place: usize,
    /// Its name, in the stream and in the table.
    pub name: String,
    /// The table's type, for messages.
    pub declared: String,
    /// A null is refused here already.
    pub refuses_null: bool,
    /// How it is written.
    pub form: Form,
    /// The Arrow type that `form` is written from.
    pub arrow: DataType,
    /// The most characters that fit, where there is such a bound.
    pub max_characters: Option<usize>,
    /// What a text must look like, where the column is of another type.
    pub shape: Option<Shape>,
}

/// How a stream gets into a table.
#[derive(Debug)]
pub struct Mapping {
    /// In the stream's order.
    pub columns: Vec<Mapped>,
    /// What stands before the rows.
    pub before: String,
    /// What stands behind them.
    pub behind: String,
}

impl Mapping {
    /// Maps a stream to a table, whose rows go into `into`, one like it. Errors with `Config` when
    /// they do not fit.
    pub fn new(schema: &Schema, table: &Table, into: &str, key: &[String]) -> Result<Self> {
        let mut columns: Vec<Mapped> = vec![];
        for (place, field) in schema.fields().iter().enumerate() {
            let column = find_column(table, field.name())?;
            if columns.iter().any(|known| known.name == column.name) {
                return Err(Error::config(format!("the stream has two columns `{}`", column.name))
                    .hint("rename one of them before the sink"));
            }
            let (form, arrow) = form(column, field.data_type()).ok_or_else(|| no_form(column, field))?;
            let shape = matches!(form, Form::Text).then(|| Shape::of(&column.data_type, &column.declared)).flatten();
            let is_counted = matches!(column.data_type.as_str(), "char" | "varchar");
            columns.push(Mapped {
                place,
                name: column.name.clone(),
                declared: column.declared.clone(),
                refuses_null: column.not_null || key.contains(&column.name),
                form,
                arrow,
                max_characters: column.length.filter(|_| is_counted),
                shape,
            });
        }
        let has = |name: &str| schema.index_of(name).is_ok();
        let others = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
        if let Some(missing) = table
            .columns
            .iter()
            .find(|column| column.not_null && !column.has_default && !column.generated && !has(&column.name))
        {
            return Err(Error::config(format!(
                "the stream has no column `{}`, and table {} needs it: {} without a default",
                missing.name, table.name, missing.declared
            ))
            .hint(suggestion(&missing.name, others())));
        }
        for name in key {
            if !has(name) {
                return Err(Error::config(format!("the stream has no column `{name}`, which `key` names"))
                    .hint(suggestion(name, others())));
            }
        }
        if !key.is_empty() {
            check_unique(table, key, &has)?;
        }
        let names = quote_list(columns.iter().map(|column| column.name.as_str()));
        Ok(Self {
            before: format!("INSERT INTO {into} ({names}) VALUES "),
            behind: if key.is_empty() { String::new() } else { update(&columns, key) },
            columns,
        })
    }
}

/// Whether `ON DUPLICATE KEY` can only mean the key.
fn check_unique(table: &Table, key: &[String], has: &dyn Fn(&str) -> bool) -> Result<()> {
    let is_key = |columns: &[String]| columns.len() == key.len() && columns.iter().all(|column| key.contains(column));
    if !table.unique.iter().any(|(_, columns)| is_key(columns)) {
        return Err(Error::config(format!("table {} has no unique index on exactly `key`", table.name)).hint(format!(
            "ALTER TABLE {} ADD UNIQUE ({}), or name the columns of one that is there",
            table.quoted(),
            quote_list(key.iter().map(String::as_str))
        )));
    }
    // The server would update whichever row has the same value in any of them. An index on a prefix, an
    // expression or a computed column goes by columns of the stream as well.
    let is_set = |indexed: &String| match indexed.strip_suffix(PART) {
        Some(column) => column.is_empty() || has(column),
        None => has(indexed) || table.columns.iter().any(|column| column.name == *indexed && column.generated),
    };
    let other = table.unique.iter().find(|(_, columns)| !is_key(columns) && columns.iter().any(is_set));
    match other {
        None => Ok(()),
        Some((name, _)) => Err(Error::config(format!(
            "table {} has another unique index, `{name}`, and a row that meets it would change a row of another key",
            table.name
        ))
        .hint("use `mode: append` into a table without rows that are there already, or drop that index")),
    }
}

fn update(columns: &[Mapped], key: &[String]) -> String {
    let set: Vec<_> = columns
        .iter()
        .filter(|column| !key.contains(&column.name))
        .map(|column| format!("{0} = VALUES({0})", quote(&column.name)))
        .collect();
    let set = if set.is_empty() { format!("{0} = {0}", quote(&key[0])) } else { set.join(", ") };
    format!(" ON DUPLICATE KEY UPDATE {set}")
}

fn find_column<'a>(table: &'a Table, name: &str) -> Result<&'a Column> {
    let Some(column) = table.columns.iter().find(|column| column.name == name) else {
        return Err(Error::config(format!("table {} has no column `{name}`", table.name))
            .hint(suggestion(name, table.columns.iter().map(|column| column.name.as_str()))));
    };
    if column.generated {
        return Err(Error::config(format!("column `{name}` of table {} is computed by the table", table.name))
            .hint("leave it out of the stream"));
    }
    Ok(column)
}

fn no_form(column: &Column, field: &Field) -> Error {
    Error::config(format!(
        "column `{}` is {} in the stream and {} in the table",
        field.name(),
        field.data_type(),
        column.declared
    ))
    .hint("convert it before the sink, or change the table's column")
}

/// How a stream's type is written into a column, and the Arrow type to bring it to first. None: not at all.
fn form(column: &Column, stream: &DataType) -> Option<(Form, DataType)> {
    if let DataType::Dictionary(_, values) = stream {
        return form(column, values);
    }
    let is_text = matches!(stream, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let is_binary = matches!(
        stream,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) | DataType::Null
    );
    let is_date = matches!(stream, DataType::Date32 | DataType::Date64);
    let is_whole = stream.is_integer() || *stream == DataType::Boolean;
    let is_number = is_whole || stream.is_floating() || stream.is_decimal();
    // A moment with a zone has no one text.
    let is_temporal = stream.is_temporal() && !matches!(stream, DataType::Timestamp(_, Some(_)));
    let text = Some((Form::Text, DataType::Utf8));
    let unsigned = column.is_unsigned();
    let integer = |bits: u32, signed_type, unsigned_type| {
        let (least, most) =
            if unsigned { (0, (1_i128 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) };
        Some((Form::Integer { least, most }, if unsigned { unsigned_type } else { signed_type }))
    };
    match column.data_type.as_str() {
        "bit" if is_whole => {
            let most = (1_i128 << u32::from(column.precision).clamp(1, 64)) - 1;
            Some((Form::Integer { least: 0, most }, DataType::UInt64))
        }
        "bit" => None,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point"
        | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
        | "geomcollection" => is_binary.then_some((Form::Bytes, DataType::Binary)),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" if is_number || is_temporal => text,
        _ if is_text => text,
        "tinyint" if is_whole => integer(8, DataType::Int8, DataType::UInt8),
        "smallint" if is_whole => integer(16, DataType::Int16, DataType::UInt16),
        "mediumint" if is_whole => integer(24, DataType::Int32, DataType::UInt32),
        "int" if is_whole => integer(32, DataType::Int32, DataType::UInt32),
        "bigint" if is_whole => integer(64, DataType::Int64, DataType::UInt64),
        "year" if stream.is_integer() => Some((Form::Year, DataType::Int16)),
        "float" if is_number => Some((Form::Float, DataType::Float32)),
        "double" if is_number => Some((Form::Double, DataType::Float64)),
        "decimal" if stream.is_decimal() => Some((Form::Decimal, stream.clone())),
        "decimal" if stream.is_integer() => Some((Form::Decimal, DataType::Decimal128(38, 0))),
        "decimal" if stream.is_floating() => Some((Form::Double, DataType::Float64)),
        "date" if is_date => Some((Form::Date, DataType::Date32)),
        "time" if matches!(stream, DataType::Time32(_) | DataType::Time64(_)) => {
            Some((Form::Time, DataType::Time64(TimeUnit::Microsecond)))
        }
        "datetime" | "timestamp" => match stream {
            // The zone says how to show the moment; the number is UTC's either way.
            DataType::Timestamp(_, zone) => {
                Some((Form::Moment, DataType::Timestamp(TimeUnit::Microsecond, zone.clone())))
            }
            _ if is_date => Some((Form::Moment, DataType::Timestamp(TimeUnit::Microsecond, None))),
            _ => None,
        },
        _ => None,
    }
}

/// The type of a column that is made for a stream's column, `in_key` if it is to have an index. None: there is none.
fn declared(data_type: &DataType, in_key: bool) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "tinyint(1)",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "int unsigned",
        DataType::UInt64 => "bigint unsigned",
        DataType::Float16 | DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if (0..=30).contains(scale) && *precision <= 65 =>
        {
            return Some(format!("decimal({precision},{scale})"));
        }
        // An index holds no text of any length.
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if in_key => "varchar(255)",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "longtext",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) if in_key => {
            "varbinary(255)"
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "longblob",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time(6)",
        // A TIMESTAMP ends in 2038.
        DataType::Timestamp(_, _) => "datetime(6)",
        DataType::Dictionary(_, values) => return declared(values, in_key),
        _ => return None,
    };
    Some(name.into())
}

/// The statement that makes a table for a stream. Texts are told apart by every character.
pub fn create_table(name: &TableName, schema: &Schema, key: &[String]) -> Result<String> {
    let mut parts = vec![];
    for field in schema.fields() {
        let declared = declared(field.data_type(), key.contains(field.name())).ok_or_else(|| {
            Error::config(format!("no MySQL type is known for column `{}` of type {}", field.name(), field.data_type()))
                .hint("convert it before the sink, or make the table with `create: {ddl: …}`")
        })?;
        parts.push(format!("{} {declared} NULL", quote(field.name())));
    }
    if !key.is_empty() {
        for part in parts.iter_mut().zip(schema.fields()).filter(|(_, field)| key.contains(field.name())) {
            *part.0 = part.0.trim_end_matches(" NULL").to_owned() + " NOT NULL";
        }
        parts.push(format!("PRIMARY KEY ({})", quote_list(key.iter().map(String::as_str))));
    }
    let table = match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.table)),
        None => quote(&name.table),
    };
    Ok(format!(
        "CREATE TABLE IF NOT EXISTS {table} ({}) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        parts.join(", ")
    ))
}
