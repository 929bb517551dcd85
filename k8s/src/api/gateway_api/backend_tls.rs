//! BackendTLSPolicy: TLS from a gateway to a Service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ObjectReference;
use crate::api::scalar::null_as_default;

/// `spec` of a BackendTLSPolicy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct BackendTlsPolicy {
    #[serde(deserialize_with = "null_as_default")]
    pub target_refs: Vec<PolicyTarget>,
    pub validation: BackendValidation,
    #[serde(deserialize_with = "null_as_default")]
    pub options: BTreeMap<String, String>,
}

/// One entry of `targetRefs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PolicyTarget {
    pub group: String,
    pub kind: String,
    pub name: String,
    /// Name of a port; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// `validation`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct BackendValidation {
    /// ConfigMaps with `ca.crt`.
    #[serde(deserialize_with = "null_as_default")]
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// `System`.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// Server name to ask for, and to be shown unless `subjectAltNames` says otherwise.
    pub hostname: String,
    #[serde(deserialize_with = "null_as_default")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// One entry of `subjectAltNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct SubjectAltName {
    /// `Hostname` or `URI`.
    #[serde(rename = "type")]
    pub kind: String,
    pub hostname: Option<String>,
    pub uri: Option<String>,
}
