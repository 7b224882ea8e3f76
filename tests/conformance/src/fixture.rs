//! What the suite must know about a component to run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::subject::Stop;

/// The content of a `conformance.json`, which stands in a connector's folder:
///
/// ```json
/// {
///   "source sqlite": {
///     "config": {"path": "${folder}/in.db", "table": "rows"},
///     "prepare": {"component": "sqlite", "config": {"path": "${folder}/in.db", "table": "rows", "create": true}}
///   },
///   "sink sqlite": {
///     "config": {"path": "${folder}/out.db", "table": "rows", "create": true},
///     "readback": {"component": "sqlite", "config": {"path": "${folder}/out.db", "table": "rows"}}
///   }
/// }
/// ```
///
/// Keys are `kind name`. A value is one fixture, or a list of them with titles:
/// then the component passes the suite with each. Texts may hold `${folder}` (a
/// new empty folder for every check), `${unique}` (a word that no other check
/// uses, for names on shared servers), `${window}` (the window's number) and
/// `${env:NAME}`.
#[derive(Debug, Clone, Default)]
pub struct Fixtures {
    fixtures: BTreeMap<String, Vec<Fixture>>,
    /// Where components that fixtures name are looked for, besides the module itself.
    pub(crate) folders: Vec<PathBuf>,
}

/// One way to run a component.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// Told apart by this where there are several.
    #[serde(default)]
    pub title: String,
    /// As under `with:`. Absent: the first example.
    #[serde(default)]
    pub config: Option<Value>,
    /// Sources: a configuration that gives more than can be read in seconds.
    #[serde(default)]
    pub long: Option<Value>,
    /// Files that are there before the component is opened: name below the
    /// folder, and text. To a decoder they are its sample.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Sources: a sink that writes what the source then reads.
    #[serde(default)]
    pub prepare: Option<Other>,
    /// Sinks: a source that reads what has arrived.
    #[serde(default)]
    pub readback: Option<Other>,
}

/// Another component, of the same module or a bundled one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Other {
    /// As written in `use:`.
    pub component: String,
    /// As under `with:`.
    pub config: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Fixture>),
    One(Box<Fixture>),
}

impl Fixtures {
    /// No fixtures: examples are used.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads `conformance.json` in a connector's folder, if there is one.
    pub fn of_folder(folder: &Path) -> Result<Self, String> {
        let path = folder.join("conformance.json");
        if !path.exists() {
            return Ok(Self::none());
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads the text of a `conformance.json`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fixtures: BTreeMap<String, OneOrMany> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let many = |one_or_many| match one_or_many {
            OneOrMany::Many(many) => many,
            OneOrMany::One(one) => vec![*one],
        };
        let fixtures = fixtures.into_iter().map(|(component, fixture)| (component, many(fixture))).collect();
        Ok(Self { fixtures, folders: Vec::new() })
    }

    /// Says where the components are that fixtures name.
    #[must_use]
    pub fn with_modules_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    pub(crate) fn of(&self, component: &str) -> Vec<Fixture> {
        self.fixtures.get(component).cloned().unwrap_or_else(|| vec![Fixture::default()])
    }

    /// Components that are named here but that the module does not have.
    pub(crate) fn unknown<'a>(&'a self, known: &'a [String]) -> impl Iterator<Item = &'a String> {
        self.fixtures.keys().filter(|name| !known.contains(name))
    }
}

/// The surroundings of one check: its folder, its names.
pub(crate) struct Place {
    folder: TempDir,
    unique: String,
}

impl Place {
    /// A new one, with the fixture's files in it.
    pub fn new(fixture: &Fixture) -> Result<Self, Stop> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().map_err(|error| Stop::NotRun(format!("no temporary folder: {error}")))?;
        for (name, text) in &fixture.files {
            let path = folder.path().join(name);
            let written =
                path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
            written.map_err(|error| Stop::NotRun(format!("{}: {error}", path.display())))?;
        }
        let unique = format!("c{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        Ok(Self { folder, unique })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A word that no other check uses.
    pub fn unique(&self) -> &str {
        &self.unique
    }

    /// A configuration with its placeholders filled in.
    pub fn fill(&self, config: &Value, window: u64) -> Result<Value, Stop> {
        Ok(match config {
            Value::String(text) => Value::String(self.fill_text(text, window)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill(item, window)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let filled = members.iter().map(|(name, value)| Ok((name.clone(), self.fill(value, window)?)));
                Value::Object(filled.collect::<Result<_, Stop>>()?)
            }
            other => other.clone(),
        })
    }

    fn fill_text(&self, text: &str, window: u64) -> Result<String, Stop> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| Stop::Failed(format!("conformance.json: `{text}` has a `${{` without its end")))?;
            filled.push_str(before);
            match name {
                "folder" => filled.push_str(&self.folder().display().to_string()),
                "unique" => filled.push_str(&self.unique),
                "window" => filled.push_str(&window.to_string()),
                _ => filled.push_str(&environment(name)?),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

fn environment(placeholder: &str) -> Result<String, Stop> {
    let name = placeholder
        .strip_prefix("env:")
        .ok_or_else(|| Stop::Failed(format!("conformance.json: there is no placeholder `${{{placeholder}}}`")))?;
    std::env::var(name)
        .map_err(|_| Stop::NotRun(format!("{name} is not set; run the tests through `tests/services run -- …`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_are_filled_in_at_any_depth() {
        let place = Place::new(&Fixture::default()).ok().unwrap();
        let folder = place.folder().display().to_string();
        let filled = place.fill(&json!({"a": ["${folder}/x-${window}.csv", 7]}), 3).ok().unwrap();
        assert_eq!(filled, json!({"a": [format!("{folder}/x-3.csv"), 7]}));
    }

    #[test]
    fn a_missing_server_is_reported_as_not_run() {
        let place = Place::new(&Fixture::default()).ok().unwrap();
        let Err(Stop::NotRun(why)) = place.fill(&json!("${env:ENGINE_TEST_NOWHERE}"), 1) else { panic!() };
        assert_eq!(why, "ENGINE_TEST_NOWHERE is not set; run the tests through `tests/services run -- …`");
    }

    #[test]
    fn a_misspelt_member_of_a_fixture_is_an_error() {
        assert!(Fixtures::parse(r#"{"sink x": {"confg": {}}}"#).is_err());
    }
}
