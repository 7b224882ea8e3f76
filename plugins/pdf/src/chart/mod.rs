//! A chart of all rows, drawn when all have come.

mod draw;
mod groups;

use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;

use crate::cell::Look;
use crate::colour::{Colour, INK};
use crate::config::{Chart, Kind, Total};
use crate::formats::{Format, Nature, NumberFormat};
use crate::sheet::Canvas;
use crate::totals;

use draw::{BAR, Draft, Side};
use groups::{Group, Groups};

const TITLE: f32 = 9.5;
/// The height of the title, with the space below it.
const HEAD: f32 = 20.0;
/// That of the lowest bar that can be read.
const LEAST_BAR: f32 = 7.5;
/// That of a chart whose values stand side by side.
const STANDING: f32 = 165.0;
/// Larger values are drawn as this one, so that their differences are numbers.
const LARGEST: f64 = 1e300;
/// Numbers from here on have an exponent.
const LONG: f64 = 1e15;

/// What the chart is drawn of.
pub struct Series {
    chart: Chart,
    title: String,
    /// Where the columns stand in the rows that come.
    pub places: (usize, usize),
    looks: (Look, Look),
    /// Whether the values of `x` have an order of their own.
    is_ordered: bool,
    groups: Groups,
    text: String,
    scratch: Vec<u8>,
}

/// A bar or a point.
struct Point {
    name: String,
    value: f64,
}

/// Where the columns of a chart stand; an error where they are not there, or cannot be drawn.
pub fn places(chart: &Chart, schema: &Schema) -> Result<(usize, usize)> {
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
    Ok(places)
}

impl Series {
    /// A chart of columns at their places, each with its look.
    pub fn new(chart: &Chart, schema: &Schema, places: (usize, usize), title: String, looks: (Look, Look)) -> Self {
        let (x, mut y) = looks;
        let is_ordered = Nature::of(schema.field(places.0).data_type()) != Nature::Text;
        if chart.total == Total::Count || y.format == Format::Plain {
            y.format = NumberFormat::parse("#,##0.##").map_or(Format::Plain, |format| Format::Number(Box::new(format)));
        }
        Self {
            is_ordered,
            chart: chart.clone(),
            title,
            places,
            looks: (x, y),
            groups: Groups::new(is_ordered),
            text: String::new(),
            scratch: Vec::new(),
        }
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
        let running = self.groups.of(&self.text, groups::order(x, row));
        running.add(y, row, &self.looks.1, &mut self.scratch);
    }

    /// Whether bars lie, with their names at the left.
    fn lies(&self) -> bool {
        self.chart.kind == Kind::Bar && !self.is_ordered
    }

    /// How high the chart will be, guessed from what has come so far. `are_all`: nothing else will come.
    pub fn height(&self, are_all: bool) -> f32 {
        if !self.lies() {
            return STANDING;
        }
        // Rows may be sorted by `x`: the first ones tell nothing of how many values there are.
        let most = self.chart.top + 1;
        let bars = if are_all { self.groups.len().clamp(most.min(3), most) } else { most };
        (HEAD + bars as f32 * BAR + 4.0).min(2.5 * STANDING)
    }

    /// Forgets what came while the height was guessed.
    pub fn restart(&mut self) {
        self.groups.clear();
    }

    /// Warns where values were not told apart, or not drawn.
    pub fn tell(&self, cx: &Context, height: f32) {
        let Chart { x, others_label, .. } = &self.chart;
        let most = groups::MOST;
        let hint = "choose a column with fewer values, or a `formats` for it that joins some, such as mmm yyyy";
        if self.groups.are_joined() {
            let text = format!(
                "the chart has {most} values of `{x}` at most: neighbours are shown as one. To say which, {hint}"
            );
            cx.log(Level::Warn, text);
        }
        let beyond = self.groups.beyond.count;
        if beyond > 0 {
            let fate = match self.lies() && self.adds_up() {
                true => format!("they are shown as `{others_label}`"),
                false => "they are not in the chart".into(),
            };
            let text =
                format!("the chart tells {most} values of `{x}` apart, and {beyond} rows had others: {fate}; {hint}");
            cx.log(Level::Warn, text);
        }
        let top = self.top(height);
        if self.lies() && top < self.chart.top.min(self.groups.len()) {
            let text = format!("the chart has space for {top} bars, and `top` is {}: choose fewer", self.chart.top);
            cx.log(Level::Warn, format!("{text}, a larger `page` or a smaller `margin`"));
        }
    }

    fn adds_up(&self) -> bool {
        matches!(self.chart.total, Total::Sum | Total::Count)
    }

    /// As many bars as lie over a height, beside the rest.
    fn top(&self, height: f32) -> usize {
        let most = ((height - HEAD) / LEAST_BAR) as usize;
        self.chart.top.min(most.saturating_sub(1)).max(1)
    }

    /// What is drawn, with so many values where they have no order.
    fn points(&self, top: usize) -> Vec<Point> {
        let total = self.chart.total;
        let drawn = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
        let point = |group: &Group| Point { name: group.name.clone(), value: drawn(group.running.number(total)) };
        let mut points: Vec<Point> = self.groups.all().into_iter().map(point).collect();
        if !self.lies() {
            return points;
        }
        points.sort_by(|left, right| right.value.total_cmp(&left.value));
        let cut = points.split_off(points.len().min(top));
        let beyond = &self.groups.beyond;
        if self.adds_up() && (!cut.is_empty() || beyond.count > 0) {
            let value = cut.iter().map(|point| point.value).sum::<f64>() + beyond.number(total);
            points.push(Point { name: self.chart.others_label.clone(), value: drawn(value) });
        }
        points
    }

    fn shown(&self, value: f64) -> String {
        if value.abs() >= LONG {
            return exponent(value);
        }
        let mut out = String::new();
        self.looks.1.float(value, &mut out);
        out
    }

    /// Draws the chart over a width and a height.
    pub fn drawn(&self, canvas: &mut Canvas, width: f32, height: f32, accent: Colour) -> Vec<u8> {
        let mut draft = Draft { canvas, out: Vec::new() };
        draft.text(&self.title, true, TITLE, INK, (0.0, height - 11.0), Side::Left, width);
        let top = self.top(height);
        let points = self.points(top);
        if self.lies() {
            self.lying(&mut draft, &points, top, (width, height - HEAD), accent);
        } else {
            self.standing(&mut draft, &points, (width, height - HEAD), accent);
        }
        draft.out
    }
}

/// A number with one digit before the point, and with an exponent.
fn exponent(value: f64) -> String {
    let text = format!("{value:.3e}");
    match text.split_once('e') {
        Some((digits, power)) => format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.')),
        None => text,
    }
}
