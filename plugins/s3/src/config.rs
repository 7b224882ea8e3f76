//! The sink's settings, and what they make of a file.

use std::path::PathBuf;

use engine_sdk::media_type;
use engine_sdk::prelude::*;
use engine_sdk::types::Tls;
use indexmap::IndexMap;

use crate::checksum::Checksum;
use crate::key;
use crate::settings::{self, Settings};
use crate::store::{Headers, Store, UPLOAD_MARK};

/// The longest that a link may be good for: AWS signs none for longer.
const LONGEST_LINK: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
/// How the store encrypts what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Encryption {
    /// With keys of the store's own.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key of the key service, by its id or ARN.
    #[serde(rename = "kms")]
    Kms(String),
}

/// Where to write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bucket. It must exist.
    pub bucket: String,
    /// The key to write. A template:
    /// `reports/{{ run.started | date("%Y-%m-%d") }}.csv`. A path that ends in `/`
    /// stands in front of the names that files come with.
    pub path: Template,
    /// Replace an object that is already there. Without it, an object of the same
    /// content counts as delivered, and any other is an error.
    #[serde(default)]
    pub overwrite: bool,
    /// The region, such as `eu-west-1`. Unset: `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// A store that is not AWS: `https://HOST:PORT`. One on another machine is
    /// reached without TLS only with `tls: disable`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Asks for `HOST/BUCKET/KEY`, and not for `BUCKET.HOST/KEY`. Unset: with an
    /// `endpoint`, and where the bucket's name has a dot.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// `verify` or `disable`. Unset: as `endpoint` says.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// A PEM file with the authorities that may have signed the store's
    /// certificate. Trusted in the place of the system's own.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Through which requests go: `http://HOST:PORT`.
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// The id of the access key. Unset: the keys that this machine has, as told
    /// below.
    #[serde(default)]
    pub access_key: Option<Secret>,
    /// The access key.
    #[serde(default)]
    pub secret_key: Option<Secret>,
    /// The token of temporary keys.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// How much is sent by one request. An object has at most 10,000 parts: the
    /// default is enough for 48 GiB. As many as `concurrency` of them, and one more,
    /// are in memory.
    #[serde(default = "settings::default_part_size")]
    pub part_size: ByteSize,
    /// How many parts are sent at a time.
    #[serde(default = "settings::default_concurrency")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: usize,
    /// The sum that the store compares of each part and keeps for the object:
    /// `sha256`, `crc32c`, or `none` for stores that know neither.
    #[serde(default)]
    pub checksum: Checksum,
    /// What is in the objects. Unset: what the end of the key says.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The storage class, such as `STANDARD_IA`. Unset: the bucket's own.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// How the store encrypts what it keeps: `AES256`, or `{ kms: KEY }` with the
    /// id or ARN of a key. Unset: as the bucket says.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// Metadata of the objects, name to value.
    #[serde(default)]
    pub metadata: IndexMap<String, String>,
    /// Tags of the objects, name to value; at most 10.
    #[serde(default)]
    pub tags: IndexMap<String, String>,
    /// Raises an alert for each object with a link at which whoever has it can
    /// fetch it, for as long as this says, 7d at most. Alerts stand in the log, and
    /// go to the pipeline's `on_alert`, such as a mail.
    #[serde(default)]
    pub link: Option<Duration>,
    /// How long to wait for a connection.
    #[serde(default = "settings::default_connect_timeout")]
    pub connect_timeout: Duration,
    /// How long one request may take.
    #[serde(default = "settings::default_timeout")]
    pub timeout: Duration,
}

impl Config {
    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<()> {
        key::check(&self.path)?;
        settings::check_parts(self.part_size, self.concurrency, true)?;
        if let Some(Duration(link)) = self.link
            && (link.as_secs() == 0 || link > LONGEST_LINK)
        {
            return Err(Error::config(format!("`link` is {link:?}")).hint("give a time from 1s to 7d"));
        }
        self.check_headers()
    }

