//! What the suite must know about a component to run it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_abi::{Error, Result, Shape};
use engine_host::Modules;
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
/// `${env:NAME}`; a text that is nothing but `${number:NAME}` is the variable as a
/// number.
#[derive(Clone, Default)]
pub struct Fixtures {
    /// The file that they stand in, for messages.
    origin: String,
    fixtures: BTreeMap<String, Vec<Fixture>>,
    /// Where components that fixtures name are looked for, after the module itself.
    pub(crate) others: Vec<Arc<Modules>>,
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
    /// Sinks that take either: `files` where they are given files.
    #[serde(default)]
    pub takes: Shape,
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
    pub fn of_folder(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::config(format!("{} is no folder", folder.display()))
                .hint("name the one that conformance.json stands in"));
        }
        let path = folder.join(FILE);
        if path.exists() { Self::of_file(&path) } else { Ok(Self::none()) }
    }

    /// Reads a `conformance.json`, whatever its name.
    pub fn of_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::from(error).context(path.display()))?;
        let fixtures = Self::parse(&text).map_err(|error| error.context(path.display()))?;
        Ok(Self { origin: path.display().to_string(), ..fixtures })
    }

    /// Reads the text of a `conformance.json`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::config(what).hint("docs/guide/connectors.md says what a fixture holds");
        let members: BTreeMap<String, Value> = serde_json::from_str(text)
            .map_err(|error| wrong(format!("it must be an object with keys such as `sink postgres`: {error}")))?;
        let mut fixtures = BTreeMap::new();
        for (component, value) in members {
            let values = if let Value::Array(values) = value { values } else { vec![value] };
            if values.is_empty() {
                return Err(wrong(format!("the list of fixtures of `{component}` is empty: nothing would be checked")));
            }
            let read = values.into_iter().map(Fixture::deserialize).collect::<Result<_, _>>();
            let read = read.map_err(|error| wrong(format!("the fixture of `{component}` cannot be read: {error}")))?;
            fixtures.insert(component, read);
        }
        Ok(Self { origin: FILE.to_owned(), fixtures, others: Vec::new() })
    }

    /// Says where the components are that fixtures name. What is said first counts first.
    #[must_use]
    pub fn with_modules(mut self, modules: Arc<Modules>) -> Self {
        self.others.push(modules);
        self
    }

    /// [`with_modules`](Self::with_modules), of all modules in a folder.
    #[must_use]
    pub fn with_modules_in(self, folder: impl AsRef<Path>) -> Self {
        self.with_modules(Arc::new(Modules::discover(&[folder.as_ref().to_owned()], None)))
    }

    /// Refuses fixtures of components that are not among `known`: a name that is
    /// misspelt would otherwise go unnoticed.
    pub fn require_known(&self, known: &BTreeSet<String>) -> Result<()> {
        let Some(unknown) = self.fixtures.keys().find(|component| !known.contains(*component)) else { return Ok(()) };
        let known: Vec<_> = known.iter().map(|component| format!("`{component}`")).collect();
        Err(Error::config(format!("{} is about `{unknown}`, which the module does not have", self.origin))
            .hint(format!("what it has: {}", known.join(", "))))
    }

    /// Whether they say anything of one of these components.
    pub fn are_about(&self, components: &BTreeSet<String>) -> bool {
        components.iter().any(|component| self.fixtures.contains_key(component))
    }

    pub(crate) fn of(&self, component: &str) -> Vec<Fixture> {
        self.fixtures.get(component).cloned().unwrap_or_else(|| vec![Fixture::default()])
    }
}

/// The components of modules as fixtures name them: `kind name`.
pub fn components(modules: &Modules) -> BTreeSet<String> {
    modules.names().into_iter().map(|(kind, name)| format!("{kind} {name}")).collect()
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
            Value::String(text) => match number(text)? {
                Some(number) => number.into(),
                None => Value::String(self.fill_text(text, window)?),
            },
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

/// A text that is nothing but `${number:NAME}`: the variable as a whole number.
fn number(text: &str) -> Result<Option<u64>, Stop> {
    let name = text.strip_prefix("${number:").and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = name else { return Ok(None) };
    let text = environment(&format!("env:{name}"))?;
    text.parse()
        .map(Some)
        .map_err(|_| Stop::Failed(format!("conformance.json: the variable {name} is no whole number")))
}

fn environment(placeholder: &str) -> Result<String, Stop> {
    let name = placeholder
        .strip_prefix("env:")
        .ok_or_else(|| Stop::Failed(format!("conformance.json: there is no placeholder `${{{placeholder}}}`")))?;
    std::env::var(name)
        .map_err(|_| Stop::NotRun(format!("the variable {name} is not set; the fixture takes a value from it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(result: Result<Fixtures>) -> String {
        result.err().expect("it is wrong").message
    }

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
        assert_eq!(why, "the variable ENGINE_TEST_NOWHERE is not set; the fixture takes a value from it");
    }

    #[test]
    fn a_misspelt_member_of_a_fixture_is_named_with_what_there_is() {
        for text in [r#"{"sink x": {"confg": {}}}"#, r#"{"sink x": [{"config": {}}, {"confg": {}}]}"#] {
            assert_eq!(
                message(Fixtures::parse(text)),
                "the fixture of `sink x` cannot be read: unknown field `confg`, expected one of `title`, `config`, \
                 `long`, `files`, `zeros`, `prepare`, `takes`, `readback`"
            );
        }
        let error = message(Fixtures::parse("[]"));
        assert!(error.starts_with("it must be an object with keys such as `sink postgres`: "), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_taken_for_one_without_fixtures() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Fixtures::of_folder(folder.path()).is_ok());
        let error = message(Fixtures::of_folder(&folder.path().join("nowhere")));
        assert!(error.ends_with("nowhere is no folder"), "{error}");
    }

    #[test]
    fn a_fixture_of_a_component_that_is_not_there_is_refused_with_what_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.json");
        std::fs::write(&path, r#"{"sink postgers": {}}"#).unwrap();
        let fixtures = Fixtures::of_file(&path).unwrap();
        let known = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let error = fixtures.require_known(&known(&["sink postgres", "source postgres"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} is about `sink postgers`, which the module does not have\n  \
                 help: what it has: `sink postgres`, `source postgres`",
                path.display()
            )
        );
        assert!(fixtures.require_known(&known(&["sink postgers"])).is_ok());
    }
}
