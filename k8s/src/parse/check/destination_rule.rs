//! DestinationRule.

use std::collections::HashSet;

use crate::api::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, DestinationRule, H2UpgradePolicy, LoadBalancer,
    OutlierDetection, TrafficPolicy,
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
    report.not_yet_if(
        path,
        &[("tunnel", policy.tunnel.is_some()), ("proxyProtocol", policy.proxy_protocol.is_some())],
    );
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
    if let Some(http) = pool.as_ref().and_then(|it| it.http.as_ref()) {
        let upgrades = http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade);
        let not_yet = [
            ("h2UpgradePolicy", upgrades),
            ("useClientProtocol", http.use_client_protocol == Some(true)),
            ("maxConcurrentStreams", http.max_concurrent_streams.is_some()),
            ("http2KeepAlive", http.http2_keep_alive.is_some()),
        ];
        report.not_yet_if(&format!("{path}.connectionPool.http"), &not_yet);
    }
    if let Some(outlier) = outlier {
        outlier_detection(report, &format!("{path}.outlierDetection"), outlier);
    }
    if let Some(tls) = tls.as_ref().filter(|it| it.mode != ClientTlsMode::Disable) {
        let message = format!(
            "TLS to the destination ({:?}) is not carried out yet: traffic goes in plaintext",
            tls.mode
        );
        report.warning(format!("{path}.tls.mode"), message, super::RULES_PAGE);
    }
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
