//! Certificates.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use super::*;

#[test]
fn a_store_is_believed_only_with_a_certificate_of_the_authority_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = folder.path().join(name);
        std::fs::write(&pem, made.cert.pem()).unwrap();
        (made, pem)
    };
    let ((server, right), (_, wrong)) = (made("right.pem"), made("wrong.pem"));
    let key = rustls::pki_types::PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.cert.der().clone()], key)
        .unwrap();
    let (listener, settings) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(settings));
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for _ in 0..3 {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(Arc::clone(&settings)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            // One that does not believe has gone.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\netag: e\r\nconnection: close\r\ncontent-length: 7\r\n\r\n");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let checked = |host: &str, ca: &std::path::Path| {
        let engine = Host::new();
        let settings = json!({"endpoint": format!("https://{host}:{port}"), "ca": ca, "timeout": "20s"});
        engine.open::<S3Source>(merged(example(), settings)).unwrap().check()
    };
    assert_eq!(checked("localhost", &right).unwrap().summary, "s3://calls/a: 1 object of 7 bytes");
    for (host, ca) in [("localhost", &wrong), ("127.0.0.1", &right)] {
        let error = checked(host, ca).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.hint.unwrap().contains("`ca`"));
    }
    thread.join().unwrap();
}
