//! HTTP: what programs and people see of the service, and ask of it.
//!
//! Every request passes the [`guard`] first. What can be asked is described in `/openapi.json`, which is made of the
//! functions that answer.

pub(crate) mod answer;
pub(crate) mod api;
mod basic;
mod body;
pub(crate) mod guard;
mod listen;
pub(crate) mod logs;
mod mask;
mod metrics;
pub(crate) mod openapi;
mod reports;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use engine_abi::{Error, Result};
use tokio::net::TcpListener;

use crate::http::answer::Problem;
use crate::http::guard::Hosts;
use crate::reports::Reports;
use crate::service::Service;
use crate::tokens::Tokens;
use crate::web::{self, Notices};

/// The most that a body has.
const LARGEST_BODY: usize = 1 << 20;
/// How long a request may take, from its head to its answer.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);
/// Threads that answer, and those that look things up for them.
const THREADS: usize = 2;
const BLOCKING_THREADS: usize = 32;
/// Of these, the most that wait for others than the engine itself.
const WAITING_THREADS: usize = 16;

/// How the service is reached.
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The files of a certificate with its chain, and of its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Names that it is reached by, besides its addresses.
    pub hosts: Vec<String>,
    /// Where its logs and tokens are.
    pub folder: PathBuf,
    /// Takes secrets out of a text.
    pub mask: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// What tries connections out.
    pub connections: Box<dyn Connections>,
    /// Reports, where there is a catalogue of them.
    pub reports: Option<Box<dyn Reports>>,
}

/// Named connections, to list and to try out.
pub trait Connections: Send + Sync {
    /// Their names, each with its component.
    ///
    /// # Errors
    /// What is wrong with the file that holds them.
    fn list(&self) -> Result<Vec<(String, String)>>;

    /// Tries one out. None: there is none of that name.
    fn check(&self, name: &str) -> Option<Result<String>>;
}

/// What all answers share.
pub(crate) struct Shared {
    pub(crate) service: Arc<Service>,
    pub(crate) hosts: Hosts,
    pub(crate) folder: PathBuf,
    pub(crate) mask: Box<dyn Fn(&str) -> String + Send + Sync>,
    pub(crate) connections: Box<dyn Connections>,
    /// It is reached by HTTPS.
    pub(crate) has_tls: bool,
    /// What forms came to.
    pub(crate) notices: Notices,
    pub(crate) reports: Option<Box<dyn Reports>>,
    /// Random, of this process.
    pub(crate) secret: [u8; 32],
    tokens: RwLock<Tokens>,
}

impl Shared {
    pub(crate) fn tokens(&self) -> RwLockReadGuard<'_, Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the tokens as they are now.
    pub(crate) fn read_tokens(&self) -> Result<()> {
        let tokens = Tokens::read(&self.folder)?;
        // Without a token nobody else may reach it, and it listens for others already.
        if tokens.list().is_empty() && !self.tokens().list().is_empty() {
            return Err(Error::config("the last token was removed; it is valid until the service is started anew"));
        }
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }
}

/// The interface at work.
pub struct Listening {
    thread: std::thread::JoinHandle<()>,
    shared: Arc<Shared>,
    /// Where it listens, the port that the system chose included.
    pub address: SocketAddr,
}

impl Listening {
    /// Has tokens, files and all that is around them looked at again, as `POST /api/reload` does: what there is then, or
    /// what is wrong.
    pub fn reload(&self) -> impl Fn() -> std::result::Result<String, String> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || api::pipelines::looked_anew(&shared).map_err(|problem| problem.message)
    }

    /// Waits until it has ended, which the service's stop brings about.
    pub fn join(self) {
        let _ = self.thread.join();
    }
}

/// Begins to answer.
///
/// # Errors
/// `Config` when it would be reached from elsewhere without a token, or the certificate is wrong; those of listening.
pub fn start(service: &Arc<Service>, http: Http) -> Result<Listening> {
    let tokens = Tokens::read(&http.folder)?;
    if tokens.list().is_empty() && !http.listen.ip().is_loopback() {
        return Err(Error::config(format!(
            "without a token the service listens at no address but this machine's own, and {} is none",
            http.listen
        ))
        .hint("make one with `engine tokens add NAME --role operate`, or listen at 127.0.0.1"));
    }
    let tls = http.tls.as_ref().map(|(certificate, key)| listen::tls(certificate, key)).transpose()?;
    if tls.is_none() && !http.listen.ip().is_loopback() {
        tracing::warn!(
            "tokens and data cross the network readably: give a certificate with --tls-certificate and --tls-key"
        );
    }
    let listener = listen::bind(http.listen)?;
    let address = listener.local_addr()?;
    let mut secret = [0; 32];
    for half in secret.chunks_mut(16) {
        half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let shared = Arc::new(Shared {
        service: Arc::clone(service),
        hosts: Hosts::new(address, &http.hosts),
        folder: http.folder,
        mask: http.mask,
        connections: http.connections,
        has_tls: tls.is_some(),
        notices: Notices::default(),
        reports: http.reports,
        secret,
        tokens: RwLock::new(tokens),
    });
    let router = router(&shared);
    let stop = service.stop.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|error| Error::from(error).context("the threads that answer cannot be started"))?;
    let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => listen::serve(listener, tls, router, stop).await,
                Err(error) => tracing::error!("the service cannot listen: {error}"),
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    });
    let thread = thread.map_err(|error| Error::from(error).context("a thread cannot be started"))?;
    Ok(Listening { thread, shared, address })
}

fn router(shared: &Arc<Shared>) -> Router {
    let (routes, document) = openapi::routes();
    routes
        .merge(web::routes(&document))
        .merge(openapi::own_routes(&document))
        .fallback(|| async { Problem::not_found("there is nothing here; / lists what there is") })
        .method_not_allowed_fallback(|| async {
            let message = "this address is not asked in this way; /openapi.json says how";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .with_state(Arc::clone(shared))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), guard::guard))
}

/// Ends what takes too long: a body that trickles in, above all.
async fn in_time(request: axum::extract::Request, next: middleware::Next) -> axum::response::Response {
    use axum::response::IntoResponse;
    match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long").into_response(),
    }
}
