//! The table that a sink writes to, and how a stream's columns map to it.

use arrow_schema::TimeUnit;
use engine_sdk::database::suggestion;
use engine_sdk::prelude::*;

use crate::catalog::{Column, Table};
use crate::name::{quote, quote_list};
use crate::questions::ROW;
use crate::texts::Shape;

/// How a value is sent, and the type of the column in which it waits for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Bit,
    /// From the smallest to the largest.
    Whole {
        least: i64,
        most: i64,
    },
    Real,
    Float,
    /// With so many digits, and so many of them behind the point.
    Decimal(u8, u8),
    Text,
    Bytes,
    Date,
    Time,
    Moment,
    /// In UTC.
    Offset,
}

impl Form {
    /// The type of the column in which it waits.
    fn staged(self) -> String {
        match self {
            Self::Bit => "bit".into(),
            Self::Whole { .. } => "bigint".into(),
            Self::Real => "real".into(),
            Self::Float => "float".into(),
            Self::Decimal(precision, scale) => format!("decimal({precision}, {scale})"),
            Self::Text => "nvarchar(max)".into(),
            Self::Bytes => "varbinary(max)".into(),
            Self::Date => "date".into(),
            Self::Time => "time(7)".into(),
            Self::Moment => "datetime2(7)".into(),
            Self::Offset => "datetimeoffset(7)".into(),
        }
    }
}

/// How much a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    None,
    /// Of texts, in units of UTF-16.
    Units(usize),
    /// Of texts in a code page, and of bytes.
    Bytes(usize),
}

/// A column of the stream and where it goes.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// Its place in the stream.
    pub place: usize,
    /// Its name, in the stream and in the table.
    pub name: String,
    /// The table's type, without and with sizes.
    pub data_type: String,
    pub declared: String,
    pub identity: bool,
    /// A null is refused here already.
    pub refuses_null: bool,
    pub form: Form,
    /// The Arrow type that `form` is sent from.
    pub arrow: DataType,
    pub limit: Limit,
    /// Of texts that are no Unicode: how their characters are stored.
    pub code_page: Option<u16>,
    pub collation: Option<String>,
    /// What a text must look like, where the column is of another type.
    pub shape: Option<Shape>,
}

impl Mapped {
    /// Its name where it waits.
    pub fn staged(&self) -> String {
        format!("c{}", self.place)
    }

    /// Whether the server makes something else of a text.
    pub fn is_converted(&self) -> bool {
        self.form == Form::Text && (self.shape.is_some() || self.data_type == "xml")
    }

    /// What is staged, as the table's own type.
    fn value(&self) -> String {
        let staged = self.staged();
        match (self.form, self.data_type.as_str()) {
            // What the order of a date's parts has no say in.
            (Form::Text, "datetime" | "smalldatetime") => {
                format!("CAST(CAST({staged} AS datetime2(7)) AS {})", self.declared)
            }
            (Form::Text, _) if self.is_converted() => format!("CAST({staged} AS {})", self.declared),
            // A CAST would cut what is too long.
            (Form::Text | Form::Bytes, _) => staged,
            _ => format!("CAST({staged} AS {})", self.declared),
        }
    }

    /// Null where a text is no value of the table's type.
    pub fn tried(&self) -> String {
        let staged = self.staged();
        match self.data_type.as_str() {
            "datetime" | "smalldatetime" => {
                format!("TRY_CAST(TRY_CAST({staged} AS datetime2(7)) AS {})", self.declared)
            }
            _ => format!("TRY_CAST({staged} AS {})", self.declared),
        }
    }
}

/// The table in which rows wait: the session's own, gone with it.
pub const STAGE: &str = "#engine_stage";
/// Which of them, as a condition.
const RANGE: &str = "engine_row >= @P1 AND engine_row < @P2";

