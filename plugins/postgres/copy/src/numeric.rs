//! `numeric` in binary: four decimal digits to a 16-bit number, most significant first.

use arrow_buffer::i256;

const BASE: i128 = 10_000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

const BROKEN: &str = "a numeric value that cannot be read";
const TOO_LONG: &str = "a numeric value with too many digits";

/// Reads a value as a number of units of 10^-`scale`. The error names a value
/// that a decimal cannot hold.
pub fn decode(bytes: &[u8], scale: i8) -> Result<i128, &'static str> {
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
        value = part.and_then(|part| value.checked_add(part)).ok_or(TOO_LONG)?;
    }
    Ok(if sign == NEGATIVE { -value } else { value })
}

/// As [`decode`], for values of any length that 256 bits hold.
pub fn decode_long(bytes: &[u8], scale: i8) -> Result<i256, &'static str> {
    /// The digits that 128 bits hold, whichever they are.
    const SHORT: i32 = 38;
    let word = |at: usize| bytes.get(at * 2..at * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (Some(count), Some(weight)) = (word(0).map(i32::from), word(1)) else { return Err(BROKEN) };
    // The exponent of the first group, and of what stands in front of it.
    let first = 4 * i32::from(weight as i16) + i32::from(scale);
    // Columns are declared for the longest value they may ever hold, and most values are shorter.
    if first + 4 <= SHORT {
        return decode(bytes, scale).map(i256::from_i128);
    }
    let sign = word(2).ok_or(BROKEN)?;
    if matches!(sign, NOT_A_NUMBER | INFINITY | NEGATIVE_INFINITY) || count == 0 {
        return decode(bytes, scale).map(i256::from_i128);
    }
    let mut value = i256::ZERO;
    for place in 0..count {
        let digit = i128::from(word(4 + place as usize).ok_or(BROKEN)?);
        // Digits behind the declared scale are zeros.
        let behind = (4 * place - first).clamp(0, 4) as u32;
        let (power, digit) = (10i128.pow(4 - behind), digit / 10i128.pow(behind));
        let moved = value.checked_mul(i256::from_i128(power));
        value = moved.and_then(|value| value.checked_add(i256::from_i128(digit))).ok_or(TOO_LONG)?;
    }
    // Groups of zeros at the end are not sent.
    let zeros = (first - 4 * (count - 1)).max(0) as u32;
    let power = i256::from_i128(10).checked_pow(zeros);
    value = power.and_then(|power| value.checked_mul(power)).ok_or(TOO_LONG)?;
    Ok(if sign == NEGATIVE { value.wrapping_neg() } else { value })
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
    write(&groups[..count], weight, value < 0, scale, out);
}

/// As [`encode`], for values of any length.
pub fn encode_long(value: i256, scale: u8, out: &mut Vec<u8>) {
    /// Four groups, as many as 64 bits hold.
    const FOUR_GROUPS: u64 = 10u64.pow(16);
    if let Some(short) = value.to_i128() {
        return encode(short, scale, out);
    }
    // 77 digits, cut at the decimal point, are at most 21 groups, and four come at a time.
    let mut groups = [0u16; 24];
    let mut count = 0;
    let mut rest = magnitude(value);
    let partial = u32::from(scale) % 4;
    if partial > 0 {
        groups[count] = divide(&mut rest, 10u64.pow(partial)) as u16 * 10u16.pow(4 - partial);
        count += 1;
    }
    let fraction_groups = usize::from(scale).div_ceil(4);
    while rest != [0; 4] {
        let mut part = divide(&mut rest, FOUR_GROUPS);
        for _ in 0..4 {
            groups[count] = (part % BASE as u64) as u16;
            part /= BASE as u64;
            count += 1;
        }
    }
    while count > 0 && groups[count - 1] == 0 {
        count -= 1;
    }
    let weight = count as i16 - fraction_groups as i16 - 1;
    write(&groups[..count], weight, value.is_negative(), scale, out);
}

/// The value without its sign, 64 bits at a time, least significant first.
fn magnitude(value: i256) -> [u64; 4] {
    // The smallest value stays as it is, and its bits are those of its magnitude.
    let (low, high) = value.wrapping_abs().to_parts();
    [low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64]
}

/// Divides in place and answers the remainder.
fn divide(value: &mut [u64; 4], divisor: u64) -> u64 {
    let divisor = u128::from(divisor);
    let mut remainder = 0u128;
    for part in value.iter_mut().rev() {
        let dividend = remainder << 64 | u128::from(*part);
        *part = (dividend / divisor) as u64;
        remainder = dividend % divisor;
    }
    remainder as u64
}

/// Appends groups, least significant first, with the length in front.
fn write(groups: &[u16], weight: i16, is_negative: bool, scale: u8, out: &mut Vec<u8>) {
    let sign = if is_negative { NEGATIVE } else { 0 };
    out.extend_from_slice(&(8 + 2 * groups.len() as i32).to_be_bytes());
    for word in [groups.len() as u16, weight as u16, sign, u16::from(scale)] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for group in groups.iter().rev() {
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
    fn long_values_are_written_and_read_again_at_every_scale() {
        let ten = |exponent| i256::from_i128(10).checked_pow(exponent).unwrap();
        let most = ten(76) - i256::ONE;
        let powers = (0..76).map(ten);
        let near = powers.flat_map(|power| [power - i256::ONE, power, power + i256::ONE]);
        let values: Vec<i256> = near.chain([most, most - ten(40), i256::from_i128(i128::MAX) + i256::ONE]).collect();
        for scale in 0..=76u8 {
            for value in values.iter().flat_map(|value| [*value, -*value]) {
                let mut bytes = vec![];
                encode_long(value, scale, &mut bytes);
                assert_eq!(bytes.len() as i32 - 4, i32::from_be_bytes(bytes[..4].try_into().unwrap()));
                assert_eq!(decode_long(&bytes[4..], scale as i8), Ok(value), "{value} at scale {scale}");
            }
        }
    }

    #[test]
    fn what_is_longer_than_256_bits_is_refused_and_never_cut() {
        // 1, with `weight` groups of zeros behind it that are not sent.
        let one = |weight: i16| [[0, 1], weight.to_be_bytes(), [0, 0], [0, 0], [0, 1]].concat();
        assert_eq!(decode_long(&one(19), 0), Ok(i256::from_i128(10).checked_pow(76).unwrap()));
        for weight in [20, 1_000, i16::MAX] {
            assert_eq!(decode_long(&one(weight), 0), Err(TOO_LONG));
        }
        let nothing = [[0, 0], [0x7f, 0xff], [0, 0], [0, 0]].concat();
        assert_eq!(decode_long(&nothing, 76), Ok(i256::ZERO));
        for length in 0..10 {
            assert_eq!(decode_long(&one(19)[..length], 0), Err(BROKEN));
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        let special = |sign: u16| [[0, 0], [0, 0], sign.to_be_bytes(), [0, 0]].concat();
        for (sign, name) in [(NOT_A_NUMBER, "NaN"), (INFINITY, "Infinity"), (NEGATIVE_INFINITY, "-Infinity")] {
            assert_eq!(decode_long(&special(sign), 2), Err(name));
            // However long the value says that it is.
            assert_eq!(decode_long(&[&[0, 0, 0, 99], &special(sign)[4..]].concat(), 76), Err(name));
        }
        assert_eq!(decode(&special(NOT_A_NUMBER), 2), Err("NaN"));
        assert_eq!(decode(&special(NEGATIVE_INFINITY), 2), Err("-Infinity"));
        assert!(decode(&[0, 1], 2).is_err());
    }
}
