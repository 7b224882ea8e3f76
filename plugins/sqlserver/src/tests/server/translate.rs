//! As much of the connector's T-SQL as SQLite's SQL as its tests need, and no more.

/// Types whose values SQLite would make floating-point numbers of: a name with TEXT in it has it keep them as texts.
const AS_TEXTS: [&str; 13] = [
    "decimal",
    "numeric",
    "money",
    "smallmoney",
    "date",
    "time",
    "datetime",
    "smalldatetime",
    "datetime2",
    "datetimeoffset",
    "uniqueidentifier",
    "xml",
    "timestamp",
];

/// The statements of a batch. A trigger's are the trigger's, and it is the only one of its batch.
pub fn statements(batch: &str) -> Vec<String> {
    if batch.starts_with("CREATE TRIGGER") {
        return vec![batch.to_owned()];
    }
    let mut found = vec![String::new()];
    for piece in pieces(batch) {
        match piece {
            Piece::Code(code) => {
                let mut parts = code.split(';');
                found.last_mut().unwrap().push_str(parts.next().unwrap());
                found.extend(parts.map(str::to_owned));
            }
            Piece::Quoted(text) => found.last_mut().unwrap().push_str(text),
        }
    }
    found.into_iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

enum Piece<'a> {
    Code(&'a str),
    /// A text, a name or a comment.
    Quoted(&'a str),
}

fn pieces(sql: &str) -> Vec<Piece<'_>> {
    let bytes = sql.as_bytes();
    let (mut found, mut begin, mut at) = (vec![], 0, 0);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'\'' => b'\'',
            b'"' => b'"',
            b'[' => b']',
            b'-' if bytes[at..].starts_with(b"--") => b'\n',
            _ => {
                at += 1;
                continue;
            }
        };
        found.push(Piece::Code(&sql[begin..at]));
        begin = at;
        at += 1;
        while at < bytes.len() && (bytes[at] != end || (bytes.get(at + 1) == Some(&end) && end != b'\n')) {
            at += if bytes[at] == end { 2 } else { 1 };
        }
        at = (at + 1).min(bytes.len());
        found.push(Piece::Quoted(&sql[begin..at]));
        begin = at;
    }
    found.push(Piece::Code(&sql[begin..]));
    found
}

/// One statement.
pub fn statement(sql: &str) -> String {
    let mut sql = sql.replace("[dbo].", "").replace("dbo.", "").replace(" WITH (UPDLOCK, SERIALIZABLE)", "");
    if let Some(rest) = sql.strip_prefix("UPDATE t SET ") {
        // UPDATE t SET … FROM target AS t JOIN (rows) AS s ON …
        let (set, rest) = rest.split_once(" FROM ").unwrap();
        let (target, rest) = rest.split_once(" AS t JOIN ").unwrap();
        let (rows, same) = rest.rsplit_once(" AS s ON ").unwrap();
        sql = format!("UPDATE {target} AS t SET {set} FROM {rows} AS s WHERE {same}");
    }
    if let Some(rest) = sql.strip_prefix("TRUNCATE TABLE ") {
        sql = format!("DELETE FROM {rest}");
    }
    if let Some(rest) = sql.strip_prefix("SELECT TOP (1) ") {
        sql = format!("SELECT {rest} LIMIT 1");
    }
    let is_table = sql.trim_start().starts_with("CREATE TABLE");
    let mut plain = String::new();
    for piece in pieces(&sql) {
        match piece {
            Piece::Code(code) => plain.push_str(&words(code, is_table)),
            Piece::Quoted(name) if name.starts_with('[') => {
                plain.push_str(&format!("\"{}\"", name[1..name.len() - 1].replace("]]", "]").replace('"', "\"\"")));
            }
            Piece::Quoted(text) => {
                if text.starts_with('\'') && plain.ends_with('N') {
                    plain.pop();
                }
                plain.push_str(text);
            }
        }
    }
    casts(&plain)
}

