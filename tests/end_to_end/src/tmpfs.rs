//! Small file systems, to fill.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory. Unmounted when dropped.
pub struct Tmpfs {
    folder: PathBuf,
}

impl Tmpfs {
    /// Mounts one of so many KiB at a folder, making that; none, having said
    /// why, where that is not allowed.
    pub fn mount(folder: &Path, kib: u64) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: only root can mount a small file system");
            return None;
        }
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={kib}k"), "engine-test"], folder);
        if let Err(why) = mounted {
            eprintln!("not run: no small file system can be mounted: {why}");
            return None;
        }
        Some(Self { folder: folder.to_owned() })
    }

    /// Makes it larger or smaller.
    pub fn resize(&self, kib: u64) {
        mount(&["-o", &format!("remount,size={kib}k")], &self.folder).expect("a mounted file system can be resized");
    }

    /// Fills it until so many KiB are left; answers with the file that takes the room.
    pub fn fill(&self, leave_kib: u64) -> PathBuf {
        let path = self.folder.join("ballast");
        let mut file = File::create(&path).expect("there is room for a file");
        while free_kib(&self.folder) > leave_kib {
            if file.write_all(&[1; 4096]).is_err() {
                break;
            }
        }
        path
    }
}

fn free_kib(folder: &Path) -> u64 {
    let found = rustix::fs::statvfs(folder).expect("a file system can be asked");
    found.f_bavail * found.f_frsize / 1024
}

fn mount(arguments: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(folder).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: an engine that a failed test left may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
