//! Artefacts that are kept for a time: the files that went to a sink, so that they can be delivered once more without
//! asking the source again.
//!
//! One is two files in the state's folder: the pieces of its files as an Arrow IPC stream, and, made last, what it is.
//! Without the second it is not whole, and counts as not there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result, hexadecimal};
use engine_state::Delivery;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The folder of all of them, in the state's.
const FOLDER: &str = "kept";
/// How the name of the pieces ends.
const PIECES: &str = "pieces";
/// How the name of what it is ends.
const WHAT: &str = "json";

/// A file of an artefact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// As it came to the sink; empty where a format made it, and the sink names it.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The hash of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What an artefact is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Rows that its files were made of; files, where they were copied.
    pub rows: u64,
    /// Its files, in their order.
    pub files: Vec<KeptFile>,
    #[serde(skip)]
    place: PathBuf,
}

impl Kept {
    /// The artefact of a delivery, if it is kept. `folder`: the state's.
    pub fn of(folder: &Path, delivery: &Delivery) -> Result<Option<Self>> {
        let place = place(folder, delivery);
        let text = match std::fs::read(place.with_added_extension(WHAT)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(&place, error)),
        };
        let kept: Self = serde_json::from_slice(&text)
            .map_err(|error| Error::internal(format!("{} is damaged: {error}", place.display())))?;
        Ok(Some(Self { place, ..kept }))
    }

    /// Its files once more, as they went to the sink.
    pub(crate) fn open(&self) -> Result<Batches> {
        let path = self.place.with_added_extension(PIECES);
        let file = File::open(&path).map_err(|error| fault(&path, error))?;
        let damaged = move |error: arrow_schema::ArrowError| {
            Error::internal(format!("the kept artefact {} is damaged: {error}", path.display()))
        };
        let reader = StreamReader::try_new(BufReader::new(file), None).map_err(&damaged)?;
        let schema = reader.schema();
        Ok(Batches::new(schema, reader.map(move |batch| batch.map_err(&damaged))))
    }
}

/// Where the artefact of a delivery is, without the ends of its files' names.
fn place(folder: &Path, delivery: &Delivery) -> PathBuf {
    let Delivery { pipeline, sink, window, split } = delivery;
    let is_plain = !split.is_empty() && split.bytes().all(|it| it.is_ascii_alphanumeric());
    let split = if is_plain { split.clone() } else { format!("x{}", hexadecimal::write(split.as_bytes())) };
    folder.join(FOLDER).join(pipeline).join(format!("{window}-{sink}-{split}"))
}

fn fault(path: &Path, error: std::io::Error) -> Error {
    Error::from(error).context(format_args!("the kept artefact {}", path.display()))
}

/// Keeps what goes through a stream, for a sink that takes files. Where it cannot be kept, a warning says so and the
/// stream goes on: to deliver comes first. `rows`: asked at the stream's end, after what its stages have refused has
/// been stored.
pub(crate) fn keep(
    stream: Batches,
    folder: &Path,
    delivery: &Delivery,
    rows: impl FnOnce() -> Result<u64> + Send + 'static,
) -> Batches {
    let schema = stream.schema();
    let mut writer = Keeper::new(place(folder, delivery), &schema).map_err(warn).ok();
    let (mut stream, mut rows) = (stream, Some(rows));
    let kept = std::iter::from_fn(move || match stream.next() {
        Some(Ok(batch)) => {
            if let Some(Err(error)) = writer.as_mut().map(|writer| writer.add(&batch)) {
                warn(error);
                writer = None;
            }
            Some(Ok(batch))
        }
        Some(Err(error)) => {
            writer = None;
            Some(Err(error))
        }
        None => {
            let rows = rows.take()?;
            match (rows(), writer.take()) {
                (Err(error), _) => return Some(Err(error)),
                (Ok(rows), Some(writer)) => _ = writer.finish(rows).map_err(warn),
                (Ok(_), None) => {}
            }
            None
        }
    });
    Batches::new(schema, kept)
}

fn warn(error: Error) {
    tracing::warn!("the artefact is not kept, and cannot be sent again without its source: {error}");
}

/// An artefact in the making.
struct Keeper {
    place: PathBuf,
    writer: StreamWriter<BufWriter<File>>,
    files: Vec<KeptFile>,
    hash: Sha256,
}

