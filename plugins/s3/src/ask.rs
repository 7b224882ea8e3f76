//! Requests to one bucket, and what any of them may be answered.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use engine_sdk::hexadecimal;
use engine_sdk::prelude::{Error, Result};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};

use crate::checksum::sha256_of;
use crate::client::Way;
use crate::fault::Fault;
use crate::key;
use crate::login::Login;
use crate::settings::Settings;
use crate::sign;
use crate::xml::Element;

/// The most of an answer that is kept where it is about objects: a page of a list has less than half of it.
const LONGEST_ANSWER: usize = 16 << 20;

/// Names and values of headers.
pub type Headers = Vec<(String, String)>;

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    way: Way,
    base: String,
    bucket: String,
    region: String,
    login: Login,
}

/// What is asked.
pub struct Ask<'a> {
    method: Method,
    /// Empty: the bucket itself.
    key: &'a str,
    query: Vec<(&'a str, String)>,
    pub headers: Headers,
    body: Bytes,
    /// Of the body, if it is known.
    pub sha256: Option<[u8; 32]>,
    doing: &'static str,
}

impl<'a> Ask<'a> {
    pub fn new(method: Method, key: &'a str, doing: &'static str) -> Self {
        Self { method, key, query: vec![], headers: vec![], body: Bytes::new(), sha256: None, doing }
    }

    pub fn query(mut self, name: &'a str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Store {
    /// Opens no connection.
    pub fn new(settings: &Settings<'_>) -> Result<Self> {
        settings.check_times()?;
        let Settings { ca, proxy, connect_timeout, timeout, .. } = settings;
        Ok(Self(Arc::new(Inner {
            way: Way::new(ca.as_deref(), *proxy, connect_timeout.0, timeout.0)?,
            base: settings.base()?,
            bucket: settings.bucket.to_owned(),
            region: settings.region().to_owned(),
            login: Login::new(settings.access_key, settings.secret_key, settings.session_token)?,
        })))
    }

    /// An object as a person knows it.
    pub fn shown(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.0.bucket)
    }

    pub fn url(&self, key: &str, query: &[(&str, String)]) -> Result<Url> {
        let path = if key.is_empty() { String::new() } else { format!("/{}", key::encoded(key, true)) };
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", key::encoded(value, false))).collect();
        let sign = if query.is_empty() { "" } else { "?" };
        let url = Url::parse(&format!("{}{path}{sign}{}", self.0.base, query.join("&")))
            .map_err(|error| Error::internal(format!("{} has no address: {error}", self.shown(key))))?;
        match key::flaw(key).filter(|_| !key.is_empty()) {
            Some(flaw) => Err(Error::config(format!("the key `{key}` {flaw}")).hint("give the object another key")),
            None => Ok(url),
        }
    }

    /// Asks, and takes any answer. What is no success is a fault.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<std::result::Result<(Response, Url), Fault>> {
        let Inner { way, region, login, .. } = &*self.0;
        let url = self.url(ask.key, &ask.query)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &ask.headers {
            let wrong = || Error::config(format!("`{name}: {value}` is no header")).hint("leave line breaks out");
            let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?);
        }
        let sha256 = hexadecimal::write(&ask.sha256.unwrap_or_else(|| sha256_of(&ask.body)));
        let identity = login.identity().await?;
        sign::sign_request(&identity, region, (&ask.method, &url, &mut headers), &sha256, SystemTime::now())?;
        // Not signed: some stores, and proxies, put something else in their place.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if ask.method == Method::PUT || ask.method == Method::POST {
            headers.insert(CONTENT_LENGTH, ask.body.len().into());
        }
        let request = way.client.request(ask.method, url.clone()).headers(headers).body(ask.body);
        let doing = |error: Error| error.context(self.doing(ask.doing, ask.key));
        let response = request.send().await.map_err(|error| doing(way.unanswered(&url, &error)))?;
        if response.status().is_success() {
            return Ok(Ok((response, url)));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // A status without words says enough.
        let body = self.text(response, &url).await.unwrap_or_default();
        Ok(Err(Fault::new(status, &headers, &body)))
    }

    /// Asks for something that must succeed.
    pub async fn must(&self, ask: Ask<'_>) -> Result<(Response, Url)> {
        let doing = self.doing(ask.doing, ask.key);
        self.ask(ask).await?.map_err(|fault| fault.error(&doing, &self.0.bucket))
    }

    /// The error that a fault is.
    pub fn fault(&self, fault: Fault, doing: &str, key: &str) -> Error {
        fault.error(&self.doing(doing, key), &self.0.bucket)
    }

    /// Why there was no answer, or not all of it.
    pub fn unanswered(&self, url: &Url, error: &reqwest::Error) -> Error {
        self.0.way.unanswered(url, error)
    }

    /// Who signs.
    pub fn login(&self) -> &Login {
        &self.0.login
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.0.bucket
    }

    /// Where the bucket is.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    pub fn doing(&self, doing: &str, key: &str) -> String {
        format!("{doing} {}", self.shown(key))
    }

    pub async fn text(&self, mut response: Response, url: &Url) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.0.way.unanswered(url, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST_ANSWER {
                return Err(Error::unavailable("the store's answer is longer than any that it should give"));
            }
        }
        String::from_utf8(bytes).map_err(|_| Error::unavailable("the store's answer is no text"))
    }

    pub async fn document(&self, ask: Ask<'_>) -> Result<Element> {
        let doing = self.doing(ask.doing, ask.key);
        let (response, url) = self.must(ask).await?;
        let document = async { Element::read(&self.text(response, &url).await?) };
        document.await.map_err(|error| error.context(doing))
    }
}

/// A header as a text.
pub fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
