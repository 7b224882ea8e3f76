//! What a scalar of YAML 1.2 means: the core schema, without what loses data.

use serde_json::Number;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::NodeKind;
use crate::source::Span;

/// The value of a scalar. Quoted text is text; plain text may be more.
pub(crate) fn resolve(
    text: &str,
    plain: bool,
    tag: Option<&str>,
    span: &Span,
    diagnostics: &mut Diagnostics,
) -> NodeKind {
    match tag {
        Some("str") => return NodeKind::Text(text.to_owned()),
        None if !plain => return NodeKind::Text(text.to_owned()),
        _ => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeKind::Null,
        "true" | "True" | "TRUE" => return NodeKind::Bool(true),
        "false" | "False" | "FALSE" => return NodeKind::Bool(false),
        _ => {}
    }
    let Some(number) = number(text) else { return NodeKind::Text(text.to_owned()) };
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let found = Diagnostic::warning("leading-zero", "this is read as a number, without its leading zero").at(span);
        diagnostics.push(found.hint("put it into quotes to keep it as written"));
    }
    match number {
        Some(number) => NodeKind::Number(number),
        None => {
            let found = Diagnostic::error("number-too-large", "the number would lose digits").at(span);
            diagnostics.push(found.hint("put it into quotes to keep it as written"));
            NodeKind::Text(text.to_owned())
        }
    }
}

/// `None`: not a number. `Some(None)`: one that cannot be carried.
fn number(text: &str) -> Option<Option<Number>> {
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let radix = |digits: &str, radix: u32| {
        let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        (valid && unsigned.len() == text.len()).then(|| u64::from_str_radix(digits, radix).ok().map(Number::from))
    };
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = unsigned.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let whole = if negative {
            text.parse::<i64>().ok().map(Number::from)
        } else {
            unsigned.parse::<u64>().ok().map(Number::from)
        };
        return Some(whole);
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(unsigned[at + 1..].trim_start_matches(['+', '-']))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    is_number.then(|| text.parse::<f64>().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn plain(text: &str) -> NodeKind {
        let source = Source::new("test", text);
        resolve(text, true, None, &source.span(0..text.len()), &mut Diagnostics::new())
    }

    fn is(kind: &NodeKind, number: impl Into<Number>) -> bool {
        matches!(kind, NodeKind::Number(found) if *found == number.into())
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        assert!(matches!(plain("~"), NodeKind::Null));
        assert!(matches!(plain("true"), NodeKind::Bool(true)));
        for text in ["yes", "no", "on", "off", "1_000", "2025-09-17T15:44:08", ".", "-", "1e", "+0x1", ".inf", "1:30"] {
            assert!(matches!(plain(text), NodeKind::Text(_)), "{text}");
        }
        assert!(is(&plain("0x1F"), 31) && is(&plain("0o17"), 15) && is(&plain("-7"), -7) && is(&plain("012"), 12));
        assert!(matches!(plain("1.5e3"), NodeKind::Number(found) if found.as_f64() == Some(1500.0)));
    }
}
