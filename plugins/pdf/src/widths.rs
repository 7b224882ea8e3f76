//! Widths of columns, from their titles and first rows.

use crate::config::Orientation;

/// Space at the left and the right of a cell's text, in points.
pub const PADDING: f32 = 4.0;
/// Texts are broken that would take more, in thousandths of the letters' size.
const WIDEST_TEXT: f32 = 32_000.0;
/// As wide as the texts of a column may be before a page is turned for them.
const EASY_TEXT: f32 = 20_000.0;
/// Words of more are broken between their letters where there is too little space.
const WIDEST_WORD: f32 = 12_000.0;
/// A column that shows nothing is still there.
const NARROWEST: f32 = 2_000.0;
/// The smallest size that letters are made to fit columns.
const SMALLEST: f32 = 6.0;
/// A digit, in thousandths; also a character of `widths`.
pub const DIGIT: f32 = 572.0;

/// What a column needs, in thousandths of the letters' size.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need {
    /// So that no text is broken.
    pub natural: f32,
    /// So that no word is broken.
    pub narrowest: f32,
    /// Whether lines may be broken.
    pub is_text: bool,
    /// In characters, where the user says it.
    pub fixed: Option<f32>,
}

impl Need {
    /// The least and the most, and how much where there is much space.
    fn range(&self) -> (f32, f32) {
        if let Some(characters) = self.fixed {
            return (characters * DIGIT, characters * DIGIT);
        }
        let natural = self.natural.max(NARROWEST);
        match self.is_text {
            true => (self.narrowest.clamp(NARROWEST, WIDEST_WORD).min(natural), natural.min(WIDEST_TEXT)),
            false => (natural, natural),
        }
    }
}

/// Whether pages lie across.
pub fn lies_across(wanted: Orientation, needs: &[Need], size: f32, inner: f32) -> bool {
    let easy = |need: &Need| {
        let (least, most) = need.range();
        least.max(if need.is_text { most.min(EASY_TEXT) } else { most })
    };
    let width: f32 = needs.iter().map(|need| easy(need) * size / 1000.0 + 2.0 * PADDING).sum();
    match wanted {
        Orientation::Auto => width > inner,
        Orientation::Portrait => false,
        Orientation::Landscape => true,
    }
}

/// The size of letters, and the widths of the columns with their padding, in points. Together they are as wide as the
/// page's content.
pub fn chosen(needs: &[Need], size: f32, inner: f32) -> (f32, Vec<f32>) {
    let count = needs.len().max(1) as f32;
    // Where columns are many, there is no space for space.
    let padding = PADDING.min(inner / count / 4.0);
    let space = inner - 2.0 * padding * count;
    let ranges: Vec<(f32, f32)> = needs.iter().map(Need::range).collect();
    let least: f32 = ranges.iter().map(|(least, _)| least).sum();
    let most: f32 = ranges.iter().map(|(_, most)| most).sum();
    let fitting = space * 1000.0 / least.max(1.0);
    let size = size.min(fitting.max(SMALLEST.min(size)));
    let space = space * 1000.0 / size;
    let share = |wide: f32| wide * size / 1000.0 + 2.0 * padding;
    let widths = if least >= space {
        // Nothing helps: words are broken.
        ranges.iter().map(|(least_of, _)| share(least_of * space / least)).collect()
    } else if most > space {
        let part = (space - least) / (most - least);
        ranges.iter().map(|(least, most)| share(least + (most - least) * part)).collect()
    } else {
        let free = |need: &Need, most: f32| if need.fixed.is_some() { 0.0 } else { most };
        let all: f32 = needs.iter().zip(&ranges).map(|(need, (_, most))| free(need, *most)).sum();
        let spare = if all > 0.0 { (space - most) / all } else { 0.0 };
        needs.iter().zip(&ranges).map(|(need, (_, most))| share(most + free(need, *most) * spare)).collect()
    };
    (size, widths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(natural: f32, narrowest: f32) -> Need {
        Need { natural, narrowest, is_text: true, fixed: None }
    }

    fn number(natural: f32) -> Need {
        Need { natural, narrowest: natural, is_text: false, fixed: None }
    }

    #[test]
    fn columns_fill_the_page() {
        for needs in [
            vec![text(5_000.0, 3_000.0), number(4_000.0)],
            vec![text(90_000.0, 6_000.0), number(4_000.0), text(20_000.0, 5_000.0)],
            vec![number(9_000.0); 30],
        ] {
            let (size, widths) = chosen(&needs, 9.0, 500.0);
            assert!((widths.iter().sum::<f32>() - 500.0).abs() < 0.1, "{widths:?}");
            assert!((SMALLEST..=9.0).contains(&size));
        }
    }

    #[test]
    fn numbers_are_not_broken_while_texts_can_be() {
        let (size, widths) = chosen(&[text(90_000.0, 6_000.0), number(8_000.0)], 9.0, 300.0);
        assert_eq!(size, 9.0);
        assert!((widths[1] - 80.0).abs() < 0.1, "{widths:?}");
    }

    #[test]
    fn widths_that_are_said_are_kept() {
        let fixed = Need { fixed: Some(10.0), ..text(50_000.0, 5_000.0) };
        let (_, widths) = chosen(&[fixed, text(5_000.0, 3_000.0)], 10.0, 400.0);
        assert!((widths[0] - 65.2).abs() < 0.1, "{widths:?}");
    }

    #[test]
    fn wide_tables_lie_across() {
        let wide = vec![number(9_000.0); 8];
        assert!(lies_across(Orientation::Auto, &wide, 9.0, 500.0));
        assert!(!lies_across(Orientation::Portrait, &wide, 9.0, 500.0));
        assert!(!lies_across(Orientation::Auto, &wide[..3], 9.0, 500.0));
        assert!(lies_across(Orientation::Landscape, &wide[..3], 9.0, 500.0));
    }
}
