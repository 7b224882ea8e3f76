//! What becomes of files that every sink has.

use engine_sdk::prelude::*;
use engine_sdk::{After, names_for_moving};

use crate::fault::Fault;
use crate::path;
use crate::sftp::Sftp;
use crate::source::Planned;

/// Deletes or moves a file, unless it is gone already or was written to since it was planned.
pub async fn put_away(sftp: &mut Sftp, planned: &Planned, after: &After, cx: &Context) -> Result<(), Fault> {
    let path = &planned.path;
    match sftp.look(path).await? {
        None => return Ok(()),
        Some(found) if planned.still_is(&found).is_ok() => {}
        Some(_) => {
            let what = "and the next run reads all of it again: it was written to after it was read";
            cx.log(Level::Warn, format!("{path} stays, {what}"));
            return Ok(());
        }
    }
    match after {
        After::Keep => Ok(()),
        After::Delete => {
            sftp.remove(path).await?;
            sftp.sync_folder(path::parent(path)).await
        }
        After::Move(folder) => move_into(sftp, planned, folder).await,
    }
}

async fn move_into(sftp: &mut Sftp, planned: &Planned, folder: &str) -> Result<(), Fault> {
    let path = &planned.path;
    let folder = match folder.trim_end_matches('/') {
        "" => "/",
        folder => folder,
    };
    sftp.create_folder(folder).await?;
    for name in names_for_moving(path, i64::from(planned.modified.unwrap_or_default()) * 1_000_000) {
        if sftp.rename("moving", path, &path::join(folder, &name)).await? {
            sftp.sync_folder(folder).await?;
            return sftp.sync_folder(path::parent(path)).await;
        }
    }
    Err(Error::config(format!("{folder} has too many files called {}", path::name(path)))
        .hint("clear the folder, or move to one a day: `done/{{ run.started | date(\"%Y-%m-%d\") }}`")
        .into())
}
