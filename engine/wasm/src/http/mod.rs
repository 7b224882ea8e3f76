//! HTTP requests of a guest: only to hosts that its stage grants, with the
//! timeouts of its call. A redirect is a request of its own, and is asked again.

mod rules;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine_abi::message::Permissions;
use engine_abi::reach::Target;
use engine_abi::{Error as EngineError, Result as EngineResult};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::{Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::state::Clock;
use rules::Rules;

/// How long a connection may take, unless less is left of the call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the requests of one instance.
pub struct Outgoing {
    rules: Arc<Rules>,
    clock: Arc<Clock>,
    denied: Arc<Mutex<Option<EngineError>>>,
}

impl Outgoing {
    pub fn new(permissions: &Permissions, clock: Arc<Clock>) -> EngineResult<Self> {
        Ok(Self { rules: Arc::new(Rules::new(permissions)?), clock, denied: Arc::default() })
    }

    /// What was refused since the last call.
    pub fn take_denied(&mut self) -> Option<EngineError> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Outgoing {
    /// Of every request that is being written: it lies in the engine's memory, not in the guest's.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        64 << 10
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (rules, denied) = (Arc::clone(&self.rules), Arc::clone(&self.denied));
        // The engine's limit holds whatever the guest asks for.
        let left = self.clock.left();
        let options = options.unwrap_or_default();
        let within = |wish: Option<Duration>, ours: Duration| wish.unwrap_or(ours).min(ours);
        let connect = within(options.connect_timeout, CONNECT_TIMEOUT.min(left));
        let first_byte = within(options.first_byte_timeout, left);
        let between_bytes = within(options.between_bytes_timeout, left);
        Box::new(async move {
            let target = target(request.uri())?;
            let refuse = |error: EngineError| {
                *denied.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Error::HttpRequestDenied
            };
            if !rules.grants(&target) {
                return Err(refuse(not_granted(&target)));
            }
            let addresses = timeout(connect, addresses(&target)).await.map_err(|_| Error::DnsTimeout)??;
            let (open, private): (Vec<_>, Vec<_>) =
                addresses.into_iter().partition(|address| rules.admits(&target, address.ip()));
            if let (true, Some(private)) = (open.is_empty(), private.first()) {
                return Err(refuse(private_address(&target, *private)));
            }
            let stream = timeout(connect, connect_to(&target, &open)).await.map_err(|_| Error::ConnectionTimeout)??;
            send(request, stream, first_byte, between_bytes).await
        })
    }
}

fn target(uri: &Uri) -> Result<Target, Error> {
    let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let tls = uri.scheme_str() != Some("http");
    let port = uri.port_u16().unwrap_or(Target::default_port(tls));
    Ok(Target { tls, host: host.trim_end_matches('.').to_ascii_lowercase(), port })
}

fn not_granted(target: &Target) -> EngineError {
    let rule = target.as_rule();
    EngineError::denied(format!("the module asked for {rule}, which the pipeline does not grant"))
        .hint(format!("if it should reach it, add to its stage: permissions: {{hosts: [\"{rule}\"]}}"))
}

fn private_address(target: &Target, address: SocketAddr) -> EngineError {
    let network = format!("{}/{}", address.ip(), if address.is_ipv4() { 32 } else { 128 });
    EngineError::denied(format!(
        "{} stands for the private address {}, which the pipeline does not grant",
        target.host,
        address.ip()
    ))
    .hint(format!("if the module should reach it, add to its stage: permissions: {{networks: [\"{network}\"]}}"))
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, Error> {
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    found.map(Iterator::collect).map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to one of the addresses that were checked: the name is not looked up again.
async fn connect_to(target: &Target, addresses: &[SocketAddr]) -> Result<Box<dyn Stream>, Error> {
    let stream = TcpStream::connect(addresses).await.map_err(Error::Connect)?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name =
        rustls::pki_types::ServerName::try_from(target.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector =
        TlsConnector::from(Arc::clone(tls().as_ref().map_err(|what| Error::InternalError(Some(what.clone())))?));
    Ok(Box::new(connector.connect(name, stream).await.map_err(Error::Tls)?))
}

/// The machine's own certificates decide whom to trust, as everywhere in the engine.
fn tls() -> &'static Result<Arc<rustls::ClientConfig>, String> {
    static TLS: OnceLock<Result<Arc<rustls::ClientConfig>, String>> = OnceLock::new();
    TLS.get_or_init(|| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    })
}

async fn send(
    mut request: Request<WasiBody>,
    stream: Box<dyn Stream>,
    first_byte: Duration,
    between_bytes: Duration,
) -> Sent {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    // The address stands in the connection; the request line has the path alone.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let driver = tokio::spawn(connection);
    let answer = timeout(first_byte, sender.send_request(request)).await;
    let response = match answer {
        Ok(response) => response?,
        Err(_) => {
            driver.abort();
            return Err(Error::ConnectionReadTimeout);
        }
    };
    let body = |incoming| Answer {
        incoming,
        pause: Box::pin(tokio::time::sleep(between_bytes)),
        limit: between_bytes,
        driver,
    };
    Ok((response.map(|incoming| body(incoming).boxed_unsync()), Box::new(async { Ok(()) })))
}

/// A response's body, which may not pause for too long.
struct Answer {
    incoming: Incoming,
    pause: Pin<Box<tokio::time::Sleep>>,
    limit: Duration,
    driver: tokio::task::JoinHandle<Result<(), hyper::Error>>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            let until = tokio::time::Instant::now() + self.limit;
            self.pause.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        self.pause.as_mut().poll(context).map(|()| Some(Err(Error::HttpResponseTimeout)))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
