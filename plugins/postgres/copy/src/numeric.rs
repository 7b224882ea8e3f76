//! `numeric` in binary: four decimal digits to a 16-bit number, most significant first.

const BASE: i128 = 10_000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Reads a value as a number of units of 10^-`scale`. The error names a value
/// that a decimal cannot hold.
pub fn decode(bytes: &[u8], scale: i8) -> Result<i128, &'static str> {
    const BROKEN: &str = "a numeric value that cannot be read";
    let word = |at: usize| bytes.get(at * 2..at * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (Some(count), Some(weight), Some(sign)) = (word(0), word(1), word(2)) else { return Err(BROKEN) };
    match sign {
        NOT_A_NUMBER => return Err("NaN"),
        INFINITY => return Err("Infinity"),
        NEGATIVE_INFINITY => return Err("-Infinity"),
        _ => {}
    }
    let weight = i32::from(weight as i16);
    let mut value: i128 = 0;
    for place in 0..i32::from(count) {
        let digit = i128::from(word(4 + place as usize).ok_or(BROKEN)?);
        let exponent = 4 * (weight - place) + i32::from(scale);
        let part = if exponent >= 0 {
            10i128.checked_pow(exponent as u32).and_then(|power| digit.checked_mul(power))
        } else {
            // Digits behind the declared scale are zeros.
            10i128.checked_pow(exponent.unsigned_abs()).map(|power| digit / power)
        };
        value = part.and_then(|part| value.checked_add(part)).ok_or("a numeric value with too many digits")?;
    }
    Ok(if sign == NEGATIVE { -value } else { value })
}

/// Appends `value` × 10^-`scale`, with the length in front.
pub fn encode(value: i128, scale: u8, out: &mut Vec<u8>) {
    // 39 digits, cut at the decimal point, are at most 11 groups.
    let mut groups = [0u16; 12];
    let mut count = 0;
    let mut rest = value.unsigned_abs();
    let mut fraction_digits = u32::from(scale);
    let partial = fraction_digits % 4;
    if partial > 0 {
        let power = 10u128.pow(partial);
        groups[count] = (rest % power) as u16 * 10u16.pow(4 - partial);
        rest /= power;
        count += 1;
        fraction_digits -= partial;
    }
    let fraction_groups = (fraction_digits / 4) as usize + count;
    while rest > 0 {
        groups[count] = (rest % BASE as u128) as u16;
        rest /= BASE as u128;
        count += 1;
    }
    let weight = count as i16 - fraction_groups as i16 - 1;
    let sign = if value < 0 { NEGATIVE } else { 0 };
    out.extend_from_slice(&(8 + 2 * count as i32).to_be_bytes());
    for word in [count as u16, weight as u16, sign, u16::from(scale)] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for group in groups[..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_at_every_scale() {
        let most = 10i128.pow(38) - 1;
        for scale in 0..=38u8 {
            for value in [0, 1, -1, 9, 10, 9_999, 10_000, -10_001, 123_456_789, most, -most, most - 7] {
                let mut bytes = vec![];
                encode(value, scale, &mut bytes);
                assert_eq!(bytes.len() as i32 - 4, i32::from_be_bytes(bytes[..4].try_into().unwrap()));
                assert_eq!(decode(&bytes[4..], scale as i8), Ok(value), "{value} at scale {scale}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        let special = |sign: u16| [[0, 0], [0, 0], sign.to_be_bytes(), [0, 0]].concat();
        assert_eq!(decode(&special(NOT_A_NUMBER), 2), Err("NaN"));
        assert_eq!(decode(&special(NEGATIVE_INFINITY), 2), Err("-Infinity"));
        assert!(decode(&[0, 1], 2).is_err());
    }
}
