//! The types of columns: named in the settings, or found out from documents.

use arrow_schema::{Fields, TimeUnit};
use bson::raw::{RawBsonRef, RawDocument};
use bson::spec::BinarySubtype;
use engine_sdk::prelude::*;
use indexmap::IndexMap;
use std::sync::Arc;

use crate::json::is_plain;

/// Documents inside documents that become columns of their own; what is deeper is JSON text.
const LEVELS: usize = 16;
/// The most fields of a document inside another. One with more is a map, and JSON text.
const NESTED_FIELDS: usize = 256;
/// The most columns.
pub const COLUMNS: usize = 4096;
/// The largest whole number up to which all are floating-point numbers too.
pub const EXACT: i64 = 1 << 53;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing was seen but nulls.
    Null,
    Boolean,
    Int32,
    Int64,
    /// Int64, with numbers among them that no floating-point number is.
    WideInt64,
    Number,
    /// Decimal128 as the text that MongoDB shows.
    DecimalText,
    Decimal(u8, i8),
    Text,
    ObjectId,
    Uuid,
    Timestamp,
    Binary,
    /// Any value, as Extended JSON.
    Json,
    Struct(IndexMap<String, Kind>),
    List(Box<Kind>),
}

impl Kind {
    /// The kind of one value.
    pub fn of(value: RawBsonRef<'_>, nested: Nested, level: usize) -> Self {
        match value {
            RawBsonRef::Null | RawBsonRef::Undefined => Self::Null,
            RawBsonRef::Boolean(_) => Self::Boolean,
            RawBsonRef::Int32(_) => Self::Int32,
            RawBsonRef::Int64(number) if (-EXACT..=EXACT).contains(&number) => Self::Int64,
            RawBsonRef::Int64(_) => Self::WideInt64,
            RawBsonRef::Double(_) => Self::Number,
            RawBsonRef::Decimal128(_) => Self::DecimalText,
            RawBsonRef::String(_) => Self::Text,
            RawBsonRef::ObjectId(_) => Self::ObjectId,
            RawBsonRef::DateTime(_) => Self::Timestamp,
            RawBsonRef::Binary(binary) if is_plain(binary.subtype) => Self::Binary,
            RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Uuid && binary.bytes.len() == 16 => {
                Self::Uuid
            }
            RawBsonRef::Document(_) | RawBsonRef::Array(_) if nested == Nested::Json || level >= LEVELS => Self::Json,
            RawBsonRef::Document(document) => {
                let mut kind = Self::Struct(IndexMap::new());
                kind.see(document, nested, level);
                kind
            }
            RawBsonRef::Array(array) => {
                let mut inner = Self::Null;
                for element in array.iter_elements() {
                    // What is no BSON is refused when it is read.
                    let Some(value) = element.ok().and_then(|element| element.value().ok()) else { break };
                    inner = inner.or(Self::of(value, nested, level + 1));
                    if inner == Self::Json {
                        break;
                    }
                }
                Self::List(Box::new(inner))
            }
            _ => Self::Json,
        }
    }

    /// Takes a document's fields into account. `self` is a struct.
    pub fn see(&mut self, document: &RawDocument, nested: Nested, level: usize) {
        let Self::Struct(fields) = self else { return };
        for element in document.iter_elements() {
            let Ok(element) = element else { return };
            let Ok(value) = element.value() else { return };
            let seen = Self::of(value, nested, level + 1);
            let known = fields.len();
            match fields.get_mut(element.key().as_str()) {
                Some(kind) => *kind = std::mem::replace(kind, Self::Null).or(seen),
                None if level == 0 && known > COLUMNS => return,
                None => {
                    fields.insert(element.key().as_str().to_owned(), seen);
                }
            }
            if level > 0 && fields.len() > NESTED_FIELDS {
                *self = Self::Json;
                return;
            }
        }
    }

