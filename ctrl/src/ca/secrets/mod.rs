//! The mesh's certificate authority in a cluster: its state and every account's certificate are Secrets.
//!
//! [`state`] is the authority with a change of root under way, all in one Secret, so that replicas agree on it by the API
//! server's word alone; [`accounts`] says what is wrong with an account's Secret; [`keeper`] watches, issues and renews. Whoever
//! writes names the version that it has read: of two replicas that write at once, one is refused and reads again.

pub mod accounts;
pub mod keep;
pub mod keeper;
pub mod state;
#[cfg(test)]
mod tests;

/// The Secret with the authority, unless another one is named.
pub const CA_SECRET: &str = "dromon-ca";
/// What the names of accounts' Secrets begin with.
pub const ACCOUNT_SECRET_PREFIX: &str = "dromon.";
/// The type of accounts' Secrets.
pub const ACCOUNT_SECRET_TYPE: &str = "dromon.io/key-and-cert";
/// Label of the Secrets that are kept here.
pub const MANAGED: &str = "dromon.io/managed";
/// Annotation of the authority's Secret by which a change of root is asked for.
pub const ROTATE: &str = "dromon.io/rotate-root";
/// Annotation of the authority's Secret with the state of a change of root, for people.
pub const ROTATION_STATUS: &str = "dromon.io/rotation-status";

/// A service account by namespace and name.
pub type Account = (String, String);

/// The name of an account's Secret.
pub fn secret_name(account: &str) -> String {
    format!("{ACCOUNT_SECRET_PREFIX}{account}")
}
