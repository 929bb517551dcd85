//! Why a TLS connection was refused: a stable name for metrics and logs, and a text for an operator.

use rustls::{
    AlertDescription, CertificateError, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved,
};

use crate::spiffe::SpiffeId;

/// The kind of a failure; its name is a metric's label and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nobody who is believed vouches for the certificate.
    UnknownCa,
    /// The certificate's life is over.
    Expired,
    /// The certificate's life has not begun.
    NotYetValid,
    /// It is somebody else's certificate.
    WrongIdentity,
    /// None was shown.
    NoCertificate,
    /// The certificate names nobody.
    NoSan,
    /// The certificate is not for this use (a server's shown by a client, say).
    WrongUsage,
    /// It has been revoked.
    Revoked,
    /// The certificate cannot be read, or a signature is wrong.
    BadCertificate,
    /// This end has no certificate for the name that was asked for.
    NoCredential,
    /// No version of TLS, cipher suite or key exchange in common.
    Incompatible,
    /// No protocol name (ALPN) in common.
    Alpn,
    /// The other end refused this one; the text says with which alert.
    RefusedByPeer,
    /// What came is not TLS, or breaks its rules.
    Protocol,
    /// The other end closed in the middle of the handshake.
    Truncated,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The client asked for another handshake within the session (TLS 1.2).
    Renegotiation,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 17] = [
        Reason::UnknownCa,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::WrongIdentity,
        Reason::NoCertificate,
        Reason::NoSan,
        Reason::WrongUsage,
        Reason::Revoked,
        Reason::BadCertificate,
        Reason::NoCredential,
        Reason::Incompatible,
        Reason::Alpn,
        Reason::RefusedByPeer,
        Reason::Protocol,
        Reason::Truncated,
        Reason::HandshakeTimeout,
        Reason::Renegotiation,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Reason::UnknownCa => "unknown_ca",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::WrongIdentity => "wrong_identity",
            Reason::NoCertificate => "no_certificate",
            Reason::NoSan => "no_san",
            Reason::WrongUsage => "wrong_usage",
            Reason::Revoked => "revoked",
            Reason::BadCertificate => "bad_certificate",
            Reason::NoCredential => "no_credential",
            Reason::Incompatible => "incompatible",
            Reason::Alpn => "alpn",
            Reason::RefusedByPeer => "refused_by_peer",
            Reason::Protocol => "protocol",
            Reason::Truncated => "truncated",
            Reason::HandshakeTimeout => "handshake_timeout",
            Reason::Renegotiation => "renegotiation",
        }
    }
}

/// A peer's certificate is good in itself and yet not what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No name of kind URI.
    #[error("the peer's certificate has no URI name, so it names no workload")]
    NoSan,
    /// Several names of kind URI (X509-SVID, section 2, allows one).
    #[error("the peer's certificate has several URI names: {}", .0.join(", "))]
    SeveralSans(Vec<String>),
    /// Its name is not of the mesh's form.
    #[error("the peer is {0:?}, which is no workload's identity")]
    NotAWorkload(String),
    /// Another trust domain.
    #[error("the peer is {presented}, whose trust domain is not {expected} nor an alias of it")]
    TrustDomain {
        /// Who it is.
        presented: SpiffeId,
        /// The mesh's own trust domain.
        expected: String,
    },
    /// Not one of those who may be there.
    #[error("the peer is {presented}; expected {expected}")]
    NotExpected {
        /// Who it is.
        presented: String,
        /// Who may be there.
        expected: String,
    },
    /// Its life ended since it was verified.
    #[error("the certificate of {presented}, believed since an earlier connection, has expired")]
    ExpiredSince {
        /// Whose it is.
        presented: String,
    },
}

impl PeerError {
    /// Its kind.
    pub fn reason(&self) -> Reason {
        match self {
            PeerError::NoSan => Reason::NoSan,
            PeerError::ExpiredSince { .. } => Reason::Expired,
            PeerError::SeveralSans(_)
            | PeerError::NotAWorkload(_)
            | PeerError::TrustDomain { .. }
            | PeerError::NotExpected { .. } => Reason::WrongIdentity,
        }
    }
}

