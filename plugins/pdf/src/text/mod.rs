//! Texts: their shapes, their lines, and how they are written so that they can be searched.

mod lines;
mod shape;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use crate::fonts::{FaceId, Fonts, Glyph};

pub use write::Pen;

/// Shapes of one font and direction, from left to right.
#[derive(Debug)]
pub struct Run {
    pub face: FaceId,
    /// Whether the letters are made bolder, since the font has no bold ones.
    pub is_faint: bool,
    pub is_right_to_left: bool,
    pub text: Box<str>,
    pub glyphs: Vec<Glyph>,
}

/// A line of a text, from left to right.
#[derive(Debug, Default)]
pub struct Line {
    pub runs: Vec<Run>,
    /// In thousandths of the letters' size.
    pub width: f32,
    /// Characters that no font has.
    pub missing: Vec<char>,
}

/// A text that was laid out.
#[derive(Debug, Default)]
pub struct Laid {
    pub lines: Vec<Line>,
    /// The width of the widest line, in thousandths of the letters' size.
    pub width: f32,
    /// That of the widest part that is not broken.
    pub narrowest: f32,
    /// Whether it begins at the right.
    pub is_right_to_left: bool,
}

/// As many bytes of texts are remembered with their shapes, which take about forty times as much.
const REMEMBERED: usize = 128 << 10;
/// Longer texts do not come again.
const LONGEST: usize = 512;

/// Texts by what is done with them: bold or not, and how wide they may be (0: as wide as they are).
type Known = HashMap<(bool, u32), HashMap<Box<str>, Arc<Laid>>>;

/// Lays texts out.
pub struct Layout {
    pub fonts: Fonts,
    known: Known,
    bytes: usize,
}

impl Layout {
    pub fn new(fonts: Fonts) -> Self {
        Self { fonts, known: HashMap::new(), bytes: 0 }
    }

    /// A text in lines of at most a width, in points, where the letters have a size. Texts of tables come by the
    /// thousand: those of ASCII are set letter by letter.
    pub fn cell(&mut self, text: &str, bold: bool, size: f32, width: f32) -> Arc<Laid> {
        match self.plain_width(text, bold) {
            Some(wide) if wide <= width * 1000.0 / size => Arc::new(self.plain(text, bold, wide)),
            _ => self.laid(text, bold, size, width),
        }
    }

    /// A value that is not broken: where it is too wide, its letters become smaller than `size`, but not than `least`.
    /// What is too wide even then is broken. Answers with the size of its letters.
    pub fn unbroken(&mut self, text: &str, bold: bool, size: f32, width: f32, least: f32) -> (Arc<Laid>, f32) {
        let natural = match self.plain_width(text, bold) {
            Some(wide) => Arc::new(self.plain(text, bold, wide)),
            None => self.natural(text, bold),
        };
        let fitting = width * 1000.0 / natural.width.max(1.0);
        if fitting >= least { (natural, size.min(fitting)) } else { (self.laid(text, bold, least, width), least) }
    }

    /// A text in a number of lines at most: what does not fit becomes a mark. Also answers whether something did not.
    pub fn in_lines(&mut self, text: &str, bold: bool, size: f32, width: f32, most: usize) -> (Arc<Laid>, bool) {
        let whole = self.laid(text, bold, size, width);
        if whole.lines.len() <= most {
            return (whole, false);
        }
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let cut = |end: usize| format!("{}\u{2026}", text[..end].trim_end());
        let fitting = ends.partition_point(|end| self.laid(&cut(*end), bold, size, width).lines.len() <= most);
        let end = ends.get(fitting.saturating_sub(1)).copied().unwrap_or_default();
        (self.laid(&cut(end), bold, size, width), true)
    }

    /// The same, shaped in any case: kerned, for titles.
    pub fn laid(&mut self, text: &str, bold: bool, size: f32, width: f32) -> Arc<Laid> {
        let natural = self.natural(text, bold);
        let most = width * 1000.0 / size;
        if natural.width <= most {
            return natural;
        }
        self.remembered(text, bold, Some(most))
    }

    /// A text in as many lines as it has itself.
    pub fn natural(&mut self, text: &str, bold: bool) -> Arc<Laid> {
        self.remembered(text, bold, None)
    }

    fn remembered(&mut self, text: &str, bold: bool, most: Option<f32>) -> Arc<Laid> {
        let key = (bold, most.map_or(0, f32::to_bits));
        if let Some(laid) = self.known.get(&key).and_then(|known| known.get(text)) {
            return Arc::clone(laid);
        }
        let laid = Arc::new(shape::laid(&mut self.fonts, text, bold, most));
        if text.len() <= LONGEST {
            self.bytes += text.len() + 64;
            if self.bytes > REMEMBERED {
                self.known.clear();
                self.bytes = text.len() + 64;
            }
            self.known.entry(key).or_default().insert(text.into(), Arc::clone(&laid));
        }
        laid
    }

    /// How wide a text is that is set letter by letter; none of those that are not.
    fn plain_width(&self, text: &str, bold: bool) -> Option<f32> {
        let face = &self.fonts.faces[self.fonts.main(bold)];
        let letters = || text.bytes().map(|byte| face.ascii(byte));
        // A font of the user's may lack even these.
        let is_set = is_plain(text) && letters().all(|(id, _)| id != 0);
        is_set.then(|| letters().map(|(_, width)| width).sum())
    }

    fn plain(&self, text: &str, bold: bool, width: f32) -> Laid {
        let face = self.fonts.main(bold);
        let glyph = |(cluster, byte): (usize, u8)| {
            let (id, advance) = self.fonts.faces[face].ascii(byte);
            Glyph { id, cluster: cluster as u32, advance, x: 0.0, y: 0.0 }
        };
        let run = Run {
            face,
            is_faint: self.fonts.is_faint(face, bold),
            is_right_to_left: false,
            text: text.into(),
            glyphs: text.bytes().enumerate().map(glyph).collect(),
        };
        let line = Line { runs: vec![run], width, missing: Vec::new() };
        Laid { lines: vec![line], width, narrowest: width, is_right_to_left: false }
    }

    /// A text on one line of at most a width, in points: what does not fit becomes a mark.
    pub fn short(&mut self, text: &str, bold: bool, size: f32, width: f32) -> Arc<Laid> {
        let first = text.lines().next().unwrap_or_default();
        let ends: Vec<usize> = first.char_indices().map(|(at, _)| at).take(LONGEST).collect();
        let is_whole = first.len() == text.len() && ends.len() < LONGEST;
        if is_whole && self.width(text, bold, size) <= width + 0.01 {
            return self.natural(text, bold);
        }
        let cut = |end: &usize| format!("{}\u{2026}", first[..*end].trim_end());
        let fitting = ends.partition_point(|end| self.width(&cut(end), bold, size) <= width + 0.01);
        let end = ends.get(fitting.saturating_sub(1)).copied().unwrap_or_default();
        self.natural(&cut(&end), bold)
    }

    /// A width in points of a text that stands on one line.
    pub fn width(&mut self, text: &str, bold: bool, size: f32) -> f32 {
        self.natural(text, bold).width * size / 1000.0
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
