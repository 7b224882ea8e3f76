//! What `tests/services run` says of its servers.

use std::path::Path;
use std::process::Command;

/// A variable of them.
///
/// # Panics
/// When it is not set.
pub fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name}: run it by `tests/services run`"))
}

/// The fingerprint of the SFTP server's key, as `ssh-keygen -l` tells it.
///
/// # Panics
/// When there is no such server.
pub fn sftp_host_key() -> String {
    let public = Path::new(&environment("ENGINE_TEST_SFTP_HOST_KEYS")).join("ed25519.pub");
    let shown = Command::new("ssh-keygen").arg("-lf").arg(public).output().expect("ssh-keygen is there");
    let shown = String::from_utf8(shown.stdout).expect("it prints text");
    shown.split_whitespace().find(|word| word.starts_with("SHA256:")).expect("a fingerprint").to_owned()
}
