//! Values as texts.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use engine_sdk::columns::Cells;

use crate::formats::{Digits, Format, Marks, Moment};

/// How many decimals a floating-point number is shown with before it is rounded as its format says.
const MOST_DECIMALS: usize = 30;

/// A column of values: how they are shown.
#[derive(Debug, Clone)]
pub struct Look {
    pub format: Format,
    pub marks: Marks,
    pub zone: Tz,
}

impl Look {
    /// Appends a value that is not null.
    pub fn write(&self, cells: &Cells, row: usize, scratch: &mut Vec<u8>, out: &mut String) {
        match (&self.format, cells) {
            (Format::Number(_), Cells::Float64(column)) => return self.float(column.value(row), out),
            (Format::Number(_), Cells::Float32(column)) => return self.float(column.value(row).into(), out),
            (Format::Date(format), _) => {
                if let Some(moment) = moment(cells, row, self.zone) {
                    return format.write(moment, out);
                }
            }
            (Format::Plain, Cells::Timestamp(column, ticks, true)) if self.zone != Tz::UTC => {
                if let Some(Moment(it)) = moment(cells, row, self.zone) {
                    let fraction = if column.value(row) % ticks == 0 { "" } else { "%.f" };
                    out.push_str(&it.format(&format!("%Y-%m-%d %H:%M:%S{fraction}")).to_string());
                    return;
                }
            }
            _ => {}
        }
        scratch.clear();
        cells.write(row, b' ', scratch);
        let text = std::str::from_utf8(scratch).unwrap_or_default();
        // Clocks of UTC are told by `timezone`.
        let text = if matches!(cells, Cells::Timestamp(..)) { text.trim_end_matches('Z') } else { text };
        self.digits(text, out);
    }

    /// Appends a number, of its digits.
    pub fn digits(&self, text: &str, out: &mut String) {
        match (&self.format, Digits::read(text)) {
            (Format::Number(format), Some(digits)) => format.write(&digits, &self.marks, out),
            _ => out.push_str(text),
        }
    }

    /// Appends a floating-point number.
    pub fn float(&self, value: f64, out: &mut String) {
        match &self.format {
            Format::Number(format) if value.is_finite() => {
                // The shortest digits that give the number: 1.005 is no 1.00499999.
                let text = format!("{value}");
                let text =
                    if text.len() > 300 { format!("{value:.*}", format.decimals().min(MOST_DECIMALS)) } else { text };
                self.digits(&text, out);
            }
            _ => out.push_str(&format!("{value:?}")),
        }
    }
}

/// What clocks show.
fn moment(cells: &Cells, row: usize, zone: Tz) -> Option<Moment> {
    match cells {
        Cells::Date(column) => Moment::new(i64::from(column.value(row)) * 86_400, 0),
        Cells::Time(column, ticks) => of_ticks(column.value(row), *ticks, 0),
        Cells::Timestamp(column, ticks, is_moment) => {
            let value = column.value(row);
            let seconds = value.div_euclid(*ticks);
            let ahead = if *is_moment { offset(zone, seconds) } else { 0 };
            of_ticks(value, *ticks, ahead)
        }
        _ => None,
    }
}

fn of_ticks(value: i64, ticks: i64, ahead: i64) -> Option<Moment> {
    let nanoseconds = value.rem_euclid(ticks) * (1_000_000_000 / ticks);
    Moment::new(value.div_euclid(ticks).checked_add(ahead)?, nanoseconds as u32)
}

/// Seconds by which local time is ahead of UTC.
fn offset(zone: Tz, seconds: i64) -> i64 {
    let moment = DateTime::from_timestamp(seconds, 0).map(|it| it.naive_utc());
    moment.map_or(0, |it| zone.offset_from_utc_datetime(&it).fix().local_minus_utc().into())
}
