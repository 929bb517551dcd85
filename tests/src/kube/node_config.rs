//! Configuration files of a node's programs.

use std::path::Path;

use serde_json::{Value, json};

use super::assets_dir;
use super::components::{POD_RANGE, POD_RANGE_V6};
use super::pki::Pki;

/// Address of the cluster's DNS, among those of services.
pub const DNS: &str = "10.96.0.10";

/// Image of the process that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:test";

/// containerd's: images and state where they vanish with the node.
pub fn containerd(folder: &Path) -> String {
    let (over, config) =
        (folder.join("over").display().to_string(), folder.join("config").display().to_string());
    let bin = assets_dir().display().to_string();
    format!(
        r#"version = 3
root = "{over}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri"]
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{bin}"]
conf_dir = "{config}/cni"
"#
    )
}

/// The pods' network: a bridge, and pods can reach themselves through a service. Pods have IPv6 addresses too where `dual` says so.
pub fn network(dual: bool) -> Value {
    let mut ranges = vec![json!([{"subnet": "10.244.0.0/24"}])];
    let mut routes = vec![json!({"dst": "0.0.0.0/0"})];
    if dual {
        ranges.push(json!([{"subnet": POD_RANGE_V6}]));
        routes.push(json!({"dst": "::/0"}));
    }
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": ranges, "routes": routes},
        },
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
    ]})
}

/// kubelet's. Scores of the OOM killer stay, since lowering them takes a capability that containers lack.
pub fn kubelet(folder: &Path, pki: &Pki) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "protectKernelDefaults": true,
        "oomScoreAdj": 0,
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.file("node.crt"),
        "tlsPrivateKeyFile": pki.file("node.key"),
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": folder.join("resolv.conf"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
    })
}

/// kube-proxy's, in mode `nftables` or `iptables`, of both families where `dual` says so. It leaves the machine's limits of
/// connections alone.
pub fn kube_proxy(kubeconfig: &Path, mode: &str, dual: bool) -> Value {
    let pods = if dual { format!("{POD_RANGE},{POD_RANGE_V6}") } else { POD_RANGE.to_owned() };
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "oomScoreAdj": 0,
        "clusterCIDR": pods,
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": "node1",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
    })
}
