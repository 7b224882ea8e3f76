//! XML as workbooks have it, piece by piece.
//!
//! What is read at a time is bounded, whatever a file holds, and nothing is looked up elsewhere: a document type,
//! with which entities could be declared, is refused.

use std::io::Read;

use memchr::{memchr, memchr2, memchr3, memmem};

/// How many bytes are read at a time.
const BLOCK: usize = 64 << 10;
/// How long a tag or a text may be, in bytes. The longest text of a cell has 32,767 characters.
const LONGEST: usize = 4 << 20;
/// As many UTF-16 units as the longest run of escapes in a text that is looked at together.
const PAIR: usize = 2;

/// A piece of it. Names are without the prefix of their namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// The begin of an element.
    Start { name: &'a [u8], attributes: Attributes<'a>, is_empty: bool },
    /// The end of one that was not empty.
    End(&'a [u8]),
    /// Text, with its escapes.
    Text(&'a [u8]),
    /// Text without any.
    Plain(&'a [u8]),
}

/// A stream of tokens.
pub struct Xml<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where the next token begins, and what was read ends.
    at: usize,
    end: usize,
    is_over: bool,
    has_begun: bool,
}

enum Found {
    Markup(usize),
    Text(usize),
    /// Between these places.
    Plain(usize, usize, usize),
    /// Of no matter, and so long.
    Nothing(usize),
    More,
}

impl<R: Read> Xml<R> {
    pub fn new(input: R) -> Self {
        Self { input, buffer: vec![0; BLOCK], at: 0, end: 0, is_over: false, has_begun: false }
    }

    /// The next token. None: it is over.
    pub fn next(&mut self) -> Result<Option<Token<'_>>, String> {
        loop {
            match find(&self.buffer[self.at..self.end], self.is_over)? {
                Found::More if self.is_over && self.at == self.end => return Ok(None),
                Found::More if self.is_over => return Err("a tag in it does not end".into()),
                Found::More => self.more()?,
                Found::Nothing(length) => self.at += length,
                Found::Text(length) => {
                    let text = &self.buffer[self.at..self.at + length];
                    self.at += length;
                    return Ok(Some(Token::Text(text)));
                }
                Found::Plain(from, to, length) => {
                    let text = &self.buffer[self.at + from..self.at + to];
                    self.at += length;
                    return Ok(Some(Token::Plain(text)));
                }
                Found::Markup(length) => {
                    let tag = &self.buffer[self.at + 1..self.at + length - 1];
                    self.at += length;
                    return Ok(Some(match tag {
                        [b'/', name @ ..] => Token::End(local(name.trim_ascii_end())),
                        _ => {
                            let (tag, is_empty) = tag.strip_suffix(b"/").map_or((tag, false), |tag| (tag, true));
                            let end = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
                            let (name, attributes) = tag.split_at(end);
                            Token::Start { name: local(name), attributes: Attributes(attributes), is_empty }
                        }
                    }));
                }
            }
        }
    }

    /// Reads to the end, for what is said there.
    pub fn finish(&mut self) -> Result<(), String> {
        while !self.is_over {
            self.at = self.end;
            self.more()?;
        }
        Ok(())
    }

    fn more(&mut self) -> Result<(), String> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
        }
        if self.end >= LONGEST {
            return Err(format!("a text or a tag in it is longer than {} MiB", LONGEST >> 20));
        }
        if self.buffer.len() - self.end < BLOCK {
            self.buffer.resize(self.buffer.len() + BLOCK, 0);
        }
        let length = self.input.read(&mut self.buffer[self.end..]).map_err(|error| error.to_string())?;
        self.end += length;
        self.is_over = length == 0;
        if !self.has_begun && self.end >= 2 {
            self.has_begun = true;
            if matches!(self.buffer[..2], [0xff, 0xfe] | [0xfe, 0xff] | [0, _] | [_, 0]) {
                return Err("its parts are not in UTF-8".into());
            }
        }
        Ok(())
    }
}

