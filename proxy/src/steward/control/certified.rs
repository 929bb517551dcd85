//! The proxy's own certificate, the TLS side of its tables, and who was turned away.

use tokio::time::Instant;

use super::Control;
use crate::refusal::Refusal;
use crate::steward::certs;
use crate::tls::TlsTable;

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

    /// A connection was turned away.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if self.told.tells(refusal, Instant::now()) {
            self.log.warn(refusal);
        }
    }

    /// Tells how many refusals were not told of one by one.
    pub(super) fn sum_up_refusals(&mut self) {
        if let Some(summary) = self.told.summary(Instant::now()) {
            self.log.warn(summary);
        }
    }
}
