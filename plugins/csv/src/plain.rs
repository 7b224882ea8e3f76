//! The short way through records in which nothing is out of the ordinary: as many fields as there are
//! columns, quotes only around whole fields, no escapes, no line ends inside, every value readable.
//!
//! Whatever is not like that is left to the scanner, which knows all the rules. So this way only has to
//! be sure of what it takes, and takes nothing twice.

use engine_sdk::columns::{ColumnType, RowBuilder, Value};
use engine_sdk::marks::Marks;
use memchr::memchr;

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
        let Dialect { delimiter, quote, escape, .. } = self.dialect;
        let mut marks = Marks::new(text.as_bytes(), [delimiter, quote, escape, b'\n', b'\r']);
        while !rows.is_full() {
            let Some(end) = self.fields(text.as_bytes(), passed.bytes, &mut marks, &mut scratch.fields) else { break };
            if !self.values(text, &scratch.fields, &mut values) {
                break;
            }
            rows.push(&values);
            passed.bytes = end;
            passed.records += 1;
        }
        scratch.values = recycled(values);
        let too_narrow = window.len() < data.len() && memchr(b'\n', window).is_none();
        scratch.window = if passed.records > 0 || too_narrow { scratch.window * 2 } else { scratch.window / 2 }
            .clamp(NARROWEST, WIDEST);
        passed
    }

    /// Finds the fields of the record that begins at `start`, with the marks from there on. Answers where the
    /// next one begins.
    fn fields(&self, data: &[u8], start: usize, marks: &mut Marks<'_, 5>, fields: &mut Vec<Field>) -> Option<usize> {
        let Dialect { delimiter, quote, comment, .. } = self.dialect;
        fields.clear();
        match *data.get(start)? {
            b'\n' | b'\r' => return None,
            byte if comment == Some(byte) => return None,
            _ => {}
        }
        let mut begin = start;
        loop {
            let end = if *data.get(begin)? == quote {
                // The quote that opens the field, then the one that closes it.
                marks.next();
                let close = marks.find(|at| data[*at] != delimiter)?;
                let end = marks.next()?;
                if data[close] != quote || end != close + 1 {
                    return None;
                }
                fields.push(Field { start: begin + 1, end: close, quoted: true });
                end
            } else {
                let end = marks.find(|at| data[*at] == delimiter || matches!(data[*at], b'\n' | b'\r'))?;
                fields.push(Field { start: begin, end, quoted: false });
                end
            };
            let next = match data[end] {
                byte if byte == delimiter => {
                    begin = end + 1;
                    continue;
                }
                b'\n' => end + 1,
                b'\r' if *data.get(end + 1)? == b'\n' => {
                    marks.next();
                    end + 2
                }
                _ => return None,
            };
            return (fields.len() == self.columns.len() && end - start <= self.max_record).then_some(next);
        }
    }

    fn values<'a>(&self, text: &'a str, fields: &[Field], values: &mut Vec<Value<'a>>) -> bool {
        values.clear();
        for (field, (_, kind)) in fields.iter().zip(self.columns) {
            match value(&text[field.start..field.end], field.quoted, *kind, self.nulls) {
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
