//! Totals at the top of the first page, drawn when all rows have come.

use engine_sdk::prelude::*;

use crate::colour::{Colour, INK, QUIET};
use crate::sheet::{Canvas, rectangle};

/// How high a figure is, in points.
const HEIGHT: f32 = 44.0;
/// As many as can be read side by side.
const MOST: usize = 6;
const GAP: f32 = 8.0;
const LABEL: f32 = 8.0;
const VALUE: f32 = 15.0;

/// How high so many figures are, in lines of equal length; those that a page has no space for are left out.
pub fn height(count: usize, page: f32) -> f32 {
    let lines = count.div_ceil(MOST).min(lines(page)).max(1) as f32;
    lines * HEIGHT + (lines - 1.0) * GAP
}

/// As many lines as a height has space for.
fn lines(height: f32) -> usize {
    ((height + GAP + 0.01) / (HEIGHT + GAP)) as usize
}

/// Warns where a height has no space for all.
pub fn tell(cx: &Context, count: usize, height: f32) {
    let most = lines(height) * MOST;
    if count > most {
        cx.log(
            Level::Warn,
            format!(
                "`summary` has {count} figures, and a page has space for {most}, which are shown: choose fewer `totals`"
            ),
        );
    }
}

/// Draws figures with their names side by side, over a width and a height.
pub fn drawn(canvas: &mut Canvas, figures: &[(String, String)], size: (f32, f32), accent: Colour) -> Vec<u8> {
    let mut out = Vec::new();
    let (width, height) = size;
    let figures = &figures[..figures.len().min(lines(height) * MOST)];
    let count = figures.len().div_ceil(figures.len().div_ceil(MOST).max(1)).max(1);
    let tile = (width - GAP * (count as f32 - 1.0)) / count as f32;
    for (at, (name, value)) in figures.iter().enumerate() {
        let left = (at % count) as f32 * (tile + GAP);
        let low = height - HEIGHT - (at / count) as f32 * (HEIGHT + GAP);
        rectangle((left, low), (tile, HEIGHT), accent.tint(0.07), &mut out);
        rectangle((left, low), (2.5, HEIGHT), accent, &mut out);
        let inner = tile - 18.0;
        let label = canvas.layout.short(name, false, LABEL, inner);
        let natural = canvas.layout.natural(value, true);
        // What is too long is made smaller, and is not cut.
        let size = VALUE.min(inner * 1000.0 / natural.width.max(1.0));
        let lines = [(label, LABEL, QUIET, HEIGHT - 14.0), (natural, size, INK, 11.0)];
        for (laid, size, colour, y) in lines {
            if let Some(line) = laid.lines.first() {
                canvas.missing.count(&line.missing, "the summary");
                let place = (left + 10.0, low + y);
                canvas.pen.alone(&canvas.layout.fonts, line, place, size, colour, &mut out);
            }
        }
    }
    out
}
