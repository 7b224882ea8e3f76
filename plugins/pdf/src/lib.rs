//! Reports as PDF: a format that makes pages of rows.
//!
//! A file is written from its first byte to its last while the rows come; memory does not grow with it, but by a few
//! bytes a page. That is why what only the last row tells (totals at the top, a chart, "page 3 of 17") stands in
//! objects of its own behind the pages, which refer to them.
//!
//! `encode` goes through the rows; `table` chooses widths and places rows on pages, `sheet` is what every page has,
//! `front` what stands on top of the first, `chart` and `figures` what is drawn at the end. `text` shapes and breaks
//! lines with the fonts of `fonts`, and writes them so that they can be searched. `file` is the container.

mod cell;
mod chart;
mod colour;
mod config;
mod encode;
mod figures;
mod file;
mod fonts;
mod formats;
mod front;
mod image;
mod missing;
mod sheet;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod totals;
mod widths;

use config::{Config, Settings};
use engine_sdk::prelude::*;

struct Pdf {
    settings: Settings,
    cx: Context,
}

impl Component for Pdf {
    type Config = Config;
    const SUMMARY: &'static str = "Reports as PDF, with totals and a chart";

    fn examples() -> Vec<Example> {
        vec![
            example("all columns, as a table", json!({})),
            example(
                "a report with totals and a chart",
                json!({
                    "title": "Sales", "subtitle": "{{ run.started | date(\"%B %Y\") }}",
                    "columns": ["day", "region", "orders", "amount"],
                    "formats": {"amount": "#,##0.00"}, "totals": {"orders": "sum", "amount": "sum"},
                    "summary": true, "chart": {"type": "bar", "x": "region", "y": "amount"},
                }),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        let settings = config.checked(&cx)?;
        Ok(Self { settings, cx })
    }
}

impl Encoder for Pdf {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        encode::encode(&self.settings, &self.cx, input)
    }
}

engine_sdk::module!("pdf": encoder "pdf" => Pdf);