    /// Where it leads to.
    pub fn store(&self, cx: &Context) -> Result<Store> {
        Store::new(&Settings {
            bucket: &self.bucket,
            region: self.region.as_deref(),
            endpoint: self.endpoint.as_deref(),
            path_style: self.path_style,
            tls: self.tls,
            ca: self.ca.as_ref().map(|path| cx.resolve(path)),
            proxy: self.proxy.as_ref(),
            access_key: self.access_key.as_ref(),
            secret_key: self.secret_key.as_ref(),
            session_token: self.session_token.as_ref(),
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
        })
    }

    /// Whether files keep their names.
    pub fn is_folder(&self) -> bool {
        self.path.ends_with('/')
    }

    /// The key of a file of this name.
    pub fn key(&self, name: &str) -> Result<String> {
        let path = &*self.path;
        if !self.is_folder() {
            return Ok(path.to_owned());
        }
        let key = match name.rsplit('/').next() {
            Some("") | None if name.is_empty() => {
                return Err(Error::config(format!("`{path}` ends in `/`, but the file has no name"))
                    .hint("a format makes one file without a name: give its full key, such as `out/calls.csv`"));
            }
            Some("" | "." | "..") | None => {
                return Err(Error::config(format!("`{name}` does not end in a name for an object"))
                    .hint("name the file differently"));
            }
            Some(base) => format!("{path}{base}"),
        };
        match key::flaw(&key) {
            Some(flaw) => Err(Error::config(format!("the key `{key}` {flaw}")).hint("name the file differently")),
            None => Ok(key),
        }
    }

    /// What an object is made with, besides its content.
    pub fn headers(&self, key: &str, mark: &str) -> Headers {
        let kind = self.content_type.as_deref().unwrap_or_else(|| media_type(key));
        let mut headers = vec![("content-type".to_owned(), kind.to_owned()), (UPLOAD_MARK.to_owned(), mark.to_owned())];
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
        if let Some(class) = &self.storage_class {
            add("x-amz-storage-class", class.clone());
        }
        match &self.encryption {
            Some(Encryption::Aes256) => add("x-amz-server-side-encryption", "AES256".into()),
            Some(Encryption::Kms(id)) => {
                add("x-amz-server-side-encryption", "aws:kms".into());
                add("x-amz-server-side-encryption-aws-kms-key-id", id.clone());
            }
            None => {}
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter();
            let tags =
                tags.map(|(name, value)| format!("{}={}", key::encoded(name, false), key::encoded(value, false)));
            add("x-amz-tagging", tags.collect::<Vec<_>>().join("&"));
        }
        for (name, value) in &self.metadata {
            add(&format!("x-amz-meta-{}", name.to_ascii_lowercase()), value.clone());
        }
        headers
    }

    /// Refuses what cannot stand in a header.
    fn check_headers(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::config(what).hint("write printable characters of ASCII"));
        let is_printable = |text: &str| !text.is_empty() && text.bytes().all(|it| (b' '..=b'~').contains(&it));
        let kms = match &self.encryption {
            Some(Encryption::Kms(id)) => Some(id),
            _ => None,
        };
        let texts = [("content_type", &self.content_type), ("storage_class", &self.storage_class)];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (name, value) in texts.chain(kms.map(|id| ("encryption", id))) {
            if !is_printable(value) {
                return wrong(format!("`{name}`: {value:?} cannot be sent"));
            }
        }
        for (name, value) in &self.metadata {
            let is_name = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
            if !is_name || !is_printable(value) {
                return wrong(format!("`metadata`: {name:?} with {value:?} cannot be sent"));
            }
            if UPLOAD_MARK.ends_with(&format!("-meta-{}", name.to_ascii_lowercase())) {
                return wrong(format!("`metadata`: `{name}` is the engine's own"));
            }
        }
        if self.tags.len() > 10 {
            return Err(Error::config(format!("`tags` are {}", self.tags.len())).hint("an object may have 10"));
        }
        Ok(())
    }
}
