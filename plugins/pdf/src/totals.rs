//! Totals: exact where the values are.

use arrow_buffer::i256;
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;

use crate::cell::Look;
use crate::config::Total;
use crate::formats::Nature;

/// Digits that a mean has beyond those of its values.
const MORE_DIGITS: u32 = 4;

/// What a total has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Running {
    /// How many values there are.
    pub count: u64,
    exact: Option<Exact>,
    float: Option<Float>,
    /// Dates and times: the smallest and the largest as they are shown, in their order.
    moments: Option<(i64, String, i64, String)>,
    /// Whether the exact sum has become too large for its digits.
    is_over: bool,
}

/// Of whole numbers and decimals, in units of the last digit.
#[derive(Debug, Clone)]
struct Exact {
    scale: i8,
    sum: i256,
    least: i256,
    most: i256,
}

/// Of floating-point numbers.
#[derive(Debug, Clone)]
struct Float {
    sum: f64,
    /// What `sum` has lost to rounding.
    lost: f64,
    least: f64,
    most: f64,
}

/// Refuses a total that a column's values cannot have.
pub fn checked(setting: &str, name: &str, total: Total, kind: &DataType) -> Result<()> {
    let fits = matches!(
        (total, Nature::of(kind)),
        (Total::Count, _) | (_, Nature::Number) | (Total::Min | Total::Max, Nature::Moment)
    );
    if fits {
        return Ok(());
    }
    let word = match total {
        Total::Sum => "sum",
        Total::Average => "mean",
        Total::Count => "count",
        Total::Min => "smallest value",
        Total::Max => "largest value",
    };
    Err(Error::config(format!("`{setting}`: column `{name}` is of the type {kind}, which has no {word}"))
        .hint("write `count`, or for dates also `min` or `max`, or leave the column out"))
}

impl Running {
    /// Adds a value that is not null.
    pub fn add(&mut self, cells: &Cells, row: usize, look: &Look, scratch: &mut Vec<u8>) {
        self.count += 1;
        let exact = |value: i128| i256::from_i128(value);
        match cells {
            Cells::Integer(column) => self.exact(exact(column.value(row).into()), 0),
            Cells::Unsigned(column) => self.exact(exact(column.value(row).into()), 0),
            Cells::Decimal(column, scale) => self.exact(exact(column.value(row)), *scale),
            Cells::LongDecimal(column, scale) => self.exact(column.value(row), *scale),
            Cells::Float32(column) => self.float(column.value(row).into()),
            Cells::Float64(column) => self.float(column.value(row)),
            Cells::Date(column) => self.moment(column.value(row).into(), cells, row, look, scratch),
            Cells::Time(column, _) | Cells::Timestamp(column, ..) => {
                self.moment(column.value(row), cells, row, look, scratch);
            }
            _ => {}
        }
    }

    fn exact(&mut self, value: i256, scale: i8) {
        match &mut self.exact {
            None => self.exact = Some(Exact { scale, sum: value, least: value, most: value }),
            Some(exact) => {
                let sum = exact.sum.checked_add(value);
                self.is_over |= sum.is_none();
                exact.sum = sum.unwrap_or(exact.sum);
                exact.least = exact.least.min(value);
                exact.most = exact.most.max(value);
            }
        }
    }

    fn float(&mut self, value: f64) {
        match &mut self.float {
            None => self.float = Some(Float { sum: value, lost: 0.0, least: value, most: value }),
            Some(float) => {
                float.add(value);
                float.least = float.least.min(value);
                float.most = float.most.max(value);
            }
        }
    }

    fn moment(&mut self, value: i64, cells: &Cells, row: usize, look: &Look, scratch: &mut Vec<u8>) {
        let mut shown = || {
            let mut text = String::new();
            look.write(cells, row, scratch, &mut text);
            text
        };
        match &mut self.moments {
            None => {
                let text = shown();
                self.moments = Some((value, text.clone(), value, text));
            }
            Some((least, text, ..)) if value < *least => (*least, *text) = (value, shown()),
            Some((.., most, text)) if value > *most => (*most, *text) = (value, shown()),
            Some(_) => {}
        }
    }

