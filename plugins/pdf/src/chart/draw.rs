//! Charts as they are drawn.

use super::{Point, Series};
use crate::colour::{Colour, INK, LINE, QUIET};
use crate::config::Kind;
use crate::file::number;
use crate::sheet::{Canvas, horizontal, rectangle};

/// More than that are a line.
const MOST_BARS: usize = 60;
pub const LABEL: f32 = 7.5;
/// The height of a bar that lies, with the space to the next.
pub const BAR: f32 = 14.0;
/// How much higher it may be where there are few.
const MOST_STRETCHED: f32 = 1.8;

impl Series {
    /// Draws bars that lie, the first at the top. Those behind `top` are the rest.
    pub(super) fn lying(&self, draft: &mut Draft<'_>, points: &[Point], top: usize, size: (f32, f32), accent: Colour) {
        let (width, height) = size;
        let step = (height / points.len().max(1) as f32).min(BAR * MOST_STRETCHED);
        let size = LABEL.min(step * 0.85);
        let values: Vec<String> = points.iter().map(|point| self.shown(point.value)).collect();
        let most = |texts: &mut dyn Iterator<Item = f32>| texts.fold(0.0, f32::max);
        let of_names = most(&mut points.iter().map(|point| draft.width(&point.name, size))).min(width * 0.3);
        let of_values = most(&mut values.iter().map(|value| draft.width(value, size)));
        let (left, space) = (of_names + 8.0, width - of_names - of_values - 16.0);
        let least = points.iter().map(|point| point.value).fold(0.0, f64::min);
        let largest = points.iter().map(|point| point.value).fold(0.0, f64::max);
        let scale = f64::from(space) / (largest - least);
        // Where all are nothing, there is nothing to compare them with.
        let scale = if scale.is_finite() { scale } else { 0.0 };
        let zero = left + (-least * scale) as f32;
        for (at, (point, value)) in points.iter().zip(&values).enumerate() {
            let low = height - (at + 1) as f32 * step;
            let middle = low + step / 2.0 - size * 0.35;
            draft.text(&point.name, false, size, INK, (of_names, middle), Side::Right, of_names);
            let length = (point.value * scale) as f32;
            let is_rest = at >= top;
            let colour = if is_rest { accent.tint(0.35) } else { accent.tint(0.85) };
            let from = if length < 0.0 { zero + length } else { zero };
            let thick = (step * 0.72).min(BAR);
            rectangle((from, low + (step - thick) / 2.0), (length.abs().max(0.3), thick), colour, &mut draft.out);
            draft.text(value, false, size, QUIET, (zero + length.max(0.0) + 4.0, middle), Side::Left, width);
        }
        rectangle(
            (zero - 0.3, height - points.len() as f32 * step),
            (0.6, points.len() as f32 * step),
            QUIET,
            &mut draft.out,
        );
    }

