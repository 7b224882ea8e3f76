//! The short way through records in which nothing is out of the ordinary: as many fields as there are
//! columns, quotes only around whole fields, no escapes, no line ends inside, every value readable.
//!
//! Whatever is not like that is left to the scanner, which knows all the rules. So this way only has to
//! be sure of what it takes, and takes nothing twice.

use engine_sdk::columns::{ColumnType, RowBuilder, Value};
use memchr::{memchr, memchr2, memchr3};

use crate::config::Dialect;
use crate::decode::{recycled, value};

/// How far to look ahead at a time, where the short way leads far: what is looked at is checked to be
/// UTF-8 first, and checked again when it is not used up.
const WIDEST: usize = 256 * 1024;
/// The same where hardly any record is ordinary.
const NARROWEST: usize = 1024;

/// What makes a record ordinary.
pub struct Plain<'a> {
    pub dialect: Dialect,
    pub columns: &'a [(String, ColumnType)],
    pub nulls: &'a [String],
    pub max_record: usize,
}

/// How far the short way led.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub bytes: usize,
    /// One line each.
    pub records: u64,
}

/// The memory that reading takes, kept from one time to the next.
pub struct Scratch {
    window: usize,
    fields: Vec<Field>,
    values: Vec<Value<'static>>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { window: WIDEST, fields: Vec::new(), values: Vec::new() }
    }
}

#[derive(Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    quoted: bool,
}

