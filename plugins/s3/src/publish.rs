//! Completed uploads become objects, once, and without replacing what is there.

use std::sync::Arc;
use std::time::Duration;

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::background::Background;
use crate::checksum::{Checksum, Sums};
use crate::reading::{Ahead, Planned};
use crate::store::{Completed, Found, Store};
use crate::upload::Made;

/// How often it is looked whether another request completes an upload, and how long between two looks.
pub const LOOKS: u32 = 10;
pub const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Publishes.
pub struct Publisher {
    pub store: Store,
    pub background: Arc<Background>,
    pub cx: Context,
    pub checksum: Checksum,
    pub overwrite: bool,
    pub part_size: u64,
    pub concurrency: usize,
}

impl Publisher {
    fn head(&self, made: &Made) -> Result<Option<Found>> {
        let (store, key) = (self.store.clone(), made.key.clone());
        self.background.run(&self.cx, async move { store.head(&key).await })
    }

    /// Whether the key has this content already.
    pub fn is_published(&self, made: &Made) -> Result<bool> {
        match self.head(made)? {
            Some(found) => self.is_same(made, &found),
            None => Ok(false),
        }
    }

    fn is_same(&self, made: &Made, found: &Found) -> Result<bool> {
        if found.size != made.bytes {
            return Ok(false);
        }
        if made.bytes == 0 || found.mark.as_ref() == Some(&made.mark) {
            return Ok(true);
        }
        let stated = match self.checksum {
            Checksum::Sha256 => found.sums.sha256.as_ref(),
            // Four bytes are no proof.
            Checksum::Crc32c | Checksum::None => None,
        };
        if stated.is_some()
            && self.checksum.of_parts(made.parts.iter().filter_map(|part| part.sum.as_deref())).as_ref() == stated
        {
            return Ok(true);
        }
        // It was written in other parts, or by somebody else: only its bytes tell.
        let object = Planned { key: made.key.clone(), size: found.size, etag: found.etag.clone(), modified_ns: None };
        let way = (self.store.clone(), Arc::clone(&self.background), self.cx.clone());
        let mut ahead = Ahead::new(way, object, (self.part_size, self.concurrency), &Sums::default());
        let mut hash = Sha256::new();
        while let Some(bytes) = ahead.next().map_err(|error| error.context("comparing with what is there"))? {
            hash.update(&bytes);
        }
        Ok(hexadecimal::write(&hash.finalize()) == made.sha256)
    }

    /// Whether the upload is there with all of its parts.
    pub fn is_whole(&self, made: &Made) -> Result<bool> {
        let Some(upload) = made.upload.clone() else { return Ok(true) };
        let (store, key) = (self.store.clone(), made.key.clone());
        let arrived = self.background.run(&self.cx, async move { store.arrived(&key, &upload).await })?;
        Ok(arrived == Some((made.parts.len(), made.bytes)))
    }

    /// Whether the key has this content already; an error where it has another that is not to be replaced.
    pub fn look(&self, made: &Made) -> Result<bool> {
        if self.overwrite {
            return Ok(false);
        }
        match self.head(made)? {
            None => Ok(false),
            Some(found) if self.is_same(made, &found)? => Ok(true),
            Some(_) => Err(self.taken(made)),
        }
    }

    fn taken(&self, made: &Made) -> Error {
        Error::config(format!("{} is there already and has other content", self.store.shown(&made.key))).hint(
            "move it away, set `overwrite: true`, or put something into `path` that differs each time, such as \
             {{ window.id }}",
        )
    }

    /// Makes the object. Works again after a crash at any point. `is_there`: the key has the content already.
    pub fn publish(&self, made: &Made, is_there: bool) -> Result<()> {
        let (store, one) = (self.store.clone(), made.clone());
        let (checksum, overwrite) = (self.checksum, self.overwrite);
        let Some(upload) = made.upload.clone() else {
            if is_there {
                return Ok(());
            }
            let made_now = self
                .background
                .run(&self.cx, async move { store.put_empty(&one.key, &one.headers, overwrite).await })?;
            return if made_now || self.is_published(made)? { Ok(()) } else { Err(self.taken(made)) };
        };
        if is_there {
            // The upload is in nobody's way; where it cannot be thrown away, a later run does.
            let thrown = self.background.run(&self.cx, async move { store.abort(&one.key, &upload).await });
            return match thrown {
                Err(error) if error.kind == ErrorKind::Cancelled => Err(error),
                _ => Ok(()),
            };
        }
        let completed = self.background.run(&self.cx, async move {
            store.complete(&one.key, &upload, (&one.parts, one.bytes), checksum, overwrite).await
        });
        match completed {
            Ok(Completed::Done) => Ok(()),
            // Somebody else may have written the very same bytes since we looked.
            Ok(Completed::Taken) if self.is_published(made)? => Ok(()),
            Ok(Completed::Taken) => Err(self.taken(made)),
            Ok(Completed::Gone) if self.is_published(made)? => Ok(()),
            Ok(Completed::Gone) => Err(self.gone(made)),
            Err(error) if error.kind == ErrorKind::Denied => self.completed_before(made, error),
            Err(error) => Err(error),
        }
    }

    /// Some stores say of an upload that was completed that it may not be; also while they are still at that, for a
    /// request that came before a crash.
    fn completed_before(&self, made: &Made, denied: Error) -> Result<()> {
        for _ in 0..LOOKS {
            if self.is_published(made)? {
                return Ok(());
            }
            if self.is_gone(made)? {
                return Err(self.gone(made));
            }
            self.background.run(&self.cx, async {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                Ok(())
            })?;
        }
        Err(denied)
    }

    /// Whether the store has no upload any more that could be completed.
    fn is_gone(&self, made: &Made) -> Result<bool> {
        let Some(upload) = made.upload.clone() else { return Ok(false) };
        let (store, key) = (self.store.clone(), made.key.clone());
        // A look that is refused tells nothing.
        self.background.run(&self.cx, async move { Ok(store.is_gone(&key, &upload).await.unwrap_or(false)) })
    }

    fn gone(&self, made: &Made) -> Error {
        Error::unavailable(format!("{}: the upload is gone", self.store.shown(&made.key)))
            .hint("does a lifecycle rule, or somebody else, throw unfinished uploads away? It is sent again")
    }
}
