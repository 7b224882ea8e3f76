//! One API: its address, TLS, headers, timeouts, and what an error on the way means.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine_sdk::prelude::{Deserialize, Error, JsonSchema, Result, Secret};
use engine_sdk::types::{Tls, is_this_machine};
use indexmap::IndexMap;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Proxy, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Shorter values, such as `1`, stand in texts by chance.
const SHORTEST_SECRET: usize = 4;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// What requests to one API have in common.
pub struct Api {
    url: Url,
    headers: HeaderMap,
    tls: ClientConfig,
    proxy: Option<Proxy>,
    connect_timeout: Duration,
    timeout: Duration,
    asked_tls: Option<Tls>,
    /// What is told of a request without an answer.
    unanswered: &'static str,
    /// Values that no message shows, as they are and as they stand in addresses; the longer ones first.
    secrets: Mutex<Vec<String>>,
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// A PEM file with the certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
}

/// The settings that an [`Api`] is made of.
pub struct Settings<'a> {
    pub url: &'a str,
    pub query: &'a IndexMap<String, Secret>,
    pub headers: &'a IndexMap<String, Secret>,
    pub tls: Option<Tls>,
    pub ca: Option<PathBuf>,
    /// Certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub proxy: Option<&'a Secret>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
    /// What is told of a request without an answer.
    pub unanswered: &'static str,
}

impl Api {
    /// Reads the settings. Opens no connection.
    pub fn new(settings: &Settings<'_>) -> Result<Self> {
        for (name, duration) in [("timeout", settings.timeout), ("connect_timeout", settings.connect_timeout)] {
            if duration.is_zero() {
                return Err(Error::config(format!("`{name}` is 0, and no server answers at once"))
                    .hint("give a time such as 30s"));
            }
        }
        let mut url = address(settings.url, settings.tls)?;
        for (name, value) in settings.query {
            url.query_pairs_mut().append_pair(name, value.reveal());
        }
        let api = Self {
            url,
            headers: headers(settings.headers)?,
            tls: trust(settings.ca.as_deref(), settings.identity.as_ref())?,
            proxy: settings.proxy.map(proxy).transpose()?,
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
            asked_tls: settings.tls,
            unanswered: settings.unanswered,
            secrets: Mutex::default(),
        };
        let secrets = settings.query.values().chain(settings.headers.values()).chain(settings.proxy);
        for secret in secrets {
            api.keep_secret(secret.reveal());
            // `Bearer TOKEN`: servers send the token back alone.
            secret.reveal().split_once(' ').into_iter().for_each(|(_, token)| api.keep_secret(token));
        }
        Ok(api)
    }

