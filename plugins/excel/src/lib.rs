//! Workbooks of Excel: a format that makes one of rows.
//!
//! The workbook is written from its first byte to its last, row by row: memory does not grow with it. `encode` goes
//! through the rows, `sheet` and `cell` make XML of them, `zip` packs it; `workbook` and `styles` are the small parts
//! that follow.

mod cell;
mod config;
mod encode;
mod names;
mod sheet;
mod styles;
#[cfg(test)]
mod tests;
mod text;
mod workbook;
mod zip;

use chrono_tz::Tz;
use config::Config;
use engine_sdk::prelude::*;

struct Excel {
    config: Config,
    zone: Tz,
    cx: Context,
}

impl Component for Excel {
    type Config = Config;
    const SUMMARY: &'static str = "Workbooks of Excel, with typed cells";

    fn examples() -> Vec<Example> {
        vec![
            example("all columns, on one sheet", json!({})),
            example(
                "a sheet for each region, with totals",
                json!({
                    "sheets_by": "region", "columns": ["day", "region", "orders", "amount"],
                    "formats": {"amount": "#,##0.00"}, "totals": {"orders": "sum", "amount": "sum"},
                }),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        let zone = config.checked()?;
        Ok(Self { config, zone, cx })
    }
}

impl Encoder for Excel {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        encode::encode(&self.config, self.zone, self.cx.clone(), input)
    }
}

engine_sdk::module!("excel": encoder "excel" => Excel);
