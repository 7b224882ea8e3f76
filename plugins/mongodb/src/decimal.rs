//! Decimal128 of MongoDB, which has a floating exponent, and decimals with a fixed scale.

use bson::Decimal128;
use bson::raw::RawBsonRef;

/// A number as a multiple of 10^-scale, if it is exactly one and has no more digits than `precision`.
pub fn exact(value: RawBsonRef<'_>, precision: u8, scale: i8) -> Option<i128> {
    let (coefficient, exponent) = match value {
        RawBsonRef::Int32(number) => (i128::from(number), 0),
        RawBsonRef::Int64(number) => (i128::from(number), 0),
        RawBsonRef::Decimal128(number) => parse(&number.to_string())?,
        _ => return None,
    };
    let mut number = coefficient;
    let mut shift = i32::from(scale) + exponent;
    if number == 0 {
        return Some(0);
    }
    while shift > 0 {
        number = number.checked_mul(10)?;
        shift -= 1;
    }
    while shift < 0 {
        if number % 10 != 0 {
            return None;
        }
        number /= 10;
        shift += 1;
    }
    (number.unsigned_abs() < 10u128.checked_pow(precision.into())?).then_some(number)
}

/// `-1.10E+3` as a coefficient and an exponent. None of NaN and infinities.
fn parse(text: &str) -> Option<(i128, i32)> {
    let (number, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let coefficient = format!("{whole}{fraction}").parse().ok()?;
    Some((coefficient, exponent - i32::try_from(fraction.len()).ok()?))
}

/// A decimal as MongoDB's, if its 34 digits hold it.
pub fn to_bson(digits: &str, scale: i8) -> Option<Decimal128> {
    let unsigned = digits.trim_start_matches('-');
    let (digits, scale) = match unsigned.len().checked_sub(34) {
        // Zeros at the end may become part of the exponent.
        Some(more) if more > 0 => {
            let (kept, cut) = digits.split_at(digits.len() - more);
            if cut.bytes().any(|digit| digit != b'0') {
                return None;
            }
            (kept, i32::from(scale) - i32::try_from(more).ok()?)
        }
        _ => (digits, i32::from(scale)),
    };
    format!("{digits}E{}", -scale).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_crosses_exactly_or_not_at_all() {
        let decimal = |text: &str| RawBsonRef::Decimal128(text.parse().unwrap());
        assert_eq!(exact(decimal("1.10"), 10, 2), Some(110));
        assert_eq!(exact(decimal("-1.1E+3"), 10, 2), Some(-110_000));
        assert_eq!(exact(decimal("1E-3"), 10, 2), None);
        assert_eq!(exact(decimal("1.000"), 10, 2), Some(100));
        assert_eq!(exact(decimal("123456789"), 10, 2), None);
        assert_eq!(exact(decimal("9.99E+6144"), 38, 2), None);
        for text in ["NaN", "Infinity", "-Infinity"] {
            assert_eq!(exact(decimal(text), 38, 2), None);
        }
        assert_eq!(exact(RawBsonRef::Int64(-7), 10, 2), Some(-700));
        assert_eq!(to_bson("-110", 2).unwrap().to_string(), "-1.10");
        assert_eq!(to_bson(&"9".repeat(34), 0).unwrap().to_string(), "9".repeat(34));
        assert_eq!(to_bson(&"9".repeat(35), 0), None);
        assert_eq!(to_bson(&format!("{}00", "9".repeat(34)), 2).unwrap().to_string(), "9".repeat(34));
        assert_eq!(to_bson("5", -3).unwrap().to_string(), "5E+3");
    }
}
