//! Types of columns.

use arrow_schema::TimeUnit;
use engine_sdk::prelude::*;
use mysql_async::Column;
use mysql_async::consts::{ColumnFlags, ColumnType};

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// What a column of an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// So many bytes.
    Integer {
        bytes: u8,
        unsigned: bool,
    },
    Float,
    Double,
    /// Precision and scale.
    Decimal(u8, u8),
    Date,
    DateTime,
    Timestamp,
    /// Up to 838 hours in either direction, with so many digits behind the seconds.
    Time(u8),
    Year,
    Bit,
    Text,
    Binary,
}

impl Kind {
    /// By what the server says of an answer's column.
    pub fn of(column: &Column) -> Self {
        use ColumnType as T;
        let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        let words = column.flags().intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG);
        let integer = |bytes| Self::Integer { bytes, unsigned };
        match column.column_type() {
            T::MYSQL_TYPE_TINY => integer(1),
            T::MYSQL_TYPE_SHORT => integer(2),
            T::MYSQL_TYPE_INT24 | T::MYSQL_TYPE_LONG => integer(4),
            T::MYSQL_TYPE_LONGLONG => integer(8),
            T::MYSQL_TYPE_FLOAT => Self::Float,
            T::MYSQL_TYPE_DOUBLE => Self::Double,
            T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => {
                // As long as it can be shown: with its sign and its point.
                let scale = column.decimals();
                let shown = u32::from(!unsigned) + u32::from(scale > 0);
                let digits = column.column_length().saturating_sub(shown).clamp(1, 76);
                Self::Decimal((digits as u8).max(scale), scale)
            }
            T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => Self::Date,
            T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_DATETIME2 => Self::DateTime,
            T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => Self::Timestamp,
            T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2 => Self::Time(column.decimals().min(6)),
            T::MYSQL_TYPE_YEAR => Self::Year,
            T::MYSQL_TYPE_BIT => Self::Bit,
            T::MYSQL_TYPE_JSON | T::MYSQL_TYPE_ENUM | T::MYSQL_TYPE_SET | T::MYSQL_TYPE_NULL => Self::Text,
            T::MYSQL_TYPE_GEOMETRY => Self::Binary,
            _ if column.character_set() == BINARY && !words => Self::Binary,
            _ => Self::Text,
        }
    }

    pub fn arrow(self) -> DataType {
        match self {
            Self::Integer { bytes: 1, unsigned: false } => DataType::Int8,
            Self::Integer { bytes: 1, unsigned: true } => DataType::UInt8,
            Self::Integer { bytes: 2, unsigned: false } | Self::Year => DataType::Int16,
            Self::Integer { bytes: 2, unsigned: true } => DataType::UInt16,
            Self::Integer { bytes: 4, unsigned: false } => DataType::Int32,
            Self::Integer { bytes: 4, unsigned: true } => DataType::UInt32,
            Self::Integer { unsigned: false, .. } => DataType::Int64,
            Self::Integer { unsigned: true, .. } | Self::Bit => DataType::UInt64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision @ ..=38, scale) => DataType::Decimal128(precision, scale as i8),
            Self::Decimal(precision, scale) => DataType::Decimal256(precision, scale as i8),
            Self::Date => DataType::Date32,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Time(_) | Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
        }
    }
}
