//! Reads the call records that an Avaya PBX prints, one line a call:
//!
//! ```text
//! 170925 1547 00252                    2434 0                2432
//! ```
//!
//! date and time of the call's end, its duration, the called number, the call
//! code, the calling number. `record` reads one line, `clock` turns its end
//! and duration into the row's `date`, `decoding` cuts a stream of bytes into
//! lines and makes batches of them.

mod clock;
mod decoding;
mod record;
mod refused;
#[cfg(test)]
mod tests;

use engine_sdk::prelude::*;

use clock::Clock;
use decoding::{Decoding, Rules};
use record::DateOrder;

/// Reads the call records of an Avaya PBX.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The order of day and month on a line: `dmy` (`170925` is 17 September
    /// 2025) or `mdy` (`091725`). Years are 2000 to 2099.
    #[serde(default)]
    date_order: DateOrder,

    /// The PBX's time zone, such as `Asia/Kolkata`. With it, a call across a
    /// change of the clocks starts when the PBX's clock showed its start:
    /// duration is subtracted in real time. The column `date` is the PBX's wall
    /// time either way. Left out, the clock is taken never to change.
    #[serde(default)]
    time_zone: Option<String>,

    /// The longest record. A longer one becomes a dead letter that holds its
    /// beginning.
    #[serde(default = "default_max_record")]
    max_record: ByteSize,
}

fn default_max_record() -> ByteSize {
    ByteSize(4 << 10)
}

/// Shorter caps would refuse ordinary records.
const SMALLEST_MAX_RECORD: u64 = 64;
/// A record is held in memory while it is open, so its cap is itself capped.
const LARGEST_MAX_RECORD: u64 = 16 << 20;

/// The component `avaya_cdr`.
struct AvayaCdr {
    rules: Rules,
    cx: Context,
}

impl Component for AvayaCdr {
    type Config = Config;
    const SUMMARY: &'static str = "Reads the call records that an Avaya PBX prints, one line a call";

    fn examples() -> Vec<Example> {
        vec![
            example("days before months, no change of the clocks", json!({})),
            example(
                "months before days, from a PBX in New York",
                json!({"date_order": "mdy", "time_zone": "America/New_York"}),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        let max_record = config.max_record.0;
        if !(SMALLEST_MAX_RECORD..=LARGEST_MAX_RECORD).contains(&max_record) {
            return Err(Error::config(format!("`max_record` is {max_record} bytes"))
                .hint("give a size from 64 bytes to 16MiB; the default, 4KiB, is far longer than any record"));
        }
        let clock = match config.time_zone.as_deref() {
            Some(zone) => Clock::of_zone(zone)?,
            None => Clock::Unchanging,
        };
        let rules = Rules { date_order: config.date_order, clock, max_record: config.max_record.as_usize() };
        Ok(Self { rules, cx })
    }
}

impl Decoder for AvayaCdr {
    fn decode(&mut self, input: Batches) -> Result<Batches> {
        Ok(Batches::new(decoding::schema(), Decoding::new(self.rules, input, self.cx.clone())))
    }
}

engine_sdk::module!("avaya_cdr": decoder "avaya_cdr" => AvayaCdr);