    /// Has a text shown nowhere.
    pub fn keep_secret(&self, secret: &str) {
        let encoded = Url::parse_with_params("http://h", [("v", secret)]).ok();
        let encoded = encoded.and_then(|url| url.query()?.strip_prefix("v=").map(str::to_owned));
        let in_json = serde_json::to_string(secret).ok().map(|text| text.trim_matches('"').to_owned());
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in [Some(secret.to_owned()), encoded, in_json].into_iter().flatten() {
            if secret.len() >= SHORTEST_SECRET && !secrets.contains(&secret) {
                secrets.push(secret);
            }
        }
        // A longer one first: another can be a part of it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Whether every request has this header.
    pub fn has_header(&self, name: &HeaderName) -> bool {
        self.headers.contains_key(name)
    }

    /// An address of a setting: a whole one, or a path on the API's own server.
    pub fn join(&self, setting: &str, text: &str) -> Result<Url> {
        let joined = self.url.join(text).map_err(|error| {
            Error::config(format!("`{setting}`: `url` is no address: {error}"))
                .hint("write https://HOST/PATH, or /PATH for the API's own server")
        })?;
        // `tls: disable` is about the API; whoever has TLS besides is asked with it.
        let tls = self.asked_tls.filter(|_| joined.scheme() != "https");
        address(joined.as_str(), tls).map_err(|error| error.context(format!("`{setting}`")))
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Result<Client> {
        self.made(self.headers.clone())
    }

    /// A client whose requests have none of the API's headers: for another server.
    pub fn bare_client(&self) -> Result<Client> {
        self.made(HeaderMap::new())
    }

    fn made(&self, headers: HeaderMap) -> Result<Client> {
        let builder = match &self.proxy {
            Some(proxy) => Client::builder().proxy(proxy.clone()),
            // Not even one that stands in the environment.
            None => Client::builder().no_proxy(),
        };
        builder
            .tls_backend_preconfigured(self.tls.clone())
            .default_headers(headers)
            .user_agent(concat!("engine/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .timeout(self.timeout)
            .pool_idle_timeout(IDLE)
            // Where rows go is what the pipeline says, and nothing that a server answers.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::internal(format!("the HTTP client cannot be made: {}", error.without_url())))
    }

    /// How long one answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where requests go.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// The address without what `query` adds to it: for messages.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// The same for another address.
    pub fn shown_of(url: &Url) -> String {
        shown(url)
    }

    /// The other side's words without what it was told in secret.
    pub fn hide(&self, text: String) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
    }

    /// Why there was no answer from an address.
    pub fn unanswered(&self, url: &Url, error: &reqwest::Error) -> Error {
        let (shown, timeout) = (shown(url), self.timeout);
        let tls = cause::<rustls::Error>(error);
        // What is refused for good; an alert or a broken record may be of a server that is busy.
        let refused = |found: &&rustls::Error| {
            use rustls::Error as Tls;
            matches!(found, Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented | Tls::PeerIncompatible(_))
        };
        if let Some(found) = tls.filter(refused) {
            return Error::denied(format!("{shown}: no verified TLS connection could be made: {found}")).hint(
                "set `ca` to the PEM file of the authority that signed the server's certificate, and check the host \
                 in `url`",
            );
        }
        if error.is_connect() && error.is_timeout() {
            return Error::unavailable(format!("{shown}: no connection within {:?}", self.connect_timeout))
                .hint("check host and port in `url`, firewalls, and `connect_timeout`");
        }
        if error.is_timeout() {
            return Error::unavailable(format!("{shown} did not answer within {timeout:?}")).hint(self.unanswered);
        }
        if error.is_dns() {
            return Error::unavailable(format!("{shown}: the name of the host is not known"))
                .hint("check the host in `url`, and whether this machine can look names up");
        }
        let why = cause::<std::io::Error>(error).map_or_else(|| innermost(error), |error| error.kind().to_string());
        if error.is_connect() {
            return Error::unavailable(format!("{shown}: nobody answers: {why}"))
                .hint("check that the server runs and that host and port in `url` are right");
        }
        Error::unavailable(format!("{shown}: the connection broke before the answer came: {why}")).hint(self.unanswered)
    }
}

fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn address(text: &str, tls: Option<Tls>) -> Result<Url> {
    const SPELLING: &str = "write https://HOST/PATH";
    let url =
        Url::parse(text).map_err(|error| Error::config(format!("`url` is no address: {error}")).hint(SPELLING))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config("`url` holds a login, which messages would show")
            .hint("write it apart: login: { basic: { username: …, password: … } }"));
    }
    if url.fragment().is_some() {
        return Err(Error::config("`url` has a part behind `#`, which no server gets").hint("leave it out"));
    }
    match (url.scheme(), tls) {
        ("https", Some(Tls::Disable)) => {
            Err(Error::config("`url` asks for TLS and `tls: disable` for none").hint("leave one of them out"))
        }
        ("https", _) => Ok(url),
        ("http", Some(Tls::Verify)) => {
            Err(Error::config("`tls: verify` needs an `url` that begins with https").hint(SPELLING))
        }
        ("http", None) if !is_this_machine(url.host_str().unwrap_or_default()) => {
            Err(Error::config("`url` names another machine without TLS: what is sent could be read on the way")
                .hint("write https; where the server has no TLS, write `tls: disable`"))
        }
        ("http", _) => Ok(url),
        (other, _) => Err(Error::config(format!("`url` begins with `{other}`")).hint(SPELLING)),
    }
}

/// The header for the key that stays the same.
pub fn idempotency_header(name: &str, others: &IndexMap<String, Secret>) -> Result<HeaderName> {
    let wrong = |what: &str| Error::config(format!("`idempotency_header: {}` {what}", name.escape_debug()));
    let header = HeaderName::try_from(name).map_err(|_| {
        wrong("is no name of a header").hint("names are letters, digits and `-`; write `null` to send none")
    })?;
    if OWN.contains(&header.as_str())
        || header == CONTENT_TYPE
        || others.keys().any(|other| other.eq_ignore_ascii_case(header.as_str()))
    {
        return Err(wrong("is another header").hint("choose another name, or write `null` to send no key"));
    }
    Ok(header)
}

/// Headers that belong to the connection, or are made of the request.
const OWN: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"];

fn headers(settings: &IndexMap<String, Secret>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in settings {
        let wrong = |what: &str| Error::config(format!("`headers.{}` {what}", name.escape_debug()));
        let key = HeaderName::try_from(name.as_str())
            .map_err(|_| wrong("is no name of a header").hint("names are letters, digits and `-`"))?;
        if OWN.contains(&key.as_str()) {
            return Err(wrong("is made by the engine").hint("leave it out"));
        }
        let mut value = HeaderValue::from_str(value.reveal())
            .map_err(|_| wrong("has a value that no header can have").hint("is there a line break at its end?"))?;
        value.set_sensitive(true);
        if headers.insert(key, value).is_some() {
            return Err(wrong("is there twice, in another spelling").hint("leave one out"));
        }
    }
    Ok(headers)
}

/// Which certificates are believed: those that the system trusts, or that `ca` holds.
fn trust(ca: Option<&Path>, identity: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unreadable = |why: String| {
                Error::config(format!("the certificate authority `{}` cannot be read: {why}", path.display()))
                    .hint("`ca` is the path of a PEM file")
            };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("there is no certificate in it".into()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?;
    let builder = builder.with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let unreadable = |path: &Path, why: String| {
        Error::config(format!("`identity`: {} cannot be read: {why}", path.display()))
            .hint("give the path of a PEM file")
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        Error::config(format!("`identity`: certificate and key cannot be used: {error}"))
            .hint("the key must be that of the certificate")
    })
}

/// Through which requests go.
fn proxy(setting: &Secret) -> Result<Proxy> {
    let wrong = |what: String| Error::config(format!("`proxy` {what}")).hint("write http://HOST:PORT");
    let url = Url::parse(setting.reveal()).map_err(|error| wrong(format!("is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("begins with `{}`", url.scheme())));
    }
    Proxy::all(url).map_err(|error| wrong(format!("cannot be used: {}", error.without_url())))
}

/// The innermost error of a type among those that led to this one.
fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    // What an input or output error carries is not among its sources.
    let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let within = carried.and_then(|carried| cause(carried)).or_else(|| error.source().and_then(cause));
    within.or_else(|| error.downcast_ref())
}

fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use engine_sdk::ErrorKind;

    use super::*;

    #[test]
    fn another_machine_is_reached_with_tls_unless_it_is_asked_otherwise() {
        address("https://api.example.com/v1", None).unwrap();
        address("http://127.0.0.1:8080/v1", None).unwrap();
        address("http://[::1]/", None).unwrap();
        address("http://localhost/", None).unwrap();
        address("http://api.example.com/", Some(Tls::Disable)).unwrap();
        for (url, tls) in [
            ("http://api.example.com/", None),
            ("http://127.0.0.1/", Some(Tls::Verify)),
            ("https://api.example.com/", Some(Tls::Disable)),
            ("ftp://api.example.com/", None),
            ("api.example.com", None),
            ("https://user:hunter2@api.example.com/", None),
            ("https://api.example.com/#here", None),
        ] {
            let error = address(url, tls).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{url}");
            assert!(error.hint.is_some() && !error.message.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_added_to_the_address_is_not_shown() {
        let query = IndexMap::from([("auth_key".to_owned(), Secret::new("a secret & more"))]);
        let settings = Settings {
            url: "https://api.example.com:8443/insert?kind=1",
            query: &query,
            headers: &IndexMap::new(),
            tls: None,
            ca: None,
            identity: None,
            proxy: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unanswered: "",
        };
        let api = Api::new(&settings).unwrap();
        assert_eq!(api.url().query(), Some("kind=1&auth_key=a+secret+%26+more"));
        assert_eq!(api.shown(), "https://api.example.com:8443/insert");
    }

    #[test]
    fn headers_that_no_request_can_have_are_refused_without_their_values() {
        for (name, value) in [("two words", "x"), ("x", "a\nb"), ("Content-Length", "7"), ("Host", "h")] {
            let error = headers(&IndexMap::from([(name.to_owned(), Secret::new(value))])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{name}");
        }
        let twice = IndexMap::from([("X-Key".into(), Secret::new("1")), ("x-key".into(), Secret::new("2"))]);
        assert!(headers(&twice).is_err());
    }
}
