//! The table that a sink writes to, and how a stream's columns map to it.

use arrow_schema::TimeUnit;
use engine_postgres_copy::{Encoder, Form, Kind, SHORT_PRECISION};
use engine_sdk::database::{Piece, TableName, suggestion};
use engine_sdk::prelude::*;

use crate::catalog::{Column, Table};
use crate::name::{quote, quote_list};

/// The temporary table through which rows go that cannot be copied straight in.
const STAGE: &str = "pg_temp._engine_stage";

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
}

/// How a stream gets into a table.
#[derive(Debug)]
pub struct Mapping {
    /// In the stream's order.
    pub columns: Vec<Mapped>,
    /// The COPY statement.
    pub copy: String,
    /// Absent: the COPY goes straight into the table.
    pub stage: Option<Stage>,
}

/// The detour through a temporary table: for `upsert`, and for types that this
/// connector writes as text and lets PostgreSQL read.
#[derive(Debug)]
pub struct Stage {
    /// Makes it; it goes away with the transaction.
    pub create: String,
    /// Moves its rows into the table.
    pub insert: String,
    /// Empties it for the next rows.
    pub clear: String,
    /// Has PostgreSQL read its texts, and does nothing else. Absent: there are none that it has to read.
    pub read: Option<String>,
}

impl Mapping {
    /// Writes the rows of a piece.
    pub fn encoder<'a>(&self, piece: &'a Piece) -> Encoder<'a> {
        Encoder::new(piece.arrays.iter().zip(self.columns.iter().map(|column| column.form)))
    }

    /// Maps a stream to a table, whose rows go into `into`, one like it. Errors with `Config` when
    /// they do not fit.
    pub fn new(schema: &Schema, table: &Table, into: &str, key: &[String]) -> Result<Self> {
        let mut columns = vec![];
        let mut targets = vec![];
        for (place, field) in schema.fields().iter().enumerate() {
            let column = find_column(table, field.name())?;
            if targets.iter().any(|known: &&Column| known.name == column.name) {
                return Err(Error::config(format!("the stream has two columns `{}`", column.name))
                    .hint("rename one of them before the sink"));
            }
            let (form, arrow) = form(column.kind, field.data_type()).ok_or_else(|| no_form(column, field))?;
            columns.push(Mapped {
                place,
                name: column.name.clone(),
                declared: column.declared.clone(),
                refuses_null: column.not_null || key.contains(&column.name),
                form,
                arrow,
                max_characters: if let Kind::Text(most) = column.kind { most } else { None },
            });
            targets.push(column);
        }
        if let Some(missing) = table.columns.iter().find(|column| {
            column.not_null && !column.has_default && !column.generated && schema.index_of(&column.name).is_err()
        }) {
            return Err(Error::config(format!(
                "the stream has no column `{}`, and table {} needs it: {} without a default",
                missing.name, table.name, missing.declared
            ))
            .hint(suggestion(&missing.name, schema.fields().iter().map(|field| field.name().as_str()))));
        }
        for name in key {
            if schema.index_of(name).is_err() {
                return Err(Error::config(format!("the stream has no column `{name}`, which `key` names"))
                    .hint(suggestion(name, schema.fields().iter().map(|field| field.name().as_str()))));
            }
        }
        let casts: Vec<bool> =
            columns.iter().zip(&targets).map(|(mapped, column)| crosses_as_text(mapped, column)).collect();
        let names = quote_list(targets.iter().map(|column| column.name.as_str()));
        if key.is_empty() && !casts.contains(&true) {
            let copy = format!("COPY {into} ({names}) FROM STDIN (FORMAT binary)");
            return Ok(Self { columns, copy, stage: None });
        }
        let places: Vec<_> = (0..columns.len()).map(|place| format!("c{place}")).collect();
        Ok(Self {
            columns,
            copy: format!("COPY {STAGE} ({}) FROM STDIN (FORMAT binary)", places.join(", ")),
            stage: Some(stage(into, &targets, &casts, &places, key, &names)),
        })
    }
}

