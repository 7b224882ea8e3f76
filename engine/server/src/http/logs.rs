//! The log of a day, read from its file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use engine_abi::{Error, Result};

/// A line has no more; the rest of a longer one is left out.
const LONGEST_LINE: usize = 16 << 10;

/// The end of a log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) file: String,
    pub(crate) total: u64,
    pub(crate) lines: Vec<String>,
}

/// The newest `most` lines of the newest log below a state folder; only those of `pipeline`.
pub(crate) fn tail(folder: &Path, most: usize, pipeline: Option<&str>) -> Result<Tail> {
    let folder = folder.join("logs");
    let named = |error: std::io::Error| Error::from(error).context(folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Tail::default()),
        Err(error) => return Err(named(error)),
    };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let Some(path) = files.filter(|path| path.extension().is_some_and(|it| it == "log")).max() else {
        return Ok(Tail::default());
    };
    let mut reader = BufReader::new(File::open(&path).map_err(named)?);
    let (mut total, mut lines) = (0, VecDeque::new());
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(named)? == 0 {
            break;
        }
        total += 1;
        bytes.truncate(LONGEST_LINE);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if pipeline.is_none_or(|pipeline| is_of(text, pipeline)) {
            lines.push_back(text.to_owned());
            if lines.len() > most {
                lines.pop_front();
            }
        }
    }
    Ok(Tail { file: path.display().to_string(), total, lines: lines.into() })
}

/// Whether a line is of a pipeline: its name stands behind time and level, or is a member of the object.
fn is_of(line: &str, pipeline: &str) -> bool {
    if line.starts_with('{') {
        return serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["pipeline"] == pipeline);
    }
    let said = line.splitn(3, " - ").nth(2).unwrap_or_default();
    said.strip_prefix(pipeline).is_some_and(|rest| rest.starts_with([' ', ':']))
}
