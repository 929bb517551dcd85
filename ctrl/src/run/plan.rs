//! What a folder's objects ask of a run: which processes, which gateway ports, which services to be reachable.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dromon_k8s::api::scalar::StringMatch;
use dromon_k8s::api::virtual_service::{HttpMatch, HttpRoute};
use dromon_k8s::api::{self, Kind, Object, process};
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::ObjectSet;
use dromon_k8s::translate::{GatewayIdentity, GatewaySelection, ProxyIdentity, ProxyRole, gateway_ports};

use super::address::Pair;
use super::part::{Question, Readiness, Restart};

/// Notes of a Gateway object under this annotation are shown when the mesh is ready.
pub const NOTES: &str = "run.dromon.io/notes";

/// Everything that is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// By `NAME.NAMESPACE`.
    pub processes: BTreeMap<String, Process>,
    /// Gateways' ports with the objects that name them.
    pub gateway_ports: BTreeMap<u16, BTreeSet<String>>,
    /// Services' ports, in order.
    pub services: Vec<Service>,
    /// What Gateways have to say to people.
    pub notes: Vec<String>,
    /// A page that answers, as far as the rules tell.
    pub page: Option<Page>,
}

/// Where a GET is answered by a route, for any host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The gateway's port, as the Gateway names it.
    pub port: u16,
    /// The path.
    pub path: String,
}

/// A `Process` object.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its service account.
    pub service_account: String,
    /// How it runs; a change of this restarts it, a change of the rest does not.
    pub life: Life,
}

/// How a process runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Extra environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub directory: Option<PathBuf>,
    /// Its ports: name and number.
    pub ports: Vec<(String, u16)>,
    /// What happens when it ends.
    pub restart: Restart,
    readiness: Option<process::Probe>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The Service's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Position of the port in the Service.
    pub position: usize,
    /// The port's name; may be empty.
    pub port_name: String,
    /// The port.
    pub port: u16,
}

impl Service {
    /// Its FQDN.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// `FQDN:PORT`.
    pub fn key(&self) -> String {
        format!("{}:{}", self.host(), self.port)
    }
}

impl Plan {
    /// Reads the plan from the objects in force.
    pub fn new(set: &ObjectSet) -> Plan {
        let mut plan = Plan::default();
        for sourced in set.of_kind(Kind::Process) {
            if let Object::Process(rule) = &sourced.object {
                let process = Process::new(rule);
                plan.processes.insert(process.id(), process);
            }
        }
        for sourced in set.of_kind(Kind::Gateway) {
            let Object::Gateway(rule) = &sourced.object else { continue };
            for server in &rule.spec.servers {
                plan.gateway_ports.entry(server.port.number).or_default().insert(sourced.key.to_string());
            }
            let notes = rule.meta.annotations.as_ref().and_then(|annotations| annotations.get(NOTES));
            plan.notes.extend(notes.cloned());
        }
        plan.listeners(set);
        plan.page = page(set);
        for sourced in set.of_kind(Kind::Service) {
            let Object::Service(service) = &sourced.object else { continue };
            let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
            plan.services.extend(ports.into_iter().flatten().enumerate().filter_map(|(position, port)| {
                let namespace = sourced.key.namespace.clone();
                let (name, port_name) = (sourced.key.name.clone(), port.name.clone().unwrap_or_default());
                let port = u16::try_from(port.port).ok()?;
                Some(Service { namespace, name, position, port_name, port })
            }));
        }
        plan.services.sort();
        plan
    }

    /// The ports of Gateway API's listeners and of Ingresses, as far as they are served: which, the translator says.
    fn listeners(&mut self, set: &ObjectSet) {
        let mut notes =
            set.of_kind(Kind::KubeGateway).map(|it| it.object.meta().annotations.as_ref()).peekable();
        if notes.peek().is_none() && set.of_kind(Kind::Ingress).next().is_none() {
            return;
        }
        self.notes.extend(notes.flatten().filter_map(|annotations| annotations.get(NOTES)).cloned());
        let selection = GatewaySelection::Every;
        let gateway = ProxyIdentity {
            name: String::new(),
            namespace: String::new(),
            owner: String::new(),
            labels: BTreeMap::new(),
            service_account: String::new(),
            role: ProxyRole::Gateway(GatewayIdentity { selection, ports: BTreeMap::new() }),
        };
        for port in gateway_ports(&Mesh::new(set), &gateway, selection) {
            self.gateway_ports.entry(port.at.number).or_default().extend(port.origins);
        }
    }
}

