//! The text of a `.env` file as variables.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Source;

/// Reads lines of `NAME=value`. `export ` in front is allowed, `#` starts a
/// comment, single quotes keep everything, double quotes know `\n`, `\t`, `\"`,
/// `\\` and `\$`. The last of two lines for one name counts. Values are never
/// shown in diagnostics.
pub fn parse_dotenv(text: &str, file_name: &str) -> (BTreeMap<String, String>, Diagnostics) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::unquotable(file_name, text);
    let mut variables = BTreeMap::new();
    let mut diagnostics = Diagnostics::new();
    let mut start = 0;
    for line in text.split('\n') {
        let span = source.span(start..start + line.len());
        start += line.len() + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Ok((name, value)) => {
                variables.insert(name.to_owned(), value);
            }
            Err(problem) => {
                let found = Diagnostic::error("bad-env-line", format!("the line is not read: {problem}")).at(&span);
                diagnostics.push(found.hint("write `NAME=value`, with quotes around a value that holds ` #`"));
            }
        }
    }
    (variables, diagnostics)
}

fn assignment(line: &str) -> Result<(&str, String), &'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("it has no `=`")?;
    let name = name.trim_end();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(valid) {
        return Err("a name has letters, digits and `_`, and does not start with a digit");
    }
    Ok((name, unquoted(value.trim_start())?))
}

fn unquoted(value: &str) -> Result<String, &'static str> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or("the single quote is not closed")?;
        return ends(after).map(|()| inner.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let comment = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
        let value = if value.starts_with('#') { "" } else { &value[..comment] };
        return Ok(value.trim_end().to_owned());
    };
    let mut inner = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return ends(&rest[at + 1..]).map(|()| inner),
            '\\' => match characters.next() {
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, escaped @ ('"' | '\\' | '$'))) => inner.push(escaped),
                Some((_, other)) => inner.extend(['\\', other]),
                None => break,
            },
            other => inner.push(other),
        }
    }
    Err("the double quote is not closed")
}

fn ends(after: &str) -> Result<(), &'static str> {
    let after = after.trim_start();
    if after.is_empty() || after.starts_with('#') { Ok(()) } else { Err("there is text after the closing quote") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_and_without_quotes() {
        let text = "\u{feff}# comment\nA=1\r\n export B = two words # not this\nC='a \"#\" b'\nD=\"x\\n\\\"y\\$\" # c\nE=\nF=a#b\n";
        let (variables, diagnostics) = parse_dotenv(text, ".env");
        assert!(diagnostics.is_empty(), "{diagnostics}");
        let values: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("A", "1"), ("B", "two words"), ("C", "a \"#\" b"), ("D", "x\n\"y$"), ("E", ""), ("F", "a#b")];
        assert_eq!(values, expected);
    }

    #[test]
    fn faulty_lines_are_named_by_place_without_their_content() {
        let (variables, diagnostics) = parse_dotenv("A=1\nhunter2\nB=\"hunter2\n1C=hunter2\n", "conf/.env");
        assert_eq!(variables.len(), 1);
        let text = diagnostics.to_string();
        assert_eq!(diagnostics.len(), 3);
        assert!(text.contains("conf/.env:2:1") && text.contains("conf/.env:4:1"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
