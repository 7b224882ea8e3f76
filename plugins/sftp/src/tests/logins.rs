use std::process::{Child, Command, Stdio};

use super::*;

fn check(config: Value) -> Result<()> {
    let host = Host::new();
    host.open::<SftpSource>(config)?.check().map(|_| ())
}

/// Logs in with these in the place of the password.
fn with(more: Value) -> Result<()> {
    let mut config = connection(json!({ "password": null, "path": "*.none" }));
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check(config)
}

#[test]
fn a_password_lets_in_and_a_wrong_one_does_not() {
    check(connection(json!({ "path": "*.none" }))).unwrap();
    let error = with(json!({ "password": "canary-4711" })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("refuses the login of `engine-sftp-"), "{error}");
    assert!(error.message.contains("by a password") && error.message.contains("publickey"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let error = with(json!({ "username": "nobody-here", "password": "x" })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
}

#[test]
fn keys_let_in_from_files_and_as_text() {
    let passphrase = environment("ENGINE_TEST_SFTP_PASSWORD");
    for kind in ["ed25519", "rsa", "ecdsa"] {
        with(json!({ "private_key": key(kind) })).unwrap_or_else(|error| panic!("{kind}: {error}"));
        with(json!({ "private_key": fs::read_to_string(key(kind)).unwrap() })).unwrap();
    }
    with(json!({ "private_key": key("encrypted"), "passphrase": passphrase })).unwrap();
    // Relative to the pipeline file.
    let host = Host::in_folder(key("").as_path());
    let config = connection(json!({ "password": null, "private_key": "ed25519", "path": "*.none" }));
    host.open::<SftpSource>(config).unwrap().check().unwrap();
}

#[test]
fn a_key_that_cannot_be_used_says_why_and_is_not_shown() {
    for (more, says) in [(json!({}), "is encrypted"), (json!({ "passphrase": "canary-4711" }), "cannot be opened")] {
        let mut login = json!({ "private_key": key("encrypted") });
        login.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = with(login).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(says) && error.hint.is_some(), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap();
    assert!(made.success());
    let error = with(json!({ "private_key": path })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("by a key"), "{error}");
    // A server takes what it can get.
    with(json!({ "private_key": path, "password": environment("ENGINE_TEST_SFTP_PASSWORD") })).unwrap();
}

/// An agent of the test's own.
struct Agent {
    process: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        // It is there as soon as somebody can talk to it.
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::yield_now();
        }
        Self { process, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    fn add(&self, key: &Path) {
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", self.socket()).status().unwrap();
        assert!(added.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_signs_with_the_keys_that_it_holds() {
    let agent = Agent::start();
    let login = || with(json!({ "agent": agent.socket() }));
    let error = login().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("by the keys of the agent"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status().unwrap();
    agent.add(&other);
    assert_eq!(login().unwrap_err().kind, ErrorKind::Denied);
    agent.add(&key("rsa"));
    login().unwrap();

    let error = with(json!({ "agent": "/nowhere/agent" })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.hint.unwrap().contains("ssh-agent"));
}
