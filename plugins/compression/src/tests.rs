use std::io::{Read, Write};

use arrow_array::RecordBatch;
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};
use proptest::prelude::*;

use crate::{Gzip, Zip, Zstd};

/// Name and content.
type File = (String, Vec<u8>);

fn stream(pieces: Vec<RecordBatch>) -> Batches {
    Batches::new(files_schema(), pieces.into_iter().map(Ok))
}

/// Files as pieces of `size` bytes; an empty one is one empty piece.
fn cut(files: &[File], size: usize) -> Batches {
    let mut pieces = Vec::new();
    for (name, data) in files {
        if data.is_empty() {
            pieces.push(file_piece(name, data));
        }
        pieces.extend(data.chunks(size).map(|data| file_piece(name, data)));
    }
    stream(pieces)
}

/// The files of a stream, none of whose pieces is larger than a piece may be.
fn joined(output: Batches) -> Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    for batch in output {
        for (name, data) in file_pieces(&batch?)? {
            assert!(data.len() <= 1 << 20, "a piece of {} bytes", data.len());
            match files.last_mut().filter(|last| last.0 == name) {
                Some(last) => last.1.extend_from_slice(data),
                None => files.push((name.into(), data.into())),
            }
        }
    }
    Ok(files)
}

fn decode<T: Decoder>(files: &[File], size: usize) -> Result<Vec<File>> {
    let host = Host::new();
    joined(host.open::<T>(json!({})).unwrap().decode(cut(files, size))?)
}

fn encode<T: Encoder>(files: &[File], size: usize, config: Value) -> Vec<File> {
    let host = Host::new();
    joined(host.open::<T>(config).unwrap().encode(cut(files, size)).unwrap()).unwrap()
}

fn file(name: &str, data: impl Into<Vec<u8>>) -> File {
    (name.into(), data.into())
}

fn one(data: &[u8]) -> Vec<File> {
    vec![file("calls.csv.gz", data)]
}

fn gzipped(data: &[u8]) -> Vec<u8> {
    encode::<Gzip>(&one(data), usize::MAX, json!({})).remove(0).1
}

fn zstandard(data: &[u8]) -> Vec<u8> {
    encode::<Zstd>(&one(data), usize::MAX, json!({})).remove(0).1
}

/// Lines that differ, some of them larger than a piece together.
fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|line| format!("{line},0{},caller {}\n", line * 7919, line % 97).into_bytes()).collect()
}

fn refusal<T: Decoder>(data: &[u8]) -> Error {
    let error = decode::<T>(&one(data), 100).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.message.starts_with("calls.csv.gz ") && error.hint.is_some(), "{error:?}");
    error
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_compressed_comes_back_however_it_is_cut(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..5),
        (before, between) in (1..700_usize, 1..700_usize),
        level in 1..=9_u8,
    ) {
        let files: Vec<File> = files.into_iter().enumerate().map(|(at, data)| file(&format!("{at}"), data)).collect();
        let config = json!({"level": level});
        let gzip = encode::<Gzip>(&files, before, config.clone());
        prop_assert_eq!(&gzip, &encode::<Gzip>(&files, usize::MAX, config.clone()));
        prop_assert_eq!(&decode::<Gzip>(&gzip, between).unwrap(), &files);
        let zstd = encode::<Zstd>(&files, before, config.clone());
        prop_assert_eq!(&zstd, &encode::<Zstd>(&files, usize::MAX, config));
        prop_assert_eq!(&decode::<Zstd>(&zstd, between).unwrap(), &files);
    }
}

#[test]
fn a_file_that_is_cut_short_or_changed_never_passes_for_another() {
    let lines = lines(100);
    for (gzip, whole) in [(true, gzipped(&lines)), (false, zstandard(&lines))] {
        let decoded = |data: &[u8]| if gzip { decode::<Gzip>(&one(data), 64) } else { decode::<Zstd>(&one(data), 64) };
        for at in 0..whole.len() {
            assert_eq!(decoded(&whole[..at]).unwrap_err().kind, ErrorKind::Config, "gzip: {gzip}, {at} bytes");
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                // Some bits say nothing about the content, such as those of gzip's time.
                match decoded(&changed) {
                    Ok(files) => assert_eq!(files[0].1, lines, "gzip: {gzip}, byte {at}, bit {bit}"),
                    Err(error) => assert_eq!(error.kind, ErrorKind::Config, "gzip: {gzip}, byte {at}, bit {bit}"),
                }
            }
        }
    }
}

