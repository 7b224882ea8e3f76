//! The way to the store: TLS, proxies, timeouts, and what it means when no answer comes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine_sdk::prelude::{Error, Result, Secret};
use reqwest::{Client, Proxy, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// How requests get to a server.
#[derive(Debug, Clone)]
pub struct Way {
    pub client: Client,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Way {
    /// Opens no connection. `ca`: a PEM file with the authorities that are believed.
    pub fn new(
        ca: Option<&Path>,
        proxy: Option<&Secret>,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Result<Self> {
        let builder = match proxy {
            Some(setting) => Client::builder().proxy(by_proxy(setting)?),
            // Not even one that stands in the environment.
            None => Client::builder().no_proxy(),
        };
        let client = builder
            .tls_backend_preconfigured(trust(ca)?)
            .user_agent(concat!("engine/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .pool_idle_timeout(IDLE)
            // A signature is for one host.
            .redirect(reqwest::redirect::Policy::none())
            // Retries are the engine's.
            .retry(reqwest::retry::never())
            // An object that says it is packed stays so: another connector of the build may have these switched on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .map_err(|error| Error::internal(format!("the HTTP client cannot be made: {}", error.without_url())))?;
        Ok(Self { client, connect_timeout, timeout })
    }

    /// Why there was no answer, or not all of it.
    pub fn unanswered(&self, url: &Url, error: &reqwest::Error) -> Error {
        let (shown, timeout) = (origin(url), self.timeout);
        let tls = cause::<rustls::Error>(error);
        // What is refused for good; an alert or a broken record may be of a server that is busy.
        let refused = |found: &&rustls::Error| {
            use rustls::Error as Tls;
            matches!(found, Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented | Tls::PeerIncompatible(_))
        };
        if let Some(found) = tls.filter(refused) {
            return Error::denied(format!("{shown}: no verified TLS connection could be made: {found}")).hint(
                "set `ca` to the PEM file of the authority that signed the store's certificate, and check the host; \
                 a bucket whose name has dots needs `path_style: true`",
            );
        }
        if error.is_connect() && error.is_timeout() {
            return Error::unavailable(format!("{shown}: no connection within {:?}", self.connect_timeout))
                .hint("check `endpoint` and `region`, firewalls, and `connect_timeout`");
        }
        if error.is_timeout() {
            return Error::unavailable(format!("{shown} did not answer within {timeout:?}"))
                .hint("on a slow line, raise `timeout` or lower `part_size`");
        }
        if error.is_dns() {
            return Error::unavailable(format!("{shown}: the name of the host is not known"))
                .hint("check `endpoint`, `region` and `bucket`; a store that is not AWS may need `path_style: true`");
        }
        let why = cause::<std::io::Error>(error).map_or_else(|| innermost(error), |error| error.kind().to_string());
        if error.is_connect() {
            return Error::unavailable(format!("{shown}: nobody answers: {why}"))
                .hint("check that the store runs, and that `endpoint` is right");
        }
        Error::unavailable(format!("{shown}: the connection broke: {why}"))
    }
}

/// The server of an address: what messages show.
pub fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Which certificates are believed: those that the system trusts, or that `ca` holds.
fn trust(ca: Option<&Path>) -> Result<ClientConfig> {
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
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Through which requests go.
fn by_proxy(setting: &Secret) -> Result<Proxy> {
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
