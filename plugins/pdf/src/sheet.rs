//! Pages: their size, what is on all of them, and the one that is being filled.

use engine_sdk::prelude::*;

use crate::colour::{Colour, LINE, QUIET};
use crate::file::{File, Reference, number};
use crate::missing::Missing;
use crate::text::{Laid, Layout, Pen};

/// The size of letters at the top and the bottom of a page.
const SMALL: f32 = 7.5;
/// The height of what stands there, with the space to the content.
const BAND: f32 = 20.0;
/// Space between the lines of a text, in sizes of its letters.
pub const LEADING: f32 = 1.42;
/// Where letters stand in a line, from its top, in sizes of its letters.
pub const BASELINE: f32 = 1.06;

/// The size of a page, in points.
#[derive(Debug, Clone, Copy)]
pub struct Sheet {
    pub width: f32,
    pub height: f32,
    pub margin: f32,
}

impl Sheet {
    pub fn left(&self) -> f32 {
        self.margin
    }

    pub fn right(&self) -> f32 {
        self.width - self.margin
    }

    pub fn inner(&self) -> f32 {
        self.width - 2.0 * self.margin
    }

    pub fn bottom(&self) -> f32 {
        self.margin + BAND
    }

    /// Where the content of a page begins that is not the first.
    pub fn top(&self) -> f32 {
        self.height - self.margin - BAND
    }
}

/// What is at the top and the bottom of pages.
pub struct Bands {
    pub header: String,
    pub footer: String,
    /// With places for `{page}` and `{pages}`.
    pub number: String,
}

/// The pages so far.
pub struct Canvas {
    pub file: File,
    pub sheet: Sheet,
    pub layout: Layout,
    pub pen: Pen,
    pub missing: Missing,
    /// The contents of the pages, without their bands.
    pub pages: Vec<Reference>,
    /// The page that is being filled.
    pub content: Vec<u8>,
    /// How far it is filled, from the bottom.
    pub y: f32,
}

impl Canvas {
    /// Ends a page and begins the next.
    pub fn turn(&mut self) -> Result<()> {
        self.end_page()?;
        self.y = self.sheet.top();
        Ok(())
    }

    /// Ends a page.
    pub fn end_page(&mut self) -> Result<()> {
        let reference = self.file.reserve();
        self.file.stream(reference, "", &self.content)?;
        self.content.clear();
        self.pages.push(reference);
        Ok(())
    }

    /// Writes one line of a text, whose letters stand at a height.
    pub fn line(&mut self, laid: &Laid, at: usize, place: (f32, f32), size: f32, colour: Colour, told: &str) {
        if let Some(line) = laid.lines.get(at) {
            self.missing.count(&line.missing, told);
            self.pen.alone(&self.layout.fonts, line, place, size, colour, &mut self.content);
        }
    }

    /// Writes a text of several lines below what there is, on as many pages as it needs.
    pub fn block(
        &mut self,
        laid: &Laid,
        (left, width): (f32, f32),
        size: f32,
        colour: Colour,
        told: &str,
    ) -> Result<()> {
        let height = size * LEADING;
        for (at, line) in laid.lines.iter().enumerate() {
            if self.y - height < self.sheet.bottom() {
                self.turn()?;
            }
            let spare = if laid.is_right_to_left { width - line.width * size / 1000.0 } else { 0.0 };
            let place = (left + spare, self.y - size * BASELINE);
            self.line(laid, at, place, size, colour, told);
            self.y -= height;
        }
        Ok(())
    }

    /// The bands of a page: of number `at` of `count`, from 0.
    pub fn bands(&mut self, bands: &Bands, at: usize, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let Sheet { height, margin, .. } = self.sheet;
        let (left, right, inner) = (self.sheet.left(), self.sheet.right(), self.sheet.inner());
        let low = margin + BAND - 10.0;
        horizontal((left, right), low, 0.5, LINE, &mut out);
        let number = bands.number.replace("{page}", &(at + 1).to_string()).replace("{pages}", &count.to_string());
        let wide = self.band(&number, (left, inner), low - 9.5, true, &mut out);
        self.band(&bands.footer, (left, inner - wide - 12.0), low - 9.5, false, &mut out);
        if at > 0 && !bands.header.is_empty() {
            let high = height - margin - BAND + 10.0;
            horizontal((left, right), high, 0.5, LINE, &mut out);
            self.band(&bands.header, (left, inner), high + 4.0, false, &mut out);
        }
        out
    }

    /// A text of a band, shortened where it is too long. Answers with its width.
    fn band(&mut self, text: &str, (left, width): (f32, f32), y: f32, at_right: bool, out: &mut Vec<u8>) -> f32 {
        if text.is_empty() {
            return 0.0;
        }
        let laid = self.layout.short(text, false, SMALL, width);
        let Some(line) = laid.lines.first() else { return 0.0 };
        self.missing.count(&line.missing, "the top or bottom of a page");
        let wide = line.width * SMALL / 1000.0;
        let x = if at_right || laid.is_right_to_left { left + width - wide } else { left };
        self.pen.alone(&self.layout.fonts, line, (x, y), SMALL, QUIET, out);
        wide
    }
}

/// A horizontal line.
pub fn horizontal((left, right): (f32, f32), y: f32, width: f32, colour: Colour, out: &mut Vec<u8>) {
    rectangle((left, y - width / 2.0), (right - left, width), colour, out);
}

/// A filled rectangle: from its lower left corner, with a width and a height.
pub fn rectangle((x, y): (f32, f32), (width, height): (f32, f32), colour: Colour, out: &mut Vec<u8>) {
    out.extend_from_slice(colour.operands().as_bytes());
    out.extend_from_slice(b" rg ");
    for value in [x, y, width, height] {
        number(out, value);
        out.push(b' ');
    }
    out.extend_from_slice(b"re f\n");
}
