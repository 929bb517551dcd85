//! How a destination is spoken to: `trafficPolicy.tls`, else automatic mutual TLS.

use dromon_core::config::model::{ClientTls, ClientTlsMode, Credential};

use crate::api::destination_rule as api;
use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;
use crate::mesh::credentials::Needs;
use crate::mesh::destination_rules::Policy;
use crate::mesh::naming::NOBODY;
use crate::mesh::service::{Service, ServicePort};
use crate::objects::Key;

use super::policy::{Effective, TlsPlace};
use super::{ProxyIdentity, ProxyRole};

/// What the settings depend on.
pub struct Asked<'a> {
    pub mesh: &'a Mesh,
    pub identity: &'a ProxyIdentity,
    pub service: &'a Service,
    pub port: &'a ServicePort,
    pub policy: Option<&'a Policy>,
    pub effective: Effective<'a>,
    pub subset: &'a str,
}

/// The settings with the credential that they name. Without a rule, services of the mesh are spoken to with mutual TLS
/// where their endpoints take it; what is outside is not.
pub fn settings(
    asked: &Asked<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<ClientTls>, Option<Credential>) {
    if let Some(of_policy) = backend_tls(asked) {
        return of_policy;
    }
    let Some((tls, place)) = asked.effective.tls() else {
        let automatic = asked.mesh.config.enable_auto_mtls != Some(false) && !asked.service.is_external;
        let identities = asked.service.identities.clone();
        return (automatic.then(|| ClientTls { identities, ..ClientTls::default() }), None);
    };
    let key = origin(asked, place);
    let field = place.field(key.as_ref().map(|(_, at)| *at));
    let mut settings = ClientTls {
        origin: key.as_ref().map(|(key, _)| format!("{key} {field}")).unwrap_or_default(),
        sni: tls.sni.clone().unwrap_or_default().to_ascii_lowercase(),
        ..ClientTls::default()
    };
    let names = tls.subject_alt_names.clone().filter(|it| !it.is_empty());
    match tls.mode {
        api::ClientTlsMode::Disable => settings.mode = ClientTlsMode::Disable,
        api::ClientTlsMode::IstioMutual => {
            settings.mode = ClientTlsMode::IstioMutual;
            settings.identities = match names {
                Some(names) => identities(names, key.map(|(key, _)| key), &field, diagnostics),
                None => of_service(asked.service, key.map(|(key, _)| key), &field, diagnostics),
            };
        }
        mode @ (api::ClientTlsMode::Simple | api::ClientTlsMode::Mutual) => {
            let mutual = mode == api::ClientTlsMode::Mutual;
            settings.mode = if mutual { ClientTlsMode::Mutual } else { ClientTlsMode::Simple };
            settings.subject_alt_names = names.unwrap_or_else(|| asked.service.subject_alt_names.clone());
            settings.insecure_skip_verify = tls.insecure_skip_verify == Some(true);
            let found = credential(asked, tls, mutual, key.map(|(key, _)| key), &field, diagnostics);
            settings.credential = found.0;
            return (Some(settings), found.1);
        }
    }
    (Some(settings), None)
}

/// What a BackendTLSPolicy says, at gateways: as Gateway API has it, the mesh speaks its own TLS between sidecars.
fn backend_tls(asked: &Asked<'_>) -> Option<(Option<ClientTls>, Option<Credential>)> {
    let ProxyRole::Gateway(_) = asked.identity.role else { return None };
    let policy = asked.mesh.gateway_api.backend_tls.of(asked.service, asked.port)?;
    let validation = &policy.rule.spec.validation;
    let names =
        validation.subject_alt_names.iter().filter_map(|it| it.hostname.clone().or_else(|| it.uri.clone()));
    let name = format!("{}/{}", policy.key.namespace, policy.key.name);
    let credential =
        Credential { name: format!("backend-tls/{name}"), ca: policy.ca.clone(), ..<_>::default() };
    let credential = Some(credential).filter(|it| !it.ca.is_empty());
    let settings = ClientTls {
        origin: format!("{} spec.validation", policy.key),
        mode: ClientTlsMode::Simple,
        sni: validation.hostname.to_ascii_lowercase(),
        subject_alt_names: names.collect(),
        credential: credential.as_ref().map(|it| it.name.clone()).unwrap_or_default(),
        ..ClientTls::default()
    };
    Some((Some(settings), credential))
}

