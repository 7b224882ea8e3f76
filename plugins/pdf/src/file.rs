//! The container: numbered objects one behind the other, and the table of where they are.

use std::io::Write;

use engine_sdk::prelude::*;
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Texts of pages repeat a lot: more than this makes them hardly smaller, and takes longer.
const LEVEL: u32 = 4;
/// The largest place that the table of objects can say.
const LARGEST: u64 = 9_999_999_999;

/// The number of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference(u32);

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} 0 R", self.0)
    }
}

/// A file in the making.
pub struct File {
    out: Vec<u8>,
    /// Bytes that were taken from `out`.
    taken: u64,
    /// Where each object begins; 0: not yet written.
    places: Vec<u64>,
}

impl File {
    pub fn new() -> Self {
        // The second line tells programs that the file is no text.
        Self { out: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec(), taken: 0, places: Vec::new() }
    }

    /// What has been written and not been taken.
    pub fn out(&self) -> &[u8] {
        &self.out
    }

    /// Forgets what `out` has shown.
    pub fn clear(&mut self) {
        self.taken += self.out.len() as u64;
        self.out.clear();
    }

    /// A number for an object that is written later.
    pub fn reserve(&mut self) -> Reference {
        self.places.push(0);
        Reference(self.places.len() as u32)
    }

    fn begin(&mut self, reference: Reference) {
        self.places[reference.0 as usize - 1] = self.taken + self.out.len() as u64;
        self.out.extend_from_slice(format!("{} 0 obj\n", reference.0).as_bytes());
    }

    /// Writes an object.
    pub fn put(&mut self, reference: Reference, body: &str) {
        self.begin(reference);
        self.out.extend_from_slice(body.as_bytes());
        self.out.extend_from_slice(b"\nendobj\n");
    }

    /// Writes an object that nothing has referred to yet.
    pub fn add(&mut self, body: &str) -> Reference {
        let reference = self.reserve();
        self.put(reference, body);
        reference
    }

    /// Writes a stream, packed. `entries` are those of its dictionary.
    pub fn stream(&mut self, reference: Reference, entries: &str, data: &[u8]) -> Result<()> {
        let mut packer = ZlibEncoder::new(Vec::with_capacity(data.len() / 3), Compression::new(LEVEL));
        let packed = packer.write_all(data).and_then(|()| packer.finish());
        let packed =
            packed.map_err(|error| Error::internal(format!("a part of the file cannot be packed: {error}")))?;
        self.packed(reference, &format!("{entries}/Filter/FlateDecode"), &packed);
        Ok(())
    }

    /// Writes a stream whose bytes are as its dictionary says.
    pub fn packed(&mut self, reference: Reference, entries: &str, data: &[u8]) {
        self.begin(reference);
        self.out.extend_from_slice(format!("<<{entries}/Length {}>>\nstream\n", data.len()).as_bytes());
        self.out.extend_from_slice(data);
        self.out.extend_from_slice(b"\nendstream\nendobj\n");
    }

    /// Writes what stands behind the objects.
    pub fn finish(&mut self, root: Reference, information: Reference) -> Result<()> {
        let start = self.taken + self.out.len() as u64;
        if start > LARGEST {
            return Err(Error::config("the report has more than 10 GB, which no PDF file holds")
                .hint("write fewer rows, or several reports"));
        }
        let count = self.places.len() + 1;
        self.out.extend_from_slice(format!("xref\n0 {count}\n0000000000 65535 f \n").as_bytes());
        for place in &self.places {
            debug_assert_ne!(*place, 0, "an object was promised and not written");
            self.out.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
        }
        let trailer = format!("trailer\n<</Size {count}/Root {root}/Info {information}>>\nstartxref\n{start}\n%%EOF\n");
        self.out.extend_from_slice(trailer.as_bytes());
        Ok(())
    }
}

/// A text outside of pages: UTF-16, as hexadecimal digits.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 4 + 6);
    out.push_str("<FEFF");
    for unit in text.encode_utf16() {
        out.push_str(&format!("{unit:04X}"));
    }
    out.push('>');
    out
}

/// A number with as many decimals as a page needs.
pub fn number(out: &mut Vec<u8>, value: f32) {
    let hundredths = (value * 100.0).round() as i64;
    if hundredths < 0 {
        out.push(b'-');
    }
    let (whole, rest) = (hundredths.unsigned_abs() / 100, hundredths.unsigned_abs() % 100);
    out.extend_from_slice(whole.to_string().as_bytes());
    if rest > 0 {
        let digits = [b'.', b'0' + (rest / 10) as u8, b'0' + (rest % 10) as u8];
        out.extend_from_slice(if rest.is_multiple_of(10) { &digits[..2] } else { &digits });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = |value| {
            let mut out = Vec::new();
            number(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([0.0, 12.5, -0.25, 1.004, 841.89, -3.0].map(shown), ["0", "12.5", "-0.25", "1", "841.89", "-3"]);
    }

    #[test]
    fn objects_are_found_also_behind_pieces_that_were_taken() {
        let mut file = File::new();
        let late = file.reserve();
        let first = file.add("<</A 1>>");
        let taken = file.out().to_vec();
        file.clear();
        file.put(late, "<</B 2>>");
        file.finish(first, late).unwrap();
        let all = [taken, file.out().to_vec()].concat();
        let text = String::from_utf8_lossy(&all);
        let place = all.windows(7).position(|it| it == b"1 0 obj").unwrap();
        assert!(text.contains(&format!("{place:010} 00000 n")), "{text}");
        assert!(text.ends_with("%%EOF\n") && text.contains("/Root 2 0 R/Info 1 0 R"));
    }
}
