//! Proxies, and certificates of the engine's own.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

#[test]
fn requests_go_through_the_proxy_that_is_named_and_through_no_other() {
    let proxy = Api::taking();
    let api = Api::taking();
    let settings = json!({"proxy": proxy.server.url()});
    deliver(&Host::new(), api.with(settings), vec![calls([1])], vec![]).unwrap();
    let paths: Vec<_> = proxy.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, [format!("{}/calls", api.server.url())]);
    assert!(api.seen().is_empty());
    for wrong in ["nowhere", "socks5://127.0.0.1:1"] {
        let error = deliver(&Host::new(), api.with(json!({"proxy": wrong})), vec![calls([1])], vec![]).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.message.contains("`proxy`"), "{error}");
    }
}

#[test]
fn the_engine_shows_its_certificate_where_it_is_asked() {
    let folder = std::env::temp_dir().join(format!("http-identity-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (made, certificate, key)
    };
    let (server, server_pem, _) = made("localhost");
    let (client, client_pem, client_key) = made("engine");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = rustls::pki_types::PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
    let settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let settings = Arc::new(settings);
    let thread = std::thread::spawn(move || {
        // The one that shows itself, and the one that does not.
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(Arc::clone(&settings)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"}") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let mut config = json!({
        "url": url, "ca": server_pem, "timeout": "10s", "identity": {"certificate": client_pem, "key": client_key},
    });
    deliver(&Host::new(), config.clone(), vec![calls([1])], vec![]).unwrap();
    config.as_object_mut().unwrap().remove("identity");
    assert!(deliver(&Host::new(), config.clone(), vec![calls([1])], vec![]).is_err());
    thread.join().unwrap();
    config["identity"] = json!({"certificate": "none.pem", "key": "none.key"});
    let error = deliver(&Host::new(), config, vec![calls([1])], vec![]).unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.message.contains("`identity`"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
