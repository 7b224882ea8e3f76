//! Where a file can be cut: places at which a record begins, found at the speed of memory.
//!
//! A line end is the end of a record unless it is inside quotes, so the whole file has to be looked
//! through; but only its quotes and line ends matter, and those are jumped to.

use engine_sdk::prelude::*;
use memchr::{memchr, memchr_iter, memchr2, memrchr2};

use crate::config::{Config, Dialect};
use crate::scan::{Found, Scanner};
use crate::text::Text;

pub fn cut(config: &Config, dialect: Dialect, cx: Context, file: Batches) -> Result<Cuts> {
    // The first record says how many columns there are; no other may.
    if !config.header && config.columns.is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    let mut text = Text::new(file, cx, config);
    let head = if text.next_file()? { find_head(&mut text, config, dialect)? } else { None };
    let Some(head) = head else { return Ok(Box::new(std::iter::empty())) };
    let mut cutter = Cutter::new(dialect);
    let mut piece = move || {
        while !text.ended {
            let at = text.passed;
            let found = cutter.look_through(text.ahead());
            text.advance(text.ahead().len(), 0);
            text.more()?;
            if let Some(found) = found.filter(|found| at + found.at as u64 > head) {
                return Ok(Some(Cut { head, at: at + found.at as u64, lines: found.lines }));
            }
        }
        Ok(None)
    };
    Ok(Box::new(std::iter::from_fn(move || piece().transpose())))
}

/// Goes to the end of what stands before the first record. `None`: the file has none.
fn find_head(text: &mut Text, config: &Config, dialect: Dialect) -> Result<Option<u64>> {
    let mut scanner = Scanner::new(dialect, 0);
    // As the decoder does: of one column that the pipeline names, a blank line in front is the header.
    if !config.columns.is_empty() {
        scanner.expect(config.columns.len());
    }
    loop {
        if text.pass_preamble() {
            if !config.header {
                return Ok(Some(text.passed));
            }
            match scanner.scan(text.ahead(), text.ended) {
                Some(Found::Record { length, .. }) => {
                    text.advance(length, 0);
                    return Ok(Some(text.passed));
                }
                Some(Found::Nothing { length }) => {
                    text.advance(length, 0);
                    scanner.reset();
                    continue;
                }
                // The decoder says what is wrong with such a header.
                None if text.ahead().len() > config.max_record.as_usize() => return Ok(None),
                None => {}
            }
        }
        if text.ended {
            return Ok(None);
        }
        text.more()?;
    }
}

/// The first record that begins in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: usize,
    /// Lines before it, since the cutter began.
    lines: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    /// Behind a carriage return: a line feed still belongs to the record before.
    AfterReturn,
    Comment,
    FieldStart,
    /// In a field without quotes, or behind a closing quote: quotes mean nothing here.
    Text,
    Quoted,
    /// Behind an escape inside quotes: whatever follows is text.
    Escaped,
    /// Behind a quote inside quotes: another one makes it text.
    AfterQuote,
}

/// Follows the quotes of a file, as the scanner does, and counts its lines.
struct Cutter {
    dialect: Dialect,
    state: State,
    lines: u64,
}

