//! A chart of all rows, drawn when all have come.

use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use crate::cell::Look;
use crate::colour::{Colour, INK, LINE, QUIET};
use crate::config::{Chart, Kind, Total};
use crate::file::number;
use crate::formats::{Format, Nature, NumberFormat};
use crate::sheet::{Canvas, horizontal, rectangle};
use crate::totals::{self, Running};

/// As many values are told apart; what comes beyond is one.
const MOST_GROUPS: usize = 10_000;
/// More than that are a line.
const MOST_BARS: usize = 60;
const TITLE: f32 = 9.5;
const LABEL: f32 = 7.5;
/// The height of the title, with the space below it.
const HEAD: f32 = 20.0;
/// That of a bar that lies, with the space to the next.
const BAR: f32 = 14.0;
/// That of a chart whose values stand side by side.
const STANDING: f32 = 165.0;

/// What the chart is drawn of.
pub struct Series {
    chart: Chart,
    title: String,
    /// Where the columns stand in the rows that come.
    pub places: (usize, usize),
    looks: (Look, Look),
    /// Whether the values of `x` have an order of their own.
    is_ordered: bool,
    groups: IndexMap<String, Group>,
    beyond: Running,
    text: String,
    scratch: Vec<u8>,
}

struct Group {
    /// Where it stands, where values have an order.
    order: f64,
    running: Running,
}

/// A bar or a point.
struct Point {
    name: String,
    value: f64,
}

impl Series {
    pub fn new(chart: &Chart, schema: &Schema, title: String, looks: (Look, Look)) -> Result<Self> {
        let place = |setting: &str, name: &str| {
            engine_sdk::find_column(schema, name)
                .map_err(|error| Error { message: format!("`chart`: `{setting}`: {}", error.message), ..error })
        };
        let places = (place("x", &chart.x)?, place("y", &chart.y)?);
        let kind = schema.field(places.1).data_type();
        let fits = Nature::of(kind) == Nature::Number || chart.total == Total::Count;
        if !fits {
            return Err(Error::config(format!("`chart`: `y`: column `{}` is of the type {kind}", chart.y))
                .hint("name a column of numbers, or write `total: count`"));
        }
        totals::checked("chart", &chart.y, chart.total, kind)?;
        let (x, mut y) = looks;
        if chart.total == Total::Count || y.format == Format::Plain {
            y.format = NumberFormat::parse("#,##0.##").map_or(Format::Plain, |format| Format::Number(Box::new(format)));
        }
        Ok(Self {
            is_ordered: Nature::of(schema.field(places.0).data_type()) != Nature::Text,
            chart: chart.clone(),
            title,
            places,
            looks: (x, y),
            groups: IndexMap::new(),
            beyond: Running::default(),
            text: String::new(),
            scratch: Vec::new(),
        })
    }

    /// Adds a row.
    pub fn add(&mut self, x: &Cells, y: &Cells, row: usize) {
        if y.is_null(row) {
            return;
        }
        self.text.clear();
        if x.is_null(row) {
            self.text.push('\u{2013}');
        } else {
            self.looks.0.write(x, row, &mut self.scratch, &mut self.text);
        }
        let has_room = self.groups.len() < MOST_GROUPS;
        let running = match self.groups.get_mut(&self.text) {
            Some(group) => &mut group.running,
            None if has_room => {
                let group = Group { order: order(x, row), running: Running::default() };
                &mut self.groups.entry(self.text.clone()).or_insert(group).running
            }
            None => &mut self.beyond,
        };
        running.add(y, row, &self.looks.1, &mut self.scratch);
    }

    /// Whether bars lie, with their names at the left.
    fn lies(&self) -> bool {
        self.chart.kind == Kind::Bar && !self.is_ordered
    }

    /// How high the chart will be, guessed from what has come so far.
    pub fn height(&self) -> f32 {
        if !self.lies() {
            return STANDING;
        }
        let bars = self.groups.len().clamp(3, self.chart.top + 1);
        (HEAD + bars as f32 * BAR + 4.0).min(2.5 * STANDING)
    }

    /// Forgets what came while the height was guessed.
    pub fn restart(&mut self) {
        self.groups.clear();
        self.beyond = Running::default();
    }

    /// Warns where values were not told apart.
    pub fn tell(&self, cx: &Context) {
        if self.beyond.count > 0 {
            cx.log(
                Level::Warn,
                format!(
                    "the chart tells {MOST_GROUPS} values of `{}` apart, and {} rows had others: they are shown as `{}`. \
                     Choose a column with fewer values, or a `formats` for it that joins some, such as mmm yyyy",
                    self.chart.x, self.beyond.count, self.chart.others_label
                ),
            );
        }
    }

    fn points(&self) -> Vec<Point> {
        let total = self.chart.total;
        let mut groups: Vec<(&String, &Group)> = self.groups.iter().collect();
        let point = |(name, group): (&String, &Group)| {
            let value = group.running.number(total);
            Point { name: name.clone(), value: if value.is_finite() { value } else { 0.0 } }
        };
        if self.is_ordered {
            groups.sort_by(|left, right| left.1.order.total_cmp(&right.1.order));
            return groups.into_iter().map(point).collect();
        }
        let mut points: Vec<Point> = groups.into_iter().map(point).collect();
        if self.chart.kind == Kind::Line {
            return points;
        }
        points.sort_by(|left, right| right.value.total_cmp(&left.value));
        let adds_up = matches!(total, Total::Sum | Total::Count);
        let cut = points.split_off(points.len().min(self.chart.top));
        if adds_up && (!cut.is_empty() || self.beyond.count > 0) {
            let value = cut.iter().map(|point| point.value).sum::<f64>() + self.beyond.number(total);
            points.push(Point { name: self.chart.others_label.clone(), value });
        }
        points
    }

