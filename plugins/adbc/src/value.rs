//! Values of the engine's settings and cursors as Arrow, and back.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, new_null_array,
};
use arrow_cast::CastOptions;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::TimeUnit;
use engine_sdk::database::Scalar;
use engine_sdk::prelude::*;

/// A value to bind, and the type of what it is compared with, where that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    pub value: Scalar,
    pub data_type: Option<DataType>,
}

impl From<Scalar> for Bound {
    fn from(value: Scalar) -> Self {
        Self { value, data_type: None }
    }
}

impl Bound {
    /// As a column of one row.
    ///
    /// Texts become what they are compared with: a database refuses to compare a time with a text.
    /// Numbers stay what they are, since all databases compare one kind of number with another.
    pub fn array(&self) -> Result<ArrayRef> {
        let wanted = self.data_type.as_ref();
        Ok(match &self.value {
            Scalar::Null => new_null_array(wanted.unwrap_or(&DataType::Utf8), 1),
            Scalar::Boolean(value) => Arc::new(BooleanArray::from(vec![*value])),
            Scalar::Integer(number) => Arc::new(Int64Array::from(vec![*number])),
            Scalar::Number(number) => Arc::new(Float64Array::from(vec![*number])),
            Scalar::Text(text) => {
                let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
                match wanted {
                    Some(data_type) if is_read_from_text(data_type) => from_text(&array, text, data_type)?,
                    _ => array,
                }
            }
        })
    }
}

/// Values whose types a driver may not know, as texts.
pub fn as_texts(values: &RecordBatch) -> Result<RecordBatch> {
    let is_plain = |data_type: &DataType| !data_type.is_temporal() && !is_decimal(data_type);
    let texts = |array: &ArrayRef| match is_plain(array.data_type()) {
        true => Ok(Arc::clone(array)),
        false => arrow_cast::cast(array, &DataType::Utf8),
    };
    let columns = values.columns().iter().map(texts).collect::<std::result::Result<Vec<_>, _>>()?;
    let names = values.schema_ref().fields().iter().map(|field| field.name().clone());
    Ok(RecordBatch::try_from_iter_with_nullable(names.zip(columns).map(|(name, column)| (name, column, true)))?)
}

/// Whether a text of a cursor stands for a value of this type.
fn is_read_from_text(data_type: &DataType) -> bool {
    data_type.is_temporal() || matches!(data_type, DataType::UInt64) || is_decimal(data_type)
}

fn is_decimal(data_type: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    matches!(data_type, Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..))
}

fn from_text(array: &ArrayRef, text: &str, data_type: &DataType) -> Result<ArrayRef> {
    // A time with a zone is kept in UTC; the zone is a matter of how it is shown.
    let (read_as, zone) = match data_type {
        DataType::Timestamp(unit, Some(zone)) => (DataType::Timestamp(*unit, Some("+00:00".into())), Some(zone)),
        other => (other.clone(), None),
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let read = arrow_cast::cast_with_options(array, &read_as, &strict).map_err(|_| {
        let shown = engine_sdk::database::shortened(text);
        Error::config(format!("`{shown}` is no value of a column of type {data_type}"))
            .hint("write it like `2026-01-31`, `2026-01-31T10:00:00` or `12.50`, as the column's type has it")
    })?;
    let (Some(zone), DataType::Timestamp(unit, _)) = (zone, data_type) else { return Ok(read) };
    let data = read.to_data();
    let zone = Arc::clone(zone);
    Ok(match unit {
        TimeUnit::Second => Arc::new(TimestampSecondArray::from(data).with_timezone(zone)),
        TimeUnit::Millisecond => Arc::new(TimestampMillisecondArray::from(data).with_timezone(zone)),
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::from(data).with_timezone(zone)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::from(data).with_timezone(zone)),
    })
}

/// Whether values of a column can be a cursor: `name` for the message.
pub fn check_cursor(name: &str, field: &Field) -> Result<()> {
    use DataType::{LargeUtf8, Null, Utf8, Utf8View};
    let data_type = field.data_type();
    // The driver does not know the type, and gives it as text: compared as text, 9 is larger than 10.
    let is_opaque = field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.opaque");
    let fits =
        data_type.is_numeric() || data_type.is_temporal() || matches!(data_type, Utf8 | LargeUtf8 | Utf8View | Null);
    if fits && !is_opaque {
        return Ok(());
    }
    let shown = if is_opaque { "that the driver cannot name".to_owned() } else { data_type.to_string() };
    Err(Error::config(format!("column `{name}` is of a type {shown}, and cannot be a cursor")).hint(
        "a cursor is a column of numbers, times or texts that only grow; a query can convert it: CAST(… AS BIGINT)",
    ))
}