    /// Draws bars that stand, or a line.
    pub(super) fn standing(
        &self,
        draft: &mut Draft<'_>,
        points: &[Point],
        (width, height): (f32, f32),
        accent: Colour,
    ) {
        let least = points.iter().map(|point| point.value).fold(0.0, f64::min);
        let largest = points.iter().map(|point| point.value).fold(0.0, f64::max);
        let marks = marks(least, largest);
        let (from, to) = (marks[0], marks[marks.len() - 1]);
        let names: Vec<String> = marks.iter().map(|mark| self.shown(*mark)).collect();
        let of_names = names.iter().map(|name| draft.width(name, LABEL)).fold(0.0, f32::max);
        let (left, low, high) = (of_names + 6.0, 14.0, height - 4.0);
        let place = |value: f64| low + ((value - from) / (to - from)) as f32 * (high - low);
        for (mark, name) in marks.iter().zip(&names) {
            horizontal((left, width), place(*mark), 0.5, LINE, &mut draft.out);
            draft.text(name, false, LABEL, QUIET, (of_names, place(*mark) - LABEL * 0.35), Side::Right, of_names);
        }
        let step = (width - left) / points.len().max(1) as f32;
        let middle = |at: usize| left + (at as f32 + 0.5) * step;
        if self.chart.kind == Kind::Bar && points.len() <= MOST_BARS {
            for (at, point) in points.iter().enumerate() {
                let (top, zero) = (place(point.value), place(0.0));
                let size = (step * 0.68, (top - zero).abs().max(0.3));
                rectangle((middle(at) - step * 0.34, zero.min(top)), size, accent.tint(0.85), &mut draft.out);
            }
        } else {
            draft.out.extend_from_slice(format!("q {} RG 1.4 w 1 J 1 j\n", accent.operands()).as_bytes());
            for (at, point) in points.iter().enumerate() {
                number(&mut draft.out, middle(at));
                draft.out.push(b' ');
                number(&mut draft.out, place(point.value));
                draft.out.extend_from_slice(if at == 0 { b" m\n" } else { b" l\n" });
            }
            draft.out.extend_from_slice(b"S Q\n");
            if points.len() <= MOST_BARS {
                for (at, point) in points.iter().enumerate() {
                    let (x, y) = (middle(at), place(point.value));
                    rectangle((x - 1.8, y - 1.8), (3.6, 3.6), accent, &mut draft.out);
                }
            }
        }
        // As many names as there is space for.
        let widest = points.iter().map(|point| draft.width(&point.name, LABEL)).fold(1.0, f32::max);
        let every = ((widest + 8.0) / step).ceil().max(1.0) as usize;
        let mut free = 0.0;
        for (at, point) in points.iter().enumerate().step_by(every) {
            let wide = draft.width(&point.name, LABEL).min(width);
            // The first and the last one stay on the page.
            let from = (middle(at) - wide / 2.0).clamp(0.0, width - wide);
            if from >= free {
                draft.text(&point.name, false, LABEL, QUIET, (from, 2.0), Side::Left, wide);
                free = from + wide + 4.0;
            }
        }
    }
}

/// Where a text stands at its place.
#[derive(Clone, Copy)]
pub enum Side {
    Left,
    Right,
}

/// A chart in the making.
pub struct Draft<'a> {
    pub canvas: &'a mut Canvas,
    pub out: Vec<u8>,
}

impl Draft<'_> {
    fn width(&mut self, text: &str, size: f32) -> f32 {
        self.canvas.layout.width(text, false, size)
    }

    /// One line of a text, shortened to a width.
    #[expect(clippy::too_many_arguments, reason = "a text, its look and its place")]
    pub fn text(
        &mut self,
        text: &str,
        bold: bool,
        size: f32,
        colour: Colour,
        place: (f32, f32),
        side: Side,
        width: f32,
    ) {
        let (x, y) = place;
        let laid = self.canvas.layout.short(text, bold, size, width);
        let Some(line) = laid.lines.first() else { return };
        let wide = line.width * size / 1000.0;
        let x = match side {
            Side::Left => x,
            Side::Right => x - wide,
        };
        self.canvas.missing.count(&line.missing, "the chart");
        self.canvas.pen.alone(&self.canvas.layout.fonts, line, (x, y), size, colour, &mut self.out);
    }
}

/// Round numbers from below the least value to above the largest.
fn marks(least: f64, largest: f64) -> Vec<f64> {
    let span = largest - least;
    // So that a part of it is a number with all of its digits.
    if span.is_nan() || span < f64::MIN_POSITIVE * 1e10 {
        return vec![0.0, 1.0];
    }
    let power = 10_f64.powf((span / 4.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * power).into_iter().find(|step| span / step <= 5.0);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((least / step).floor() as i64, (largest / step).ceil() as i64);
    (first..=last).map(|at| at as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_enclose_the_values() {
        assert_eq!(marks(0.0, 97.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(marks(-3.0, 8.0), [-5.0, -2.5, 0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(marks(0.0, 0.0), [0.0, 1.0]);
        assert_eq!(marks(0.0, 5e-324), [0.0, 1.0]);
        assert!(marks(-1e300, 1e300).len() < 10);
        assert!(marks(0.0, 1e-290).len() < 10);
        assert_eq!(marks(0.0, 1_234_567.0).last(), Some(&1_250_000.0));
    }
}
