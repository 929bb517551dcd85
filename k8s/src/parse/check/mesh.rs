//! The mesh's settings and Telemetry.

use crate::api::mesh_config::{LogEncoding, MeshConfig, MeshTls};
use crate::api::telemetry::Telemetry;

use super::Report;

/// Looks the mesh's settings over.
pub fn config(report: &mut Report, spec: &MeshConfig) {
    let is_json = spec.access_log_encoding == Some(LogEncoding::Json) && !spec.access_log_format.is_empty();
    if is_json && serde_json::from_str::<serde_json::Map<_, _>>(&spec.access_log_format).is_err() {
        let message = "with encoding JSON, the format is a JSON object of names and operators";
        report.error("data.mesh.accessLogFormat", message, "as in `{\"path\": \"%REQ(:PATH)%\"}`");
    }
    for (field, domain) in std::iter::once(("trustDomain", spec.trust_domain.as_str()))
        .chain(spec.trust_domain_aliases.iter().flatten().map(|it| ("trustDomainAliases", it.as_str())))
    {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        if !domain.bytes().all(allowed) || domain.len() > 255 {
            let message = format!("`{domain}` is not a SPIFFE trust domain");
            report.error(
                format!("data.mesh.{field}"),
                message,
                "lower-case letters, digits, `.`, `-` and `_`",
            );
        }
    }
    let tracing = spec.enable_tracing == Some(true);
    let not_yet = [
        ("rootNamespace", spec.root_namespace.is_some()),
        ("defaultConfig", spec.default_config.is_some()),
        ("enableTracing", tracing),
        ("protocolDetectionTimeout", spec.protocol_detection_timeout.is_some_and(|it| it.millis() > 0)),
        ("tcpKeepalive", spec.tcp_keepalive.is_some()),
        ("dnsRefreshRate", spec.dns_refresh_rate.is_some()),
        ("localityLbSetting", spec.locality_lb_setting.is_some()),
        ("defaultProviders", spec.default_providers.is_some()),
        ("discoverySelectors", spec.discovery_selectors.is_some()),
        ("pathNormalization", spec.path_normalization.is_some()),
        ("serviceSettings", spec.service_settings.is_some()),
        ("caCertificates", spec.ca_certificates.is_some()),
        ("certificates", spec.certificates.is_some()),
        ("tlsDefaults", spec.tls_defaults.is_some()),
        ("ingressService", spec.ingress_service.is_some()),
        ("ingressSelector", spec.ingress_selector.is_some()),
        ("ingressControllerMode", spec.ingress_controller_mode.is_some()),
        ("enableEnvoyAccessLogService", spec.enable_envoy_access_log_service == Some(true)),
        ("inboundClusterStatName", spec.inbound_cluster_stat_name.is_some()),
        ("outboundClusterStatName", spec.outbound_cluster_stat_name.is_some()),
        ("hbone", spec.hbone.is_some()),
        ("configSources", spec.config_sources.is_some()),
        ("proxyListenPort", spec.proxy_listen_port.is_some_and(|it| it != 15001)),
        ("proxyInboundListenPort", spec.proxy_inbound_listen_port.is_some_and(|it| it != 15006)),
        ("proxyHttpPort", spec.proxy_http_port.is_some_and(|it| it != 0)),
    ];
    report.not_yet_if("data.mesh", &not_yet);
    if let Some(tls) = &spec.mesh_mtls {
        mesh_tls(report, tls);
    }
    for (at, provider) in spec.extension_providers.iter().enumerate() {
        if provider.envoy_file_access_log.is_none() {
            let message =
                format!("the provider `{}` is of a kind that is not carried out yet", provider.name);
            report.warning(format!("data.mesh.extensionProviders[{at}]"), message, super::RULES_PAGE);
        }
    }
    let egress_proxy = spec.outbound_traffic_policy.as_ref().is_some_and(|it| it.egress_proxy.is_some());
    report.not_yet_if("data.mesh.outboundTrafficPolicy", &[("egressProxy", egress_proxy)]);
}

fn mesh_tls(report: &mut Report, tls: &MeshTls) {
    let not_yet = [("ecdhCurves", tls.ecdh_curves.is_some()), ("cipherSuites", tls.cipher_suites.is_some())];
    report.not_yet_if("data.mesh.meshMTLS", &not_yet);
    let version = tls.min_protocol_version.as_deref().unwrap_or("TLS_AUTO");
    if !["TLS_AUTO", "TLSV1_2", "TLSV1_3"].contains(&version) {
        let message = format!("`{version}` is not a version that is spoken between sidecars");
        report.error("data.mesh.meshMTLS.minProtocolVersion", message, "TLSV1_2 or TLSV1_3");
    }
}

/// Looks a Telemetry over.
pub fn telemetry(report: &mut Report, spec: &Telemetry) {
    let not_yet = [
        ("tracing", spec.tracing.is_some()),
        ("metrics", spec.metrics.is_some()),
        ("targetRef", spec.target_ref.is_some()),
        ("targetRefs", spec.target_refs.is_some()),
    ];
    report.not_yet_if("spec", &not_yet);
    for (at, logging) in spec.access_logging.iter().enumerate() {
        let path = format!("spec.accessLogging[{at}]");
        let mode = logging.matches.as_ref().and_then(|it| it.mode.as_deref());
        let narrows = mode.is_some_and(|it| it != "CLIENT_AND_SERVER");
        report.not_yet_if(&path, &[("match", narrows), ("filter", logging.filter.is_some())]);
        if logging.providers.len() > 1 {
            let message = "one access log is written; further providers have no effect yet";
            report.warning(format!("{path}.providers[1]"), message, super::RULES_PAGE);
        }
    }
}
