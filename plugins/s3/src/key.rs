//! Keys of objects: how they stand in addresses, which of them cannot be asked for, and patterns of them.

use engine_sdk::prelude::{Error, Result};
use glob::{MatchOptions, Pattern};

/// Bytes that a key may have.
const LONGEST: usize = 1024;

/// What means something in a pattern.
const SPECIAL: [char; 3] = ['*', '?', '['];

/// A text as it stands in an address. `slashes`: they stay as they are, as in a path.
pub fn encoded(text: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if slashes => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Why a key cannot be asked for. Clients and proxies take `.` and `..` out of addresses, and with them the key
/// would be another one.
pub fn flaw(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        Some("is empty")
    } else if key.len() > LONGEST {
        Some("is longer than the 1,024 bytes that a key may have")
    } else if key.split('/').any(|part| part == "." || part == "..") {
        Some("has a part `.` or `..`, which addresses cannot have")
    } else {
        None
    }
}

/// Checks the `path` of a configuration.
pub fn check(path: &str) -> Result<()> {
    if let Some(flaw) = flaw(path) {
        return Err(Error::config(format!("`path`: `{path}` {flaw}")).hint("name a key, such as `reports/calls.csv`"));
    }
    if path.starts_with('/') {
        return Err(Error::config(format!("`path`: `{path}` begins with `/`, and keys do not"))
            .hint(format!("write `{}`", path.trim_start_matches('/'))));
    }
    Ok(())
}

/// Whether a path stands for any number of keys.
pub fn is_pattern(path: &str) -> bool {
    path.contains(SPECIAL)
}

/// Keys that match a pattern.
#[derive(Debug)]
pub struct Matcher {
    pattern: Pattern,
    /// What all of them begin with.
    pub prefix: String,
}

impl Matcher {
    pub fn new(path: &str) -> Result<Self> {
        let pattern = Pattern::new(path).map_err(|error| {
            Error::config(format!("`path`: `{path}` is not a pattern: {}", error.msg))
                .hint("`*`, `?` and `[…]` match within one folder, `**` as a whole part any number of folders")
        })?;
        let prefix = path.split(SPECIAL).next().unwrap_or_default().to_owned();
        Ok(Self { pattern, prefix })
    }

    pub fn matches(&self, key: &str) -> bool {
        let options =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        self.pattern.matches_with(key, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_addresses_as_they_are_signed() {
        assert_eq!(encoded("a b/ä+~%.csv", true), "a%20b/%C3%A4%2B~%25.csv");
        assert_eq!(encoded("a/b?#&=", false), "a%2Fb%3F%23%26%3D");
    }

    #[test]
    fn keys_that_cannot_be_asked_for_are_refused() {
        for path in ["", "a/../b", "./a", &"x".repeat(1025), "/a"] {
            assert!(check(path).unwrap_err().hint.is_some(), "{path:.20}");
        }
        for path in ["a", "a..b/.c", "a//b", "a/"] {
            check(path).unwrap();
        }
    }

    #[test]
    fn patterns_match_as_those_of_files_do() {
        let matcher = Matcher::new("in/*.csv").unwrap();
        assert_eq!(matcher.prefix, "in/");
        let found: Vec<_> = ["in/a.csv", "in/.b.csv", "in/c/d.csv", "in/e.txt", "xin/a.csv"]
            .into_iter()
            .filter(|key| matcher.matches(key))
            .collect();
        assert_eq!(found, ["in/a.csv"]);
        let deep = Matcher::new("logs/**/[ab]?.log").unwrap();
        assert_eq!(deep.prefix, "logs/");
        assert!(deep.matches("logs/x/y/a1.log") && deep.matches("logs/b2.log") && !deep.matches("logs/c3.log"));
        assert!(Matcher::new("a[").is_err() && is_pattern("a?") && !is_pattern("a/b.csv"));
    }
}
