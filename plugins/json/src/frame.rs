//! Finds where records begin and end, in files whose pieces are cut anywhere.

use engine_sdk::file_pieces;
use engine_sdk::prelude::*;
use memchr::{memchr, memchr_iter};

use crate::Layout;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A record, as it stands in its file.
#[derive(Debug, Clone)]
pub struct Framed {
    pub name: String,
    /// The line that it begins in, from 1.
    pub line: u64,
    pub data: Vec<u8>,
    /// Why it can be no record: a code and a reason.
    pub problem: Option<(&'static str, String)>,
}

/// What is at the beginning of the bytes.
enum Found {
    Record { body: usize, length: usize, problem: Option<(&'static str, &'static str)> },
    Nothing { length: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a file's first byte.
    Mark,
    /// Before the first byte that is not white.
    Begin,
    Line,
    Element,
    AfterArray,
}

/// Cuts the files of a stream into records. Looks at every byte once.
pub struct Frames {
    input: Batches,
    cx: Context,
    layout: Layout,
    max: usize,
    batch: Option<(RecordBatch, usize)>,
    name: String,
    /// The present file's last byte is in the buffer.
    ended: bool,
    buffer: Vec<u8>,
    start: usize,
    line: u64,
    state: State,
    /// How far beyond `start` has been looked at.
    looked: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Inside a record that was too long and has been given out already.
    skipping: bool,
}

impl Frames {
    pub fn new(input: Batches, cx: Context, layout: Layout, max: usize) -> Self {
        Self {
            input,
            cx,
            layout,
            max,
            batch: None,
            name: String::new(),
            ended: true,
            buffer: Vec::new(),
            start: 0,
            line: 1,
            state: State::Mark,
            looked: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            skipping: false,
        }
    }

    /// The next record.
    pub fn next(&mut self) -> Result<Option<Framed>> {
        loop {
            match self.find() {
                Some(Found::Nothing { length }) => self.pass(length),
                Some(Found::Record { length, .. }) if self.skipping => {
                    self.skipping = false;
                    self.pass(length);
                }
                Some(Found::Record { body, length, problem }) => {
                    let problem = match problem {
                        _ if body > self.max => Some(self.too_long()),
                        other => other.map(|(code, reason)| (code, reason.to_owned())),
                    };
                    let framed = self.framed(body.min(self.max), problem);
                    self.pass(length);
                    return Ok(Some(framed));
                }
                None if self.buffer.len() - self.start > self.max => {
                    let first = !std::mem::replace(&mut self.skipping, true);
                    let framed = first.then(|| self.framed(self.max, Some(self.too_long())));
                    let looked = std::mem::take(&mut self.looked);
                    self.pass(looked);
                    if framed.is_some() {
                        return Ok(framed);
                    }
                    self.more()?;
                }
                None if self.ended => {
                    if !self.next_file()? {
                        return Ok(None);
                    }
                }
                None => self.more()?,
            }
        }
    }

    fn too_long(&self) -> (&'static str, String) {
        ("too_long", format!("the record is longer than {} bytes (`max_record`); only its beginning is kept", self.max))
    }