impl Cutter {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, state: State::RecordStart, lines: 0 }
    }

    /// Goes on through the bytes that follow. Answers the first record that begins in them.
    fn look_through(&mut self, data: &[u8]) -> Option<Place> {
        let mut found = None;
        let mut at = 0;
        while let Some(byte) = data.get(at) {
            let rest = &data[at..];
            // Behind a head that ends in a carriage return, a line feed would be the rest of that line end.
            if self.state == State::RecordStart && *byte != b'\n' {
                found.get_or_insert(Place { at, lines: self.lines });
            }
            at += match self.state {
                State::AfterReturn => {
                    self.lines += 1;
                    self.state = State::RecordStart;
                    usize::from(*byte == b'\n')
                }
                State::Quoted => self.quoted(rest),
                State::Escaped => {
                    self.lines += u64::from(*byte == b'\n');
                    self.state = State::Quoted;
                    1
                }
                State::AfterQuote if *byte == self.dialect.quote => {
                    self.state = State::Quoted;
                    1
                }
                State::AfterQuote => {
                    self.state = State::Text;
                    0
                }
                State::RecordStart | State::FieldStart if *byte == self.dialect.quote => {
                    self.state = State::Quoted;
                    1
                }
                // A quote in the middle of a text, or of a comment.
                _ if *byte == self.dialect.quote => 1,
                _ => {
                    let plain = &rest[..memchr(self.dialect.quote, rest).unwrap_or(rest.len())];
                    let end = if found.is_none() { memchr2(b'\n', b'\r', plain) } else { None };
                    let plain = end.map_or(plain, |end| &plain[..=end]);
                    self.without_quotes(plain);
                    plain.len()
                }
            };
        }
        found
    }

    /// Goes on inside quotes, to what may end them.
    fn quoted(&mut self, data: &[u8]) -> usize {
        let Dialect { quote, escape, .. } = self.dialect;
        let end = memchr2(quote, escape, data);
        let inside = &data[..end.unwrap_or(data.len())];
        self.lines += memchr_iter(b'\n', inside).count() as u64;
        if let Some(end) = end {
            self.state = if data[end] == quote { State::AfterQuote } else { State::Escaped };
        }
        inside.len() + usize::from(end.is_some())
    }

    /// Passes bytes outside of quotes that have none.
    fn without_quotes(&mut self, plain: &[u8]) {
        self.lines += memchr_iter(b'\n', plain).count() as u64;
        // One at the end is counted when it is known what follows.
        let alone = |at: &usize| plain.get(at + 1).is_some_and(|next| *next != b'\n');
        self.lines += memchr_iter(b'\r', plain).filter(alone).count() as u64;
        let (line, before) = match memrchr2(b'\n', b'\r', plain) {
            Some(end) => (&plain[end + 1..], if plain[end] == b'\r' { State::AfterReturn } else { State::RecordStart }),
            None => (plain, self.state),
        };
        let Some(first) = line.first() else {
            self.state = before;
            return;
        };
        let begins = matches!(before, State::RecordStart | State::AfterReturn);
        self.state = match before {
            State::Comment => State::Comment,
            _ if begins && self.dialect.comment == Some(*first) => State::Comment,
            _ => self.after_fields(line, begins || before == State::FieldStart),
        };
    }

    /// Whether a field begins behind these.
    fn after_fields(&self, line: &[u8], begins: bool) -> State {
        let Dialect { delimiter, trim, .. } = self.dialect;
        let space = |byte: &u8| trim && matches!(byte, b' ' | b'\t') && *byte != delimiter;
        let starts = match line.iter().rposition(|byte| !space(byte)) {
            Some(last) => line[last] == delimiter,
            None => begins,
        };
        if starts { State::FieldStart } else { State::Text }
    }
}

#[cfg(test)]
mod tests {
    use engine_sdk::file_piece;
    use engine_sdk::files_schema;
    use engine_sdk::testing::Host;
    use proptest::prelude::*;

    use super::*;
    use crate::Csv;

    fn pieces(schema: SchemaRef, parts: &[&[u8]], size: usize) -> Batches {
        let pieces: Vec<_> =
            parts.iter().flat_map(|part| part.chunks(size)).map(|piece| Ok(file_piece("f", piece))).collect();
        Batches::new(schema, pieces.into_iter())
    }

    /// Rows and refusals as text, with their lines.
    fn decoded(config: &Value, input: Batches) -> Result<Vec<String>> {
        let host = Host::new();
        let mut rows = Vec::new();
        for batch in host.open::<Csv>(config.clone())?.decode(input)? {
            let batch = batch?;
            let columns: Vec<_> =
                batch.columns().iter().map(|it| engine_sdk::columns::Cells::new(it).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let mut out = Vec::new();
                for cells in &columns {
                    if cells.is_null(row) {
                        out.extend(b"null");
                    } else {
                        cells.write(row, b' ', &mut out);
                    }
                    out.push(b'|');
                }
                rows.push(String::from_utf8(out).unwrap());
            }
        }
        rows.extend(host.rejections().into_iter().map(|it| format!("{} {:?}", it.reason, it.data)));
        rows.sort();
        Ok(rows)
    }

