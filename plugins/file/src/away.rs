//! What becomes of files that every sink has.

use std::io::ErrorKind as Io;
use std::path::Path;

use engine_sdk::prelude::*;
use engine_sdk::{After, names_for_moving};

use crate::disk::{self, fault};
use crate::planned::Planned;

/// Deletes or moves a file, unless it is gone already or was written to since it was planned.
pub fn put_away(planned: &Planned, after: &After, cx: &Context) -> Result<()> {
    let path = cx.resolve(&planned.path);
    match std::fs::metadata(&path) {
        Ok(found) if planned.is_as_planned(&found) => {}
        Ok(_) => {
            let stays = format!(
                "{} stays, and the next run reads all of it again: it was written to after it was read",
                path.display()
            );
            cx.log(Level::Warn, stays);
            return Ok(());
        }
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        Err(error) => return Err(fault("looking at", &path, error)),
    }
    match after {
        After::Keep => Ok(()),
        After::Delete => {
            disk::remove(&path)?;
            disk::sync_folder(&disk::parent(&path))
        }
        After::Move(folder) => move_into(&path, &cx.resolve(&**folder), planned),
    }
}

fn move_into(path: &Path, folder: &Path, planned: &Planned) -> Result<()> {
    disk::create_folder(folder)?;
    for name in names_for_moving(&planned.path, planned.modified_ns / 1000) {
        match disk::rename_without_replacing(path, &folder.join(name)) {
            Ok(true) => {
                disk::sync_folder(folder)?;
                return disk::sync_folder(&disk::parent(path));
            }
            Ok(false) => {}
            Err(error) if error.kind() == Io::CrossesDevices => {
                return Err(Error::config(format!("{} is on another disk than {}", folder.display(), path.display()))
                    .hint(
                        "let `after: {move: …}` name a folder on the same disk: only there is a file moved at once",
                    ));
            }
            Err(error) => return Err(fault("moving", path, error)),
        }
    }
    Err(Error::config(format!("{} has too many files called as {}", folder.display(), planned.path))
        .hint("clear the folder, or move to one a day: `done/{{ run.started | date(\"%Y-%m-%d\") }}`"))
}
