//! What the suite must know about a component to run it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::subject::Stop;

/// The file in a connector's folder that fixtures are read from.
pub const FILE: &str = "conformance.json";

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
    /// Files of so many zero bytes, as `files`. They are sparse: they take no room.
    #[serde(default)]
    pub zeros: BTreeMap<String, u64>,
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

impl Fixtures {
    /// No fixtures: examples are used.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads `conformance.json` in a connector's folder, if there is one.
    pub fn of_folder(folder: &Path) -> Result<Self, String> {
        if !folder.is_dir() {
            return Err(format!("{} is no folder: name the one that conformance.json stands in", folder.display()));
        }
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::none());
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads the text of a `conformance.json`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let members: BTreeMap<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("it must be an object with keys such as `sink postgres`: {error}"))?;
        let mut fixtures = BTreeMap::new();
        for (component, value) in members {
            let values = if let Value::Array(values) = value { values } else { vec![value] };
            let read = values.into_iter().map(Fixture::deserialize).collect::<Result<_, _>>();
            let read = read.map_err(|error| format!("the fixture of `{component}` cannot be read: {error}"))?;
            fixtures.insert(component, read);
        }
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
            file(folder.path(), name)?.write_all(text.as_bytes()).map_err(|error| unwritten(name, &error))?;
        }
        for (name, size) in &fixture.zeros {
            file(folder.path(), name)?.set_len(*size).map_err(|error| unwritten(name, &error))?;
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

/// A new file, with the folders that lead to it.
fn file(folder: &Path, name: &str) -> Result<File, Stop> {
    let path = folder.join(name);
    let folders = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folders.and_then(|()| File::create(&path)).map_err(|error| unwritten(name, &error))
}

fn unwritten(name: &str, error: &std::io::Error) -> Stop {
    Stop::NotRun(format!("the file {name} of the fixture cannot be written: {error}"))
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
    fn files_are_there_before_the_component_is_opened() {
        let fixture = json!({"files": {"in/a.txt": "one\n"}, "zeros": {"in/long": 1_u64 << 40}});
        let place = Place::new(&Fixture::deserialize(fixture).unwrap()).ok().unwrap();
        assert_eq!(std::fs::read(place.folder().join("in/a.txt")).unwrap(), b"one\n");
        assert_eq!(place.folder().join("in/long").metadata().unwrap().len(), 1 << 40);
    }

    #[test]
    fn a_missing_server_is_reported_as_not_run() {
        let place = Place::new(&Fixture::default()).ok().unwrap();
        let Err(Stop::NotRun(why)) = place.fill(&json!("${env:ENGINE_TEST_NOWHERE}"), 1) else { panic!() };
        assert_eq!(why, "ENGINE_TEST_NOWHERE is not set; run the tests through `tests/services run -- …`");
    }

    #[test]
    fn a_misspelt_member_of_a_fixture_is_named_with_what_there_is() {
        for text in [r#"{"sink x": {"confg": {}}}"#, r#"{"sink x": [{"config": {}}, {"confg": {}}]}"#] {
            assert_eq!(
                Fixtures::parse(text).unwrap_err(),
                "the fixture of `sink x` cannot be read: unknown field `confg`, expected one of `title`, `config`, \
                 `long`, `files`, `zeros`, `prepare`, `readback`"
            );
        }
        let error = Fixtures::parse("[]").unwrap_err();
        assert!(error.starts_with("it must be an object with keys such as `sink postgres`: "), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_taken_for_one_without_fixtures() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Fixtures::of_folder(folder.path()).is_ok());
        let error = Fixtures::of_folder(&folder.path().join("nowhere")).unwrap_err();
        assert!(error.ends_with("nowhere is no folder: name the one that conformance.json stands in"), "{error}");
    }
}
