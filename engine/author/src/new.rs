//! A new folder for a module.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use engine_abi::{ComponentKind, Error, Result, is_component_name};

use crate::embedded::{EXAMPLES, KITS, LOCK, SDK, TEMPLATES, WORKSPACE};
use crate::write;

/// What can be begun. A state is no beginner's work, and native alone.
pub const KINDS: [ComponentKind; 4] =
    [ComponentKind::Source, ComponentKind::Transform, ComponentKind::Format, ComponentKind::Sink];

/// What a module can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Native or WASM, with the SDK.
    Rust,
    /// WASM.
    C,
    /// WASM.
    Python,
    /// WASM.
    JavaScript,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rust, Self::C, Self::Python, Self::JavaScript];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|language| language.as_str() == text);
        found.ok_or_else(|| "write rust, c, python or javascript".into())
    }
}

/// What is to be made.
#[derive(Debug)]
pub struct New<'a> {
    /// The folder, which is made.
    pub folder: &'a Path,
    /// What the component is.
    pub kind: ComponentKind,
    /// What it is written in.
    pub language: Language,
}

/// Makes the folder; answers with the component's name.
pub fn create(new: &New<'_>) -> Result<String> {
    if !KINDS.contains(&new.kind) {
        return Err(Error::config(format!("there is no template of a {}", new.kind))
            .hint("docs/guide/connectors.md says what one must do"));
    }
    // `.` is a folder with a name, too.
    let whole = new.folder.canonicalize().unwrap_or_else(|_| new.folder.to_owned());
    let stem = whole.file_name().unwrap_or_default().to_string_lossy();
    let name = stem.to_ascii_lowercase().replace('-', "_");
    if !is_component_name(&name) {
        return Err(Error::config(format!("`{stem}` makes no name for a component"))
            .hint("small letters, digits, `-` and `_`, beginning with a letter, such as my-transform"));
    }
    let taken = new.folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if taken || new.folder.is_file() {
        return Err(Error::config(format!("{} is there already", new.folder.display()))
            .hint("name a folder that is not there yet, or an empty one"));
    }
    let language = new.language.as_str();
    let front = [format!("templates/{language}/common/"), format!("templates/{language}/{}/", new.kind)];
    for (path, text) in TEMPLATES.iter().chain(EXAMPLES) {
        if let Some(relative) = front.iter().find_map(|front| path.strip_prefix(front.as_str())) {
            write(&new.folder.join(file_name(relative)), &fill(text, &name))?;
        }
    }
    for (path, text) in KITS {
        if let Some(relative) = path.strip_prefix(&format!("kits/{language}/")) {
            write(&new.folder.join(relative), text)?;
        }
    }
    if matches!(new.language, Language::Python | Language::JavaScript) {
        // Their tools read the specification itself.
        write(&new.folder.join("wit/deps/engine-plugin/plugin.wit"), plugin_wit()?)?;
    }
    if new.language == Language::Rust {
        sdk(&new.folder.join("sdk"))?;
        write(&new.folder.join("Cargo.lock"), LOCK)?;
    }
    Ok(name)
}

fn plugin_wit() -> Result<&'static str> {
    let found = SDK.iter().find(|(path, _)| *path == "schemas/plugin.wit");
    found.map(|(_, text)| *text).ok_or_else(|| Error::internal("the engine was built without schemas/plugin.wit"))
}

/// A crate's manifest is embedded under another name: cargo leaves folders that
/// hold one out of a package.
fn file_name(relative: &str) -> PathBuf {
    match relative {
        "Cargo.toml.template" => "Cargo.toml".into(),
        "gitignore" => ".gitignore".into(),
        other => other.into(),
    }
}

fn fill(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{package}}", &name.replace('_', "-"))
}

/// The SDK's sources, as a workspace of their own.
fn sdk(folder: &Path) -> Result<()> {
    write(&folder.join("Cargo.toml"), WORKSPACE)?;
    for (path, text) in SDK {
        write(&folder.join(path), text)?;
    }
    write(
        &folder.join("README.md"),
        "The SDK, as the engine that made this folder carries it. Take a newer one by making a new folder\nwith a newer engine and moving this one over.\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_and_kind_makes_a_folder_of_its_own_name() {
        let place = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for kind in KINDS {
                let folder = place.path().join(format!("my-{}-{kind}", language.as_str()));
                let name = create(&New { folder: &folder, kind, language }).unwrap();
                assert_eq!(name, format!("my_{}_{kind}", language.as_str()));
                for needed in ["README.md", "pipeline.yaml", "conformance.json", ".gitignore"] {
                    let text = std::fs::read_to_string(folder.join(needed)).expect(needed);
                    assert!(!text.contains("{{name}}") && !text.contains("{{package}}"), "{needed}");
                }
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_empty_or_has_no_name_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let make = |folder: &Path| create(&New { folder, kind: ComponentKind::Sink, language: Language::C });
        std::fs::write(place.path().join("kept"), "").unwrap();
        assert!(make(place.path()).is_err());
        assert!(make(&place.path().join("kept")).is_err());
        let error = make(&place.path().join("1st")).unwrap_err();
        assert!(error.message.contains("makes no name"), "{error}");
    }
}
