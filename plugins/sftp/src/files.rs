//! What is done to files and folders of a server, in one step each.

use bytes::Bytes;
use engine_sdk::hexadecimal;
use engine_sdk::prelude::{Error, Result};
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::path;
use crate::sftp::Sftp;
use crate::transfer::Download;
use crate::wire::{Attributes, Entry, Reply, Request, Status, kind, open, status};

impl Sftp {
    /// What is at a path, links followed. `None`: nothing.
    pub async fn look(&mut self, path: &str) -> Result<Option<Attributes>, Fault> {
        self.look_by(kind::STAT, path).await
    }

    /// Whether something has this name, be it a link to nothing.
    pub async fn is_taken(&mut self, path: &str) -> Result<bool, Fault> {
        Ok(self.look_by(kind::LSTAT, path).await?.is_some())
    }

    async fn look_by(&mut self, kind: u8, path: &str) -> Result<Option<Attributes>, Fault> {
        let id = self.number();
        let reply = self.ask(Request::on(kind, id, path.as_bytes())).await?;
        match self.attributes(reply) {
            Err(Fault::Refused(status)) if status.is_missing() => Ok(None),
            other => other.map(Some).map_err(|fault| fault.about("looking at", path)),
        }
    }

    /// What is behind a handle.
    pub async fn look_behind(&mut self, handle: &Bytes) -> Result<Attributes, Fault> {
        let id = self.number();
        let reply = self.ask(Request::on(kind::FSTAT, id, handle)).await?;
        self.attributes(reply)
    }

    async fn open(&mut self, path: &str, how: u32, permissions: Option<u32>) -> Result<Bytes, Fault> {
        let id = self.number();
        let request = Request::on(kind::OPEN, id, path.as_bytes()).number(how);
        let request = match permissions {
            Some(permissions) => request.permissions(permissions),
            None => request.number(0),
        };
        self.handle(request).await
    }

