//! Totals at the top of the first page, drawn when all rows have come.

use crate::colour::{Colour, INK, QUIET};
use crate::sheet::{Canvas, rectangle};

/// How high the figures are, in points.
pub const HEIGHT: f32 = 44.0;
/// As many as can be read side by side.
pub const MOST: usize = 6;
const GAP: f32 = 8.0;
const LABEL: f32 = 8.0;
const VALUE: f32 = 15.0;

/// Draws figures with their names side by side, over a width.
pub fn drawn(canvas: &mut Canvas, figures: &[(String, String)], width: f32, accent: Colour) -> Vec<u8> {
    let mut out = Vec::new();
    let count = figures.len().clamp(1, MOST) as f32;
    let tile = (width - GAP * (count - 1.0)) / count;
    for (at, (name, value)) in figures.iter().take(MOST).enumerate() {
        let left = at as f32 * (tile + GAP);
        rectangle((left, 0.0), (tile, HEIGHT), accent.tint(0.07), &mut out);
        rectangle((left, 0.0), (2.5, HEIGHT), accent, &mut out);
        let inner = tile - 18.0;
        let label = canvas.layout.short(name, false, LABEL, inner);
        let natural = canvas.layout.natural(value, true);
        // What is too long is made smaller, and is not cut.
        let size = VALUE.min(inner * 1000.0 / natural.width.max(1.0));
        let lines = [(label, LABEL, QUIET, HEIGHT - 14.0), (natural, size, INK, 11.0)];
        for (laid, size, colour, y) in lines {
            if let Some(line) = laid.lines.first() {
                canvas.missing.count(&line.missing, "the summary");
                canvas.pen.alone(&canvas.layout.fonts, line, (left + 10.0, y), size, colour, &mut out);
            }
        }
    }
    out
}
