//! Two pods with sidecars, `shop` and `web`, and a node without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Output};

use dromon_core::capture::{Family, INBOUND_PORT, OUTBOUND_PORT, PROXY_USER};
use dromon_core::config::model::{
    AccessLog, ClientTls, ClientTlsMode, Host, HostPort, Listener, ListenerKind, MtlsMode, OutboundPolicy,
    Protocol, Proxy as ProxyModel, Resource, Role, destination_name,
};
use dromon_tests::certs::MeshCa;
use dromon_tests::http::get;
use dromon_tests::netns::{Namespace, Node, Pod};
use dromon_tests::process::Process;
use dromon_tests::proxy::{destination, proxy};
use dromon_tests::{bin, eventually};
use tempfile::TempDir;

use crate::Means;
use crate::apps::at;

/// The full name of the service that both pods call.
pub const WEB: &str = "web.default.svc.cluster.local";
/// Ports of the service, with those of its pod.
pub const HTTP: (u16, u16) = (80, 8080);
pub const GREETER: (u16, u16) = (25, 8025);
pub const ECHO: (u16, u16) = (7, 8007);
pub const GRPC: (u16, u16) = (50, 8050);
/// A port of the pod that no service has.
pub const UNDECLARED: u16 = 8099;
/// A port of the pod that inbound capture leaves alone.
pub const EXCLUDED: u16 = 8098;

/// The service's address in a family, which nobody has.
pub fn service_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 96, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Node and pods.
pub struct World {
    pub family: Family,
    pub means: Means,
    pub node: Node,
    pub shop: Pod,
    pub web: Pod,
    pub ca: MeshCa,
}

impl World {
    pub fn new(means: Means, family: Family) -> World {
        let node = Node::new();
        let (shop, web) = (node.pod(), node.pod());
        World { family, means, node, shop, web, ca: MeshCa::new() }
    }

    /// A pod's address in the family under test.
    pub fn address(&self, pod: &Pod) -> IpAddr {
        match self.family {
            Family::V4 => pod.v4.into(),
            Family::V6 => pod.v6.into(),
        }
    }

    /// The node's address.
    pub fn node_address(&self) -> IpAddr {
        match self.family {
            Family::V4 => Node::V4.into(),
            Family::V6 => Node::V6.into(),
        }
    }

    /// A port of the service that both call.
    pub fn service(&self, port: (u16, u16)) -> SocketAddr {
        at(service_address(self.family), port.0)
    }

