//! Listens, takes requests, and answers once their records are on disk.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine_sdk::prelude::*;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::access::Access;
use crate::records::Body;
use crate::{Certificate, Config, Tls};

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// At the end: how long requests that are under way are waited for.
const DRAIN: Duration = Duration::from_secs(5);
/// How long nothing is accepted when the system has no file or memory left for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// What the head of a request may take.
const LARGEST_HEAD: usize = 64 << 10;
/// Of a body that is too large: how much of it is read at least, and for how long.
const LEAST_DRAINED: usize = 1 << 20;
const LONGEST_DRAIN: Duration = Duration::from_secs(2);
/// Requests that wait for the disk at a time; the others wait for them.
const WRITERS: usize = 64;

/// What takes connections with TLS, where there is a certificate.
pub fn acceptor(config: &Config, cx: &Context) -> Result<Option<TlsAcceptor>> {
    let Some(Tls::Files(Certificate { certificate, key })) = &config.tls else { return Ok(None) };
    let unreadable = |path: &PathBuf, why: String| {
        Error::config(format!("`tls`: {} cannot be read: {why}", path.display())).hint("give the path of a PEM file")
    };
    let (certificate, key) = (cx.resolve(certificate), cx.resolve(key));
    let chain: Vec<_> = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<std::result::Result<_, _>>)
        .map_err(|error| unreadable(&certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| {
            Error::config(format!("`tls`: certificate and key cannot be used: {error}"))
                .hint("the key must be that of the certificate")
        })?;
    Ok(Some(TlsAcceptor::from(Arc::new(settings))))
}

/// What all requests share.
struct Shared {
    path: String,
    body: Body,
    access: Access,
    max_body: usize,
    timeout: Duration,
    writers: Arc<Semaphore>,
    connections: AtomicU64,
    cx: Context,
}

/// Takes requests until the engine wants to stop.
pub fn run(
    config: &Config,
    access: &Access,
    cx: &Context,
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
) -> Result<()> {
    listener.set_nonblocking(true)?;
    let shared = Arc::new(Shared {
        path: config.path.clone(),
        body: config.body,
        access: access.clone(),
        max_body: config.max_body.as_usize(),
        timeout: config.timeout.0,
        writers: Arc::new(Semaphore::new(WRITERS)),
        connections: AtomicU64::new(0),
        cx: cx.clone(),
    });
    let allow = config.allow.clone();
    let slots = Arc::new(Semaphore::new(config.max_connections));
    // Dropped at the end: it waits for the threads that write.
    let runtime = engine_sdk::Runtime::new()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        while !cx.cancelled() {
            // Where there are as many as may be, the system keeps the others waiting.
            let slot = tokio::time::timeout(LOOK, Arc::clone(&slots).acquire_owned()).await;
            let Ok(Ok(slot)) = slot else { continue };
            let Ok(accepted) = tokio::time::timeout(LOOK, listener.accept()).await else { continue };
            while connections.try_join_next().is_some() {}
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    cx.log(Level::Warn, format!("no connection can be accepted at the moment: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            if !allow.is_empty() && !allow.iter().any(|network| network.contains(peer.ip())) {
                continue;
            }
            let (shared, acceptor, stopped) = (Arc::clone(&shared), acceptor.clone(), stopped.clone());
            connections.spawn(async move {
                serve(stream, peer, acceptor, &shared, stopped).await;
                drop(slot);
            });
        }
        drop(listener);
        stop.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        // Who has no answer by then sends it again.
        let _ = tokio::time::timeout(DRAIN, all).await;
        connections.shutdown().await;
        Ok(())
    })
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: &Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => talk(stream, peer, shared, stopped).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(shared.timeout, acceptor.accept(stream)).await {
                talk(stream, peer, shared, stopped).await;
            }
        }
    }
}

