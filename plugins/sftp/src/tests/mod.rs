//! Against real OpenSSH servers.

mod connections;
mod logins;
mod outages;
mod sink;
mod source;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};

use crate::{SftpSink, SftpSource};

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `tests/services run -- cargo test`"))
}

fn port(name: &str) -> u16 {
    environment(name).parse().unwrap()
}

fn host_key(kind: &str) -> String {
    let path = Path::new(&environment("ENGINE_TEST_SFTP_HOST_KEYS")).join(format!("{kind}.pub"));
    fs::read_to_string(path).unwrap()
}

fn key(kind: &str) -> PathBuf {
    Path::new(&environment("ENGINE_TEST_SFTP_KEYS")).join(kind)
}

/// Settings of a connection, with `more` in the place of what they say; `null` takes one away.
fn connection(more: Value) -> Value {
    let mut config = json!({
        "host": "127.0.0.1", "port": port("ENGINE_TEST_SFTP_PORT"), "username": environment("ENGINE_TEST_SFTP_USERNAME"),
        "password": environment("ENGINE_TEST_SFTP_PASSWORD"), "host_key": host_key("ed25519"), "timeout": "20s",
    });
    let Value::Object(more) = more else { panic!("settings are an object") };
    let settings = config.as_object_mut().unwrap();
    settings.extend(more);
    settings.retain(|_, value| !value.is_null());
    config
}

/// A folder of the server that no other test has.
struct Folder {
    name: String,
}

impl Folder {
    fn new(test: &str) -> Self {
        let folder = Self { name: format!("{test}-{}", std::process::id()) };
        let _ = fs::remove_dir_all(folder.here(""));
        fs::create_dir(folder.here("")).unwrap();
        folder.own("");
        folder
    }

    /// Gives something in it, and all below, to the login.
    fn own(&self, path: &str) {
        let login = fs::metadata(environment("ENGINE_TEST_SFTP_FOLDER")).unwrap();
        let mut open = vec![self.here(path)];
        while let Some(path) = open.pop() {
            chown(&path, Some(login.uid()), Some(login.gid())).unwrap();
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    /// Where something in it is on this machine.
    fn here(&self, path: &str) -> PathBuf {
        Path::new(&environment("ENGINE_TEST_SFTP_FOLDER")).join(&self.name).join(path)
    }

    /// What the login calls it.
    fn there(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.here(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.here(path)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.here(path)).unwrap()
    }

    fn source(&self, host: &Host, path: &str) -> SftpSource {
        host.open(connection(json!({ "path": self.there(path) }))).unwrap()
    }

    fn sink(&self, host: &Host, path: &str, overwrite: bool) -> SftpSink {
        host.open(connection(json!({ "path": self.there(path), "overwrite": overwrite }))).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(self.here(""));
        }
    }
}

fn plan(source: &mut SftpSource) -> Vec<Split> {
    source.plan(&PlanRequest::default()).unwrap().splits
}

fn read(source: &mut SftpSource, split: &Split) -> Result<(String, Vec<u8>)> {
    let (mut name, mut all) = (String::new(), Vec::new());
    for batch in source.read(split)? {
        for (file, data) in file_pieces(&batch?)? {
            name = file.into();
            all.extend_from_slice(data);
        }
    }
    Ok((name, all))
}

fn delivery(key: &str) -> Delivery {
    Delivery { key: key.into(), ..Delivery::default() }
}

fn sealed(key: &str, sealed: &Sealed) -> Delivery {
    Delivery { sealed: Some(sealed.clone()), ..delivery(key) }
}

fn input(pieces: &[(&str, &str)]) -> Batches {
    let batches: Vec<_> = pieces.iter().map(|(name, data)| Ok(file_piece(name, data.as_bytes()))).collect();
    Batches::new(files_schema(), batches.into_iter())
}

fn deliver(sink: &mut SftpSink, key: &str, pieces: &[(&str, &str)]) -> Result<Receipt> {
    assert_eq!(sink.begin_split(&delivery(key))?, Begun::New);
    let ready = sink.write(&delivery(key), input(pieces))?;
    sink.commit(&sealed(key, &ready))
}

/// The most memory that this process has had, in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
