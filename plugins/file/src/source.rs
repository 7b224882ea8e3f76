//! The source: every file that matches is one split, cut to the size that it
//! had when the run was planned.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use engine_sdk::prelude::*;
use engine_sdk::{After, Newest, file_piece, files_schema, leave_out_undelivered};
use glob::{MatchOptions, Pattern, PatternError, glob_with};

use crate::away::put_away;
use crate::disk::{self, fault};
use crate::planned::Planned;

/// How many bytes are read at a time, at most. With more a run is no faster, and every stage that holds a piece
/// holds more.
const PIECE: u64 = 256 * 1024;
/// The same at least.
const SMALLEST_PIECE: u64 = 4096;

/// Which files to read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file, or a pattern such as `inbox/*.csv` or `logs/**/*.log`. Relative
    /// to the pipeline file. `*`, `?` and `[…]` match within one folder, `**`
    /// any number of folders; names that begin with a dot are matched only by a
    /// pattern that does too. Files are read in the order of their names. A
    /// pattern that matches nothing is an empty run, a file that is not there
    /// an error.
    path: String,
    /// A larger file is cut into splits of about this size, where it is not
    /// compressed, its format can tell where records begin (`csv`) and every sink
    /// takes splits: they are delivered each for itself, and several at a time.
    #[serde(default = "default_split")]
    split: ByteSize,
    /// Only files that were written later than the newest one of the run before. Files that come with an older time,
    /// such as copies that keep theirs, are not seen: move files away with `after` instead.
    #[serde(default)]
    only_new: bool,
    /// What becomes of a file once every sink has all that was read: `keep`, `delete`, or `{move: done}` for a folder.
    /// A name that is taken there gets a number. A file that was written to meanwhile stays, and all of it is read
    /// again: let a program that writes files rename them to where `path` finds them when they are complete.
    #[serde(default)]
    after: After,
}

/// Of five million rows in 240 MB, two connections load 16 to 32 MiB at a time the fastest: less means more commits,
/// more means that one of them waits for the other at the end.
const fn default_split() -> ByteSize {
    ByteSize(16 * 1024 * 1024)
}

/// Reads files.
pub struct FileSource {
    config: Config,
    cx: Context,
}

impl FileSource {
    fn is_pattern(&self) -> bool {
        self.config.path.contains(['*', '?', '['])
    }

    /// The files there are, in the order of their names.
    fn matched(&self) -> Result<Vec<Planned>> {
        let path = &self.config.path;
        if !self.is_pattern() {
            let found = self.look(path)?.ok_or_else(|| self.missing(path))?;
            if found.is_dir() {
                return Err(Error::config(format!("{path} is a folder"))
                    .hint(format!("read the files in it with the pattern `{}/*`", path.trim_end_matches('/'))));
            }
            return Ok(vec![Planned::new(path.clone(), &found)]);
        }
        // The pipeline's own folder may hold characters that mean something in a pattern.
        let base = self.cx.resolve("").display().to_string();
        let pattern = match Path::new(path).is_absolute() || base.is_empty() {
            true => path.clone(),
            false => format!("{}/{path}", Pattern::escape(base.trim_end_matches('/'))),
        };
        let options =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        let wrong = |error: PatternError| Error::config(format!("`{path}` is not a pattern: {}", error.msg));
        let glob = Pattern::new(&disk::plain(Path::new(&pattern)).to_string_lossy()).map_err(wrong)?;
        let entries = glob_with(&pattern, options).map_err(wrong)?;
        let mut files = Vec::new();
        for entry in entries {
            self.cx.check_cancelled()?;
            let entry = entry.map_err(|error| {
                let folder = error.path().to_owned();
                fault("looking into", &folder, error.into())
            })?;
            let name = match Path::new(path).is_absolute() {
                true => entry.as_path(),
                false => entry.strip_prefix(self.cx.resolve("")).unwrap_or(&entry),
            };
            let name = name.to_str().ok_or_else(|| {
                Error::config(format!("the name of {} is not UTF-8", entry.display())).hint("rename the file")
            })?;
            // It may be gone since, as a file that was being written is when it gets its name.
            if let Some(found) = self.look(name)?.filter(Metadata::is_file) {
                files.push(Planned::new(name.to_owned(), &found));
                self.stays_found_once(&glob, options, &entry)?;
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// Refuses a folder to move files to in which the pattern would find them again.
    fn stays_found_once(&self, glob: &Pattern, options: MatchOptions, found: &Path) -> Result<()> {
        let After::Move(folder) = &self.config.after else { return Ok(()) };
        let moved = disk::plain(&self.cx.resolve(&**folder)).join(found.file_name().unwrap_or_default());
        match glob.matches_path_with(&moved, options) {
            true => Err(self.config.after.is_read_again(&self.config.path)),
            false => Ok(()),
        }
    }

    /// None: it is not there.
    fn file(&self, path: &str) -> Result<Option<File>> {
        self.there(path, File::open(self.cx.resolve(path)))
    }

    /// None: it is not there.
    fn look(&self, path: &str) -> Result<Option<Metadata>> {
        self.there(path, std::fs::metadata(self.cx.resolve(path)))
    }

    fn there<T>(&self, path: &str, answer: std::io::Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("reading", &self.cx.resolve(path), error)),
        }
    }

    fn missing(&self, path: &str) -> Error {
        Error::config(format!("no such file: {}", self.cx.resolve(path).display()))
            .hint("`path` is relative to the pipeline file; a pattern such as `inbox/*.csv` may match nothing")
    }
}

impl Component for FileSource {
    type Config = Config;
    const SUMMARY: &'static str = "Reads files of this machine";

