//! What several tests of the state need.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::Utc;
use engine_abi::Unit;
use engine_abi::message::{Receipt, Split};
use engine_state::{Delivery, NewDeadLetter, NewWindow, Payload, SinkPlan, State, Window, WindowKind};
use serde_json::{Value, json};

pub fn delivery(sink: &str, window: u64, split: &str) -> Delivery {
    Delivery { pipeline: "p".into(), sink: sink.into(), window, split: split.into() }
}

pub fn receipt(rows: u64) -> Receipt {
    Receipt { rows, bytes: rows * 10, ..Receipt::default() }
}

pub fn artefact(hash: &str) -> Receipt {
    Receipt { sha256: Some(hash.into()), ..Receipt::default() }
}

/// A window of pipeline `p` from `lower` to `lower + 1`.
pub fn new_window(lower: u64, splits: &[&str], sinks: &[(&str, Unit)]) -> NewWindow {
    NewWindow {
        pipeline: "p".into(),
        run: "run".into(),
        kind: WindowKind::Read,
        lower: Some(json!(lower)),
        upper: Some(json!(lower + 1)),
        splits: splits
            .iter()
            .map(|id| Split { id: (*id).into(), spec: json!({ "part": id }), estimated_rows: Some(3), cut: None })
            .collect(),
        definition: json!({ "source": { "use": "tcp" } }),
        context: json!({ "started": Utc::now().to_rfc3339() }),
        sinks: sinks.iter().map(|(name, unit)| SinkPlan { name: (*name).into(), unit: *unit }).collect(),
        replays: Vec::new(),
        backfill: None,
        tells: false,
        about: None,
    }
}

pub fn create(state: &State, lower: u64, splits: &[&str], sinks: &[(&str, Unit)]) -> Window {
    state.create_window(&new_window(lower, splits, sinks)).unwrap()
}

pub fn settle(state: &State, sink: &str, window: u64, split: &str) -> bool {
    state.settle(&delivery(sink, window, split), &receipt(1), 1, 10).unwrap()
}

pub fn letter(window: u64, split: &str, stage: &str, ordinal: u64, reason: &str) -> NewDeadLetter {
    NewDeadLetter {
        pipeline: "p".into(),
        window,
        split: split.into(),
        stage: stage.into(),
        ordinal,
        run: "run".into(),
        code: "malformed".into(),
        reason: reason.into(),
        display: json!({ "line": ordinal }).to_string(),
        payload: Payload::Raw { name: "192.0.2.1:5000".into(), bytes: vec![0, 255, 10] },
    }
}

pub fn cursor(state: &State, sink: &str) -> (u64, Option<Value>) {
    state.cursor("p", sink).unwrap().map_or((0, None), |cursor| (cursor.window, cursor.value))
}

/// A small file system in memory, unmounted when dropped.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None, and why on standard error, where this process may not mount one.
    pub fn mount(test: &str, bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                eprintln!("not run: {test}: mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("not run: {test}: mount: {error}");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the space that is left, but for `spare` bytes; the file to delete to give it back.
    pub fn fill(&self, spare: u64) -> PathBuf {
        let path = self.path().join("filler");
        let free = rustix::fs::statvfs(self.path()).unwrap();
        let bytes = (free.f_bavail * free.f_frsize).saturating_sub(spare);
        std::fs::write(&path, vec![1_u8; bytes as usize]).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
