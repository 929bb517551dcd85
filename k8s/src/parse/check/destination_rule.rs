//! DestinationRule.

use std::collections::HashSet;

use dromon_core::limits::H2_PING_INTERVAL_MS_MIN;

use crate::api::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, DestinationRule, LoadBalancer, OutlierDetection, TrafficPolicy,
};

use super::Report;

/// Looks a DestinationRule over.
pub fn check(report: &mut Report, spec: &DestinationRule) {
    report.host("spec.host".to_owned(), &spec.host);
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(report, "spec.trafficPolicy", policy);
    }
    let mut seen = HashSet::new();
    for (at, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{at}]");
        if subset.name.is_empty() {
            report.error(format!("{path}.name"), "the subset has no name", "routes choose it by its name");
        } else if !seen.insert(&subset.name) {
            report.error(
                format!("{path}.name"),
                format!("`{}` is defined twice", subset.name),
                "rename one of them",
            );
        }
        if subset.labels.is_empty() {
            report.warning(
                format!("{path}.labels"),
                "without labels it is the whole host",
                "give the labels it stands for",
            );
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(report, &format!("{path}.trafficPolicy"), policy);
        }
    }
}

fn traffic_policy(report: &mut Report, path: &str, policy: &TrafficPolicy) {
    parts(
        report,
        path,
        (&policy.load_balancer, &policy.connection_pool, &policy.outlier_detection, &policy.tls),
    );
    for (at, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{at}]");
        match port.port {
            None => report.error(format!("{path}.port"), "the port is missing", "as in `port: {number: 80}`"),
            Some(selector) => report.port(format!("{path}.port.number"), selector.number),
        }
        parts(
            report,
            &path,
            (&port.load_balancer, &port.connection_pool, &port.outlier_detection, &port.tls),
        );
    }
    report.not_yet_if(path, &[("tunnel", policy.tunnel.is_some())]);
    if let Some(proxy_protocol) = &policy.proxy_protocol
        && !matches!(proxy_protocol.version.as_str(), "" | "V1" | "V2")
    {
        let message = format!("`{}` is not a version of the PROXY protocol", proxy_protocol.version);
        report.error(format!("{path}.proxyProtocol.version"), message, "V1 or V2");
    }
    if let Some(budget) = &policy.retry_budget {
        let path = format!("{path}.retryBudget");
        if let Some(percent) = budget.percent {
            report.share(format!("{path}.percent"), percent);
        }
        report.not_yet_if(&path, &[("budgetInterval", budget.budget_interval.is_some())]);
    }
}

type Parts<'a> = (
    &'a Option<LoadBalancer>,
    &'a Option<ConnectionPool>,
    &'a Option<OutlierDetection>,
    &'a Option<ClientTls>,
);

fn parts(report: &mut Report, path: &str, (balancer, pool, outlier, tls): Parts<'_>) {
    if let Some(balancer) = balancer {
        load_balancer(report, &format!("{path}.loadBalancer"), balancer);
    }
    let pings = pool.as_ref().and_then(|it| it.http.as_ref()?.http2_keep_alive?.interval);
    if pings.is_some_and(|it| (1..H2_PING_INTERVAL_MS_MIN).contains(&it.millis())) {
        let message = "servers take more than a ping a second for abuse: one a second is sent";
        report.warning(
            format!("{path}.connectionPool.http.http2KeepAlive.interval"),
            message,
            "1s at the least",
        );
    }
    if let Some(outlier) = outlier {
        outlier_detection(report, &format!("{path}.outlierDetection"), outlier);
    }
    if let Some(tls) = tls {
        client_tls(report, &format!("{path}.tls"), tls);
    }
}

fn client_tls(report: &mut Report, path: &str, tls: &ClientTls) {
    let outside = matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual);
    let named = tls.credential_name.as_ref().is_some_and(|it| !it.is_empty());
    if tls.mode == ClientTlsMode::Mutual && !named {
        let files = tls.client_certificate.is_some() || tls.private_key.is_some();
        let (message, hint) = match files {
            true => (
                "the certificate is not read from files: nothing is sent to the destination",
                "put it into a Secret and name that in `credentialName`",
            ),
            false => ("mode MUTUAL needs a certificate", "name a Secret with `tls.crt` and `tls.key`"),
        };
        match files {
            true => report.warning(format!("{path}.clientCertificate"), message, hint),
            false => report.error(format!("{path}.credentialName"), message, hint),
        }
    }
    if tls.ca_certificates.as_deref().is_some_and(|it| outside && !named && it != "system") {
        let message = "CAs are not read from files: the system's are used";
        report.warning(
            format!("{path}.caCertificates"),
            message,
            "put them into a Secret and name that in `credentialName`",
        );
    }
    let ignored = [
        ("credentialName", named),
        ("insecureSkipVerify", tls.insecure_skip_verify == Some(true)),
        ("clientCertificate", tls.client_certificate.is_some()),
        ("privateKey", tls.private_key.is_some()),
        ("caCertificates", tls.ca_certificates.is_some()),
    ];
    for (name, _) in ignored.iter().filter(|(_, is_set)| *is_set && !outside) {
        let message = format!("`{name}` has no effect in mode {:?}", tls.mode);
        report.warning(format!("{path}.{name}"), message, "the mesh's own certificates are used");
    }
    if tls.insecure_skip_verify == Some(true) && outside {
        let message = "any certificate is taken, whoever shows it";
        report.warning(format!("{path}.insecureSkipVerify"), message, "name the CAs in `credentialName`");
    }
    if let Some(sni) = tls.sni.as_ref().filter(|it| !it.is_empty()) {
        report.host(format!("{path}.sni"), sni);
    }
    report.not_yet_if(path, &[("caCrl", tls.ca_crl.is_some())]);
}

fn load_balancer(report: &mut Report, path: &str, balancer: &LoadBalancer) {
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        report.error(path, "`simple` and `consistentHash` exclude each other", "keep one of them");
    }
    let not_yet = [
        ("consistentHash", balancer.consistent_hash.is_some()),
        (
            "localityLbSetting",
            balancer.locality_lb_setting.as_ref().is_some_and(|it| it.enabled != Some(false)),
        ),
        ("warmup", balancer.warmup.is_some()),
        ("warmupDurationSecs", balancer.warmup_duration_secs.is_some()),
        ("zoneAwareLbSetting", balancer.zone_aware_lb_setting.is_some()),
    ];
    report.not_yet_if(path, &not_yet);
}

fn outlier_detection(report: &mut Report, path: &str, outlier: &OutlierDetection) {
    let shares = [
        ("maxEjectionPercent", outlier.max_ejection_percent),
        ("minHealthPercent", outlier.min_health_percent),
    ];
    for (name, value) in shares {
        if let Some(value) = value {
            report.share(format!("{path}.{name}"), f64::from(value));
        }
    }
    for (name, value) in [("interval", outlier.interval), ("baseEjectionTime", outlier.base_ejection_time)] {
        if value.is_some_and(|it| it.millis() == 0) {
            report.error(format!("{path}.{name}"), "must be at least 1ms", "leave it out for the default");
        }
    }
    if outlier.consecutive_errors.is_some() {
        let message = "`consecutiveErrors` is the old name of `consecutiveGatewayErrors` and is read as that";
        report.warning(
            format!("{path}.consecutiveErrors"),
            message,
            "use `consecutive5xxErrors` or `consecutiveGatewayErrors`",
        );
    }
}
