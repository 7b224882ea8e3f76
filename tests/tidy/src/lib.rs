//! What the house rules look at: the files of the repository, its Markdown, and what cargo knows of
//! its crates. The rules themselves are the tests beside this library.

pub mod cargo;
pub mod files;
pub mod markdown;

/// Fails with every broken rule at once, one a line.
pub fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}
