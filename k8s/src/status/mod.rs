//! What is written back into objects' `status`: Gateway API's conditions, Ingress addresses, and Istio-style conditions that
//! name bad fields.
//!
//! Pure: what a status says follows from the objects, from what the outside knows ([`Outside`]) and from the status that an
//! object has already, whose times of transition are kept where nothing changed. Who writes, and when, is the caller's
//! matter: only the replica that was elected may, and of equal statuses none is written ([`statuses`] leaves them out).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::api::Kind;
use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;
use crate::objects::{Key, ObjectSet};

mod backend_tls;
mod conditions;
mod gateway;
mod gateway_class;
mod ingress;
mod istio;
mod routes;
#[cfg(test)]
mod tests;

pub use crate::mesh::gateway_api::Condition;

/// One status to write.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StatusWrite {
    pub key: Key,
    pub group: &'static str,
    /// The version to write it by, e.g. `v1`.
    pub version: &'static str,
    pub kind: &'static str,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
    /// The whole of `status`.
    pub status: Value,
}

/// An object that could not be taken over, or of which reading it alone already said something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its `metadata.generation`.
    pub generation: Option<i64>,
    /// What reading it said ([`crate::parse::json`]).
    pub findings: Vec<Diagnostic>,
}

/// What is known outside of the objects.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// Addresses at which the gateway is reached, IP addresses or host names: its Service's `status.loadBalancer`.
    pub addresses: Vec<String>,
    /// The ports that the gateway opens; none: whatever a Gateway names is opened.
    pub ports: Option<BTreeSet<u16>>,
    /// As `addresses`, of each Gateway that has a Service of its own which is there.
    pub own: BTreeMap<Key, Vec<String>>,
    /// What reading objects said of each alone, refused ones included.
    pub told: BTreeMap<Key, Told>,
}

/// All that statuses are made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The objects in force.
    pub set: &'a ObjectSet,
    /// Their index.
    pub mesh: &'a Mesh,
    /// What is known outside of them.
    pub outside: &'a Outside,
    /// The `status` that an object has now.
    pub previous: &'a dyn Fn(&Key) -> Option<Value>,
    /// The time of conditions that change.
    pub now: Timestamp,
}

/// The kinds whose status is written.
pub const KINDS: &[Kind] = &[
    Kind::GatewayClass,
    Kind::KubeGateway,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::BackendTlsPolicy,
    Kind::Ingress,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::Sidecar,
    Kind::PeerAuthentication,
    Kind::Telemetry,
    Kind::RateLimit,
];

/// The statuses that differ from those that the objects have, by key.
pub fn statuses(inputs: &Inputs<'_>) -> Vec<StatusWrite> {
    let mut writes = Writes { inputs, found: BTreeMap::new() };
    gateway_class::write(&mut writes);
    gateway::write(&mut writes);
    routes::write(&mut writes);
    backend_tls::write(&mut writes);
    ingress::write(&mut writes);
    istio::write(&mut writes);
    writes.found.into_iter().map(|(key, status)| write(key, status)).collect()
}

fn write(key: Key, status: Value) -> StatusWrite {
    StatusWrite {
        group: key.kind.group(),
        version: key.kind.version(),
        kind: key.kind.name(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        key,
        status,
    }
}

/// Statuses in the making.
struct Writes<'a> {
    inputs: &'a Inputs<'a>,
    found: BTreeMap<Key, Value>,
}

impl<'a> Writes<'a> {
    /// The status that an object has; an empty object where it has none.
    fn previous(&self, key: &Key) -> Value {
        (self.inputs.previous)(key).filter(Value::is_object).unwrap_or_else(|| Value::Object(<_>::default()))
    }

    /// Takes a status over where it differs from `previous`.
    fn put(&mut self, key: &Key, previous: &Value, status: Value) {
        if *previous != status {
            self.found.insert(key.clone(), status);
        }
    }

    /// The `metadata.generation` of an object in force.
    fn generation(&self, key: &Key) -> Option<i64> {
        self.inputs.set.get(key).and_then(|it| it.object.meta().generation)
    }
}
