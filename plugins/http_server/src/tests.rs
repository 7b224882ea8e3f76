//! With real sockets on the loopback interface.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_sdk::testing::Host;

use super::*;

/// A server at work on a thread of its own.
struct Running {
    host: Arc<Host>,
    address: String,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    fn start(more: Value) -> Self {
        let mut config = json!({"listen": "127.0.0.1:0"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let host = Arc::new(Host::new());
        let (of_thread, result) = (Arc::clone(&host), Arc::new(Mutex::new(None)));
        let failed = Arc::clone(&result);
        let thread = std::thread::spawn(move || {
            let ended = of_thread.open::<HttpServer>(config).and_then(|mut server| server.listen());
            *failed.lock().unwrap() = ended.clone().err();
            ended
        });
        let begun = Instant::now();
        let address = loop {
            let log = host.log();
            if let Some(address) = log.iter().find_map(|(_, line)| line.strip_prefix("listening on ")) {
                break address.to_owned();
            }
            assert!(result.lock().unwrap().is_none() && begun.elapsed() < Duration::from_secs(20), "{result:?}");
            std::thread::yield_now();
        };
        Self { host, address, thread: Some(thread) }
    }

    fn send(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut client = Client::connect(&self.address);
        client.send(head, body);
        client.answer()
    }

    fn post(&self, body: &str) -> (u16, String) {
        self.send("POST / HTTP/1.1\r\n", body.as_bytes())
    }

    /// Everything that was handed over.
    fn taken(&self) -> String {
        let all = self.host.appended();
        all.iter().map(|it| String::from_utf8(it.data.clone()).unwrap()).collect()
    }

    fn stop(mut self) -> Result<()> {
        self.host.cancel();
        self.thread.take().unwrap().join().unwrap()
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, head: &str, body: &[u8]) {
        let stream = self.stream.get_mut();
        write!(stream, "{head}host: h\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        // A server that has seen enough may have gone.
        let _ = stream.write_all(body);
    }

    fn answer(&mut self) -> (u16, String) {
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {line:?}")).parse().unwrap();
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

#[test]
fn a_request_is_answered_once_its_records_are_kept() {
    let server = Running::start(json!({}));
    assert_eq!(server.post("{\n \"a\": 1\n}"), (200, "{\"records\":1}\n".to_owned()));
    assert_eq!(server.post("[{\"a\": 2}, {\"a\": 3}]"), (200, "{\"records\":2}\n".to_owned()));
    assert_eq!(server.post("[]").0, 200);
    assert_eq!(server.taken(), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    // Several over one connection.
    let mut client = Client::connect(&server.address);
    for number in 4..7 {
        client.send("PUT / HTTP/1.1\r\n", format!("{{\"a\":{number}}}").as_bytes());
        assert_eq!(client.answer().0, 200);
    }
    drop(client);
    let peers: Vec<_> = server.host.appended().into_iter().map(|it| it.peer).collect();
    assert!(peers.iter().all(|peer| peer.starts_with("127.0.0.1:")), "{peers:?}");
    server.stop().unwrap();
}

#[test]
fn what_cannot_be_taken_says_why_and_leaves_nothing() {
    let server = Running::start(json!({"path": "/hooks", "max_body": "1KiB"}));
    let large = vec![b'1'; 4096];
    for (head, body, status, says) in [
        ("POST /other HTTP/1.1\r\n", &b"{}"[..], 404, "path"),
        ("GET /hooks HTTP/1.1\r\n", b"", 405, "POST"),
        ("POST /hooks HTTP/1.1\r\n", b"{", 400, "no JSON"),
        ("POST /hooks HTTP/1.1\r\ncontent-encoding: gzip\r\n", b"{}", 415, "packed"),
        ("POST /hooks HTTP/1.1\r\n", &large, 413, "1024 bytes"),
        ("POST /hooks HTTP/1.1\r\norigin: https://evil.example\r\n", b"{}", 403, "browsers"),
    ] {
        let (answered, text) = server.send(head, body);
        assert!(answered == status && text.contains(says), "{head}: {answered} {text}");
    }
    assert_eq!(server.send("POST /hooks?id=7 HTTP/1.1\r\n", b"{}").0, 200, "what is behind the path is no matter");
    assert_eq!(server.taken(), "{}\n");
    server.stop().unwrap();
}

#[test]
fn who_has_no_token_or_signature_is_refused() {
    let server = Running::start(json!({"token": "canary-token"}));
    assert_eq!(server.post("{}").0, 401);
    assert_eq!(server.send("POST / HTTP/1.1\r\nauthorization: Bearer canary\r\n", b"{}").0, 401);
    assert_eq!(server.send("POST / HTTP/1.1\r\nauthorization: Bearer canary-token\r\n", b"{}").0, 200);
    server.stop().unwrap();

    let signature = json!({"header": "X-Signature", "prefix": "sha256=", "secret": "Jefe"});
    let server = Running::start(json!({"signature": signature, "body": "lines"}));
    let signed = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let head = format!("POST / HTTP/1.1\r\nx-signature: sha256={signed}\r\n");
    assert_eq!(server.send(&head, b"what do ya want for nothing?").0, 200);
    assert_eq!(server.send(&head, b"what do ya want for nothing!").0, 401);
    assert_eq!(server.post("what do ya want for nothing?").0, 401);
    assert_eq!(server.taken(), "what do ya want for nothing?\n");
    server.stop().unwrap();
}

#[test]
fn many_send_at_a_time_and_everything_is_there_once() {
    let server = Running::start(json!({"max_connections": 8}));
    std::thread::scope(|scope| {
        for client in 0..32 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..10 {
                    assert_eq!(server.post(&format!("{{\"n\":{}}}", client * 10 + number)).0, 200);
                }
            });
        }
    });
    let mut numbers: Vec<u32> = server.taken().lines().map(|line| line[5..line.len() - 1].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..320).collect::<Vec<_>>());
    server.stop().unwrap();
}

#[test]
fn slow_and_silent_peers_are_not_waited_for() {
    let server = Running::start(json!({"timeout": "200ms"}));
    let mut slow = Client::connect(&server.address);
    write!(slow.stream.get_mut(), "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n{{").unwrap();
    assert_eq!(slow.answer().0, 408);
    let mut silent = Client::connect(&server.address);
    let mut rest = Vec::new();
    // Closed by the server, with an answer or without one.
    silent.stream.read_to_end(&mut rest).unwrap();
    assert!(server.host.appended().is_empty());
    server.stop().unwrap();
}

#[test]
fn with_tls_a_request_is_taken_and_without_it_not() {
    let folder = std::env::temp_dir().join(format!("http-server-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Running::start(json!({"tls": {"certificate": certificate, "key": key}}));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let session = rustls::ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = rustls::StreamOwned::new(session, stream);
    stream.write_all(b"POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut plain = Client::connect(&server.address);
    plain.send("POST / HTTP/1.1\r\n", b"{}");
    let mut rest = Vec::new();
    let _ = plain.stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    assert_eq!(server.taken(), "{}\n");
    server.stop().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_request_that_is_under_way_when_the_engine_stops_is_answered() {
    let server = Running::start(json!({}));
    let mut client = Client::connect(&server.address);
    write!(client.stream.get_mut(), "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{{").unwrap();
    // Its head has been read before the engine stops: the server answers another one meanwhile.
    assert_eq!(server.post("[]").0, 200);
    server.host.cancel();
    client.stream.get_mut().write_all(b"}").unwrap();
    assert_eq!(client.answer().0, 200);
    assert_eq!(server.taken(), "{}\n");
    server.stop().unwrap();
}

#[test]
fn settings_that_would_let_strangers_in_are_refused() {
    for (more, says) in [
        (json!({"listen": "0.0.0.0:0"}), "could be read on the way"),
        (json!({"listen": "0.0.0.0:0", "tls": "disable"}), "anyone who can reach"),
        (json!({"listen": "nowhere"}), "no address"),
        (json!({"path": "hooks"}), "`path: hooks`"),
        (json!({"token": ""}), "`token` is empty"),
        (json!({"max_body": "17MiB"}), "max_body"),
        (json!({"timeout": "0s"}), "`timeout` is 0"),
        (json!({"tls": {"certificate": "none.pem", "key": "none.key"}}), "cannot be read"),
        (json!({"signature": {"header": "a b", "secret": "x"}}), "no name of a header"),
    ] {
        let mut config = json!({"listen": "127.0.0.1:0"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let host = Host::new();
        let error = host.open::<HttpServer>(config).and_then(|mut server| server.check()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(says) && error.hint.is_some(), "{more}: {error}");
    }
    let config = json!({"listen": "0.0.0.0:0", "tls": "disable", "allow": ["10.0.0.0/8"]});
    Host::new().open::<HttpServer>(config).unwrap().check().unwrap();
}
