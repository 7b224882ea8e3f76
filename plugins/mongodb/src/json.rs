//! BSON as MongoDB's Extended JSON.

use std::fmt::Write;

use bson::raw::{RawArray, RawBsonRef, RawDocument};
use bson::spec::BinarySubtype;

/// How deep a document may be. Servers take 100 levels; what is deeper is kept as bytes.
pub const DEPTH: usize = 200;
/// 1970 to 9999, where Extended JSON shows dates as text.
const SHOWN_DATES: std::ops::Range<i64> = 0..253_402_300_800_000;

/// What cannot be written: it is no BSON, or too deep.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwritable;

/// How numbers and dates look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As JSON's own, where they have the same value.
    Relaxed,
    /// With their types.
    Canonical,
}

/// A document, with repeated keys as they are.
pub fn document(document: &RawDocument, form: Form) -> Result<String, Unwritable> {
    let mut text = String::new();
    write(RawBsonRef::Document(document), form, &mut text, 0)?;
    Ok(text)
}

/// A value, at the end of `text`.
pub fn value(value: RawBsonRef<'_>, text: &mut String) -> Result<(), Unwritable> {
    write(value, Form::Relaxed, text, 0)
}

fn write(value: RawBsonRef<'_>, form: Form, out: &mut String, depth: usize) -> Result<(), Unwritable> {
    let canonical = form == Form::Canonical;
    // Writing to a String cannot fail.
    let _ = match value {
        RawBsonRef::Document(document) => return object(document, form, out, depth + 1),
        RawBsonRef::Array(array) => return list(array, form, out, depth + 1),
        RawBsonRef::Null => write!(out, "null"),
        RawBsonRef::Boolean(value) => write!(out, "{value}"),
        RawBsonRef::String(text) => {
            string(text, out);
            Ok(())
        }
        RawBsonRef::Int32(number) if canonical => write!(out, "{{\"$numberInt\":\"{number}\"}}"),
        RawBsonRef::Int64(number) if canonical => write!(out, "{{\"$numberLong\":\"{number}\"}}"),
        RawBsonRef::Int32(number) => write!(out, "{number}"),
        RawBsonRef::Int64(number) => write!(out, "{number}"),
        RawBsonRef::Double(number) if number.is_nan() => write!(out, "{{\"$numberDouble\":\"NaN\"}}"),
        RawBsonRef::Double(number) if number.is_infinite() => {
            write!(out, "{{\"$numberDouble\":\"{}Infinity\"}}", if number < 0.0 { "-" } else { "" })
        }
        RawBsonRef::Double(number) if canonical => write!(out, "{{\"$numberDouble\":\"{number:?}\"}}"),
        RawBsonRef::Double(number) => write!(out, "{number:?}"),
        RawBsonRef::Decimal128(number) => write!(out, "{{\"$numberDecimal\":\"{number}\"}}"),
        RawBsonRef::ObjectId(id) => write!(out, "{{\"$oid\":\"{}\"}}", id.to_hex()),
        RawBsonRef::DateTime(date) => {
            let milliseconds = date.timestamp_millis();
            let shown = chrono::DateTime::from_timestamp_millis(milliseconds)
                .filter(|_| !canonical && SHOWN_DATES.contains(&milliseconds));
            match shown {
                Some(shown) => write!(out, "{{\"$date\":\"{}\"}}", shown.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
                None => write!(out, "{{\"$date\":{{\"$numberLong\":\"{milliseconds}\"}}}}"),
            }
        }
        RawBsonRef::Binary(binary) => {
            out.push_str("{\"$binary\":{\"base64\":\"");
            base64(binary.bytes, out);
            write!(out, "\",\"subType\":\"{:02x}\"}}}}", u8::from(binary.subtype))
        }
        RawBsonRef::RegularExpression(expression) => {
            out.push_str("{\"$regularExpression\":{\"pattern\":");
            string(expression.pattern.as_str(), out);
            out.push_str(",\"options\":");
            string(expression.options.as_str(), out);
            write!(out, "}}}}")
        }
        RawBsonRef::Timestamp(stamp) => {
            write!(out, "{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", stamp.time, stamp.increment)
        }
        RawBsonRef::JavaScriptCode(code) => {
            out.push_str("{\"$code\":");
            string(code, out);
            write!(out, "}}")
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.push_str("{\"$code\":");
            string(code.code, out);
            out.push_str(",\"$scope\":");
            object(code.scope, form, out, depth + 1)?;
            write!(out, "}}")
        }
        RawBsonRef::Symbol(symbol) => {
            out.push_str("{\"$symbol\":");
            string(symbol, out);
            write!(out, "}}")
        }
        RawBsonRef::Undefined => write!(out, "{{\"$undefined\":true}}"),
        RawBsonRef::MinKey => write!(out, "{{\"$minKey\":1}}"),
        RawBsonRef::MaxKey => write!(out, "{{\"$maxKey\":1}}"),
        RawBsonRef::DbPointer(_) => {
            let owned = bson::Bson::try_from(value).map_err(|_| Unwritable)?;
            write!(out, "{}", owned.into_canonical_extjson())
        }
    };
    Ok(())
}

fn object(document: &RawDocument, form: Form, out: &mut String, depth: usize) -> Result<(), Unwritable> {
    if depth > DEPTH {
        return Err(Unwritable);
    }
    out.push('{');
    for (at, element) in document.iter_elements().enumerate() {
        let element = element.map_err(|_| Unwritable)?;
        if at > 0 {
            out.push(',');
        }
        string(element.key().as_str(), out);
        out.push(':');
        write(element.value().map_err(|_| Unwritable)?, form, out, depth)?;
    }
    out.push('}');
    Ok(())
}

fn list(array: &RawArray, form: Form, out: &mut String, depth: usize) -> Result<(), Unwritable> {
    if depth > DEPTH {
        return Err(Unwritable);
    }
    out.push('[');
    for (at, element) in array.iter_elements().enumerate() {
        let element = element.map_err(|_| Unwritable)?;
        if at > 0 {
            out.push(',');
        }
        write(element.value().map_err(|_| Unwritable)?, form, out, depth)?;
    }
    out.push(']');
    Ok(())
}

/// A JSON text.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

fn base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for piece in bytes.chunks(3) {
        let number = piece.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - piece.len()));
        for at in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= piece.len() { char::from(letter) } else { '=' });
        }
    }
}

