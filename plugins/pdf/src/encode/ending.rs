//! What stands behind the rows: totals, figures and the chart, then the pages themselves, their tree and the fonts.

use engine_sdk::prelude::*;

use super::{Phase, Writing};
use crate::file::{Reference, text};
use crate::sheet::{Bands, Canvas};
use crate::{figures, fonts};

/// Pages below one node of their tree.
const CHILDREN: usize = 64;

impl Writing {
    /// Ends the table, and draws what only the last row tells.
    pub(super) fn end_rows(&mut self) -> Result<Phase> {
        let config = &self.settings.config;
        if self.table.rows > 0 {
            self.table.totals(&mut self.canvas, &config.total_label)?;
        }
        self.table.tell(&self.cx);
        self.canvas.end_page()?;
        let accent = self.settings.accent;
        let figures = self.boxes.figures.map(|(width, height)| {
            let mut shown = vec![(config.rows_label.clone(), counted(self.table.rows, &config.thousands_mark))];
            for column in &self.table.columns {
                if let Some(value) = column.total.and_then(|total| column.running.shown(total, &column.look)) {
                    shown.push((column.title.clone(), value));
                }
            }
            figures::tell(&self.cx, shown.len(), height);
            (width, height, figures::drawn(&mut self.canvas, &shown, (width, height), accent))
        });
        self.form(self.shared.figures, figures)?;
        let chart = self.boxes.chart.zip(self.series.as_ref()).map(|((width, height), series)| {
            series.tell(&self.cx, height);
            (width, height, series.drawn(&mut self.canvas, width, height, accent))
        });
        self.form(self.shared.chart, chart)?;
        let file = &mut self.canvas.file;
        if let (Some(reference), Some(image)) = (self.shared.logo, &self.settings.logo) {
            image.write(reference, file);
        }
        // Each level has a node for so many of the one below.
        let mut nodes: Vec<Vec<Reference>> = Vec::new();
        let mut count = self.canvas.pages.len();
        while nodes.is_empty() || count > 1 {
            count = count.div_ceil(CHILDREN);
            nodes.push((0..count).map(|_| file.reserve()).collect());
        }
        // The pages themselves: one number behind the other.
        nodes.insert(0, (0..self.canvas.pages.len()).map(|_| file.reserve()).collect());
        Ok(Phase::Pages(0, nodes))
    }

    /// Writes what was drawn for a place; nothing, where there is no such place.
    fn form(&mut self, reference: Reference, drawn: Option<(f32, f32, Vec<u8>)>) -> Result<()> {
        let (width, height, content) = drawn.unwrap_or_default();
        let resources = self.shared.resources;
        let entries = format!(
            "/Type/XObject/Subtype/Form/BBox[-1 -1 {:.2} {:.2}]/Resources {resources}",
            width + 1.0,
            height + 1.0
        );
        self.canvas.file.stream(reference, &entries, &content)
    }

    /// Writes a page and its bands.
    pub(super) fn page(&mut self, at: usize, nodes: &[Vec<Reference>]) -> Result<()> {
        let config = &self.settings.config;
        let text = |template: &Option<Template>, other: &Option<Template>| {
            template.as_ref().or(other.as_ref()).map(|it| it.to_string()).unwrap_or_default()
        };
        let bands = Bands {
            header: text(&config.page_header, &config.title),
            footer: text(&config.page_footer, &config.date),
            number: config.page_number.clone(),
        };
        let bands = self.canvas.bands(&bands, at, self.canvas.pages.len());
        let (file, sheet) = (&mut self.canvas.file, self.canvas.sheet);
        let reference = file.reserve();
        file.stream(reference, "", &bands)?;
        let page = format!(
            "<</Type/Page/Parent {}/MediaBox[0 0 {} {}]/Resources {}/Contents[{} {reference}]>>",
            nodes[1][at / CHILDREN],
            sheet.width,
            sheet.height,
            self.shared.resources,
            self.canvas.pages[at],
        );
        file.put(nodes[0][at], &page);
        Ok(())
    }

    /// Writes what stands behind the pages: their tree, the fonts, what the file is called.
    pub(super) fn finish(&mut self, nodes: &[Vec<Reference>]) -> Result<()> {
        let Canvas { file, layout, pen, missing, .. } = &mut self.canvas;
        let mut below = 1;
        for (level, above) in nodes.iter().skip(1).enumerate() {
            let children = nodes[level].chunks(CHILDREN);
            for (at, (node, children)) in above.iter().zip(children).enumerate() {
                let kids: Vec<String> = children.iter().map(ToString::to_string).collect();
                let count = (nodes[0].len() - at * CHILDREN * below).min(children.len() * below);
                let parent = nodes.get(level + 2).map(|it| format!("/Parent {}", it[at / CHILDREN]));
                let parent = parent.unwrap_or_default();
                file.put(*node, &format!("<</Type/Pages{parent}/Count {count}/Kids[{}]>>", kids.join(" ")));
            }
            below *= CHILDREN;
        }
        let mut names = String::new();
        for (at, used) in &pen.used {
            if !used.is_empty() {
                let reference = file.reserve();
                fonts::write(file, reference, *at, &layout.fonts.faces[*at], used)?;
                names.push_str(&format!("/F{at} {reference}"));
            }
        }
        let logo = self.shared.logo.map(|logo| format!("/Logo {logo}")).unwrap_or_default();
        let (figures, chart) = (self.shared.figures, self.shared.chart);
        let resources = format!("<</Font<<{names}>>/XObject<</Figures {figures}/Chart {chart}{logo}>>>>");
        file.put(self.shared.resources, &resources);
        let config = &self.settings.config;
        let mut information = String::from("<</Producer(engine)");
        let entries = [("Title", &config.title), ("Subject", &config.subtitle)];
        for (name, value) in entries {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                information.push_str(&format!("/{name}{}", text(value)));
            }
        }
        if let Some(date) = config.date.as_deref().and_then(date) {
            information.push_str(&format!("/CreationDate({date})"));
        }
        information.push_str(">>");
        let information = file.add(&information);
        let root = nodes[nodes.len() - 1][0];
        let preferences = if config.title.is_some() { "/ViewerPreferences<</DisplayDocTitle true>>" } else { "" };
        let catalogue = file.add(&format!("<</Type/Catalog/Pages {root}{preferences}>>"));
        missing.tell(&self.cx);
        file.finish(catalogue, information)
    }
}

/// How many rows there are, with thousands.
fn counted(rows: u64, mark: &str) -> String {
    let digits = rows.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push_str(mark);
        }
        out.push(digit);
    }
    out
}

/// A date of ISO 8601 as a PDF writes it; none of any other text.
fn date(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc().format("D:%Y%m%d%H%M%SZ").to_string());
    }
    let moment = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"].into_iter();
    let moment = moment.filter_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok()).next();
    let day = || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    moment.or_else(day).map(|it| it.format("D:%Y%m%d%H%M%S").to_string())
}
