//! Sums that store and connector compare, so that nothing changes on the way without being noticed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

/// Which sum is sent with each part, and compared by the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// SHA-256.
    #[default]
    Sha256,
    /// CRC-32C.
    Crc32c,
    /// None, for stores that know neither. The signature covers each part all the same.
    None,
}

impl Checksum {
    /// As the protocol calls it.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Sha256 => Some("SHA256"),
            Self::Crc32c => Some("CRC32C"),
            Self::None => None,
        }
    }

    /// The header with the sum.
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::Sha256 => Some("x-amz-checksum-sha256"),
            Self::Crc32c => Some("x-amz-checksum-crc32c"),
            Self::None => None,
        }
    }

    /// The element with the sum.
    pub const fn element(self) -> Option<&'static str> {
        match self {
            Self::Sha256 => Some("ChecksumSHA256"),
            Self::Crc32c => Some("ChecksumCRC32C"),
            Self::None => None,
        }
    }

    /// The sum of a part, whose SHA-256 is known.
    pub fn of(self, bytes: &[u8], sha256: &[u8; 32]) -> Option<String> {
        match self {
            Self::Sha256 => Some(STANDARD.encode(sha256)),
            Self::Crc32c => Some(STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes())),
            Self::None => None,
        }
    }

    /// The sum of an object of several parts: that of their sums, and how many they are.
    pub fn of_parts<'a>(self, sums: impl Iterator<Item = &'a str>) -> Option<String> {
        let (mut all, mut count) = (Vec::new(), 0);
        for sum in sums {
            all.extend(STANDARD.decode(sum).ok()?);
            count += 1;
        }
        let sum = self.of(&all, &sha256_of(&all))?;
        Some(format!("{sum}-{count}"))
    }
}

/// The SHA-256 of bytes.
pub fn sha256_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What a store says that an object as a whole has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    pub sha256: Option<String>,
    pub crc32c: Option<String>,
}

/// An object that is read from its beginning to its end.
pub struct Whole {
    sha256: Option<(Sha256, String)>,
    crc32c: Option<(u32, String)>,
}

impl Whole {
    /// Compares with what can be known of a whole object: sums of several parts need to know where these end.
    pub fn new(sums: &Sums) -> Self {
        let whole = |sum: &Option<String>| sum.clone().filter(|sum| !sum.contains('-') || sum.ends_with("-1"));
        Self {
            sha256: whole(&sums.sha256).map(|sum| (Sha256::new(), sum)),
            crc32c: whole(&sums.crc32c).map(|sum| (0, sum)),
        }
    }

    pub fn add(&mut self, bytes: &[u8]) {
        if let Some((hash, _)) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some((sum, _)) = &mut self.crc32c {
            *sum = crc32c::crc32c_append(*sum, bytes);
        }
    }

    /// Whether what was added is what the store had been given.
    pub fn holds(self) -> bool {
        let fits = |kind: Checksum, found: &[u8], wanted: &str| {
            let found = STANDARD.encode(found);
            if wanted.ends_with("-1") {
                kind.of_parts(std::iter::once(found.as_str())).as_deref() == Some(wanted)
            } else {
                found == wanted
            }
        };
        self.sha256.is_none_or(|(hash, wanted)| fits(Checksum::Sha256, &hash.finalize(), &wanted))
            && self.crc32c.is_none_or(|(sum, wanted)| fits(Checksum::Crc32c, &sum.to_be_bytes(), &wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_protocol() {
        let bytes = b"123456789";
        let sha256 = sha256_of(bytes);
        assert_eq!(Checksum::Crc32c.of(bytes, &sha256).unwrap(), "4waSgw==");
        assert_eq!(Checksum::Sha256.of(bytes, &sha256).unwrap(), "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
        assert_eq!(Checksum::None.of(bytes, &sha256), None);
        assert!(Checksum::Sha256.of_parts(["4waSgw==", "4waSgw=="].into_iter()).unwrap().ends_with("=-2"));
        assert_eq!(Checksum::Sha256.of_parts(std::iter::once("%")), None);
    }

    #[test]
    fn an_object_is_compared_where_its_sum_is_of_all_of_it() {
        let bytes = b"123456789";
        let sha256 = Checksum::Sha256.of(bytes, &sha256_of(bytes)).unwrap();
        let single = Checksum::Sha256.of_parts(std::iter::once(sha256.as_str())).unwrap();
        let is_right = |sums: Sums, bytes: &[u8]| {
            let mut whole = Whole::new(&sums);
            bytes.chunks(4).for_each(|piece| whole.add(piece));
            whole.holds()
        };
        let by_sha256 = |sum: &str| Sums { sha256: Some(sum.into()), ..Sums::default() };
        let by_crc32c = |sum: &str| Sums { crc32c: Some(sum.into()), ..Sums::default() };
        for sums in [by_sha256(&sha256), by_sha256(&single), by_crc32c("4waSgw==")] {
            assert!(is_right(sums.clone(), bytes) && !is_right(sums, b"123456780"));
        }
        // Of several parts, nobody knows which.
        assert!(is_right(by_sha256("abc=-2"), bytes) && is_right(Sums::default(), bytes));
    }
}
