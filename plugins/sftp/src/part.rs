//! One file of a delivery: how it is written, and how it gets its name.

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::path;
use crate::remote::Remote;
use crate::sftp::Sftp;
use crate::transfer::Upload;

/// One file of a delivery, as it is remembered between `write` and `commit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    pub temporary: String,
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

impl Part {
    /// Whether the final name holds this part already.
    pub async fn is_published(&self, sftp: &mut Sftp) -> Result<bool, Fault> {
        // A length that differs saves reading a large file.
        match sftp.look(&self.path).await? {
            Some(found) if found.size == Some(self.bytes) => {
                Ok(sftp.sha256_of(&self.path).await?.as_ref() == Some(&self.sha256))
            }
            _ => Ok(false),
        }
    }

    /// Whether its temporary file is whole.
    pub async fn is_whole(&self, sftp: &mut Sftp) -> Result<bool, Fault> {
        match sftp.look(&self.temporary).await? {
            Some(found) if found.size == Some(self.bytes) => {
                Ok(sftp.sha256_of(&self.temporary).await?.as_ref() == Some(&self.sha256))
            }
            _ => Ok(false),
        }
    }

    pub fn taken(&self) -> Error {
        Error::config(format!("{} is there already and has other content than {}", self.path, self.temporary))
        .hint("move it away, set `overwrite: true`, or put something into `path` that differs each time, such as {{ window.id }}")
    }

    /// What the file that it replaces is called meanwhile, where the server cannot replace in one step.
    fn aside(&self) -> String {
        format!("{}.old", self.temporary)
    }

    /// Removes what is left beside the file. One that was to be replaced and has lost its name gets it back.
    pub async fn clear(&self, sftp: &mut Sftp) -> Result<(), Fault> {
        sftp.remove(&self.temporary).await?;
        let aside = self.aside();
        if !sftp.can.replace && sftp.is_taken(&aside).await? && !sftp.rename("restoring", &aside, &self.path).await? {
            sftp.remove(&aside).await?;
        }
        Ok(())
    }

    /// Gives the part its final name. Works again after a crash at any point.
    pub async fn publish(&self, sftp: &mut Sftp, overwrite: bool) -> Result<(), Fault> {
        // Where whatever is there goes, it need not be read.
        let replaces = overwrite && sftp.is_taken(&self.temporary).await?;
        if !replaces && self.is_published(sftp).await? {
            self.clear(sftp).await?;
        } else if overwrite {
            sftp.replace(&self.temporary, &self.path, &self.aside()).await?;
        } else if !sftp.rename("publishing", &self.temporary, &self.path).await? {
            // Somebody else may have written the very same bytes since we looked.
            match self.is_published(sftp).await? {
                true => sftp.remove(&self.temporary).await?,
                false => return Err(self.taken().into()),
            }
        }
        sftp.sync_folder(path::parent(&self.path)).await
    }
}

/// A part that is being written.
pub struct Open {
    name: String,
    upload: Upload,
    temporary: String,
    path: String,
    hash: Sha256,
    bytes: u64,
}

impl Open {
    /// A file that was just made.
    pub fn new(name: &str, upload: Upload, temporary: String, path: String) -> Self {
        Self { name: name.into(), upload, temporary, path, hash: Sha256::new(), bytes: 0 }
    }

    /// The name that it came with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a piece.
    pub fn write(&mut self, remote: &mut Remote, data: &[u8]) -> Result<()> {
        let Self { upload, temporary, .. } = self;
        remote.run(async |sftp| upload.write(sftp, data).await.map_err(|fault| fault.about("writing", temporary)))?;
        self.hash.update(data);
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// Has all of it on the server's disk, as far as the server can say so.
    pub fn seal(mut self, remote: &mut Remote) -> Result<Part> {
        if let Err(error) = self.finish(remote) {
            self.give_up(remote);
            return Err(error);
        }
        let sha256 = hexadecimal::write(&self.hash.finalize());
        Ok(Part { temporary: self.temporary, path: self.path, bytes: self.bytes, sha256 })
    }

    fn finish(&mut self, remote: &mut Remote) -> Result<()> {
        let (upload, temporary, bytes) = (&mut self.upload, &self.temporary, self.bytes);
        remote.run(async |sftp| {
            upload.finish(sftp).await.map_err(|fault| fault.about("writing", temporary))?;
            sftp.sync(upload.handle()).await.map_err(|fault| fault.about("syncing", temporary))?;
            let found =
                sftp.look_behind(upload.handle()).await.map_err(|fault| fault.about("looking at", temporary))?;
            if let Some(size) = found.size.filter(|size| *size != bytes) {
                return Err(Error::unavailable(format!(
                    "{temporary} has {size} bytes on the server, and {bytes} were written"
                ))
                .hint("the server's disk may be full, or somebody else writes to this file")
                .into());
            }
            // Some servers tell only now that the disk is full.
            sftp.close(upload.handle()).await.map_err(|fault| fault.about("closing", temporary))
        })
    }

    /// Leaves the file as it is.
    pub fn give_up(mut self, remote: &mut Remote) {
        let upload = &mut self.upload;
        if remote.live().is_some_and(|sftp| !sftp.is_over()) {
            let _ = remote.run(async |sftp| {
                sftp.forget(upload.unanswered());
                sftp.leave(upload.handle()).await
            });
        }
    }
}
