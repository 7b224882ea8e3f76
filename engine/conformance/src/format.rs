//! What holds for formats alone: both directions fit each other, files may be
//! cut anywhere, and no bytes are too strange.

use std::sync::Arc;

use arrow_array::RecordBatch;
use engine_abi::{ByteRange, Cut, ErrorKind};
use engine_host::Direction;

use crate::flow::{Passed, pass};
use crate::rows::require_same;
use crate::subject::{Stop, Subject, Verdict, require};
use crate::suite::Session;
use crate::{Check, compression, rows};

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    let description = subject.component.description();
    if description.encodes && description.decodes {
        subject.check(session, Check::RoundTrip, round_trip);
    }
    if description.decodes {
        subject.check(session, Check::Chunking, chunking);
        subject.check(session, Check::Garbage, garbage);
        subject.check(session, Check::Cuts, cuts);
    }
}

/// A file of the format's kind: what it encodes itself, else the fixture's files.
pub(crate) fn sample(subject: &Subject) -> Result<Vec<u8>, Stop> {
    let description = subject.component.description();
    if description.encodes && description.is_compression() {
        return compression::sample(subject);
    }
    if description.encodes {
        return encode(subject, (0..3).map(|batch| rows::plain(batch * 8 + 1, 8)).collect());
    }
    let bytes: Vec<u8> = subject.fixture.files.values().flat_map(|text| text.bytes()).collect();
    if bytes.is_empty() {
        return Err(Stop::NotRun("a decoder needs `files` in conformance.json: a sample of what it reads".into()));
    }
    Ok(bytes)
}

fn encode(subject: &Subject, batches: Vec<RecordBatch>) -> Result<Vec<u8>, Stop> {
    rows::bytes(&pass(subject, Direction::Encode, rows::stream(rows::schema(), batches))?.batches)
}

/// Decodes one file that comes in pieces of `size` bytes.
fn decode(subject: &Subject, bytes: &[u8], size: usize) -> Result<Passed, Stop> {
    let pieces = bytes.chunks(size.max(1)).map(|piece| rows::piece("sample", piece)).collect();
    pass(subject, Direction::Decode, rows::stream(rows::files_schema(), pieces))
}

/// Requires that every record that a decoder framed became a row or a rejection.
fn require_accounted(decoded: &Passed) -> Verdict {
    let (records, rejected) = (decoded.host.records(), decoded.host.rejected());
    let out = rows::count(&decoded.batches);
    require(records == out + rejected, || {
        format!("{records} records were counted, but there are {out} rows and {rejected} rejections")
    })
}

pub(crate) fn rows_add_up(subject: &Subject, batches: Vec<RecordBatch>) -> Verdict {
    let description = subject.component.description();
    if description.is_compression() {
        return compression::counts_nothing(subject);
    }
    if !description.decodes {
        return Err(Stop::NotPromised("what was encoded cannot be decoded by the same format".into()));
    }
    if !description.encodes {
        let decoded = decode(subject, &sample(subject)?, usize::MAX)?;
        require(decoded.host.records() > 0, || "not one record of the sample was counted".into())?;
        return require_accounted(&decoded);
    }
    let sent = rows::count(&batches);
    let encoded = pass(subject, Direction::Encode, rows::stream(rows::schema(), batches))?;
    let decoded = decode(subject, &rows::bytes(&encoded.batches)?, usize::MAX)?;
    require_accounted(&decoded)?;
    let found = rows::count(&decoded.batches) + decoded.host.rejected() + encoded.host.rejected();
    require(found == sent, || format!("{sent} rows were encoded, {found} come back"))
}

fn round_trip(subject: &Subject) -> Verdict {
    let sent: Vec<_> = (0..3).map(|batch| rows::plain(batch * 8 + 1, 8)).collect();
    let decoded = decode(subject, &encode(subject, sent.clone())?, usize::MAX)?;
    let rejected = decoded.host.rejected();
    require(rejected == 0, || format!("{rejected} of the records that it made itself were rejected"))?;
    let names = |batch: &RecordBatch| batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let found: Vec<String> = decoded.batches.first().map(names).unwrap_or_default();
    require_same("columns", &found, &names(&sent[0]))?;
    require_same("rows", &rows::values(&decoded.batches)?, &rows::values(&sent)?)
}

fn chunking(subject: &Subject) -> Verdict {
    let bytes = sample(subject)?;
    let whole = decode(subject, &bytes, usize::MAX)?;
    let expected = rows::values(&whole.batches)?;
    require(!expected.is_empty(), || "the sample gives no rows".into())?;
    for size in [1, 2, 7, 64] {
        let cut = decode(subject, &bytes, size)?;
        require_same(&format!("rows in pieces of {size} bytes"), &rows::values(&cut.batches)?, &expected)?;
        let counts = |passed: &Passed| (passed.host.records(), passed.host.rejected());
        let (found, expected) = (counts(&cut), counts(&whole));
        require(found == expected, || {
            format!("records and rejections in pieces of {size} bytes: {found:?} instead of {expected:?}")
        })?;
    }
    Ok(())
}

