//! Names of tables and columns as people write them, and near misses.

use engine_abi::{Error, Result};

/// A table as a pipeline file names it: `calls`, `reports.calls`, or, where a
/// name itself holds a dot, `"monthly.calls"`. Letters keep their case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Absent: the one that the connection is in, or the first of its search path that has the table.
    pub schema: Option<String>,
    /// The table's own name.
    pub table: String,
}

impl TableName {
    /// Reads a name. Errors with `Config` when it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!("`{text}` is not the name of a table"))
                .hint("write `table` or `schema.table`; a name that holds a dot goes into double quotes")
        };
        let mut parts = vec![];
        let mut rest = text;
        loop {
            let (part, after) = part(rest).filter(|(part, _)| !part.is_empty()).ok_or_else(wrong)?;
            parts.push(part);
            match after.strip_prefix('.') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => return Err(wrong()),
            }
        }
        match (parts.pop(), parts.pop(), parts.is_empty()) {
            (Some(table), schema, true) => Ok(Self { schema, table }),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// One part of a name and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, rest)),
        }
    }
}

/// The candidates that look most like `name`, for a hint.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    /// Below this likeness (0 to 1) a candidate only confuses.
    const LIKE: f64 = 0.7;
    let wanted = name.to_lowercase();
    let mut near: Vec<_> = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .collect();
    near.sort_by(|left, right| right.0.total_cmp(&left.0));
    near.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// The end of a hint: `: did you mean a, b?`, or what there is instead.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near = nearest(name, candidates.clone());
    if near.is_empty() {
        let all: Vec<_> = candidates.into_iter().take(20).collect();
        if all.is_empty() { "there are none".into() } else { format!("there are: {}", all.join(", ")) }
    } else {
        format!("did you mean {}?", near.join(" or "))
    }
}

/// As much of a value as a message shows.
pub fn shortened(text: &str) -> &str {
    /// In characters.
    const SHOWN: usize = 60;
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(schema: Option<&str>, table: &str) -> TableName {
        TableName { schema: schema.map(Into::into), table: table.into() }
    }

    #[test]
    fn table_names_are_read_with_and_without_schema_and_quotes() {
        assert_eq!(TableName::parse("calls").unwrap(), named(None, "calls"));
        assert_eq!(TableName::parse("reports.Calls").unwrap(), named(Some("reports"), "Calls"));
        assert_eq!(TableName::parse("\"a.b\".\"say \"\"hi\"\"\"").unwrap(), named(Some("a.b"), "say \"hi\""));
        for wrong in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "a\"b"] {
            assert!(TableName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_near_miss_is_suggested() {
        assert_eq!(suggestion("avaya_cd", ["avaya_cdr", "users"]), "did you mean avaya_cdr?");
        assert_eq!(suggestion("zzz", ["users"]), "there are: users");
    }
}
