//! The sink: bytes go to a temporary file beside the final one, which takes its
//! name when it is whole.
//!
//! The order is write, sync, seal (the engine stores hash and places), rename,
//! sync of the folder. Whatever happens between two of these steps, the hash
//! tells afterwards which of them were done.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use engine_sdk::prelude::*;
use engine_sdk::{file_name, file_pieces, hexadecimal, some_published};
use sha2::{Digest, Sha256};

use crate::disk::{self, fault};

/// Bytes of a name that every file system takes, also beside what a temporary file is called by: 255 together.
const LONGEST_NAME: usize = 200;

/// Where to write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file to write, relative to the pipeline file. A template:
    /// `reports/{{ run.started | date("%Y-%m-%d") }}.csv`. A path that ends in
    /// `/` is a folder: files keep the names that they come with. Folders that
    /// are missing are made.
    path: Template,
    /// Replace a file that is already there. Without it, a file of the same
    /// content counts as delivered, and any other is an error.
    #[serde(default)]
    overwrite: bool,
}

/// One file of a delivery, as it is remembered between `write` and `commit`.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    temporary: PathBuf,
    path: PathBuf,
    bytes: u64,
    sha256: String,
}

impl Part {
    /// Whether the final name holds this part already.
    fn is_published(&self) -> Result<bool> {
        // A length that differs saves reading a large file.
        match std::fs::metadata(&self.path) {
            Ok(found) if found.len() == self.bytes => Ok(disk::sha256_of(&self.path)?.as_ref() == Some(&self.sha256)),
            _ => Ok(false),
        }
    }

    fn taken(&self) -> Error {
        Error::config(format!(
            "{} is there already and has other content than {}",
            self.path.display(),
            self.temporary.display()
        ))
        .hint("move it away, set `overwrite: true`, or put something into `path` that differs each time, such as {{ window.id }}")
    }

    /// Gives the part its final name. Works again after a crash at any point.
    fn publish(&self, overwrite: bool) -> Result<()> {
        let publishing = |error| fault("publishing", &self.path, error);
        // Where whatever is there goes, it need not be read.
        let replaces = overwrite && self.temporary.exists();
        if !replaces && self.is_published()? {
            disk::remove(&self.temporary)?;
        } else if overwrite {
            std::fs::rename(&self.temporary, &self.path).map_err(publishing)?;
        } else if !disk::rename_without_replacing(&self.temporary, &self.path).map_err(publishing)? {
            // Somebody else may have written the very same bytes since we looked.
            match self.is_published()? {
                true => disk::remove(&self.temporary)?,
                false => return Err(self.taken()),
            }
        }
        disk::sync_folder(&disk::parent(&self.path))
    }
}

/// A part that is being written.
struct Open {
    name: String,
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
}

impl Open {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(data).map_err(|error| fault("writing", &self.temporary, error))?;
        self.hash.update(data);
        self.bytes += data.len() as u64;
        Ok(())
    }

    fn seal(self) -> Result<Part> {
        self.file.sync_all().map_err(|error| fault("syncing", &self.temporary, error))?;
        let sha256 = hexadecimal::write(&self.hash.finalize());
        Ok(Part { temporary: self.temporary, path: self.path, bytes: self.bytes, sha256 })
    }
}

/// Writes files.
pub struct FileSink {
    config: Config,
    cx: Context,
}

impl FileSink {
    fn is_folder(&self) -> bool {
        self.config.path.ends_with('/')
    }

    /// The folder that the files go into.
    fn folder(&self) -> PathBuf {
        let path = self.cx.resolve(&*self.config.path);
        if self.is_folder() { path } else { disk::parent(&path) }
    }

