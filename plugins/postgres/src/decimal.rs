//! Long decimals in another size, rounded as PostgreSQL rounds.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type};
use arrow_array::{Array, ArrayRef, Decimal256Array};
use arrow_buffer::i256;
use arrow_schema::{ArrowError, DataType};

/// Whether a change of size is made here. Arrow's own takes some values that overflow for ones that
/// fit once precision and scale together are above 127.
pub fn is_rescaled_here(from: &DataType, to: &DataType) -> bool {
    let is_long = |data_type: &DataType| matches!(data_type, DataType::Decimal256(..));
    from.is_decimal() && to.is_decimal() && (is_long(from) || is_long(to))
}

/// Brings decimals to another precision and scale. A value that has too many digits for it becomes null.
pub fn rescaled(source: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let long = match source.data_type() {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            arrow_cast::cast(source, &DataType::Decimal256(*precision, *scale))?
        }
        _ => Arc::clone(source),
    };
    let long: &Decimal256Array = long.as_primitive();
    let (is_long, precision, scale) = match to {
        DataType::Decimal256(precision, scale) => (true, *precision, *scale),
        DataType::Decimal128(precision, scale) => (false, *precision, *scale),
        other => return Err(ArrowError::CastError(format!("{other} is not written from decimals"))),
    };
    let change = Change::new(i32::from(scale) - i32::from(long.scale()), precision);
    Ok(if is_long {
        Arc::new(long.unary_opt::<_, Decimal256Type>(|value| change.of(value)).with_data_type(to.clone()))
    } else {
        let short = long.unary_opt::<_, Decimal128Type>(|value| change.of(value)?.to_i128());
        Arc::new(short.with_data_type(to.clone()))
    })
}

/// From one scale to another.
struct Change {
    /// Digits are added, not taken away.
    grows: bool,
    /// Ten to the power of how many. None: more than any value has.
    factor: Option<i256>,
    /// What has fewer digits than this fits. None: all that there are.
    limit: Option<i256>,
}

impl Change {
    fn new(by: i32, precision: u8) -> Self {
        let power = |exponent| i256::from_i128(10).checked_pow(exponent);
        Self { grows: by >= 0, factor: power(by.unsigned_abs()), limit: power(precision.into()) }
    }

    fn of(&self, value: i256) -> Option<i256> {
        let value = match self.factor {
            Some(factor) if self.grows => value.checked_mul(factor)?,
            Some(factor) => divided(value, factor)?,
            None if self.grows && value != i256::ZERO => return None,
            None => i256::ZERO,
        };
        let fits = self.limit.is_none_or(|limit| value.checked_abs().is_some_and(|value| value < limit));
        fits.then_some(value)
    }
}

/// Rounds to the nearest, and away from zero where two are as near.
fn divided(value: i256, divisor: i256) -> Option<i256> {
    let (quotient, remainder) = (value.checked_div(divisor)?, value.checked_rem(divisor)?.wrapping_abs());
    if remainder < divisor.wrapping_sub(remainder) {
        return Some(quotient);
    }
    let one = if value.is_negative() { i256::MINUS_ONE } else { i256::ONE };
    quotient.checked_add(one)
}

#[cfg(test)]
mod tests {
    use arrow_array::Decimal128Array;

    use super::*;

    fn long(text: &str, precision: u8, scale: i8) -> ArrayRef {
        let array = Decimal256Array::from(vec![i256::from_string(text)]);
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
    }

    fn shown(array: &ArrayRef, to: DataType) -> String {
        arrow_cast::display::array_value_to_string(&rescaled(array, &to).unwrap(), 0).unwrap()
    }

    #[test]
    fn values_are_rounded_away_from_zero() {
        let to = DataType::Decimal256(50, 1);
        for (value, expected) in [("25", "0.3"), ("24", "0.2"), ("-25", "-0.3"), ("-24", "-0.2"), ("-4", "0.0")] {
            assert_eq!(shown(&long(value, 50, 2), to.clone()), expected, "{value}");
        }
        assert_eq!(shown(&long(&"9".repeat(76), 76, 76), DataType::Decimal128(38, 0)), "1");
        assert_eq!(shown(&long("1", 76, 76), DataType::Decimal256(40, 0)), "0");
        // By more digits than any value has.
        let array = rescaled(&long(&"9".repeat(76), 76, 76), &DataType::Decimal256(40, -40)).unwrap();
        assert_eq!(array.as_primitive::<Decimal256Type>().value(0), i256::ZERO);
    }

    #[test]
    fn what_has_too_many_digits_is_nothing_and_never_another_number() {
        let nines = "9".repeat(76);
        for to in [
            DataType::Decimal256(76, 60),
            DataType::Decimal256(76, 1),
            DataType::Decimal256(75, 0),
            DataType::Decimal128(38, 0),
            DataType::Decimal128(38, 38),
        ] {
            assert_eq!(shown(&long(&nines, 76, 0), to.clone()), "", "{to}");
        }
        assert_eq!(shown(&long(&nines, 76, 1), DataType::Decimal256(75, 0)), "", "rounded up to one digit more");
        assert_eq!(shown(&long("7", 76, 0), DataType::Decimal256(76, 75)), format!("7.{}", "0".repeat(75)));
        assert_eq!(shown(&long("1", 76, -70), DataType::Decimal256(76, 70)), "");
        assert_eq!(shown(&long("0", 76, -70), DataType::Decimal256(76, 70)), format!("0.{}", "0".repeat(70)));
    }

    #[test]
    fn short_decimals_become_long_ones() {
        let short: ArrayRef = Arc::new(
            Decimal128Array::from(vec![Some(-10i128.pow(38) + 1), None]).with_precision_and_scale(38, 0).unwrap(),
        );
        let to = rescaled(&short, &DataType::Decimal256(76, 38)).unwrap();
        assert_eq!(
            arrow_cast::display::array_value_to_string(&to, 0).unwrap(),
            format!("-{}.{}", "9".repeat(38), "0".repeat(38))
        );
        assert!(to.is_null(1));
    }
}