    /// What holds the values of both.
    fn or(self, other: Self) -> Self {
        use Kind::{Int32, Int64, Json, List, Null, Number, Struct, WideInt64};
        match (self, other) {
            (one, other) if one == other => one,
            (Null, other) | (other, Null) => other,
            (Int32, Int64) | (Int64, Int32) => Int64,
            (Int32 | Int64, WideInt64) | (WideInt64, Int32 | Int64) => WideInt64,
            (Int32 | Int64, Number) | (Number, Int32 | Int64) => Number,
            (Struct(mut fields), Struct(others)) => {
                for (name, other) in others {
                    let kind = fields.entry(name).or_insert(Null);
                    *kind = std::mem::replace(kind, Null).or(other);
                }
                if fields.len() > NESTED_FIELDS { Json } else { Struct(fields) }
            }
            (List(one), List(other)) => List(Box::new(one.or(*other))),
            _ => Json,
        }
    }

    /// What is left open by the documents takes any value.
    #[must_use]
    pub fn settled(self) -> Self {
        match self {
            Self::Null => Self::Json,
            Self::WideInt64 => Self::Int64,
            Self::Struct(fields) if fields.is_empty() => Self::Json,
            Self::Struct(fields) => {
                Self::Struct(fields.into_iter().map(|(name, kind)| (name, kind.settled())).collect())
            }
            Self::List(inner) => Self::List(Box::new(inner.settled())),
            kind => kind,
        }
    }

    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 | Self::WideInt64 => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Binary => DataType::Binary,
            Self::Struct(fields) => DataType::Struct(arrow_fields(fields)),
            Self::List(inner) => DataType::List(Arc::new(Field::new("item", inner.arrow(), true))),
            Self::Null | Self::DecimalText | Self::Text | Self::ObjectId | Self::Uuid | Self::Json => DataType::Utf8,
        }
    }
}

/// The fields of a struct, or the columns of a stream.
pub fn arrow_fields(fields: &IndexMap<String, Kind>) -> Fields {
    fields.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect()
}

/// What becomes of documents and arrays inside documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    /// Structs and lists.
    #[default]
    Columns,
    /// JSON text.
    Json,
}

/// The type of a column, as the settings name it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Declared {
    /// `text`, `integer`, `int32`, `number`, `decimal`, `decimal(12,2)`, `boolean`,
    /// `timestamptz`, `binary`, `object_id`, `uuid` or `json`.
    Word(String),
    /// A list: its one element is the type of all of the list's.
    List(Vec<Declared>),
    /// A document, with the types of its fields.
    Document(IndexMap<String, Declared>),
}

impl Declared {
    /// The type, or what is wrong with it.
    pub fn kind(&self) -> Result<Kind> {
        Ok(match self {
            Self::Word(word) => match word.trim() {
                "text" => Kind::Text,
                "integer" => Kind::Int64,
                "int32" => Kind::Int32,
                "number" => Kind::Number,
                "decimal" => Kind::DecimalText,
                "boolean" => Kind::Boolean,
                "timestamptz" => Kind::Timestamp,
                "binary" => Kind::Binary,
                "object_id" => Kind::ObjectId,
                "uuid" => Kind::Uuid,
                "json" => Kind::Json,
                other => decimal(other)?,
            },
            Self::List(inner) => match inner.as_slice() {
                [inner] => Kind::List(Box::new(inner.kind()?)),
                _ => return Err(Error::config("a list in `columns` has one element: the type of all of the list's")),
            },
            Self::Document(fields) if fields.is_empty() => {
                return Err(Error::config("a document in `columns` has no fields").hint("write `json`"));
            }
            Self::Document(fields) => {
                Kind::Struct(fields.iter().map(|(name, kind)| Ok((name.clone(), kind.kind()?))).collect::<Result<_>>()?)
            }
        })
    }
}

