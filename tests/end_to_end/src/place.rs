//! A folder of its own for each test: pipeline files, data, the state.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine_state::{DeadLetter, DeadLetterFilter, DeadLetterStatus, State};

use crate::build::program;
use crate::engine::{Ended, Engine};

/// A temporary folder in which an engine works. Removed when dropped.
pub struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_program(program())
    }

    /// One in which another build of the engine works.
    pub fn with_program(program: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("engine-test-").tempdir().expect("a folder can be made");
        Self { folder, program, environment: Vec::new() }
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.path(".engine")
    }

    /// Writes a file, and answers with its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        std::fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Sets a variable for every engine that starts from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.into()));
    }

    /// The engine with these arguments, in this folder, without anything of the
    /// environment that it could take for its own.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ENGINE_") {
                command.env_remove(name);
            }
        }
        if let Some(beside) = crate::program().parent().filter(|_| self.program != crate::program()) {
            command.env("ENGINE_PLUGIN_PATH", beside);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the engine.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Engine {
        Engine::start(self.command(arguments))
    }

    /// Runs the engine to its end.
    #[track_caller]
    pub fn engine<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ended {
        self.start(arguments).wait()
    }

    /// Runs a command that prints JSON, one value a line, and must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let ended = self.engine(&[&["--json"], arguments].concat()).with_code(0);
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&ended.stdout) {
            return match value {
                serde_json::Value::Array(values) => values,
                value => vec![value],
            };
        }
        let value = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        ended.stdout.lines().map(value).collect()
    }

    /// The dead letters of a status, as the state folder has them now.
    pub fn dead_letters(&self, status: DeadLetterStatus) -> Vec<DeadLetter> {
        // None yet; or an engine was killed before it had made it.
        let Ok(state) = State::read(&self.state()) else { return Vec::new() };
        let mut all: Vec<DeadLetter> = Vec::new();
        loop {
            let page = state
                .dead_letters(&DeadLetterFilter {
                    status: Some(status),
                    after: all.last().map(|letter| letter.id),
                    limit: engine_state::MAX_PAGE,
                    ..DeadLetterFilter::default()
                })
                .expect("dead letters can be listed");
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// How many dead letters are final.
    pub fn final_letters(&self) -> usize {
        self.dead_letters(DeadLetterStatus::Final).len()
    }
}