impl Plain<'_> {
    /// Reads ordinary records from the beginning of `data` into `rows`, until one is not, or `rows` is
    /// full, or the bytes do not reach.
    pub fn read(&self, data: &[u8], rows: &mut RowBuilder, scratch: &mut Scratch) -> Passed {
        let mut passed = Passed::default();
        // Spaces around fields are the scanner's business.
        if self.dialect.trim {
            return passed;
        }
        let window = &data[..data.len().min(scratch.window)];
        let text = match std::str::from_utf8(window) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
        };
        let mut values = recycled(std::mem::take(&mut scratch.values));
        while !rows.is_full() {
            let rest = &text[passed.bytes..];
            let Some(length) = self.fields(rest.as_bytes(), &mut scratch.fields) else { break };
            if !self.values(rest, &scratch.fields, &mut values) {
                break;
            }
            rows.push(&values);
            passed.bytes += length;
            passed.records += 1;
        }
        scratch.values = recycled(values);
        let too_narrow = window.len() < data.len() && memchr(b'\n', window).is_none();
        scratch.window = if passed.records > 0 || too_narrow { scratch.window * 2 } else { scratch.window / 2 }
            .clamp(NARROWEST, WIDEST);
        passed
    }

    /// Finds the fields of the first record. Answers its length with its line end.
    fn fields(&self, data: &[u8], fields: &mut Vec<Field>) -> Option<usize> {
        let Dialect { delimiter, quote, escape, comment, .. } = self.dialect;
        fields.clear();
        match *data.first()? {
            b'\n' | b'\r' => return None,
            byte if comment == Some(byte) => return None,
            _ => {}
        }
        let mut at = 0;
        loop {
            if *data.get(at)? == quote {
                let start = at + 1;
                let end = start + memchr2(quote, escape, &data[start..])?;
                if data[end] != quote || memchr2(b'\n', b'\r', &data[start..end]).is_some() {
                    return None;
                }
                fields.push(Field { start, end, quoted: true });
                at = end + 1;
            } else {
                let end = at + memchr3(delimiter, b'\n', b'\r', &data[at..])?;
                fields.push(Field { start: at, end, quoted: false });
                at = end;
            }
            let length = match *data.get(at)? {
                byte if byte == delimiter => {
                    at += 1;
                    continue;
                }
                b'\n' => at + 1,
                b'\r' if *data.get(at + 1)? == b'\n' => at + 2,
                _ => return None,
            };
            return (fields.len() == self.columns.len() && at <= self.max_record).then_some(length);
        }
    }

    fn values<'a>(&self, record: &'a str, fields: &[Field], values: &mut Vec<Value<'a>>) -> bool {
        values.clear();
        for (field, (_, kind)) in fields.iter().zip(self.columns) {
            match value(&record[field.start..field.end], field.quoted, *kind, self.nulls) {
                Ok(value) => values.push(value),
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use engine_sdk::prelude::*;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::decode::Row;
    use crate::scan::{Found, Scanner};

    fn columns() -> Vec<(String, ColumnType)> {
        vec![("name".into(), ColumnType::Text), ("count".into(), ColumnType::Integer)]
    }

    fn builder() -> RowBuilder {
        RowBuilder::new(columns().iter().map(|(name, kind)| (name.as_str(), *kind)).collect::<Vec<_>>())
    }

    /// Reads the first `bytes` as the scanner does; `None` when it refuses a record in them.
    fn scanned(data: &[u8], bytes: usize, dialect: Dialect) -> Option<(RecordBatch, u64)> {
        let (columns, nulls) = (columns(), vec![String::new()]);
        let mut scanner = Scanner::new(dialect, columns.len());
        scanner.expect(columns.len());
        let (mut rows, mut at, mut records) = (builder(), 0, 0);
        while at < bytes {
            let Found::Record { body, length } = scanner.scan(&data[at..], false)? else { return None };
            let (mut text, mut values) = (String::new(), Vec::new());
            let row = Row { scanner: &scanner, columns: &columns, dialect, nulls: &nulls };
            row.read(&data[at..at + body], &mut text, &mut values).ok()?;
            rows.push(&values);
            scanner.reset();
            at += length;
            records += 1;
        }
        (at == bytes).then(|| (rows.finish().unwrap(), records))
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(31), cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_taken_is_what_the_scanner_gives(
            parts in proptest::collection::vec(
                prop::sample::select(vec!["a", "é", "17", ",", ",", "\"", "\"b\",", "\n", "\n", "\r\n", "\r", " ", "#", "x,5\n", "\"y\",\n"]),
                0..40,
            ),
            comment in any::<bool>(),
            broken in any::<bool>(),
        ) {
            let mut data = parts.concat().into_bytes();
            if broken {
                data.push(0xE9);
            }
            let config: Config = serde_json::from_value(json!({"comment": if comment { json!("#") } else { json!(null) }})).unwrap();
            let dialect = config.dialect().unwrap();
            let (columns, nulls) = (columns(), vec![String::new()]);
            let plain = Plain { dialect, columns: &columns, nulls: &nulls, max_record: 1000 };
            let mut rows = builder();
            let passed = plain.read(&data, &mut rows, &mut Scratch::default());
            let batch = rows.finish().unwrap();
            let (expected, records) = scanned(&data, passed.bytes, dialect).expect("no record that the scanner refuses");
            prop_assert_eq!(batch, expected);
            prop_assert_eq!(passed.records, records);
        }
    }

    #[test]
    fn ordinary_records_are_taken_whole_and_others_left() {
        let dialect = serde_json::from_value::<Config>(json!({})).unwrap().dialect().unwrap();
        let (columns, nulls) = (columns(), vec![String::new()]);
        let plain = Plain { dialect, columns: &columns, nulls: &nulls, max_record: 12 };
        for (data, bytes) in [
            ("a,1\nb,2\r\n\"c\",3\nd,4", 15),
            ("a,1\n\"b\"\"\",2\n", 4),
            ("a,1\nb,two\n", 4),
            ("a,1\nb\n", 4),
            ("a,1\n\nb,2\n", 4),
            ("a,1\n\"b\nc\",2\n", 4),
            ("a,1\ntoo long for it,2\n", 4),
        ] {
            let passed = plain.read(data.as_bytes(), &mut builder(), &mut Scratch::default());
            assert_eq!(passed.bytes, bytes, "{data:?}");
        }
    }
}
