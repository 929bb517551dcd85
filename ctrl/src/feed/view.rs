//! Everything that one proxy may have, at one version, serialized once and shared by all who read it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use dromon_core::config::model::{Kind, Resource};

/// A resource, ready to travel. `Debug` does not show the value, which may hold a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    /// Hash of the value: equal bodies have equal versions, whichever controller made them, so that a proxy which
    /// reconnects elsewhere is sent only what differs.
    pub version: String,
    /// JSON of the model's type.
    pub value: Bytes,
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} bytes)", self.version, self.value.len())
    }
}

/// One proxy's resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The store's version that this view belongs to.
    pub version: u64,
    kinds: [BTreeMap<String, Body>; Kind::ALL.len()],
}

impl View {
    /// Serializes resources. Where one is as it was in `previous`, its bytes are shared. Of two resources of one kind
    /// and name the first counts.
    ///
    /// # Errors
    /// A resource that cannot be written as JSON, which is a defect of ours.
    pub fn build(
        version: u64,
        resources: &[Resource],
        previous: Option<&View>,
    ) -> Result<View, serde_json::Error> {
        let mut view = View { version, ..View::default() };
        for resource in resources {
            let kind = resource.kind();
            let value = serialize(resource)?;
            let known = previous
                .and_then(|previous| previous.get(kind, resource.name()))
                .filter(|body| body.value.as_ref() == value.as_slice())
                .cloned();
            let body = known.unwrap_or_else(|| Body { version: fingerprint(&value), value: value.into() });
            view.kinds[kind as usize].entry(resource.name().to_owned()).or_insert(body);
        }
        Ok(view)
    }

    /// As `previous`, with these resources in place of those of their names.
    ///
    /// # Errors
    /// As of [`View::build`].
    pub fn patch(version: u64, resources: &[Resource], previous: &View) -> Result<View, serde_json::Error> {
        let mut view = View { version, ..previous.clone() };
        for resource in resources {
            let value = serialize(resource)?;
            let bodies = &mut view.kinds[resource.kind() as usize];
            if bodies.get(resource.name()).is_none_or(|body| body.value.as_ref() != value.as_slice()) {
                let body = Body { version: fingerprint(&value), value: value.into() };
                bodies.insert(resource.name().to_owned(), body);
            }
        }
        Ok(view)
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Body> {
        self.kinds[kind as usize].get(name)
    }

    /// All resources of a kind, by name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Body)> {
        self.kinds[kind as usize].iter().map(|(name, body)| (name.as_str(), body))
    }

    /// Whether both hold the same resources; versions aside.
    pub fn same_as(&self, other: &View) -> bool {
        self.kinds == other.kinds
    }
}

fn serialize(resource: &Resource) -> Result<Vec<u8>, serde_json::Error> {
    match resource {
        Resource::Proxy(it) => serde_json::to_vec(it),
        Resource::Endpoints(it) => serde_json::to_vec(it),
        Resource::Destination(it) => serde_json::to_vec(it),
        Resource::RateLimit(it) => serde_json::to_vec(it),
        Resource::VirtualHost(it) => serde_json::to_vec(it),
        Resource::Host(it) => serde_json::to_vec(it),
        Resource::Credential(it) => serde_json::to_vec(it),
    }
}

/// A fixed-key hash. Were a later build to hash otherwise, proxies would be sent what they have once more: harmless.
fn fingerprint(value: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    format!("{:016x}", hasher.finish())
}
