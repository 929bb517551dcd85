//! Scalars of the rules' files: durations, shares, header conditions.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a text is not a duration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DurationError {
    /// No number, no unit, or something else in between.
    #[error("`{0}` is not a duration; write a number and a unit, as in `1.5s`, `100ms`, `1m30s` or `1h`")]
    Syntax(String),
    /// A negative one.
    #[error("`{0}` is negative")]
    Negative(String),
    /// More than is sensible to keep.
    #[error("`{0}` is too long; the most is 8760h")]
    TooLong(String),
}

/// Longest duration of a rule: a year.
const DURATION_NS_MAX: f64 = 8_760.0 * 3_600.0 * 1e9;

/// A duration as Istio writes it: `1.5s`, `100ms`, `1h30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Whole milliseconds.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whole seconds, rounded up.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
    }

    /// Reads a duration.
    pub fn parse(text: &str) -> Result<Span, DurationError> {
        let syntax = || DurationError::Syntax(text.to_owned());
        let mut rest = text.trim();
        if rest.starts_with('-') {
            return Err(DurationError::Negative(text.to_owned()));
        }
        if rest == "0" {
            return Ok(Span(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(syntax());
        }
        let mut nanos = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(syntax)?;
            let (number, tail) = rest.split_at(digits);
            let number: f64 = number.parse().map_err(|_| syntax())?;
            let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let scale = match unit {
                "h" => 3_600e9,
                "m" => 60e9,
                "s" => 1e9,
                "ms" => 1e6,
                "us" | "µs" | "μs" => 1e3,
                "ns" => 1.0,
                _ => return Err(syntax()),
            };
            nanos += number * scale;
            rest = tail;
        }
        if nanos > DURATION_NS_MAX {
            return Err(DurationError::TooLong(text.to_owned()));
        }
        Ok(Span(Duration::from_nanos(nanos.round() as u64)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, as in `1.5s` or `100ms`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}s", self.0.as_secs_f64()))
    }
}

/// `percentage: {value: 12.5}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Percent {
    /// 0 to 100.
    #[serde(default)]
    pub value: f64,
}

impl Percent {
    /// Parts per million, clamped to the whole.
    pub fn per_million(self) -> u32 {
        (self.value.clamp(0.0, 100.0) * 10_000.0).round() as u32
    }
}

/// `{exact|prefix|regex: …}`; none of them (`{}`) is [`StringMatch::Present`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawStringMatch")]
#[allow(missing_docs)]
pub enum StringMatch {
    #[default]
    Present,
    Exact(String),
    Prefix(String),
    Regex(String),
}

#[derive(Deserialize)]
struct RawStringMatch {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

impl TryFrom<RawStringMatch> for StringMatch {
    type Error = &'static str;

    fn try_from(raw: RawStringMatch) -> Result<StringMatch, &'static str> {
        match (raw.exact, raw.prefix, raw.regex) {
            (Some(text), None, None) => Ok(StringMatch::Exact(text)),
            (None, Some(text), None) => Ok(StringMatch::Prefix(text)),
            (None, None, Some(text)) => Ok(StringMatch::Regex(text)),
            (None, None, None) => Ok(StringMatch::Present),
            _ => Err("only one of `exact`, `prefix` and `regex` may be set"),
        }
    }
}

/// Reads a map or list in which `null` stands for nothing, as Go's readers take it.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
