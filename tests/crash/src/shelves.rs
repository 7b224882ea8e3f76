//! Where files go: a folder, and servers that keep theirs in folders of this machine, where they can be looked at.

use std::path::PathBuf;

use engine_end_to_end_tests::{Place, environment, sftp_host_key};

use crate::relay::relay;

/// What files go to.
pub trait Shelf {
    /// What the pair is called in the table.
    const NAME: &'static str;
    /// The same, for a file that is copied as it is.
    const COPIED: &'static str;

    /// An empty one. Gives the engines its address.
    fn new(place: &mut Place) -> Self;

    /// `use` and `with` of a sink that writes a file, and replaces it; or with no name, files under their own.
    fn as_sink(&self, name: &str) -> String;

    /// Where a file of it is on this machine.
    fn file(&self, name: &str) -> PathBuf;
}

/// A name that no other place has.
fn name_of(place: &Place) -> String {
    let folder = place.path("");
    let name = folder.components().next_back().expect("it has a name");
    name.as_os_str().to_string_lossy().into_owned()
}

/// A folder of this machine.
pub struct Folder(PathBuf);

impl Shelf for Folder {
    const NAME: &'static str = "log file → CSV";
    const COPIED: &'static str = "11 MiB, copied";

    fn new(place: &mut Place) -> Self {
        Self(place.path("out"))
    }

    fn as_sink(&self, name: &str) -> String {
        format!("use: file, with: {{ path: out/{name}, overwrite: true }}")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A folder of the SFTP server.
pub struct Sftp(Served);

impl Shelf for Sftp {
    const NAME: &'static str = "log file → CSV, by SFTP";
    const COPIED: &'static str = "11 MiB, by SFTP";

    fn new(place: &mut Place) -> Self {
        for name in ["SFTP_PORT", "SFTP_USERNAME", "SFTP_PASSWORD"] {
            place.set(name, environment(&format!("ENGINE_TEST_{name}")));
        }
        place.set("SFTP_HOST_KEY", sftp_host_key());
        Self(Served::new(place, "ENGINE_TEST_SFTP_FOLDER"))
    }

    fn as_sink(&self, name: &str) -> String {
        format!(
            "use: sftp, with: {{ host: 127.0.0.1, port: \"${{env:SFTP_PORT}}\", username: \"${{env:SFTP_USERNAME}}\", \
             password: \"${{env:SFTP_PASSWORD}}\", host_key: \"${{env:SFTP_HOST_KEY}}\", path: {}/{name}, \
             overwrite: true }}",
            self.0.name
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.folder.join(name)
    }
}

/// A prefix of the bucket of a stand-in for S3.
pub struct S3(Served);

impl Shelf for S3 {
    const NAME: &'static str = "log file → CSV, in S3 (stand-in)";
    const COPIED: &'static str = "11 MiB, in parts, in S3 (stand-in)";

    fn new(place: &mut Place) -> Self {
        for name in ["S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_BUCKET"] {
            place.set(name, environment(&format!("ENGINE_TEST_{name}")));
        }
        let endpoint = environment("ENGINE_TEST_S3_ENDPOINT");
        let port = relay(endpoint.trim_start_matches("http://"));
        place.set("S3_ENDPOINT", format!("http://127.0.0.1:{port}"));
        Self(Served::new(place, "ENGINE_TEST_S3_FOLDER"))
    }

    fn as_sink(&self, name: &str) -> String {
        format!(
            "use: s3, with: {{ endpoint: \"${{env:S3_ENDPOINT}}\", access_key: \"${{env:S3_ACCESS_KEY}}\", \
             secret_key: \"${{env:S3_SECRET_KEY}}\", bucket: \"${{env:S3_BUCKET}}\", path: {}/{name}, \
             part_size: 5MiB, overwrite: true }}",
            self.0.name
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.folder.join(name)
    }
}

/// A folder of a server. Removed when dropped.
struct Served {
    name: String,
    folder: PathBuf,
}

impl Served {
    fn new(place: &Place, root: &str) -> Self {
        let name = name_of(place);
        let folder = PathBuf::from(environment(root)).join(&name);
        Self { name, folder }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
