//! Kubernetes Ingresses at a gateway: HTTP on port 80, and on port 443 for the names that they have certificates for.

use std::collections::{BTreeMap, BTreeSet};

use dromon_core::config::model::{
    HttpAction, HttpMatch, HttpRule, Protocol, ServerTls, StringMatch, TlsMode, WeightedDestination,
};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend};

use crate::diagnostic::Diagnostic;
use crate::mesh::credentials::Needs;
use crate::mesh::ingress::HeldIngress;

use super::Builder;
use super::gateway_api::{HttpDomains, Rank, Ranked, in_order, with_wider};

/// Where Ingresses are served.
pub(super) const HTTP_PORT: u16 = 80;
/// Where those with certificates are served too.
pub(super) const HTTPS_PORT: u16 = 443;
/// What is answered where a backend leads nowhere.
const REFUSED: u16 = 503;

/// Whether an Ingress is served with TLS.
pub(super) fn has_tls(ingress: &HeldIngress) -> bool {
    ingress.object.spec.as_ref().and_then(|it| it.tls.as_ref()).is_some_and(|it| !it.is_empty())
}

/// The rules of all Ingresses, or of those with TLS.
pub(super) fn domains(builder: &mut Builder<'_>, with_tls: bool) -> HttpDomains {
    let mesh = builder.mesh;
    let mut ranked: BTreeMap<String, (BTreeSet<String>, Vec<Ranked>)> = BTreeMap::new();
    for (age, ingress) in mesh.ingresses.iter().enumerate().filter(|(_, it)| !with_tls || has_tls(it)) {
        for (domain, rule) in rules(builder, ingress, age) {
            let entry = ranked.entry(domain).or_default();
            entry.0.insert(ingress.key.to_string());
            entry.1.push(rule);
        }
    }
    let ordered =
        ranked.into_iter().map(|(domain, (origins, rules))| (domain, (origins, in_order(rules)))).collect();
    with_wider(ordered)
}

fn rules(builder: &mut Builder<'_>, ingress: &HeldIngress, age: usize) -> Vec<(String, Ranked)> {
    let Some(spec) = ingress.object.spec.as_ref() else { return Vec::new() };
    let mut all = Vec::new();
    for (at, rule) in spec.rules.iter().flatten().enumerate() {
        let domain = rule.host.as_deref().filter(|it| !it.is_empty()).unwrap_or("*").to_ascii_lowercase();
        for (number, path) in rule.http.iter().flat_map(|it| &it.paths).enumerate() {
            let field = format!("spec.rules[{at}].http.paths[{number}]");
            let condition =
                HttpMatch { uri: uri(path), authority: one_label(&domain), ..HttpMatch::default() };
            let rank = Rank::new(&condition, age, at, number);
            let matches = if condition == HttpMatch::default() { Vec::new() } else { vec![condition] };
            let rule = builder.ingress_rule(ingress, &field, &path.backend, matches);
            all.push((domain.clone(), Ranked { rank, rule }));
        }
    }
    if let Some(backend) = &spec.default_backend {
        let rule = builder.ingress_rule(ingress, "spec.defaultBackend", backend, Vec::new());
        all.push(("*".to_owned(), Ranked { rank: Rank::last(age), rule }));
    }
    all
}

/// The condition of a path. `ImplementationSpecific` is a prefix of segments, and of characters where it ends in `*`.
fn uri(path: &HTTPIngressPath) -> Option<StringMatch> {
    let text = path.path.clone().filter(|it| !it.is_empty()).unwrap_or_else(|| "/".to_owned());
    Some(match path.path_type.as_str() {
        "Exact" => StringMatch::Exact(text),
        "ImplementationSpecific" if text.ends_with('*') => {
            StringMatch::Prefix(text.trim_end_matches('*').trim_end_matches('.').to_owned())
        }
        _ if text == "/" => return None,
        _ => StringMatch::PathPrefix(text),
    })
}

/// A wildcard of an Ingress stands for one label only, that of a virtual host for several.
fn one_label(domain: &str) -> Option<StringMatch> {
    let suffix = domain.strip_prefix("*.")?;
    Some(StringMatch::Regex(format!(r"(?i)[^.]+\.{}(:[0-9]+)?", suffix.replace('.', r"\."))))
}

