//! Variables and files from outside: the real environment first, then the `.env`
//! beside the pipeline file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_spec::{Diagnostics, Environment};

/// The environment of the pipelines of one folder.
#[derive(Default)]
pub struct Outside {
    dotenv: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Outside {
    /// Reads the folder's `.env`, if there is one.
    pub fn of(folder: &Path) -> engine_abi::Result<(Self, Diagnostics)> {
        let path = folder.join(".env");
        let (dotenv, diagnostics) = match std::fs::read_to_string(&path) {
            Ok(text) => engine_spec::parse_dotenv(&text, &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
            Err(error) => return Err(engine_abi::Error::from(error).context(path.display())),
        };
        Ok((Self { dotenv, folder: folder.to_owned() }, diagnostics))
    }
}

impl Environment for Outside {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| self.dotenv.get(name).cloned())
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        let text = std::fs::read_to_string(self.folder.join(path))?;
        // Editors end files with a line end that nobody means.
        Ok(text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned())
    }
}
