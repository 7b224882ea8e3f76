//! Streams of files, and the names of files.

use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use engine_abi::{Error, Result};

/// Bytes of a name that every file system takes, with some room for what a sink puts around it.
const LONGEST_NAME: usize = 200;
/// Bytes of a name's end that are kept where it is cut: `.tar.gz` and the like.
const LONGEST_EXTENSION: usize = 16;

/// The columns of a stream of files: `{name: Utf8, data: Binary}`.
pub fn files_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false), Field::new("data", DataType::Binary, false)]))
}

/// A batch with one piece of one file.
pub fn file_piece(name: &str, data: &[u8]) -> RecordBatch {
    RecordBatch::try_new(
        files_schema(),
        vec![Arc::new(StringArray::from(vec![name])), Arc::new(BinaryArray::from(vec![data]))],
    )
    .expect("two columns of one row each, neither null")
}

/// Goes through the pieces of a batch of a stream of files, in order: `(name, data)`.
pub fn file_pieces(batch: &RecordBatch) -> Result<impl Iterator<Item = (&str, &[u8])>> {
    let column = |at: usize| batch.columns().get(at);
    let names = column(0).and_then(|column| column.as_any().downcast_ref::<StringArray>());
    let data = column(1).and_then(|column| column.as_any().downcast_ref::<BinaryArray>());
    match (names, data) {
        (Some(names), Some(data)) if names.null_count() == 0 && data.null_count() == 0 => {
            Ok((0..batch.num_rows()).map(|row| (names.value(row), data.value(row))))
        }
        _ => Err(Error::internal("a stream of files has the columns `name` (Utf8) and `data` (Binary), without nulls")),
    }
}

/// The name that a file gets at another place: `filename`, where a setting says it, else the last part of the name
/// that the file comes with. It has no folders, nothing that ends a header, and nothing that a system takes for more
/// than a name.
///
/// # Errors
/// `Config`, where there is no name.
pub fn file_name(filename: Option<&str>, given: &str) -> Result<String> {
    let name = filename.filter(|name| !name.trim().is_empty()).unwrap_or(given);
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe: String = last
        .chars()
        .filter(|it| !turns_text_around(*it))
        .map(|it| if it.is_control() || r#""<>:|?*"#.contains(it) { '_' } else { it })
        .collect();
    let safe = safe.trim_start().trim_end_matches(|it: char| it == '.' || it.is_whitespace());
    if safe.is_empty() {
        return Err(match name.is_empty() {
            true => Error::config("the file has no name").hint("give it one with `filename`, such as `calls.csv`"),
            false => Error::config(format!("{name:?} does not end in a name for a file"))
                .hint("give it one with `filename`, such as `calls.csv`"),
        });
    }
    let safe = if is_reserved(safe) { format!("_{safe}") } else { safe.to_owned() };
    if safe.len() <= LONGEST_NAME {
        return Ok(safe);
    }
    let end = safe.char_indices().rev().map(|(at, _)| at).take_while(|at| safe.len() - at <= LONGEST_EXTENSION);
    let extension = end.filter(|at| safe[*at..].starts_with('.')).last().unwrap_or(safe.len());
    let stem = safe.floor_char_boundary(LONGEST_NAME - (safe.len() - extension));
    Ok(format!("{}{}", &safe[..stem], &safe[extension..]))
}

/// What a sink answers that is to throw a delivery away of which some files have their names already, for all to see.
pub fn some_published(count: usize, of: usize) -> Error {
    Error::config(format!("{count} of the delivery's {of} files have their names already, and stay"))
        .hint("once what is wrong is mended, the next run gives the others theirs")
}

/// The name of a file that begins with these bytes: one that is compressed ends in what says so.
pub fn packed_name(name: String, start: &[u8]) -> String {
    let kind = media_type(&name);
    let ending = match start {
        [0x1f, 0x8b, ..] if kind != "application/gzip" => ".gz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] if kind != "application/zstd" => ".zst",
        // A workbook is such an archive itself.
        [b'P', b'K', 3, 4, ..] if kind != "application/zip" && !kind.ends_with(".sheet") => ".zip",
        _ => return name,
    };
    // What has an ending of its own may be made so.
    if kind == "application/octet-stream" { name } else { name + ending }
}

/// Marks that show a name in another order than it has: `fdp.exe` as `exe.pdf`.
const fn turns_text_around(it: char) -> bool {
    matches!(it, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Names that Windows takes for devices, whatever follows them.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

/// What is in a file of that name, as mail and HTTP call it.
pub fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "csv" => "text/csv",
        "gz" => "application/gzip",
        "htm" | "html" => "text/html",
        "json" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "parquet" => "application/vnd.apache.parquet",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xml" => "application/xml",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name_wherever_it_comes_from() {
        let long = format!("{}é.tar.gz", "x".repeat(300));
        let cut = format!("{}.tar.gz", "x".repeat(193));
        for (given, name) in [
            ("calls.csv", "calls.csv"),
            ("out/calls.csv", "calls.csv"),
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\calls.csv", "calls.csv"),
            ("a\r\nBcc: b@example.com", "a__Bcc_ b@example.com"),
            ("a\0b\".csv", "a_b_.csv"),
            ("con.csv", "_con.csv"),
            ("COM7", "_COM7"),
            ("common.csv", "common.csv"),
            ("report. . ", "report"),
            ("\u{202e}vsc.exe", "vsc.exe"),
            ("Umsätze 東京.csv", "Umsätze 東京.csv"),
            (&long, &cut),
        ] {
            assert_eq!(file_name(None, given).unwrap(), name, "{given:?}");
        }
        assert_eq!(file_name(Some("other.csv"), "calls.csv").unwrap(), "other.csv");
        assert!(file_name(None, &"é".repeat(300)).unwrap().len() <= LONGEST_NAME);
        for nameless in ["", "..", "a/..", "/", " "] {
            assert_eq!(file_name(None, nameless).unwrap_err().kind, engine_abi::ErrorKind::Config, "{nameless:?}");
        }
    }

    #[test]
    fn what_is_compressed_is_called_so() {
        for (name, start, called) in [
            ("a.csv", &b"a,b"[..], "a.csv"),
            ("a.csv", b"\x1f\x8b\x08", "a.csv.gz"),
            ("a.csv.gz", b"\x1f\x8b\x08", "a.csv.gz"),
            ("a.csv", b"\x28\xb5\x2f\xfd", "a.csv.zst"),
            ("a.tgz", b"\x1f\x8b\x08", "a.tgz"),
            ("a.csv", b"PK\x03\x04", "a.csv.zip"),
            ("a.zip", b"PK\x03\x04", "a.zip"),
            ("a.xlsx", b"PK\x03\x04", "a.xlsx"),
            ("a.docx", b"PK\x03\x04", "a.docx"),
            ("a.csv", b"", "a.csv"),
        ] {
            assert_eq!(packed_name(name.into(), start), called);
        }
    }

    #[test]
    fn the_end_of_a_name_says_what_is_in_the_file() {
        assert_eq!(media_type("a.b.CSV"), "text/csv");
        assert_eq!(media_type("csv"), "application/octet-stream");
    }
}
