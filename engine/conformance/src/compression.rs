//! What holds for compressions alone: files come back as they were, each for
//! itself, and what is missing of one is noticed.

use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use engine_abi::ErrorKind;
use engine_host::Direction;

use crate::flow::pass;
use crate::rows::require_same;
use crate::subject::{Stop, Subject, Verdict, require};
use crate::suite::Session;
use crate::{Check, format, rows};

/// The largest piece that may come out, in bytes, whatever it was made of.
const LARGEST_PIECE: usize = 1 << 20;

/// Name and content.
type File = (String, Vec<u8>);

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    let description = subject.component.description();
    if description.encodes && description.decodes {
        subject.check(session, Check::RoundTrip, round_trip);
        subject.check(session, Check::Files, files);
    }
    if description.decodes {
        subject.check(session, Check::Chunking, chunking);
        subject.check(session, Check::CutShort, cut_short);
        subject.check(session, Check::Garbage, format::garbage);
    }
}

/// Two files of a compression's kind, or to be compressed.
pub(crate) fn two(data: &[u8]) -> RecordBatch {
    batch(&[("one".into(), data.to_vec()), ("other".into(), data.to_vec())])
}

/// What is compressed where nothing else matters.
pub(crate) fn plain() -> Vec<u8> {
    (0..2000).flat_map(|line| format!("{line};caller {}\r\n", line % 97).into_bytes()).collect()
}

/// A compressed file: what the compression makes itself, else the fixture's files.
pub(crate) fn sample(subject: &Subject) -> Result<Vec<u8>, Stop> {
    let packed = put_through(subject, Direction::Encode, &[("sample".into(), plain())], usize::MAX)?;
    packed.into_iter().next().map(|(_, data)| data).ok_or_else(|| Stop::Failed("a file became no file".into()))
}

/// Files as the rows of one batch.
fn batch(files: &[File]) -> RecordBatch {
    let names = StringArray::from_iter_values(files.iter().map(|(name, _)| name));
    let data = BinaryArray::from_iter_values(files.iter().map(|(_, data)| data));
    RecordBatch::try_new(rows::files_schema(), vec![Arc::new(names), Arc::new(data)])
        .expect("two columns of one length")
}

/// Puts files through a new instance in pieces of `size` bytes, and joins what comes out.
fn put_through(subject: &Subject, direction: Direction, files: &[File], size: usize) -> Result<Vec<File>, Stop> {
    let mut pieces = Vec::new();
    for (name, data) in files {
        if data.is_empty() {
            pieces.push(rows::piece(name, data));
        }
        pieces.extend(data.chunks(size).map(|data| rows::piece(name, data)));
    }
    joined(&pass(subject, direction, rows::stream(rows::files_schema(), pieces))?.batches)
}

fn joined(batches: &[RecordBatch]) -> Result<Vec<File>, Stop> {
    let mut files: Vec<File> = Vec::new();
    for batch in batches {
        let column = |at: usize| batch.columns().get(at);
        let names = column(0).and_then(|column| column.as_any().downcast_ref::<StringArray>());
        let data = column(1).and_then(|column| column.as_any().downcast_ref::<BinaryArray>());
        let Some((names, data)) = names.zip(data).filter(|(names, data)| names.null_count() + data.null_count() == 0)
        else {
            let fields = batch.schema();
            return Err(Stop::Failed(format!("a compression gives files, not {:?}", fields.fields())));
        };
        for (name, data) in names.iter().flatten().zip(data.iter().flatten()) {
            require(data.len() <= LARGEST_PIECE, || {
                format!("a piece of {} bytes came out; {LARGEST_PIECE} is the most", data.len())
            })?;
            match files.last_mut().filter(|last| last.0 == name) {
                Some(last) => last.1.extend_from_slice(data),
                None => files.push((name.to_owned(), data.to_vec())),
            }
        }
    }
    Ok(files)
}

fn require_files(what: &str, found: &[File], expected: &[File]) -> Verdict {
    let names = |files: &[File]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    require_same(&format!("{what}, names of files"), &names(found), &names(expected))?;
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        let at = found.iter().zip(expected).position(|(one, other)| one != other);
        require(found == expected, || {
            let at = at.unwrap_or(found.len().min(expected.len()));
            format!(
                "{what}: of the {} bytes of `{name}` {} came back, and byte {at} differs",
                expected.len(),
                found.len()
            )
        })?;
    }
    Ok(())
}