/// Whether a binary value is plain bytes.
pub fn is_plain(subtype: BinarySubtype) -> bool {
    subtype == BinarySubtype::Generic
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;

    fn shown(document: &bson::Document, form: Form) -> String {
        super::document(&bson::RawDocumentBuf::try_from(document).unwrap(), form).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let document = doc! {
            "text": "a\"\\\n\u{1}ü", "int": 7, "long": i64::MIN, "double": 1.5, "whole": 3.0, "zero": -0.0, "inf": f64::NEG_INFINITY,
            "decimal": "1.10".parse::<bson::Decimal128>().unwrap(), "oid": bson::oid::ObjectId::from_bytes([7; 12]),
            "date": bson::DateTime::from_millis(1_758_123_848_123), "early": bson::DateTime::from_millis(i64::MIN),
            "none": Bson::Null, "yes": true, "list": [1, "a", {"b": []}], "": {"a.b": {"$c": 1}},
            "binary": bson::Binary { subtype: BinarySubtype::UserDefined(0x80), bytes: vec![0, 255, 1, 2] },
            "regex": bson::Regex { pattern: "a/b".try_into().unwrap(), options: "i".try_into().unwrap() },
            "stamp": bson::Timestamp { time: 7, increment: 9 }, "code": Bson::JavaScriptCode("x".into()),
            "scoped": bson::JavaScriptCodeWithScope { code: "x".into(), scope: doc! {"y": 1} },
            "symbol": Bson::Symbol("s".into()), "least": Bson::MinKey, "most": Bson::MaxKey, "undefined": Bson::Undefined,
        };
        for form in [Form::Canonical, Form::Relaxed] {
            let json: serde_json::Value = serde_json::from_str(&shown(&document, form)).unwrap();
            let Bson::Document(mut read) = Bson::try_from(json).unwrap() else { panic!("it is an object") };
            let mut expected = document.clone();
            if form == Form::Relaxed {
                assert_eq!(read.remove("long"), Some(Bson::Int64(i64::MIN)));
                expected.remove("long");
            }
            assert_eq!(read, expected, "{form:?}");
        }
    }

    #[test]
    fn what_is_too_deep_is_refused_without_filling_the_stack() {
        let mut deep = bson::RawDocumentBuf::new();
        for _ in 0..DEPTH + 5 {
            let mut outer = bson::RawDocumentBuf::new();
            outer.append(bson::raw::cstr!("a"), deep);
            deep = outer;
        }
        assert_eq!(document(&deep, Form::Relaxed), Err(Unwritable));
    }
}