    fn framed(&self, body: usize, problem: Option<(&'static str, String)>) -> Framed {
        let data = &self.buffer[self.start..self.start + body];
        let blank = data.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let line = self.line + memchr_iter(b'\n', &data[..blank]).count() as u64;
        Framed { name: self.name.clone(), line, data: data.trim_ascii().to_vec(), problem }
    }

    fn pass(&mut self, length: usize) {
        let passed = &self.buffer[self.start..self.start + length];
        self.line += memchr_iter(b'\n', passed).count() as u64;
        self.start += length;
        self.looked = 0;
    }

    fn find(&mut self) -> Option<Found> {
        let data = &self.buffer[self.start..];
        match self.state {
            State::Mark => {
                if data.len() < BYTE_ORDER_MARK.len() && !self.ended {
                    return None;
                }
                self.state = State::Begin;
                let length = if data.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
                Some(Found::Nothing { length })
            }
            State::Begin => {
                let blank = data.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let Some(first) = data.get(blank) else {
                    return (blank > 0).then_some(Found::Nothing { length: blank });
                };
                let array = match self.layout {
                    Layout::Auto => *first == b'[',
                    Layout::Lines => false,
                    Layout::Array => true,
                };
                self.state = if array { State::Element } else { State::Line };
                // A file that should be an array and is not becomes one dead letter.
                if array && *first != b'[' {
                    self.state = State::AfterArray;
                    return Some(Found::Nothing { length: blank });
                }
                Some(Found::Nothing { length: blank + usize::from(array) })
            }
            State::Line => match memchr(b'\n', &data[self.looked..]) {
                Some(ahead) => {
                    let body = self.looked + ahead;
                    Some(line(data, body, body + 1, self.skipping))
                }
                None => {
                    self.looked = data.len();
                    (self.ended && (!data.is_empty() || self.skipping))
                        .then(|| line(data, data.len(), data.len(), self.skipping))
                }
            },
            State::Element => self.element(),
            State::AfterArray => {
                self.looked = data.len();
                if data.is_empty() && !self.skipping {
                    None
                } else if data.iter().all(u8::is_ascii_whitespace) && !self.skipping {
                    Some(Found::Nothing { length: data.len() })
                } else {
                    let problem = Some(("bad_json", "this stands outside of the array"));
                    self.ended.then_some(Found::Record { body: data.len(), length: data.len(), problem })
                }
            }
        }
    }

    /// Goes on to the end of an array's element.
    fn element(&mut self) -> Option<Found> {
        let data = &self.buffer[self.start..];
        while let Some(byte) = data.get(self.looked) {
            let at = self.looked;
            self.looked += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => self.depth -= 1,
                b']' => {
                    self.state = State::AfterArray;
                    if data[..at].trim_ascii().is_empty() && !self.skipping {
                        return Some(Found::Nothing { length: at + 1 });
                    }
                    return Some(Found::Record { body: at, length: at + 1, problem: None });
                }
                b',' if self.depth == 0 => return Some(Found::Record { body: at, length: at + 1, problem: None }),
                _ => {}
            }
        }
        if !self.ended {
            return None;
        }
        self.state = State::AfterArray;
        // Even with nothing left: a file that was cut short must not pass for a whole one.
        let problem = Some(("unterminated", "the file ends inside the array"));
        Some(Found::Record { body: data.len(), length: data.len(), problem })
    }

    /// Takes in the next piece of the present file, or notes that it has ended.
    fn more(&mut self) -> Result<()> {
        let Some((batch, row)) = self.piece()? else {
            self.ended = true;
            return Ok(());
        };
        let next = match file_pieces(&batch)?.nth(row) {
            Some((name, data)) if name == self.name => {
                self.buffer.drain(..self.start);
                self.start = 0;
                self.buffer.extend_from_slice(data);
                row + 1
            }
            _ => {
                self.ended = true;
                row
            }
        };
        self.batch = Some((batch, next));
        Ok(())
    }

    fn piece(&mut self) -> Result<Option<(RecordBatch, usize)>> {
        loop {
            match self.batch.take() {
                Some((batch, row)) if row < batch.num_rows() => return Ok(Some((batch, row))),
                _ => {
                    self.cx.check_cancelled()?;
                    match self.input.next().transpose()? {
                        Some(batch) => self.batch = Some((batch, 0)),
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    fn next_file(&mut self) -> Result<bool> {
        let Some((batch, row)) = self.piece()? else { return Ok(false) };
        if let Some((name, _)) = file_pieces(&batch)?.nth(row) {
            self.name = name.into();
        }
        self.batch = Some((batch, row));
        self.buffer.clear();
        (self.start, self.looked, self.line, self.depth) = (0, 0, 1, 0);
        (self.ended, self.in_string, self.escaped, self.skipping) = (false, false, false, false);
        self.state = State::Mark;
        Ok(true)
    }
}

fn line(data: &[u8], body: usize, length: usize, skipping: bool) -> Found {
    if data[..body].trim_ascii().is_empty() && !skipping {
        Found::Nothing { length }
    } else {
        Found::Record { body, length, problem: None }
    }
}
