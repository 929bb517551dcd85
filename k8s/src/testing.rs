//! Helpers of this crate's tests.

use std::net::SocketAddr;

use dromon_core::config::model::{
    Credential, Destination, Endpoints, Host, HttpRule, Proxy, RateLimit, Resource, VirtualHost,
    destination_name,
};

use crate::diagnostic::{Diagnostic, Severity};
use crate::objects::{ObjectSet, Workload, WorkloadPort};
use crate::translate::{
    GatewayIdentity, GatewaySelection, ProxyIdentity, ProxyRole, ServiceListener, SidecarIdentity, View,
};
use crate::{Mesh, mesh, parse, translate};

/// The set of a text, which must be free of errors.
pub fn set(text: &str) -> ObjectSet {
    let parsed = parse::text("test.yaml", text);
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let mut set = ObjectSet::new();
    parsed.objects.into_iter().for_each(|it| set.insert(it));
    set
}

/// Adds a ready workload of namespace `default` with a port `http`.
pub fn workload(set: &mut ObjectSet, name: &str, labels: &[(&str, &str)], address: &str, port: u16) {
    set.insert_workload(Workload {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        owner: name.to_owned(),
        labels: labels.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect(),
        address: address.parse().expect("an address"),
        ports: vec![WorkloadPort {
            name: "http".to_owned(),
            number: port,
            protocol: mesh::protocol::of_port("http", None, port),
        }],
        service_account: "default".to_owned(),
        ready: true,
        locality: String::new(),
        other_addresses: Vec::new(),
        mtls: true,
    });
}

/// A sidecar of namespace `default`.
pub fn sidecar(labels: &[(&str, &str)]) -> ProxyIdentity {
    ProxyIdentity {
        name: "client".to_owned(),
        namespace: "default".to_owned(),
        owner: "client".to_owned(),
        labels: labels.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect(),
        service_account: "default".to_owned(),
        role: ProxyRole::Sidecar(SidecarIdentity {
            address: "127.77.0.9".parse().expect("an address"),
            application: "127.78.0.9".parse().expect("an address"),
            ports: Vec::new(),
            outbound: None,
            captured: Vec::new(),
            service_addresses: Default::default(),
            clients: Vec::<ServiceListener>::new(),
        }),
    }
}

/// A gateway of namespace `istio-system`, label `istio: ingressgateway`, with some ports open at 10,000 more.
pub fn gateway(ports: &[u16]) -> ProxyIdentity {
    let opened = |port: &u16| ((*port).into(), SocketAddr::from(([127, 0, 0, 1], port + 10_000)));
    ProxyIdentity {
        name: "ingress".to_owned(),
        namespace: "istio-system".to_owned(),
        owner: "ingress".to_owned(),
        labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
        service_account: "ingress".to_owned(),
        role: ProxyRole::Gateway(GatewayIdentity {
            selection: GatewaySelection::ByLabels,
            ports: ports.iter().map(opened).collect(),
        }),
    }
}

/// A view with its resources at hand.
pub struct Seen(pub View);

/// Translates a set.
pub fn seen(set: &ObjectSet, identity: &ProxyIdentity) -> Seen {
    Seen(translate(&Mesh::new(set), identity))
}

/// A certificate chain with its key, and the CA that vouches for it, in PEM.
pub struct Pems {
    pub chain: String,
    pub key: String,
    pub ca: String,
}

/// Makes a certificate.
pub fn pems() -> Pems {
    use dromon_auth::authority::{Authority, KeyKind, Wanted};
    let domain = dromon_auth::TrustDomain::new("cluster.local").expect("a trust domain");
    let id = dromon_auth::SpiffeId::new(&domain, "default", "shop").expect("an id");
    let now = rustls_pki_types::UnixTime::now();
    let authority = Authority::new_root(&domain, now).expect("a root");
    let life = std::time::Duration::from_secs(3_600);
    let leaf = authority.issue(&Wanted { id, key: KeyKind::EcdsaP256, life }, now).expect("a leaf");
    Pems { chain: leaf.chain.clone(), key: leaf.key.to_string(), ca: authority.root_pem() }
}

/// A Secret with these texts, as a file.
pub fn secret(name: &str, namespace: &str, parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(name, text)| {
        let text: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("  {name}: |\n{text}")
    });
    let parts: String = parts.collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData:\n{parts}---\n"
    )
}

macro_rules! of_kind {
    ($name:ident, $kind:ident) => {
        /// The resource of that name.
        pub fn $name(&self, name: &str) -> &$kind {
            self.find(name, |it| match it {
                Resource::$kind(it) if it.name == name => Some(it),
                _ => None,
            })
        }
    };
}

impl Seen {
    of_kind!(host, Host);
    of_kind!(virtual_host, VirtualHost);
    of_kind!(rate_limit, RateLimit);
    of_kind!(credential, Credential);

    fn find<'a, T>(&'a self, name: &str, wanted: impl Fn(&'a Resource) -> Option<&'a T>) -> &'a T {
        self.0
            .resources
            .iter()
            .find_map(wanted)
            .unwrap_or_else(|| panic!("no {name} among {:#?}", self.names()))
    }

    /// The proxy itself.
    pub fn proxy(&self) -> &Proxy {
        self.find("proxy", |it| match it {
            Resource::Proxy(it) => Some(it),
            _ => None,
        })
    }

    /// Rules of a virtual host.
    pub fn http(&self, name: &str) -> &[HttpRule] {
        &self.virtual_host(name).http
    }

    /// A destination.
    pub fn destination(&self, host: &str, port: u16, subset: &str) -> &Destination {
        let name = destination_name(port, subset, host);
        self.find(&name, |it| match it {
            Resource::Destination(it) if it.name == name => Some(it),
            _ => None,
        })
    }

    /// `address:port` of a destination's endpoints.
    pub fn endpoints(&self, host: &str, port: u16, subset: &str) -> Vec<String> {
        let name = destination_name(port, subset, host);
        let found: &Endpoints = self.find(&name, |it| match it {
            Resource::Endpoints(it) if it.name == name => Some(it),
            _ => None,
        });
        found.endpoints.iter().map(|it| format!("{}:{}", it.address, it.port)).collect()
    }

    /// Kinds and names of everything.
    pub fn names(&self) -> Vec<String> {
        self.0.resources.iter().map(|it| format!("{:?} {}", it.kind(), it.name())).collect()
    }

    /// Names of one kind.
    pub fn names_of(&self, kind: &str) -> Vec<String> {
        let prefix = format!("{kind} ");
        self.names().iter().filter_map(|it| it.strip_prefix(&prefix).map(str::to_owned)).collect()
    }
}

/// Findings as `severity object field: message (hint)`.
pub fn told(findings: &[Diagnostic]) -> Vec<String> {
    findings
        .iter()
        .map(|it| format!("{:?} {} {}: {} ({})", it.severity, it.object, it.field, it.message, it.hint))
        .collect()
}
