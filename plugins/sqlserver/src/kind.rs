//! Types of columns.

use arrow_schema::TimeUnit;
use engine_sdk::prelude::*;

/// What a column of an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bit,
    /// `tinyint`: from 0 to 255.
    Byte,
    Small,
    Int,
    Big,
    Real,
    Float,
    /// Precision and scale.
    Decimal(u8, u8),
    /// With so many digits, four of them behind the point.
    Money(u8),
    Date,
    /// With so many digits behind the seconds.
    Time(u8),
    DateTime,
    SmallDateTime,
    DateTime2,
    Offset,
    Text,
    Xml,
    Binary,
    RowVersion,
    Guid,
}

impl Kind {
    /// By the name of the system's type, without sizes. None: its values have no place in Arrow.
    pub fn of(name: &str, precision: u8, scale: u8) -> Option<Self> {
        Some(match name {
            "bit" => Self::Bit,
            "tinyint" => Self::Byte,
            "smallint" => Self::Small,
            "int" => Self::Int,
            "bigint" => Self::Big,
            "real" => Self::Real,
            "float" => Self::Float,
            "decimal" | "numeric" => Self::Decimal(precision.clamp(1, 38), scale.min(38)),
            "money" => Self::Money(19),
            "smallmoney" => Self::Money(10),
            "date" => Self::Date,
            "time" => Self::Time(scale.min(7)),
            "datetime" => Self::DateTime,
            "smalldatetime" => Self::SmallDateTime,
            "datetime2" => Self::DateTime2,
            "datetimeoffset" => Self::Offset,
            "char" | "varchar" | "text" | "nchar" | "nvarchar" | "ntext" | "sysname" => Self::Text,
            "xml" => Self::Xml,
            "binary" | "varbinary" | "image" => Self::Binary,
            "timestamp" | "rowversion" => Self::RowVersion,
            "uniqueidentifier" => Self::Guid,
            _ => return None,
        })
    }

    /// Whether its values are whole numbers, by which a table can be cut.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Byte | Self::Small | Self::Int | Self::Big)
    }

    pub fn arrow(self) -> DataType {
        match self {
            Self::Bit => DataType::Boolean,
            Self::Byte => DataType::UInt8,
            Self::Small => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::Big => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Float => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale as i8),
            Self::Money(precision) => DataType::Decimal128(precision, 4),
            Self::Date => DataType::Date32,
            Self::Time(..=6) => DataType::Time64(TimeUnit::Microsecond),
            Self::Time(_) => DataType::Time64(TimeUnit::Nanosecond),
            Self::DateTime | Self::SmallDateTime | Self::DateTime2 => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Offset => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text | Self::Xml | Self::Guid => DataType::Utf8,
            Self::Binary | Self::RowVersion => DataType::Binary,
        }
    }
}
