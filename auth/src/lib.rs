//! Identity: who a workload is, who vouches for it, and what a TLS connection has to prove before it carries a byte.
//!
//! The crate owns SPIFFE ids, the certificate authority, certificates and keys as bytes, the verifiers and the TLS
//! configurations that use them, and the plans for renewal and for a change of root. It must not open sockets or files, know
//! a runtime, or read a clock other than through rustls: whoever calls says what time it is and where the bytes came
//! from, so all of it runs in plain tests.
//!
//! Private keys are wiped when dropped, are in no `Debug` output and in no error text.
#![forbid(unsafe_code)]

pub mod alpn;
pub mod authority;
pub mod certificate;
pub mod credential;
pub mod failure;
pub mod identity;
pub mod options;
mod pem;
pub mod plan;
pub mod report;
pub mod roots;
pub mod session;
pub mod spiffe;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod verify;
pub mod websocket;

pub use authority::Authority;
pub use credential::Credential;
pub use failure::{Failure, Reason};
pub use identity::Identity;
pub use roots::Roots;
pub use session::Sessions;
pub use spiffe::{SpiffeId, Trust, TrustDomain};