#[test]
fn long_files_come_back_at_every_level() {
    // Longer than a piece, and than a block.
    let files = [file("a", lines(60_000)), file("b", vec![]), file("c", vec![7; 3 << 20])];
    for level in [0, 1, 5, 6, 9] {
        let packed = encode::<Gzip>(&files, 1 << 20, json!({"level": level}));
        assert_eq!(decode::<Gzip>(&packed, 1 << 20).unwrap(), files, "level {level}");
    }
    for level in [1, 3, 9, 19] {
        let packed = encode::<Zstd>(&files, 1 << 20, json!({"level": level}));
        assert!(packed[0].1.len() * 2 < files[0].1.len() && packed[1].1.len() < 20);
        assert_eq!(decode::<Zstd>(&packed, 1 << 20).unwrap(), files, "level {level}");
    }
}

fn archive(files: &[(&str, &[u8])], method: ::zip::CompressionMethod) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, data) in files {
        let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
        match name.ends_with('/') {
            true => writer.add_directory(*name, options).unwrap(),
            false => {
                writer.start_file(*name, options).unwrap();
                writer.write_all(data).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_zip_archive_has_the_file_under_its_name() {
    for data in [vec![], b"a,b\n".to_vec(), lines(80_000)] {
        let packed = encode::<Zip>(&[file("", data.clone())], 70_001, json!({"filename": "calls.csv"}));
        assert_eq!(packed, encode::<Zip>(&[file("", data.clone())], 99, json!({"filename": "calls.csv"})));
        let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(packed[0].1.clone())).unwrap();
        let mut entry = archive.by_index(0).unwrap();
        assert_eq!(entry.name().unwrap(), "calls.csv");
        let mut read = Vec::new();
        entry.read_to_end(&mut read).unwrap();
        assert!(read == data);
        assert!(decode::<Zip>(&packed, 8_191).unwrap() == [file("", data)]);
    }
    let packed = encode::<Zip>(&[file("in/a.csv", "a"), file("in/b.csv", "b")], 9, json!({}));
    assert_eq!(decode::<Zip>(&packed, 9).unwrap(), [file("in/a.csv", "a"), file("in/b.csv", "b")]);
}

#[test]
fn archives_of_other_makers_are_read_and_what_is_none_is_told() {
    use ::zip::CompressionMethod::{Deflated, Stored};
    for method in [Stored, Deflated] {
        let one = archive(&[("folder/", b""), ("folder/calls.csv", b"a,b\n1,2\n")], method);
        assert_eq!(decode::<Zip>(&[file("x.zip", one)], 7).unwrap(), [file("x.zip", "a,b\n1,2\n")]);
    }
    let whole = archive(&[("a.csv", &lines(100))], Stored);
    let mut changed = whole.clone();
    changed[60] ^= 1;
    for (data, told) in [
        (archive(&[("a", b"1"), ("b", b"2")], Deflated), "is an archive of several files"),
        (archive(&[("folder/", b"")], Deflated), "is an archive without a file"),
        (whole[..whole.len() - 10].to_vec(), "is no zip archive that can be read"),
        (changed, "is damaged: its content is not what its directory says"),
        (b"a,b\n".to_vec(), "is no zip archive that can be read"),
        (vec![], "is no zip archive that can be read"),
    ] {
        let error = refusal::<Zip>(&data);
        assert!(error.message.contains(told), "{error}");
    }
}

#[test]
fn a_file_in_an_archive_needs_a_name() {
    let host = Host::new();
    let error = joined(host.open::<Zip>(json!({})).unwrap().encode(cut(&[file("", "a")], 1)).unwrap()).unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.hint.unwrap().contains("filename"), "{}", error.message);
}

#[test]
fn no_files_become_no_files() {
    let host = Host::new();
    for input in [stream(vec![]), stream(vec![file_piece("a", b"").slice(0, 0)])] {
        assert_eq!(host.open::<Gzip>(json!({})).unwrap().decode(input).unwrap().count(), 0);
    }
    assert_eq!(encode::<Zstd>(&[], 1, json!({})), []);
}

#[test]
fn members_and_frames_one_behind_the_other_are_one_file() {
    let gzip = [gzipped(b"one\n"), gzipped(b""), gzipped(b"two\n")].concat();
    let skipped = [&[0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let zstd = [skipped.clone(), zstandard(b"one\n"), skipped, zstandard(b"two\n")].concat();
    for size in [1, 3, 1000] {
        assert_eq!(decode::<Gzip>(&one(&gzip), size).unwrap(), one(b"one\ntwo\n"));
        assert_eq!(decode::<Zstd>(&one(&zstd), size).unwrap(), one(b"one\ntwo\n"));
    }
}

#[test]
fn what_the_library_of_another_maker_reads_and_writes_is_the_same() {
    let lines = lines(5000);
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(&gzipped(&lines)[..]).read_to_end(&mut read).unwrap();
    assert_eq!(read, lines);
    assert_eq!(zstd::decode_all(&zstandard(&lines)[..]).unwrap(), lines);
    // With what the engine's own files do not have: a name, a time, a comment, extra bytes.
    let header =
        flate2::GzBuilder::new().filename("calls.csv").mtime(1_700_000_000).comment("from the PBX").extra(b"xy");
    let mut writer = header.write(Vec::new(), flate2::Compression::fast());
    writer.write_all(&lines).unwrap();
    assert_eq!(decode::<Gzip>(&one(&writer.finish().unwrap()), 5).unwrap(), one(&lines));
}

#[test]
fn gzip_says_neither_when_nor_where_it_was_written() {
    let packed = gzipped(b"calls");
    // Flags and time.
    assert_eq!(packed[3..8], [0; 5]);
}

#[test]
fn a_file_of_another_kind_is_told_by_how_it_begins() {
    for (data, what, hint) in [
        (
            &b"number,started\n"[..],
            "is not gzip: it begins with 6e 75 6d 62",
            "remove `compression` if the files are not compressed",
        ),
        (b"n", "is not gzip: it begins with 6e", "remove `compression` if the files are not compressed"),
        (
            &zstandard(b"x"),
            "is not gzip: it begins with 28 b5 2f fd",
            "write `compression: zstd`: that is how it begins",
        ),
    ] {
        let error = refusal::<Gzip>(data);
        assert_eq!((error.message.as_str(), error.hint.as_deref()), (&*format!("calls.csv.gz {what}"), Some(hint)));
    }
    let error = refusal::<Zstd>(&gzipped(b"x"));
    assert_eq!(error.message, "calls.csv.gz is not zstd: it begins with 1f 8b 08 00");
    assert_eq!(error.hint.as_deref(), Some("write `compression: gzip`: that is how it begins"));
    for error in [refusal::<Gzip>(b""), refusal::<Zstd>(b"")] {
        assert!(error.message.starts_with("calls.csv.gz is empty, and a file of "), "{error}");
    }
}

#[test]
fn a_file_that_is_cut_short_is_told_with_its_length() {
    let (gzip, zstd) = (gzipped(&lines(3000)), zstandard(&lines(3000)));
    for end in [1, 5, 9, 12, 1000, gzip.len() - 9, gzip.len() - 1] {
        let expected =
            format!("calls.csv.gz is cut short: its gzip data goes on where the file ends, after {end} bytes");
        assert_eq!(refusal::<Gzip>(&gzip[..end]).message, expected);
    }
    for end in [1, 3, 5, 9, 1000, zstd.len() - 5, zstd.len() - 1] {
        let expected =
            format!("calls.csv.gz is cut short: its zstd data goes on where the file ends, after {end} bytes");
        assert_eq!(refusal::<Zstd>(&zstd[..end]).message, expected);
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let place = |error: Error| -> usize {
        let rest = error.message.split_once("cannot be read at byte ").unwrap_or_else(|| panic!("{error}")).1;
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    for (gzip, mut data) in [(true, gzipped(&lines(30_000))), (false, zstandard(&lines(30_000)))] {
        let at = data.len() / 2;
        data[at..at + 40].fill(0xFF);
        let place = place(if gzip { refusal::<Gzip>(&data) } else { refusal::<Zstd>(&data) });
        assert!(place <= data.len() && place + 200_000 > at, "{place} instead of {at}");
    }
    // A checksum that does not fit, and what stands behind the end.
    let mut sum = gzipped(b"calls");
    let last = sum.len() - 8;
    sum[last] ^= 1;
    assert_eq!(place(refusal::<Gzip>(&sum)), sum.len());
    let whole = gzipped(b"calls").len();
    assert!(place(refusal::<Gzip>(&[gzipped(b"calls"), b"and more".to_vec()].concat())) >= whole);
    let whole = zstandard(b"calls").len();
    assert!(place(refusal::<Zstd>(&[zstandard(b"calls"), b"and more".to_vec()].concat())) >= whole);
}

#[test]
fn the_files_before_a_damaged_one_come_out() {
    let files = [file("a", gzipped(b"one")), file("b", b"two".to_vec())];
    let host = Host::new();
    let mut output = host.open::<Gzip>(json!({})).unwrap().decode(cut(&files, 1)).unwrap();
    assert_eq!(output.next().unwrap().unwrap(), file_piece("a", b"one"));
    assert!(output.next().unwrap().unwrap_err().message.starts_with("b is not gzip"));
    assert!(output.next().is_none());
}

#[test]
fn what_is_made_of_little_comes_in_small_pieces_one_at_a_time() {
    /// Of zeros, 1 GiB as gzip knows them.
    const LENGTH: u64 = 1 << 30;
    let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(LENGTH), &mut writer).unwrap();
    let bomb = writer.finish().unwrap();
    assert!(bomb.len() < 1 << 18, "{} bytes", bomb.len());
    let (host, mut length) = (Host::new(), 0);
    for batch in host.open::<Zstd>(json!({})).unwrap().decode(cut(&one(&bomb), usize::MAX)).unwrap() {
        let batch = batch.unwrap();
        let piece: usize = file_pieces(&batch).unwrap().map(|(_, data)| data.len()).sum();
        assert!(piece <= 1 << 20, "{piece} bytes at once");
        length += piece as u64;
    }
    assert_eq!(length, LENGTH);
}

#[test]
fn a_window_beyond_the_limit_is_refused_before_memory_is_taken_for_it() {
    let window = |log| {
        let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        writer.window_log(log).unwrap();
        writer.long_distance_matching(true).unwrap();
        writer.write_all(b"calls").unwrap();
        writer.finish().unwrap()
    };
    assert_eq!(decode::<Zstd>(&one(&window(27)), 100).unwrap(), one(b"calls"));
    let error = refusal::<Zstd>(&window(28));
    assert!(error.message.starts_with("calls.csv.gz takes more than 128 MiB of memory"), "{error}");
}

#[test]
fn an_error_of_the_input_stays_what_it_is() {
    let packed = gzipped(&lines(2000));
    let broken =
        |first: RecordBatch| Batches::new(files_schema(), [Ok(first), Err(Error::unavailable("gone"))].into_iter());
    let host = Host::new();
    let mut gzip: Gzip = host.open(json!({})).unwrap();
    let mut zstd: Zstd = host.open(json!({})).unwrap();
    let ends = [
        gzip.decode(broken(file_piece("a", &packed[..100]))).unwrap().last(),
        gzip.encode(broken(file_piece("a", b"calls"))).unwrap().last(),
        zstd.decode(broken(file_piece("a", &zstandard(b"calls")[..9]))).unwrap().last(),
        zstd.encode(broken(file_piece("a", b"calls"))).unwrap().last(),
    ];
    for end in ends {
        assert_eq!(end.unwrap().unwrap_err(), Error::unavailable("gone"));
    }
}

#[test]
fn it_stops_when_it_is_asked_to() {
    let host = Host::new();
    let mut gzip: Gzip = host.open(json!({})).unwrap();
    host.cancel();
    let mut output = gzip.decode(cut(&one(&gzipped(b"calls")), 9)).unwrap();
    assert_eq!(output.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn a_level_that_there_is_not_is_refused() {
    let host = Host::new();
    assert_eq!(host.open::<Gzip>(json!({"level": 10})).err().unwrap().message, "`level` is 10, and gzip has 0 to 9");
    assert_eq!(host.open::<Zstd>(json!({"level": 0})).err().unwrap().message, "`level` is 0, and zstd has 1 to 19");
}
