//! Rules about the text of every file.

use engine_tidy_tests::{files, report};

/// Rust files above this are worth a look; see [`long_rust_files_are_listed`].
const LONG: usize = 500;

// Put together here, so that this file does not break its own rules.
const UNFINISHED: [&str; 6] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("#[ig", "nore"),
];
const PRIVATE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

#[test]
fn nothing_is_left_unfinished() {
    let mut broken = Vec::new();
    // What has a zero byte is a picture, or the like: three bytes of it mean nothing.
    for file in files::all(|path| path != "Cargo.lock").into_iter().filter(|file| !file.text.contains('\0')) {
        for (number, line) in file.text.lines().enumerate() {
            let found = UNFINISHED.iter().filter(|word| has_word(line, word));
            broken.extend(found.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    report("finish it, or leave it out", &broken);
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    let mut broken = Vec::new();
    for file in files::all(|_| true) {
        for (number, line) in file.text.lines().enumerate() {
            let found = PRIVATE_PATHS.iter().filter(|path| begins_a_path(line, path));
            broken.extend(found.map(|path| format!("{}:{}: {path}", file.path, number + 1)));
        }
    }
    report("paths that exist on one machine only", &broken);
}

#[test]
fn long_rust_files_are_listed() {
    for file in files::all(|path| path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        if lines > LONG {
            println!("hint: {} has {lines} lines; does it do two things?", file.path);
        }
    }
}

/// True where `word` stands by itself: `XXXX` in a file name pattern is not a remark.
fn has_word(line: &str, word: &str) -> bool {
    let inside =
        |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    line.match_indices(word).any(|(at, _)| {
        let after = if word.ends_with(char::is_alphanumeric) { line[at + word.len()..].chars().next() } else { None };
        !inside(line[..at].chars().next_back()) && !inside(after)
    })
}

/// True where `path` is the beginning of an absolute path, not the middle of a relative one or a URL.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || matches!(character, '.' | '_' | '-' | '}'))
    })
}

#[test]
fn a_word_counts_where_it_stands_by_itself() {
    let [_, _, remark, ..] = UNFINISHED;
    assert!(has_word(&format!("// {remark}: later"), remark));
    assert!(!has_word(&format!("{remark}S"), remark) && !has_word(&format!("MY_{remark}"), remark));
    assert!(has_word(&format!("    {}\"later\")", UNFINISHED[0]), UNFINISHED[0]));
    assert!(begins_a_path(&format!("cd {}main", PRIVATE_PATHS[0]), PRIVATE_PATHS[0]));
    assert!(!begins_a_path(&format!("https://example.org{}", PRIVATE_PATHS[0]), PRIVATE_PATHS[0]));
}