impl Builder<'_> {
    fn ingress_rule(
        &mut self,
        ingress: &HeldIngress,
        field: &str,
        backend: &IngressBackend,
        matches: Vec<HttpMatch>,
    ) -> HttpRule {
        let namespace = &ingress.key.namespace;
        let destination = match self.ingress_backend(namespace, backend) {
            Ok((host, port)) => {
                self.destination(&host, port, "");
                WeightedDestination { host, port: Some(port), weight: 1, ..<_>::default() }
            }
            Err(what) => {
                let diagnostic = Diagnostic::error(format!("{field}.backend"), what.clone());
                let hint = "until it is there, its requests are answered 503";
                self.diagnostics.push(diagnostic.hint(hint).on(&ingress.key));
                WeightedDestination { host: what, weight: 1, refuse: Some(REFUSED), ..<_>::default() }
            }
        };
        HttpRule {
            origin: format!("{} {field}", ingress.key),
            matches,
            action: HttpAction::Route { destinations: vec![destination] },
            ..HttpRule::default()
        }
    }

    fn ingress_backend(&self, namespace: &str, backend: &IngressBackend) -> Result<(String, u16), String> {
        backend_of(self.mesh, namespace, backend)
    }
}

/// Host and port of an Ingress's backend.
///
/// # Errors
/// It leads nowhere; why.
pub(crate) fn backend_of(
    mesh: &crate::mesh::Mesh,
    namespace: &str,
    backend: &IngressBackend,
) -> Result<(String, u16), String> {
    let Some(service) = &backend.service else {
        return Err("a backend is a Service here; resources are not carried out".to_owned());
    };
    let name = &service.name;
    let Some(found) = mesh.known().service(name, namespace) else {
        return Err(format!("there is no Service {namespace}/{name}"));
    };
    let port = service.port.clone().unwrap_or_default();
    let is_meant = |it: &&crate::mesh::service::ServicePort| match (&port.name, port.number) {
        (Some(name), _) if !name.is_empty() => it.name == *name,
        (_, Some(number)) => i32::from(it.number) == number,
        _ => false,
    };
    match found.ports.iter().find(is_meant) {
        Some(port) => Ok((found.host.clone(), port.number)),
        None => {
            let named = port.name.unwrap_or_else(|| port.number.unwrap_or_default().to_string());
            Err(format!("Service {namespace}/{name} has no port {named}"))
        }
    }
}

/// The TLS settings of all Ingresses. Their credentials become part of the view.
pub(super) fn tls_settings(builder: &mut Builder<'_>) -> Vec<ServerTls> {
    let mesh = builder.mesh;
    let mut all = Vec::new();
    for ingress in &mesh.ingresses {
        let tls = ingress.object.spec.as_ref().and_then(|it| it.tls.as_ref());
        for (at, it) in tls.into_iter().flatten().enumerate() {
            let field = format!("spec.tls[{at}]");
            let mut hosts: Vec<String> =
                it.hosts.iter().flatten().map(|it| it.to_ascii_lowercase()).collect();
            if hosts.is_empty() {
                hosts.push("*".to_owned());
            }
            let mut credentials = Vec::new();
            if let Some(name) = it.secret_name.as_deref().filter(|it| !it.is_empty()) {
                let needs = Needs { certificate: true, ca: false };
                match mesh.credentials.find(name, &[&ingress.key.namespace], needs) {
                    Ok(credential) => {
                        credentials.push(credential.name.clone());
                        builder.credential(credential);
                    }
                    Err(error) => {
                        let diagnostic = Diagnostic::error(format!("{field}.secretName"), error.to_string());
                        let hint = "until it is there, these hosts are served no handshake";
                        builder.diagnostics.push(diagnostic.hint(hint).on(&ingress.key));
                    }
                }
            }
            all.push(ServerTls {
                origin: format!("{} {field}", ingress.key),
                hosts,
                mode: TlsMode::Simple,
                protocol: Protocol::Http,
                credentials,
                ..ServerTls::default()
            });
        }
    }
    all
}
