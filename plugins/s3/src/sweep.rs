//! Uploads that runs have left that are gone.

use std::time::SystemTime;

use engine_sdk::prelude::*;

use crate::ledger::STALE;
use crate::sink::S3Sink;

/// Pages of unfinished uploads that are looked at, each of up to 1,000.
const MOST_PAGES: usize = 20;

impl S3Sink {
    /// Throws away uploads that runs have left that are gone. What cannot be done is no reason not to deliver.
    pub fn sweep(&mut self) -> Result<()> {
        let background = self.background()?;
        let stale = self.ledger.stale();
        let mut found: Vec<_> = stale.iter().map(|noted| (noted.key.clone(), noted.upload.clone())).collect();
        let (path, before) = (self.config.path.to_string(), SystemTime::now().checked_sub(STALE));
        let (store, is_folder) = (self.store.clone(), self.config.is_folder());
        let listed = background.run(&self.cx, async move {
            let (mut stale, mut after) = (Vec::new(), None);
            for _ in 0..MOST_PAGES {
                let (page, next) = store.unfinished(&path, after).await?;
                // In folders below, uploads are another program's.
                let own = |key: &str| match is_folder {
                    true => key.strip_prefix(&path).is_some_and(|name| !name.contains('/')),
                    false => key == path,
                };
                let old = page.into_iter().filter(|it| own(&it.key) && it.begun.is_some_and(|it| Some(it) < before));
                stale.extend(old.map(|it| (it.key, it.upload)));
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            Ok(stale)
        });
        match listed {
            Ok(listed) => found.extend(listed),
            // The next run sweeps.
            Err(error) if error.kind == ErrorKind::Cancelled => return Ok(()),
            Err(error) if !self.told => {
                self.told = true;
                let why = format!("unfinished uploads cannot be looked for: {}", error.message);
                self.cx.log(Level::Info, format!("{why}; a lifecycle rule can throw them away"));
            }
            Err(_) => {}
        }
        found.sort();
        found.dedup();
        for (key, upload) in &found {
            let (store, asked, id) = (self.store.clone(), key.clone(), upload.clone());
            match background.run(&self.cx, async move { store.abort(&asked, &id).await }) {
                Ok(()) => {
                    let shown = self.store.shown(key);
                    self.cx.log(Level::Info, format!("threw away an upload of {shown} that an earlier run had left"));
                }
                Err(error) if error.kind == ErrorKind::Cancelled => return Ok(()),
                Err(error) => self.cx.log(Level::Warn, format!("an old upload stays: {}", error.message)),
            }
        }
        self.ledger.remove(stale.iter().map(|noted| noted.upload.as_str()))
    }
}
