//! Getting there: TLS, logins, servers that do not answer.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

fn check(url: &str, more: serde_json::Value) -> Result<CheckReport> {
    let host = Host::new();
    host.open::<SqlServerSource>(extended(json!({"url": url, "query": "SELECT 1 AS one"}), more))?.check()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server for `localhost`, and the file with its authority.
fn protected(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>, wrapping: u8) -> (StandIn, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, authority).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let path = folder.join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let server = StandIn::with(|settings| {
        settings.tls = Some(Arc::new(config));
        settings.wrapping = wrapping;
    });
    (server, path.display().to_string())
}

#[test]
fn a_certificate_is_accepted_with_the_right_authority_and_name_only() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ca) = protected(folder.path(), &authority(), 0x12);
    let wrong = folder.path().join("wrong.pem").display().to_string();
    std::fs::write(&wrong, authority().pem()).unwrap();
    let url = server.url().replace("127.0.0.1", "localhost");
    let report = check(&url, json!({"tls": "verify", "ca": ca})).unwrap();
    assert!(report.summary.starts_with("SQL Server 16."), "{}", report.summary);
    for refused in [json!({"tls": "verify", "ca": wrong}), json!({"tls": "verify"})] {
        let error = check(&url, refused).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.hint.unwrap().contains("`ca`"));
    }
    // It listens there too, under a name that its certificate does not have.
    let other = server.url();
    assert_eq!(check(&other, json!({"tls": "verify", "ca": ca})).unwrap_err().kind, ErrorKind::Denied);
    check(&other, json!({})).unwrap();
}

#[test]
fn rows_cross_the_network_inside_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    // As an answer, and not as the client's own packets are.
    let (server, ca) = protected(folder.path(), &authority(), 0x04);
    server.sql("CREATE TABLE calls (id bigint, number nvarchar(max))");
    let host = Host::new();
    let url = server.url().replace("127.0.0.1", "localhost");
    // Many packets of TDS and many records of TLS.
    let long = "x".repeat(20_000);
    let rows = calls((0..50).map(|id| (id, Some(long.as_str()))));
    let config = json!({"url": url, "table": "calls", "tls": "verify", "ca": ca});
    let mut sink: SqlServerSink = host.open(config.clone()).unwrap();
    assert_eq!(deliver(&mut sink, 1, rows.clone()).unwrap().rows, 50);
    let mut source: SqlServerSource = host.open(config).unwrap();
    assert_eq!(read(&mut source).unwrap(), rows);
}

#[test]
fn a_server_without_tls_is_refused_unless_it_is_this_machine_or_told_to_be() {
    let server = StandIn::new();
    check(&server.url(), json!({})).unwrap();
    check(&server.url(), json!({"tls": "disable"})).unwrap();
    let error = check(&server.url(), json!({"tls": "verify"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.message.contains("offers no TLS"), "{error}");
}

#[test]
fn an_authority_that_cannot_be_read_is_the_configurations_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = protected(folder.path(), &authority(), 0x12);
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for path in ["/nowhere/ca.pem", empty.to_str().unwrap()] {
        let error = check(&server.url(), json!({"tls": "verify", "ca": path})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(path), "{error}");
    }
}

#[test]
fn a_wrong_password_is_denied_and_not_repeated() {
    let server = StandIn::new();
    let url = server.url().replace("hunter2%2F%40", "swordfish");
    let error = check(&url, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(!format!("{error:?}").contains("swordfish"), "{error}");
    assert!(error.message.contains("18456"), "{error}");
    assert!(error.hint.unwrap().contains("password"));
}

#[test]
fn a_database_that_is_not_there_is_the_configurations_fault() {
    let server = StandIn::new();
    let error = check(&server.url().replace("/calls", "/nowhere"), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.hint.unwrap().contains("database in `url`"));
}

#[test]
fn a_server_that_sends_on_is_followed_once() {
    let there = StandIn::new();
    let gateway = StandIn::with(|settings| settings.moved = Some(there.port));
    check(&gateway.url(), json!({})).unwrap();
    assert!(!there.statements().is_empty());
    let circle = StandIn::with(|settings| settings.moved = Some(gateway.port));
    let error = check(&circle.url(), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains(&format!("localhost:{}", there.port)), "{error}");
}

#[test]
fn a_server_that_cannot_be_reached_is_unavailable() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = check(&format!("mssql://user:hunter2@127.0.0.1:{port}/x"), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.hint.unwrap().contains("port"));

    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("mssql://user@127.0.0.1:{port}/x");
    let error = check(&url, json!({"connect_timeout": "50ms"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("50ms"), "{error}");
}

#[test]
fn what_is_no_sql_server_is_told_so() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the client has gone.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let error = check(&format!("mssql://user@127.0.0.1:{port}/x"), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("does not speak SQL Server's protocol"), "{error}");
}

#[test]
fn a_host_that_nobody_knows_is_told_by_its_name() {
    let error = check("mssql://user:hunter2@nowhere.invalid/x", json!({"tls": "disable"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("nowhere.invalid"), "{error}");
    assert!(error.hint.unwrap().contains("host in `url`"));
}
