//! The guide's examples are crates under `tests/modules/rust`, which are built,
//! tested and put through the conformance suite. A line `<!-- PATH -->` in front
//! of a code block says which file the block shows whole.

use engine_tidy_tests::files::{self, root};
use engine_tidy_tests::report;

use crate::updating;

const GUIDE: &str = "docs/guide/connectors.md";

/// Files that the guide must show: those that an author begins with.
fn shown(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("tests/modules/rust/") else { return false };
    !rest.starts_with("faulty/") && (rest.ends_with("/src/lib.rs") || rest.ends_with("/conformance.json"))
}

/// The guide with the block behind each marker replaced by its file, and the files it shows.
fn fresh(guide: &str, read: impl Fn(&str) -> String) -> (String, Vec<String>) {
    let (mut fresh, mut found) = (String::new(), Vec::new());
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        fresh.push_str(line);
        fresh.push('\n');
        let path = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some(path) = path.filter(|path| path.starts_with("tests/")) else { continue };
        let fence = lines.find(|line| !line.is_empty()).unwrap_or_default();
        assert!(fence.starts_with("```"), "{GUIDE}: no code block follows `{line}`");
        lines.by_ref().find(|line| *line == "```").unwrap_or_else(|| panic!("{GUIDE}: the block of {path} has no end"));
        fresh.push_str(&format!("\n{fence}\n{}\n```\n", read(path).trim_end()));
        found.push(path.to_owned());
    }
    (fresh, found)
}

#[test]
fn the_guide_shows_the_examples_as_they_are_tested() {
    let guide = files::read(GUIDE);
    let (fresh, found) = fresh(&guide, files::read);
    let missing: Vec<_> =
        files::all(shown).into_iter().map(|file| file.path).filter(|path| !found.contains(path)).collect();
    report("examples that docs/guide/connectors.md does not show; put `<!-- PATH -->` and a block there", &missing);
    if updating() {
        std::fs::write(root().join(GUIDE), fresh).unwrap();
    } else {
        assert!(fresh == guide, "{GUIDE} does not show its examples as they are: run `make schemas`");
    }
}

/// `name = "1"` and `name = { version = "1", … }`.
fn version(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" = ")?;
    let quoted = match value.split_once("version = ") {
        Some((_, quoted)) if value.starts_with('{') => quoted,
        _ => value.starts_with('"').then_some(value)?,
    };
    Some((name, quoted.split('"').nth(1)?))
}

#[test]
fn the_guide_asks_for_the_versions_that_the_workspace_has() {
    let (manifest, guide) = (files::read("Cargo.toml"), files::read(GUIDE));
    let ours: Vec<_> =
        manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").filter_map(version).collect();
    let own = |name: &&str| ["name", "description", "version", "edition"].contains(name);
    let mut wrong = Vec::new();
    for block in guide.split("```toml\n").skip(1) {
        let lines = block.lines().take_while(|line| !line.starts_with("```"));
        for (name, version) in lines.filter_map(version).filter(|(name, _)| !own(name)) {
            if !ours.contains(&(name, version)) {
                wrong.push(format!("{name} = \"{version}\""));
            }
        }
    }
    report("versions in docs/guide/connectors.md that the workspace does not use", &wrong);
}

#[test]
fn a_block_behind_a_marker_becomes_its_file() {
    let guide = "<!-- /settings -->\ntext\n<!-- tests/b.rs -->\n\n```rust\nold\n```\nmore\n";
    let (fresh, found) = fresh(guide, |path| format!("// {path}\n"));
    assert_eq!(fresh, "<!-- /settings -->\ntext\n<!-- tests/b.rs -->\n\n```rust\n// tests/b.rs\n```\nmore\n");
    assert_eq!(found, ["tests/b.rs"]);
    assert_eq!(version("serde = { version = \"1\", features = [] }"), Some(("serde", "1")));
    assert_eq!(version("tempfile = \"3.27\""), Some(("tempfile", "3.27")));
    assert_eq!(version("crate-type = [\"cdylib\"]"), None);
}
