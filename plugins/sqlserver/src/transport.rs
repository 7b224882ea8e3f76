//! The way to the server: TCP, the first exchange of TDS, and TLS.
//!
//! TDS 7 begins in the clear with a PRELOGIN packet on each side, which agree on encryption, and carries the TLS
//! handshake inside of PRELOGIN packets. tiberius can do that too, but only with aws-lc or OpenSSL. So it is done
//! here, with the `ring` that the other connectors use, and tiberius gets a stream on which that part is over: its
//! own PRELOGIN goes no further than here, and is answered here.

use std::io::{Error as IoError, ErrorKind as IoKind, Result as IoResult};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use engine_sdk::prelude::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Failure;

/// Type, status, length (2, with the header), session (2), number, window.
const HEADER: usize = 8;
/// What a server answers with.
const RESPONSE: u8 = 0x04;
const PRELOGIN: u8 = 0x12;
/// The last packet of a message.
const END: u8 = 0x01;
/// The longest PRELOGIN that is waited for. Real ones have less than a hundred bytes.
const LONGEST: usize = 4096;

/// What PRELOGIN says of encryption.
mod encryption {
    pub const ON: u8 = 1;
    pub const NOT_SUPPORTED: u8 = 2;
    pub const REQUIRED: u8 = 3;
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// TLS, with the certificate and its name verified.
    Verified,
    /// TLS of whatever certificate, or none: this machine itself.
    Offered,
    /// None.
    Plain,
}

/// Goes through the first exchange, and through the TLS handshake where it is agreed on.
pub async fn prepare(
    mut stream: TcpStream,
    host: &str,
    protection: Protection,
    ca: Option<&Path>,
) -> Result<Transport, Failure> {
    let wanted = if protection == Protection::Plain { encryption::NOT_SUPPORTED } else { encryption::ON };
    stream.write_all(&prelogin(wanted, PRELOGIN)).await.map_err(lost)?;
    let agreed = answer(&mut stream).await?;
    let can = matches!(agreed, encryption::ON | encryption::REQUIRED);
    let inner = match protection {
        Protection::Plain if can => {
            return Err(Error::denied("the server takes connections with TLS only")
                .hint("leave `tls: disable` out")
                .into());
        }
        Protection::Plain => Inner::Plain(stream),
        Protection::Offered if !can => Inner::Plain(stream),
        Protection::Verified if !can => {
            return Err(Error::denied("the server offers no TLS")
                .hint("have it set up there; for a server without TLS write `tls: disable`")
                .into());
        }
        Protection::Offered | Protection::Verified => {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| Error::config(format!("`{host}` is no name that a certificate could be for")))?;
            let config = config(protection, ca)?;
            let handshake = TlsConnector::from(Arc::new(config)).connect(name, Framing::new(stream)).await;
            let mut tls = handshake.map_err(refused)?;
            tls.get_mut().0.wraps = false;
            Inner::Tls(Box::new(tls))
        }
    };
    Ok(Transport { inner, swallowed: Some(vec![]), answer: prelogin(encryption::NOT_SUPPORTED, RESPONSE), given: 0 })
}

/// A PRELOGIN with what is said of encryption, and otherwise what says nothing.
fn prelogin(encryption: u8, kind: u8) -> Vec<u8> {
    // VERSION, ENCRYPTION, INSTOPT (any instance), THREADID, MARS (no). A server may do without the last three.
    let options: [(u8, &[u8]); 5] = [(0, &[11, 0, 0, 0, 0, 0]), (1, &[encryption]), (2, &[0]), (3, &[0; 4]), (4, &[0])];
    let mut table = vec![];
    let mut values = vec![];
    for (option, value) in options {
        let at = options.len() * 5 + 1 + values.len();
        table.extend_from_slice(&[option, 0, at as u8, 0, value.len() as u8]);
        values.extend_from_slice(value);
    }
    table.push(0xff);
    let length = HEADER + table.len() + values.len();
    [&[kind, END, 0, length as u8, 0, 0, 1, 0][..], &table, &values].concat()
}

/// What the server says of encryption.
async fn answer(stream: &mut TcpStream) -> Result<u8, Failure> {
    let strange = || {
        Failure::from(
            Error::unavailable("the other side does not speak SQL Server's protocol")
                .hint("check the port in `url`; a server that takes only strict encryption (TDS 8) is not supported"),
        )
    };
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await.map_err(lost)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] != RESPONSE || !(HEADER..=LONGEST).contains(&length) {
        return Err(strange());
    }
    let mut body = vec![0; length - HEADER];
    stream.read_exact(&mut body).await.map_err(lost)?;
    let mut options = body.chunks_exact(5).take_while(|option| option[0] != 0xff);
    let option = options.find(|option| option[0] == 1).ok_or_else(strange)?;
    body.get(usize::from(u16::from_be_bytes([option[1], option[2]]))).copied().ok_or_else(strange)
}

fn lost(error: IoError) -> Failure {
    Failure::Broken(
        Error::unavailable(format!("the connection failed: {}", error.kind()))
            .hint("check that the server runs and that host and port in `url` are right"),
    )
}

