//! SPIFFE ids as the mesh gives them: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
//!
//! Read strictly (SPIFFE-ID, sections 2.1 and 2.2): what is not exactly of this form is nobody's identity here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use dromon_core::limits::{SPIFFE_ID_BYTES_MAX, TRUST_DOMAIN_BYTES_MAX};

const SCHEME: &str = "spiffe://";
const NAMESPACE: &str = "/ns/";
const ACCOUNT: &str = "/sa/";

/// Why a text is no SPIFFE id of a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not `spiffe://`.
    #[error("{0:?} is no SPIFFE id: it does not begin with spiffe://")]
    Scheme(String),
    /// The trust domain is empty, too long or has characters that it may not have.
    #[error("{0:?} is no trust domain: lower-case letters, digits, '.', '-' and '_', at most 255 of them")]
    TrustDomain(String),
    /// The path is not `/ns/NAMESPACE/sa/ACCOUNT`.
    #[error("{0:?} names no service account: its path is not /ns/NAMESPACE/sa/ACCOUNT")]
    Path(String),
    /// Longer than an id may be.
    #[error("a SPIFFE id of {0} bytes: the longest has 2048")]
    Length(usize),
}

/// A trust domain: the name of everything that one root of trust vouches for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads a trust domain.
    ///
    /// # Errors
    /// It is empty, too long or has characters that a trust domain may not have.
    pub fn new(text: &str) -> Result<TrustDomain, SpiffeError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > TRUST_DOMAIN_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(SpiffeError::TrustDomain(text.to_owned()));
        }
        Ok(TrustDomain(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose identities are taken for members of this mesh: its own trust domain and the names it went by before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trust {
    domain: TrustDomain,
    aliases: Vec<TrustDomain>,
}

impl Trust {
    /// The mesh's own trust domain, and further ones whose ids mean the same workloads.
    pub fn new(domain: TrustDomain, aliases: Vec<TrustDomain>) -> Trust {
        Trust { domain, aliases }
    }

    /// The mesh's own trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Whether ids of this domain are the mesh's.
    pub fn covers(&self, domain: &str) -> bool {
        self.domains().any(|own| own.as_str() == domain)
    }

    /// Whether `presented` is `expected` under one of the mesh's names.
    pub fn is_same(&self, expected: &SpiffeId, presented: &SpiffeId) -> bool {
        let domains_meet = expected.trust_domain() == presented.trust_domain()
            || (self.covers(expected.trust_domain()) && self.covers(presented.trust_domain()));
        domains_meet
            && expected.namespace() == presented.namespace()
            && expected.account() == presented.account()
    }

    pub(crate) fn domains(&self) -> impl Iterator<Item = &TrustDomain> {
        std::iter::once(&self.domain).chain(&self.aliases)
    }
}

/// A workload's identity. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    domain_end: u16,
    namespace_end: u16,
}

impl SpiffeId {
    /// The identity of an account.
    ///
    /// # Errors
    /// The namespace or the account has characters that an id may not have, or is empty.
    pub fn new(domain: &TrustDomain, namespace: &str, account: &str) -> Result<SpiffeId, SpiffeError> {
        format!("{SCHEME}{domain}{NAMESPACE}{namespace}{ACCOUNT}{account}").parse()
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        self.part(SCHEME.len(), usize::from(self.domain_end))
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.part(usize::from(self.domain_end) + NAMESPACE.len(), usize::from(self.namespace_end))
    }

    /// The service account.
    pub fn account(&self) -> &str {
        self.part(usize::from(self.namespace_end) + ACCOUNT.len(), self.text.len())
    }

    /// The id as it stands in certificates.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.text.get(from..to).unwrap_or_default()
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<SpiffeId, SpiffeError> {
        if text.len() > SPIFFE_ID_BYTES_MAX {
            return Err(SpiffeError::Length(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| SpiffeError::Scheme(text.to_owned()))?;
        let path_error = || SpiffeError::Path(text.to_owned());
        let (domain, path) = rest.split_at(rest.find('/').ok_or_else(path_error)?);
        TrustDomain::new(domain)?;
        let (namespace, account) =
            path.strip_prefix(NAMESPACE).and_then(|rest| rest.split_once(ACCOUNT)).ok_or_else(path_error)?;
        if !is_segment(namespace) || !is_segment(account) {
            return Err(path_error());
        }
        let domain_end = SCHEME.len() + domain.len();
        let namespace_end = domain_end + NAMESPACE.len() + namespace.len();
        Ok(SpiffeId {
            text: text.into(),
            domain_end: u16::try_from(domain_end).map_err(|_| SpiffeError::Length(text.len()))?,
            namespace_end: u16::try_from(namespace_end).map_err(|_| SpiffeError::Length(text.len()))?,
        })
    }
}

/// One segment of an id's path: letters, digits, '.', '-' and '_', and neither "." nor "..".
fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(allowed)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for SpiffeId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for SpiffeId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<SpiffeId, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
