//! The sink: bytes go into uploads, which nobody sees, and become objects when they are completed.
//!
//! The order is begin the upload, note it, send parts, seal (the engine stores the uploads and their parts),
//! complete without replacing. Every file is an upload, also a small one: what one request would write is there for
//! all to see at once, and what waits in memory is lost in a crash. An empty file needs no place to wait in.

use std::sync::Arc;
use std::time::SystemTime;

use engine_sdk::prelude::*;
use engine_sdk::{file_pieces, hexadecimal, some_published};
use sha2::{Digest, Sha256};

use crate::background::Background;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::publish::{BETWEEN_LOOKS, LOOKS, Publisher};
use crate::store::Store;
use crate::upload::{Begin, Made, Manner, Upload};

/// As many links as somebody is told of in one delivery.
const MOST_LINKS: usize = 100;
/// How long clean-up may take.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(30);

/// Writes objects.
pub struct S3Sink {
    pub(crate) config: Config,
    pub(crate) store: Store,
    background: Option<Arc<Background>>,
    pub(crate) ledger: Ledger,
    /// Whether somebody was told that unfinished uploads cannot be listed.
    pub(crate) told: bool,
    pub(crate) cx: Context,
}

impl S3Sink {
    pub(crate) fn background(&mut self) -> Result<Arc<Background>> {
        match &self.background {
            Some(background) => Ok(Arc::clone(background)),
            None => Ok(Arc::clone(self.background.insert(Arc::new(Background::new()?)))),
        }
    }

    fn start(&self, made: &[Made], name: &str) -> Result<Upload> {
        let key = self.config.key(name)?;
        if made.iter().any(|other| other.key == key) {
            let shown = self.store.shown(&key);
            return Err(Error::config(format!("more than one file of this delivery would become {shown}"))
                .hint("let `path` end in `/` to keep the files' names, or name the files differently"));
        }
        let mark = uuid::Uuid::new_v4().simple().to_string();
        Ok(Upload::new(name.into(), key.clone(), self.config.headers(&key, &mark), mark))
    }

    pub(crate) fn publisher(&mut self) -> Result<Publisher> {
        Ok(Publisher {
            store: self.store.clone(),
            background: self.background()?,
            cx: self.cx.clone(),
            checksum: self.config.checksum,
            overwrite: self.config.overwrite,
            part_size: self.config.part_size.0,
            concurrency: self.config.concurrency,
        })
    }

    fn receipt(&mut self, sealed: &Sealed, made: &[Made]) -> Result<Receipt> {
        let location = match made {
            [one] => Some(self.store.shown(&one.key)),
            [_, ..] => Some(self.store.shown(&self.config.path)),
            [] => None,
        };
        let alerts = self.links(made)?;
        let sha256 = sealed.sha256.clone();
        Ok(Receipt { bytes: sealed.bytes, sha256, location, alerts, ..Receipt::default() })
    }

    /// Where the objects can be fetched, for whoever is told.
    fn links(&mut self, made: &[Made]) -> Result<Vec<Alert>> {
        let Some(Duration(expires)) = self.config.link else { return Ok(vec![]) };
        let until = chrono::DateTime::<chrono::Utc>::from(SystemTime::now() + expires).format("%Y-%m-%d %H:%M UTC");
        let background = self.background()?;
        let mut alerts = Vec::new();
        for Made { key, .. } in made.iter().take(MOST_LINKS) {
            let (store, asked) = (self.store.clone(), key.clone());
            let link = background.run(&self.cx, async move { store.link(&asked, expires).await })?;
            let message = format!("{} can be fetched until {until}: {link}", self.store.shown(key));
            alerts.push(Alert { key: format!("link/{key}"), message });
        }
        Ok(alerts)
    }
}

