//! Cuts the bytes of one connection into records.

use engine_sdk::{Arrival, Result};

/// What has come of a connection and cannot be handed over yet: the beginning
/// of one record, never more than the longest record.
#[derive(Debug)]
pub struct Framing {
    longest: usize,
    /// Begins with a byte other than NUL, which some peers send between records.
    open: Vec<u8>,
    /// The record that is coming in was too long; its rest is thrown away.
    skipping: bool,
}

impl Framing {
    /// Records have at most `longest` bytes, without their ends.
    pub fn new(longest: usize) -> Self {
        Self { longest, open: Vec::new(), skipping: false }
    }

    /// Takes in what was read, and hands over all records that are whole now,
    /// in one piece unless one of them is too long.
    pub fn push(&mut self, mut data: &[u8], hand_over: &mut impl FnMut(Arrival<'_>) -> Result<()>) -> Result<()> {
        if self.skipping {
            let Some(end) = memchr::memchr2(b'\n', b'\r', data) else {
                return Ok(());
            };
            data = &data[end + 1..];
            self.skipping = false;
        }
        // `data[whole..start]` holds whole records that wait to be handed over.
        let (mut whole, mut start, mut records) = (0, 0, 0);
        for end in memchr::memchr2_iter(b'\n', b'\r', data) {
            let continues = start == 0 && !self.open.is_empty();
            let (before, record) =
                if continues { (&self.open[..], &data[..end]) } else { (&[][..], trim_nul(&data[start..end])) };
            if before.len() + record.len() > self.longest {
                if !continues {
                    self.complete(&data[whole..start], records, hand_over)?;
                }
                self.oversize(record, hand_over)?;
                (whole, records) = (end + 1, 0);
            } else if !(is_blank(before) && is_blank(record)) {
                records += 1;
            }
            start = end + 1;
        }
        if start > 0 {
            self.complete(&data[whole..start], records, hand_over)?;
        }
        self.keep(&data[start..], hand_over)
    }

    /// The connection has ended: hands over the record that has no end.
    pub fn finish(&mut self, hand_over: &mut impl FnMut(Arrival<'_>) -> Result<()>) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        if is_blank(&open) { Ok(()) } else { hand_over(Arrival::Partial(&open)) }
    }

    /// Hands over `data`, behind the beginning of its first record.
    fn complete(
        &mut self,
        data: &[u8],
        records: u32,
        hand_over: &mut impl FnMut(Arrival<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut open = std::mem::take(&mut self.open);
        if records == 0 {
            return Ok(());
        }
        if open.is_empty() {
            return hand_over(Arrival::Complete { data, records });
        }
        open.extend_from_slice(data);
        hand_over(Arrival::Complete { data: &open, records })
    }

    /// Hands over the beginning of the record that goes on with `more`.
    fn oversize(&mut self, more: &[u8], hand_over: &mut impl FnMut(Arrival<'_>) -> Result<()>) -> Result<()> {
        let mut open = std::mem::take(&mut self.open);
        open.extend_from_slice(&more[..self.longest - open.len()]);
        hand_over(Arrival::Oversize(&open))
    }

    /// Keeps the beginning of a record until the rest of it comes.
    fn keep(&mut self, data: &[u8], hand_over: &mut impl FnMut(Arrival<'_>) -> Result<()>) -> Result<()> {
        let data = if self.open.is_empty() { trim_nul(data) } else { data };
        if self.open.len() + data.len() > self.longest {
            self.skipping = true;
            return self.oversize(data, hand_over);
        }
        self.open.extend_from_slice(data);
        Ok(())
    }
}

fn trim_nul(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    &bytes[start..]
}

/// Whether there is no record in it: nothing, or spaces, tabs and NUL bytes.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Got {
        Complete(Vec<u8>, u32),
        Partial(Vec<u8>),
        Oversize(Vec<u8>),
    }
    use Got::{Complete, Oversize, Partial};

    fn frame<'a>(longest: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Got> {
        let mut got = Vec::new();
        let mut framing = Framing::new(longest);
        let mut hand_over = |arrival: Arrival<'_>| {
            got.push(match arrival {
                Arrival::Complete { data, records } => Complete(data.to_vec(), records),
                Arrival::Partial(data) => Partial(data.to_vec()),
                Arrival::Oversize(data) => Oversize(data.to_vec()),
            });
            Ok(())
        };
        for piece in pieces {
            framing.push(piece, &mut hand_over).unwrap();
            assert!(framing.open.len() <= longest);
        }
        framing.finish(&mut hand_over).unwrap();
        got
    }

    fn complete(data: &str, records: u32) -> Got {
        Complete(data.into(), records)
    }

    #[test]
    fn whole_records_are_handed_over_together_and_the_rest_waits() {
        assert_eq!(
            frame(9, [&b"one\r\ntwo\nth"[..], b"ree\rfour"]),
            [complete("one\r\ntwo\n", 2), complete("three\r", 1), Partial(b"four".to_vec())]
        );
        assert_eq!(frame(9, [&b"one\r"[..], b"\ntwo\n"]), [complete("one\r", 1), complete("\ntwo\n", 1)]);
    }

    #[test]
    fn blank_lines_and_nul_bytes_are_no_records() {
        assert_eq!(frame(9, [&b"\r\n\0\0\r\n \t\n"[..], b"\0\0", b" ", b"\n", b" \0"]), []);
        assert_eq!(frame(9, [&b"\0\0"[..], b"one\n\0", b"\0two"]), [complete("one\n", 1), Partial(b"two".to_vec())]);
        assert_eq!(frame(3, [&b"\0\0\0\0\0\0one\n"[..]]), [complete("\0\0\0\0\0\0one\n", 1)]);
    }

    #[test]
    fn a_record_that_is_too_long_is_handed_over_up_to_the_cap_and_its_neighbours_arrive() {
        let expected = [complete("one\n", 1), Oversize(b"longe".to_vec()), complete("two\n", 1)];
        assert_eq!(frame(5, [&b"one\nlonger\ntwo\n"[..]]), expected);
        assert_eq!(frame(5, [&b"one\n"[..], b"long", b"er", b"...", b".\ntwo\n"]), expected);
        assert_eq!(frame(5, [&b"one\n"[..], b"long", b"er\ntwo\n"]), expected);
        assert_eq!(frame(5, [&b" "[..], b"\nlonger\n"]), [Oversize(b"longe".to_vec())]);
        assert_eq!(frame(5, [&b"longer"[..], b"and longer"]), [Oversize(b"longe".to_vec())]);
        assert_eq!(frame(5, [&b"right\nright"[..]]), [complete("right\n", 1), Partial(b"right".to_vec())]);
    }

    /// What came in all: the records in order, each with how it came; and their count.
    fn summary(got: &[Got]) -> (Vec<Got>, u32) {
        let mut records = Vec::new();
        let mut count = 0;
        for one in got {
            match one {
                Complete(data, records_in_it) => {
                    count += records_in_it;
                    let lines = data.split(|byte| b"\r\n".contains(byte)).map(trim_nul);
                    records.extend(lines.filter(|line| !is_blank(line)).map(|line| Complete(line.to_vec(), 1)));
                }
                other => records.push(other.clone()),
            }
        }
        (records, count)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 512, rng_seed: RngSeed::Fixed(0x00c0_ffee), failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn the_cuts_between_pieces_change_nothing(
            bytes in proptest::collection::vec(proptest::sample::select(b"abc\0 \t\r\n".to_vec()), 0..200),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
            longest in 1..12_usize,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (whole, count) = summary(&frame(longest, [&bytes[..]]));
            let complete = whole.iter().filter(|one| matches!(one, Complete(..))).count();
            prop_assert_eq!(count as usize, complete);
            prop_assert_eq!(summary(&frame(longest, cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]))), (whole, count));
        }
    }
}
