//! Secure naming: who may stand behind the name of a service.

use std::collections::BTreeSet;

use crate::failure::PeerError;
use crate::spiffe::{SpiffeId, Trust};

/// Who may be at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Allowed {
    /// Any workload of the mesh: nothing is known of the service's accounts.
    AnyOfMesh,
    /// One of these.
    Only(BTreeSet<SpiffeId>),
}

impl Allowed {
    /// One of these; any of the mesh if there are none.
    pub fn of(ids: impl IntoIterator<Item = SpiffeId>) -> Allowed {
        let ids: BTreeSet<SpiffeId> = ids.into_iter().collect();
        if ids.is_empty() { Allowed::AnyOfMesh } else { Allowed::Only(ids) }
    }

    /// Whether this is one of them.
    ///
    /// # Errors
    /// It is not, or of no trust domain of the mesh.
    pub fn check(&self, presented: &SpiffeId, trust: &Trust) -> Result<(), PeerError> {
        match self {
            Allowed::AnyOfMesh if trust.covers(presented.trust_domain()) => Ok(()),
            Allowed::AnyOfMesh => Err(PeerError::TrustDomain {
                presented: presented.clone(),
                expected: trust.domain().to_string(),
            }),
            Allowed::Only(ids) if ids.contains(presented) => Ok(()),
            Allowed::Only(ids) if ids.iter().any(|id| trust.is_same(id, presented)) => Ok(()),
            Allowed::Only(ids) => Err(PeerError::NotExpected {
                presented: presented.to_string(),
                expected: list(ids.iter().map(SpiffeId::as_str)),
            }),
        }
    }
}

/// Names for an error text; many are cut short.
pub(super) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let rest = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(" or ");
    if rest > 0 {
        text.push_str(&format!(" or {rest} more"));
    }
    text
}
