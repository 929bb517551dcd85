//! A pod, as much of it as anybody here reads: of ten thousand pods, Kubernetes' own type takes 90 MB, this one 6.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;

use crate::mesh::protocol;
use crate::mesh::workloads::has_sidecar;
use crate::objects::WorkloadPort;

/// A pod. Made of Kubernetes' own type, with which it is read and checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// What started it: its controller, or a Deployment where that is a ReplicaSet named after one; its own name where nothing did.
    pub owner: String,
    /// Its node; empty before it has one.
    pub node: String,
    /// Its first address, once it has one.
    pub address: Option<IpAddr>,
    /// Its other addresses.
    pub other_addresses: Box<[IpAddr]>,
    /// TCP ports that its containers declare.
    pub ports: Box<[WorkloadPort]>,
    /// Its account, `default` unless set.
    pub service_account: String,
    /// Names of the Secrets that it mounts.
    pub secrets: Box<[String]>,
    /// It is ready, and not about to go.
    pub is_ready: bool,
    /// All of it has ended: its address may be another's by now.
    pub has_ended: bool,
    /// It has a sidecar that takes mutual TLS.
    pub has_sidecar: bool,
}

impl From<core::Pod> for Pod {
    fn from(pod: core::Pod) -> Pod {
        let owner = owner(&pod);
        let has_sidecar = has_sidecar(&pod.metadata);
        let is_going = pod.metadata.deletion_timestamp.is_some();
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let name = pod.metadata.name.unwrap_or_default();
        let address = status.pod_ip.as_deref().and_then(|it| it.parse().ok());
        let all = status.pod_ips.iter().flatten().filter_map(|it| it.ip.parse().ok());
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
        let volumes = spec.volumes.into_iter().flatten();
        Pod {
            namespace: pod.metadata.namespace.unwrap_or_default(),
            labels: Arc::new(pod.metadata.labels.unwrap_or_default()),
            owner: owner.unwrap_or_else(|| name.clone()),
            node: spec.node_name.unwrap_or_default(),
            address,
            other_addresses: all.filter(|other| Some(*other) != address).collect(),
            ports: spec
                .containers
                .into_iter()
                .flat_map(|it| it.ports.unwrap_or_default())
                .filter_map(port)
                .collect(),
            service_account: spec.service_account_name.unwrap_or_else(|| "default".to_owned()),
            secrets: volumes.filter_map(|it| it.secret?.secret_name).collect(),
            is_ready: is_ready && !is_going,
            has_ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            has_sidecar,
            name,
        }
    }
}

/// A port that a container declares; none for what is not of TCP.
fn port(port: core::ContainerPort) -> Option<WorkloadPort> {
    let is_tcp = port.protocol.as_deref().is_none_or(|it| it == "TCP");
    let number = u16::try_from(port.container_port).ok().filter(|_| is_tcp)?;
    let name = port.name.unwrap_or_default();
    Some(WorkloadPort { protocol: protocol::of_port(&name, None, number), name, number })
}

/// Name of what started a pod: its controller; a Deployment where that is a ReplicaSet named after one.
fn owner(pod: &core::Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.as_deref()?;
    let owner = owners.iter().find(|it| it.controller == Some(true)).or(owners.first())?;
    let hash = pod.metadata.labels.as_ref().and_then(|it| it.get("pod-template-hash"));
    let deployment = match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => {
            owner.name.strip_suffix(hash.as_str()).and_then(|it| it.strip_suffix('-'))
        }
        _ => None,
    };
    Some(deployment.unwrap_or(&owner.name).to_owned())
}