    /// Installs the rules in a pod, checked by itself.
    pub fn capture(&self, pod: &Pod, more: &[&str]) {
        let output = capture(&pod.namespace, &[self.means.arguments, more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a pod's sidecar as the user that capture exempts, and waits until the node's probes say that it is ready.
    pub fn sidecar(&self, pod: &Pod, account: &str, policy: OutboundPolicy) -> Sidecar {
        let folder = tempfile::tempdir().expect("a temporary folder");
        self.ca.write(folder.path(), account);
        let resources = self.resources(pod, account, policy);
        let text = serde_json::to_vec(&resources).expect("the model is serialisable");
        std::fs::write(folder.path().join("config.json"), text).expect("the folder is writable");
        let any = match self.family {
            Family::V4 => "0.0.0.0",
            Family::V6 => "[::]",
        };
        let mut command = pod.namespace.command_as(PROXY_USER, PROXY_USER, bin("dromon-proxy"));
        command.args(["--id", &format!("sidecar~{account}.default"), "--driver", self.means.driver]);
        command.arg("--config").arg(folder.path().join("config.json")).arg("--certs").arg(folder.path());
        command.args(["--pin", "off", "--admin-addr", "127.0.0.1:15000"]);
        for (flag, port) in [("--health-addr", 15_021), ("--stats-addr", 15_090)] {
            command.args([flag, &format!("{any}:{port}")]);
        }
        let mut process = Process::start(&mut command);
        let health = at(self.address(pod), 15_021);
        eventually("the sidecar to be ready", || {
            if let Some(status) = process.ended() {
                panic!("dromon-proxy ended with {status}: {:?}", process.stderr());
            }
            let probe = || get(health, "/healthz/ready", &[]);
            (self.node.namespace.run(probe).ok()?.status == 200).then_some(())
        });
        Sidecar { process, _folder: folder }
    }

    fn resources(&self, pod: &Pod, account: &str, policy: OutboundPolicy) -> Vec<Resource> {
        let own = self.address(pod);
        let inbound = |port: u16, protocol, mtls| {
            let pool = Default::default();
            let kind = ListenerKind::Inbound { protocol, target: at(own, port), service: None, pool, mtls };
            let listener = Listener::new(format!("inbound/{port}"), at(own, port), port, kind);
            Listener { captured: true, ..listener }
        };
        let mut listeners = vec![
            inbound(HTTP.1, Protocol::Http, MtlsMode::Strict),
            inbound(GREETER.1, Protocol::Auto, MtlsMode::Strict),
            inbound(ECHO.1, Protocol::Tcp, MtlsMode::Strict),
            inbound(GRPC.1, Protocol::Grpc, MtlsMode::Strict),
        ];
        let any_and_loopback: [(&str, IpAddr, IpAddr); 2] = [
            ("", Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
            ("-ipv6", Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
        ];
        for (suffix, any, loopback) in any_and_loopback {
            let kind = ListenerKind::InboundCapture { mtls: MtlsMode::Permissive };
            let address = at(any, INBOUND_PORT);
            listeners.push(Listener::new(format!("inbound{suffix}"), address, INBOUND_PORT, kind));
            let address = at(loopback, OUTBOUND_PORT);
            let kind = ListenerKind::Outbound;
            listeners.push(Listener::new(format!("outbound{suffix}"), address, OUTBOUND_PORT, kind));
        }
        let mut resources = vec![with_name(proxy(Role::Sidecar, listeners), account, policy)];
        for (port, protocol) in
            [(HTTP, Protocol::Http), (GREETER, Protocol::Auto), (ECHO, Protocol::Tcp), (GRPC, Protocol::Grpc)]
        {
            resources.extend(self.destination(port, protocol));
        }
        resources.push(Resource::Host(Host {
            name: WEB.into(),
            domains: vec![WEB.into(), "web".into()],
            addresses: [Family::V4, Family::V6].map(|it| service_address(it).to_string()).into(),
            ports: [
                (HTTP, Protocol::Http),
                (GREETER, Protocol::Auto),
                (ECHO, Protocol::Tcp),
                (GRPC, Protocol::Grpc),
            ]
            .map(|((number, _), protocol)| HostPort { number, protocol })
            .into(),
            ..Host::default()
        }));
        resources
    }

    /// One port of the service: its only endpoint is the pod `web`, which takes mutual TLS.
    fn destination(&self, (port, target): (u16, u16), protocol: Protocol) -> Vec<Resource> {
        let name = destination_name(port, "", WEB);
        let of_port_80 = destination(WEB, &[at(self.address(&self.web), target)]);
        let renamed = of_port_80.into_iter().map(|resource| match resource {
            Resource::Destination(mut it) => {
                it.name.clone_from(&name);
                it.protocol = protocol;
                let identities = vec![self.ca.id("web")];
                it.tls = Some(ClientTls { mode: ClientTlsMode::Auto, identities, ..ClientTls::default() });
                Resource::Destination(it)
            }
            Resource::Endpoints(mut it) => {
                it.name.clone_from(&name);
                it.endpoints.iter_mut().for_each(|it| it.mtls = true);
                Resource::Endpoints(it)
            }
            other => other,
        });
        renamed.collect()
    }
}

fn with_name(resource: Resource, account: &str, policy: OutboundPolicy) -> Resource {
    let Resource::Proxy(model) = resource else { return resource };
    Resource::Proxy(ProxyModel {
        name: format!("sidecar~{account}.default"),
        outbound_policy: policy,
        access_log: Some(AccessLog { path: "/dev/stdout".into(), ..AccessLog::default() }),
        ..model
    })
}

/// A pod's sidecar.
pub struct Sidecar {
    pub process: Process,
    /// Its files, which go with it.
    _folder: TempDir,
}

impl Sidecar {
    /// Waits for an access-log line with all of these parts.
    pub fn logged(&self, parts: &[&str]) -> String {
        eventually(&format!("the access log to say {parts:?}"), || {
            self.process.stdout().into_iter().find(|line| parts.iter().all(|part| line.contains(part)))
        })
    }

    /// Sees to it that nothing was logged of something; what was logged after it has to be there already.
    pub fn never_logged(&self, part: &str) {
        let line = self.process.stdout().into_iter().find(|line| line.contains(part));
        assert!(line.is_none(), "{part} went through the sidecar: {line:?}");
    }
}

/// Runs `dromon-proxy capture` inside.
pub fn capture(inside: &Namespace, arguments: &[&str]) -> Output {
    output(inside.command(bin("dromon-proxy")).arg("capture").args(arguments))
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
