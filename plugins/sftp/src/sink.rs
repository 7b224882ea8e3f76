//! The sink: bytes go to a temporary file beside the final one, which takes its name when it is whole.
//!
//! The order is write, sync, seal (the engine stores hash and places), rename, sync of the folder. Whatever happens
//! between two of these steps, the hash tells afterwards which of them were done.

use engine_sdk::prelude::*;
use engine_sdk::{file_name, file_pieces, hexadecimal, some_published};
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::part::{Open, Part};
use crate::path;
use crate::remote::Remote;
use crate::settings::configuration;
use crate::transfer::Upload;

configuration! {
    /// Where to write.
    pub struct Config {
        /// The file to write, relative to the folder of the login, or from the root with a `/` in
        /// front. A template: `inbox/{{ run.started | date("%Y-%m-%d") }}.csv`. A path that ends in
        /// `/` is a folder: files keep the names that they come with. Folders that are missing are
        /// made.
        path: Template,
        /// Replace a file that is already there. Without it, a file of the same content counts as
        /// delivered, and any other is an error.
        #[serde(default)]
        overwrite: bool,
    }
}

/// Writes files to an SFTP server.
pub struct SftpSink {
    path: Template,
    overwrite: bool,
    remote: Remote,
    cx: Context,
}

impl SftpSink {
    fn is_folder(&self) -> bool {
        self.path.ends_with('/')
    }

    /// The folder that the files go into.
    fn folder(&self) -> &str {
        match (self.is_folder(), self.path.trim_end_matches('/')) {
            (true, "") => "/",
            (true, folder) => folder,
            (false, path) => path::parent(path),
        }
    }

    /// Where a file of this name goes, and never outside of the folder.
    fn place(&self, name: &str) -> Result<String> {
        let path = &*self.path;
        if !self.is_folder() {
            return Ok(path.to_owned());
        }
        if name.is_empty() {
            return Err(Error::config(format!("`{path}` is a folder, but the file has no name"))
                .hint("a format makes one file without a name: give its full path, such as `inbox/calls.csv`"));
        }
        // `..` and the like end in no name.
        let name = file_name(None, name).map_err(|error| {
            Error::config(error.message).hint("give the file a name where it comes from, or a full `path` here")
        })?;
        Ok(path::join(self.folder(), &name))
    }

    /// Where part `number` of a delivery is written before it has its name. The key's hash keeps deliveries apart and
    /// lets one find its leftovers.
    fn temporary(key: &str, number: usize, path: &str) -> String {
        /// Bytes of the final name that fit beside the rest into 255.
        const NAME: usize = 200;
        let name = path::name(path);
        let name = &name[..name.floor_char_boundary(NAME)];
        path::join(path::parent(path), &format!(".{name}.{}-{number}.part", mark(key)))
    }

    fn start(&mut self, delivery: &Delivery, parts: &[Part], name: &str) -> Result<Open> {
        let path = self.place(name)?;
        if let Some(other) = parts.iter().find(|part| part.path == path) {
            let path = &other.path;
            return Err(Error::config(format!("more than one file of this delivery would become {path}"))
                .hint("let `path` end in `/` to keep the files' names, or name the files differently"));
        }
        let temporary = Self::temporary(&delivery.key, parts.len(), &path);
        let upload = self.remote.run(async |sftp| {
            sftp.create_folder(path::parent(&path)).await?;
            sftp.remove(&temporary).await?;
            let handle = sftp.create(&temporary).await?;
            Ok(Upload::new(sftp, handle))
        })?;
        Ok(Open::new(name, upload, temporary, path))
    }