/// What stands at the beginning.
fn find(ahead: &[u8], is_over: bool) -> Result<Found, String> {
    Ok(match ahead {
        [b'<', b'!' | b'?', ..] if ahead.len() < 9 && !is_over => Found::More,
        [b'<', b'!', b'-', b'-', rest @ ..] => match memmem::find(rest, b"-->") {
            Some(at) => Found::Nothing(4 + at + 3),
            None => Found::More,
        },
        [b'<', b'?', rest @ ..] => match memmem::find(rest, b"?>") {
            Some(at) => Found::Nothing(2 + at + 2),
            None => Found::More,
        },
        _ if ahead.starts_with(b"<![CDATA[") => match memmem::find(ahead, b"]]>") {
            Some(at) => Found::Plain(9, at, at + 3),
            None => Found::More,
        },
        [b'<', b'!', ..] => return Err("it declares a document type, which workbooks do not have".into()),
        [b'<', ..] => match memchr(b'>', ahead) {
            Some(end) if is_outside(&ahead[1..end]) => Found::Markup(end + 1),
            Some(_) => quoted(ahead),
            None => Found::More,
        },
        [] => Found::More,
        _ => match memchr(b'<', ahead) {
            Some(at) => Found::Text(at),
            None if is_over => Found::Text(ahead.len()),
            None => Found::More,
        },
    })
}

/// Whether what follows a part of a tag stands outside of quotes, as in most tags. False says nothing.
fn is_outside(part: &[u8]) -> bool {
    let count = |mark: u8| part.iter().filter(|it| **it == mark).count();
    count(b'\'') == 0 && count(b'"').is_multiple_of(2)
}

/// A tag in whose quotes something else stands.
fn quoted(ahead: &[u8]) -> Found {
    let mut at = 1;
    loop {
        match memchr3(b'>', b'"', b'\'', &ahead[at..]) {
            Some(next) if ahead[at + next] == b'>' => return Found::Markup(at + next + 1),
            Some(next) => match memchr(ahead[at + next], &ahead[at + next + 1..]) {
                Some(length) => at += next + 1 + length + 1,
                None => return Found::More,
            },
            None => return Found::More,
        }
    }
}

/// A name without the prefix of its namespace.
fn local(name: &[u8]) -> &[u8] {
    position(b':', name).map_or(name, |at| &name[at + 1..])
}

/// As `memchr`, for what is mostly a few bytes long.
fn position(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|it| *it == byte)
}

/// Names and values, the values with their escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of one.
    pub fn get(mut self, name: &str) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of one, without escapes.
    pub fn text(self, name: &str) -> Result<Option<String>, String> {
        self.get(name).map(unescaped).transpose()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let equals = position(b'=', self.0)?;
        let (name, rest) = (self.0[..equals].trim_ascii(), self.0[equals + 1..].trim_ascii_start());
        let (quote, rest) = rest.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
        let end = position(*quote, rest)?;
        self.0 = &rest[end + 1..];
        Some((local(name), &rest[..end]))
    }
}

/// A text without its escapes.
pub fn unescaped(raw: &[u8]) -> Result<String, String> {
    let mut text = String::new();
    unescape(raw, &mut text)?;
    Ok(text)
}

/// Appends a text without its escapes.
pub fn unescape(raw: &[u8], out: &mut String) -> Result<(), String> {
    let text = std::str::from_utf8(raw).map_err(|_| "a text in it is not in UTF-8")?;
    let mut rest = text;
    while let Some(at) = memchr2(b'&', b'\r', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('\r') {
            out.push('\n');
            rest = rest.strip_prefix("\r\n").unwrap_or(&rest[1..]);
            continue;
        }
        let end = memchr(b';', &rest.as_bytes()[..rest.len().min(12)]).ok_or("an escape in it does not end")?;
        let name = &rest[1..end];
        rest = &rest[end + 1..];
        let number = match name.strip_prefix('#') {
            Some(digits) => match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => digits.parse().ok(),
            },
            None => match name {
                "amp" => Some('&' as u32),
                "lt" => Some('<' as u32),
                "gt" => Some('>' as u32),
                "quot" => Some('"' as u32),
                "apos" => Some('\'' as u32),
                _ => None,
            },
        };
        let known = number.and_then(char::from_u32);
        out.push(known.ok_or_else(|| format!("it has an escape that nobody knows: &{name};"))?);
    }
    out.push_str(rest);
    Ok(())
}

