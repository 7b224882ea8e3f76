//! The source: every object that matches is one split, with the content that it had when the run was planned.

use std::path::PathBuf;
use std::sync::Arc;

use engine_sdk::prelude::*;
use engine_sdk::types::Tls;
use engine_sdk::{After, Newest, files_schema, leave_out_undelivered};

use crate::away::{self, put_away};
use crate::background::Background;
use crate::key::{self, Matcher};
use crate::reading::{Ahead, Planned, Reading};
use crate::settings::{self, Settings};
use crate::store::{Found, Listed, Store};

/// Objects that a page of a list has, at most.
const PAGE: u32 = 1000;

/// Which objects to read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bucket.
    bucket: String,
    /// The key of an object, or a pattern such as `inbox/*.csv` or
    /// `logs/**/*.log`. `*`, `?` and `[…]` match between two `/`, `**` any number
    /// of parts; names that begin with a dot are matched only by a pattern that
    /// does too. Objects are read in the order of their keys. A pattern that
    /// matches nothing is an empty run, an object that is not there an error.
    path: String,
    /// The region, such as `eu-west-1`. Unset: `us-east-1`.
    #[serde(default)]
    region: Option<String>,
    /// A store that is not AWS: `https://HOST:PORT`. One on another machine is
    /// reached without TLS only with `tls: disable`.
    #[serde(default)]
    endpoint: Option<String>,
    /// Asks for `HOST/BUCKET/KEY`, and not for `BUCKET.HOST/KEY`. Unset: with an
    /// `endpoint`, and where the bucket's name has a dot.
    #[serde(default)]
    path_style: Option<bool>,
    /// `verify` or `disable`. Unset: as `endpoint` says.
    #[serde(default)]
    tls: Option<Tls>,
    /// A PEM file with the authorities that may have signed the store's
    /// certificate. Trusted in the place of the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// Through which requests go: `http://HOST:PORT`.
    #[serde(default)]
    proxy: Option<Secret>,
    /// The id of the access key. Unset: the keys that this machine has, as told
    /// below.
    #[serde(default)]
    access_key: Option<Secret>,
    /// The access key.
    #[serde(default)]
    secret_key: Option<Secret>,
    /// The token of temporary keys.
    #[serde(default)]
    session_token: Option<Secret>,
    /// Only objects that were written later than the newest one of the run before.
    /// One that goes up in parts has the time at which this began: where large
    /// objects take longer than others, move them away with `after` instead.
    #[serde(default)]
    only_new: bool,
    /// What becomes of an object once every sink has all that was read: `keep`,
    /// `delete`, or `{move: done}`, for keys that begin with `done/`. A name that is
    /// taken there gets a number. An object that was changed meanwhile stays, and is
    /// read again.
    #[serde(default)]
    after: After,
    /// How much is fetched by one request. As many as `concurrency` of them are in
    /// memory.
    #[serde(default = "settings::default_part_size")]
    part_size: ByteSize,
    /// How many requests for an object are made at a time.
    #[serde(default = "settings::default_concurrency")]
    #[schemars(range(min = 1, max = 64))]
    concurrency: usize,
    /// How long to wait for a connection.
    #[serde(default = "settings::default_connect_timeout")]
    connect_timeout: Duration,
    /// How long one request may take.
    #[serde(default = "settings::default_timeout")]
    timeout: Duration,
}

/// Reads objects.
pub struct S3Source {
    path: String,
    matcher: Option<Matcher>,
    only_new: bool,
    after: After,
    part_size: u64,
    concurrency: usize,
    store: Store,
    background: Option<Arc<Background>>,
    cx: Context,
}

impl S3Source {
    #[cfg(test)]
    pub(crate) fn context(&self) -> &Context {
        &self.cx
    }

    fn background(&mut self) -> Result<Arc<Background>> {
        match &self.background {
            Some(background) => Ok(Arc::clone(background)),
            None => Ok(Arc::clone(self.background.insert(Arc::new(Background::new()?)))),
        }
    }

