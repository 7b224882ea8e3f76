//! Types: as a column is declared, as TDS has them, and as SQLite keeps their values (numbers beyond 64 bits, days,
//! times and moments as texts that sort like what they stand for).

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use rusqlite::types::Value;

const SINCE_YEAR_ONE: i64 = 719_162;
const SINCE_1900: i64 = 25_567;
/// Its encoding is code page 1252.
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bit,
    /// So many bytes.
    Int(u8),
    /// That refuses nulls.
    FixedInt,
    Real,
    Float,
    Decimal(u8, u8),
    Money,
    SmallMoney,
    Date,
    Time(u8),
    DateTime,
    SmallDateTime,
    DateTime2(u8),
    Offset(u8),
    /// In code page 1252.
    VarChar,
    NVarChar,
    NVarCharMax,
    Binary,
    VarBinaryMax,
    RowVersion,
    Guid,
    Xml,
}

/// The parts of `decimal(10, 2)`.
pub fn parts(declared: &str) -> (String, Vec<u8>) {
    let (name, rest) = declared.split_once('(').unwrap_or((declared, ""));
    let sizes = rest.trim_end_matches(')').split(',').filter_map(|size| size.trim().parse().ok()).collect();
    (name.trim().to_lowercase().replace("_text", ""), sizes)
}

impl Type {
    pub fn of(declared: &str) -> Option<Self> {
        let (name, sizes) = parts(declared);
        let size = |at: usize, otherwise: u8| sizes.get(at).copied().unwrap_or(otherwise);
        let is_max = declared.contains("(max)") || declared.contains("(0)");
        Some(match name.as_str() {
            "bit" => Self::Bit,
            "tinyint" => Self::Int(1),
            "smallint" => Self::Int(2),
            "int" | "integer" => Self::Int(4),
            "bigint" => Self::Int(8),
            "real" => Self::Real,
            "float" => Self::Float,
            "decimal" | "numeric" => Self::Decimal(size(0, 18), size(1, 0)),
            "money" => Self::Money,
            "smallmoney" => Self::SmallMoney,
            "date" => Self::Date,
            "time" => Self::Time(size(0, 7)),
            "datetime" => Self::DateTime,
            "smalldatetime" => Self::SmallDateTime,
            "datetime2" => Self::DateTime2(size(0, 7)),
            "datetimeoffset" => Self::Offset(size(0, 7)),
            "char" | "varchar" | "text" if !is_max => Self::VarChar,
            "nchar" | "nvarchar" if !is_max => Self::NVarChar,
            "ntext" | "nvarchar" | "varchar" => Self::NVarCharMax,
            "binary" | "varbinary" if !is_max => Self::Binary,
            "varbinary" | "image" => Self::VarBinaryMax,
            "rowversion" => Self::RowVersion,
            "uniqueidentifier" => Self::Guid,
            "xml" => Self::Xml,
            _ => return None,
        })
    }

    /// As COLMETADATA has it.
    pub fn info(self) -> Vec<u8> {
        let text = |token: u8, length: u16| [&[token][..], &length.to_le_bytes(), &COLLATION].concat();
        match self {
            Self::Bit => vec![0x68, 1],
            Self::Int(bytes) => vec![0x26, bytes],
            Self::FixedInt => vec![0x38],
            Self::Real => vec![0x6d, 4],
            Self::Float => vec![0x6d, 8],
            Self::Decimal(precision, scale) => vec![0x6a, 17, precision, scale],
            Self::Money => vec![0x6e, 8],
            Self::SmallMoney => vec![0x6e, 4],
            Self::Date => vec![0x28],
            Self::Time(scale) => vec![0x29, scale],
            Self::DateTime => vec![0x6f, 8],
            Self::SmallDateTime => vec![0x6f, 4],
            Self::DateTime2(scale) => vec![0x2a, scale],
            Self::Offset(scale) => vec![0x2b, scale],
            Self::VarChar => text(0xa7, 8000),
            Self::NVarChar => text(0xe7, 8000),
            Self::NVarCharMax => text(0xe7, 0xffff),
            Self::Binary | Self::RowVersion => vec![0xa5, 0x40, 0x1f],
            Self::VarBinaryMax => vec![0xa5, 0xff, 0xff],
            Self::Guid => vec![0x24, 16],
            Self::Xml => vec![0xf1, 0],
        }
    }

