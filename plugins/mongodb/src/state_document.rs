//! Documents of the state as BSON, so that people can look at them, and back.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document};
use engine_sdk::hexadecimal;
use engine_sdk::prelude::Value;

/// As it is stored. Bytes become bytes; everything else is what it is.
pub fn to_bson(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            None => Bson::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(values) => Bson::Array(values.iter().map(to_bson).collect()),
        Value::Object(members) => match bytes_of(value) {
            Some(bytes) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes }),
            None => Bson::Document(members.iter().map(|(name, value)| (name.clone(), to_bson(value))).collect()),
        },
    }
}

/// What [`to_bson`] was given; None, where it never gave this.
pub fn from_bson(value: &Bson) -> Option<Value> {
    Some(match value {
        Bson::Null => Value::Null,
        Bson::Boolean(value) => Value::Bool(*value),
        // Tools that people mend a document with write small numbers so.
        Bson::Int32(whole) => Value::from(*whole),
        Bson::Int64(whole) => Value::from(*whole),
        Bson::Double(number) => serde_json::Number::from_f64(*number).map(Value::Number)?,
        Bson::String(text) => Value::String(text.clone()),
        Bson::Array(values) => Value::Array(values.iter().map(from_bson).collect::<Option<_>>()?),
        Bson::Binary(binary) => serde_json::json!({"bytes": hexadecimal::write(&binary.bytes)}),
        Bson::Document(document) => object(document)?,
        _ => return None,
    })
}

fn object(document: &Document) -> Option<Value> {
    let members = document.iter().map(|(name, value)| Some((name.clone(), from_bson(value)?)));
    members.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
}

/// The bytes of `{"bytes": HEXADECIMAL}`, where that is what would come back.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_object().filter(|members| members.len() == 1)?.get("bytes")?.as_str()?;
    let bytes = hexadecimal::read(text)?;
    (hexadecimal::write(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use engine_sdk::prelude::json;

    use super::*;

    #[test]
    fn documents_become_themselves_again() {
        for document in [
            json!({"null": null, "text": "ä", "least": i64::MIN, "most": i64::MAX, "part": 0.1, "whole": 3.0}),
            json!({"bytes": {"bytes": "00ff"}, "none": {"bytes": ""}}),
            json!({"other": {"bytes": "00FF"}, "odd": {"bytes": "0"}, "more": {"bytes": "00", "n": 1}}),
            json!({"list": [1, {"a": [true]}]}),
        ] {
            assert_eq!(from_bson(&to_bson(&document)), Some(document));
        }
        assert!(matches!(to_bson(&json!({"bytes": "00ff"})), Bson::Binary(_)));
    }
}
