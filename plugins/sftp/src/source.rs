//! The source: every file that matches is one split, as it was when the run was planned.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_sdk::prelude::*;
use engine_sdk::{After, Newest, counted, file_piece, files_schema, leave_out_undelivered};

use crate::away::put_away;
use crate::fault::Fault;
use crate::find::{Pattern, is_pattern};
use crate::path;
use crate::remote::Remote;
use crate::settings::configuration;
use crate::transfer::Download;
use crate::wire::{Attributes, status};

configuration! {
    /// Which files to read, and where.
    pub struct Config {
        /// A file, or a pattern such as `outbox/*.csv` or `logs/**/*.log`. Relative to the folder
        /// of the login, or from the root with a `/` in front. `*`, `?` and `[…]` match within one
        /// folder, `**` any number of folders; names that begin with a dot are matched only by a
        /// pattern that does too. Files are read in the order of their names. A pattern that
        /// matches nothing is an empty run, a file that is not there an error.
        path: String,
        /// Only files that were written later than the newest one of the run before. Files that
        /// come with an older time, such as copies that keep theirs, are not seen: move files away
        /// with `after` instead.
        #[serde(default)]
        only_new: bool,
        /// What becomes of a file once every sink has all that was read: `keep`, `delete`, or
        /// `{move: done}` for a folder of the same server. A name that is taken there gets a
        /// number. A file that was written to meanwhile stays, and all of it is read again: let
        /// who writes files rename them to where `path` finds them when they are complete.
        #[serde(default)]
        after: After,
    }
}

/// A file as it was when a run was planned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    pub path: String,
    size: u64,
    /// Seconds since 1970, as far as the server tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<u32>,
}

impl Planned {
    /// Refuses a file that is not as it was.
    pub fn still_is(&self, found: &Attributes) -> Result<()> {
        let path = &self.path;
        let what = match found.size {
            Some(size) if size < self.size => {
                format!("{path} is shorter than planned: {size} bytes instead of {}", self.size)
            }
            Some(size) if size > self.size => {
                format!("{path} is longer than planned: {size} bytes instead of {}", self.size)
            }
            _ if found.modified != self.modified => format!("{path} was written to since it was planned"),
            _ => return Ok(()),
        };
        Err(Error::config(what).hint(
            "put the file back as it was, so that this window gives the same rows again; new content belongs into a \
             new file, under another name until it is complete",
        ))
    }
}

/// Reads files of an SFTP server.
pub struct SftpSource {
    path: String,
    only_new: bool,
    after: After,
    pattern: Option<Pattern>,
    remote: Arc<Mutex<Remote>>,
    cx: Context,
}

fn lock(remote: &Mutex<Remote>) -> MutexGuard<'_, Remote> {
    remote.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SftpSource {
    /// The files there are, in the order of their names.
    fn matched(&self) -> Result<Vec<Planned>> {
        let planned = |path: String, found: &Attributes| {
            let size = found.size.ok_or_else(|| {
                Error::config(format!("the server does not tell how long {path} is")).hint("such a file cannot be read")
            })?;
            Ok(Planned { path, size, modified: found.modified })
        };
        let mut remote = lock(&self.remote);
        if let Some(pattern) = &self.pattern {
            let found = remote.run(async |sftp| pattern.find(sftp).await)?;
            if let After::Move(folder) = &self.after {
                let is_found = |path: &str| pattern.matches(&path::join(folder, path::name(path)));
                if found.iter().any(|(path, _)| is_found(path)) {
                    return Err(self.after.is_read_again(&self.path));
                }
            }
            return found.into_iter().map(|(path, found)| planned(path, &found)).collect();
        }
        let path = &self.path;
        match remote.run(async |sftp| sftp.look(path).await)? {
            None => Err(Error::config(format!("no such file: {}", remote.place(path))).hint(
                "`path` is relative to the folder of the login; a pattern such as `outbox/*.csv` may match nothing",
            )),
            Some(found) if found.is_folder() => Err(Error::config(format!("{path} is a folder"))
                .hint(format!("read the files in it with the pattern `{}/*`", path.trim_end_matches('/')))),
            Some(found) => Ok(vec![planned(path.clone(), &found)?]),
        }
    }
}

impl Component for SftpSource {
    type Config = Config;
    const SUMMARY: &'static str = "Reads files of SFTP servers";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "every CSV file of a folder, with a password",
                json!({
                    "host": "files.example.com", "username": "engine", "password": "secret",
                    "host_key": "SHA256:Ft7vx9wIPtjIqPEJLaeZLRWjTcATEzTYWzJ3sGHh4jQ", "path": "outbox/*.csv",
                }),
            ),
            example(
                "each file once",
                json!({
                    "host": "files.example.com", "username": "engine", "password": "secret",
                    "path": "outbox/*.csv", "after": {"move": "outbox/done"},
                }),
            ),
            example(
                "one file, with an agent's key and the servers that OpenSSH knows",
                json!({"host": "files.example.com", "username": "engine", "agent": true, "path": "/data/calls.csv"}),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::config("`path` is empty").hint("name a file, or a pattern such as `outbox/*.csv`"));
        }
        let pattern = is_pattern(&config.path).then(|| Pattern::new(&config.path)).transpose()?;
        config.after.checked()?;
        let remote = Arc::new(Mutex::new(Remote::new(config.server(&cx)?, cx.clone())?));
        Ok(Self { path: config.path, only_new: config.only_new, after: config.after, pattern, remote, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let files = self.matched()?;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let mut remote = lock(&self.remote);
        let key = remote.host_key()?;
        let place = remote.place(&self.path);
        Ok(CheckReport {
            summary: format!("{place}: {} of {bytes} bytes; host key {key}", counted(files.len(), "file")),
        })
    }
}

