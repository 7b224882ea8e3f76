//! Rules about what is written for people.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use engine_tidy_tests::files::{self, File};
use engine_tidy_tests::{engine, markdown, report};

fn documents() -> Vec<File> {
    files::all(|path| path.ends_with(".md"))
}

#[test]
fn links_inside_the_repository_lead_somewhere() {
    let documents = documents();
    let mut broken = Vec::new();
    for document in &documents {
        for link in markdown::links(&document.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (target, section) = link.split_once('#').unwrap_or((link, ""));
            let path = if target.is_empty() { document.path.clone() } else { resolve(&document.path, target) };
            if !files::root().join(&path).exists() {
                broken.push(format!("{}: {link}", document.path));
            } else if !section.is_empty() && path.ends_with(".md") {
                let text = documents.iter().find(|other| other.path == path).map_or("", |other| &other.text);
                if !markdown::headings(text).iter().any(|(_, title)| markdown::anchor(title) == section) {
                    broken.push(format!("{}: {link}: there is no such section", document.path));
                }
            }
        }
    }
    report("links that lead nowhere", &broken);
}

/// `target`, written in `document`, as a path below the root.
fn resolve(document: &str, target: &str) -> String {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut parts: Vec<&str> = folder.iter().map(|part| part.to_str().unwrap_or_default()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// What the README of a connector must have a section about, by a word of its heading. Promises are
/// about delivery, so only sources and sinks make one; `make schemas` has written which kinds there are.
fn connector_sections(readme: &str) -> Vec<&'static str> {
    let delivers = readme.lines().any(|line| line.ends_with("s a source:") || line.ends_with("s a sink:"));
    let all = ["settings", "promise", "test"];
    all.into_iter().filter(|section| delivers || *section != "promise").collect()
}

#[test]
fn a_transform_promises_nothing() {
    assert_eq!(connector_sections("As a transform:\n"), ["settings", "test"]);
    assert_eq!(connector_sections("`x`, as a sink:\n"), ["settings", "promise", "test"]);
}

#[test]
fn every_connector_says_what_it_is_takes_promises_and_how_it_is_tested() {
    let mut broken = Vec::new();
    let is_connector = |path: &str| matches!(path.split('/').collect::<Vec<_>>()[..], ["plugins", _, "Cargo.toml"]);
    for manifest in files::all(is_connector) {
        let readme = manifest.path.replace("Cargo.toml", "README.md");
        let Ok(text) = std::fs::read_to_string(files::root().join(&readme)) else {
            broken.push(format!("{readme} is missing"));
            continue;
        };
        let headings = markdown::headings(&text);
        let first = text.lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or_default();
        if headings.first().is_none_or(|(level, _)| *level != 1) || first.is_empty() || first.starts_with('#') {
            broken.push(format!("{readme} does not begin with a title and what it is"));
        }
        for word in connector_sections(&text) {
            if !headings.iter().any(|(level, title)| *level > 1 && title.to_lowercase().contains(word)) {
                broken.push(format!("{readme} has no section about '{word}'"));
            }
        }
    }
    report("READMEs of connectors", &broken);
}

#[test]
fn every_decision_is_dated() {
    let undated: Vec<_> = files::all(|path| path.starts_with("docs/decisions/") && path.ends_with(".md"))
        .into_iter()
        .filter(|file| !file.text.lines().take(10).chain([file.path.as_str()]).any(has_date))
        .map(|file| file.path)
        .collect();
    report("decisions without a date (YYYY-MM-DD) in their name or first lines", &undated);
}

fn has_date(line: &str) -> bool {
    line.as_bytes().windows(10).any(|part| {
        part.iter().enumerate().all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
    })
}

#[test]
fn the_changelog_tells_of_this_version_or_of_what_is_not_released() {
    let text = files::read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    let told = markdown::headings(&text)
        .iter()
        .any(|(level, title)| *level == 2 && (title.contains("Unreleased") || title.contains(version)));
    assert!(told, "CHANGELOG.md has neither a section 'Unreleased' nor one for {version}");
}

#[test]
fn every_make_target_in_the_documents_exists() {
    let makefile = files::read("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(": ## ")).map(|(name, _)| name).collect();
    let mut broken = Vec::new();
    for document in documents() {
        for line in markdown::code(&document.text) {
            let target = words_after(line, "make").into_iter().next();
            let missing = target.filter(|target| !targets.contains(target));
            broken.extend(missing.map(|target| format!("{}: make {target}", document.path)));
        }
    }
    report("targets that the Makefile does not have", &broken);
}

#[test]
fn every_command_in_the_documents_exists() {
    let engine = engine();
    let commands = subcommands(&engine, &[]);
    let mut broken = Vec::new();
    for document in documents() {
        for line in markdown::code(&document.text) {
            let words = words_after(line, "engine");
            let Some(command) = words.first() else { continue };
            if !commands.contains(*command) {
                broken.push(format!("{}: engine {command}", document.path));
            } else if let Some(second) = words.get(1) {
                let second_level = subcommands(&engine, &[command]);
                if !second_level.is_empty() && !second_level.contains(*second) {
                    broken.push(format!("{}: engine {command} {second}", document.path));
                }
            }
        }
    }
    report("commands that `engine --help` does not list", &broken);
}

/// The plain words that follow `program` at the beginning of a line of code: `engine plugins list`.
/// Options, paths and placeholders end them.
fn words_after<'a>(line: &'a str, program: &str) -> Vec<&'a str> {
    let line = line.trim_start().trim_start_matches("$ ");
    let mut words = line.split_whitespace();
    if words.next().is_none_or(|first| first.rsplit('/').next() != Some(program)) {
        return Vec::new();
    }
    let plain =
        |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-');
    words.take_while(plain).collect()
}

/// What stands under "Commands:" in the help.
fn subcommands(engine: &Path, of: &[&str]) -> BTreeSet<String> {
    let output = Command::new(engine).args(of).arg("--help").output().expect("the engine starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    help.lines()
        .skip_while(|line| line.trim_end() != "Commands:")
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}
