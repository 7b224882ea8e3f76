//! What the house rules look at: the files of the repository, its Markdown, and what cargo knows of
//! its crates. The rules themselves are the tests beside this library.

pub mod cargo;
pub mod files;
pub mod markdown;

/// The binary of the same build as this test: `PROFILE/engine` beside `PROFILE/deps/THIS_TEST`.
pub fn engine() -> std::path::PathBuf {
    let this = std::env::current_exe().expect("a test has a path");
    let profile = this.ancestors().nth(2).expect("tests stand in PROFILE/deps");
    let engine = profile.join("engine");
    assert!(engine.exists(), "there is no {}: run `make build` first", engine.display());
    engine
}

/// Fails with every broken rule at once, one a line.
pub fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}
