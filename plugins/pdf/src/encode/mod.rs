//! Rows to a report.

mod ending;

use std::collections::VecDeque;

use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use engine_sdk::{file_piece, files_schema};

use crate::cell::Look;
use crate::chart::Series;
use crate::colour::QUIET;
use crate::config::Settings;
use crate::file::{File, Reference};
use crate::fonts::Fonts;
use crate::formats::{Format, Marks, Nature};
use crate::sheet::{Canvas, Sheet};
use crate::table::{Column, Table};
use crate::text::{Layout, Pen};
use crate::totals::{self, Running};
use crate::widths::{self, Need};
use crate::{chart, figures, front};

/// How many bytes make a piece.
const PIECE: usize = 512 << 10;
/// Rows by which widths are chosen, and about as many bytes of them.
const LOOKED_AT: usize = 500;
const LOOKED_AT_BYTES: usize = 4 << 20;
/// As many columns as anybody reads; a page has no space for more.
const MOST_COLUMNS: usize = 200;
/// Points of a millimetre.
const MILLIMETRE: f32 = 72.0 / 25.4;
/// Space between what stands on top and the table.
const GAP: f32 = 10.0;

pub fn encode(settings: &Settings, cx: &Context, input: Batches) -> Result<Batches> {
    let config = &settings.config;
    let schema = input.schema();
    let places = config.chosen(&schema)?;
    if places.len() > MOST_COLUMNS {
        return Err(Error::config(format!("there are {} columns, and a page takes {MOST_COLUMNS}", places.len()))
            .hint("choose some with `columns`"));
    }
    let look = |place: usize| -> Result<Look> {
        let field = schema.field(place);
        let format = config.formats.get(field.name());
        let format = format.map(|format| Format::parse(field.name(), format, field.data_type())).transpose()?;
        let marks = Marks { decimal: config.decimal_mark.clone(), thousands: config.thousands_mark.clone() };
        Ok(Look { format: format.unwrap_or(Format::Plain), marks, zone: settings.zone })
    };
    let column = |place: usize| {
        let field = schema.field(place);
        let kind = field.data_type();
        if kind.is_nested() {
            return Err(Error::config(format!(
                "column `{}` is of the type {kind}, which does not fit into one cell",
                field.name()
            ))
            .hint("choose other columns with `columns`, or turn it into text before"));
        }
        let total = config.totals.get(field.name()).copied();
        if let Some(total) = total {
            totals::checked("totals", field.name(), total, kind)?;
        }
        let fixed = config.widths.get(field.name()).copied();
        Ok(Column {
            name: field.name().clone(),
            title: config.title_of(field.name()).to_owned(),
            place,
            look: look(place)?,
            total,
            is_number: Nature::of(kind) == Nature::Number,
            need: Need { is_text: Nature::of(kind) == Nature::Text, fixed, ..Need::default() },
            width: 0.0,
            running: Running::default(),
            cut: 0,
            broken: 0,
            is_title_cut: false,
        })
    };
    let columns = places.into_iter().map(column).collect::<Result<Vec<_>>>()?;
    // Of an input without columns, as an empty list of JSON is, there is nothing to draw.
    let chart = config.chart.as_ref().filter(|_| !schema.fields().is_empty());
    let series = chart.map(|chart| -> Result<Series> {
        let places = chart::places(chart, &schema)?;
        let looks = (look(places.0)?, look(places.1)?);
        let title = chart.title.clone();
        let title = title.unwrap_or_else(|| format!("{} · {}", config.title_of(&chart.y), config.title_of(&chart.x)));
        Ok(Series::new(chart, &schema, places, title, looks))
    });
    let series = series.transpose()?;
    let mut file = File::new();
    let shared = Shared {
        resources: file.reserve(),
        figures: file.reserve(),
        chart: file.reserve(),
        logo: settings.logo.as_ref().map(|_| file.reserve()),
    };
    let canvas = Canvas {
        file,
        sheet: Sheet { width: 0.0, height: 0.0, margin: config.margin * MILLIMETRE },
        layout: Layout::new(Fonts::new(settings.fonts.clone(), config.font.as_deref())?),
        pen: Pen::default(),
        missing: Default::default(),
        pages: Vec::new(),
        content: Vec::new(),
        y: 0.0,
    };
    let table = Table::new(columns, config.font_size, settings.accent, config.zebra, config.header);
    let writing = Writing {
        settings: settings.clone(),
        cx: cx.clone(),
        input,
        canvas,
        table,
        series,
        shared,
        boxes: Boxes::default(),
        waiting: VecDeque::new(),
        phase: Phase::Begin,
    };
    Ok(Batches::new(files_schema(), writing))
}

