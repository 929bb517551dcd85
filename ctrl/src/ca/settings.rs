//! The CA's part of the command lines.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dromon_auth::authority::KeyKind;
use dromon_core::limits::{LEAF_LIFE_S, LEAF_LIFE_S_MAX};

/// Shortest life of a leaf: what tests of renewal need.
const LEAF_LIFE_S_MIN: u64 = 4;

/// How certificates are made.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Settings {
    /// The CA's directory: root and key are made there unless ca-cert.pem, ca-key.pem, root-cert.pem and, below an
    /// intermediate, cert-chain.pem are put there before; `ca` in the run directory unless given
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// Life of the certificates of proxies, such as 24h, 90m or 30s; renewed at half of it
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = life)]
    pub cert_ttl: Duration,
    /// Kind of the proxies' keys
    #[arg(long, value_enum, default_value_t = KeyType::Ecdsa)]
    pub cert_key: KeyType,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { ca_dir: None, cert_ttl: Duration::from_secs(LEAF_LIFE_S), cert_key: KeyType::Ecdsa }
    }
}

/// Kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyType {
    /// ECDSA on P-256
    Ecdsa,
    /// RSA of 2048 bits
    Rsa,
}

impl KeyType {
    /// As the authority has it.
    pub fn kind(self) -> KeyKind {
        match self {
            KeyType::Ecdsa => KeyKind::EcdsaP256,
            KeyType::Rsa => KeyKind::Rsa2048,
        }
    }
}

impl Settings {
    /// The options for a program that has them too.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec!["--cert-ttl".to_owned(), format!("{}s", self.cert_ttl.as_secs())];
        let key = self.cert_key.to_possible_value();
        options
            .extend(["--cert-key".to_owned(), key.map(|key| key.get_name().to_owned()).unwrap_or_default()]);
        if let Some(directory) = &self.ca_dir {
            options.extend(["--ca-dir".to_owned(), directory.to_string_lossy().into_owned()]);
        }
        options
    }
}

/// Reads a certificate's life: a number and one of `s`, `m`, `h`, `d`.
///
/// # Errors
/// It is not of that form, or too short or too long.
pub fn life(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(format!("{text:?} is not a time such as 24h, 90m or 30s")),
    };
    let number = text.get(..text.len() - 1).and_then(|number| number.parse::<u64>().ok());
    let seconds = number.and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds @ LEAF_LIFE_S_MIN..=LEAF_LIFE_S_MAX) => Ok(Duration::from_secs(seconds)),
        Some(_) => {
            Err(format!("{text:?}: a certificate lives between {LEAF_LIFE_S_MIN} seconds and 90 days"))
        }
        None => Err(format!("{text:?} is not a time such as 24h, 90m or 30s")),
    }
}
