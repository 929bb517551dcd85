//! `trafficPolicy`: which parts hold for a port and subset, and what they say in the model.

use dromon_core::config::model::{self, Balancer, Outlier};
use dromon_core::limits::H2_PING_INTERVAL_MS_MIN;

use crate::api::destination_rule::{
    ClientTls, ConnectionPool, H2UpgradePolicy, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget,
    SimpleLb, TrafficPolicy,
};
use crate::api::mesh_config::MeshConfig;
use crate::api::scalar::Span;

/// The parts that hold for one port of one subset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effective<'a> {
    load_balancer: Option<&'a LoadBalancer>,
    connection_pool: Option<&'a ConnectionPool>,
    outlier_detection: Option<&'a OutlierDetection>,
    retry_budget: Option<&'a RetryBudget>,
    tls: Option<(&'a ClientTls, TlsPlace)>,
    proxy_protocol: Option<&'a ProxyProtocol>,
}

/// Where TLS settings stand in a DestinationRule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsPlace {
    in_subset: bool,
    /// Position in `portLevelSettings`.
    at_port: Option<usize>,
}

impl TlsPlace {
    /// The subset's settings.
    pub fn of_subset(self) -> bool {
        self.in_subset
    }

    /// The field's path; `subset` is the subset's position in the object.
    pub fn field(self, subset: Option<usize>) -> String {
        let policy = match self.in_subset {
            true => format!("spec.subsets[{}].trafficPolicy", subset.unwrap_or_default()),
            false => "spec.trafficPolicy".to_owned(),
        };
        match self.at_port {
            Some(at) => format!("{policy}.portLevelSettings[{at}].tls"),
            None => format!("{policy}.tls"),
        }
    }
}

impl<'a> Effective<'a> {
    /// The top policy with the subset's over it; a port's settings replace all that stands above them.
    pub fn new(
        top: Option<&'a TrafficPolicy>,
        subset: Option<&'a TrafficPolicy>,
        port: u16,
    ) -> Effective<'a> {
        let mut effective = Effective::default();
        for (policy, in_subset) in [(top, false), (subset, true)] {
            let Some(policy) = policy else { continue };
            let place = TlsPlace { in_subset, at_port: None };
            effective.tls = policy.tls.as_ref().map(|it| (it, place)).or(effective.tls);
            effective.proxy_protocol = policy.proxy_protocol.as_ref().or(effective.proxy_protocol);
            effective.load_balancer = policy.load_balancer.as_ref().or(effective.load_balancer);
            effective.connection_pool = policy.connection_pool.as_ref().or(effective.connection_pool);
            effective.outlier_detection = policy.outlier_detection.as_ref().or(effective.outlier_detection);
            effective.retry_budget = policy.retry_budget.as_ref().or(effective.retry_budget);
            let of_port = |it: &&crate::api::destination_rule::PortTrafficPolicy| {
                it.port.is_some_and(|selector| selector.number == port)
            };
            let settings = policy.port_level_settings.iter().enumerate();
            if let Some((at, settings)) = { settings }.find(|(_, it)| of_port(it)) {
                let place = TlsPlace { in_subset, at_port: Some(at) };
                effective.tls = settings.tls.as_ref().map(|it| (it, place));
                effective.load_balancer = settings.load_balancer.as_ref();
                effective.connection_pool = settings.connection_pool.as_ref();
                effective.outlier_detection = settings.outlier_detection.as_ref();
            }
        }
        effective
    }

    /// How an endpoint is chosen.
    pub fn balancer(&self) -> Balancer {
        match self.load_balancer.and_then(|it| it.simple) {
            Some(SimpleLb::RoundRobin) => Balancer::RoundRobin,
            Some(SimpleLb::Random) => Balancer::Random,
            Some(SimpleLb::Passthrough) => Balancer::Passthrough,
            Some(SimpleLb::LeastRequest | SimpleLb::LeastConn | SimpleLb::Unspecified) | None => {
                Balancer::LeastRequest
            }
        }
    }

    /// Caps and times.
    pub fn pool(&self, mesh_connect_timeout: Option<Span>) -> model::ConnectionPool {
        let mut pool = self.connection_pool.map(connection_pool).unwrap_or_default();
        pool.connect_timeout_ms = pool.connect_timeout_ms.or(mesh_connect_timeout.map(Span::millis));
        pool
    }

    /// Ejection of bad endpoints, as it is written.
    pub fn outlier_detection(&self) -> Option<&'a OutlierDetection> {
        self.outlier_detection
    }

    /// Ejection of bad endpoints.
    pub fn outlier(&self) -> Option<Outlier> {
        self.outlier_detection.map(outlier)
    }

    /// TLS settings, where a rule has some.
    pub fn tls(&self) -> Option<(&'a ClientTls, TlsPlace)> {
        self.tls
    }

    /// Whether HTTP/1.1 is carried as HTTP/2; the mesh's word where the rule has none.
    pub fn h2_upgrade(&self, mesh: &MeshConfig) -> bool {
        let own = self.connection_pool.and_then(|it| it.http.as_ref()?.h2_upgrade_policy);
        match own {
            Some(H2UpgradePolicy::Upgrade) => true,
            Some(H2UpgradePolicy::DoNotUpgrade) => false,
            Some(H2UpgradePolicy::Default) | None => mesh.h2_upgrade_policy.as_deref() == Some("UPGRADE"),
        }
    }

    /// Whether requests keep the protocol that the client spoke.
    pub fn use_client_protocol(&self) -> bool {
        self.connection_pool.and_then(|it| it.http.as_ref()?.use_client_protocol) == Some(true)
    }

    /// The PROXY protocol header to send.
    pub fn proxy_protocol(&self) -> Option<model::ProxyProtocol> {
        self.proxy_protocol.map(|it| match it.version.as_str() {
            "V2" => model::ProxyProtocol::V2,
            _ => model::ProxyProtocol::V1,
        })
    }

    /// Retry budget.
    pub fn retry_budget(&self) -> model::RetryBudget {
        let default = model::RetryBudget::default();
        let Some(budget) = self.retry_budget else { return default };
        model::RetryBudget {
            percent: budget.percent.map_or(default.percent, |it| it.clamp(0.0, 100.0).round() as u32),
            min_concurrency: budget.min_retry_concurrency.unwrap_or(default.min_concurrency),
        }
    }
}

