//! Real Kubernetes programs under test: an API server on loopback, and a whole node in namespaces of its own.
//!
//! The programs are found by envtest's convention, `KUBEBUILDER_ASSETS`, else where `make kube-tools` puts them. A test
//! that wants them says so with [`assets`] and skips where they are not there; with `KUBE=1` that is a failure.

pub mod api_server;
pub mod components;
pub mod controller;
pub mod kubectl;
pub mod mesh;
pub mod node;
mod node_config;
pub mod pki;
pub mod pod;

use std::path::PathBuf;

use crate::{root, skip};

/// What an API server needs.
pub const API: &[&str] = &["etcd", "kube-apiserver", "kubectl"];

/// What a node needs beside: runc comes from the machine's packages.
pub const NODE: &[&str] = &[
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "pause",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "bridge",
    "host-local",
    "loopback",
    "portmap",
];

/// Where the programs are: `KUBEBUILDER_ASSETS`, else `target/kube/bin`.
pub fn assets_dir() -> PathBuf {
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    std::env::var_os("KUBEBUILDER_ASSETS").map_or_else(|| target().join("kube/bin"), PathBuf::from)
}

/// A program of Kubernetes.
pub fn program(name: &str) -> PathBuf {
    assets_dir().join(name)
}

/// Whether all of `programs` are there; if not, the test is noted as skipped, with how to have them.
///
/// # Panics
/// If one is missing and `KUBE=1` asks for them.
pub fn assets(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| !program(name).exists()).collect();
    if missing.is_empty() {
        return true;
    }
    let why = format!(
        "{} missing in {}; `make kube-tools` builds them once (Go; some 15 minutes of one processor)",
        missing.join(", "),
        assets_dir().display()
    );
    assert!(!required(), "{test}: {why}");
    skip(test, &why);
    false
}

/// Whether `KUBE=1` says that nothing of Kubernetes may be skipped.
pub fn required() -> bool {
    std::env::var("KUBE").is_ok_and(|value| value == "1")
}

/// The resource definitions of others that rules are written in, from their publishers' Go modules: `gateway-api.yaml`,
/// `istio.yaml`. `make kube-tools` puts them beside the programs.
///
/// # Panics
/// If the file is not there.
pub fn definitions(name: &str) -> PathBuf {
    let path = assets_dir().join("../crds").join(name);
    assert!(path.exists(), "{} is missing: run `make kube-tools`", path.display());
    path
}