/// Turns what Excel writes for characters that XML cannot hold, `_x000B_`, into them, from some place on.
pub fn resolve(text: &mut String, from: usize) {
    let Some(first) = memmem::find(&text.as_bytes()[from..], b"_x") else { return };
    let old = text.split_off(from + first);
    let mut rest = old.as_str();
    while let Some(at) = rest.find("_x") {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let units = [unit(rest), rest.get(7..).and_then(unit)].map(|it| it.unwrap_or(0));
        let count = if unit(rest).is_none() { 0 } else { 1 + usize::from((0xd800..0xdc00).contains(&units[0])) };
        let found = char::decode_utf16(units[..count.min(PAIR)].iter().copied()).next();
        match found {
            Some(Ok(character)) => {
                text.push(character);
                rest = &rest[7 * count..];
            }
            // Half of a character stays as it stands.
            _ => {
                text.push_str("_x");
                rest = &rest[2..];
            }
        }
    }
    text.push_str(rest);
}

/// The unit that a text begins with, as `_x000B_`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("_x")?.as_bytes().get(..5)?;
    let is_one = digits[..4].iter().all(u8::is_ascii_hexdigit) && digits[4] == b'_';
    is_one.then(|| u16::from_str_radix(&text[2..6], 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (into[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    #[test]
    fn tokens_are_the_same_however_they_come() {
        let text =
            br#"<?xml version="1.0"?><!-- <no> --><x:a r = "1>2" s='"'><b/><c />x &lt; y<![CDATA[<z>]]></x:a  >"#;
        let mut slow = Xml::new(Slow(text));
        let mut fast = Xml::new(&text[..]);
        let mut seen = Vec::new();
        loop {
            let (one, other) = (slow.next().unwrap(), fast.next().unwrap());
            assert_eq!(one, other);
            match one {
                None => break,
                Some(Token::Start { name, attributes, is_empty }) => {
                    let attributes: Vec<_> =
                        attributes.map(|(name, value)| [name, value].map(String::from_utf8_lossy).join("=")).collect();
                    seen.push(format!("{} {attributes:?} {is_empty}", String::from_utf8_lossy(name)));
                }
                Some(Token::End(name)) => seen.push(format!("/{}", String::from_utf8_lossy(name))),
                Some(Token::Text(text) | Token::Plain(text)) => seen.push(String::from_utf8_lossy(text).into_owned()),
            }
        }
        assert_eq!(seen, [r#"a ["r=1>2", "s=\""] false"#, "b [] true", "c [] true", "x &lt; y", "<z>", "/a"]);
    }

    #[test]
    fn what_no_workbook_has_is_refused() {
        let refused = |text: &[u8]| {
            let mut xml = Xml::new(text);
            loop {
                match xml.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => return "read".to_owned(),
                    Err(why) => return why,
                }
            }
        };
        assert_eq!(
            refused(b"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"),
            "it declares a document type, which workbooks do not have"
        );
        assert_eq!(refused(b"\xff\xfe<\0a\0>\0"), "its parts are not in UTF-8");
        assert_eq!(refused(b"<a b=\"c>"), "a tag in it does not end");
        let long = [b"<a>".as_slice(), &vec![b'x'; LONGEST + 1], b"</a>"].concat();
        assert_eq!(refused(&long), "a text or a tag in it is longer than 4 MiB");
        assert_eq!(refused(b"<a/>"), "read");
    }

    #[test]
    fn escapes_are_what_they_stand_for() {
        assert_eq!(unescaped(b"a &amp;&#65;&#x1F980;\r\nb\rc").unwrap(), "a &A\u{1f980}\nb\nc");
        assert!(unescaped(b"&nbsp;").is_err());
        assert!(unescaped(b"&amp and so on and on;").is_err());
        assert!(unescaped(b"\xff").is_err());
        for (written, text) in [
            ("_x000D_\n", "\r\n"),
            ("_x005F_x0041_", "_x0041_"),
            ("_xD83E__xDD80_", "\u{1f980}"),
            ("_xD83E_", "_xD83E_"),
            ("_xD83E_x", "_xD83E_x"),
            ("_x12", "_x12"),
            ("_x\u{e9}\u{e9}", "_x\u{e9}\u{e9}"),
            ("a_x0009_b_x", "a\tb_x"),
        ] {
            let mut resolved = String::from("_x0041_");
            resolved.push_str(written);
            resolve(&mut resolved, 7);
            assert_eq!(resolved[7..], *text, "{written}");
        }
    }
}