    /// As a ROW has it.
    pub fn write(self, value: &Value, into: &mut Vec<u8>) {
        if *value == Value::Null {
            match self {
                Self::NVarCharMax | Self::VarBinaryMax | Self::Xml => into.extend_from_slice(&u64::MAX.to_le_bytes()),
                Self::VarChar | Self::NVarChar | Self::Binary | Self::RowVersion => into.extend_from_slice(&[0xff; 2]),
                _ => into.push(0),
            }
            return;
        }
        let text = text(value);
        let short = |bytes: &[u8], into: &mut Vec<u8>| {
            into.push(bytes.len() as u8);
            into.extend_from_slice(bytes);
        };
        let long = |bytes: &[u8], into: &mut Vec<u8>| {
            into.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
            into.extend_from_slice(bytes);
        };
        // In two parts, as a server may send it.
        let parts = |bytes: &[u8], into: &mut Vec<u8>| {
            into.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            for part in bytes.chunks(bytes.len() / 2 + 1) {
                into.extend_from_slice(&(part.len() as u32).to_le_bytes());
                into.extend_from_slice(part);
            }
            into.extend_from_slice(&[0; 4]);
        };
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let blob = || if let Value::Blob(bytes) = value { bytes.clone() } else { text.clone().into_bytes() };
        match self {
            Self::Bit => short(&[number(value) as u8], into),
            Self::Int(bytes) => short(&number(value).to_le_bytes()[..bytes.into()], into),
            Self::FixedInt => into.extend_from_slice(&(number(value) as i32).to_le_bytes()),
            Self::Real => short(&(real(value) as f32).to_le_bytes(), into),
            Self::Float => short(&real(value).to_le_bytes(), into),
            Self::Decimal(_, scale) => {
                let number = scaled(&text, scale).unwrap();
                let mut bytes = vec![u8::from(number >= 0)];
                bytes.extend_from_slice(&number.unsigned_abs().to_le_bytes());
                short(&bytes, into);
            }
            Self::Money => {
                let number = scaled(&text, 4).unwrap() as i64;
                let halves = [((number >> 32) as u32).to_le_bytes(), (number as u32).to_le_bytes()];
                short(&halves.concat(), into);
            }
            Self::SmallMoney => short(&(scaled(&text, 4).unwrap() as i32).to_le_bytes(), into),
            Self::Date => short(&(days(&text) + SINCE_YEAR_ONE).to_le_bytes()[..3], into),
            Self::Time(scale) => short(&ticks(&text, scale), into),
            Self::DateTime => {
                let moment = moment(&text).unwrap();
                let milliseconds =
                    i64::from(moment.num_seconds_from_midnight()) * 1000 + i64::from(moment.nanosecond() / 1_000_000);
                let mut bytes = ((days(&text) + SINCE_1900) as i32).to_le_bytes().to_vec();
                bytes.extend_from_slice(&((milliseconds * 3 + 5) / 10).to_le_bytes()[..4]);
                short(&bytes, into);
            }
            Self::SmallDateTime => {
                let minutes = moment(&text).unwrap().num_seconds_from_midnight() / 60;
                let halves = [((days(&text) + SINCE_1900) as u16).to_le_bytes(), (minutes as u16).to_le_bytes()];
                short(&halves.concat(), into);
            }
            Self::DateTime2(scale) | Self::Offset(scale) => {
                let (moment, zone) = text.split_at(27.min(text.len()));
                let (day, time) = moment.split_once(' ').unwrap_or((moment, "00:00:00"));
                let mut bytes = ticks(time, scale);
                bytes.extend_from_slice(&(days(day) + SINCE_YEAR_ONE).to_le_bytes()[..3]);
                if matches!(self, Self::Offset(_)) {
                    assert_eq!(zone, " +00:00", "the stand-in keeps moments in UTC");
                    // An hour ahead, which does not change the moment.
                    bytes.extend_from_slice(&60_i16.to_le_bytes());
                }
                short(&bytes, into);
            }
            Self::VarChar => long(&encoding_rs::WINDOWS_1252.encode(&text).0, into),
            Self::NVarChar => long(&utf16(&text), into),
            Self::NVarCharMax | Self::Xml => parts(&utf16(&text), into),
            Self::Binary | Self::RowVersion => long(&blob(), into),
            Self::VarBinaryMax => parts(&blob(), into),
            Self::Guid => short(&uuid::Uuid::parse_str(&text).unwrap().to_bytes_le(), into),
        }
    }