/// The workloads among the names that a rule wants its servers to have; where none is one, the destination is down and the
/// rule's author told.
fn identities(
    names: Vec<String>,
    key: Option<Key>,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<String> {
    let (workloads, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|it| it.starts_with("spiffe://"));
    if !workloads.is_empty() {
        return workloads;
    }
    let message = format!("{} names no workload, so nobody is let stand behind the host", others.join(", "));
    let diagnostic = Diagnostic::error(format!("{field}.subjectAltNames"), message)
        .hint("write spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT, or leave the names out");
    diagnostics.extend(key.map(|key| diagnostic.on(&key)));
    vec![NOBODY.to_owned()]
}

/// The identities that a service's endpoints may have; where its ServiceEntry names none that is a workload's, the rule that
/// asks for mutual TLS is told so.
fn of_service(
    service: &Service,
    key: Option<Key>,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<String> {
    if service.identities == [NOBODY] {
        let names = service.subject_alt_names.join(", ");
        let message = format!(
            "subjectAltNames of {}'s ServiceEntry ({names}) name no workload, so nobody is let stand behind the host",
            service.host
        );
        let diagnostic = Diagnostic::error(format!("{field}.mode"), message)
            .hint("write spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT there, or use mode SIMPLE or MUTUAL");
        diagnostics.extend(key.map(|key| diagnostic.on(&key)));
    }
    service.identities.clone()
}

/// The object whose word counts, and the position of the subset in it.
fn origin(asked: &Asked<'_>, place: TlsPlace) -> Option<(Key, usize)> {
    let policy = asked.policy?;
    if place.of_subset() {
        let (key, subset) = policy.subset(asked.subset)?;
        let (_, rule) = policy.parts.iter().find(|(other, _)| other == key)?;
        let at = rule.spec.subsets.iter().position(|it| it.name == subset.name)?;
        return Some((key.clone(), at));
    }
    policy.parts.iter().find(|(_, rule)| rule.spec.traffic_policy.is_some()).map(|(key, _)| (key.clone(), 0))
}

/// Name of the credential, and the credential itself where it is of use. A name that is not sent with anything keeps the
/// destination from being spoken to: a rule that asks for a certificate is never carried out without it.
fn credential(
    asked: &Asked<'_>,
    tls: &api::ClientTls,
    mutual: bool,
    key: Option<Key>,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> (String, Option<Credential>) {
    let own = asked.identity.namespace.as_str();
    let of_rule = key.as_ref().map(|it| it.namespace.as_str()).unwrap_or(own);
    let mut report = |message: String, hint: &str| {
        let diagnostic = Diagnostic::error(format!("{field}.credentialName"), message).hint(hint);
        diagnostics.extend(key.as_ref().map(|key| diagnostic.on(key)));
    };
    let Some(name) = tls.credential_name.as_deref().filter(|it| !it.is_empty()) else {
        // Files are the proxy's own matter and not read; parsing has said so.
        return (if mutual { "(files)".to_owned() } else { String::new() }, None);
    };
    let placeholder = format!("{own}/{name}");
    // A rule of another namespace must not choose which of this workload's Secrets it shows.
    if matches!(asked.identity.role, ProxyRole::Sidecar(_)) && of_rule != own {
        let message = format!("a rule of another namespace names no credential of {}", asked.identity.id());
        report(message, "put the rule into the client's namespace");
        return (placeholder, None);
    }
    let namespaces = if own == of_rule { vec![own] } else { vec![own, of_rule] };
    let needs = Needs { certificate: mutual, ca: !mutual };
    match asked.mesh.credentials.find(name, &namespaces, needs) {
        Ok(credential) => (credential.name.clone(), Some(credential)),
        Err(error) => {
            report(error.to_string(), "until it is there, nothing is sent to the destination");
            (placeholder, None)
        }
    }
}
