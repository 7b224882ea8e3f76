//! Where the records are in an answer of JSON. What stands there is passed on as it came: no digit is lost.

use std::ops::Range;

use engine_sdk::prelude::{Error, Result, Value};
use indexmap::IndexMap;
use serde_json::value::RawValue;

/// The records of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Where they stand in the answer: a list, or a single record.
    pub place: Range<usize>,
    pub is_list: bool,
    pub count: u64,
}

/// An answer as JSON. `shown` is where it came from, and `said` its beginning, for a message.
pub fn parse<'a>(body: &'a [u8], shown: &str, said: impl FnOnce() -> String) -> Result<&'a RawValue> {
    serde_json::from_slice(body).map_err(|error| {
        Error::unavailable(format!("{shown} answered with something that is no JSON ({error}): {}", said()))
            .hint("is `url` the address of the API itself, and not of a page for people?")
    })
}

/// The records at a JSON Pointer: a list, or a single object. `null` has none.
pub fn find(body: &[u8], root: &RawValue, pointer: &str, shown: &str) -> Result<Found> {
    let wrong = |what: &str| {
        Error::unavailable(format!("{shown}: the answer has {what} at `{pointer}`, where its records should be"))
            .hint("check `records_at`, and what the API answers")
    };
    let found = at(root, pointer).ok_or_else(|| wrong("nothing"))?.get();
    // A part of the answer, wherever it stands.
    let begin = found.as_ptr() as usize - body.as_ptr() as usize;
    let place = begin..begin + found.len();
    match found.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_str(found).map_err(|_| wrong("something that cannot be read"))?;
            Ok(Found { place, is_list: true, count: items.len() as u64 })
        }
        Some(b'{') => Ok(Found { place, is_list: false, count: 1 }),
        Some(b'n') => Ok(Found { place, is_list: false, count: 0 }),
        _ => Err(wrong("neither a list nor an object")),
    }
}

/// The text at a JSON Pointer: a text as it is, anything else as JSON. None: nothing, or `null`.
pub fn text_at(root: &RawValue, pointer: &str) -> Option<String> {
    let found: Value = serde_json::from_str(at(root, pointer)?.get()).ok()?;
    crate::rules::pointed(&found, "")
}

fn at<'a>(root: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    let mut here = root;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        here = match here.get().as_bytes().first()? {
            b'{' => {
                let members: IndexMap<String, &RawValue> = serde_json::from_str(here.get()).ok()?;
                members.get(&part).copied()?
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
                items.get(part.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str, pointer: &str) -> Result<(String, Found)> {
        let root = parse(body.as_bytes(), "h", String::new)?;
        let found = find(body.as_bytes(), root, pointer, "h")?;
        Ok((body[found.place.clone()].to_owned(), found))
    }

    #[test]
    fn records_are_found_and_stay_as_they_are() {
        let body =
            r#" {"data": {"a/b": [ {"n": 1.10}, {"n": 12345678901234567890123} ], "none": null}, "one": {"n": 1}} "#;
        let (text, list) = found(body, "/data/a~1b").unwrap();
        assert_eq!(text, r#"[ {"n": 1.10}, {"n": 12345678901234567890123} ]"#);
        assert!(list.is_list && list.count == 2);
        assert_eq!(found(body, "/data/a~1b/1").unwrap().0, r#"{"n": 12345678901234567890123}"#);
        assert_eq!(found(body, "/data/none").unwrap().1.count, 0);
        assert_eq!(found("[1]", "").unwrap().1.count, 1);
        for (body, pointer, says) in [
            ("{}", "/data", "nothing at `/data`"),
            (r#"{"data": "text"}"#, "/data", "neither a list nor an object"),
            ("<html>", "", "no JSON"),
            ("", "", "no JSON"),
        ] {
            let error = found(body, pointer).unwrap_err();
            assert!(error.message.contains(says), "{error}");
        }
    }
}