    /// Takes what another one has seen.
    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.is_over |= other.is_over;
        match (&mut self.exact, &other.exact) {
            (Some(exact), Some(other)) => {
                let sum = exact.sum.checked_add(other.sum);
                self.is_over |= sum.is_none();
                exact.sum = sum.unwrap_or(exact.sum);
                exact.least = exact.least.min(other.least);
                exact.most = exact.most.max(other.most);
            }
            (exact, other) => *exact = exact.take().or_else(|| other.clone()),
        }
        match (&mut self.float, &other.float) {
            (Some(float), Some(other)) => {
                float.add(other.sum);
                float.lost += other.lost;
                float.least = float.least.min(other.least);
                float.most = float.most.max(other.most);
            }
            (float, other) => *float = float.take().or_else(|| other.clone()),
        }
    }

    /// The total as a number, for charts.
    pub fn number(&self, total: Total) -> f64 {
        let of = |value: i256, scale: i8| {
            let digits = value.to_string().parse::<f64>().unwrap_or_default();
            digits / 10_f64.powi(scale.into())
        };
        let count = self.count.max(1) as f64;
        match (total, &self.exact, &self.float) {
            (Total::Count, ..) => self.count as f64,
            (Total::Sum, Some(exact), _) => of(exact.sum, exact.scale),
            (Total::Average, Some(exact), _) => of(exact.sum, exact.scale) / count,
            (Total::Min, Some(exact), _) => of(exact.least, exact.scale),
            (Total::Max, Some(exact), _) => of(exact.most, exact.scale),
            (Total::Sum, None, Some(float)) => float.total(),
            (Total::Average, None, Some(float)) => float.total() / count,
            (Total::Min, None, Some(float)) => float.least,
            (Total::Max, None, Some(float)) => float.most,
            _ => 0.0,
        }
    }

    /// The total as a text; none where there is nothing that it could be of.
    pub fn shown(&self, total: Total, look: &Look) -> Option<String> {
        let mut out = String::new();
        if total == Total::Count {
            return Some(self.count.to_string());
        }
        if let Some((_, least, _, most)) = &self.moments {
            return match total {
                Total::Min => Some(least.clone()),
                Total::Max => Some(most.clone()),
                _ => None,
            };
        }
        match (&self.exact, &self.float) {
            (Some(exact), _) if !self.is_over => {
                let (value, scale) = match total {
                    Total::Min => (exact.least, exact.scale),
                    Total::Max => (exact.most, exact.scale),
                    Total::Average => {
                        let more = i256::from_i128(10_i128.pow(MORE_DIGITS));
                        let mean = exact.sum.checked_mul(more)?.checked_div(i256::from_i128(self.count.into()))?;
                        (mean, exact.scale + MORE_DIGITS as i8)
                    }
                    Total::Sum | Total::Count => (exact.sum, exact.scale),
                };
                let text = decimal(value, scale);
                let text = if total == Total::Average { trimmed(&text) } else { &text };
                look.digits(text, &mut out);
            }
            (None, Some(_)) => look.float(self.number(total), &mut out),
            _ => return None,
        }
        Some(out)
    }
}

impl Float {
    fn add(&mut self, value: f64) {
        let next = self.sum + value;
        let larger = self.sum.abs() >= value.abs();
        self.lost += if larger { self.sum - next + value } else { value - next + self.sum };
        self.sum = next;
    }

    fn total(&self) -> f64 {
        // What is infinite has lost nothing.
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// A whole number with a point among its digits.
fn decimal(value: i256, scale: i8) -> String {
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    match usize::try_from(scale) {
        Ok(0) => text,
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, decimals) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{decimals}")
        }
        Err(_) => format!("{sign}{digits}{}", "0".repeat(scale.unsigned_abs().into())),
    }
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Float64Array};
    use chrono_tz::Tz;

    use super::*;
    use crate::formats::{Format, Marks};

    fn shown(column: ArrayRef, total: Total) -> Option<String> {
        let marks = Marks { decimal: ".".into(), thousands: ",".into() };
        let look = Look { format: Format::Plain, marks, zone: Tz::UTC };
        let cells = Cells::new(&column).unwrap();
        let mut running = Running::default();
        (0..column.len()).for_each(|row| running.add(&cells, row, &look, &mut Vec::new()));
        running.shown(total, &look)
    }

    #[test]
    fn totals_of_decimals_are_exact() {
        let column = Decimal128Array::from(vec![10_000_000_000_000_000_001, -5, 4]);
        let column: ArrayRef = Arc::new(column.with_precision_and_scale(38, 2).unwrap());
        let of = |total| shown(Arc::clone(&column), total).unwrap();
        assert_eq!(of(Total::Sum), "100000000000000000.00");
        assert_eq!((of(Total::Min), of(Total::Max)), ("-0.05".into(), "100000000000000000.01".into()));
        assert_eq!((of(Total::Count), of(Total::Average)), ("3".into(), "33333333333333333.333333".into()));
    }

    #[test]
    fn a_sum_does_not_lose_small_numbers_among_large_ones() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1e16, 1.0, 1.0, -1e16, 0.5]));
        assert_eq!(shown(column, Total::Sum).unwrap(), "2.5");
    }

    #[test]
    fn dates_have_a_first_and_a_last() {
        let column: ArrayRef = Arc::new(Date32Array::from(vec![20_512, 1, 20_000]));
        assert_eq!(shown(Arc::clone(&column), Total::Min).unwrap(), "1970-01-02");
        assert_eq!(shown(Arc::clone(&column), Total::Max).unwrap(), "2026-02-28");
        assert_eq!(shown(column, Total::Sum), None);
        assert!(checked("totals", "day", Total::Sum, &DataType::Date32).is_err());
        assert!(checked("totals", "day", Total::Max, &DataType::Date32).is_ok());
    }
}