/// One connection, until one side ends it.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(answer(request, peer, number, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.timeout)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // What goes wrong here is the peer's: it has no answer, and sends again.
        _ = connection.as_mut() => {}
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    connection: u64,
    shared: &Arc<Shared>,
) -> Response<Full<Bytes>> {
    match take(request, peer, connection, shared).await {
        Ok(count) => said(StatusCode::OK, &json!({"records": count})),
        Err((status, why)) => {
            let mut response = said(status, &json!({"error": why}));
            let headers = response.headers_mut();
            match status {
                StatusCode::METHOD_NOT_ALLOWED => {
                    headers.insert(ALLOW, HeaderValue::from_static("POST, PUT"));
                }
                StatusCode::UNAUTHORIZED => {
                    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                StatusCode::SERVICE_UNAVAILABLE => {
                    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
                }
                // The rest of a body is not read.
                StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                _ => {}
            }
            response
        }
    }
}

fn said(status: StatusCode, what: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{what}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

type Refused = (StatusCode, String);

/// Takes the records of a request. They are on disk when it answers.
async fn take(
    request: Request<Incoming>,
    peer: SocketAddr,
    connection: u64,
    shared: &Arc<Shared>,
) -> std::result::Result<u32, Refused> {
    let refuse = |status: StatusCode, why: &str| Err((status, why.to_owned()));
    if request.uri().path() != shared.path {
        return refuse(StatusCode::NOT_FOUND, "nothing is taken at this path");
    }
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "records come by POST or PUT");
    }
    let (head, mut body) = request.into_parts();
    // A page in a browser of this machine could send, too.
    if !shared.access.asks() && head.headers.contains_key(ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "pages in browsers send nothing here");
    }
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {} bytes", shared.max_body));
    if usize::try_from(body.size_hint().lower()).map_or(true, |size| size > shared.max_body) {
        // Some of it is taken, so that the answer is heard by those who send first and listen then.
        drain(&mut body, shared).await;
        return Err(too_large());
    }
    if !shared.access.knows(&head.headers) {
        return refuse(StatusCode::UNAUTHORIZED, "the token is missing, or another one");
    }
    if head.headers.get(CONTENT_ENCODING).is_some_and(|it| it.as_bytes() != b"identity") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is packed: send it as it is");
    }
    let body = Limited::new(body, shared.max_body).collect();
    let body = match tokio::time::timeout(shared.timeout, body).await {
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the body broke off"),
        Ok(Ok(body)) => body.to_bytes(),
    };
    if !shared.access.is_signed(&head.headers, &body) {
        return refuse(StatusCode::UNAUTHORIZED, "the signature is missing, or not that of the body");
    }
    let records = shared.body.records(&body).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    drop(body);
    if records.count == 0 {
        return Ok(0);
    }
    let busy = || (StatusCode::SERVICE_UNAVAILABLE, "the records cannot be stored now: send them again".to_owned());
    let writer = tokio::time::timeout(shared.timeout, Arc::clone(&shared.writers).acquire_owned()).await;
    let Ok(Ok(writer)) = writer else { return Err(busy()) };
    let kept = {
        let shared = Arc::clone(shared);
        tokio::task::spawn_blocking(move || {
            let arrival = Arrival::Complete { data: &records.lines, records: records.count };
            let kept = shared.cx.append(connection, &peer.to_string(), arrival).and_then(|at| shared.cx.durable(at));
            drop(writer);
            kept.map(|()| records.count)
        })
    };
    // Only when they are on disk is there an answer that says so.
    kept.await.map_err(|_| busy())?.map_err(|error| match error.kind {
        ErrorKind::Rejected => (StatusCode::PAYLOAD_TOO_LARGE, "the records are too many for the spool".to_owned()),
        _ => busy(),
    })
}

/// Reads of a body what comes soon, and no more than a few times what could have been taken.
async fn drain(body: &mut Incoming, shared: &Shared) {
    let mut left = shared.max_body.saturating_mul(4).max(LEAST_DRAINED);
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            if size > left {
                return;
            }
            left -= size;
        }
    };
    let _ = tokio::time::timeout(shared.timeout.min(LONGEST_DRAIN), all).await;
}