impl From<PeerError> for rustls::Error {
    fn from(error: PeerError) -> rustls::Error {
        CertificateError::Other(OtherError(std::sync::Arc::new(error))).into()
    }
}

/// Why a connection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .reason.name())]
pub struct Failure {
    /// The kind.
    pub reason: Reason,
    /// For an operator: what is wrong with whom.
    pub detail: String,
}

impl Failure {
    /// A failure that is known otherwise than from rustls (a deadline, a closed connection).
    pub fn new(reason: Reason, detail: impl Into<String>) -> Failure {
        Failure { reason, detail: detail.into() }
    }

    /// What an error of rustls means.
    pub fn of(error: &rustls::Error) -> Failure {
        match error {
            rustls::Error::InvalidCertificate(error) => Failure::of_certificate(error),
            rustls::Error::NoCertificatesPresented => {
                Failure::new(Reason::NoCertificate, "the peer showed no certificate, and one is required")
            }
            rustls::Error::AlertReceived(alert) => {
                Failure::new(Reason::RefusedByPeer, format!("the peer refused this end: {}", meaning(*alert)))
            }
            rustls::Error::PeerMisbehaved(PeerMisbehaved::TooManyRenegotiationRequests) => Failure::new(
                Reason::Renegotiation,
                "the client asks for a new handshake within the session, which is not to be had",
            ),
            rustls::Error::NoApplicationProtocol => {
                Failure::new(Reason::Alpn, "the peer offers no protocol name (ALPN) that is spoken here")
            }
            rustls::Error::PeerIncompatible(
                PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            ) => Failure::new(Reason::Incompatible, "the peer can check no signature of this end's key"),
            rustls::Error::PeerIncompatible(what) => {
                Failure::new(Reason::Incompatible, format!("nothing in common with the peer: {what:?}"))
            }
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Failure::new(Reason::Protocol, "what came is not TLS")
            }
            // rustls has no variant of its own for it; the text is checked by a test.
            rustls::Error::General(text) if text == NO_CERTIFICATE_RESOLVED => {
                Failure::new(Reason::NoCredential, "there is no certificate here for the name asked for")
            }
            other => Failure::new(Reason::Protocol, other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Failure {
        let reason = match error {
            CertificateError::UnknownIssuer => Reason::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Reason::NotYetValid
            }
            CertificateError::Revoked => Reason::Revoked,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Reason::WrongUsage
            }
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                Reason::NoSan
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::WrongIdentity
            }
            CertificateError::Other(OtherError(inner)) => match inner.downcast_ref::<PeerError>() {
                Some(peer) => return Failure::new(peer.reason(), peer.to_string()),
                None => Reason::BadCertificate,
            },
            _ => Reason::BadCertificate,
        };
        let detail = match error {
            CertificateError::UnknownIssuer => {
                "nobody believed here vouches for the peer's certificate".to_owned()
            }
            other => format!("the peer's certificate: {other}"),
        };
        Failure { reason, detail }
    }
}

const NO_CERTIFICATE_RESOLVED: &str = "no server certificate chain resolved";

/// What an alert says (RFC 8446, section 6.2), where it speaks of certificates.
fn meaning(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::UnknownCA => "it does not believe the CA of our certificate (unknown_ca)",
        AlertDescription::CertificateExpired => "our certificate has expired for it (certificate_expired)",
        AlertDescription::CertificateUnknown => "it does not accept who we are (certificate_unknown)",
        AlertDescription::CertificateRequired => "it requires a certificate of us (certificate_required)",
        AlertDescription::BadCertificate => "our certificate is wrong for it (bad_certificate)",
        AlertDescription::UnsupportedCertificate => {
            "our certificate is not for this use (unsupported_certificate)"
        }
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::UnrecognisedName => "it does not know the name we asked for (unrecognized_name)",
        AlertDescription::ProtocolVersion => "no TLS version in common (protocol_version)",
        AlertDescription::HandshakeFailure => "nothing in common (handshake_failure)",
        AlertDescription::NoApplicationProtocol => "no protocol name in common (no_application_protocol)",
        other => return format!("{other:?}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests;