/// The value of the first row.
pub fn scalar(name: &str, array: &ArrayRef) -> Result<Scalar> {
    let data_type = array.data_type();
    if array.is_empty() || array.is_null(0) || *data_type == DataType::Null {
        return Ok(Scalar::Null);
    }
    let cannot = || {
        Error::config(format!("a value of column `{name}` of type {data_type} cannot be a cursor"))
            .hint("leave it out with a condition in a `query`, or choose another column")
    };
    // What is no number is kept as text, exactly: all digits of a fraction, in UTC if it has a zone.
    let first = array.slice(0, 1);
    let shown = match data_type {
        DataType::Timestamp(unit, Some(_)) => {
            arrow_cast::cast(&without_zone(&first, *unit), &DataType::Timestamp(*unit, None))
        }
        _ => Ok(first),
    }
    .map_err(|_| cannot())?;
    // Otherwise what cannot be shown is shown as an error's text.
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(&shown, &options).map_err(|_| cannot())?;
    let text = formatter.value(0).try_to_string().map_err(|_| cannot())?;
    if data_type.is_integer() {
        return Ok(text.parse().map(Scalar::Integer).unwrap_or(Scalar::Text(text)));
    }
    if data_type.is_floating() {
        let wide = arrow_cast::cast(&shown, &DataType::Float64).map_err(|_| cannot())?;
        let number = wide.as_any().downcast_ref::<Float64Array>().map(|wide| wide.value(0));
        return number.filter(|number| number.is_finite()).map(Scalar::Number).ok_or_else(cannot);
    }
    Ok(Scalar::Text(text))
}

/// The same moment, in UTC. Arrow would look its zone up, and knows no names of zones here.
fn without_zone(array: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    let data = array.to_data();
    match unit {
        TimeUnit::Second => Arc::new(TimestampSecondArray::from(data).with_timezone_opt(None::<&str>)),
        TimeUnit::Millisecond => Arc::new(TimestampMillisecondArray::from(data).with_timezone_opt(None::<&str>)),
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::from(data).with_timezone_opt(None::<&str>)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::from(data).with_timezone_opt(None::<&str>)),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use arrow_array::{Date32Array, Decimal128Array, UInt64Array};

    use super::*;

    #[test]
    fn values_that_a_driver_may_not_know_become_texts() {
        let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1_700_000_000_123_456_789)]));
        let cost: ArrayRef = Arc::new(Decimal128Array::from(vec![-12_345]).with_precision_and_scale(38, 2).unwrap());
        let id: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let texts = as_texts(&RecordBatch::try_from_iter([("1", at), ("2", cost), ("3", id)]).unwrap()).unwrap();
        let shown = |at: usize| texts.column(at).as_any().downcast_ref::<StringArray>().unwrap().value(0).to_owned();
        assert_eq!((shown(0), shown(1)), ("2023-11-14T22:13:20.123456789".into(), "-123.45".into()));
        assert_eq!(texts.column(2).data_type(), &DataType::Int64);
    }

    #[test]
    fn a_cursor_goes_into_text_and_back_without_losing_anything() {
        let zoned =
            |zone: &str| Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789]).with_timezone(zone));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![i64::MIN])),
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            Arc::new(Float64Array::from(vec![0.1])),
            Arc::new(StringArray::from(vec!["it's \0 text"])),
            Arc::new(Date32Array::from(vec![20_000])),
            Arc::new(TimestampMicrosecondArray::from(vec![-1])),
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789])),
            zoned("UTC"),
            zoned("Europe/Dublin"),
            zoned("+02:00"),
            Arc::new(Decimal128Array::from(vec![-12_345]).with_precision_and_scale(38, 2).unwrap()),
        ];
        for column in columns {
            let value = scalar("c", &column).unwrap();
            let data_type = DataType::from_str(&column.data_type().to_string()).unwrap();
            assert_eq!(&data_type, column.data_type(), "as a split keeps it");
            assert_eq!(&Bound { value, data_type: Some(data_type) }.array().unwrap(), &column);
        }
        let nothing: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        assert_eq!(scalar("c", &nothing).unwrap(), Scalar::Null);
        let endless: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]));
        assert_eq!(scalar("c", &endless).unwrap_err().kind, ErrorKind::Config);
    }

    #[test]
    fn what_a_person_writes_is_read_as_what_it_is_compared_with() {
        let bound = |text: &str, data_type| Bound { value: text.into(), data_type: Some(data_type) }.array();
        let day = bound("2026-01-31", DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap();
        assert_eq!(scalar("c", &day).unwrap(), Scalar::from("2026-01-31T00:00:00"));
        let offset = bound("2026-01-31T10:00:00+02:00", DataType::Timestamp(TimeUnit::Second, Some("UTC".into())));
        assert_eq!(scalar("c", &offset.unwrap()).unwrap(), Scalar::from("2026-01-31T08:00:00"));
        let error = bound("soon", DataType::Date32).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Config, "`soon` is no value of a column of type Date32")
        );
        assert_eq!(bound("7", DataType::Int64).unwrap().data_type(), &DataType::Utf8, "a text is no number");
    }
}
