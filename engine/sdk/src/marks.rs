//! Where certain bytes stand, for formats that cut text at them.
//!
//! Fields are a few bytes long, mostly. Looking for the end of each by itself costs more in getting
//! started than in looking, so this looks at 64 bytes at a time and remembers what it has found.

/// How many bytes are looked at together.
pub const BLOCK: usize = 64;

/// Which of the bytes, 64 at most, are one of `any`. The lowest bit stands for the first byte.
#[inline]
pub fn marks<const N: usize>(bytes: &[u8], any: [u8; N]) -> u64 {
    match bytes.first_chunk::<BLOCK>() {
        Some(block) => block_marks(block, any),
        None => {
            let mut block = [0; BLOCK];
            block[..bytes.len()].copy_from_slice(bytes);
            block_marks(&block, any) & ((1 << bytes.len()) - 1)
        }
    }
}

/// The places of all bytes that are one of `any`, in their order.
#[derive(Debug, Clone)]
pub struct Marks<'a, const N: usize> {
    data: &'a [u8],
    any: [u8; N],
    /// What is behind the block that `found` is of.
    next: usize,
    /// What has not been given yet of the block before `next`.
    found: u64,
}

impl<'a, const N: usize> Marks<'a, N> {
    /// Looks for `any` in `data`.
    pub fn new(data: &'a [u8], any: [u8; N]) -> Self {
        Self { data, any, next: 0, found: 0 }
    }
}

impl<const N: usize> Iterator for Marks<'_, N> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let rest = self.data.get(self.next..).filter(|rest| !rest.is_empty())?;
            self.found = marks(rest, self.any);
            self.next += BLOCK;
        }
        let place = self.next - BLOCK + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(place)
    }
}

/// With instructions that every processor of this architecture has.
#[cfg(target_arch = "x86_64")]
#[inline]
fn block_marks<const N: usize>(block: &[u8; BLOCK], any: [u8; N]) -> u64 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_setzero_si128,
    };
    let (parts, _) = block.as_chunks::<16>();
    parts.iter().enumerate().fold(0, |found, (place, part)| {
        // SAFETY: every x86_64 has SSE2, which these are of. There are 16 bytes to read, and they need not
        // be aligned.
        let bits = unsafe {
            let part = _mm_loadu_si128(part.as_ptr().cast());
            let none = _mm_setzero_si128();
            let equal = any
                .iter()
                .fold(none, |equal, byte| _mm_or_si128(equal, _mm_cmpeq_epi8(part, _mm_set1_epi8(*byte as i8))));
            _mm_movemask_epi8(equal) as u32
        };
        found | u64::from(bits) << (16 * place)
    })
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn block_marks<const N: usize>(block: &[u8; BLOCK], any: [u8; N]) -> u64 {
    block_marks_by_words(block, any)
}

/// With the arithmetic of whole numbers, eight bytes at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn block_marks_by_words<const N: usize>(block: &[u8; BLOCK], any: [u8; N]) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let (words, _) = block.as_chunks::<8>();
    words.iter().enumerate().fold(0, |found, (place, word)| {
        let word = u64::from_le_bytes(*word);
        // The highest bit of each byte that is one of them.
        let equal = any.iter().fold(0, |equal, byte| {
            let zero = word ^ u64::from_ne_bytes([*byte; 8]);
            equal | !(((zero & LOW) + LOW) | zero | LOW)
        });
        // Brings the eight bits together.
        let bits = (equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        found | bits << (8 * place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte, in no order.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 97 + at / 256 * 31) as u8).collect()
    }

    #[test]
    fn marks_are_where_the_bytes_are() {
        for length in 0..=300 {
            let data = bytes(length);
            for any in [[0, 0, 0], [b',', b'\n', 0xff], [0x80, 0x7f, 1]] {
                let expected: Vec<_> = (0..length).filter(|at| any.contains(&data[*at])).collect();
                assert_eq!(Marks::new(&data, any).collect::<Vec<_>>(), expected, "{length} bytes, {any:?}");
            }
        }
        assert_eq!(marks(b"", [0]), 0);
        assert_eq!(marks(b"a,b,", [b',']), 0b1010);
        assert_eq!(marks(&[b','; 65], [b',']), u64::MAX);
        assert_eq!(marks::<0>(&[0; 64], []), 0);
    }

    #[test]
    fn both_ways_find_the_same() {
        for block in bytes(4096).as_chunks().0 {
            for any in 0..=u8::MAX {
                let any = [any, any.wrapping_add(128), any / 2];
                assert_eq!(block_marks(block, any), block_marks_by_words(block, any), "{any:?}");
            }
        }
    }
}