fn refused(error: IoError) -> Failure {
    let certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    if certificate {
        return Failure::Broken(
            Error::denied("the server's certificate was not accepted")
                .hint("set `ca` to the PEM file of the authority that signed it, and use the host name that it is for"),
        );
    }
    match error.kind() {
        IoKind::InvalidData => Failure::Broken(
            Error::denied("no TLS connection could be made").hint("the server must speak TLS 1.2 inside of TDS 7"),
        ),
        _ => lost(error),
    }
}

fn config(protection: Protection, ca: Option<&Path>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    // A server speaks TLS 1.3 only around TDS 8, and what it sends behind a handshake of TLS 1.3 would have no
    // place in the packets of TDS 7.
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?;
    if protection == Protection::Offered {
        let any = Arc::new(AnyCertificate(provider.signature_verification_algorithms.supported_schemes()));
        return Ok(builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let wrong = |why: String| {
            Error::config(format!("the certificate authority `{}` cannot be read: {why}", path.display()))
                .hint("`ca` is the path of a PEM file")
        };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| wrong("it is no PEM file".into()))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(wrong("it holds no certificate".into()));
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes any certificate, and any proof of its key: those that old servers make for themselves cannot even be read
/// here. Only ever between this machine and itself.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// Wraps what TLS says into PRELOGIN packets for as long as its handshake lasts.
struct Framing {
    stream: TcpStream,
    wraps: bool,
    /// What is yet to be sent.
    sent: Vec<u8>,
    /// What TLS has said since the last packet.
    said: Vec<u8>,
    header: [u8; HEADER],
    /// How much of the header is there.
    known: usize,
    /// How much of the packet is yet to come.
    rest: usize,
}

impl Framing {
    fn new(stream: TcpStream) -> Self {
        Self { stream, wraps: true, sent: vec![], said: vec![], header: [0; HEADER], known: 0, rest: 0 }
    }

    fn poll_send(&mut self, task: &mut Task<'_>) -> Poll<IoResult<()>> {
        for piece in std::mem::take(&mut self.said).chunks(LONGEST - HEADER) {
            let length = ((piece.len() + HEADER) as u16).to_be_bytes();
            self.sent.extend_from_slice(&[PRELOGIN, END, length[0], length[1], 0, 0, 0, 0]);
            self.sent.extend_from_slice(piece);
        }
        while !self.sent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(task, &self.sent))?;
            if sent == 0 {
                return Poll::Ready(Err(IoKind::WriteZero.into()));
            }
            self.sent.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Framing {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, into: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        let this = &mut *self;
        if !this.wraps {
            return Pin::new(&mut this.stream).poll_read(task, into);
        }
        while this.rest == 0 {
            let mut header = ReadBuf::new(&mut this.header[this.known..]);
            ready!(Pin::new(&mut this.stream).poll_read(task, &mut header))?;
            let read = header.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.known += read;
            if this.known == HEADER {
                let length = usize::from(u16::from_be_bytes([this.header[2], this.header[3]]));
                // Servers differ in what they call it.
                if !matches!(this.header[0], PRELOGIN | RESPONSE) || length < HEADER {
                    return Poll::Ready(Err(IoError::new(IoKind::InvalidData, "no packet of a handshake")));
                }
                (this.known, this.rest) = (0, length - HEADER);
            }
        }
        let most = this.rest.min(into.remaining());
        let mut some = ReadBuf::new(into.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.stream).poll_read(task, &mut some))?;
        let read = some.filled().len();
        into.advance(read);
        this.rest -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Framing {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<IoResult<usize>> {
        if self.wraps {
            // In one packet with what follows, until it is flushed.
            self.said.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_send(task))?;
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<IoResult<()>> {
        ready!(self.poll_send(task))?;
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<IoResult<()>> {
        ready!(self.poll_send(task))?;
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<Framing>>),
}

/// A stream on which the first exchange is over.
pub struct Transport {
    inner: Inner,
    /// As much of the driver's own PRELOGIN as has come; none once it is whole.
    swallowed: Option<Vec<u8>>,
    /// What the driver is answered.
    answer: Vec<u8>,
    /// How much of that it has got.
    given: usize,
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, into: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        let this = &mut *self;
        if this.given < this.answer.len() {
            let some = (this.answer.len() - this.given).min(into.remaining());
            into.put_slice(&this.answer[this.given..this.given + some]);
            this.given += some;
            return Poll::Ready(Ok(()));
        }
        match &mut this.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(task, into),
            Inner::Tls(stream) => Pin::new(stream).poll_read(task, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<IoResult<usize>> {
        let this = &mut *self;
        if let Some(swallowed) = &mut this.swallowed {
            let mut taken = 0;
            for byte in bytes {
                swallowed.push(*byte);
                taken += 1;
                let whole = swallowed.len() >= HEADER
                    && swallowed.len() == usize::from(u16::from_be_bytes([swallowed[2], swallowed[3]]));
                if whole {
                    this.swallowed = None;
                    break;
                }
            }
            return Poll::Ready(Ok(taken));
        }
        match &mut this.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(task, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(task, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<IoResult<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(task),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(task),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<IoResult<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(task),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(task),
        }
    }
}