    /// Takes all pieces; `open` is the part that is being written.
    fn take(
        &mut self,
        delivery: &Delivery,
        input: Batches,
        parts: &mut Vec<Part>,
        open: &mut Option<Open>,
    ) -> Result<()> {
        for batch in input {
            self.cx.check_cancelled()?;
            for (name, data) in file_pieces(&batch?)? {
                let same = open.as_ref().is_some_and(|open| open.name() == name);
                if !same {
                    if let Some(done) = open.take() {
                        parts.push(done.seal(&mut self.remote)?);
                    }
                    *open = Some(self.start(delivery, parts, name)?);
                }
                if let Some(open) = open {
                    open.write(&mut self.remote, data)?;
                }
            }
        }
        match open.take() {
            Some(last) => parts.push(last.seal(&mut self.remote)?),
            // No piece at all still is a file where the path names one.
            None if !self.is_folder() => {
                let empty = self.start(delivery, parts, "")?;
                parts.push(empty.seal(&mut self.remote)?);
            }
            None => {}
        }
        Ok(())
    }

    /// Removes what an earlier attempt at this delivery left in the folder. One file has the same name each time; of
    /// several only the folder tells, and who may not look into it leaves them there.
    fn clear(&mut self, key: &str) -> Result<()> {
        if !self.is_folder() {
            let left = Self::temporary(key, 0, &self.path);
            return self.remote.run(async |sftp| sftp.remove(&left).await);
        }
        let (folder, mark) = (self.folder().to_owned(), format!(".{}-", mark(key)));
        self.remote.run(async |sftp| {
            let mut left = Vec::new();
            let listed = sftp.list(&folder, |entry| {
                let Ok(name) = std::str::from_utf8(&entry.name) else { return };
                if name.starts_with('.') && name.ends_with(".part") && name.contains(&mark) && !name.contains('/') {
                    left.push(path::join(&folder, name));
                }
            });
            match listed.await {
                Err(Fault::Told(error)) if error.kind == ErrorKind::Denied => {}
                listed => drop(listed?),
            }
            for path in left {
                sftp.remove(&path).await?;
            }
            Ok(())
        })
    }

