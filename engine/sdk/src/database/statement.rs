//! Queries with placeholders: `WHERE region = :region`.

use std::collections::BTreeMap;
use std::ops::Range;

use engine_abi::{Error, Result};

use super::{Scalar, Window};

/// What a window's lower bound is called in a query: exclusive.
pub const WINDOW_START: &str = "window_start";
/// What a window's upper bound is called in a query: inclusive.
pub const WINDOW_END: &str = "window_end";

/// Values of the placeholders in a query, by name.
pub type Parameters = BTreeMap<String, Scalar>;

/// How a database's SQL quotes what is no placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoting {
    /// `\'` inside `'…'` and `"…"` does not end it.
    pub backslashes: bool,
    /// `e'…'` has backslashes, and `$tag$ … $tag$` is text.
    pub postgres: bool,
    /// `` `…` `` is a name.
    pub backticks: bool,
    /// `[…]` is a name.
    pub brackets: bool,
    /// `#` begins a comment.
    pub hash_comments: bool,
    /// `--` begins a comment only in front of a space: `5--1` is 6.
    pub spaced_dashes: bool,
    /// `/* /* */ */` is one comment.
    pub nested_comments: bool,
}

impl Quoting {
    /// As the standard has it.
    pub const STANDARD: Self = Self {
        backslashes: false,
        postgres: false,
        backticks: false,
        brackets: false,
        hash_comments: false,
        spaced_dashes: false,
        nested_comments: false,
    };
    /// PostgreSQL's, with `standard_conforming_strings` on.
    pub const POSTGRES: Self = Self { postgres: true, nested_comments: true, ..Self::STANDARD };
    /// MySQL's and MariaDB's.
    pub const MYSQL: Self =
        Self { backslashes: true, backticks: true, hash_comments: true, spaced_dashes: true, ..Self::STANDARD };
    /// SQLite's.
    pub const SQLITE: Self = Self { backticks: true, brackets: true, ..Self::STANDARD };
    /// SQL Server's.
    pub const SQL_SERVER: Self = Self { brackets: true, nested_comments: true, ..Self::STANDARD };
}

/// A query and the places of its placeholders. What stands in quotes or comments
/// is none, nor is `::type`, nor a colon behind a name or number (`part[1:n]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    sql: String,
    /// Each with its colon.
    places: Vec<Range<usize>>,
}

impl Statement {
    /// Finds the placeholders.
    ///
    /// # Errors
    /// `Config`, where a quote or comment does not end.
    pub fn parse(sql: &str, quoting: Quoting) -> Result<Self> {
        let places = Scan { sql: sql.as_bytes(), at: 0, quoting }.places()?;
        Ok(Self { sql: sql.into(), places })
    }

    /// The placeholders' names, in their order, each as often as it stands there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| &self.sql[place.start + 1..place.end])
    }

    /// Whether it says itself which rows belong to a window.
    pub fn names_window(&self) -> bool {
        self.names().any(|name| name == WINDOW_END)
    }

    /// Whether it names the lower bound of a window.
    pub fn names_window_start(&self) -> bool {
        self.names().any(|name| name == WINDOW_START)
    }

    /// The query with `write(name)` in the place of each placeholder.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn render(&self, mut write: impl FnMut(&str) -> Result<String>) -> Result<String> {
        let mut rendered = String::with_capacity(self.sql.len());
        let mut end = 0;
        for place in &self.places {
            rendered.push_str(&self.sql[end..place.start]);
            rendered.push_str(&write(&self.sql[place.start + 1..place.end])?);
            end = place.end;
        }
        rendered.push_str(&self.sql[end..]);
        Ok(rendered)
    }

    /// The value of a placeholder, from `parameters` or from the window, whose bounds are
    /// null where there is none.
    ///
    /// # Errors
    /// `Internal`, where [`Extraction::new`](super::Extraction::new) would have refused it.
    pub fn value(name: &str, parameters: &Parameters, window: Option<&Window>) -> Result<Scalar> {
        match name {
            WINDOW_START => Ok(window.map_or(Scalar::Null, Window::start)),
            WINDOW_END => Ok(window.map_or(Scalar::Null, Window::end)),
            _ => {
                parameters.get(name).cloned().ok_or_else(|| Error::internal(format!("there is no value for `:{name}`")))
            }
        }
    }
}

struct Scan<'a> {
    sql: &'a [u8],
    at: usize,
    quoting: Quoting,
}

