//! Numbers, dates and timestamps that values are compared with, exactly.

use std::borrow::Cow;
use std::cmp::Ordering;

use arrow_buffer::i256;
use engine_sdk::columns::{Cells, ColumnType, Value as Read};
use engine_sdk::prelude::*;
use schemars::{Schema as JsonSchemaOf, SchemaGenerator, json_schema};

/// A value in the configuration: a number, true or false, or a text.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Limit(Value);

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({"type": ["number", "string", "boolean"]})
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}

/// What values of a column are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// Digits, and how many of them are behind the point.
    Exact(i256, i32),
    Float32(f32),
    Float64(f64),
    /// Nanoseconds since 1970-01-01.
    Moment(i128),
    Boolean(bool),
    Text(String),
}

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

impl Bound {
    /// Reads a value for columns of a type; without one, what is wanted.
    pub fn new(limit: &Limit, data_type: &DataType) -> Result<Self, &'static str> {
        let text = limit.to_string();
        let read = |kind: ColumnType| kind.read(&text).map_err(|why| why.reason);
        let day = |day: i32| Self::Moment(i128::from(day) * DAY);
        let microseconds = |it: i64| Self::Moment(i128::from(it) * 1000);
        Ok(match data_type {
            DataType::Dictionary(_, values) => return Self::new(limit, values),
            DataType::Boolean => match &limit.0 {
                Value::Bool(value) => Self::Boolean(*value),
                _ => return Err("is neither true nor false"),
            },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => match &limit.0 {
                Value::String(text) => Self::Text(text.clone()),
                _ => return Err("is no text: put it into quotes"),
            },
            _ if data_type.is_integer() || data_type.is_decimal() => exact(&text).ok_or("is not a number")?,
            DataType::Float16 | DataType::Float32 => Self::Float32(number(&text)?),
            DataType::Float64 => Self::Float64(number(&text)?),
            DataType::Date32 => match read(ColumnType::Date)? {
                Read::Date(value) => day(value),
                _ => return Err("is not a date"),
            },
            DataType::Date64 | DataType::Timestamp(..) => {
                let zoned = matches!(data_type, DataType::Timestamp(_, Some(_)));
                let kind = if zoned { ColumnType::TimestampTz } else { ColumnType::Timestamp };
                match read(ColumnType::Date).or_else(|_| read(kind))? {
                    Read::Date(value) => day(value),
                    Read::Timestamp(value) => microseconds(value),
                    _ => return Err("is not a timestamp"),
                }
            }
            _ => return Err("cannot be compared with values of this type"),
        })
    }

    /// How a value that is not null stands to this one. What is not a number stands in no relation.
    pub fn compare(&self, cells: &Cells, row: usize) -> Option<Ordering> {
        match (self, cells) {
            (Self::Exact(bound, scale), Cells::Integer(column)) => {
                Some(compare_exact(i256::from_i128(column.value(row).into()), 0, *bound, *scale))
            }
            (Self::Exact(bound, scale), Cells::Unsigned(column)) => {
                Some(compare_exact(i256::from_i128(column.value(row).into()), 0, *bound, *scale))
            }
            (Self::Exact(bound, scale), Cells::Decimal(column, own)) => {
                Some(compare_exact(i256::from_i128(column.value(row)), (*own).into(), *bound, *scale))
            }
            (Self::Exact(bound, scale), Cells::LongDecimal(column, own)) => {
                Some(compare_exact(column.value(row), (*own).into(), *bound, *scale))
            }
            (Self::Float32(bound), Cells::Float32(column)) => column.value(row).partial_cmp(bound),
            (Self::Float64(bound), Cells::Float64(column)) => column.value(row).partial_cmp(bound),
            (Self::Moment(bound), Cells::Date(column)) => Some((i128::from(column.value(row)) * DAY).cmp(bound)),
            (Self::Moment(bound), Cells::Timestamp(column, ticks, _)) => {
                Some((i128::from(column.value(row)) * (SECOND / i128::from(*ticks))).cmp(bound))
            }
            (Self::Boolean(bound), Cells::Boolean(column)) => Some(column.value(row).cmp(bound)),
            (Self::Text(bound), cells) => cells.text(row).map(|text| text.cmp(bound)),
            _ => None,
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "is not a number")
}

/// A number of at most 76 digits, with a point and an exponent.
fn exact(text: &str) -> Option<Bound> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) || !whole.ends_with(|it: char| it.is_ascii_digit()) {
        return None;
    }
    let digits = i256::from_string(&format!("{whole}{decimals}"))?;
    Some(Bound::Exact(digits, i32::try_from(decimals.len()).ok()?.checked_sub(exponent)?))
}

