//! PeerAuthentication.

use crate::api::peer_authentication::PeerAuthentication;

use super::Report;

/// Looks a PeerAuthentication over.
pub fn check(report: &mut Report, spec: &PeerAuthentication) {
    let selects = spec.selector.as_ref().is_some_and(|it| !it.match_labels.is_empty());
    if !spec.port_level_mtls.is_empty() && !selects {
        let message = "single ports can only be named with a selector; this has no effect";
        report.error("spec.portLevelMtls", message, "add `selector.matchLabels`");
    }
    for port in spec.port_level_mtls.keys() {
        report.port(format!("spec.portLevelMtls.{port}"), *port);
    }
}