fn words(code: &str, is_table: bool) -> String {
    let mut written = String::new();
    let mut rest = code;
    while let Some(character) = rest.chars().next() {
        let length = rest.find(|other: char| !other.is_alphanumeric() && !"_@#".contains(other)).unwrap_or(rest.len());
        if length == 0 {
            written.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        rest = after;
        let lower = word.to_lowercase();
        match lower.as_str() {
            "#engine_stage" => written.push_str("temp.engine_stage"),
            "max" if written.ends_with('(') && rest.starts_with(')') => written.push('0'),
            "sysutcdatetime" => {
                rest = rest.strip_prefix("()").unwrap_or(rest);
                written.push_str("(strftime('%Y-%m-%d %H:%M:%f0000', 'now'))");
            }
            "identity" if is_table => {
                // Only as `int IDENTITY PRIMARY KEY`, which SQLite has in words of its own.
                written.truncate(written.trim_end().rfind(' ').unwrap());
                written.push_str(" INTEGER");
                rest = rest.strip_prefix(" PRIMARY KEY").expect("an identity column is the primary key here");
                written.push_str(" PRIMARY KEY AUTOINCREMENT");
            }
            _ if lower.starts_with("@p") && lower[2..].parse::<u32>().is_ok() => {
                written.push_str(&format!("?{}", &lower[2..]));
            }
            _ if written.ends_with("COLLATE ") => {
                written.push_str(if lower.ends_with("_bin2") { "BINARY" } else { "NOCASE" })
            }
            _ if is_table && AS_TEXTS.contains(&lower.as_str()) => written.push_str(&format!("{lower}_TEXT")),
            _ => written.push_str(word),
        }
    }
    written
}

/// CAST, TRY_CAST and CONVERT as functions that do what SQL Server does.
fn casts(sql: &str) -> String {
    let found = ["TRY_CAST(", "CAST(", "CONVERT("]
        .iter()
        .filter_map(|word| outside_quotes(sql, word).map(|at| (at, *word)))
        .min_by_key(|(at, word)| (*at, word.len()));
    let Some((at, word)) = found else { return sql.to_owned() };
    let (before, rest) = sql.split_at(at);
    let inside = &rest[word.len()..];
    let end = closing(inside);
    let (inner, after) = (&inside[..end], &inside[end + 1..]);
    let call = match word {
        "CONVERT(" => {
            // CONVERT(type, value, style), of which the type is a text and the style says how it is kept anyhow.
            let (_, rest) = inner.split_once(", ").unwrap();
            let (value, _) = rest.rsplit_once(", ").unwrap();
            format!("tds_text({})", casts(value))
        }
        word => {
            let (value, kind) = inner.rsplit_once(" AS ").unwrap();
            // What has a type of its own although it is no column.
            let is_read = after.starts_with(" AS \"") && kind.starts_with("decimal(") && !sql.contains("engine_stage");
            let function = match word {
                "TRY_CAST(" => "tds_try",
                _ if is_read => "tds_typed",
                _ => "tds_cast",
            };
            format!("{function}({}, '{kind}')", casts(value))
        }
    };
    format!("{before}{call}{}", casts(after))
}

fn outside_quotes(sql: &str, word: &str) -> Option<usize> {
    let mut at = 0;
    for piece in pieces(sql) {
        match piece {
            Piece::Code(code) => {
                if let Some(found) = code.find(word) {
                    return Some(at + found);
                }
                at += code.len();
            }
            Piece::Quoted(text) => at += text.len(),
        }
    }
    None
}

/// Where the bracket that is open ends.
fn closing(sql: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    for piece in pieces(sql) {
        match piece {
            Piece::Code(code) => {
                for (place, byte) in code.bytes().enumerate() {
                    match byte {
                        b'(' => depth += 1,
                        b')' if depth == 0 => return at + place,
                        b')' => depth -= 1,
                        _ => {}
                    }
                }
                at += code.len();
            }
            Piece::Quoted(text) => at += text.len(),
        }
    }
    panic!("a bracket does not end: {sql}");
}
