//! Chains that were verified lately, so that a peer that comes again is not verified again.
//!
//! A workload shows the same chain with every connection for as long as its certificate lives, and whether that chain leads to
//! the roots costs a signature check, a tenth of a whole handshake. The answer depends on nothing but the chain's bytes, the roots,
//! the rules about names and the time. So it is kept under a SHA-256 of the whole chain as it was shown, beside the rules
//! it was found by (a verifier's whole life is one set of roots and rules; new ones begin with an empty memory), and for
//! no longer than every certificate of the chain is valid. What is *not* kept is the proof that the peer holds the leaf's
//! key: that signature is over this handshake's own messages and is checked each time. Chains that are refused are not kept, and
//! none is where revocation lists are looked at, since those change by time as well.

use std::sync::{Mutex, TryLockError};

use aws_lc_rs::digest::{Context, SHA256};
use dromon_core::limits::{CHAIN_CERTIFICATES_MAX, TLS_BELIEVED_CHAINS_MAX};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::certificate::CertificateInfo;

/// A chain's bytes, hashed.
type Digest = [u8; 32];

/// Chains verified under one set of roots and rules.
#[derive(Debug, Default)]
pub(super) struct Believed {
    /// By the digest's first byte; nothing before the first is kept.
    chains: Mutex<Vec<Option<Chain>>>,
}

/// A chain that was verified.
#[derive(Clone, Copy, Debug)]
struct Chain {
    digest: Digest,
    /// First and last second at which all of its certificates are valid.
    valid: (u64, u64),
}

impl Believed {
    /// Verifies a chain unless this was done before.
    ///
    /// # Errors
    /// What `verify` says.
    pub(super) fn or_verify<E>(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        verify: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let digest = digest(leaf, intermediates);
        if self.has(&digest, now.as_secs()) {
            return Ok(());
        }
        verify()?;
        if let Some(valid) = validity(leaf, intermediates) {
            self.keep(Chain { digest, valid });
        }
        Ok(())
    }

    fn has(&self, digest: &Digest, now: u64) -> bool {
        let found = self.with(|chains| chains.get(place(digest)).copied().flatten());
        found.flatten().is_some_and(|chain| {
            let (from, until) = chain.valid;
            chain.digest == *digest && (from..=until).contains(&now)
        })
    }

    fn keep(&self, chain: Chain) {
        self.with(|chains| {
            if chains.is_empty() {
                chains.resize(TLS_BELIEVED_CHAINS_MAX, None);
            }
            if let Some(slot) = chains.get_mut(place(&chain.digest)) {
                *slot = Some(chain);
            }
        });
    }

    /// None while another shard looks: nobody waits here, verifying anew is always right.
    fn with<R>(&self, look: impl FnOnce(&mut Vec<Option<Chain>>) -> R) -> Option<R> {
        match self.chains.try_lock() {
            Ok(mut chains) => Some(look(&mut chains)),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => None,
        }
    }
}

fn place(digest: &Digest) -> usize {
    usize::from(digest[0]) % TLS_BELIEVED_CHAINS_MAX
}

/// Each certificate with its length before it, so that no two chains are the same bytes.
fn digest(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Digest {
    let mut context = Context::new(&SHA256);
    for certificate in std::iter::once(leaf).chain(intermediates) {
        context.update(&(certificate.len() as u64).to_le_bytes());
        context.update(certificate);
    }
    let mut digest = Digest::default();
    digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

/// When all certificates shown are valid; none where that cannot be told.
fn validity(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Option<(u64, u64)> {
    let mut valid = (0, u64::MAX);
    if intermediates.len() >= CHAIN_CERTIFICATES_MAX {
        return None;
    }
    for certificate in std::iter::once(leaf).chain(intermediates) {
        let info = CertificateInfo::of(certificate).ok()?;
        valid = (valid.0.max(info.not_before), valid.1.min(info.not_after));
    }
    Some(valid)
}

#[cfg(test)]
mod tests;
