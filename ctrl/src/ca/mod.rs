//! The mesh's certificate authority, as a part of the controller.
//!
//! One thread ([`keeper`]) owns the authority's key and everything that is made with it. It gives each proxy a directory of
//! its own with `cert-chain.pem`, `key.pem` and `root-cert.pem` ([`deliver`]), replaced as a whole at half of the leaf's
//! life. Nothing depends on it from one moment to the next: while it is away, what was issued lives on.
//!
//! What it decides (when to renew, how a root is changed) is pure and lies in `dromon-auth`.

pub mod authority;
pub mod control;
pub mod deliver;
pub mod keeper;
pub mod members;
pub mod poll;
pub mod secrets;
pub mod settings;
pub mod status;
#[cfg(test)]
mod tests;
