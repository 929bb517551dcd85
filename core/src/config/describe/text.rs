//! An explanation as text.

use std::fmt;

use crate::config::describe::{Explanation, Outcome, RuleVerdict, Share};

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "listener {}", self.listener)?;
        if let Some(host) = &self.host {
            write!(out, ", host {host}")?;
        }
        if let Some(port) = self.port {
            write!(out, ", port {port}")?;
        }
        writeln!(out)?;
        if let Some(security) = &self.security {
            writeln!(out, "  {security}")?;
        }
        for rule in &self.rules {
            writeln!(out, "  {rule}")?;
        }
        for limit in &self.limits {
            writeln!(out, "  counted by rate limit {limit}")?;
        }
        writeln!(out, "{}", self.outcome)
    }
}

impl fmt::Display for RuleVerdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rule {}", self.index)?;
        if !self.name.is_empty() {
            write!(out, " {:?}", self.name)?;
        }
        if !self.origin.is_empty() {
            write!(out, " ({})", self.origin)?;
        }
        if self.takes { write!(out, ": takes it") } else { write!(out, ": {}", self.reasons.join("; or ")) }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Forward { destinations } => {
                write!(out, "→ ")?;
                for (index, share) in destinations.iter().enumerate() {
                    write!(out, "{}{share}", if index == 0 { "" } else { "\n  " })?;
                }
                Ok(())
            }
            Outcome::Redirect { status, location } => write!(out, "→ {status} to {location}"),
            Outcome::DirectResponse { status } => write!(out, "→ {status} from here"),
            Outcome::NotLoaded => write!(out, "→ waits for the host's rules (fetched on first use)"),
            Outcome::NoRoute => write!(out, "→ 404: no rule takes it"),
            Outcome::UnknownHost => {
                write!(
                    out,
                    "→ 502: nothing is known of this host and port, and the outbound policy is REGISTRY_ONLY"
                )
            }
            Outcome::Passthrough { to } => {
                write!(out, "→ passed through to {to}: nothing is known of this host and port")
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1}% {}", self.percent, self.destination)?;
        if let Some(endpoints) = self.endpoints {
            let noun = if endpoints == 1 { "endpoint" } else { "endpoints" };
            write!(out, " ({endpoints} {noun}, {} ejected)", self.ejected)?;
        }
        if let Some(note) = &self.note {
            write!(out, " – {note}")?;
        }
        match &self.security {
            Some(security) => write!(out, "\n    {security}"),
            None => Ok(()),
        }
    }
}
