//! One record's text as keys and values that keep every character.

use std::borrow::Cow;
use std::fmt;

use engine_sdk::columns::{ColumnType, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys of a record and the JSON of their values, in the order of the file.
pub struct Object<'a>(pub Vec<(Cow<'a, str>, &'a str)>);

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    members.push((key, value.get()));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Why a record is refused: a code and a reason.
pub type Refusal = (&'static str, String);

/// Reads a record.
pub fn parse(data: &[u8]) -> Result<Object<'_>, Refusal> {
    let text = std::str::from_utf8(data)
        .map_err(|error| ("not_utf8", format!("byte {} of the record is not UTF-8", error.valid_up_to() + 1)))?;
    let object: Object<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ("not_an_object", "the record is JSON, but not an object".into()),
        _ => ("bad_json", format!("not JSON: {error} of the record")),
    })?;
    for (at, (key, _)) in object.0.iter().enumerate() {
        if object.0[..at].iter().any(|(other, _)| other == key) {
            return Err(("duplicate_key", format!("the key `{key}` stands twice in the record")));
        }
    }
    Ok(object)
}

/// The text of a JSON string; `None` where the value is no string.
pub fn text_of(value: &str) -> Option<Cow<'_, str>> {
    let inside = value.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(value).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
}

/// The value of a column. `text` is [`text_of`] the value. A type that was only
/// learned does not turn strings into numbers: `"007"` is not 7.
pub fn read<'a>(
    name: &str,
    kind: ColumnType,
    learned: bool,
    value: &'a str,
    text: Option<&'a str>,
) -> Result<Value<'a>, Refusal> {
    if value == "null" {
        return Ok(Value::Null);
    }
    let alien = learned
        && match kind {
            ColumnType::Text => false,
            ColumnType::Boolean => !matches!(value, "true" | "false"),
            _ => text.is_some(),
        };
    let refused = |code, reason: &str| {
        let shown = &value[..value.floor_char_boundary(80)];
        let help = if learned { "; name its type in `types`" } else { "" };
        (code, format!("{name}: {shown} {reason}{help}"))
    };
    if alien {
        return Err(refused("bad_type", &format!("is no {kind}, as the first records had")));
    }
    kind.read(text.unwrap_or(value)).map_err(|wrong| refused(wrong.code, wrong.reason))
}