    fn shown(&self, value: f64) -> String {
        let mut out = String::new();
        self.looks.1.float(value, &mut out);
        out
    }

    /// Draws the chart over a width and a height.
    pub fn drawn(&self, canvas: &mut Canvas, width: f32, height: f32, accent: Colour) -> Vec<u8> {
        let mut draft = Draft { canvas, out: Vec::new() };
        draft.text(&self.title, true, TITLE, INK, (0.0, height - 11.0), Side::Left, width);
        let points = self.points();
        if self.lies() {
            self.lying(&mut draft, &points, (width, height - HEAD), accent);
        } else {
            self.standing(&mut draft, &points, (width, height - HEAD), accent);
        }
        draft.out
    }

    fn lying(&self, draft: &mut Draft<'_>, points: &[Point], (width, height): (f32, f32), accent: Colour) {
        let step = (height / points.len().max(1) as f32).min(BAR * 1.3);
        let size = LABEL.min(step * 0.85);
        let values: Vec<String> = points.iter().map(|point| self.shown(point.value)).collect();
        let most = |texts: &mut dyn Iterator<Item = f32>| texts.fold(0.0, f32::max);
        let of_names = most(&mut points.iter().map(|point| draft.width(&point.name, size))).min(width * 0.3);
        let of_values = most(&mut values.iter().map(|value| draft.width(value, size)));
        let (left, space) = (of_names + 8.0, width - of_names - of_values - 16.0);
        let least = points.iter().map(|point| point.value).fold(0.0, f64::min);
        let largest = points.iter().map(|point| point.value).fold(0.0, f64::max);
        let scale = f64::from(space) / (largest - least).max(f64::MIN_POSITIVE);
        let zero = left + (-least * scale) as f32;
        for (at, (point, value)) in points.iter().zip(&values).enumerate() {
            let low = height - (at + 1) as f32 * step;
            let middle = low + step / 2.0 - size * 0.35;
            draft.text(&point.name, false, size, INK, (of_names, middle), Side::Right, of_names);
            let length = (point.value * scale) as f32;
            let is_rest = at >= self.chart.top;
            let colour = if is_rest { accent.tint(0.35) } else { accent.tint(0.85) };
            let from = if length < 0.0 { zero + length } else { zero };
            rectangle((from, low + step * 0.14), (length.abs().max(0.3), step * 0.72), colour, &mut draft.out);
            draft.text(value, false, size, QUIET, (zero + length.max(0.0) + 4.0, middle), Side::Left, width);
        }
        rectangle(
            (zero - 0.3, height - points.len() as f32 * step),
            (0.6, points.len() as f32 * step),
            QUIET,
            &mut draft.out,
        );
    }

    fn standing(&self, draft: &mut Draft<'_>, points: &[Point], (width, height): (f32, f32), accent: Colour) {
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
        for (at, point) in points.iter().enumerate().step_by(every) {
            draft.text(&point.name, false, LABEL, QUIET, (middle(at), 2.0), Side::Middle, width);
        }
    }
}

/// Where a text stands at its place.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Middle,
}

struct Draft<'a> {
    canvas: &'a mut Canvas,
    out: Vec<u8>,
}

impl Draft<'_> {
    fn width(&mut self, text: &str, size: f32) -> f32 {
        self.canvas.layout.width(text, false, size)
    }

    /// One line of a text, shortened to a width.
    #[expect(clippy::too_many_arguments, reason = "a text, its look and its place")]
    fn text(&mut self, text: &str, bold: bool, size: f32, colour: Colour, (x, y): (f32, f32), side: Side, width: f32) {
        let laid = self.canvas.layout.short(text, bold, size, width);
        let Some(line) = laid.lines.first() else { return };
        let wide = line.width * size / 1000.0;
        let x = match side {
            Side::Left => x,
            Side::Right => x - wide,
            Side::Middle => x - wide / 2.0,
        };
        self.canvas.missing.count(&line.missing, "the chart");
        self.canvas.pen.alone(&self.canvas.layout.fonts, line, (x, y), size, colour, &mut self.out);
    }
}

/// Round numbers from below the least value to above the largest.
fn marks(least: f64, largest: f64) -> Vec<f64> {
    let span = largest - least;
    if !(span > 0.0 && span.is_finite()) {
        return vec![0.0, 1.0];
    }
    let power = 10_f64.powf((span / 4.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * power).into_iter().find(|step| span / step <= 5.0);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((least / step).floor() as i64, (largest / step).ceil() as i64);
    (first..=last).map(|at| at as f64 * step).collect()
}

/// Where a value stands among others.
fn order(cells: &Cells, row: usize) -> f64 {
    if cells.is_null(row) {
        return f64::INFINITY;
    }
    match cells {
        Cells::Integer(column) | Cells::Time(column, _) | Cells::Timestamp(column, ..) => column.value(row) as f64,
        Cells::Unsigned(column) => column.value(row) as f64,
        Cells::Float32(column) => column.value(row).into(),
        Cells::Float64(column) => column.value(row),
        Cells::Decimal(column, _) => column.value(row) as f64,
        Cells::LongDecimal(column, _) => column.value(row).to_string().parse().unwrap_or_default(),
        Cells::Date(column) => column.value(row).into(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_enclose_the_values() {
        assert_eq!(marks(0.0, 97.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(marks(-3.0, 8.0), [-5.0, -2.5, 0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(marks(0.0, 0.0), [0.0, 1.0]);
        assert_eq!(marks(0.0, 1_234_567.0).last(), Some(&1_250_000.0));
    }
}
