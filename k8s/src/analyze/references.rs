//! Where routes lead: hosts, ports and subsets that are not there.

use crate::api::virtual_service::{Destination, RouteDestination};
use crate::diagnostic::Diagnostic;
use crate::mesh::destination_rules::Client;
use crate::mesh::host;
use crate::mesh::service::Service;
use crate::objects::Key;
use crate::parse::nearest;

use super::{Analysis, EMPTY, shown};

impl Analysis<'_> {
    /// Looks at the destinations of one route and at their shares.
    pub(super) fn destinations(
        &mut self,
        key: &Key,
        field: &str,
        routes: &[RouteDestination],
        namespace: &str,
    ) {
        for (at, route) in routes.iter().enumerate() {
            self.destination(key, &format!("{field}[{at}].destination"), &route.destination, namespace);
        }
        let sum: u64 = routes.iter().map(|it| u64::from(it.share())).sum();
        if routes.len() > 1 && sum != 100 && sum > 0 {
            let message = format!("the weights sum up to {sum}; each destination gets its part of that");
            self.report(
                key,
                Diagnostic::info(field, message).hint("weights that sum up to 100 read as percentages"),
            );
        }
    }

    fn destination(&mut self, key: &Key, field: &str, destination: &Destination, namespace: &str) {
        let mesh = self.mesh;
        let name = host::resolve(&destination.host, namespace);
        let Some(service) = mesh.service(&name, namespace) else {
            return self.unknown_host(key, format!("{field}.host"), &destination.host, &name, namespace);
        };
        match destination.port {
            Some(port) if service.port(port.number).is_none() => {
                let message = format!("{} has no port {}", service.host, port.number);
                let hint = format!("its ports: {}", ports(service));
                self.report(key, Diagnostic::error(format!("{field}.port.number"), message).hint(hint));
            }
            None if service.ports.len() > 1 => {
                let message =
                    format!("{} has several ports, so the request's own port decides", service.host);
                let hint = format!("name one of {} in `port.number`", ports(service));
                self.report(key, Diagnostic::info(field, message).hint(hint));
            }
            _ => {}
        }
        if !destination.subset.is_empty() {
            self.subset(key, format!("{field}.subset"), &destination.subset, service, namespace);
        }
    }

    /// The host that was probably meant by a name that no service has, as it would be written in a namespace: short
    /// names reach the own namespace only.
    pub(super) fn meant_host(&self, said: &str, namespace: &str) -> Option<String> {
        let services = &self.mesh.services;
        if said.contains('.') {
            return nearest(said, services.iter().map(|it| it.host.as_str())).map(str::to_owned);
        }
        let kubernetes = services.iter().filter(|it| it.is_kubernetes);
        let names = kubernetes.map(|it| (it.name.as_str(), it.namespace.as_str()));
        let (name, of) = super::nearest_of(said, namespace, names)?;
        Some(if of == namespace { name.to_owned() } else { host::service_host(name, of) })
    }

    fn unknown_host(&mut self, key: &Key, field: String, said: &str, name: &str, namespace: &str) {
        let mesh = self.mesh;
        let exists = mesh.services.iter().find(|it| it.host == name);
        let diagnostic = if let Some(service) = exists {
            let message = format!("`{said}` is not exported to namespace `{namespace}`");
            Diagnostic::error(field, message).hint(format!("add it to `exportTo` of {}", service.origin))
        } else {
            let message = format!("no service has the host `{name}`");
            let full = format!("{said}.{}", host::SERVICE_DOMAIN);
            let diagnostic = Diagnostic::error(field, message);
            if mesh.knows_host(&full) {
                diagnostic.hint(format!("names with a dot are taken as they are: did you mean `{full}`?"))
            } else {
                match self.meant_host(said, namespace) {
                    Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                    None => diagnostic
                        .hint("add a Service or a ServiceEntry; until then requests are answered 503"),
                }
            }
        };
        self.report(key, diagnostic);
    }

    fn subset(&mut self, key: &Key, field: String, name: &str, service: &Service, namespace: &str) {
        let mesh = self.mesh;
        let client = Client { namespace, labels: &EMPTY };
        let policy =
            mesh.destination_rules.find(&client, &service.host, &service.namespace, &mesh.root_namespace);
        let Some(policy) = policy else {
            let message = format!("no DestinationRule defines the subset `{name}` of {}", service.host);
            let hint = "add a DestinationRule with this subset; until then requests are answered 503";
            return self.report(key, Diagnostic::error(field, message).hint(hint));
        };
        let Some((_, subset)) = policy.subset(name) else {
            let origins: Vec<String> = policy.parts.iter().map(|(key, _)| key.to_string()).collect();
            let message = format!("{} has no subset `{name}`", origins.join(" and "));
            let diagnostic = Diagnostic::error(field, message);
            let known: Vec<&str> = policy.subsets().collect();
            let diagnostic = match nearest(name, known.iter().copied()) {
                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                None if known.is_empty() => diagnostic.hint("it defines none"),
                None => diagnostic.hint(format!("it has {}", known.join(", "))),
            };
            return self.report(key, diagnostic);
        };
        let has_endpoints = service.ports.iter().any(|it| !it.endpoints.is_empty());
        let chosen =
            |it: &crate::mesh::service::Endpoint| crate::mesh::workloads::has_all(&it.labels, &subset.labels);
        let any = service.ports.iter().flat_map(|it| &it.endpoints).any(chosen);
        if has_endpoints && !any {
            let message = format!(
                "subset `{name}` has no endpoints: none of {} has {}",
                service.host,
                shown(&subset.labels)
            );
            self.report(
                key,
                Diagnostic::warning(field, message).hint("requests sent there are answered 503"),
            );
        }
    }
}

/// A service's ports as people name them.
pub(super) fn ports(service: &Service) -> String {
    let all: Vec<String> = service.ports.iter().map(|it| it.number.to_string()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
