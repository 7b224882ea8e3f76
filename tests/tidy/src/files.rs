//! The files of the repository, without what is built or written by running things.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate is two folders below the root").to_path_buf()
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Its path below the root, with `/`.
    pub path: String,
    /// What it holds; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Every file that `.gitignore` does not exclude and whose path satisfies `wanted`, in order of path.
pub fn all(wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let root = root();
    let ignored: Vec<String> = read("/.gitignore").lines().map(str::to_owned).collect();
    let mut paths = Vec::new();
    walk(&root, "", &ignored, &mut paths);
    paths.sort();
    paths.retain(|path| wanted(path));
    let text = |path: &String| String::from_utf8_lossy(&fs::read(root.join(path)).unwrap()).into_owned();
    paths.into_iter().map(|path| File { text: text(&path), path }).collect()
}

/// The text of one file; `path` begins at the root.
pub fn read(path: &str) -> String {
    let path = root().join(path.trim_start_matches('/'));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn walk(folder: &Path, below: &str, ignored: &[String], paths: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path = format!("{below}{name}");
        let kind = entry.file_type().unwrap();
        if name == ".git" || ignored.iter().any(|rule| excludes(rule, &path, &name)) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), ignored, paths);
        } else if kind.is_file() {
            paths.push(path);
        }
    }
}

/// The two forms that this repository's `.gitignore` uses: `/path/` from the root, `name` anywhere.
fn excludes(rule: &str, path: &str, name: &str) -> bool {
    let bare = rule.trim_end_matches('/');
    match bare.strip_prefix('/') {
        Some(from_root) => from_root == path,
        None => !bare.is_empty() && bare == name,
    }
}
