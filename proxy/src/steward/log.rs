//! Lines for an operator on standard error: moment, level, what happened.

use std::fmt::Display;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use dromon_core::date::civil;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may not work as meant.
    Warn,
    /// Something of note happened.
    Info,
    /// For those who look for a cause.
    Debug,
}

/// Writes lines up to a level.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    level: Level,
}

impl Log {
    /// Lines up to the level of this name; `info` for an unknown one.
    pub fn new(level: &str) -> Log {
        let level = match level.to_ascii_lowercase().as_str() {
            "error" => Level::Error,
            "warn" | "warning" => Level::Warn,
            "debug" | "trace" => Level::Debug,
            _ => Level::Info,
        };
        Log { level }
    }

    /// Something does not work.
    pub fn error(self, text: impl Display) {
        self.line(Level::Error, text);
    }

    /// Something may not work as meant.
    pub fn warn(self, text: impl Display) {
        self.line(Level::Warn, text);
    }

    /// Something of note happened.
    pub fn info(self, text: impl Display) {
        self.line(Level::Info, text);
    }

    /// For those who look for a cause.
    pub fn debug(self, text: impl Display) {
        self.line(Level::Debug, text);
    }

    /// A closed standard error leaves nobody to tell.
    fn line(self, level: Level, text: impl Display) {
        if level <= self.level {
            let name = match level {
                Level::Error => "error",
                Level::Warn => "warn ",
                Level::Info => "info ",
                Level::Debug => "debug",
            };
            let _ = writeln!(std::io::stderr(), "{} {name} {text}", timestamp(SystemTime::now()));
        }
    }
}

/// RFC 3339 in UTC with milliseconds.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
        second % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests;