    fn receipt(&self, sealed: &Sealed, parts: &[Part]) -> Receipt {
        let location = match parts {
            [one] => Some(self.remote.place(&one.path)),
            [first, ..] => Some(self.remote.place(path::parent(&first.path))),
            [] => None,
        };
        Receipt { rows: 0, bytes: sealed.bytes, sha256: sealed.sha256.clone(), location, ..Receipt::default() }
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

/// One hash for the delivery: the file's own, or, of several, that of the list that `sha256sum` would print for them.
fn sha256_of_all(parts: &[Part]) -> Option<String> {
    match parts {
        [] => None,
        [one] => Some(one.sha256.clone()),
        several => {
            let mut hash = Sha256::new();
            for part in several {
                hash.update(format!("{}  {}\n", part.sha256, path::name(&part.path)));
            }
            Some(hexadecimal::write(&hash.finalize()))
        }
    }
}

impl Component for SftpSink {
    type Config = Config;
    const SUMMARY: &'static str = "Writes files to SFTP servers, whole or not at all";

    fn examples() -> Vec<Example> {
        let with = |more: Value| {
            let mut config = json!({
                "host": "files.example.com", "username": "engine", "password": "secret",
                "host_key": "SHA256:Ft7vx9wIPtjIqPEJLaeZLRWjTcATEzTYWzJ3sGHh4jQ",
            });
            if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
                config.extend(more);
            }
            config
        };
        vec![
            example("a file a day", with(json!({"path": "inbox/{{ run.started | date(\"%Y-%m-%d\") }}.csv"}))),
            example("one file, made anew by every run", with(json!({"path": "calls.csv", "overwrite": true}))),
            example("files keep their names", with(json!({"path": "/archive/"}))),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::config("`path` is empty").hint("name a file, such as `inbox/calls.csv`"));
        }
        let remote = Remote::new(config.server(&cx)?, cx.clone())?;
        Ok(Self { path: config.path, overwrite: config.overwrite, remote, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (folder, file) = (self.folder().to_owned(), self.path.to_string());
        let is_folder = self.is_folder();
        let (there, has_folder) = self.remote.run(async |sftp| {
            let mut has_folder = true;
            for above in path::ancestors(&folder) {
                match sftp.look(above).await? {
                    Some(found) if found.is_folder() || found.is_unclear() => break,
                    Some(_) => {
                        return Err(Error::config(format!("{above} is no folder, so no file can go into it"))
                            .hint("let `path` name another folder")
                            .into());
                    }
                    None => has_folder = false,
                }
            }
            Ok((!is_folder && sftp.is_taken(&file).await?, has_folder))
        })?;
        let note = match (there, self.overwrite) {
            (true, true) => ", which will be replaced",
            (true, false) => ", which is there already and is not replaced without `overwrite: true`",
            (false, _) if has_folder => "",
            (false, _) => ", whose folder will be made",
        };
        let key = self.remote.host_key()?;
        Ok(CheckReport { summary: format!("writes {}{note}; host key {key}", self.remote.place(&file)) })
    }
}

impl Sink for SftpSink {
    const TAKES: Takes = Takes::Files;
    const PROMISE: Promise = Promise::Idempotent;
    const UNIT: Unit = Unit::Run;

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        if let Some(sealed) = &delivery.sealed {
            let parts = parts_of(sealed)?;
            let (published, whole) = self.remote.run(async |sftp| {
                let (mut published, mut whole) = (0, true);
                for part in &parts {
                    if part.is_published(sftp).await? {
                        published += 1;
                    } else {
                        whole = whole && part.is_whole(sftp).await?;
                    }
                }
                if published == parts.len() {
                    // A crash may have come before the last steps of publishing.
                    for part in &parts {
                        part.clear(sftp).await?;
                        sftp.sync_folder(path::parent(&part.path)).await?;
                    }
                }
                Ok((published, whole))
            })?;
            if published == parts.len() {
                return Ok(Begun::Committed { receipt: self.receipt(sealed, &parts) });
            }
            if whole {
                return Ok(Begun::Sealed);
            }
        }
        self.discard(delivery)?;
        Ok(Begun::New)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let (mut parts, mut open) = (Vec::new(), None);
        let taken = self.take(delivery, input, &mut parts, &mut open);
        if let Some(open) = open {
            open.give_up(&mut self.remote);
        }
        taken?;
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let sha256 = sha256_of_all(&parts);
        Ok(Sealed { rows: 0, bytes, sha256, parts: parts.iter().map(|part| json!(part)).collect() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let sealed = delivery.sealed.as_ref().ok_or_else(|| Error::internal("commit came before write"))?;
        let parts = parts_of(sealed)?;
        let overwrite = self.overwrite;
        self.remote.run(async |sftp| {
            // Before the first of several is published: none is better than some.
            if !overwrite && parts.len() > 1 {
                for part in &parts {
                    if sftp.is_taken(&part.path).await? && !part.is_published(sftp).await? {
                        return Err(part.taken().into());
                    }
                }
            }
            for part in &parts {
                part.publish(sftp, overwrite).await?;
            }
            Ok(())
        })?;
        self.cx.progress(0, sealed.bytes);
        Ok(self.receipt(sealed, &parts))
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        // Also while the work is being cancelled.
        self.remote.taking_back(true);
        let done = self.none_published(delivery).and_then(|()| self.discard(delivery));
        self.remote.taking_back(false);
        done
    }
}

impl SftpSink {
    /// What has its name is there for all to see: the others have to follow.
    fn none_published(&mut self, delivery: &Delivery) -> Result<()> {
        let parts = delivery.sealed.as_ref().map(parts_of).transpose()?.unwrap_or_default();
        if parts.len() < 2 {
            return Ok(());
        }
        let published = self.remote.run(async |sftp| {
            let mut published = 0;
            for part in &parts {
                published += usize::from(part.is_published(sftp).await?);
            }
            Ok(published)
        })?;
        if published > 0 { Err(some_published(published, parts.len())) } else { Ok(()) }
    }

    /// Throws away what is not published.
    fn discard(&mut self, delivery: &Delivery) -> Result<()> {
        if let Some(sealed) = &delivery.sealed {
            let parts = parts_of(sealed)?;
            self.remote.run(async |sftp| {
                for part in &parts {
                    part.clear(sftp).await?;
                }
                Ok(())
            })?;
        }
        self.clear(&delivery.key)
    }
}