fn made_of(sealed: &Sealed) -> Result<Vec<Made>> {
    let made = |part: &_| {
        Made::deserialize(part).map_err(|error| {
            Error::internal(format!("a stored part cannot be read: {error}"))
                .hint("another version of the module stored it: go on with that one")
        })
    };
    sealed.parts.iter().map(made).collect()
}

/// One hash for the delivery: the file's own, or, of several, that of the list that `sha256sum` would print for them.
fn sha256_of_all(made: &[Made]) -> Option<String> {
    match made {
        [] => None,
        [one] => Some(one.sha256.clone()),
        several => {
            let mut hash = Sha256::new();
            for Made { key, sha256, .. } in several {
                hash.update(format!("{sha256}  {}\n", key.rsplit('/').next().unwrap_or_default()));
            }
            Some(hexadecimal::write(&hash.finalize()))
        }
    }
}

impl Component for S3Sink {
    type Config = Config;
    const SUMMARY: &'static str = "Writes objects of S3 and of stores that speak its protocol, whole or not at all";

    fn examples() -> Vec<Example> {
        let aws = json!({
            "bucket": "reports", "region": "eu-west-1", "path": "calls/{{ run.started | date(\"%Y-%m-%d\") }}.csv",
        });
        let minio = json!({
            "bucket": "reports", "endpoint": "https://minio.example.com:9000", "path": "calls.csv", "overwrite": true,
            "access_key": "engine", "secret_key": "secret",
        });
        let names = json!({"bucket": "archive", "region": "eu-west-1", "path": "inbox/"});
        vec![
            example("an object a day, at AWS", aws),
            example("one object of a MinIO, made anew by every run", minio),
            example("files keep their names", names),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        config.check()?;
        let store = config.store(&cx)?;
        Ok(Self { config, store, background: None, ledger: Ledger::new(cx.clone()), told: false, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (background, path) = (self.background()?, self.config.path.to_string());
        let (store, asked) = (self.store.clone(), path.clone());
        let (first, _) = background.run(&self.cx, async move { store.list(&asked, None, 1).await })?;
        let is_there = !self.config.is_folder() && first.first().is_some_and(|object| object.key == path);
        let note = match (is_there, self.config.overwrite) {
            (true, true) => ", which will be replaced",
            (true, false) => ", which is there already and is not replaced without `overwrite: true`",
            (false, _) => "; whether it may write is seen when it does",
        };
        Ok(CheckReport { summary: format!("writes {}{note}", self.store.shown(&path)) })
    }
}

impl Sink for S3Sink {
    const TAKES: Takes = Takes::Files;
    const PROMISE: Promise = Promise::Idempotent;
    const UNIT: Unit = Unit::Run;

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        if let Some(sealed) = &delivery.sealed {
            let made = made_of(sealed)?;
            let publisher = self.publisher()?;
            let (mut published, mut whole) = (0, true);
            for one in &made {
                if publisher.is_published(one)? {
                    published += 1;
                } else {
                    whole &= publisher.is_whole(one)?;
                }
            }
            if published == made.len() {
                let receipt = self.receipt(sealed, &made)?;
                // Those that another's object stands for.
                self.discard(delivery)?;
                return Ok(Begun::Committed { receipt });
            }
            if whole {
                return Ok(Begun::Sealed);
            }
        }
        self.discard(delivery)?;
        Ok(Begun::New)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let background = self.background()?;
        let (store, cx) = (self.store.clone(), self.cx.clone());
        let manner = Manner {
            store: &store,
            background: &background,
            cx: &cx,
            part_size: self.config.part_size.as_usize(),
            concurrency: self.config.concurrency,
            checksum: self.config.checksum,
        };
        let mut made = Vec::new();
        let mut open: Option<Upload> = None;
        for batch in input {
            cx.check_cancelled()?;
            for (name, data) in file_pieces(&batch?)? {
                if open.as_ref().is_none_or(|open| open.name != name) {
                    if let Some(done) = open.take() {
                        made.push(done.finish(&manner, &mut self.begin(delivery))?);
                    }
                    open = Some(self.start(&made, name)?);
                }
                if let Some(open) = &mut open {
                    open.write(data, &manner, &mut self.begin(delivery))?;
                }
            }
        }
        // No piece at all still is a file where the path names one.
        if open.is_none() && !self.config.is_folder() {
            open = Some(self.start(&made, "")?);
        }
        if let Some(last) = open {
            made.push(last.finish(&manner, &mut self.begin(delivery))?);
        }
        let bytes = made.iter().map(|made| made.bytes).sum();
        let sha256 = sha256_of_all(&made);
        Ok(Sealed { rows: 0, bytes, sha256, parts: made.iter().map(|made| json!(made)).collect() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let sealed = delivery.sealed.as_ref().ok_or_else(|| Error::internal("commit came before write"))?;
        let made = made_of(sealed)?;
        let publisher = self.publisher()?;
        // Before the first is published: none is better than some.
        let there = made.iter().map(|one| publisher.look(one)).collect::<Result<Vec<_>>>()?;
        for (one, is_there) in made.iter().zip(there) {
            publisher.publish(one, is_there)?;
        }
        self.ledger.remove(made.iter().filter_map(|one| one.upload.as_deref()))?;
        self.cx.progress(0, sealed.bytes);
        self.receipt(sealed, &made)
    }

    fn finish_run(&mut self, _: &SinkRun) -> Result<()> {
        // Not before: what an earlier run has made ready is to be completed first.
        self.sweep()
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        let made = delivery.sealed.as_ref().map(made_of).transpose()?.unwrap_or_default();
        // What has its key is there for all to see: the others have to follow.
        if made.len() > 1 {
            let (store, of) = (self.store.clone(), made.len());
            let published = self.background()?.take_back(CLEAN_UP, async move {
                let mut published = 0;
                for Made { key, mark, .. } in made {
                    let found = store.head(&key).await?;
                    published += usize::from(found.is_some_and(|found| found.mark == Some(mark)));
                }
                Ok(published)
            })?;
            if published > 0 {
                return Err(some_published(published, of));
            }
        }
        self.discard(delivery)
    }
}

impl S3Sink {
    /// Throws away the uploads that are not completed.
    fn discard(&mut self, delivery: &Delivery) -> Result<()> {
        let made = delivery.sealed.as_ref().map(made_of).transpose()?.unwrap_or_default();
        let mut uploads: Vec<_> = made.into_iter().filter_map(|one| Some((one.key, one.upload?))).collect();
        uploads.extend(self.ledger.of(&delivery.key).into_iter().map(|noted| (noted.key, noted.upload)));
        uploads.sort();
        uploads.dedup();
        if uploads.is_empty() {
            return Ok(());
        }
        let (store, background, gone) = (self.store.clone(), self.background()?, uploads.clone());
        background.take_back(CLEAN_UP, async move {
            for (key, upload) in &uploads {
                throw_away(&store, key, upload).await?;
            }
            Ok(())
        })?;
        self.ledger.remove(gone.iter().map(|(_, upload)| upload.as_str()))
    }

    fn begin<'a>(&'a mut self, delivery: &'a Delivery) -> Begin<'a> {
        Begin { ledger: &mut self.ledger, delivery: &delivery.key }
    }
}

/// Throws an upload away. Some stores say of one that is gone, or is just being completed for a request that came before
/// a crash, that it may not be.
async fn throw_away(store: &Store, key: &str, upload: &str) -> Result<()> {
    let denied = match store.abort(key, upload).await {
        Err(error) if error.kind == ErrorKind::Denied => error,
        done => return done,
    };
    for _ in 0..LOOKS {
        match store.is_gone(key, upload).await {
            Ok(true) => return Ok(()),
            Ok(false) => tokio::time::sleep(BETWEEN_LOOKS).await,
            Err(_) => break,
        }
    }
    Err(denied)
}