fn decimal(word: &str) -> Result<Kind> {
    let numbers = word.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
    let pair = numbers.and_then(|numbers| numbers.split_once(','));
    let parsed = pair.and_then(|(p, s)| Some((p.trim().parse::<u8>().ok()?, s.trim().parse::<i8>().ok()?)));
    match parsed {
        Some((precision @ 1..=38, scale @ 0..)) if scale as u8 <= precision => Ok(Kind::Decimal(precision, scale)),
        _ => Err(Error::config(format!("`{word}` is no type of a column")).hint(
            "text, integer, int32, number, decimal, decimal(12,2), boolean, timestamptz, binary, object_id, uuid, json, \
             [TYPE] for a list, {FIELD: TYPE} for a document",
        )),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc};

    use super::*;

    fn seen(values: &[Bson]) -> Kind {
        let mut kind = Kind::Struct(IndexMap::new());
        for value in values {
            kind.see(&RawDocumentBuf::try_from(&doc! {"v": value.clone()}).unwrap(), Nested::Columns, 0);
        }
        let Kind::Struct(mut fields) = kind else { panic!("it stays a struct") };
        fields.swap_remove("v").unwrap().settled()
    }

    #[test]
    fn types_widen_the_same_way_in_any_order() {
        let long = Bson::Int64(EXACT + 1);
        for (values, expected) in [
            (vec![Bson::Int32(1), Bson::Int64(2)], Kind::Int64),
            (vec![Bson::Int32(1), Bson::Double(2.5)], Kind::Number),
            (vec![Bson::Int64(1), Bson::Double(2.5), Bson::Null], Kind::Number),
            (vec![long.clone(), Bson::Double(2.5)], Kind::Json),
            (vec![long, Bson::Int32(1)], Kind::Int64),
            (vec![Bson::Int32(1), Bson::String("a".into())], Kind::Json),
            (vec![Bson::Null, Bson::Null], Kind::Json),
            (vec![Bson::Array(vec![]), Bson::Array(vec![Bson::Int32(1)])], Kind::List(Box::new(Kind::Int32))),
            (vec![Bson::Array(vec![]), Bson::Null], Kind::List(Box::new(Kind::Json))),
            (vec![Bson::Document(doc! {}), Bson::Null], Kind::Json),
            (
                vec![Bson::Document(doc! {"a": 1}), Bson::Document(doc! {"a": 1.5})],
                Kind::Struct([("a".into(), Kind::Number)].into()),
            ),
            (vec![Bson::Document(doc! {"a": 1}), Bson::Int32(1)], Kind::Json),
            (vec![Bson::Array(vec![Bson::Int32(1), Bson::Boolean(true)])], Kind::List(Box::new(Kind::Json))),
        ] {
            let mut reversed = values.clone();
            reversed.reverse();
            assert_eq!(seen(&values), expected, "{values:?}");
            assert_eq!(seen(&reversed), expected, "{reversed:?}");
        }
    }

    #[test]
    fn maps_and_deep_documents_are_text() {
        let map: bson::Document = (0..300).map(|n| (format!("k{n}"), Bson::Int32(n))).collect();
        assert_eq!(seen(&[Bson::Document(map)]), Kind::Json);
        let deep = (0..100).fold(doc! {"x": 1}, |inner, _| doc! {"a": inner});
        let mut kind = seen(&[Bson::Document(deep)]);
        let mut levels = 0;
        while let Kind::Struct(mut fields) = kind {
            kind = fields.swap_remove("a").unwrap();
            levels += 1;
        }
        assert_eq!((kind, levels < 20), (Kind::Json, true));
    }

    #[test]
    fn types_are_named_by_words() {
        let declared = |value| serde_json::from_value::<Declared>(value).unwrap().kind();
        assert_eq!(declared(json!("decimal(12,2)")).unwrap(), Kind::Decimal(12, 2));
        assert_eq!(declared(json!(["text"])).unwrap(), Kind::List(Box::new(Kind::Text)));
        assert_eq!(declared(json!({"a": "json"})).unwrap(), Kind::Struct([("a".into(), Kind::Json)].into()));
        for wrong in [json!("decimal(39,2)"), json!("string"), json!([]), json!({}), json!(["text", "text"])] {
            assert!(declared(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
