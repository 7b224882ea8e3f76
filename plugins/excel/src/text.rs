//! Texts inside of XML.

/// As many UTF-16 units as a cell takes.
pub const LONGEST: usize = 32_767;

/// Appends a text. What XML cannot hold is written as Excel does, `_x000B_`.
pub fn write(text: &str, out: &mut Vec<u8>) {
    // Most texts have nothing of the kind.
    if text.bytes().all(|it| it >= b' ' && !matches!(it, b'&' | b'<' | b'>' | b'"' | b'_' | 0xef)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for (at, it) in text.char_indices() {
        match it {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\t' | '\n' => out.push(it as u8),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.extend_from_slice(format!("_x{:04X}_", it as u32).as_bytes()),
            // What only looks like such a place is told from one.
            '_' if is_escape(&text.as_bytes()[at..]) => out.extend_from_slice(b"_x005F_"),
            _ => out.extend_from_slice(it.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'_', b'x', digits @ .., ] if digits.len() > 4
        && digits[..4].iter().all(u8::is_ascii_hexdigit) && digits[4] == b'_')
}

/// Whether a cell takes a text.
pub fn fits(text: &str) -> bool {
    text.len() <= LONGEST || text.encode_utf16().count() <= LONGEST
}

/// Whether spaces would be taken for layout.
pub fn has_edges(text: &str) -> bool {
    let is_space = |it: Option<&u8>| it.is_some_and(u8::is_ascii_whitespace);
    let bytes = text.as_bytes();
    is_space(bytes.first()) || is_space(bytes.last()) || bytes.contains(&b'\n')
}

/// A text for an attribute or an element of the workbook's own parts.
pub fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    write(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}
