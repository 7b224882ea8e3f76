//! Connections: taken, with TLS where there is a certificate, and held to limits.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use engine_abi::{Error, Result};
use engine_runtime::Stop;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;

/// The most connections at a time; others wait until one of them ends.
const MOST_CONNECTIONS: usize = 1_024;
/// How long the head of a request may take, the pause before it included.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long the greeting of TLS may take.
const GREETING_TIME: Duration = Duration::from_secs(10);
/// How long nothing of an answer is read before its connection is ended.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// The most that the head of a request has; what is far beyond it is not even read.
pub(crate) const LARGEST_HEAD: usize = 32 << 10;
/// The most headers of a request.
const MOST_HEADERS: usize = 100;
/// At the end: how long answers that are under way are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How long nothing is accepted when the system has no file or memory left for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Reads a certificate with its chain and its key.
///
/// # Errors
/// `Config`: the file that cannot be read, or what does not fit.
pub(crate) fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let unreadable = |path: &Path, why: String| {
        Error::config(format!("{} cannot be read: {why}", path.display())).hint("give the path of a PEM file")
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<_, _>>)
        .map_err(|error| unreadable(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, "there is no certificate in it".into()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| {
            unreadable(certificate, error.to_string()).hint("the key must be that of the first certificate")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Listens at an address.
///
/// # Errors
/// `Unavailable` when it is taken, `Denied` when the system does not let us.
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    let bound = std::net::TcpListener::bind(address).and_then(|it| it.set_nonblocking(true).map(|()| it));
    bound.map_err(|error| {
        Error::from(error)
            .context(format_args!("the service cannot listen at {address}"))
            .hint("choose another address with --listen")
    })
}

/// Answers until it is asked to stop.
pub(crate) async fn serve(listener: TcpListener, tls: Option<ServerConfig>, router: Router, stop: Stop) {
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = async {
                let place = Arc::clone(&room).acquire_owned().await.ok()?;
                Some((listener.accept().await, place))
            } => accepted,
            () = stopped(&stop) => break,
        };
        let Some((accepted, place)) = accepted else { break };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, router, ended) = (acceptor.clone(), router.clone(), ended.clone());
        connections.spawn(async move {
            match acceptor {
                None => converse(stream, router, ended, ANSWER_TIME).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(GREETING_TIME, acceptor.accept(stream)).await {
                        converse(stream, router, ended, ANSWER_TIME).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = ending.send(true);
    let _ = tokio::time::timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
}

async fn stopped(stop: &Stop) {
    while !stop.draining() {
        tokio::time::sleep(LOOK).await;
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    router: Router,
    mut ended: watch::Receiver<bool>,
    answer_time: Duration,
) {
    let service = tower_service(router);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(answer_time));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

fn tower_service(
    router: Router,
) -> impl hyper::service::Service<
    hyper::Request<Incoming>,
    Response = hyper::Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> {
    TowerToHyperService::new(router)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_connection_on_which_nobody_reads_the_answer_is_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let router = Router::new().route("/", get(|| async { vec![b'a'; 1 << 20] }));
            let (mut asks, answers) = tokio::io::duplex(1 << 10);
            let (_ending, ended) = watch::channel(false);
            asks.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            converse(answers, router, ended, Duration::from_millis(50)).await;
            // Who asked still holds his end of it.
            drop(asks);
        });
    }
}
