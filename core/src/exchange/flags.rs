//! Response flags of access logs and metrics, in Envoy's letters.

use std::fmt;

use crate::fault::Reason;

/// What access logs print for `%RESPONSE_FLAGS%`: comma-separated, `-` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub(crate) reason: Option<Reason>,
    pub(crate) delayed: bool,
    pub(crate) exhausted: bool,
}

impl From<Reason> for Flags {
    fn from(reason: Reason) -> Flags {
        Flags { reason: Some(reason), ..Flags::default() }
    }
}

impl Flags {
    /// The reason among them.
    pub fn reason(self) -> Option<Reason> {
        self.reason
    }

    /// The flags, each as its letters.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        let reason = self.reason.map(|reason| reason.facts().flag).filter(|flag| *flag != "-");
        let exhausted = (self.exhausted && reason != Some("URX")).then_some("URX");
        self.delayed.then_some("DI").into_iter().chain(reason).chain(exhausted)
    }

    /// These together with the flag of another reason, or of none.
    pub(crate) fn with(self, reason: Option<Reason>) -> Flags {
        Flags { reason, ..self }
    }

    /// A number below 4 that tells flags of the same reason apart.
    pub(crate) fn marks(self) -> u64 {
        u64::from(self.delayed) | u64::from(self.exhausted) << 1
    }

    /// The flags as metrics label them: the usual combinations without allocation.
    pub fn label(self) -> std::borrow::Cow<'static, str> {
        let mut flags = self.iter();
        match (flags.next(), flags.next()) {
            (None, _) => "-".into(),
            (Some(only), None) => only.into(),
            _ => self.to_string().into(),
        }
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for flag in self.iter() {
            if !std::mem::take(&mut first) {
                f.write_str(",")?;
            }
            f.write_str(flag)?;
        }
        if first { f.write_str("-") } else { Ok(()) }
    }
}
