//! Settings that a proxy's command line takes, and those of the programs that start proxies: what each may say.

use thiserror::Error;

/// Largest number of a processor, as the kernel's largest builds have them (`CONFIG_NR_CPUS`).
const PROCESSOR_MAX: usize = 8_191;

/// How shards do their I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// Which processors shards run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Pinned where the process has processors of its own: at gateways, and where each shard has one to itself.
    Auto,
    /// Wherever the kernel puts them.
    Off,
    /// Shard i on the i-th of these, over again from the first.
    List(Vec<usize>),
}

/// A setting that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingError {
    /// No such driver.
    #[error("there is no such driver: auto, io_uring and epoll are known")]
    Driver,
    /// Not a list of processors.
    #[error("{0:?} is not a processor or a range of them, such as 2 or 0-3")]
    Processors(String),
}

impl Driver {
    /// Every driver.
    pub const ALL: [Driver; 3] = [Driver::Auto, Driver::IoUring, Driver::Epoll];

    /// As command lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Auto => "auto",
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// It names no driver.
    pub fn parse(text: &str) -> Result<Driver, SettingError> {
        Driver::ALL.into_iter().find(|driver| driver.name() == text).ok_or(SettingError::Driver)
    }
}

impl Pin {
    /// Reads `auto`, `off` or a list of processors such as `0,2-3`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Pin, SettingError> {
        match text {
            "auto" => return Ok(Pin::Auto),
            "off" => return Ok(Pin::Off),
            _ => {}
        }
        let mut processors = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse().ok().filter(|number: &usize| *number <= PROCESSOR_MAX);
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => processors.extend(first..=last),
                _ => return Err(SettingError::Processors(part.to_owned())),
            }
        }
        Ok(Pin::List(processors))
    }
}

#[cfg(test)]
mod tests;