    /// The objects there are, in the order of their keys.
    fn matched(&mut self) -> Result<Vec<Planned>> {
        let background = self.background()?;
        let Some(matcher) = &self.matcher else {
            let (store, key) = (self.store.clone(), self.path.clone());
            let found = background.run(&self.cx, async move { store.head(&key).await })?;
            let shown = self.store.shown(&self.path);
            let found = found.ok_or_else(|| {
                Error::config(format!("no such object: {shown}"))
                    .hint("check `bucket` and `path`; a pattern such as `inbox/*.csv` may match nothing")
            })?;
            let Found { size, etag, modified_ns, .. } = found;
            return Ok(vec![Planned { key: self.path.clone(), size, etag, modified_ns }]);
        };
        let (mut objects, mut after) = (Vec::new(), None);
        loop {
            let (store, prefix) = (self.store.clone(), matcher.prefix.clone());
            let page = background.run(&self.cx, async move { store.list(&prefix, after.as_deref(), PAGE).await })?;
            // What ends in `/` stands for a folder, in some programs.
            let is_one = |key: &str| matcher.matches(key) && !key.ends_with('/');
            let matching = page.0.into_iter().filter(|listed| is_one(&listed.key));
            objects.extend(matching.map(|Listed { key, size, etag, modified_ns }| Planned {
                key,
                size,
                etag,
                modified_ns,
            }));
            match page.1 {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if let Some(prefix) = away::prefix(&self.after) {
            let moved = |object: &Planned| format!("{prefix}{}", object.key.rsplit('/').next().unwrap_or_default());
            if objects.iter().any(|object| matcher.matches(&moved(object))) {
                return Err(self.after.is_read_again(&self.path));
            }
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        self.complete(&background, &mut objects)?;
        Ok(objects)
    }
}

impl S3Source {
    /// Asks for the tags that a list has not told, and leaves out what is gone since.
    fn complete(&self, background: &Background, objects: &mut Vec<Planned>) -> Result<()> {
        for object in objects.iter_mut().filter(|object| object.etag.is_empty()) {
            let (store, key) = (self.store.clone(), object.key.clone());
            if let Some(found) = background.run(&self.cx, async move { store.head(&key).await })? {
                if found.etag.is_empty() {
                    let shown = self.store.shown(&object.key);
                    return Err(Error::config(format!("{shown} has no ETag: nobody could tell whether it changes"))
                        .hint("let the store, or the proxy before it, answer with the header `ETag`"));
                }
                (object.size, object.etag) = (found.size, found.etag);
            }
        }
        objects.retain(|object| !object.etag.is_empty());
        Ok(())
    }
}

impl Component for S3Source {
    type Config = Config;
    const SUMMARY: &'static str = "Reads objects of S3 and of stores that speak its protocol";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "every CSV file of a folder, at AWS",
                json!({"bucket": "calls", "region": "eu-west-1", "path": "inbox/*.csv"}),
            ),
            example(
                "each object once",
                json!({"bucket": "calls", "region": "eu-west-1", "path": "inbox/*.csv", "after": {"move": "done"}}),
            ),
            example(
                "one object of a MinIO",
                json!({
                    "bucket": "calls", "endpoint": "https://minio.example.com:9000", "path": "inbox/today.csv",
                    "access_key": "engine", "secret_key": "secret",
                }),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        key::check(&config.path)?;
        settings::check_parts(config.part_size, config.concurrency, false)?;
        config.after.checked()?;
        if let Some(prefix) = away::prefix(&config.after) {
            key::check(&prefix).map_err(|error| error.context("`after`"))?;
        }
        if config.path.ends_with('/') {
            return Err(Error::config(format!("`path`: `{}` is no object", config.path))
                .hint(format!("read all below it with the pattern `{}*`", config.path)));
        }
        let store = Store::new(&Settings {
            bucket: &config.bucket,
            region: config.region.as_deref(),
            endpoint: config.endpoint.as_deref(),
            path_style: config.path_style,
            tls: config.tls,
            ca: config.ca.as_ref().map(|path| cx.resolve(path)),
            proxy: config.proxy.as_ref(),
            access_key: config.access_key.as_ref(),
            secret_key: config.secret_key.as_ref(),
            session_token: config.session_token.as_ref(),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
        })?;
        let matcher = key::is_pattern(&config.path).then(|| Matcher::new(&config.path)).transpose()?;
        let Config { path, only_new, after, part_size, concurrency, .. } = config;
        let part_size = part_size.0;
        Ok(Self { path, matcher, only_new, after, part_size, concurrency, store, background: None, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let objects = self.matched()?;
        let bytes: u64 = objects.iter().map(|object| object.size).sum();
        let path = self.store.shown(&self.path);
        let summary = match objects.len() {
            1 => format!("{path}: 1 object of {bytes} bytes"),
            count => format!("{path}: {count} objects, {bytes} bytes together"),
        };
        Ok(CheckReport { summary })
    }
}

impl Source for S3Source {
    const GIVES: Shape = Shape::Files;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let mut objects = self.matched()?;
        let mut upper = None;
        if self.only_new {
            let mut newest: Newest = request.cursor_as()?.unwrap_or_default();
            // Times have no more than seconds, with some stores: what is written anew in one has another tag.
            let known = |object: &Planned| Some((format!("{} {}", object.key, object.etag), object.modified_ns?));
            if let Some(object) = objects.iter().find(|object| known(object).is_none()) {
                let shown = self.store.shown(&object.key);
                return Err(Error::config(format!("the store does not say when {shown} was written"))
                    .hint("remove `only_new`; with `after`, objects that were delivered are deleted or moved"));
            }
            objects.retain(|object| known(object).is_some_and(|(name, modified)| newest.is_before(&name, modified)));
            objects.iter().filter_map(known).for_each(|(name, modified)| newest.note(&name, modified));
            upper = Some(json!(newest));
        } else {
            leave_out_undelivered(&mut objects, request, |object| &object.key);
        }
        let too_large = objects.iter().find(|object| object.size > away::LARGEST_COPY);
        if let Some(object) = too_large.filter(|_| away::prefix(&self.after).is_some()) {
            return Err(Error::config(format!(
                "{} has more than 5 GiB, and cannot be moved",
                self.store.shown(&object.key)
            ))
            .hint("let `after` be `delete`, or use `only_new`"));
        }
        let splits = objects.into_iter().enumerate();
        let splits = splits.map(|(at, planned)| Split::new(format!("{at:08}"), planned)).collect::<Result<_>>()?;
        Ok(Plan { upper, splits, tell: self.after.tells() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let planned: Planned = split.spec_as()?;
        let background = self.background()?;
        let (store, key) = (self.store.clone(), planned.key.clone());
        // Refuses an object that is another one by now before anything of it is given.
        let found = background.run(&self.cx, async move { store.head(&key).await })?.ok_or_else(|| {
            Error::config(format!("{} is no longer there", self.store.shown(&planned.key)))
                .hint("put it back, so that this window gives the same rows again")
        })?;
        if found.etag != planned.etag || found.size != planned.size {
            return Err(self.store.changed(&planned.key));
        }
        let way = (self.store.clone(), background, self.cx.clone());
        let ahead = Ahead::new(way, planned, (self.part_size, self.concurrency), &found.sums);
        Ok(Batches::new(files_schema(), Reading::new(ahead)))
    }

    fn delivered(&mut self, window: &Delivered) -> Result<()> {
        let background = self.background()?;
        for split in &window.splits {
            let (store, planned, after) = (self.store.clone(), split.spec_as::<Planned>()?, self.after.clone());
            let put = background.run(&self.cx, async move { put_away(&store, &planned, &after).await })?;
            if let Some(stays) = put {
                self.cx.log(Level::Warn, stays);
            }
        }
        Ok(())
    }
}
