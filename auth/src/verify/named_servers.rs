//! What TLS origination asks of a server outside the mesh.

use std::sync::Arc;

use rustls::Error;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use super::allowed::list;
use super::servers::{Rule, Verifier, led_to};
use crate::failure::PeerError;
use crate::roots::Roots;

/// Which servers are taken. Where roots come with revocation lists, nobody whom these name is.
#[derive(Clone, Debug)]
pub enum Servers {
    /// Those whom these roots vouch for under the name that is asked for.
    Web(Roots),
    /// Those whom these roots vouch for and who have one of these names: DNS names (a certificate's wildcard matches as
    /// in RFC 9525, section 6.3), IP addresses, or URIs.
    Named(Roots, Vec<String>),
    /// Any, whoever it is: `insecureSkipVerify`.
    Any,
}

/// Any server that can prove that it holds its certificate's key, for programs that check nothing else.
pub fn any() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier(Servers::Any))
}

impl Rule for Servers {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        match self {
            Servers::Any => Ok(()),
            Servers::Named(roots, names) if !names.is_empty() => {
                led_to(roots, end_entity, intermediates, now)?;
                has_one_of(end_entity, names)
            }
            Servers::Web(roots) | Servers::Named(roots, _) => {
                led_to(roots, end_entity, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
            }
        }
    }
}

/// Whether a certificate has one of these names.
pub(super) fn has_one_of(certificate: &CertificateDer<'_>, names: &[String]) -> Result<(), Error> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|_| Error::from(rustls::CertificateError::BadEncoding))?;
    let uris: Vec<&str> = parsed.valid_uri_names().collect();
    let is_named = |name: &String| {
        uris.contains(&name.as_str())
            || ServerName::try_from(name.as_str())
                .is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
    };
    if names.iter().any(is_named) {
        return Ok(());
    }
    let presented: Vec<&str> = uris.into_iter().chain(parsed.valid_dns_names()).collect();
    if presented.is_empty() {
        return Err(PeerError::NoSan.into());
    }
    let expected = list(names.iter().map(String::as_str));
    Err(PeerError::NotExpected { presented: list(presented.into_iter()), expected }.into())
}
