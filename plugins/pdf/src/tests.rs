//! Reports, read back by other programs: poppler's tools and qpdf.

mod charts;
mod looks;
mod narrow;
mod pages;
mod sample;
mod scripts;
mod settings;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray};
use engine_sdk::file_pieces;
use engine_sdk::testing::Host;
use tempfile::TempDir;

use super::*;

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, column)| (*name, Arc::clone(column), true)))
        .unwrap()
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn integers(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

fn days(days: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(days))
}

/// Amounts in hundredths.
fn amounts(values: impl IntoIterator<Item = i128>) -> ArrayRef {
    Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(18, 2).unwrap())
}

/// The bytes of the report that becomes of rows.
fn written(host: &Host, config: Value, batches: Vec<RecordBatch>) -> Result<Vec<u8>> {
    let mut pdf: Pdf = host.open(config)?;
    let schema = batches[0].schema();
    let mut bytes = Vec::new();
    for piece in pdf.encode(Batches::new(schema, batches.into_iter().map(Ok)))? {
        for (name, data) in file_pieces(&piece?)? {
            assert_eq!(name, "");
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// What a program prints.
fn run(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{program} cannot be run ({error}): these tests need it; install Debian's package {package}")
    });
    assert!(
        output.status.success(),
        "{program}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A word on a page, which has a size.
struct Word {
    text: String,
    page: usize,
    size: (f32, f32),
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

/// A report as a file. Every one that is made has been checked by qpdf.
struct Report {
    folder: TempDir,
    bytes: Vec<u8>,
}

fn report(config: Value, batches: Vec<RecordBatch>) -> Report {
    Report::of(written(&Host::new(), config, batches).unwrap())
}

impl Report {
    fn of(bytes: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let report = Self { folder, bytes };
        std::fs::write(report.path(), &report.bytes).unwrap();
        let said = run("qpdf", "qpdf", &["--check", &report.path()]);
        assert!(said.contains("No syntax or stream encoding errors found"), "{said}");
        report
    }

    fn path(&self) -> String {
        self.folder.path().join("report.pdf").display().to_string()
    }

    /// All texts, each line of a cell in its place. Marks that say which way a text runs are left out.
    fn text(&self) -> String {
        plain(&run("pdftotext", "poppler-utils", &["-layout", &self.path(), "-"]))
    }

    /// All texts in the order in which they were written.
    fn raw(&self) -> String {
        plain(&run("pdftotext", "poppler-utils", &["-raw", &self.path(), "-"]))
    }

    fn page(&self, number: usize) -> String {
        let number = number.to_string();
        plain(&run("pdftotext", "poppler-utils", &["-layout", "-f", &number, "-l", &number, &self.path(), "-"]))
    }

    /// Every word, where it is seen: its page, and its place from the top left, in points.
    fn words(&self) -> Vec<Word> {
        let all = run("pdftotext", "poppler-utils", &["-bbox", &self.path(), "-"]);
        let (mut words, mut page, mut size) = (Vec::new(), 0, (0.0, 0.0));
        for line in all.lines().map(str::trim) {
            let value = |name: &str| -> f32 {
                let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
                rest.split_once('"').unwrap().0.parse().unwrap()
            };
            if line.starts_with("<page") {
                (page, size) = (page + 1, (value("width"), value("height")));
            } else if line.starts_with("<word") {
                let text = plain(line.split_once('>').unwrap().1.trim_end_matches("</word>"));
                let (left, top, right, bottom) = (value("xMin"), value("yMin"), value("xMax"), value("yMax"));
                words.push(Word { text, page, size, left, top, right, bottom });
            }
        }
        words
    }

    /// The first word that is this one.
    fn word(&self, text: &str) -> Word {
        let words = self.words();
        let found = words.into_iter().find(|word| word.text == text);
        found.unwrap_or_else(|| panic!("{text} is not in:\n{}", self.text()))
    }

    /// A property that `pdfinfo` prints.
    fn info(&self, name: &str) -> Option<String> {
        let all = run("pdfinfo", "poppler-utils", &["-isodates", &self.path()]);
        all.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    }

    fn pages(&self) -> usize {
        self.info("Pages").unwrap().parse().unwrap()
    }

    /// The lines of `pdffonts`: one for each font.
    fn fonts(&self) -> Vec<String> {
        let all = run("pdffonts", "poppler-utils", &[&self.path()]);
        all.lines().skip(2).map(str::to_owned).collect()
    }

    /// A page as a picture: its pixels, red, green and blue.
    fn picture(&self, number: usize) -> (usize, usize, Vec<u8>) {
        let place = self.folder.path().join("page").display().to_string();
        let number = number.to_string();
        let arguments = ["-r", "50", "-f", &number, "-l", &number, "-singlefile", &self.path(), &place];
        run("pdftoppm", "poppler-utils", &arguments);
        let bytes = std::fs::read(PathBuf::from(place).with_extension("ppm")).unwrap();
        let head: Vec<&[u8]> = bytes.splitn(4, |byte| byte.is_ascii_whitespace()).collect();
        let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<usize>().unwrap();
        let (width, height) = (number(head[1]), number(head[2]));
        (width, height, bytes[bytes.len() - width * height * 3..].to_vec())
    }
}

fn plain(text: &str) -> String {
    text.replace(['\u{202a}', '\u{202b}', '\u{202c}', '\u{200e}', '\u{200f}', '\u{2066}', '\u{2067}', '\u{2069}'], "")
}

/// Texts without the spaces between their words, which programs guess.
fn squeezed(text: &str) -> String {
    text.chars().filter(|it| !it.is_whitespace()).collect()
}

/// Numbers that look random, and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
