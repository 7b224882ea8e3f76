//! Messages, whole: `messages/NAME.yaml` is checked, `messages/NAME.txt` is what
//! must be said about it. `UPDATE=1` writes what is said now.

mod common;

use std::fs;
use std::path::Path;

#[test]
fn every_faulty_file_gets_exactly_its_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    names.sort();
    assert!(names.len() >= 12, "only {} cases", names.len());
    let mut wrong = Vec::new();
    for path in names {
        let (_, diagnostics) = common::checked_bytes(&fs::read(&path).unwrap(), &[]);
        let said = format!("{diagnostics}{}\n", diagnostics.summary());
        assert!(!said.contains(common::SECRET), "{} gives a secret away:\n{said}", path.display());
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\n`UPDATE=1 cargo test -p engine-spec` accepts them", wrong.join("\n"));
}

#[test]
fn colours_change_nothing_but_the_colours() {
    let (_, diagnostics) = common::checked("sourc: 1\nsinks: []\n");
    let coloured = diagnostics.render(engine_spec::Style::Coloured);
    assert!(coloured.contains("\u{1b}[1;31m"));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, diagnostics.to_string());
}

#[test]
fn machines_get_codes_and_places() {
    let (_, diagnostics) = common::checked("source: { use: pas }\nsinks: [{ use: sqlite }]\n");
    let value = serde_json::to_value(&diagnostics).unwrap();
    let expected = serde_json::json!([{
        "severity": "error",
        "code": "unknown-component",
        "message": "there is no source `pas`",
        "span": {
            "file": "pipe.yaml", "line": 1, "column": 16, "end_line": 1, "end_column": 19, "start_byte": 15, "end_byte": 18,
        },
        "hint": "installed sources: `file`, `postgres`, `tcp`; `engine plugins path` shows where others are looked for",
    }]);
    assert_eq!(value, expected);
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let text = format!(
        "source: {{ use: file, with: {{ path: '{}', pth: x }}, format: csv }}\nsink: {{ use: sqlite }}\n",
        "é".repeat(5000)
    );
    let said = common::checked(&text).1.to_string();
    let line = said.lines().find(|line| line.starts_with("1 ")).unwrap();
    assert!(line.chars().count() < 180 && line.contains("pth: x") && line.contains('…'), "{said}");
    let mark = said.lines().find(|line| line.contains('^')).unwrap();
    let column = |line: &str, part: &str| line[..line.find(part).unwrap()].chars().count();
    assert_eq!(column(line, "pth"), column(mark, "^^^"), "{said}");
}

#[test]
fn control_characters_of_a_file_never_reach_the_terminal() {
    let said = common::checked(
        "\"a\\e[31m\": 1\nsink: { use: sqlite }\nsource: { use: file, with: { path: x }, format: csv }\n",
    )
    .1;
    assert!(!said.is_empty() && !said.to_string().contains('\u{1b}'));
}
