//! Totals: exact where the values are.

use arrow_buffer::i256;
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;

use crate::cell::Look;
use crate::config::Total;
use crate::formats::{Digits, Format, Nature};

/// Digits that a mean has beyond those of its values.
const MORE_DIGITS: usize = 4;

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
                let text = match total {
                    Total::Min => decimal(exact.least, exact.scale),
                    Total::Max => decimal(exact.most, exact.scale),
                    Total::Average => exact.mean(self.count, &look.format)?,
                    Total::Sum | Total::Count => decimal(exact.sum, exact.scale),
                };
                look.digits(&text, &mut out);
            }
            (None, Some(_)) => look.float(self.number(total), &mut out),
            _ => return None,
        }
        Some(out)
    }
}

impl Exact {
    /// The digits of the mean: as many as its format looks at, or some more than its values have, the last one rounded.
    fn mean(&self, count: u64, format: &Format) -> Option<String> {
        let decimals = match format {
            Format::Number(format) => format.decimals(),
            _ => usize::try_from(self.scale).unwrap_or_default() + MORE_DIGITS,
        };
        // One digit more than is shown says how that is rounded: it is cut off there, and rounded once.
        let text = quotient(self.sum, self.scale, count, decimals + 1)?;
        let Format::Number(_) = format else {
            let rounded = Digits::read(&text)?.rounded(decimals);
            let digits = format!("{}.{}", rounded.whole, rounded.decimals);
            let sign = if rounded.is_negative && !rounded.is_zero() { "-" } else { "" };
            return Some(format!("{sign}{}", trimmed(&digits)));
        };
        Some(text)
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

/// The digits of a number, in units of its last digit, divided by another one: no fewer decimals than these, which
/// are cut off there.
fn quotient(value: i256, scale: i8, by: u64, decimals: usize) -> Option<String> {
    let ten = i256::from_i128(10);
    let by = i256::from_i128(by.into());
    let (value, scale) = match usize::try_from(scale) {
        Ok(scale) => (value, scale),
        Err(_) => (value.checked_mul(ten.checked_pow(scale.unsigned_abs().into())?)?, 0),
    };
    let is_negative = value.is_negative();
    let value = if is_negative { value.checked_neg()? } else { value };
    let (mut digits, mut rest) = (value.checked_div(by)?.to_string(), value.checked_rem(by)?);
    for _ in scale..decimals {
        let next = rest.checked_mul(ten)?;
        digits.push_str(&next.checked_div(by)?.to_string());
        rest = next.checked_rem(by)?;
    }
    let text = pointed(&digits, scale.max(decimals));
    Some(if is_negative { format!("-{text}") } else { text })
}

/// A whole number with a point among its digits.
fn decimal(value: i256, scale: i8) -> String {
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    match usize::try_from(scale) {
        Ok(0) => text,
        Ok(scale) => format!("{sign}{}", pointed(digits, scale)),
        Err(_) => format!("{sign}{digits}{}", "0".repeat(scale.unsigned_abs().into())),
    }
}

/// Digits with a point before the last ones.
fn pointed(digits: &str, decimals: usize) -> String {
    let digits = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, decimals) = digits.split_at(digits.len() - decimals);
    format!("{whole}.{decimals}")
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
    use crate::formats::{Marks, NumberFormat};

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
    fn means_are_rounded_once_at_the_digits_that_are_shown() {
        let mean = |values: Vec<i128>, format: &str| {
            let column: ArrayRef = Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 2).unwrap());
            let format = match format {
                "" => Format::Plain,
                format => Format::Number(Box::new(NumberFormat::parse(format).unwrap())),
            };
            let marks = Marks { decimal: ".".into(), thousands: ",".into() };
            let look = Look { format, marks, zone: Tz::UTC };
            let cells = Cells::new(&column).unwrap();
            let mut running = Running::default();
            (0..column.len()).for_each(|row| running.add(&cells, row, &look, &mut Vec::new()));
            running.shown(Total::Average, &look).unwrap()
        };
        for (values, format, shown) in [
            (vec![100, 100, 0], "", "0.666667"),
            (vec![-100, -100, 0], "", "-0.666667"),
            (vec![100, 200], "", "1.5"),
            (vec![-1, 0, 0], "0.0", "0.0"),
            (vec![100, 100, 0], "0.000%", "66.667%"),
            (vec![100, 100, 200], "0.000000000", "1.333333333"),
            (vec![100, 100, 200], &format!("0.{}", "0".repeat(200)), &format!("1.{}", "3".repeat(200))),
            // Less than a half, which rounding twice would make of it.
            (vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], "0.00", "0.00"),
            (vec![1, 0], "0.00", "0.01"),
            (vec![-1, 0], "0.00", "-0.01"),
        ] {
            assert_eq!(mean(values, format), shown, "as {format}");
        }
    }

    #[test]
    fn an_infinite_sum_is_infinite() {
        let of = |values: Vec<f64>| shown(Arc::new(Float64Array::from(values)), Total::Sum).unwrap();
        assert_eq!(of(vec![1.0, f64::INFINITY, 2.0]), "inf");
        assert_eq!(of(vec![f64::MAX, f64::MAX, 1.0]), "inf");
        assert_eq!(of(vec![f64::INFINITY, f64::NEG_INFINITY]), "NaN");
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