    fn examples() -> Vec<Example> {
        vec![
            example("one file", json!({"path": "data/calls.csv"})),
            example("every CSV file of a folder", json!({"path": "inbox/*.csv"})),
            example("each file once", json!({"path": "inbox/*.csv", "after": {"move": "inbox/done"}})),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.split.0 < SMALLEST_PIECE {
            return Err(Error::config(format!(
                "`split` is {} bytes, and a piece of a file has 4KiB at least",
                config.split.0
            ))
            .hint("leave it out, or write a size such as 64MiB"));
        }
        config.after.checked()?;
        Ok(Self { config, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let files = self.matched()?;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let path = &self.config.path;
        let summary = match files.len() {
            1 => format!("{path}: 1 file of {bytes} bytes"),
            count => format!("{path}: {count} files, {bytes} bytes together"),
        };
        Ok(CheckReport { summary })
    }
}

impl Source for FileSource {
    const GIVES: Shape = Shape::Files;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let mut files = self.matched()?;
        let mut upper = None;
        if self.config.only_new {
            let mut newest: Newest = request.cursor_as()?.unwrap_or_default();
            files.retain(|file| newest.is_before(&file.path, file.modified_ns));
            files.iter().for_each(|file| newest.note(&file.path, file.modified_ns));
            upper = Some(json!(newest));
        } else {
            leave_out_undelivered(&mut files, request, |file| &file.path);
        }
        let every = self.config.split.0;
        let split = |(at, mut planned): (usize, Planned)| {
            let size = planned.size;
            let place = self.cx.resolve(&planned.path);
            let Some(file) = self.file(&planned.path)? else {
                return if self.is_pattern() { Ok(None) } else { Err(self.missing(&planned.path)) };
            };
            planned.remember_ends(&file).map_err(|error| changing(&planned.path, &place, error))?;
            let split = Split::new(format!("{at:08}"), planned)?;
            Ok(Some(if size > every { split.cuttable(size, every) } else { split }))
        };
        let splits = files.into_iter().enumerate().filter_map(|file| split(file).transpose()).collect::<Result<_>>()?;
        Ok(Plan { upper, splits, tell: self.config.after.tells() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let planned: Planned = split.spec_as()?;
        let file = self.file(&planned.path)?.ok_or_else(|| self.missing(&planned.path))?;
        let (head, body) = match planned.range {
            None => (0..0, 0..planned.size),
            Some(ByteRange { head, from, to, .. }) => (0..head, from..to),
        };
        let schema = match planned.range {
            None => files_schema(),
            Some(range) => range.on(&files_schema())?,
        };
        // A format finds one place to cut in a piece, so a split should have several.
        let piece = (self.config.split.0 / 8).clamp(SMALLEST_PIECE, PIECE);
        let reading = Reading { head, body, begun: false, piece, planned, file, cx: self.cx.clone() };
        reading.still_fits()?;
        Ok(Batches::new(schema, reading))
    }

    fn delivered(&mut self, window: &Delivered) -> Result<()> {
        let mut before = None;
        for split in &window.splits {
            let planned: Planned = split.spec_as()?;
            // Pieces of one file follow each other.
            if before.as_ref() != Some(&planned.path) {
                put_away(&planned, &self.config.after, &self.cx)?;
            }
            before = Some(planned.path);
        }
        Ok(())
    }
}

/// One file on its way.
struct Reading {
    planned: Planned,
    file: File,
    /// What is still to be read, one after the other.
    head: Range<u64>,
    body: Range<u64>,
    begun: bool,
    /// How many bytes are read at a time.
    piece: u64,
    cx: Context,
}

impl Reading {
    /// Refuses a file whose planned bytes may be others by now.
    fn still_fits(&self) -> Result<()> {
        let path = &self.planned.path;
        let another = self.planned.is_another(&self.file);
        match another.map_err(|error| changing(path, &self.cx.resolve(path), error))? {
            None => Ok(()),
            Some(what) => Err(Error::config(format!("{path} {what}"))
                .hint("put the file back as it was, so that this window gives the same rows again; new content belongs into a new file")),
        }
    }

    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        // An empty file is one empty piece: it is a file all the same.
        if self.begun && self.body.is_empty() {
            return Ok(None);
        }
        self.cx.check_cancelled()?;
        self.begun = true;
        let part = if self.head.is_empty() { &mut self.body } else { &mut self.head };
        let length = (part.end - part.start).min(self.piece);
        let mut data = vec![0; length as usize];
        let read = self.file.read_exact_at(&mut data, part.start);
        part.start += length;
        // Asked again at the end: what was written over meanwhile must not pass for the planned file.
        if self.body.is_empty() || read.is_err() {
            self.still_fits()?;
        }
        read.map_err(|error| changing(&self.planned.path, &self.cx.resolve(&self.planned.path), error))?;
        self.cx.progress(0, length);
        Ok(Some(file_piece(&self.planned.path, &data)))
    }
}

/// What went wrong in a file, of which there may be less than there was a moment ago.
fn changing(path: &str, place: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::unavailable(format!("{path} changes while it is read"))
            .hint("write files under another name, and rename them when they are complete"),
        _ => fault("reading", place, error),
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