impl Keeper {
    fn new(place: PathBuf, schema: &arrow_schema::Schema) -> Result<Self> {
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder).map_err(|error| fault(folder, error))?;
        }
        // What an earlier attempt left is not this one.
        remove(&place)?;
        let path = place.with_added_extension(PIECES);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| fault(&path, error))?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), schema);
        let writer = writer.map_err(|error| Error::internal(format!("{}: {error}", path.display())))?;
        Ok(Self { place, writer, files: Vec::new(), hash: Sha256::new() })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |at: usize| batch.columns().get(at);
        let names = column(0).and_then(|it| it.as_string_opt::<i32>());
        let data = column(1).and_then(|it| it.as_binary_opt::<i32>());
        let (Some(names), Some(data)) = (names, data) else {
            return Err(Error::internal("a stream of files has the columns `name` and `data`"));
        };
        for (name, data) in names.iter().flatten().zip(data.iter().flatten()) {
            if self.files.last().is_none_or(|last| last.name != name) {
                self.end_file();
                self.files.push(KeptFile { name: name.to_owned(), ..KeptFile::default() });
            }
            self.hash.update(data);
            if let Some(file) = self.files.last_mut() {
                file.bytes += data.len() as u64;
            }
        }
        self.writer.write(batch).map_err(|error| match error {
            arrow_schema::ArrowError::IoError(_, error) => fault(&self.place, error),
            other => Error::internal(format!("{}: {other}", self.place.display())),
        })
    }

    fn end_file(&mut self) {
        let hash = std::mem::take(&mut self.hash).finalize();
        if let Some(file) = self.files.last_mut() {
            file.sha256 = hexadecimal::write(&hash);
        }
    }

    fn finish(mut self, rows: u64) -> Result<()> {
        self.end_file();
        self.writer.finish().map_err(|error| Error::internal(format!("{}: {error}", self.place.display())))?;
        let Self { place, writer, files, .. } = self;
        let file = writer.into_inner().map_err(|error| Error::internal(format!("{}: {error}", place.display())))?;
        let file = file.into_inner().map_err(|error| fault(&place, error.into_error()))?;
        file.sync_all().map_err(|error| fault(&place, error))?;
        let what = serde_json::to_vec(&Kept { rows, files, place: PathBuf::new() })
            .map_err(|error| Error::internal(error.to_string()))?;
        let (path, made) = (place.with_added_extension(WHAT), place.with_added_extension("part"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&made)
            .map_err(|error| fault(&made, error))?;
        file.write_all(&what).and_then(|()| file.sync_all()).map_err(|error| fault(&made, error))?;
        std::fs::rename(&made, &path).map_err(|error| fault(&path, error))
    }
}

fn remove(place: &Path) -> Result<()> {
    // What says that it is whole goes first.
    for end in [WHAT, PIECES, "part"] {
        let path = place.with_added_extension(end);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Lets artefacts of a pipeline go whose time is over, and what a crash has left of others. `times`: how long those
/// of a sink are kept, by its name. Called while nothing of the pipeline is on its way.
pub(crate) fn forget(folder: &Path, pipeline: &str, times: &BTreeMap<String, Duration>) {
    let Ok(entries) = std::fs::read_dir(folder.join(FOLDER).join(pipeline)) else { return };
    let now = SystemTime::now();
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((stem, end)) = name.rsplit_once('.') else { continue };
        let place = path.with_extension("");
        let time =
            stem.split_once('-').and_then(|(_, rest)| rest.rsplit_once('-')).and_then(|(sink, _)| times.get(sink));
        let is_whole = place.with_added_extension(WHAT).exists();
        let age = path.metadata().and_then(|found| found.modified()).ok().and_then(|at| now.duration_since(at).ok());
        let is_over = time.is_none_or(|time| age.is_some_and(|age| age > *time));
        if (!is_whole || (end == WHAT && is_over))
            && let Err(error) = remove(&place)
        {
            tracing::warn!(pipeline, "an artefact whose time is over stays: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::files::Pieces;

    fn delivery(split: &str) -> Delivery {
        Delivery { pipeline: "p".into(), sink: "mail-it".into(), window: 7, split: split.into() }
    }

    fn stream(pieces: &[(&str, &[u8])]) -> Batches {
        let batches: Vec<_> = pieces
            .iter()
            .map(|(name, data)| {
                let mut piece = Pieces::default();
                piece.push(name, data);
                Ok(piece.finish())
            })
            .collect();
        Batches::new(crate::upstream::files::schema(), batches.into_iter())
    }

    #[test]
    fn what_went_through_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let pieces: &[(&str, &[u8])] = &[("a", b"one"), ("a", b"two"), ("b", b"")];
        let through = keep(stream(pieces), folder.path(), &delivery("run"), || Ok(42));
        let through: Vec<_> = through.collect::<Result<_>>().unwrap();
        let kept = Kept::of(folder.path(), &delivery("run")).unwrap().unwrap();
        assert_eq!(kept.rows, 42);
        let files: Vec<_> = kept.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(files, [("a", 6), ("b", 0)]);
        assert_eq!(kept.files[0].sha256, hexadecimal::write(&Sha256::digest("onetwo")));
        assert_eq!(kept.open().unwrap().collect::<Result<Vec<_>>>().unwrap(), through);
        assert_eq!(Kept::of(folder.path(), &delivery("other")).unwrap(), None);
    }

    #[test]
    fn what_did_not_come_to_its_end_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut through = keep(stream(&[("a", b"one"), ("a", b"two")]), folder.path(), &delivery("a/b"), || Ok(1));
        through.next().unwrap().unwrap();
        drop(through);
        assert_eq!(Kept::of(folder.path(), &delivery("a/b")).unwrap(), None);
        forget(folder.path(), "p", &[("mail-it".to_owned(), Duration::from_secs(3600))].into());
        assert_eq!(std::fs::read_dir(folder.path().join("kept/p")).unwrap().count(), 0);
    }

    #[test]
    fn artefacts_go_when_their_time_is_over_or_their_sink_keeps_none() {
        let folder = tempfile::tempdir().unwrap();
        let make =
            |split: &str| keep(stream(&[("a", b"one")]), folder.path(), &delivery(split), || Ok(1)).for_each(drop);
        make("one");
        forget(folder.path(), "p", &[("mail-it".to_owned(), Duration::from_secs(3600))].into());
        assert!(Kept::of(folder.path(), &delivery("one")).unwrap().is_some());
        forget(folder.path(), "p", &[("mail-it".to_owned(), Duration::ZERO)].into());
        assert!(Kept::of(folder.path(), &delivery("one")).unwrap().is_none());
        make("two");
        forget(folder.path(), "p", &BTreeMap::new());
        assert_eq!(std::fs::read_dir(folder.path().join("kept/p")).unwrap().count(), 0);
    }
}
