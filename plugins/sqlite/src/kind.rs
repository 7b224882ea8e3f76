//! Declared types of columns, and values to Arrow.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float64Builder, Int64Builder,
    StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow_buffer::i256;
use arrow_schema::TimeUnit;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use engine_sdk::prelude::*;
use rusqlite::types::ValueRef;

/// The most digits that a `Decimal128` holds, and those that a `Decimal256` does.
const SHORT_PRECISION: u8 = 38;
const MAX_PRECISION: u8 = 76;

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Integer,
    Real,
    Decimal(u8, i8),
    Text,
    Blob,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl Kind {
    /// The kind that a declared type stands for: by its first word where that
    /// names a type that SQLite itself does not know, else by SQLite's own
    /// rules of affinity. None: nothing is declared.
    pub fn declared(declared: &str) -> Option<Self> {
        let upper = declared.trim().to_ascii_uppercase();
        let word = upper.split(['(', ' ']).next().unwrap_or_default();
        let special = match word {
            "" => return None,
            "BOOL" | "BOOLEAN" => Some(Self::Bool),
            "DATE" => Some(Self::Date),
            "TIME" => Some(Self::Time),
            "TIMESTAMPTZ" => Some(Self::TimestampTz),
            "TIMESTAMP" | "DATETIME" if upper.ends_with("WITH TIME ZONE") => Some(Self::TimestampTz),
            "TIMESTAMP" | "DATETIME" => Some(Self::Timestamp),
            "DECIMAL" | "NUMERIC" | "DECIMALTEXT" => Some(decimal(&upper).unwrap_or(Self::Text)),
            _ => None,
        };
        Some(special.unwrap_or_else(|| {
            let has = |part: &str| upper.contains(part);
            if has("INT") {
                Self::Integer
            } else if has("CHAR") || has("CLOB") || has("TEXT") {
                Self::Text
            } else if has("BLOB") {
                Self::Blob
            } else if has("REAL") || has("FLOA") || has("DOUB") {
                Self::Real
            } else {
                Self::Text
            }
        }))
    }

    /// Its Arrow type.
    pub fn arrow(self) -> DataType {
        let microsecond = TimeUnit::Microsecond;
        match self {
            Self::Bool => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Real => DataType::Float64,
            Self::Decimal(precision, scale) if precision <= SHORT_PRECISION => DataType::Decimal128(precision, scale),
            Self::Decimal(precision, scale) => DataType::Decimal256(precision, scale),
            Self::Text => DataType::Utf8,
            Self::Blob => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(microsecond),
            Self::Timestamp => DataType::Timestamp(microsecond, None),
            Self::TimestampTz => DataType::Timestamp(microsecond, Some("UTC".into())),
        }
    }
}

/// The declared type of a column that is made for a stream's column. None: there is none.
pub fn declared_for(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        data_type if data_type.is_integer() => "INTEGER",
        data_type if data_type.is_floating() => "REAL",
        // The word TEXT keeps SQLite from making a binary number of it.
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            return Some(format!("DECIMALTEXT({precision},{scale})"));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "TEXT",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BLOB",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ",
        DataType::Dictionary(_, values) => return declared_for(values),
        _ => return None,
    };
    Some(name.into())
}

/// `DECIMAL(10,2)`, if one of Arrow's decimals holds it.
fn decimal(declared: &str) -> Option<Kind> {
    let sizes = declared.split_once('(')?.1.split_once(')')?.0;
    let (precision, scale) = sizes.split_once(',').unwrap_or((sizes, "0"));
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse::<i8>().ok()?);
    let fits = (1..=MAX_PRECISION).contains(&precision) && (0..=precision as i8).contains(&scale);
    fits.then_some(Kind::Decimal(precision, scale))
}

/// Collects the values of one column.
pub enum Column {
    Bool(BooleanBuilder),
    Integer(Int64Builder),
    Real(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    LongDecimal(Decimal256Builder, u8, i8),
    Text(StringBuilder),
    Blob(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder, bool),
}

/// Runs the same code on whatever builder a column has.
macro_rules! each {
    ($column:expr, $builder:ident => $code:expr) => {
        match $column {
            Column::Bool($builder) => $code,
            Column::Integer($builder) => $code,
            Column::Real($builder) => $code,
            Column::Decimal($builder, ..) => $code,
            Column::LongDecimal($builder, ..) => $code,
            Column::Text($builder) => $code,
            Column::Blob($builder) => $code,
            Column::Date($builder) => $code,
            Column::Time($builder) => $code,
            Column::Timestamp($builder, _) => $code,
        }
    };
}

impl Column {
    /// An empty one.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Real => Self::Real(Float64Builder::new()),
            Kind::Decimal(precision, scale) if precision <= SHORT_PRECISION => {
                Self::Decimal(Decimal128Builder::new().with_data_type(kind.arrow()), precision, scale)
            }
            Kind::Decimal(precision, scale) => {
                Self::LongDecimal(Decimal256Builder::new().with_data_type(kind.arrow()), precision, scale)
            }
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Blob => Self::Blob(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp | Kind::TimestampTz => Self::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(kind.arrow()),
                kind == Kind::TimestampTz,
            ),
        }
    }

    /// Appends a null.
    pub fn null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    /// Hands over what was collected and starts anew.
    pub fn finish(&mut self) -> ArrayRef {
        each!(self, builder => Arc::new(builder.finish()))
    }

    /// Appends a value and answers `true`, or appends nothing.
    pub fn value(&mut self, value: ValueRef<'_>) -> bool {
        self.append(value).is_some()
    }

    fn append(&mut self, value: ValueRef<'_>) -> Option<()> {
        match (self, value) {
            (column, ValueRef::Null) => column.null(),
            (Self::Bool(builder), ValueRef::Integer(number @ (0 | 1))) => builder.append_value(number == 1),
            (Self::Integer(builder), ValueRef::Integer(number)) => builder.append_value(number),
            (Self::Real(builder), ValueRef::Real(number)) => builder.append_value(number),
            (Self::Real(builder), ValueRef::Integer(number)) => builder.append_value(number as f64),
            (Self::Decimal(builder, precision, scale), value) => {
                builder.append_value(parse_decimal(&text_of(value)?, *precision, *scale)?.to_i128()?);
            }
            (Self::LongDecimal(builder, precision, scale), value) => {
                builder.append_value(parse_decimal(&text_of(value)?, *precision, *scale)?);
            }
            (Self::Text(builder), value) => builder.append_value(text_of(value)?),
            (Self::Blob(builder), ValueRef::Blob(bytes)) => builder.append_value(bytes),
            (Self::Date(builder), ValueRef::Text(text)) => {
                let date = NaiveDate::parse_from_str(std::str::from_utf8(text).ok()?, "%Y-%m-%d").ok()?;
                builder.append_value(i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()?);
            }
            (Self::Time(builder), ValueRef::Text(text)) => {
                let time = NaiveTime::parse_from_str(std::str::from_utf8(text).ok()?, "%H:%M:%S%.f").ok()?;
                let seconds = i64::from(time.num_seconds_from_midnight());
                builder.append_value(seconds * 1_000_000 + i64::from(time.nanosecond() / 1000));
            }
            (Self::Timestamp(builder, zoned), ValueRef::Text(text)) => {
                builder.append_value(parse_moment(std::str::from_utf8(text).ok()?, *zoned)?);
            }
            _ => return None,
        }
        Some(())
    }
}

