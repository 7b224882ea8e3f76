//! From the body of a request to records, each a line.

use engine_sdk::prelude::*;
use serde_json::value::RawValue;

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// An object is a record, a list holds records.
    #[default]
    Json,
    /// Each line is a record.
    Lines,
}

/// Records with their line ends, and how many they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub lines: Vec<u8>,
    pub count: u32,
}

impl Body {
    /// The records of a body; why it has none.
    pub fn records(self, body: &[u8]) -> Result<Records, String> {
        match self {
            Self::Json => json(body),
            Self::Lines => Ok(lines(body)),
        }
    }
}

fn json(body: &[u8]) -> Result<Records, String> {
    let root: &RawValue = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    let mut records = Records::default();
    if root.get().starts_with('[') {
        let all: Vec<&RawValue> =
            serde_json::from_str(root.get()).map_err(|error| format!("the body is no list in JSON: {error}"))?;
        for record in all {
            // As a line of its own it would be taken for the beginning of a file that is one list.
            if record.get().starts_with('[') {
                return Err("a list in the list is no record".to_owned());
            }
            records.add(record);
        }
    } else {
        records.add(root);
    }
    Ok(records)
}

impl Records {
    /// A value as it stands, but in one line: what is between its parts is left out.
    fn add(&mut self, record: &RawValue) {
        let (mut in_text, mut escaped) = (false, false);
        for byte in record.get().bytes() {
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else if byte.is_ascii_whitespace() {
                continue;
            } else {
                in_text = byte == b'"';
            }
            self.lines.push(byte);
        }
        self.lines.push(b'\n');
        self.count += 1;
    }
}

/// Lines with their ends. Empty ones are nothing.
fn lines(body: &[u8]) -> Records {
    let mut records = Records::default();
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            records.lines.extend_from_slice(line);
            records.lines.push(b'\n');
            records.count += 1;
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: Body, text: &str) -> (String, u32) {
        let records = body.records(text.as_bytes()).unwrap();
        (String::from_utf8(records.lines).unwrap(), records.count)
    }

    #[test]
    fn a_record_in_json_becomes_a_line_and_stays_what_it_is() {
        let pretty = "{\n  \"a b\": \"x \\\" { \\\\\",\r\n\t\"n\": [ 1.10, 12345678901234567890123 ] }\n";
        assert_eq!(
            of(Body::Json, pretty),
            ("{\"a b\":\"x \\\" { \\\\\",\"n\":[1.10,12345678901234567890123]}\n".into(), 1)
        );
        assert_eq!(of(Body::Json, "[ {\"a\": 1} , 7, \"\\u000a\" ]"), ("{\"a\":1}\n7\n\"\\u000a\"\n".into(), 3));
        assert_eq!(of(Body::Json, "[]"), (String::new(), 0));
        for wrong in ["", "{", "{} {}", "text", "[1,]", "[{}, []]"] {
            assert!(Body::Json.records(wrong.as_bytes()).unwrap_err().contains("no"), "{wrong}");
        }
    }

    #[test]
    fn lines_end_alike_and_empty_ones_are_nothing() {
        assert_eq!(of(Body::Lines, "a,b\r\n\n1,2"), ("a,b\n1,2\n".into(), 2));
        assert_eq!(of(Body::Lines, ""), (String::new(), 0));
    }
}
