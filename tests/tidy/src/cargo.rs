//! What cargo knows of the workspace and of everything it depends on.

use std::process::Command;

use serde_json::Value;

use crate::files;

/// `cargo metadata` for this machine's platform: other platforms' crates are not downloaded here.
pub fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = output(Command::new("rustc").arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let arguments = ["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", host];
    let metadata = output(Command::new(cargo).args(arguments).current_dir(files::root()));
    serde_json::from_str(&metadata).expect("cargo writes JSON")
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo and rustc write UTF-8")
}

/// One crate of the graph.
#[derive(Debug)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its folder below the root, for a crate of this workspace.
    pub folder: Option<String>,
    /// Empty when it has none.
    pub description: String,
    /// The SPDX expression; empty when it has none.
    pub license: String,
    /// Names of this workspace's crates that it depends on, other than for its tests.
    pub edges: Vec<String>,
    /// The same, for its tests alone.
    pub test_edges: Vec<String>,
}

/// Every crate that this platform needs, ours and others'.
pub fn crates() -> Vec<Crate> {
    let metadata = metadata();
    let root = format!("{}/", metadata["workspace_root"].as_str().expect("a path"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let reached: Vec<Value> = list(&metadata["resolve"]["nodes"]).iter().map(|node| node["id"].clone()).collect();
    list(&metadata["packages"])
        .iter()
        .filter(|package| reached.contains(&package["id"]))
        .map(|package| {
            let edges = |tests: bool| {
                list(&package["dependencies"])
                    .iter()
                    .filter(|edge| edge["path"].is_string() && (edge["kind"] == "dev") == tests)
                    .map(|edge| text(&edge["name"]))
                    .collect()
            };
            let manifest = text(&package["manifest_path"]);
            let folder = package["source"].is_null().then(|| manifest.strip_prefix(&root)).flatten();
            Crate {
                name: text(&package["name"]),
                version: text(&package["version"]),
                folder: folder.map(|folder| folder.trim_end_matches("/Cargo.toml").to_owned()),
                description: text(&package["description"]),
                license: text(&package["license"]),
                edges: edges(false),
                test_edges: edges(true),
            }
        })
        .collect()
}

/// The crates of this workspace.
pub fn own_crates() -> Vec<Crate> {
    crates().into_iter().filter(|package| package.folder.is_some()).collect()
}

/// Whether an SPDX expression can be satisfied with `allowed` licences alone. `A/B` is the old way to
/// write `A OR B`.
pub fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().collect::<Vec<_>>().into_iter().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn any(words: &mut Words, allowed: &[String]) -> bool {
    let mut permitted = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        permitted |= all(words, allowed);
    }
    permitted
}

fn all(words: &mut Words, allowed: &[String]) -> bool {
    let mut permitted = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        permitted &= one(words, allowed);
    }
    permitted
}

fn one(words: &mut Words, allowed: &[String]) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let permitted = any(words, allowed);
        return words.next() == Some(")") && permitted;
    }
    let mut license = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        license = format!("{word} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&license)
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn a_licence_expression_is_read_as_spdx_means_it() {
        let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned(), "ISC".to_owned()];
        for permitted in
            ["MIT", "GPL-3.0/MIT", "Apache-2.0 WITH LLVM-exception OR X", "(X OR MIT) AND ISC", "MIT OR X AND Y"]
        {
            assert!(permits(permitted, &allowed), "{permitted}");
        }
        for refused in ["", "GPL-3.0", "MIT AND X", "Apache-2.0", "(MIT OR X", "(X OR Y) AND MIT"] {
            assert!(!permits(refused, &allowed), "{refused}");
        }
    }
}
