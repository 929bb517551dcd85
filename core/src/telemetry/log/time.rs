//! The wall clock in the formats that `%START_TIME%` takes, in UTC.

use std::io::Write as _;

use crate::date::civil;

/// A part of a time format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimePart {
    Text(Box<str>),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    UnixSeconds,
    /// The fraction of the second, in so many digits (1 to 9).
    Fraction(u32),
}

/// ISO 8601 with milliseconds, Envoy's default.
pub(super) fn default_format() -> Vec<TimePart> {
    compile("%Y-%m-%dT%H:%M:%S.%3fZ").unwrap_or_default()
}

/// Compiles a format in the letters of `strftime`, with Envoy's `%3f` and `%E3S` for fractions. The unknown letter is
/// the error.
pub(super) fn compile(format: &str) -> Result<Vec<TimePart>, String> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('%') {
        push_text(&mut parts, text);
        let known: [(&str, &[TimePart]); 15] = [
            ("Y", &[TimePart::Year]),
            ("m", &[TimePart::Month]),
            ("d", &[TimePart::Day]),
            ("H", &[TimePart::Hour]),
            ("M", &[TimePart::Minute]),
            ("S", &[TimePart::Second]),
            ("s", &[TimePart::UnixSeconds]),
            ("3f", &[TimePart::Fraction(3)]),
            ("6f", &[TimePart::Fraction(6)]),
            ("9f", &[TimePart::Fraction(9)]),
            ("f", &[TimePart::Fraction(9)]),
            ("F", &[]),
            ("T", &[]),
            ("E3S", &[]),
            ("%", &[]),
        ];
        let Some((letters, simple)) = known.iter().find(|(letters, _)| after.starts_with(letters)) else {
            return Err(format!("%{}", after.chars().next().unwrap_or(' ')));
        };
        match *letters {
            "F" => parts.extend(compile("%Y-%m-%d")?),
            "T" => parts.extend(compile("%H:%M:%S")?),
            "E3S" => parts.extend(compile("%S.%3f")?),
            "%" => push_text(&mut parts, "%"),
            _ => parts.extend_from_slice(simple),
        }
        rest = after.get(letters.len()..).unwrap_or_default();
    }
    push_text(&mut parts, rest);
    Ok(parts)
}

fn push_text(parts: &mut Vec<TimePart>, text: &str) {
    if !text.is_empty() {
        parts.push(TimePart::Text(text.into()));
    }
}

/// Renders a moment, in ns since 1970.
pub(super) fn render(parts: &[TimePart], unix_ns: u64, out: &mut Vec<u8>) {
    let (seconds, nanos) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (year, month, day) = civil(seconds / 86_400);
    for part in parts {
        // Writing to a vector cannot fail.
        let _ = match part {
            TimePart::Text(text) => out.write_all(text.as_bytes()),
            TimePart::Year => write!(out, "{year:04}"),
            TimePart::Month => write!(out, "{month:02}"),
            TimePart::Day => write!(out, "{day:02}"),
            TimePart::Hour => write!(out, "{:02}", seconds / 3_600 % 24),
            TimePart::Minute => write!(out, "{:02}", seconds / 60 % 60),
            TimePart::Second => write!(out, "{:02}", seconds % 60),
            TimePart::UnixSeconds => write!(out, "{seconds}"),
            TimePart::Fraction(digits) => {
                let value = nanos / 10u64.pow(9u32.saturating_sub(*digits));
                write!(out, "{value:0width$}", width = *digits as usize)
            }
        };
    }
}