impl Process {
    fn new(rule: &api::Rule<process::Process>) -> Process {
        let spec = &rule.spec;
        Process {
            name: rule.meta.name.clone().unwrap_or_default(),
            namespace: rule.meta.namespace.clone().unwrap_or_default(),
            labels: rule.meta.labels.clone().unwrap_or_default(),
            service_account: spec.service_account_name.clone().unwrap_or_else(|| "default".into()),
            life: Life {
                command: spec.command.clone(),
                env: spec.env.clone(),
                directory: spec.working_dir.as_ref().map(PathBuf::from),
                ports: spec.ports.iter().map(|port| (port.name.clone(), port.container_port)).collect(),
                restart: match spec.restart.unwrap_or_default() {
                    process::Restart::Always => Restart::Always,
                    process::Restart::OnFailure => Restart::OnFailure,
                    process::Restart::Never => Restart::Never,
                },
                readiness: spec.readiness.clone(),
            },
        }
    }

    /// `NAME.NAMESPACE`.
    pub fn id(&self) -> String {
        format!("{}.{}", self.name, self.namespace)
    }

    /// The name before its lines: with the namespace where that is not `default`.
    pub fn label(&self) -> String {
        if self.namespace == "default" { self.name.clone() } else { self.id() }
    }
}

impl Life {
    /// When the process counts as ready: as it says, else when its first port accepts connections.
    pub fn readiness(&self, pair: Pair) -> Readiness {
        let at = |port: u16| SocketAddr::new(IpAddr::V4(pair.application), port);
        let first = self.ports.first().map(|(_, port)| *port);
        let Some(probe) = &self.readiness else {
            return Readiness::new(first.map_or(Question::Running, |port| Question::Tcp(at(port))));
        };
        let question = match (&probe.http_get, &probe.tcp_socket) {
            (Some(get), _) => Question::Http(at(get.port), absolute(&get.path)),
            (None, Some(socket)) => Question::Tcp(at(socket.port)),
            (None, None) => Question::Running,
        };
        let seconds = |value: Option<u32>, default: u32| Duration::from_secs(value.unwrap_or(default).into());
        Readiness {
            question,
            pod: None,
            period: seconds(probe.period_seconds, 1).max(Duration::from_secs(1)),
            within: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            delay: seconds(probe.initial_delay_seconds, 0),
            failures: probe.failure_threshold.unwrap_or(3),
        }
    }

    /// The addresses that it was told to listen on.
    pub fn told(&self, application: Ipv4Addr) -> super::part::Told {
        let ports = self.ports.iter().map(|(_, port)| *port).collect();
        super::part::Told { address: IpAddr::V4(application), ports }
    }
}

/// The first page that a VirtualService leads to from a Gateway's HTTP port without further conditions.
fn page(set: &ObjectSet) -> Option<Page> {
    let rules = set.of_kind(Kind::VirtualService).filter_map(|it| match &it.object {
        Object::VirtualService(rule) => Some((&it.key.namespace, &rule.spec)),
        _ => None,
    });
    let mut any_host = rules.filter(|(_, spec)| spec.hosts.iter().any(|host| host == "*"));
    any_host.find_map(|(namespace, spec)| {
        let port = spec.gateways.iter().find_map(|name| http_port(set, namespace, name))?;
        let path = spec.http.iter().find_map(path_of)?;
        Some(Page { port, path })
    })
}

/// The port of a Gateway, named as VirtualServices do, on which it takes any host's requests in plaintext.
fn http_port(set: &ObjectSet, namespace: &str, name: &str) -> Option<u16> {
    let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
    let gateway = set.of_namespace(Kind::Gateway, namespace).find(|it| &*it.key.name == name)?;
    let Object::Gateway(rule) = &gateway.object else { return None };
    let open = |server: &&api::gateway::Server| {
        let any_host = server.hosts.iter().any(|host| host == "*" || host == "*/*");
        any_host && server.port.protocol.eq_ignore_ascii_case("HTTP") && server.tls.is_none()
    };
    rule.spec.servers.iter().find(open).map(|server| server.port.number)
}

/// A path for which a rule holds whatever else a request has.
fn path_of(rule: &HttpRoute) -> Option<String> {
    if rule.matches.is_empty() {
        return Some("/".into());
    }
    rule.matches.iter().find_map(|it| {
        let only_path = HttpMatch { uri: it.uri.clone(), name: it.name.clone(), ..HttpMatch::default() };
        match &it.uri {
            _ if *it != only_path => None,
            None => Some("/".into()),
            Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) => Some(path.clone()),
            Some(StringMatch::Present | StringMatch::Regex(_)) => None,
        }
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
