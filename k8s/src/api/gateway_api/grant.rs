//! ReferenceGrant: who may refer into a namespace.

use serde::Deserialize;

use crate::api::scalar::null_as_default;

/// `spec` of a ReferenceGrant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ReferenceGrant {
    #[serde(deserialize_with = "null_as_default")]
    pub from: Vec<GrantFrom>,
    #[serde(deserialize_with = "null_as_default")]
    pub to: Vec<GrantTo>,
}

/// One entry of `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct GrantFrom {
    pub group: String,
    pub kind: String,
    pub namespace: String,
}

/// One entry of `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct GrantTo {
    pub group: String,
    pub kind: String,
    /// None: every object of the kind.
    pub name: Option<String>,
}