    /// Where a file of this name goes, and never outside of the folder.
    fn place(&self, name: &str) -> Result<PathBuf> {
        let path = &*self.config.path;
        if !self.is_folder() {
            return Ok(self.cx.resolve(path));
        }
        match Path::new(name).file_name().and_then(|base| base.to_str()) {
            Some(base) if base.len() <= LONGEST_NAME && !base.contains(char::is_control) => {
                Ok(self.folder().join(base))
            }
            Some(base) => Ok(self.folder().join(file_name(None, base)?)),
            None if name.is_empty() => Err(Error::config(format!("`{path}` is a folder, but the file has no name"))
                .hint("a format makes one file without a name: give its full path, such as `out/calls.csv`")),
            None => Err(Error::config(format!("`{name}` does not end in a name for a file"))),
        }
    }

    /// Where part `number` of a delivery is written before it has its name.
    /// The key's hash keeps deliveries apart and lets one find its leftovers.
    fn temporary(&self, key: &str, number: usize, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = &name[..name.floor_char_boundary(LONGEST_NAME)];
        disk::parent(path).join(format!(".{name}.{}-{number}.part", mark(key)))
    }

    fn start(&self, delivery: &Delivery, parts: &[Part], name: &str) -> Result<Open> {
        let path = self.place(name)?;
        if let Some(other) = parts.iter().find(|part| part.path == path) {
            let path = other.path.display();
            return Err(Error::config(format!("more than one file of this delivery would become {path}"))
                .hint("let `path` end in `/` to keep the files' names, or name the files differently"));
        }
        disk::create_folder(&disk::parent(&path))?;
        let temporary = self.temporary(&delivery.key, parts.len(), &path);
        disk::remove(&temporary)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&temporary)
            .map_err(|error| fault("making", &temporary, error))?;
        Ok(Open { name: name.into(), file, temporary, path, hash: Sha256::new(), bytes: 0 })
    }

    /// Removes what an earlier attempt at this delivery left in the folder.
    fn clear(&self, key: &str) -> Result<()> {
        let (folder, mark) = (self.folder(), format!(".{}-", mark(key)));
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fault("looking into", &folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| fault("looking into", &folder, error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".part") && name.contains(&mark) {
                disk::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// A short name for a delivery's key.
fn mark(key: &str) -> String {
    hexadecimal::write(&Sha256::digest(key.as_bytes())[..8])
}

fn parts_of(sealed: &Sealed) -> Result<Vec<Part>> {
    let part = |part: &_| {
        Part::deserialize(part).map_err(|error| Error::internal(format!("a stored part cannot be read: {error}")))
    };
    sealed.parts.iter().map(part).collect()
}

/// One hash for the delivery: the file's own, or, of several, that of the list
/// that `sha256sum` would print for them.
fn sha256_of_all(parts: &[Part]) -> Option<String> {
    match parts {
        [] => None,
        [one] => Some(one.sha256.clone()),
        several => {
            let mut hash = Sha256::new();
            for part in several {
                let name = part.path.file_name().unwrap_or_default().to_string_lossy();
                hash.update(format!("{}  {name}\n", part.sha256));
            }
            Some(hexadecimal::write(&hash.finalize()))
        }
    }
}

fn receipt(sealed: &Sealed, parts: &[Part]) -> Receipt {
    let location = match parts {
        [one] => Some(one.path.display().to_string()),
        [first, ..] => Some(disk::parent(&first.path).display().to_string()),
        [] => None,
    };
    Receipt { rows: 0, bytes: sealed.bytes, sha256: sealed.sha256.clone(), location, ..Receipt::default() }
}

impl Component for FileSink {
    type Config = Config;
    const SUMMARY: &'static str = "Writes files of this machine, whole or not at all";

    fn examples() -> Vec<Example> {
        vec![
            example("one file, made anew by every run", json!({"path": "out/calls.csv", "overwrite": true})),
            example("a file a day", json!({"path": "out/{{ run.started | date(\"%Y-%m-%d\") }}.csv"})),
            example("files keep their names", json!({"path": "archive/"})),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::config("`path` is empty").hint("name a file, such as `out/calls.csv`"));
        }
        Ok(Self { config, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let folder = self.folder();
        let nearest = folder.ancestors().find(|above| above.exists()).map_or_else(|| ".".into(), Path::to_owned);
        rustix::fs::access(&nearest, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(|error| fault("writing into", &nearest, error.into()))?;
        let path = self.cx.resolve(&*self.config.path);
        let note = match (path.exists() && !self.is_folder(), self.config.overwrite) {
            (true, true) => ", which will be replaced",
            (true, false) => ", which is there already and is not replaced without `overwrite: true`",
            (false, _) if folder.exists() => "",
            (false, _) => ", whose folder will be made",
        };
        Ok(CheckReport { summary: format!("writes {}{note}", path.display()) })
    }
}

impl Sink for FileSink {
    const TAKES: Takes = Takes::Files;
    const PROMISE: Promise = Promise::Idempotent;
    const UNIT: Unit = Unit::Run;

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        if let Some(sealed) = &delivery.sealed {
            let parts = parts_of(sealed)?;
            let mut published = 0;
            let mut whole = true;
            for part in &parts {
                if part.is_published()? {
                    published += 1;
                } else {
                    whole &= disk::sha256_of(&part.temporary)?.as_ref() == Some(&part.sha256);
                }
            }
            if published == parts.len() {
                // A crash may have come before the last steps of publishing.
                for part in &parts {
                    disk::remove(&part.temporary)?;
                    disk::sync_folder(&disk::parent(&part.path))?;
                }
                return Ok(Begun::Committed { receipt: receipt(sealed, &parts) });
            }
            if whole {
                return Ok(Begun::Sealed);
            }
        }
        self.discard(delivery)?;
        Ok(Begun::New)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let mut parts = Vec::new();
        let mut open: Option<Open> = None;
        for batch in input {
            self.cx.check_cancelled()?;
            for (name, data) in file_pieces(&batch?)? {
                let same = open.as_ref().is_some_and(|open| open.name == name);
                if !same {
                    if let Some(done) = open.take() {
                        parts.push(done.seal()?);
                    }
                    open = Some(self.start(delivery, &parts, name)?);
                }
                if let Some(open) = &mut open {
                    open.write(data)?;
                }
            }
        }
        match open {
            Some(last) => parts.push(last.seal()?),
            // No piece at all still is a file where the path names one.
            None if !self.is_folder() => parts.push(self.start(delivery, &parts, "")?.seal()?),
            None => {}
        }
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let sha256 = sha256_of_all(&parts);
        Ok(Sealed { rows: 0, bytes, sha256, parts: parts.iter().map(|part| json!(part)).collect() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let sealed = delivery.sealed.as_ref().ok_or_else(|| Error::internal("commit came before write"))?;
        let parts = parts_of(sealed)?;
        if !self.config.overwrite {
            // Before the first is published: none is better than some.
            for part in &parts {
                if part.path.exists() && !part.is_published()? {
                    return Err(part.taken());
                }
            }
        }
        parts.iter().try_for_each(|part| part.publish(self.config.overwrite))?;
        self.cx.progress(0, sealed.bytes);
        Ok(receipt(sealed, &parts))
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        let parts = delivery.sealed.as_ref().map(parts_of).transpose()?.unwrap_or_default();
        // What has its name is there for all to see: the others have to follow.
        if parts.len() > 1 {
            let published = parts.iter().map(Part::is_published).collect::<Result<Vec<_>>>()?;
            let count = published.iter().filter(|it| **it).count();
            if count > 0 {
                return Err(some_published(count, parts.len()));
            }
        }
        self.discard(delivery)
    }
}

impl FileSink {
    /// Throws away what is not published.
    fn discard(&self, delivery: &Delivery) -> Result<()> {
        if let Some(sealed) = &delivery.sealed {
            parts_of(sealed)?.iter().try_for_each(|part| disk::remove(&part.temporary))?;
        }
        self.clear(&delivery.key)
    }
}
