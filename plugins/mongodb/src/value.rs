//! Values that windows and ranges go by.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document};
use chrono::{NaiveDate, NaiveDateTime};
use engine_sdk::database::Scalar;
use engine_sdk::prelude::*;

/// Values that the server compares with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Number,
    Text,
    ObjectId,
    Date,
    Uuid,
}

/// The class of a value that only grows; none of any other.
pub fn class(value: &Bson) -> Option<Class> {
    match value {
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) => Some(Class::Number),
        Bson::String(_) => Some(Class::Text),
        Bson::ObjectId(_) => Some(Class::ObjectId),
        Bson::DateTime(_) => Some(Class::Date),
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid && binary.bytes.len() == 16 => Some(Class::Uuid),
        _ => None,
    }
}

/// The field of a path such as `address.city`.
pub fn at_path<'a>(document: &'a Document, path: &str) -> Option<&'a Bson> {
    match path.split_once('.') {
        Some((name, rest)) => at_path(document.get_document(name).ok()?, rest),
        None => document.get(path),
    }
}

/// A value of a cursor as the engine keeps it.
pub fn to_scalar(value: &Bson) -> Result<Scalar> {
    let cannot = || Error::config(format!("a cursor cannot be at {value:?}"));
    Ok(match value {
        Bson::Int32(number) => Scalar::Integer((*number).into()),
        Bson::Int64(number) => Scalar::Integer(*number),
        Bson::Double(number) if number.is_finite() => Scalar::Number(*number),
        Bson::Decimal128(number) => Scalar::Text(number.to_string()),
        Bson::String(text) => Scalar::Text(text.clone()),
        Bson::ObjectId(id) => Scalar::Text(id.to_hex()),
        Bson::DateTime(date) => {
            let shown = chrono::DateTime::from_timestamp_millis(date.timestamp_millis()).ok_or_else(cannot)?;
            Scalar::Text(shown.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        }
        Bson::Binary(binary) => {
            Scalar::Text(uuid::Uuid::from_slice(&binary.bytes).map_err(|_| cannot())?.as_hyphenated().to_string())
        }
        _ => return Err(cannot()),
    })
}

/// A value of the settings or of the state as a value of the same class as `like`: data, never an operator.
pub fn of_scalar(scalar: &Scalar, like: &Bson, what: &str) -> Result<Bson> {
    let text = scalar.text().unwrap_or_default();
    let read = match (class(like), scalar) {
        (Some(Class::Number), Scalar::Integer(number)) => Some(Bson::Int64(*number)),
        (Some(Class::Number), Scalar::Number(number)) => Some(Bson::Double(*number)),
        (Some(Class::Number), Scalar::Text(text)) => match text.parse() {
            Ok(number) => Some(Bson::Int64(number)),
            Err(_) => text.parse().ok().map(Bson::Decimal128),
        },
        (Some(Class::Text), _) => Some(Bson::String(text.to_string())),
        (Some(Class::ObjectId), _) => ObjectId::parse_str(&text).ok().map(Bson::ObjectId),
        (Some(Class::Date), _) => moment(&text).map(Bson::DateTime),
        (Some(Class::Uuid), _) => uuid::Uuid::try_parse(&text)
            .ok()
            .map(|uuid| Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: uuid.as_bytes().to_vec() })),
        _ => None,
    };
    read.ok_or_else(|| {
        Error::config(format!("{what}, `{scalar}`, cannot be compared with the field's values, such as {like:?}"))
            .hint("write a value of the same type: a date as 2025-01-01 or 2025-01-01T00:00:00Z")
    })
}

fn moment(text: &str) -> Option<bson::DateTime> {
    let milliseconds = match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(moment) => moment.timestamp_millis(),
        Err(_) => {
            let spaced = text.replace('T', " ");
            let spaced = spaced.trim_end_matches('Z');
            let local = NaiveDateTime::parse_from_str(spaced, "%Y-%m-%d %H:%M:%S%.f").ok().or_else(|| {
                NaiveDate::parse_from_str(spaced, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0))
            })?;
            local.and_utc().timestamp_millis()
        }
    };
    Some(bson::DateTime::from_millis(milliseconds))
}

/// The largest value that is old enough.
pub fn newest(at: NaiveDateTime, like: &Bson, column: &str) -> Result<Bson> {
    let at = at.and_utc();
    match class(like) {
        Some(Class::Date) => Ok(Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))),
        // Its first four bytes are the second in which it was made.
        Some(Class::ObjectId) => {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&u32::try_from(at.timestamp()).unwrap_or(0).to_be_bytes());
            Ok(Bson::ObjectId(ObjectId::from_bytes(bytes)))
        }
        _ => Err(Error::config(format!(
            "`cursor.lag` is for fields of dates and object ids, and `{column}` has neither"
        ))
        .hint("leave `lag` out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_as_the_value_that_it_was() {
        for value in [
            Bson::Int64(7),
            Bson::Double(-0.5),
            Bson::String("{\"$gt\": \"\"}".into()),
            Bson::ObjectId(ObjectId::from_bytes([9; 12])),
            Bson::DateTime(bson::DateTime::from_millis(1_758_123_848_123)),
            Bson::DateTime(bson::DateTime::from_millis(-62_135_596_800_001)),
            Bson::Decimal128("12.50".parse().unwrap()),
            Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] }),
        ] {
            assert_eq!(of_scalar(&to_scalar(&value).unwrap(), &value, "it").unwrap(), value);
        }
        let date = Bson::DateTime(bson::DateTime::from_millis(0));
        for text in ["2025-01-01", "2025-01-01 00:00:00", "2025-01-01T00:00:00Z", "2025-01-01T01:00:00+01:00"] {
            assert_eq!(
                to_scalar(&of_scalar(&text.into(), &date, "it").unwrap()).unwrap(),
                "2025-01-01T00:00:00.000Z".into()
            );
        }
        assert_eq!(of_scalar(&"yesterday".into(), &date, "it").unwrap_err().kind, ErrorKind::Config);
    }
}
