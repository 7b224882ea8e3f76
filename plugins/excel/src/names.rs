//! Names of sheets.

use std::collections::HashSet;

/// As many UTF-16 units as the name of a sheet may have.
const LONGEST: usize = 31;

/// The names that sheets have by now, in small letters: capitals do not tell two apart.
#[derive(Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// A name that no other sheet has, like this text.
    pub fn take(&mut self, wanted: &str) -> String {
        let plain = allowed(wanted);
        for number in 1_u64.. {
            let ending = if number == 1 { String::new() } else { format!(" ({number})") };
            let name = cut(&plain, LONGEST - ending.len()).trim_end_matches('\'').to_owned() + &ending;
            if self.0.insert(name.to_lowercase()) {
                return name;
            }
        }
        plain
    }
}

/// Without what a name may not hold.
fn allowed(text: &str) -> String {
    let safe: String =
        text.trim().chars().map(|it| if it.is_control() || "[]:*?/\\".contains(it) { '_' } else { it }).collect();
    let safe = safe.trim_matches('\'');
    match safe {
        "" => "(empty)".into(),
        // Excel keeps this one for itself.
        _ if safe.eq_ignore_ascii_case("history") => format!("{safe}_"),
        _ => safe.to_owned(),
    }
}

/// The beginning of a text that has so many UTF-16 units at most.
fn cut(text: &str, units: usize) -> String {
    let mut left = units;
    text.chars()
        .take_while(|it| {
            let fits = it.len_utf16() <= left;
            left = left.saturating_sub(it.len_utf16());
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_excel_allows_and_differ() {
        let mut names = Names::default();
        let long = "Umsätze der Niederlassung Nord-West 2026";
        for (wanted, name) in [
            ("North", "North"),
            ("NORTH", "NORTH (2)"),
            (" 'a/b' ", "a_b"),
            ("", "(empty)"),
            ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx's", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
            ("History", "History_"),
            (long, "Umsätze der Niederlassung Nord-"),
            (long, "Umsätze der Niederlassung N (2)"),
            (
                "\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}",
                "\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}\u{1f980}",
            ),
        ] {
            assert_eq!(names.take(wanted), name);
        }
    }
}
