//! Which PostgreSQL types cross in binary, and what they are in Arrow.

use arrow_schema::{DataType, TimeUnit};

/// Microseconds from 1970-01-01, where Arrow counts from, to 2000-01-01, where PostgreSQL does.
pub const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// The same in days.
pub const EPOCH_DAYS: i32 = 10_957;
/// The most digits that a `Decimal128` holds.
pub const SHORT_PRECISION: u8 = 38;
/// The most digits that a `Decimal256` holds.
pub const MAX_PRECISION: u8 = 76;

/// A type, as far as types are told apart here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// boolean
    Bool,
    /// smallint
    Int2,
    /// integer
    Int4,
    /// bigint
    Int8,
    /// real
    Float4,
    /// double precision
    Float8,
    /// numeric(precision, scale) that fits a `Decimal128` or else a `Decimal256`
    Numeric(u8, i8),
    /// numeric with more digits, with any number of them, or with a scale that is negative or larger than the
    /// precision
    WideNumeric,
    /// text, and varchar and char with the characters that fit
    Text(Option<usize>),
    /// json
    Json,
    /// jsonb
    Jsonb,
    /// bytea
    Bytea,
    /// date
    Date,
    /// time without time zone
    Time,
    /// timestamp without time zone
    Timestamp,
    /// timestamp with time zone
    TimestampTz,
    /// uuid
    Uuid,
    /// Everything else crosses as the text that PostgreSQL shows.
    Other,
}

impl Kind {
    /// The kind behind the numbers of `pg_attribute`.
    pub fn of(oid: u32, modifier: i32) -> Self {
        // A modifier of varchar and numeric is the declared size plus this.
        const HEADER: i32 = 4;
        let size = modifier.checked_sub(HEADER).filter(|size| *size >= 0);
        match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            19 | 25 => Self::Text(None),
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1042 | 1043 => Self::Text(size.and_then(|size| usize::try_from(size).ok())),
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1700 => size.map_or(Self::WideNumeric, |size| {
                let precision = (size >> 16) & 0xffff;
                // Eleven bits, signed since PostgreSQL 15.
                let scale = ((size & 0x7ff) ^ 0x400) - 0x400;
                match (u8::try_from(precision), i8::try_from(scale)) {
                    (Ok(precision), Ok(scale))
                        if precision <= MAX_PRECISION && (0..=precision as i8).contains(&scale) =>
                    {
                        Self::Numeric(precision, scale)
                    }
                    _ => Self::WideNumeric,
                }
            }),
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => Self::Other,
        }
    }

    /// The Arrow type that a column of this kind is read as.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric(precision, scale) if precision <= SHORT_PRECISION => DataType::Decimal128(precision, scale),
            Self::Numeric(precision, scale) => DataType::Decimal256(precision, scale),
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::WideNumeric | Self::Text(_) | Self::Json | Self::Jsonb | Self::Uuid | Self::Other => DataType::Utf8,
        }
    }

    /// Whether a COPY gives it in a form that is read here; else it is cast to text.
    pub fn is_read_in_binary(self) -> bool {
        !matches!(self, Self::WideNumeric | Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_size_of_a_numeric_decides_how_it_is_read() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(Kind::of(1700, modifier(10, 2)), Kind::Numeric(10, 2));
        assert_eq!(Kind::of(1700, modifier(38, 38)), Kind::Numeric(38, 38));
        assert_eq!(Kind::of(1700, modifier(38, 38)).arrow(), DataType::Decimal128(38, 38));
        assert_eq!(Kind::of(1700, modifier(39, 2)), Kind::Numeric(39, 2));
        assert_eq!(Kind::of(1700, modifier(76, 76)).arrow(), DataType::Decimal256(76, 76));
        assert_eq!(Kind::of(1700, modifier(77, 2)), Kind::WideNumeric);
        assert_eq!(Kind::of(1700, modifier(1000, 0)), Kind::WideNumeric);
        assert_eq!(Kind::of(1700, modifier(76, 77)), Kind::WideNumeric);
        assert_eq!(Kind::of(1700, modifier(5, -2)), Kind::WideNumeric);
        assert_eq!(Kind::of(1700, modifier(2, 5)), Kind::WideNumeric);
        assert_eq!(Kind::of(1700, -1), Kind::WideNumeric);
        assert_eq!(Kind::of(1043, 54), Kind::Text(Some(50)));
        assert_eq!(Kind::of(1043, -1), Kind::Text(None));
    }
}