impl Scan<'_> {
    fn places(mut self) -> Result<Vec<Range<usize>>> {
        let mut places = vec![];
        while let Some(&byte) = self.sql.get(self.at) {
            match byte {
                b'\'' => {
                    let escaped = self.quoting.backslashes || (self.quoting.postgres && self.is_escape_string());
                    self.quoted(b'\'', escaped, "a text")?;
                }
                b'"' => self.quoted(b'"', self.quoting.backslashes, "a name or text in double quotes")?,
                b'`' if self.quoting.backticks => self.quoted(b'`', false, "a name in backticks")?,
                b'[' if self.quoting.brackets => self.quoted(b']', false, "a name in brackets")?,
                b'-' if self.starts_with(b"--") && self.is_comment() => self.line(),
                b'#' if self.quoting.hash_comments => self.line(),
                b'/' if self.starts_with(b"/*") => self.comment()?,
                b'$' if self.quoting.postgres && !self.follows_word() => self.dollar_quoted()?,
                b':' => {
                    let name = self.word(self.at + 1);
                    let begins =
                        self.sql.get(self.at + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
                    if begins && !self.follows_word() && !self.follows(b":])\"'`") {
                        places.push(self.at..name);
                        self.at = name;
                    } else {
                        // `::name` is a cast.
                        self.at = if self.starts_with(b"::") { self.at + 2 } else { self.at + 1 };
                        if self.at < name {
                            self.at = name
                        }
                    }
                }
                _ => self.at += 1,
            }
        }
        Ok(places)
    }

    fn starts_with(&self, what: &[u8]) -> bool {
        self.sql[self.at..].starts_with(what)
    }

    /// The end of the word that begins at `from`.
    fn word(&self, from: usize) -> usize {
        let rest = self.sql.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())
    }

    fn before(&self) -> Option<u8> {
        self.at.checked_sub(1).map(|at| self.sql[at])
    }

    fn follows_word(&self) -> bool {
        self.before().is_some_and(is_word)
    }

    fn follows(&self, any: &[u8]) -> bool {
        self.before().is_some_and(|byte| any.contains(&byte))
    }

    /// Whether the quote here begins `e'…'`.
    fn is_escape_string(&self) -> bool {
        let letter = self.before().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'e'));
        letter && !self.at.checked_sub(2).is_some_and(|at| is_word(self.sql[at]))
    }

    /// Passes what ends with `end`; twice inside it stands for itself.
    fn quoted(&mut self, end: u8, backslashes: bool, what: &str) -> Result<()> {
        let begin = self.at;
        self.at += 1;
        while let Some(&byte) = self.sql.get(self.at) {
            self.at += match byte {
                b'\\' if backslashes => 2,
                byte if byte == end && self.sql.get(self.at + 1) == Some(&end) => 2,
                byte if byte == end => {
                    self.at += 1;
                    return Ok(());
                }
                _ => 1,
            };
        }
        Err(self.unended(begin, what))
    }

    fn line(&mut self) {
        let rest = &self.sql[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    /// Whether the dashes here begin a comment.
    fn is_comment(&self) -> bool {
        let next = self.sql.get(self.at + 2);
        !self.quoting.spaced_dashes || next.is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
    }

    fn comment(&mut self) -> Result<()> {
        let begin = self.at;
        let mut depth = 0_usize;
        while self.at < self.sql.len() {
            if self.starts_with(b"/*") && (depth == 0 || self.quoting.nested_comments) {
                depth += 1;
                self.at += 2;
            } else if self.starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += 1;
            }
        }
        Err(self.unended(begin, "a comment"))
    }

    /// `$$ … $$` or `$tag$ … $tag$`; anything else is a plain dollar sign.
    fn dollar_quoted(&mut self) -> Result<()> {
        let begin = self.at;
        let tag_end = self.word(begin + 1);
        let is_tag = !self.sql.get(begin + 1).is_some_and(u8::is_ascii_digit);
        if !is_tag || self.sql.get(tag_end) != Some(&b'$') {
            self.at += 1;
            return Ok(());
        }
        let tag = &self.sql[begin..=tag_end];
        let body = &self.sql[tag_end + 1..];
        match body.windows(tag.len()).position(|window| window == tag) {
            Some(length) => {
                self.at = tag_end + 1 + length + tag.len();
                Ok(())
            }
            None => Err(self.unended(begin, "a text in dollar signs")),
        }
    }

    fn unended(&self, begin: usize, what: &str) -> Error {
        let line = 1 + self.sql[..begin].iter().filter(|byte| **byte == b'\n').count();
        Error::config(format!("{what} that begins in line {line} of the query does not end"))
    }
}

/// Bytes above ASCII belong to letters.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str, quoting: Quoting) -> Vec<String> {
        Statement::parse(sql, quoting).unwrap().names().map(str::to_owned).collect()
    }

    #[test]
    fn placeholders_are_found_and_nothing_else_is_taken_for_one() {
        let all = Quoting::POSTGRES;
        assert_eq!(names("SELECT :a, (:b)::int, x=:c AND y>:a_1", all), ["a", "b", "c", "a_1"]);
        for sql in [
            "SELECT ':a', \":a\", 'it''s :a' -- :a",
            "SELECT 1 -- :a\n/* :a /* :a */ :a */",
            "SELECT x::a, part[1:n], part[m:n], (a):b, a :: b",
            "SELECT $$ :a $$, $t$ :a $$ :a $t$, e'\\' :a'",
            "SELECT x := 1, ':' || 'a', 12:30",
        ] {
            assert_eq!(names(sql, all), Vec::<String>::new(), "{sql}");
        }
        assert_eq!(names("SELECT $1:a, a$b$ :c, E'x' :d", all).last().unwrap(), "d");
        assert_eq!(names("SELECT 'a\\' , :a", all), ["a"], "a backslash is itself");
        assert_eq!(names("SELECT 'a\\' :b', :a # :c\n, `:d`", Quoting::MYSQL), ["a"]);
        assert_eq!(names("SELECT [:a], `:b`, :c", Quoting::SQLITE), ["c"]);
        assert_eq!(names("/* /* */ :a", Quoting::MYSQL), ["a"]);
        assert_eq!(names("SELECT 5--1, :a -- :b", Quoting::MYSQL), ["a"]);
        assert_eq!(names("SELECT 'ä' || :größe", all), ["größe"]);
    }

    #[test]
    fn what_does_not_end_is_told_with_its_line() {
        for sql in ["SELECT\n'a", "SELECT\n\"a", "SELECT\n/* /* */", "SELECT\n$$ a"] {
            let error = Statement::parse(sql, Quoting::POSTGRES).unwrap_err();
            assert!(error.message.contains("line 2"), "{sql}: {error}");
        }
    }

    #[test]
    fn values_take_the_places_of_their_names() {
        let statement = Statement::parse("SELECT :a || ':a' || :b || :a", Quoting::STANDARD).unwrap();
        assert_eq!(statement.render(|name| Ok(format!("<{name}>"))).unwrap(), "SELECT <a> || ':a' || <b> || <a>");
    }
}
