//! The proxy's own certificate and the TLS side of its tables.

use std::time::Duration;

use tokio::time::Instant;

use super::Control;
use crate::mailbox::HandshakeFailed;
use crate::steward::certs;
use crate::tls::TlsTable;

/// How long one peer's failures of one kind are told of once.
const TOLD_AGAIN: Duration = Duration::from_secs(10);
/// Peers whose failures are told of within that time; further ones are only counted.
const TOLD_MAX: usize = 64;

impl Control {
    /// The certificate's files were read. What is wrong with them leaves the last good ones in use.
    pub(super) fn certified(&mut self, loaded: certs::Loaded) {
        let mut status = self.handle.status.borrow_mut();
        match loaded {
            Ok(identity) => {
                let info = identity.info();
                let again = if self.credentials.identity.is_some() { " anew" } else { "" };
                self.log.info(format_args!(
                    "certified{again} as {} (serial {}, until {})",
                    identity.id(),
                    info.serial,
                    info.not_after
                ));
                status.certificates = dromon_auth::report::Report::of(&identity);
                self.credentials.identity = Some(identity);
                self.credentials_changed = true;
            }
            Err(error) => {
                let kept = match &self.credentials.identity {
                    Some(_) => "; the certificate before stays in use",
                    None => "; this proxy cannot start without",
                };
                // Whoever starts a proxy need not have its certificate yet; `/healthz/ready` says what it waits for.
                let dir = self.handle.settings.certs.as_ref();
                if dir.is_some_and(|dir| !dir.join("cert-chain.pem").exists()) {
                    self.log.info(format_args!("waiting for the certificate: {error}{kept}"));
                } else {
                    self.log.error(format_args!("certificate refused: {error}{kept}"));
                }
                status.certificates.error = Some(error);
            }
        }
    }

    /// What is missing of the proxy's own certificate before a first table can be made, if anything.
    pub(super) fn uncertified(&self) -> Option<String> {
        let dir = self.handle.settings.certs.as_ref()?;
        if self.credentials.identity.is_some() {
            return None;
        }
        let status = self.handle.status.borrow();
        let why = status.certificates.error.clone();
        Some(why.unwrap_or_else(|| format!("waiting for the certificate in {}", dir.display())))
    }

    /// Tells what is wrong with TLS settings, once each.
    pub(super) fn tls_problems(&self, new: &TlsTable) {
        let known = self.tls.problems();
        for problem in new.problems().iter().filter(|problem| !known.contains(problem)) {
            self.log.error(problem);
        }
    }

    /// A handshake failed, or a client was refused for not shaking hands.
    pub(super) fn handshake_failed(&mut self, failed: &HandshakeFailed) {
        let mut status = self.handle.status.borrow_mut();
        *status.handshakes_failed.entry((failed.side, failed.reason)).or_default() += 1;
        drop(status);
        // Who fails again and again is told of now and then only.
        let now = Instant::now();
        self.told_handshakes.retain(|_, told| now.duration_since(*told) < TOLD_AGAIN);
        let known = (failed.side, failed.reason, failed.peer.ip());
        if self.told_handshakes.len() < TOLD_MAX && self.told_handshakes.insert(known, now).is_none() {
            self.log.warn(format_args!("TLS {failed}"));
        }
    }
}
