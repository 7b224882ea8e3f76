//! Workbooks of Excel, in both directions.
//!
//! One is written from its first byte to its last, row by row, and read sheet by sheet as it streams by: memory does not
//! grow with the rows. `encode` goes through the rows, `sheet` and `cell` make XML of them, `zip` packs it; `workbook`
//! and `styles` are the small parts that follow. `read` is the way back.

mod area;
mod cell;
mod config;
mod encode;
mod names;
mod read;
mod sheet;
mod styles;
#[cfg(test)]
mod tests;
mod text;
mod width;
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
                "a table that begins in the fourth row of a sheet, with typed columns",
                json!({
                    "sheet": "Calls", "range": "A4",
                    "types": {"number": "text", "started": "timestamp", "price": "decimal(12,2)"},
                }),
            ),
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

impl Decoder for Excel {
    fn decode(&mut self, input: Batches) -> Result<Batches> {
        read::decode(&self.config, self.zone, self.cx.clone(), input)
    }
}

impl Encoder for Excel {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        encode::encode(&self.config, self.zone, self.cx.clone(), input)
    }
}

engine_sdk::module!("excel": format "excel" => Excel);
