//! Records as a text that a person reads.

use engine_sdk::minijinja::Value;

/// A column is no wider than this; a longer value is cut.
const WIDEST: usize = 60;

/// Columns under their names, one line a record; one record as a line for each of its columns.
pub fn plain(records: &[Value], total: u64) -> String {
    let mut text = match records {
        [record] if total == 1 => list(record),
        _ => columns(records),
    };
    let more = total.saturating_sub(records.len() as u64);
    if more > 0 {
        text.push_str(&format!("\n… and {more} more\n"));
    }
    text
}

/// `name: value`, without those that have none.
fn list(record: &Value) -> String {
    let members = members(record);
    let width = members.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines = members.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:<width$}  {}\n", value.trim_end())).collect()
}

fn columns(records: &[Value]) -> String {
    let rows: Vec<Vec<(String, String)>> = records.iter().map(members).collect();
    let Some(first) = rows.first() else { return String::new() };
    let names: Vec<String> = first.iter().map(|(name, _)| name.clone()).collect();
    let cells: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().map(|(_, value)| one_line(&value)).collect()).collect();
    let width = |at: usize| {
        let widest = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
        widest.unwrap_or_default().max(names[at].chars().count())
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    std::iter::once(line(&names)).chain([line(&rule)]).chain(cells.iter().map(|row| line(row))).collect()
}

fn members(record: &Value) -> Vec<(String, String)> {
    let value = |name: &Value| match record.get_item(name) {
        Ok(value) if !value.is_none() => value.to_string(),
        _ => String::new(),
    };
    record.try_iter().into_iter().flatten().map(|name| (name.to_string(), value(&name))).collect()
}

fn one_line(value: &str) -> String {
    let line: String = value.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    match line.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use engine_sdk::minijinja::context;

    use super::*;

    #[test]
    fn one_record_is_a_list_and_several_are_a_table() {
        let record = |name: &str, count: i64| context! { name, count, nothing => () };
        assert_eq!(plain(&[record("two\nlines", 7)], 1), "name     two\nlines\ncount    7\n");
        let table = plain(&[record("a\nb", 7), record("long name", 10)], 5);
        let expected =
            "name       count  nothing\n---------  -----  -------\na b        7\nlong name  10\n\n… and 3 more\n";
        assert_eq!(table, expected);
        assert_eq!(plain(&[], 0), "");
    }
}