/// How a stream gets into a table.
#[derive(Debug)]
pub struct Mapping {
    /// In the stream's order.
    pub columns: Vec<Mapped>,
    /// Makes the table in which rows wait.
    pub stage: String,
    /// Brings the rows from `@P1` to before `@P2` to their place.
    pub apply: String,
    /// The table whose own numbers the rows bring along.
    pub identity: Option<String>,
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
            let shape = if form == Form::Text { Shape::of(&column.data_type) } else { None };
            columns.push(Mapped {
                place,
                name: column.name.clone(),
                data_type: column.data_type.clone(),
                declared: column.declared.clone(),
                identity: column.identity,
                refuses_null: column.not_null || key.contains(&column.name),
                form,
                arrow,
                limit: limit(column),
                code_page: column.code_page.filter(|_| matches!(&*column.data_type, "char" | "varchar" | "text")),
                collation: column.collation.clone(),
                shape,
            });
        }
        let has = |name: &str| schema.index_of(name).is_ok();
        let others = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
        if let Some(missing) =
            table.columns.iter().find(|column| !column.has_default() && !column.generated && !has(&column.name))
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
            check_unique(table, key)?;
        }
        let identity = columns.iter().any(|column| column.identity) && into == table.quoted();
        Ok(Self {
            stage: stage(&columns),
            apply: if key.is_empty() { insert(&columns, into) } else { upsert(&columns, into, key) },
            identity: identity.then(|| into.to_owned()),
            columns,
        })
    }
}

fn stage(columns: &[Mapped]) -> String {
    let column = |column: &Mapped| {
        // Equal is what the table's own column takes for equal, and not what the server's scratch database does.
        let collation = column.collation.as_ref().filter(|_| column.form == Form::Text);
        let collate = collation.map_or(String::new(), |name| format!(" COLLATE {name}"));
        format!("{} {}{collate} NULL", column.staged(), column.form.staged())
    };
    let all: Vec<_> = columns.iter().map(column).collect();
    format!("CREATE TABLE {STAGE} ({ROW} int NOT NULL, {})", all.join(", "))
}

fn insert(columns: &[Mapped], into: &str) -> String {
    let names = quote_list(columns.iter().map(|column| column.name.as_str()));
    let values: Vec<_> = columns.iter().map(Mapped::value).collect();
    format!("INSERT INTO {into} ({names}) SELECT {} FROM {STAGE} WHERE {RANGE} ORDER BY {ROW}", values.join(", "))
}

/// First the rows that are there, then the others. Not MERGE, which has a history of wrong results with
/// triggers, indexed views and filtered indexes, and would need the same locks: these keep the place of a key
/// that is not there from anybody else until the transaction ends.
fn upsert(columns: &[Mapped], into: &str, key: &[String]) -> String {
    const LOCKED: &str = "WITH (UPDLOCK, SERIALIZABLE)";
    let names = quote_list(columns.iter().map(|column| column.name.as_str()));
    let value = |column: &Mapped| match column.form {
        // Of the key's own type, so that its index is used, and not the whole table locked. What is too long for it
        // was refused before.
        Form::Text | Form::Bytes if key.contains(&column.name) && column.limit != Limit::None => {
            format!("CAST({} AS {})", column.staged(), column.declared)
        }
        _ => column.value(),
    };
    let values: Vec<_> = columns.iter().map(|column| format!("{} AS {}", value(column), quote(&column.name))).collect();
    let keys = quote_list(key.iter().map(String::as_str));
    // Of several rows with one key the last one.
    let rows = format!(
        "SELECT {names} FROM (SELECT {names}, ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {ROW} DESC) AS engine_last \
         FROM (SELECT {ROW}, {} FROM {STAGE} WHERE {RANGE}) AS v) AS r WHERE engine_last = 1",
        values.join(", ")
    );
    let same: Vec<_> = key.iter().map(|name| format!("t.{0} = s.{0}", quote(name))).collect();
    let same = same.join(" AND ");
    let set: Vec<_> = columns
        .iter()
        .filter(|column| !key.contains(&column.name))
        .map(|column| format!("{0} = s.{0}", quote(&column.name)))
        .collect();
    let list: Vec<_> = columns.iter().map(|column| format!("s.{}", quote(&column.name))).collect();
    let insert = format!(
        "INSERT INTO {into} ({names}) SELECT {} FROM ({rows}) AS s \
         WHERE NOT EXISTS (SELECT 1 FROM {into} AS t {LOCKED} WHERE {same})",
        list.join(", ")
    );
    if set.is_empty() {
        return insert;
    }
    format!("UPDATE t SET {} FROM {into} AS t {LOCKED} JOIN ({rows}) AS s ON {same}; {insert}", set.join(", "))
}

