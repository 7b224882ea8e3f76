//! Durations and sizes as they are written in pipelines.

use std::time::Duration;

/// Reads `500ms`, `2s`, `1m`, `1h` or `1d`.
///
/// # Errors
/// What is wrong with the text, to stand beside it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "a duration is a whole number and a unit, such as `500ms`, `2s`, `1m`, `1h` or `1d`";
    let (number, unit) = split(text).ok_or_else(|| FORM.to_owned())?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("the unit is missing: `{number}s` are seconds, `{number}ms` milliseconds")),
        _ => return Err(format!("there is no unit `{unit}`; {FORM}")),
    };
    let whole = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    whole.map(Duration::from_millis).ok_or_else(|| "the duration is too long".to_owned())
}

/// The shortest text that [`parse_duration`] reads as `duration`, which is cut
/// to milliseconds.
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(length, _)| milliseconds > 0 && milliseconds.is_multiple_of(*length));
    let (length, unit) = unit.unwrap_or((1, "ms"));
    format!("{}{unit}", milliseconds / length)
}

/// Reads `64KiB`, `1MiB`, `10GB` or a bare number of bytes.
///
/// # Errors
/// What is wrong with the text, to stand beside it.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const FORM: &str = "a size is a whole number and a unit, such as `64KiB`, `1MiB` or `10GB`";
    let (number, unit) = split(text).ok_or_else(|| FORM.to_owned())?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("there is no unit `{unit}`; {FORM}")),
    };
    let whole = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    whole.ok_or_else(|| "the size is too large".to_owned())
}

/// The shortest text that [`parse_bytes`] reads as `bytes`.
pub fn format_bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    let (size, unit) = unit.unwrap_or((1, "B"));
    format!("{}{unit}", bytes / size)
}

/// A number of digits and the unit after it. `None` without a digit.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    (digits > 0).then(|| (&text[..digits], text[digits..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let read = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("2s"), Ok(2_000));
        assert_eq!(read("1 m"), Ok(60_000));
        assert_eq!(read("1d"), Ok(86_400_000));
        assert_eq!(read("30"), Err("the unit is missing: `30s` are seconds, `30ms` milliseconds".into()));
        assert!(read("1.5s").unwrap_err().starts_with("there is no unit `.5s`"));
        assert!(read("").is_err() && read("s").is_err() && read("-1s").is_err());
        assert_eq!(read("99999999999999999999d"), Err("the duration is too long".into()));
    }

    #[test]
    fn durations_are_written_so_that_they_are_read_back() {
        for text in ["0ms", "1ms", "1500ms", "2s", "90s", "2m", "1h", "36h", "2d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_written_so_that_they_are_read_back() {
        for text in ["0B", "1B", "1023B", "1KiB", "1025KiB", "256MiB", "3GiB", "2TiB"] {
            assert_eq!(format_bytes(parse_bytes(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_know_both_families_of_units() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("10GB"), Ok(10_000_000_000));
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("20000000TiB"), Err("the size is too large".into()));
        assert!(parse_bytes("1 MEG").unwrap_err().starts_with("there is no unit `MEG`"));
    }
}
