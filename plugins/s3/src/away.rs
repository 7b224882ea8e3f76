//! What becomes of objects that every sink has.

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use engine_sdk::{After, names_for_moving};
use reqwest::Method;

use crate::ask::{Ask, Headers, Store};
use crate::checksum::sha256_of;
use crate::fault;
use crate::key;
use crate::reading::Planned;
use crate::store::{Found, MOVED_MARK};

/// The largest object that one request copies.
pub const LARGEST_COPY: u64 = 5 << 30;

/// What of a path `after` stands in front of the keys of moved objects, with its `/`. None: nothing is moved.
pub fn prefix(after: &After) -> Option<String> {
    match after {
        After::Move(folder) => Some(format!("{}/", folder.trim_end_matches('/'))),
        After::Keep | After::Delete => None,
    }
}

/// Deletes or moves an object, unless it is gone already or was changed since it was planned: then says so.
pub async fn put_away(store: &Store, planned: &Planned, after: &After) -> Result<Option<String>> {
    let stays = || Ok(Some(format!("{} stays: it was changed after it was read", store.shown(&planned.key))));
    match store.head(&planned.key).await? {
        None => return Ok(None),
        Some(found) if found.etag != planned.etag => return stays(),
        Some(found) => {
            if let Some(prefix) = prefix(after)
                && !move_to(store, planned, &found, &prefix).await?
            {
                return stays();
            }
        }
    }
    if *after == After::Keep || store.delete(planned).await? { Ok(None) } else { stays() }
}

/// Makes a copy under the first name that is free. `false`: the object is no longer what it was.
async fn move_to(store: &Store, planned: &Planned, found: &Found, prefix: &str) -> Result<bool> {
    let origin = [planned.key.as_bytes(), b"\n", planned.etag.as_bytes()].concat();
    let mark = hexadecimal::write(&sha256_of(&origin)[..16]);
    for name in names_for_moving(&planned.key, planned.modified_ns.unwrap_or_default() / 1000) {
        let to = format!("{prefix}{name}");
        match store.head(&to).await? {
            // A crash came between copying and deleting.
            Some(there) if there.moved.as_ref() == Some(&mark) => return Ok(true),
            Some(_) => continue,
            None => {}
        }
        if store.copy(planned, &to, &found.kept, &mark).await? {
            return Ok(true);
        }
        // Either condition did not hold: that of the copy's name, or that of the object.
        if store.head(&planned.key).await?.is_none_or(|now| now.etag != planned.etag) {
            return Ok(false);
        }
    }
    let folder = store.shown(prefix);
    Err(Error::config(format!("{folder} has too many objects called as {}", planned.key))
        .hint("clear the folder, or move to one a day: `done/{{ run.started | date(\"%Y-%m-%d\") }}`"))
}

impl Store {
    /// Deletes an object. `false`: it is no longer what it was.
    async fn delete(&self, planned: &Planned) -> Result<bool> {
        const DOING: &str = "deleting";
        let Planned { key, etag, .. } = planned;
        let ask = Ask::new(Method::DELETE, key, DOING).header("if-match", format_args!("\"{etag}\""));
        match self.ask(ask).await? {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_absent() => Ok(true),
            Err(fault) if fault.is_precondition() => Ok(false),
            Err(fault) => Err(self.fault(fault, DOING, key)),
        }
    }

    /// Copies an object to a key that has none. `false`: it has one, or the object is no longer what it was.
    async fn copy(&self, planned: &Planned, to: &str, kept: &Headers, mark: &str) -> Result<bool> {
        const DOING: &str = "copying to";
        let source = format!("/{}/{}", self.bucket(), key::encoded(&planned.key, true));
        let mut ask = Ask::new(Method::PUT, to, DOING)
            .header("x-amz-copy-source", source)
            .header("x-amz-copy-source-if-match", format_args!("\"{}\"", planned.etag))
            .header("x-amz-metadata-directive", "REPLACE")
            .header("if-none-match", "*")
            .header(MOVED_MARK, mark);
        ask.headers.extend(kept.iter().cloned());
        let fault = match self.ask(ask).await? {
            Ok((response, url)) => {
                let headers = response.headers().clone();
                match fault::within(&self.text(response, &url).await?, &headers) {
                    Ok(document) => return document.map(|_| true),
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        if fault.is_precondition() { Ok(false) } else { Err(self.fault(fault, DOING, to)) }
    }
}