/// Whether the key can only mean one row.
fn check_unique(table: &Table, key: &[String]) -> Result<()> {
    let is_key = |columns: &[String]| columns.len() == key.len() && columns.iter().all(|column| key.contains(column));
    if table.unique.iter().any(|(_, columns)| is_key(columns)) {
        return Ok(());
    }
    Err(Error::config(format!("table {} has no unique index on exactly `key`", table.name)).hint(format!(
        "ALTER TABLE {} ADD UNIQUE ({}), or name the columns of one that is there",
        table.quoted(),
        quote_list(key.iter().map(String::as_str))
    )))
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

fn limit(column: &Column) -> Limit {
    match (column.data_type.as_str(), column.length) {
        ("nchar" | "nvarchar", Some(bytes)) => Limit::Units(bytes / 2),
        ("char" | "varchar" | "binary" | "varbinary", Some(bytes)) => Limit::Bytes(bytes),
        _ => Limit::None,
    }
}

/// How a stream's type is sent to a column, and the Arrow type to bring it to first. None: not at all.
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
    let whole = |least, most| Some((Form::Whole { least, most }, DataType::Int64));
    // Tenths of microseconds have a place in the table, so nanoseconds stay what they are.
    let finest = |unit: &TimeUnit| if *unit == TimeUnit::Nanosecond { *unit } else { TimeUnit::Microsecond };
    let (precision, scale) = match column.data_type.as_str() {
        "money" => (19, 4),
        "smallmoney" => (10, 4),
        _ => (column.precision.clamp(1, 38), column.scale.min(38)),
    };
    match column.data_type.as_str() {
        "char" | "varchar" | "nchar" | "nvarchar" | "text" | "ntext" if is_number || is_temporal => text,
        "binary" | "varbinary" | "image" => is_binary.then_some((Form::Bytes, DataType::Binary)),
        "sql_variant" | "hierarchyid" | "geography" | "geometry" | "timestamp" => None,
        _ if is_text => text,
        "bit" if *stream == DataType::Boolean => Some((Form::Bit, DataType::Boolean)),
        // The server makes 1 of any number but 0.
        "bit" if is_whole => whole(0, 1),
        "tinyint" if is_whole => whole(0, u8::MAX.into()),
        "smallint" if is_whole => whole(i16::MIN.into(), i16::MAX.into()),
        "int" if is_whole => whole(i32::MIN.into(), i32::MAX.into()),
        "bigint" if is_whole => whole(i64::MIN, i64::MAX),
        "real" if is_number => Some((Form::Real, DataType::Float32)),
        "float" if is_number => Some((Form::Float, DataType::Float64)),
        "decimal" | "numeric" | "money" | "smallmoney" if stream.is_decimal() || stream.is_integer() => {
            Some((Form::Decimal(precision, scale), DataType::Decimal128(precision, scale as i8)))
        }
        "decimal" | "numeric" | "money" | "smallmoney" if stream.is_floating() => {
            Some((Form::Float, DataType::Float64))
        }
        "date" if is_date => Some((Form::Date, DataType::Date32)),
        "time" => match stream {
            DataType::Time64(unit) => Some((Form::Time, DataType::Time64(finest(unit)))),
            DataType::Time32(_) => Some((Form::Time, DataType::Time64(TimeUnit::Microsecond))),
            _ => None,
        },
        "datetime" | "smalldatetime" | "datetime2" | "datetimeoffset" => {
            let form = if column.data_type == "datetimeoffset" { Form::Offset } else { Form::Moment };
            match stream {
                // The zone says how to show the moment; the number is UTC's either way.
                DataType::Timestamp(unit, zone) => Some((form, DataType::Timestamp(finest(unit), zone.clone()))),
                _ if is_date => Some((form, DataType::Timestamp(TimeUnit::Microsecond, None))),
                _ => None,
            }
        }
        _ => None,
    }
}
