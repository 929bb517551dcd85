//! What the CA tells of itself: no secrets.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

/// The CA's state, shared with whoever asks.
pub type Shared = Arc<Mutex<CertsStatus>>;

/// The CA's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CertsStatus {
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// The subject of the certificate that issues.
    pub issuer: String,
    /// Its last second, since the Unix epoch.
    pub issuer_not_after: u64,
    /// SHA-256 fingerprints of the roots that proxies are given.
    pub roots: Vec<String>,
    /// Why nothing can be issued now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The change of root under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
    /// Changes of root finished since the controller started.
    pub rotations_finished: u64,
    /// Leaves issued since the controller started.
    pub issued: u64,
    /// Tries to issue that failed since the controller started.
    pub failed: u64,
    /// What proxies have.
    pub certificates: Vec<CertificateStatus>,
}

/// A change of root under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RotationStatus {
    /// The step, counted from 1 to 3.
    pub step: u8,
    /// What the step does.
    pub what: String,
    /// Fingerprint of the root that goes.
    pub old: String,
    /// Fingerprint of the root that comes.
    pub new: String,
    /// Proxies where the step is not in force yet.
    pub waits_for: Vec<String>,
}

/// What a proxy has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The proxy.
    pub proxy: String,
    /// Its identity.
    pub id: String,
    /// The leaf's serial number; empty if it has none yet.
    pub serial: String,
    /// Who issued it.
    pub issuer: String,
    /// First second of its life.
    pub not_before: u64,
    /// Last second of its life.
    pub not_after: u64,
    /// When it is to be renewed.
    pub renew_at: u64,
    /// Why the last try to issue failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