pub(crate) fn counts_nothing(subject: &Subject) -> Verdict {
    let description = subject.component.description();
    let mut inputs = Vec::new();
    if description.encodes {
        inputs.push((Direction::Encode, plain()));
    }
    if description.decodes {
        inputs.push((Direction::Decode, format::sample(subject)?));
    }
    for (direction, data) in inputs {
        let host = pass(subject, direction, rows::stream(rows::files_schema(), vec![two(&data)]))?.host;
        let (records, rejected) = (host.records(), host.rejected());
        require(records + rejected == 0, || {
            format!("a compression sees no records, but {records} were counted and {rejected} rejected")
        })?;
    }
    Ok(())
}

fn round_trip(subject: &Subject) -> Verdict {
    let mut seed = format::SEED;
    let contents = [
        ("no bytes", vec![]),
        ("one byte", vec![0]),
        ("every byte", (0..=255).collect()),
        ("lines", plain()),
        ("noise", (0..300_000).map(|_| format::noise(&mut seed)).collect()),
        ("zeros", vec![0; 5 << 20]),
    ];
    for (what, data) in contents {
        let plain = [(what.to_owned(), data)];
        let packed = put_through(subject, Direction::Encode, &plain, 1 << 20)?;
        let found = put_through(subject, Direction::Decode, &packed, 1 << 20)?;
        require_files(what, &found, &plain)?;
    }
    Ok(())
}

fn files(subject: &Subject) -> Verdict {
    let file = |name: &str, data: &[u8]| (name.to_owned(), data.to_vec());
    let several = [
        file("b", b"first"),
        file("empty", b""),
        file("a", &plain()),
        file("b", b"another of that name"),
        file("", b""),
    ];
    for size in [usize::MAX, 3] {
        let packed = put_through(subject, Direction::Encode, &several, size)?;
        require_files(
            "several files in one stream",
            &put_through(subject, Direction::Decode, &packed, size)?,
            &several,
        )?;
    }
    // All of them as the rows of one batch.
    let input = || rows::stream(rows::files_schema(), vec![batch(&several)]);
    let packed = joined(&pass(subject, Direction::Encode, input())?.batches)?;
    require_files("several files in one batch", &put_through(subject, Direction::Decode, &packed, 7)?, &several)?;
    for direction in [Direction::Encode, Direction::Decode] {
        let none = put_through(subject, direction, &[], 1)?;
        require(none.is_empty(), || format!("of no files {} were made", none.len()))?;
    }
    Ok(())
}

fn chunking(subject: &Subject) -> Verdict {
    let sample = [("sample".to_owned(), format::sample(subject)?)];
    let whole = put_through(subject, Direction::Decode, &sample, usize::MAX)?;
    for size in [1, 2, 7, 64] {
        let cut = put_through(subject, Direction::Decode, &sample, size)?;
        require_files(&format!("in pieces of {size} bytes"), &cut, &whole)?;
    }
    Ok(())
}

fn cut_short(subject: &Subject) -> Verdict {
    /// At how many places it is cut, besides the last bytes.
    const CUTS: usize = 16;
    let sample = format::sample(subject)?;
    let ends = (1..CUTS).map(|part| sample.len() * part / CUTS).chain(sample.len().saturating_sub(8)..sample.len());
    for end in ends.filter(|end| *end > 0) {
        let place = subject.place()?;
        let (mut instance, _) = subject.open(&place, 1)?;
        let input = rows::stream(rows::files_schema(), vec![rows::piece("sample", &sample[..end])]);
        match instance.apply(Direction::Decode, input).and_then(Iterator::collect::<engine_abi::Result<Vec<_>>>) {
            Ok(_) => {
                let all = sample.len();
                return Err(Stop::Failed(format!("the first {end} of {all} bytes passed for a whole file")));
            }
            Err(error) => require(matches!(error.kind, ErrorKind::Config | ErrorKind::Rejected), || {
                format!("a file cut at {end} was answered with {}: {error}", error.kind)
            })?,
        }
    }
    Ok(())
}
