//! Tables and figures for a person, JSON for a machine.

use serde::Serialize;

use crate::console;

/// Prints a value as one line of JSON.
pub fn json(value: &impl Serialize) {
    console::line(&serde_json::to_string(value).unwrap_or_default());
}

/// Prints rows as [`table`] does, or says that there are none.
pub fn list(none: &str, head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        console::line(none);
    } else {
        table(head, rows);
    }
}

/// A number and what it counts: `1 row`, `2 rows`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Prints rows below a head, columns aligned.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let print = |cells: Vec<&str>| {
        let padded: Vec<_> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count()))))
            .collect();
        console::line(padded.join("  ").trim_end());
    };
    print(head.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// `52000` as `52,000`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes with a unit that fits.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

/// The first line of a text, cut to a length.
pub fn short(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!(super::number(0), "0");
        assert_eq!(super::number(52_000), "52,000");
        assert_eq!(super::number(1_234_567), "1,234,567");
        assert_eq!((super::counted(1, "row"), super::counted(2000, "row")), ("1 row".into(), "2,000 rows".into()));
        assert_eq!(super::bytes(1023), "1023 B");
        assert_eq!(super::bytes(3_500_000), "3.3 MiB");
        assert_eq!(super::short("a long line\nand more", 7), "a long…");
    }
}