/// A value as SQLite would show it. None: a blob, or text that is not UTF-8.
pub fn text_of(value: ValueRef<'_>) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        ValueRef::Integer(number) => Some(number.to_string().into()),
        ValueRef::Real(number) => Some(number.to_string().into()),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Into::into),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

/// Exact: a value with more digits than the column has is not taken.
fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = usize::try_from(scale).ok()?;
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || digits.is_empty() || digits == "." || fraction.len() > scale {
        return None;
    }
    let digits = format!("{whole}{fraction:0<scale$}");
    let digits = digits.trim_start_matches('0');
    if digits.len() > usize::from(precision) {
        return None;
    }
    let value = i256::from_string(&format!("0{digits}"))?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// `2025-09-17 15:44:08.123456`, also with a `T`, without a time, and, where
/// the column has a zone, with one (else UTC).
fn parse_moment(text: &str, zoned: bool) -> Option<i64> {
    let text = text.trim();
    if zoned {
        for form in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
            if let Ok(moment) = DateTime::parse_from_str(text, form) {
                return Some(moment.timestamp_micros());
            }
        }
    }
    let text = if zoned { text.trim_end_matches('Z') } else { text };
    for form in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(moment) = NaiveDateTime::parse_from_str(text, form) {
            return Some(moment.and_utc().timestamp_micros());
        }
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_decide_how_a_column_is_read() {
        for (declared, kind) in [
            ("INTEGER", Kind::Integer),
            ("unsigned big int", Kind::Integer),
            ("varchar(50)", Kind::Text),
            ("BLOB", Kind::Blob),
            ("double precision", Kind::Real),
            ("DECIMAL(10,2)", Kind::Decimal(10, 2)),
            ("numeric(5)", Kind::Decimal(5, 0)),
            ("NUMERIC", Kind::Text),
            ("DECIMAL(50,2)", Kind::Decimal(50, 2)),
            ("DECIMALTEXT(76, 76)", Kind::Decimal(76, 76)),
            ("DECIMAL(77,2)", Kind::Text),
            ("Timestamp", Kind::Timestamp),
            ("datetime", Kind::Timestamp),
            ("TIMESTAMP WITH TIME ZONE", Kind::TimestampTz),
            ("date", Kind::Date),
            ("boolean", Kind::Bool),
        ] {
            assert_eq!(Kind::declared(declared), Some(kind), "{declared}");
        }
        assert_eq!(Kind::declared(""), None);
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, precision, scale, expected) in [
            ("12.5", 5, 2, 1250),
            ("-.5", 5, 2, -50),
            ("7", 5, 0, 7),
            ("1.5000", 5, 1, 15),
            ("-000123.40", 5, 2, -12340),
        ] {
            assert_eq!(parse_decimal(text, precision, scale), Some(i256::from_i128(expected)), "{text}");
        }
        let nines = "9".repeat(76);
        assert_eq!(parse_decimal(&format!("-0.{nines}"), 76, 76).unwrap().to_string(), format!("-{nines}"));
        assert_eq!(parse_decimal(&format!("1{nines}"), 76, 0), None);
        for wrong in ["1.234", "12345", "", ".", "-", "1e5", "abc"] {
            assert_eq!(parse_decimal(wrong, 5, 2), None, "{wrong}");
        }
    }

    #[test]
    fn moments_are_read_as_people_and_programs_write_them() {
        let expected = Some(1_758_123_848_000_000);
        assert_eq!(parse_moment("2025-09-17 15:44:08", false), expected);
        assert_eq!(parse_moment("2025-09-17T15:44:08.000", false), expected);
        assert_eq!(parse_moment("2025-09-17 15:44:08", true), expected);
        assert_eq!(parse_moment("2025-09-17T15:44:08Z", true), expected);
        assert_eq!(parse_moment("2025-09-17 17:44:08+02:00", true), expected);
        assert_eq!(parse_moment("17.9.2025", false), None);
    }
}
