use super::*;

/// A key that no server of the tests has.
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

fn check(config: Value) -> Result<String> {
    let host = Host::new();
    let mut source: SftpSource = host.open(config)?;
    Ok(source.check()?.summary)
}

fn refused(config: Value) -> Error {
    let error = check(config).unwrap_err();
    assert!(error.hint.is_some(), "{error}");
    error
}

fn fingerprint(kind: &str) -> String {
    let key = russh::keys::PublicKey::from_openssh(&host_key(kind)).unwrap();
    key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
}

#[test]
fn a_server_is_known_by_each_of_its_keys_and_every_form_of_them() {
    let listed = json!([fingerprint("ecdsa"), host_key("rsa")]);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        for pin in [json!(host_key(kind)), json!(fingerprint(kind)), listed.clone()] {
            let summary = check(connection(json!({ "host_key": pin, "path": "*.none" }))).unwrap();
            assert!(summary.contains("*.none: 0 files of 0 bytes; host key "), "{summary}");
            assert!(pin.is_array() || summary.ends_with(&fingerprint(kind)), "{kind}: {summary}");
        }
    }
}

#[test]
fn nothing_goes_to_a_server_with_another_key() {
    let other = "SHA256:Ft7vx9wIPtjIqPEJLaeZLRWjTcATEzTYWzJ3sGHh4jQ";
    for pin in [other, OTHER] {
        let error = refused(connection(json!({ "host_key": pin, "path": "*" })));
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.message.contains(&fingerprint("ed25519")) && error.message.contains("and not"), "{error}");
        assert!(error.hint.unwrap().contains("ssh-keyscan"));
    }
    // A fingerprint does not say of which kind its key is: all that the server has are looked at.
    let error = refused(connection(json!({ "host_key": other, "path": "*" })));
    assert!(["ecdsa", "rsa"].iter().all(|kind| error.message.contains(&fingerprint(kind))), "{error}");
    assert!(error.message.contains(other), "{error}");
}

#[test]
fn known_hosts_are_read_as_openssh_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let port = port("ENGINE_TEST_SFTP_PORT");
    let host = Host::in_folder(folder.path());
    let config = connection(json!({ "host_key": null, "known_hosts": "hosts", "path": "*.none" }));
    let check = || host.open::<SftpSource>(config.clone()).unwrap().check();

    let unknown = check().unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::Denied);
    assert!(unknown.message.contains("is not recorded in") && unknown.message.contains("SHA256:"), "{unknown}");
    let hint = unknown.hint.unwrap();
    assert!(hint.contains("ssh-keyscan -p") && hint.contains("ssh-keygen -lf"), "{hint}");

    let path = folder.path().join("hosts");
    // The one key that is recorded is the one that is asked for.
    for kind in ["rsa", "ed25519"] {
        fs::write(&path, format!("[127.0.0.1]:{port} {}", host_key(kind))).unwrap();
        assert!(check().unwrap().summary.ends_with(&fingerprint(kind)));
    }
    let hashed = std::process::Command::new("ssh-keygen").arg("-H").arg("-f").arg(&path).output().unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("|1|"));
    check().unwrap();

    fs::write(&path, format!("[127.0.0.1]:{port} {OTHER}")).unwrap();
    let error = check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains(&fingerprint("ed25519")) && error.message.contains("and not"), "{error}");
}

#[test]
fn old_algorithms_are_used_only_when_asked_for() {
    let old = json!({ "port": port("ENGINE_TEST_SFTP_OLD_PORT"), "host_key": host_key("rsa"), "path": "*.none" });
    let mut config = connection(old);
    let error = refused(config.clone());
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("diffie-hellman-group14-sha1"), "{error}");
    assert!(error.hint.as_ref().unwrap().contains("weak_algorithms"), "{error}");
    config["weak_algorithms"] = json!(true);
    check(config).unwrap();
}

#[test]
fn a_server_that_is_not_there_is_waited_for() {
    for more in [json!({ "port": 1 }), json!({ "host": "nowhere.invalid" })] {
        let mut more = more;
        more["path"] = json!("*");
        let error = refused(connection(more));
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    }
    // One that takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = json!({ "port": mute.local_addr().unwrap().port(), "timeout": "300ms", "path": "*" });
    let error = refused(connection(more));
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("did not answer in time"), "{error}");
}

#[test]
fn what_speaks_something_else_is_told_from_ssh() {
    use std::io::Write;
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut client, _) = web.accept().unwrap();
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = refused(connection(json!({ "port": port, "path": "*" })));
    answering.join().unwrap();
    assert!(matches!(error.kind, ErrorKind::Config | ErrorKind::Unavailable), "{error}");
    assert!(error.message.contains(&port.to_string()), "{error}");
}

#[test]
fn settings_that_cannot_be_meant_are_refused_at_once() {
    for (more, says) in [
        (json!({ "host": "sftp://files/x" }), "no name of a server"),
        (json!({ "port": 0 }), "`port` is 0"),
        (json!({ "timeout": "0s" }), "`timeout` is 0"),
        (json!({ "username": "" }), "`username` is empty"),
        (json!({ "password": null }), "nothing says how"),
        (json!({ "passphrase": "x" }), "`passphrase` has no `private_key`"),
        (json!({ "private_key": "/nowhere", "agent": true }), "both there"),
        (json!({ "private_key": "/nowhere" }), "cannot be read"),
        (json!({ "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nx" }), "no private key that can be read"),
        (json!({ "host_key": "yes" }), "neither a fingerprint nor a public key"),
        (json!({ "known_hosts": "x" }), "`host_key` and `known_hosts` are both there"),
        (json!({ "path": "" }), "`path` is empty"),
        (json!({ "path": "a**b" }), "is not a pattern"),
    ] {
        let mut settings = json!({ "path": "*" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = Host::new().open::<SftpSource>(connection(settings)).err().unwrap_or_else(|| panic!("{says}"));
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(error.message.contains(says) && error.hint.is_some(), "{error}");
    }
}