fn stage(into: &str, targets: &[&Column], casts: &[bool], places: &[String], key: &[String], names: &str) -> Stage {
    let define = |((place, column), cast): ((&String, &&Column), &bool)| {
        format!("{place} {}", if *cast { "text" } else { &column.cast })
    };
    let definitions: Vec<_> = places.iter().zip(targets).zip(casts).map(define).collect();
    let value = |((place, column), cast): ((&String, &&Column), &bool)| {
        if *cast { format!("{place}::{}", column.cast) } else { place.clone() }
    };
    let values: Vec<_> = places.iter().zip(targets).zip(casts).map(value).collect();
    let read: Vec<_> =
        values.iter().zip(casts).filter(|(_, cast)| **cast).map(|(value, _)| format!("count({value})")).collect();
    let into = format!("INSERT INTO {into} ({names}) OVERRIDING SYSTEM VALUE");
    let insert = if key.is_empty() {
        format!("{into} SELECT {} FROM {STAGE} ORDER BY n", values.join(", "))
    } else {
        let aliased: Vec<_> = values.iter().zip(places).map(|(value, place)| format!("{value} AS {place}")).collect();
        let keys: Vec<_> = targets
            .iter()
            .zip(&values)
            .filter(|(column, _)| key.contains(&column.name))
            .map(|(_, value)| value.as_str())
            .collect();
        let keys = keys.join(", ");
        let updates: Vec<_> = targets
            .iter()
            .filter(|column| !key.contains(&column.name))
            .map(|column| format!("{0} = EXCLUDED.{0}", quote(&column.name)))
            .collect();
        let action = if updates.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", updates.join(", ")) };
        // One statement may not meet the same key twice: the last row of each stands for all.
        format!(
            "{into} SELECT {} FROM (SELECT DISTINCT ON ({keys}) n, {} FROM {STAGE} ORDER BY {keys}, n DESC) AS latest \
             ORDER BY n ON CONFLICT ({}) DO {action}",
            places.join(", "),
            aliased.join(", "),
            quote_list(key.iter().map(String::as_str)),
        )
    };
    Stage {
        create: format!(
            "CREATE TEMP TABLE _engine_stage (n bigint GENERATED ALWAYS AS IDENTITY, {}) ON COMMIT DROP",
            definitions.join(", ")
        ),
        insert,
        clear: format!("TRUNCATE {STAGE}"),
        read: (!read.is_empty()).then(|| format!("SELECT {} FROM {STAGE}", read.join(", "))),
    }
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

/// Whether a column is copied as text into the stage and cast from there.
fn crosses_as_text(mapped: &Mapped, column: &Column) -> bool {
    matches!(mapped.form, Form::Text) && !matches!(column.kind, Kind::Text(_) | Kind::Json)
}

/// How a stream's type is written into a column of some kind, and the Arrow
/// type to bring it to first. None: not at all.
fn form(kind: Kind, stream: &DataType) -> Option<(Form, DataType)> {
    let as_text = Some((Form::Text, DataType::Utf8));
    if let DataType::Dictionary(_, values) = stream {
        return form(kind, values);
    }
    let microseconds = TimeUnit::Microsecond;
    let is_text = matches!(stream, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let is_binary = matches!(
        stream,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) | DataType::Null
    );
    let is_date = matches!(stream, DataType::Date32 | DataType::Date64);
    let is_number = stream.is_integer() || stream.is_floating();
    let is_decimal = stream.is_decimal();
    // A moment with a zone has no one text.
    let is_temporal = stream.is_temporal() && !matches!(stream, DataType::Timestamp(_, Some(_)));
    let is_plain = is_text || is_number || is_decimal || is_temporal || *stream == DataType::Boolean;
    match kind {
        Kind::Text(_) if is_plain => Some((Form::Text, DataType::Utf8)),
        Kind::Json if is_text => as_text,
        Kind::Jsonb if is_text => Some((Form::Jsonb, DataType::Utf8)),
        Kind::Uuid if is_text => Some((Form::Uuid, DataType::Utf8)),
        Kind::Bytea if is_binary => Some((Form::Bytea, DataType::Binary)),
        Kind::Bytea => None,
        Kind::Other if is_plain => as_text,
        _ if is_text => as_text,
        Kind::Bool if *stream == DataType::Boolean => Some((Form::Bool, DataType::Boolean)),
        Kind::Int2 if stream.is_integer() => Some((Form::Int2, DataType::Int16)),
        Kind::Int4 if stream.is_integer() => Some((Form::Int4, DataType::Int32)),
        Kind::Int8 if stream.is_integer() => Some((Form::Int8, DataType::Int64)),
        Kind::Float4 if is_number || is_decimal => Some((Form::Float4, DataType::Float32)),
        Kind::Float8 if is_number || is_decimal => Some((Form::Float8, DataType::Float64)),
        Kind::Numeric(precision, scale) if is_decimal || stream.is_integer() => Some(numeric(precision, scale)),
        Kind::WideNumeric => match stream {
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
                if *scale >= 0 =>
            {
                Some(numeric(*precision, *scale))
            }
            DataType::Decimal256(_, scale) if *scale >= 0 => Some((Form::LongNumeric, stream.clone())),
            _ if is_number || is_decimal => as_text,
            _ => None,
        },
        Kind::Numeric(..) if stream.is_floating() => as_text,
        Kind::Date if is_date => Some((Form::Date, DataType::Date32)),
        Kind::Time if matches!(stream, DataType::Time32(_) | DataType::Time64(_)) => {
            Some((Form::Time, DataType::Time64(microseconds)))
        }
        Kind::Timestamp | Kind::TimestampTz => match stream {
            // The zone says how to show the moment; the number is UTC's either way.
            DataType::Timestamp(_, zone) => Some((Form::Timestamp, DataType::Timestamp(microseconds, zone.clone()))),
            _ if is_date => Some((Form::Timestamp, DataType::Timestamp(microseconds, None))),
            _ => None,
        },
        _ => None,
    }
}

/// How a number of so many digits is written.
fn numeric(precision: u8, scale: i8) -> (Form, DataType) {
    if precision <= SHORT_PRECISION {
        (Form::Numeric, DataType::Decimal128(precision, scale))
    } else {
        (Form::LongNumeric, DataType::Decimal256(precision, scale))
    }
}

/// The type of a column that is made for a stream's column. None: there is none.
fn declared(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "numeric(20,0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            return Some(format!("numeric({precision},{scale})"));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Dictionary(_, values) => return declared(values),
        _ => return None,
    };
    Some(name.into())
}

/// The statement that makes a table for a stream.
pub fn create_table(name: &TableName, schema: &Schema, key: &[String]) -> Result<String> {
    let mut parts = vec![];
    for field in schema.fields() {
        let declared = declared(field.data_type()).ok_or_else(|| {
            Error::config(format!(
                "no PostgreSQL type is known for column `{}` of type {}",
                field.name(),
                field.data_type()
            ))
            .hint("convert it before the sink, or make the table with `create: {ddl: …}`")
        })?;
        parts.push(format!("{} {declared}", quote(field.name())));
    }
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quote_list(key.iter().map(String::as_str))));
    }
    let table = match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.table)),
        None => quote(&name.table),
    };
    Ok(format!("CREATE TABLE IF NOT EXISTS {table} ({})", parts.join(", ")))
}