/// Objects that pages refer to, and that are written behind them.
struct Shared {
    resources: Reference,
    figures: Reference,
    chart: Reference,
    logo: Option<Reference>,
}

/// The sizes of what is drawn at the end.
#[derive(Default)]
struct Boxes {
    figures: Option<(f32, f32)>,
    chart: Option<(f32, f32)>,
}

/// How far the report is.
enum Phase {
    Begin,
    Rows,
    /// The number of the page whose bands are next, and the nodes of the pages' tree.
    Pages(usize, Vec<Vec<Reference>>),
    Over,
}

/// Rows that have come, and the first that is not yet on a page.
struct Waiting {
    cells: Vec<Cells>,
    of_chart: Option<(Cells, Cells)>,
    next: usize,
    rows: usize,
}

struct Writing {
    settings: Settings,
    cx: Context,
    input: Batches,
    canvas: Canvas,
    table: Table,
    series: Option<Series>,
    shared: Shared,
    boxes: Boxes,
    waiting: VecDeque<Waiting>,
    phase: Phase,
}

impl Writing {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        while self.canvas.file.out().len() < PIECE {
            self.cx.check_cancelled()?;
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Begin => {
                    self.begin()?;
                    self.phase = Phase::Rows;
                }
                Phase::Rows => self.phase = if self.rows()? { Phase::Rows } else { self.end_rows()? },
                Phase::Pages(at, nodes) => {
                    if at < self.canvas.pages.len() {
                        self.page(at, &nodes)?;
                        self.phase = Phase::Pages(at + 1, nodes);
                    } else {
                        self.finish(&nodes)?;
                    }
                }
                Phase::Over => break,
            }
        }
        if self.canvas.file.out().is_empty() {
            return Ok(None);
        }
        let piece = file_piece("", self.canvas.file.out());
        self.canvas.file.clear();
        Ok(Some(piece))
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = self.table.columns.iter().map(|column| Cells::new(batch.column(column.place)));
        let cells = cells.collect::<Result<Vec<_>>>()?;
        let of_chart = self.series.as_ref().map(|series| -> Result<_> {
            Ok((Cells::new(batch.column(series.places.0))?, Cells::new(batch.column(series.places.1))?))
        });
        let waiting = Waiting { cells, of_chart: of_chart.transpose()?, next: 0, rows: batch.num_rows() };
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Chooses the widths by the first rows, and writes what stands above the table.
    fn begin(&mut self) -> Result<()> {
        let (mut rows, mut bytes, mut are_all) = (0, 0, false);
        while rows < LOOKED_AT && bytes < LOOKED_AT_BYTES {
            let Some(batch) = self.input.next().transpose()? else {
                are_all = true;
                break;
            };
            rows += batch.num_rows();
            bytes += batch.columns().iter().filter_map(|it| it.to_data().get_slice_memory_size().ok()).sum::<usize>();
            self.take(&batch)?;
        }
        let first: Vec<(Vec<Cells>, usize)> =
            self.waiting.iter_mut().map(|waiting| (std::mem::take(&mut waiting.cells), waiting.rows)).collect();
        self.table.look_at(&mut self.canvas, &first, LOOKED_AT, are_all);
        for (waiting, (cells, _)) in self.waiting.iter_mut().zip(first) {
            waiting.cells = cells;
        }
        let config = &self.settings.config;
        let (short, long) = config.page.points();
        let needs: Vec<Need> = self.table.columns.iter().map(|column| column.need).collect();
        let margins = 2.0 * self.canvas.sheet.margin;
        let across = widths::lies_across(config.orientation, &needs, config.font_size, short - margins);
        let (width, height) = if across { (long, short) } else { (short, long) };
        self.canvas.sheet = Sheet { width, height, ..self.canvas.sheet };
        let (size, widths) = widths::chosen(&needs, config.font_size, width - margins);
        self.table.fit(&mut self.canvas, size, widths);
        front::write(&self.settings, &mut self.canvas, self.shared.logo)?;
        self.boxes(rows > 0, are_all)?;
        if self.canvas.y - self.table.least_height() < self.canvas.sheet.bottom() {
            self.canvas.turn()?;
        }
        self.table.header(&mut self.canvas);
        if rows == 0 {
            self.empty()?;
        }
        Ok(())
    }

    /// Leaves space for what is drawn at the end.
    fn boxes(&mut self, has_rows: bool, are_all: bool) -> Result<()> {
        let sheet = self.canvas.sheet;
        let (width, page) = (sheet.inner(), sheet.top() - sheet.bottom());
        if self.settings.config.summary {
            let totals = self.table.columns.iter().filter(|column| column.total.is_some() && has_rows);
            let height = figures::height(1 + totals.count(), page);
            self.place("Figures", height)?;
            self.boxes.figures = Some((width, height));
        }
        if let Some(series) = self.series.as_mut().filter(|_| has_rows) {
            let rows = self.waiting.iter().filter_map(|it| Some((it.of_chart.as_ref()?, it.rows)));
            let rows = rows.flat_map(|((x, y), count)| (0..count).map(move |row| (x, y, row)));
            rows.take(LOOKED_AT).for_each(|(x, y, row)| series.add(x, y, row));
            let height = series.height(are_all).min(page);
            series.restart();
            self.place("Chart", height)?;
            self.boxes.chart = Some((width, height));
        }
        Ok(())
    }

    fn place(&mut self, name: &str, height: f32) -> Result<()> {
        let canvas = &mut self.canvas;
        if canvas.y - height < canvas.sheet.bottom() {
            canvas.turn()?;
        }
        canvas.y -= height;
        let operators = format!("q 1 0 0 1 {:.2} {:.2} cm /{name} Do Q\n", canvas.sheet.left(), canvas.y);
        canvas.content.extend_from_slice(operators.as_bytes());
        canvas.y -= GAP;
        Ok(())
    }

    fn empty(&mut self) -> Result<()> {
        let sheet = self.canvas.sheet;
        let size = self.settings.config.font_size + 1.0;
        self.canvas.y -= 14.0;
        let laid = self.canvas.layout.laid(&self.settings.config.empty, false, size, sheet.inner());
        let shift = (sheet.inner() - laid.width * size / 1000.0) / 2.0;
        self.canvas.block(&laid, (sheet.left() + shift, laid.width * size / 1000.0), size, QUIET, "`empty`")
    }

    /// Puts rows on pages until a piece is full or a batch is at its end. False: all rows have come.
    fn rows(&mut self) -> Result<bool> {
        let Some(mut waiting) = self.waiting.pop_front() else {
            let Some(batch) = self.input.next().transpose()? else { return Ok(false) };
            self.take(&batch)?;
            return Ok(true);
        };
        while waiting.next < waiting.rows && self.canvas.file.out().len() < PIECE {
            let row = waiting.next;
            self.table.row(&mut self.canvas, &waiting.cells, row)?;
            if let (Some(series), Some((x, y))) = (&mut self.series, &waiting.of_chart) {
                series.add(x, y, row);
            }
            waiting.next += 1;
        }
        if waiting.next < waiting.rows {
            self.waiting.push_front(waiting);
        }
        Ok(true)
    }
}

impl Iterator for Writing {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
