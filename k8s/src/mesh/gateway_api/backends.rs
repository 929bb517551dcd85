//! Where a route's backends lead.

use crate::api::gateway_api::{BackendObjectReference, GROUP};
use crate::mesh::service::Service;

use super::Known;
use super::grants::{From, Grants, To};

/// Why a backend leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BackendError {
    /// Its kind is none that requests are sent to.
    #[error("{kind} {name} is of no kind that requests are sent to")]
    InvalidKind { kind: String, name: String },
    /// Another namespace's, which does not permit it.
    #[error("no ReferenceGrant of {namespace} lets a {from} use its Service {name}")]
    NotPermitted { from: String, namespace: String, name: String },
    /// There is none.
    #[error("there is no Service {namespace}/{name}")]
    NotFound { namespace: String, name: String },
    /// It is there, the port is not.
    #[error("Service {namespace}/{name} has no port {port}")]
    NoPort { namespace: String, name: String, port: u16 },
    /// A Service is named without a port.
    #[error("a port of Service {namespace}/{name} must be named")]
    PortMissing { namespace: String, name: String },
}

impl BackendError {
    /// The reason of `ResolvedRefs` that says so.
    pub fn reason(&self) -> &'static str {
        match self {
            BackendError::InvalidKind { .. } => "InvalidKind",
            BackendError::NotPermitted { .. } => "RefNotPermitted",
            BackendError::NotFound { .. }
            | BackendError::NoPort { .. }
            | BackendError::PortMissing { .. } => "BackendNotFound",
        }
    }
}

/// A backend's Service and port. `from` is the kind of the object that names it, and its namespace.
///
/// # Errors
/// It leads nowhere.
pub fn backend<'a>(
    known: Known<'a>,
    grants: &Grants,
    (kind, namespace): (&str, &str),
    to: &BackendObjectReference,
) -> Result<(&'a Service, u16), BackendError> {
    let group = to.group.as_deref().unwrap_or("");
    let of = to.namespace.as_deref().unwrap_or(namespace);
    let (service, name) = match (group, to.kind.as_deref().unwrap_or("Service")) {
        ("", "Service") => {
            let from = From { group: GROUP, kind, namespace };
            if !grants.permit(from, To { group: "", kind: "Service", namespace: of, name: &to.name }) {
                let from = format!("{kind} of {namespace}");
                let (namespace, name) = (of.to_owned(), to.name.clone());
                return Err(BackendError::NotPermitted { from, namespace, name });
            }
            (known.service(&to.name, of), to.name.clone())
        }
        // Istio's way to name a ServiceEntry's host, for egress.
        ("networking.istio.io", "Hostname") => {
            let host = to.name.to_ascii_lowercase();
            (known.host(&host).find(|it| it.export.to(namespace)), host)
        }
        (_, kind) => {
            return Err(BackendError::InvalidKind { kind: kind.to_owned(), name: to.name.clone() });
        }
    };
    let namespace = of.to_owned();
    let Some(service) = service else { return Err(BackendError::NotFound { namespace, name }) };
    match to.port {
        None => Err(BackendError::PortMissing { namespace, name }),
        Some(port) if service.port(port).is_none() => Err(BackendError::NoPort { namespace, name, port }),
        Some(port) => Ok((service, port)),
    }
}
