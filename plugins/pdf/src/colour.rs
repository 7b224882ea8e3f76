//! Colours of a page.

use engine_sdk::prelude::*;

/// Red, green and blue, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour(pub [f32; 3]);

/// What texts are written in.
pub const INK: Colour = Colour([0.13, 0.15, 0.18]);
/// What matters less: descriptions, page numbers.
pub const QUIET: Colour = Colour([0.42, 0.45, 0.5]);
/// Lines between rows.
pub const LINE: Colour = Colour([0.86, 0.88, 0.9]);

impl Colour {
    /// `#1f4e79`.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = text.strip_prefix('#').filter(|it| it.len() == 6 && it.is_ascii());
        let value = bytes.and_then(|it| u32::from_str_radix(it, 16).ok()).ok_or_else(|| {
            Error::config(format!("`accent`: {text:?} is no colour")).hint("write six hexadecimal digits: #1f4e79")
        })?;
        Ok(Self([16, 8, 0].map(|shift| (value >> shift & 0xff) as f32 / 255.0)))
    }

    /// The same with white: 0 is white, 1 the colour itself.
    pub fn tint(self, share: f32) -> Self {
        Self(self.0.map(|it| 1.0 - (1.0 - it) * share))
    }

    /// The operands of `rg` and `RG`.
    pub fn operands(self) -> String {
        let [red, green, blue] = self.0;
        format!("{red:.3} {green:.3} {blue:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_as_the_web_writes_them() {
        assert_eq!(Colour::parse("#ff0080").unwrap().operands(), "1.000 0.000 0.502");
        assert_eq!(Colour::parse("#000000").unwrap().tint(0.25).operands(), "0.750 0.750 0.750");
        for faulty in ["red", "#fff", "#gggggg", "#ffffé"] {
            assert!(Colour::parse(faulty).unwrap_err().hint.unwrap().contains("#1f4e79"));
        }
    }
}
