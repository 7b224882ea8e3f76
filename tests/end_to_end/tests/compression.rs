//! Compressed files, from the source to the sink.

use std::io::{Read as _, Write as _};
use std::process::Command;

use engine_end_to_end_tests::{Place, sqlite_count};

/// A CSV file of numbered calls.
fn calls(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let mut text = b"number,seconds\n".to_vec();
    numbers.for_each(|number| writeln!(text, "{number:07},{}", number % 600).unwrap());
    text
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

/// From `inbox/*.csv.gz` into `out/calls.csv.zst`.
const ARCHIVE: &str = "
name: archive
source:
  use: file
  with: { path: \"inbox/*.csv.gz\" }
  compression: gzip
  format: csv
sink:
  use: file
  with: { path: out/calls.csv.zst }
  compression: { use: zstd, with: { level: 9 } }
  format: csv
";

#[test]
fn files_of_gzip_become_one_of_zstd() {
    let place = Place::new();
    place.write("inbox/a.csv.gz", gzip(&calls(0..50_000)));
    // Two members are one file, wherever the cut is.
    let (first, second) = (calls(50_000..90_000), calls(0..0).len());
    place.write("inbox/b.csv.gz", [gzip(&first[..1001]), gzip(&first[1001..])].concat());
    place.write("archive.yaml", ARCHIVE);

    place.engine(&["validate", "archive.yaml"]).with_code(0);
    let explained = place.engine(&["explain", "archive.yaml"]).with_code(0).stdout;
    assert!(explained.contains("file, compression gzip, format csv"), "{explained}");
    assert!(explained.contains("(file, compression zstd, format csv)"), "{explained}");
    let preview = place.engine(&["preview", "archive.yaml"]).with_code(0).stdout;
    assert!(preview.contains("bytes that are no text") && preview.contains("0000001"), "{preview}");

    let report = place.engine(&["--json", "run", "archive.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!((report.read, report.sink("file").written), (90_000, 90_000));
    let written = std::fs::read(place.path("out/calls.csv.zst")).unwrap();
    assert_eq!(zstd::decode_all(&written[..]).unwrap(), [calls(0..50_000), first[second..].to_vec()].concat());
}

#[test]
fn files_are_copied_and_compressed_or_decompressed_under_their_names() {
    let place = Place::new();
    place.write("in/a.csv", calls(0..20_000));
    place.write("in/b.bin", b"");
    let copy = |from: &str, source: &str, to: &str, sink: &str| {
        format!(
            "source: {{ use: file, with: {{ path: '{from}/*' }}, {source} }}\n\
             sink: {{ use: file, with: {{ path: {to}/ }}, {sink} }}\n"
        )
    };
    place.write("pack.yaml", copy("in", "", "packed", "compression: gzip"));
    place.write("change.yaml", copy("packed", "compression: gzip", "changed", "compression: zstd"));
    place.write("unpack.yaml", copy("changed", "compression: zstd", "out", ""));
    for pipeline in ["pack", "change", "unpack"] {
        let report = place.engine(&["--json", "run", &format!("{pipeline}.yaml")]).with_code(0).report();
        report.adds_up();
        assert_eq!((report.read, report.sink("file").written), (2, 2), "{pipeline}");
    }
    for (name, content) in [("a.csv", calls(0..20_000)), ("b.bin", vec![])] {
        let file = std::fs::File::open(place.path("packed").join(name)).unwrap();
        let unpacked = Command::new("gzip").arg("-dc").stdin(file).output().expect("gzip is installed");
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        assert_eq!(unpacked.stdout, content, "{name}");
        assert_eq!(std::fs::read(place.path("out").join(name)).unwrap(), content, "{name}");
    }
}

#[test]
fn a_damaged_file_publishes_nothing_and_a_sound_one_in_its_place_everything() {
    let place = Place::new();
    place.write("inbox/a.csv.gz", gzip(&calls(0..30_000)));
    let whole = gzip(&calls(30_000..60_000));
    place.write("inbox/b.csv.gz", &whole[..whole.len() / 2]);
    place.write("archive.yaml", ARCHIVE);

    let failed = place.engine(&["--json", "run", "archive.yaml"]).with_code(2);
    let report = failed.report();
    assert_eq!((report.outcome.as_str(), report.sink("file").written), ("failed", 0));
    let told = report.errors[0].to_string();
    let expected = format!(
        "inbox/b.csv.gz is cut short: its gzip data goes on where the file ends, after {} bytes",
        whole.len() / 2
    );
    assert!(told.contains(&expected), "{told}");
    let left: Vec<_> = std::fs::read_dir(place.path("out")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(place.final_letters(), 0);

    place.write("inbox/b.csv.gz", whole);
    let report = place.engine(&["--json", "run", "archive.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!(report.sink("file").written, 60_000);
}

#[test]
fn a_table_keeps_the_window_of_a_damaged_file_open_until_it_is_given_up() {
    let place = Place::new();
    place.write("inbox/a.csv.gz", gzip(&calls(0..1000)));
    let mut damaged = gzip(&calls(1000..3000));
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20].fill(0xFF);
    place.write("inbox/b.csv.gz", &damaged);
    place.write("inbox/c.csv.gz", gzip(&calls(3000..4000)));
    place.write(
        "table.yaml",
        // What is compressed is not cut, however small its splits should be.
        "source: { use: file, with: { path: 'inbox/*', split: 4KiB }, compression: gzip, format: csv }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n",
    );
    for _ in 0..2 {
        let failed = place.engine(&["--json", "run", "table.yaml"]).with_code(2);
        let told = failed.report().errors[0].to_string();
        assert!(told.contains("inbox/b.csv.gz is damaged: its gzip data cannot be read at byte "), "{told}");
        assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 1000);
        assert_eq!(place.final_letters(), 0);
    }
    // As the README of the module says.
    std::fs::remove_file(place.path("inbox/a.csv.gz")).unwrap();
    place.write("inbox/b.csv.gz", gzip(&calls(1000..3000)));
    place.engine(&["state", "reset", "table"]).with_code(0);
    place.engine(&["--json", "run", "table.yaml"]).with_code(0).report().adds_up();
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 4000);
}

#[test]
fn an_unfinished_window_is_completed_with_the_compressions_that_it_began_with() {
    let place = Place::new();
    place.write("in.csv.gz", gzip(&calls(0..5000)));
    place.write("out.csv.gz", b"taken");
    let pipeline = |source: &str, sink: &str| {
        format!(
            "name: calls\n\
             source: {{ use: file, with: {{ path: in.csv.gz }}, {source} format: csv }}\n\
             sinks:\n\
             - {{ use: sqlite, with: {{ path: calls.db, table: calls, create: true }} }}\n\
             - {{ use: file, with: {{ path: out.csv.gz }}, {sink} format: csv }}\n"
        )
    };
    place.write("calls.yaml", pipeline("compression: gzip,", "compression: gzip,"));
    let failed = place.engine(&["--json", "run", "calls.yaml"]).with_code(2).report();
    assert_eq!((failed.sink("sqlite").written, failed.sink("file").written), (5000, 0));

    std::fs::remove_file(place.path("out.csv.gz")).unwrap();
    place.write("calls.yaml", pipeline("", ""));
    // Completed first; then read anew, by the pipeline as it is now.
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(2).report();
    let told = report.errors[0].to_string();
    assert!(report.resumed == 1 && told.contains("add `compression: gzip` to the source"), "{report:?}");
    let mut written = Vec::new();
    let file = std::fs::File::open(place.path("out.csv.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut written).unwrap();
    assert_eq!(written, calls(0..5000));
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 5000);
}

#[test]
fn a_compressed_file_without_a_compression_is_an_error_and_no_dead_letters() {
    let place = Place::new();
    place.write("calls.gz", gzip(&calls(0..10_000)));
    place.write("calls.zst", zstd::encode_all(&calls(0..100)[..], 3).unwrap());
    let cut = "calls.gz, split: 4KiB";
    for (file, format, compression) in
        [("calls.gz", "csv", "gzip"), ("calls.zst", "json", "zstd"), (cut, "csv", "gzip")]
    {
        place.write(
            "p.yaml",
            format!(
                "source: {{ use: file, with: {{ path: {file} }}, format: {format} }}\n\
                 sink: {{ use: sqlite, with: {{ path: out.db, table: calls, create: true }} }}\n"
            ),
        );
        let file = &file[..file.find(',').unwrap_or(file.len())];
        let says = [
            format!("{file} begins as {compression} files do"),
            format!("add `compression: {compression}` to the source"),
        ];
        for command in ["run", "preview"] {
            place.engine(&[command, "p.yaml"]).with_code(2).says(&[&says[0], &says[1]]);
        }
        assert_eq!(sqlite_count(&place.path("out.db"), "calls"), 0);
    }
    assert_eq!(place.final_letters(), 0);
}

#[test]
fn a_dead_letter_of_a_compressed_file_is_replayed_as_it_was_inside() {
    let place = Place::new();
    place.write("calls.csv.gz", gzip(b"number,seconds\n1,7\n2,many\n3,9\n"));
    let pipeline = |kind: &str| {
        format!(
            "name: calls\n\
             source: {{ use: file, with: {{ path: calls.csv.gz }}, compression: gzip, format: {{ use: csv, with: {{ types: {{ seconds: {kind} }} }} }} }}\n\
             sink: {{ use: sqlite, with: {{ path: calls.db, table: calls, create: true }} }}\n"
        )
    };
    place.write("calls.yaml", pipeline("integer"));
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!((report.read, report.dead_letters), (3, 1));
    place.write("calls.yaml", pipeline("text"));
    place.engine(&["dead-letters", "replay", "calls.yaml"]).with_code(0);
    assert_eq!((sqlite_count(&place.path("calls.db"), "calls"), place.final_letters()), (3, 0));
}

#[test]
fn the_text_of_a_test_goes_to_the_format() {
    let place = Place::new();
    let tests = "tests: [{ name: plain, input: \"number\\n7\\n\", expect: [{ number: \"7\" }] }]\n";
    place.write("archive.yaml", format!("{ARCHIVE}{tests}"));
    place.engine(&["test", "archive.yaml"]).with_code(0);
}

#[test]
fn little_that_becomes_much_takes_little_memory() {
    /// The most memory that the engine may hold, in KiB.
    const MOST_KIB: u64 = 96 << 10;
    const LENGTH: u64 = 256 << 20;
    let place = Place::new();
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut std::io::repeat(0).take(LENGTH), &mut writer).unwrap();
    place.write("zeros.gz", writer.finish().unwrap());
    place.write(
        "p.yaml",
        "source: { use: file, with: { path: zeros.gz }, compression: gzip }\n\
         sink: { use: file, with: { path: out/ }, compression: zstd }\n",
    );
    let ended = place.engine(&["--json", "run", "p.yaml"]).with_code(0);
    let written = std::fs::File::open(place.path("out/zeros.gz")).unwrap();
    let length = std::io::copy(&mut zstd::Decoder::new(written).unwrap(), &mut std::io::sink()).unwrap();
    assert_eq!(length, LENGTH);
    println!("{} MiB of zeros: at most {} KiB", LENGTH >> 20, ended.peak_kib);
    assert!((1..MOST_KIB).contains(&ended.peak_kib), "{} KiB", ended.peak_kib);
}
