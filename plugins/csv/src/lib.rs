//! Comma-separated values (RFC 4180 and what is common around it), in both
//! directions.
//!
//! Reading guesses nothing: a column is text unless `types` says otherwise, so
//! leading zeros survive. A record that cannot be read becomes a dead letter and
//! costs none of its neighbours.

mod config;
mod cut;
mod decode;
mod encode;
mod plain;
mod scan;
#[cfg(test)]
mod tests;
mod text;

use engine_sdk::prelude::*;

pub use config::Config;
use config::Dialect;

/// The format, in both directions.
pub struct Csv {
    config: Config,
    dialect: Dialect,
    cx: Context,
}

impl Component for Csv {
    type Config = Config;
    const SUMMARY: &'static str = "Comma-separated values";

    fn examples() -> Vec<Example> {
        vec![
            example("with a header, all columns text", json!({})),
            example(
                "typed columns between semicolons",
                json!({
                    "delimiter": ";",
                    "types": {"started": "timestamp", "seconds": "integer", "price": "decimal(12,2)"}
                }),
            ),
            example("for spreadsheets", json!({"line_ending": "crlf", "guard_formulas": true})),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        let dialect = config.dialect()?;
        Ok(Self { config, dialect, cx })
    }
}

impl Decoder for Csv {
    const CUTS: bool = true;

    fn cut(&mut self, file: Batches) -> Result<Cuts> {
        cut::cut(&self.config, self.dialect, self.cx.clone(), file)
    }

    fn decode(&mut self, input: Batches) -> Result<Batches> {
        decode::decode(&self.config, self.dialect, self.cx.clone(), input)
    }
}

impl Encoder for Csv {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        encode::encode(&self.config, self.dialect, self.cx.clone(), input)
    }
}

engine_sdk::module!("csv": format "csv" => Csv);