    async fn handle(&mut self, request: Request) -> Result<Bytes, Fault> {
        match self.ask(request).await? {
            Reply::Handle(handle) => Ok(handle),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Opens a file to be read.
    pub async fn open_to_read(&mut self, path: &str) -> Result<Bytes, Fault> {
        self.open(path, open::READ, None).await.map_err(|fault| fault.about("opening", path))
    }

    /// Makes a file that must not be there yet.
    pub async fn create(&mut self, path: &str) -> Result<Bytes, Fault> {
        let how = open::WRITE | open::CREATE | open::EXCLUSIVE;
        self.open(path, how, Some(0o644)).await.map_err(|fault| fault.about("making", path))
    }

    pub async fn close(&mut self, handle: &Bytes) -> Result<(), Fault> {
        let id = self.number();
        self.tell(Request::on(kind::CLOSE, id, handle)).await
    }

    /// Closes a handle, and does not wait for it.
    pub async fn leave(&mut self, handle: &Bytes) -> Result<(), Fault> {
        let id = self.number();
        let request = Request::on(kind::CLOSE, id, handle).finish();
        self.forget([id]);
        self.send(request).await
    }

    /// Has what is behind a handle written to the disk, where the server can.
    pub async fn sync(&mut self, handle: &Bytes) -> Result<(), Fault> {
        if !self.can.sync {
            return Ok(());
        }
        let request = self.extended("fsync@openssh.com").text(handle);
        self.tell(request).await
    }

    /// Makes the names in a folder durable, where the server can: OpenSSH opens folders like files. No server must.
    pub async fn sync_folder(&mut self, folder: &str) -> Result<(), Fault> {
        if !self.can.sync {
            return Ok(());
        }
        match self.open(folder, open::READ, None).await {
            Ok(handle) => {
                if let Err(Fault::Broken(error)) = self.sync(&handle).await {
                    return Err(Fault::Broken(error));
                }
                self.leave(&handle).await
            }
            Err(Fault::Broken(error)) => Err(Fault::Broken(error)),
            Err(_) => Ok(()),
        }
    }

    /// Makes a folder and those above it, where they are missing.
    pub async fn create_folder(&mut self, folder: &str) -> Result<(), Fault> {
        let mut missing = Vec::new();
        for above in path::ancestors(folder) {
            match self.look(above).await? {
                Some(found) if found.is_folder() || found.is_unclear() => break,
                Some(_) => {
                    return Err(Error::config(format!("{above} is no folder, so no file can go into it"))
                        .hint("let `path` name another folder")
                        .into());
                }
                None => missing.push(above),
            }
        }
        for folder in missing.into_iter().rev() {
            let id = self.number();
            let made = self.tell(Request::on(kind::MKDIR, id, folder.as_bytes()).permissions(0o755)).await;
            match made {
                Ok(()) => self.sync_folder(path::parent(folder)).await?,
                // Somebody else may have made it since.
                Err(Fault::Refused(status)) => {
                    if !self.look(folder).await?.is_some_and(|found| found.is_folder()) {
                        return Err(Fault::Refused(status).about("making the folder", folder));
                    }
                }
                Err(fault) => return Err(fault.about("making the folder", folder)),
            }
        }
        Ok(())
    }

    /// Removes a file that may be gone already.
    pub async fn remove(&mut self, path: &str) -> Result<(), Fault> {
        let id = self.number();
        match self.tell(Request::on(kind::REMOVE, id, path.as_bytes())).await {
            Err(Fault::Refused(status)) if status.is_missing() => Ok(()),
            other => other.map_err(|fault| fault.about("removing", path)),
        }
    }

    /// Gives a file another name unless that is taken. `false`: it is taken.
    pub async fn rename(&mut self, doing: &str, from: &str, to: &str) -> Result<bool, Fault> {
        // Version 3 wants a rename to fail then, and some servers replace all the same.
        if self.is_taken(to).await? {
            return Ok(false);
        }
        let id = self.number();
        match self.tell(Request::on(kind::RENAME, id, from.as_bytes()).text(to.as_bytes())).await {
            Ok(()) => Ok(true),
            Err(Fault::Refused(status)) => match self.is_taken(to).await? {
                true => Ok(false),
                false => Err(Fault::Refused(status).about(doing, to)),
            },
            Err(fault) => Err(fault.about(doing, to)),
        }
    }

    /// Gives a file the name of another one, which goes: in one step where the server can, else by way of `aside`,
    /// where the other one is kept until the name is taken again.
    pub async fn replace(&mut self, from: &str, to: &str, aside: &str) -> Result<(), Fault> {
        if self.can.replace {
            let request = self.extended("posix-rename@openssh.com").text(from.as_bytes());
            return self.tell(request.text(to.as_bytes())).await.map_err(|fault| fault.about("publishing", to));
        }
        if self.is_taken(to).await? {
            self.remove(aside).await?;
            self.rename("making room for", to, aside).await?;
        }
        match self.rename("publishing", from, to).await? {
            true => self.remove(aside).await,
            false => Err(Error::unavailable(format!("somebody else writes to {to} at the same time"))
                .hint("let each pipeline write to a `path` of its own")
                .into()),
        }
    }

    /// Goes through a folder, some names at a time. `false`: there is no such folder.
    pub async fn list(&mut self, folder: &str, mut each: impl FnMut(Entry)) -> Result<bool, Fault> {
        let id = self.number();
        let handle = match self.handle(Request::on(kind::OPENDIR, id, folder.as_bytes())).await {
            Ok(handle) => handle,
            Err(Fault::Refused(status)) if status.is_missing() => return Ok(false),
            Err(fault) => return Err(fault.about("looking into", folder)),
        };
        let refused = loop {
            let id = self.number();
            match self.ask(Request::on(kind::READDIR, id, &handle)).await? {
                Reply::Names(entries) => {
                    entries.into_iter().filter(|entry| !matches!(&entry.name[..], b"." | b"..")).for_each(&mut each)
                }
                Reply::Status(Status { code: status::EOF, .. }) => break None,
                other => break Some(self.unexpected(&other).about("looking into", folder)),
            }
        };
        self.leave(&handle).await?;
        refused.map_or(Ok(true), Err)
    }

    /// The SHA-256 of a file, which is read for it. `None`: there is no such file.
    pub async fn sha256_of(&mut self, path: &str) -> Result<Option<String>, Fault> {
        let Some(size) = self.look(path).await?.and_then(|found| found.size) else { return Ok(None) };
        let handle = self.open_to_read(path).await?;
        let mut reading = Download::new(self, handle, size);
        let mut hash = Sha256::new();
        let refused = loop {
            match reading.next(self).await.map_err(|fault| fault.about("reading", path)) {
                Ok(Some(piece)) => hash.update(&piece),
                Ok(None) => break None,
                Err(Fault::Broken(error)) => return Err(Fault::Broken(error)),
                Err(fault) => break Some(fault),
            }
        };
        self.forget(reading.unanswered());
        self.leave(reading.handle()).await?;
        refused.map_or(Ok(Some(hexadecimal::write(&hash.finalize()))), Err)
    }
}