impl Source for SftpSource {
    const GIVES: Shape = Shape::Files;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let mut files = self.matched()?;
        let mut upper = None;
        if self.only_new {
            let mut newest: Newest = request.cursor_as()?.unwrap_or_default();
            let mut new = Vec::new();
            for file in files {
                let modified = file.modified.map(i64::from).ok_or_else(|| {
                    Error::config(format!("the server does not tell when {} was written", file.path))
                        .hint("use `after: {move: …}` in the place of `only_new`")
                })?;
                if newest.is_before(&file.path, modified) {
                    new.push((file, modified));
                }
            }
            new.iter().for_each(|(file, modified)| newest.note(&file.path, *modified));
            upper = Some(json!(newest));
            files = new.into_iter().map(|(file, _)| file).collect();
        } else {
            leave_out_undelivered(&mut files, request, |file| &file.path);
        }
        let split = |(at, planned)| Split::new(format!("{at:08}"), planned);
        let splits = files.into_iter().enumerate().map(split).collect::<Result<_>>()?;
        Ok(Plan { upper, splits, tell: self.after.tells() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let planned: Planned = split.spec_as()?;
        let mut remote = lock(&self.remote);
        let download = remote.run(async |sftp| {
            let handle = match sftp.open_to_read(&planned.path).await {
                Err(Fault::Told(error)) => return Err(gone(sftp.look(&planned.path).await?, error, &planned.path)),
                other => other?,
            };
            let mut download = Download::new(sftp, handle, planned.size);
            // On their way while the file is looked at.
            download.ask(sftp).await?;
            let found = sftp.look_behind(download.handle()).await;
            let found = found.map_err(|fault| fault.about("looking at", &planned.path));
            match found.and_then(|found| planned.still_is(&found).map_err(Fault::Told)) {
                Ok(()) => Ok(download),
                Err(Fault::Broken(error)) => Err(Fault::Broken(error)),
                Err(fault) => {
                    sftp.forget(download.unanswered());
                    sftp.leave(download.handle()).await?;
                    Err(fault)
                }
            }
        })?;
        drop(remote);
        let remote = Arc::clone(&self.remote);
        Ok(Batches::new(
            files_schema(),
            Reading { planned, download, begun: false, done: false, remote, cx: self.cx.clone() },
        ))
    }

    fn delivered(&mut self, window: &Delivered) -> Result<()> {
        let files = window.splits.iter().map(|split| split.spec_as()).collect::<Result<Vec<Planned>>>()?;
        let Self { after, cx, remote, .. } = self;
        lock(remote).run(async |sftp| {
            for planned in &files {
                put_away(sftp, planned, after, cx).await?;
            }
            Ok(())
        })
    }
}

/// What an error of opening a planned file means, by what is there now.
fn gone(found: Option<Attributes>, error: Error, path: &str) -> Fault {
    Fault::Told(match found {
        Some(_) => error,
        None => Error::config(format!("no such file: {path} was there when the run was planned"))
            .hint("put the file back, so that this window gives the same rows again"),
    })
}

/// One file on its way.
struct Reading {
    planned: Planned,
    download: Download,
    begun: bool,
    done: bool,
    remote: Arc<Mutex<Remote>>,
    cx: Context,
}

impl Reading {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        if self.done {
            return Ok(None);
        }
        self.cx.check_cancelled()?;
        let Self { planned, download, remote, .. } = self;
        let read = lock(remote).run(async |sftp| match download.next(sftp).await {
            Ok(Some(piece)) => Ok(Some(piece)),
            // Asked again at the end: what was written over meanwhile must not pass for the planned file.
            Ok(None) => {
                let found = sftp.look_behind(download.handle()).await;
                let found = found.map_err(|fault| fault.about("looking at", &planned.path))?;
                planned.still_is(&found)?;
                Ok(None)
            }
            Err(Fault::Refused(refused)) if refused.code == status::EOF => {
                Err(Error::unavailable(format!("{} changes while it is read", planned.path))
                    .hint("write files under another name, and rename them when they are complete")
                    .into())
            }
            Err(fault) => Err(fault.about("reading", &planned.path)),
        });
        let piece = match read {
            Ok(Some(piece)) => piece,
            Ok(None) => {
                self.done = true;
                // An empty file is one empty piece: it is a file all the same.
                if self.begun {
                    return Ok(None);
                }
                bytes::Bytes::new()
            }
            Err(error) => {
                self.done = true;
                return Err(error);
            }
        };
        self.begun = true;
        self.cx.progress(0, piece.len() as u64);
        Ok(Some(file_piece(&self.planned.path, &piece)))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Self { download, remote, .. } = self;
        let mut remote = lock(remote);
        // A connection that is gone has closed its files by itself.
        if remote.live().is_none_or(|sftp| sftp.is_over() || download.is_over(sftp)) {
            return;
        }
        let _ = remote.run(async |sftp| {
            sftp.forget(download.unanswered());
            sftp.leave(download.handle()).await
        });
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