/// Reads a file in the ranges between its cuts, as the engine does with a large one.
fn cuts(subject: &Subject) -> Verdict {
    if !subject.component.description().cuts {
        return Err(Stop::NotPromised("it does not tell where a file can be cut".into()));
    }
    let bytes = sample(subject)?;
    let whole = decode(subject, &bytes, usize::MAX)?;
    let place = subject.place()?;
    let (mut instance, _) = subject.open(&place, 1)?;
    let pieces = bytes.chunks(16).map(|piece| rows::piece("sample", piece)).collect();
    let cuts = instance.cut(rows::stream(rows::files_schema(), pieces))?.collect::<engine_abi::Result<Vec<_>>>()?;
    require(!cuts.is_empty(), || format!("a file of {} bytes is not cut at all", bytes.len()))?;
    let (mut batches, mut records, mut rejected) = (Vec::new(), 0, 0);
    let mut before: Option<Cut> = None;
    for cut in cuts.into_iter().map(Some).chain([None]) {
        let (from, lines) = before.map_or((0, 0), |before| (before.at, before.lines));
        let head = before.map_or(0, |before| before.head);
        let to = cut.map_or(bytes.len() as u64, |cut| cut.at);
        require(head <= from && from < to && to <= bytes.len() as u64, || {
            format!("the cuts are not in order: {head}, {from}, {to}")
        })?;
        let range = ByteRange { head, from, to, lines };
        let parts = [&bytes[..head as usize], &bytes[from as usize..to as usize]];
        let schema = range.on(&rows::files_schema())?;
        let input = rows::stream(schema, parts.map(|part| rows::piece("sample", part)).to_vec());
        let piece = pass(subject, Direction::Decode, input)?;
        records += piece.host.records();
        rejected += piece.host.rejected();
        batches.extend(piece.batches);
        before = cut;
    }
    require_same("rows between the cuts", &rows::values(&batches)?, &rows::values(&whole.batches)?)?;
    let expected = (whole.host.records(), whole.host.rejected());
    require((records, rejected) == expected, || {
        format!("records and rejections between the cuts: {:?} instead of {expected:?}", (records, rejected))
    })
}

/// Where pseudo-random bytes begin. Fixed, so that what was found is found again.
pub(crate) const SEED: u64 = 0x5EED_0F6A_4BA6_E001;

/// xorshift64*
pub(crate) fn noise(seed: &mut u64) -> u8 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    (seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
}

pub(crate) fn garbage(subject: &Subject) -> Verdict {
    let good = sample(subject)?;
    let mut seed = SEED;
    let mut bad: Vec<(String, Vec<u8>)> = vec![
        ("zeros".into(), vec![0; 4096]),
        ("0xFF".into(), vec![0xFF; 4096]),
        ("ends of lines".into(), b"\r\n\n\r".repeat(100)),
        ("quotes".into(), b"\"'{[".repeat(100)),
        ("a byte order mark".into(), b"\xEF\xBB\xBF".to_vec()),
    ];
    for number in 0..8 {
        bad.push((format!("noise {number}"), (0..2048).map(|_| noise(&mut seed)).collect()));
        let mut damaged = good.clone();
        for _ in 0..8 {
            let at = usize::from(noise(&mut seed)) * 256 + usize::from(noise(&mut seed));
            let length = damaged.len();
            damaged[at % length] = noise(&mut seed);
        }
        bad.push((format!("a damaged sample {number}"), damaged));
        let cut = good.len() * number / 8;
        bad.push((format!("a sample cut at {cut}"), good[..cut].to_vec()));
    }
    for (what, bytes) in bad {
        let place = subject.place()?;
        let (mut instance, host) = subject.open(&place, 1)?;
        let pieces = bytes.chunks(100).map(|piece| rows::piece("garbage", piece)).collect();
        let input = rows::stream(rows::files_schema(), pieces);
        let ended = instance.apply(Direction::Decode, input).and_then(Iterator::collect::<engine_abi::Result<Vec<_>>>);
        match ended {
            // It frames no records; what it made of the bytes is its own affair.
            Ok(_) if subject.component.description().is_compression() => {}
            Ok(batches) => require_accounted(&Passed { batches, host }).map_err(|stop| match stop {
                Stop::Failed(why) => Stop::Failed(format!("{what} (seed {SEED:#x}): {why}")),
                other => other,
            })?,
            Err(error) => require(matches!(error.kind, ErrorKind::Config | ErrorKind::Rejected), || {
                format!("{what} (seed {SEED:#x}) was answered with {}: {error}", error.kind)
            })?,
        }
    }
    Ok(())
}