/// Compares two numbers by their digits and by how many of those are behind the point.
fn compare_exact(left: i256, left_scale: i32, right: i256, right_scale: i32) -> Ordering {
    let scaled = |value: i256, by: i32| (0..by).try_fold(value, |value, _| value.checked_mul(i256::from_i128(10)));
    let zero = i256::ZERO;
    // Zeros and signs first: what then overflows is farther from zero than anything that does not.
    match (left.cmp(&zero), right.cmp(&zero)) {
        (one, other) if one != other || one == Ordering::Equal => return one.cmp(&other),
        _ => {}
    }
    let by = i64::from(right_scale) - i64::from(left_scale);
    let shift = i32::try_from(by.abs()).unwrap_or(i32::MAX).min(80);
    let farther = if left > zero { Ordering::Greater } else { Ordering::Less };
    if by >= 0 {
        scaled(left, shift).map_or(farther, |left| left.cmp(&right))
    } else {
        scaled(right, shift).map_or(farther.reverse(), |right| left.cmp(&right))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, UInt64Array};
    use arrow_array::{TimestampMillisecondArray, TimestampSecondArray};
    use proptest::prelude::*;

    use super::*;

    fn compare(column: impl Array + 'static, limit: Value) -> Option<Ordering> {
        let column: ArrayRef = Arc::new(column);
        Bound::new(&Limit(limit), column.data_type()).unwrap().compare(&Cells::new(&column).unwrap(), 0)
    }

    #[test]
    fn numbers_are_compared_by_all_their_digits() {
        use Ordering::{Equal, Greater, Less};
        assert_eq!(compare(Int64Array::from(vec![i64::MAX]), json!("9223372036854775807.1")), Some(Less));
        assert_eq!(compare(UInt64Array::from(vec![u64::MAX]), json!(u64::MAX)), Some(Equal));
        assert_eq!(compare(Int64Array::from(vec![0]), json!(-0.0)), Some(Equal));
        assert_eq!(compare(Int64Array::from(vec![1000]), json!("1e3")), Some(Equal));
        assert_eq!(compare(Int64Array::from(vec![1]), json!("1e999")), Some(Less));
        assert_eq!(compare(Int64Array::from(vec![-1]), json!("-1e-999")), Some(Less));
        let decimal = |value| Decimal128Array::from(vec![value]).with_precision_and_scale(38, 2).unwrap();
        assert_eq!(compare(decimal(100), json!(1)), Some(Equal));
        assert_eq!(compare(decimal(-101), json!(-1)), Some(Less));
        assert_eq!(compare(decimal(10_i128.pow(37)), json!("99999999999999999999999999999999999.999")), Some(Greater));
        assert_eq!(compare(Float32Array::from(vec![0.1]), json!(0.1)), Some(Equal));
        assert_eq!(compare(Float64Array::from(vec![f64::NAN]), json!(0)), None);
        assert_eq!(compare(Float64Array::from(vec![f64::INFINITY]), json!(0)), Some(Greater));
    }

    #[test]
    fn days_and_times_are_compared_whatever_their_units() {
        use Ordering::{Equal, Less};
        assert_eq!(compare(Date32Array::from(vec![1]), json!("1970-01-02")), Some(Equal));
        assert_eq!(compare(TimestampMillisecondArray::from(vec![999]), json!("1970-01-01T00:00:01")), Some(Less));
        assert_eq!(compare(TimestampSecondArray::from(vec![86_400]), json!("1970-01-02")), Some(Equal));
        let zoned = TimestampSecondArray::from(vec![0]).with_timezone("Asia/Kolkata");
        assert_eq!(compare(zoned, json!("1970-01-01T05:30:00+05:30")), Some(Equal));
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused() {
        for (limit, data_type) in [
            (json!("x"), DataType::Int64),
            (json!("1."), DataType::Binary),
            (json!("-"), DataType::Int64),
            (json!(".5"), DataType::Int64),
            (json!("1.x"), DataType::Int64),
            (json!("ten"), DataType::Float64),
            (json!(1), DataType::Utf8),
            (json!("true"), DataType::Boolean),
            (json!("2026"), DataType::Date32),
        ] {
            assert!(Bound::new(&Limit(limit), &data_type).is_err());
        }
    }

    proptest! {
        #[test]
        fn decimals_of_any_scale_are_compared_as_numbers(left in -1000i32..1000, right in -1000i32..1000, scale in 0..4i8) {
            // In thousandths both are whole numbers.
            let column = Decimal128Array::from(vec![i128::from(left)]).with_precision_and_scale(9, scale).unwrap();
            let expected = (i64::from(left) * 10_i64.pow(3 - scale as u32)).cmp(&i64::from(right));
            let (sign, digits) = (if right < 0 { "-" } else { "" }, format!("{:04}", right.abs()));
            let limit = format!("{sign}{}.{}", &digits[..digits.len() - 3], &digits[digits.len() - 3..]);
            prop_assert_eq!(compare(column, json!(limit)), Some(expected));
        }
    }
}