/// `connectionPool` in the model. Istio's way to say "no cap" is a field that is 0 or its type's greatest number.
pub fn connection_pool(pool: &ConnectionPool) -> model::ConnectionPool {
    let cap = |it: Option<u32>| it.filter(|it| *it != 0 && *it != u32::MAX && *it != i32::MAX as u32);
    let millis = |it: Option<Span>| it.map(Span::millis).filter(|it| *it > 0);
    let tcp = pool.tcp.clone().unwrap_or_default();
    let http = pool.http.clone().unwrap_or_default();
    model::ConnectionPool {
        max_connections: cap(tcp.max_connections),
        connect_timeout_ms: millis(tcp.connect_timeout),
        http1_max_pending_requests: cap(http.http1_max_pending_requests),
        http2_max_requests: cap(http.http2_max_requests),
        max_requests_per_connection: cap(http.max_requests_per_connection),
        max_retries: cap(http.max_retries),
        idle_timeout_ms: millis(http.idle_timeout).or(millis(tcp.idle_timeout)),
        max_connection_duration_ms: millis(tcp.max_connection_duration),
        tcp_keepalive: tcp.tcp_keepalive.map(|it| model::TcpKeepalive {
            probes: it.probes,
            time_s: it.time.map(Span::seconds).unwrap_or_default(),
            interval_s: it.interval.map(Span::seconds).unwrap_or_default(),
        }),
        max_concurrent_streams: cap(http.max_concurrent_streams),
        http2_keepalive: http.http2_keep_alive.map(|it| model::Http2Keepalive {
            interval_ms: millis(it.interval).map_or(0, |it| it.max(H2_PING_INTERVAL_MS_MIN)),
            timeout_ms: millis(it.timeout).unwrap_or_default(),
        }),
    }
}

fn outlier(detection: &OutlierDetection) -> Outlier {
    let default = Outlier::default();
    let millis =
        |it: Option<Span>, default: u64| it.map(Span::millis).filter(|it| *it > 0).unwrap_or(default);
    Outlier {
        consecutive_5xx: detection.consecutive_5xx_errors.unwrap_or(default.consecutive_5xx),
        consecutive_gateway: detection
            .consecutive_gateway_errors
            .or(detection.consecutive_errors)
            .unwrap_or(default.consecutive_gateway),
        split_local: detection.split_external_local_origin_errors,
        consecutive_local: detection.consecutive_local_origin_failures.unwrap_or(default.consecutive_local),
        interval_ms: millis(detection.interval, default.interval_ms),
        base_ejection_ms: millis(detection.base_ejection_time, default.base_ejection_ms),
        max_ejection_percent: detection
            .max_ejection_percent
            .filter(|it| *it > 0)
            .unwrap_or(default.max_ejection_percent)
            .min(100),
        min_health_percent: detection.min_health_percent.unwrap_or(default.min_health_percent).min(100),
    }
}