    /// A value as it is kept for this type, or the number of the error.
    pub fn keep(self, value: &Value) -> Result<Value, u32> {
        const WRONG: u32 = 241;
        const TOO_LARGE: u32 = 8115;
        if *value == Value::Null {
            return Ok(Value::Null);
        }
        let text = text(value);
        Ok(match self {
            Self::Bit | Self::Int(_) | Self::FixedInt => {
                let number: i64 = match (self, text.to_lowercase().as_str()) {
                    (Self::Bit, "true") => 1,
                    (Self::Bit, "false") => 0,
                    (_, text) => text.trim_start_matches('+').parse().map_err(|_| 245_u32)?,
                };
                let fits = match self {
                    Self::Bit => (0..=1).contains(&number),
                    Self::Int(1) => u8::try_from(number).is_ok(),
                    Self::Int(2) => i16::try_from(number).is_ok(),
                    Self::Int(4) | Self::FixedInt => i32::try_from(number).is_ok(),
                    _ => true,
                };
                if !fits {
                    return Err(TOO_LARGE);
                }
                Value::Integer(number)
            }
            Self::Real => Value::Real((text.parse::<f64>().map_err(|_| 8114_u32)? as f32).into()),
            Self::Float => Value::Real(text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or(8114_u32)?),
            Self::Decimal(precision, scale) => Value::Text(kept_decimal(value, &text, precision, scale)?),
            Self::Money => Value::Text(kept_decimal(value, &text, 19, 4)?),
            Self::SmallMoney => Value::Text(kept_decimal(value, &text, 10, 4)?),
            Self::Date => Value::Text(moment(&text).ok_or(WRONG)?.date().to_string()),
            Self::Time(_) => {
                let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(&text, form).ok());
                Value::Text(shown_time(time.ok_or(WRONG)?))
            }
            Self::DateTime => {
                let moment = moment(&text).filter(|moment| moment.year() >= 1753).ok_or(242_u32)?;
                Value::Text(moment.format("%Y-%m-%d %H:%M:%S%.3f").to_string())
            }
            Self::SmallDateTime => {
                let moment = moment(&text).filter(|moment| (1900..2080).contains(&moment.year())).ok_or(242_u32)?;
                Value::Text(moment.format("%Y-%m-%d %H:%M:00").to_string())
            }
            Self::DateTime2(_) => {
                let moment = moment(&text).ok_or(WRONG)?;
                Value::Text(format!(
                    "{:04}-{:02}-{:02} {}",
                    moment.year(),
                    moment.month(),
                    moment.day(),
                    shown_time(moment.time())
                ))
            }
            Self::Offset(_) => {
                let zoned = ["%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f %:z"];
                let zoned = zoned.iter().find_map(|form| DateTime::parse_from_str(&text, form).ok());
                let utc = zoned
                    .map(|moment| moment.with_timezone(&Utc).naive_utc())
                    .or_else(|| moment(&text))
                    .ok_or(WRONG)?;
                Value::Text(format!("{} {} +00:00", utc.date(), shown_time(utc.time())))
            }
            Self::Guid => Value::Text(uuid::Uuid::parse_str(&text).map_err(|_| 8169_u32)?.to_string()),
            Self::Xml if !text.trim_start().starts_with('<') => return Err(9400),
            Self::Binary | Self::VarBinaryMax | Self::RowVersion => value.clone(),
            _ => Value::Text(text),
        })
    }
}

fn kept_decimal(value: &Value, text: &str, precision: u8, scale: u8) -> Result<String, u32> {
    let text =
        if let Value::Real(number) = value { format!("{number:.*}", usize::from(scale)) } else { text.to_owned() };
    let number = scaled(&text, scale).ok_or(8115_u32)?;
    if number.unsigned_abs() >= 10_u128.pow(precision.into()) {
        return Err(8115);
    }
    Ok(decimal_text(number, scale))
}

pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("0x{}", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>()),
    }
}

fn number(value: &Value) -> i64 {
    if let Value::Integer(number) = value { *number } else { text(value).parse().unwrap() }
}

fn real(value: &Value) -> f64 {
    text(value).parse().unwrap()
}

/// The digits of a decimal number, with so many of them behind the point; None: too many.
fn scaled(text: &str, scale: u8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = if fraction.len() > scale.into() && fraction[scale.into()..].bytes().all(|digit| digit == b'0') {
        &fraction[..scale.into()]
    } else {
        fraction
    };
    let missing = usize::from(scale).checked_sub(fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(missing)).parse().ok()
}

pub fn decimal_text(number: i128, scale: u8) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", number.unsigned_abs(), usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// From days since the year one.
pub fn day_text(days: i64) -> String {
    let day = NaiveDate::from_epoch_days((days - SINCE_YEAR_ONE) as i32).unwrap();
    format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day())
}

/// From tenths of microseconds.
pub fn time_text(ticks: i64) -> String {
    let seconds = ticks / 10_000_000;
    format!("{:02}:{:02}:{:02}.{:07}", seconds / 3600, seconds / 60 % 60, seconds % 60, ticks % 10_000_000)
}

fn shown_time(time: NaiveTime) -> String {
    time_text(i64::from(time.num_seconds_from_midnight()) * 10_000_000 + i64::from(time.nanosecond() / 100))
}

fn moment(text: &str) -> Option<NaiveDateTime> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return day.and_hms_opt(0, 0, 0);
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
}

fn days(text: &str) -> i64 {
    i64::from(moment(text).unwrap().date().to_epoch_days())
}

fn ticks(text: &str, scale: u8) -> Vec<u8> {
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").unwrap();
    let ticks = i64::from(time.num_seconds_from_midnight()) * 10_000_000 + i64::from(time.nanosecond() / 100);
    let bytes = match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    (ticks / 10_i64.pow(7 - u32::from(scale))).to_le_bytes()[..bytes].to_vec()
}