    fn cuts(config: &Value, data: &[u8], size: usize) -> Vec<Cut> {
        let host = Host::new();
        let mut csv = host.open::<Csv>(config.clone()).unwrap();
        csv.cut(pieces(files_schema(), &[data], size)).unwrap().collect::<Result<_>>().unwrap()
    }

    /// What a file decodes to when it is read in the ranges between its cuts.
    fn in_ranges(config: &Value, data: &[u8], cuts: &[Cut]) -> Vec<String> {
        let mut rows = Vec::new();
        let mut from = None;
        for to in cuts.iter().map(Some).chain([None]) {
            let range = ByteRange {
                head: from.map_or(0, |cut: &Cut| cut.head),
                from: from.map_or(0, |cut| cut.at),
                to: to.map_or(data.len() as u64, |cut| cut.at),
                lines: from.map_or(0, |cut| cut.lines),
            };
            let parts = [&data[..range.head as usize], &data[range.from as usize..range.to as usize]];
            rows.extend(decoded(config, pieces(range.on(&files_schema()).unwrap(), &parts, 7)).unwrap());
            from = to;
        }
        rows.sort();
        rows
    }

    #[test]
    fn a_quoted_line_end_ends_no_record() {
        let data = b"a,b\n1,\"x\ny\"\n2,z\n\"3\n\n\",\"\"\"\n\"\n4,w\n";
        let found = cuts(&json!({}), data, 1);
        let at: Vec<_> = found.iter().map(|cut| (cut.at, cut.lines)).collect();
        assert_eq!(at, [(12, 2), (16, 3), (28, 7)]);
        assert_eq!(
            in_ranges(&json!({}), data, &found),
            decoded(&json!({}), pieces(files_schema(), &[data], 99)).unwrap()
        );
    }

    #[test]
    fn without_names_nothing_says_how_many_columns_there_are() {
        assert_eq!(cuts(&json!({"header": false}), b"1,2\n3\n4,5\n", 2), []);
        assert_eq!(cuts(&json!({"header": false, "columns": ["a", "b"]}), b"1,2\n3\n4,5\n", 2).len(), 2);
    }

    #[test]
    fn a_line_end_is_not_put_together_from_two_places() {
        let data = b"a\r1\n\n2\n";
        assert_eq!(cuts(&json!({}), data, 1).iter().map(|cut| cut.at).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_mark_in_the_middle_is_text() {
        let config = json!({"header": false, "columns": ["a"]});
        let data = "1\n\u{feff}2\n3\n".as_bytes();
        assert_eq!(in_ranges(&config, data, &cuts(&config, data, 2)), ["1|", "3|", "\u{feff}2|"]);
    }

    proptest! {
        /// Every byte that could matter, in all dialects, cut everywhere: no row, refusal or line changes.
        #[test]
        fn ranges_decode_to_what_the_file_does(
            body in proptest::collection::vec(proptest::sample::select(b"ab,;'\"\\#\n\n\r \t\xFF".to_vec()), 0..80),
            size in 1_usize..20,
            dialect in 0_usize..8,
        ) {
            let config = [
                json!({"columns": ["x", "y"]}),
                json!({"columns": ["x"], "header": false}),
                json!({"columns": ["x", "y"], "trim": true, "comment": "#"}),
                json!({"columns": ["x", "y"], "escape": "\\", "skip_rows": 1}),
                json!({"columns": ["x", "y"], "delimiter": "\t", "quote": "'", "trim": true}),
                json!({"columns": ["x", "y"], "header": false, "max_record": 5, "comment": "#"}),
                json!({"columns": ["x"]}),
                json!({"columns": ["x"], "skip_rows": 1, "comment": "#"}),
            ][dialect].clone();
            let header: &[u8] = [&b"a,b\n"[..], b"", b"a, b\r\n", b"skipped\n\"a\",b\r", b"'a'\tb\n", b"", b"\na\n", b"s\n#\n\na\n"][dialect];
            let data = [header, &body].concat();
            let whole = decoded(&config, pieces(files_schema(), &[&data], 7)).unwrap();
            let found = cuts(&config, &data, size);
            prop_assert_eq!(in_ranges(&config, &data, &found), whole, "{:?}", found);
        }
    }
}
