//! Tables drawn at random: one small mesh, changed again and again.

use std::collections::BTreeMap;
use std::sync::Arc;

use dromon_core::config::compile::{Inputs, compile};
use dromon_core::config::model::*;
use dromon_core::config::snapshot::{Snapshot, Update};
use dromon_core::config::table::Table;
use dromon_core::rng::Rng;

/// Hosts of the mesh.
pub const HOSTS: usize = 3;
/// Addresses that a host's endpoints are drawn from.
pub const ADDRESSES: u32 = 6;
/// Listeners of the proxy, by place.
pub const OUTBOUND: usize = 0;
pub const INBOUND: usize = 1;
pub const TCP: usize = 2;

/// The name of a host.
pub fn host(number: usize) -> String {
    format!("h{number}.default.svc.cluster.local")
}

/// A mesh whose configuration can be drawn anew.
pub struct Mesh {
    snapshot: Snapshot,
    version: u64,
    table: Option<Arc<Table>>,
}

impl Mesh {
    pub fn new(rng: &mut Rng) -> Mesh {
        let mut mesh = Mesh { snapshot: Snapshot::new(), version: 0, table: None };
        let mut first: Vec<Resource> = vec![proxy(rng)];
        for number in 0..HOSTS {
            first.extend([index(number), destination(number, rng), endpoints(number, rng)]);
            // Some rules come only when they are asked for.
            if rng.below(3) > 0 {
                first.push(rules(number, rng));
            }
        }
        mesh.apply(first);
        mesh
    }

    /// Draws a few objects anew and compiles the next table.
    pub fn change(&mut self, rng: &mut Rng) -> Arc<Table> {
        let mut changed = Vec::new();
        for number in 0..HOSTS {
            if rng.below(3) == 0 {
                changed.push(destination(number, rng));
            }
            if rng.below(2) == 0 {
                changed.push(endpoints(number, rng));
            }
            if rng.below(2) == 0 {
                changed.push(rules(number, rng));
            }
        }
        if rng.below(4) == 0 {
            changed.push(limit(rng));
        }
        self.apply(changed)
    }

    pub fn table(&self) -> Arc<Table> {
        Arc::clone(self.table.as_ref().expect("compiled"))
    }

    fn apply(&mut self, resources: Vec<Resource>) -> Arc<Table> {
        self.version += 1;
        let version = self.version.to_string();
        let updates = resources.into_iter().map(|resource| Update { version: version.clone(), resource });
        let applied = self.snapshot.apply(updates, []);
        assert_eq!(applied.rejected, [], "the generator draws only valid objects");
        let table = compile(&Inputs {
            version: self.version,
            snapshot: &self.snapshot,
            answers: &BTreeMap::new(),
            previous: self.table.as_deref(),
            seed: 7,
        });
        self.table = Some(Arc::clone(&table));
        table
    }
}

fn proxy(rng: &mut Rng) -> Resource {
    let listener = |name: &str, port: u16, kind| {
        Listener::new(name, format!("127.77.0.1:{port}").parse().unwrap(), 80, kind)
    };
    let inbound = ListenerKind::Inbound {
        protocol: Protocol::Http,
        target: "127.78.0.1:9080".parse().unwrap(),
        service: None,
        pool: pool(rng),
        mtls: Default::default(),
    };
    let tcp = ListenerKind::Service { host: host(0), port: 80, protocol: Protocol::Tcp };
    Resource::Proxy(Proxy {
        name: "sidecar~simulated.default".to_owned(),
        listeners: vec![
            listener("outbound", 15001, ListenerKind::Outbound),
            listener("inbound/9080", 9080, inbound),
            listener("service/h0:80", 7080, tcp),
        ],
        outbound_policy: if rng.below(2) == 0 {
            OutboundPolicy::AllowAny
        } else {
            OutboundPolicy::RegistryOnly
        },
        ..Proxy::default()
    })
}

fn index(number: usize) -> Resource {
    Resource::Host(Host {
        name: host(number),
        domains: vec![host(number)],
        ports: vec![HostPort { number: 80, protocol: Protocol::Http }],
        routed: true,
        ..Host::default()
    })
}

fn maybe<T>(rng: &mut Rng, draw: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    (rng.below(2) == 0).then(|| draw(rng))
}

fn seldom<T>(rng: &mut Rng, draw: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    (rng.below(5) == 0).then(|| draw(rng))
}

fn pool(rng: &mut Rng) -> ConnectionPool {
    ConnectionPool {
        max_connections: seldom(rng, |rng| 1 + rng.below(20)),
        connect_timeout_ms: maybe(rng, |rng| 1 + rng.below_u64(500)),
        http1_max_pending_requests: seldom(rng, |rng| 1 + rng.below(6)),
        http2_max_requests: seldom(rng, |rng| 1 + rng.below(20)),
        max_retries: seldom(rng, |rng| rng.below(4)),
        ..ConnectionPool::default()
    }
}

fn destination(number: usize, rng: &mut Rng) -> Resource {
    let balancers = [Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Random];
    let outlier = maybe(rng, |rng| Outlier {
        consecutive_5xx: rng.below(4),
        consecutive_gateway: rng.below(4),
        split_local: rng.below(2) == 0,
        consecutive_local: 1 + rng.below(3),
        interval_ms: 1 + rng.below_u64(2_000),
        base_ejection_ms: 1 + rng.below_u64(5_000),
        max_ejection_percent: rng.below(101),
        min_health_percent: [0, 0, 50, 100][rng.below(4) as usize],
    });
    Resource::Destination(Destination {
        name: destination_name(80, "", &host(number)),
        balancer: balancers[rng.below(3) as usize],
        pool: pool(rng),
        outlier,
        retry_budget: RetryBudget { percent: rng.below(60), min_concurrency: rng.below(6) },
        ..Destination::default()
    })
}

fn endpoints(number: usize, rng: &mut Rng) -> Resource {
    let mut list = Vec::new();
    let equal = rng.below(2) == 0;
    for address in 1..=ADDRESSES {
        if rng.below(4) > 0 {
            list.push(Endpoint {
                address: format!("10.0.{number}.{address}"),
                port: 9080,
                weight: if equal { 1 } else { 1 + rng.below(9) },
                draining: rng.below(10) == 0,
                ..Endpoint::default()
            });
        }
    }
    Resource::Endpoints(Endpoints { name: destination_name(80, "", &host(number)), endpoints: list })
}

fn retries(rng: &mut Rng) -> Retries {
    let on = RetryOn {
        server_error: rng.below(3) == 0,
        gateway_error: rng.below(3) == 0,
        reset: rng.below(3) == 0,
        connect_failure: rng.below(2) == 0,
        refused_stream: rng.below(2) == 0,
        retriable_4xx: rng.below(3) == 0,
        statuses: if rng.below(3) == 0 { vec![418] } else { Vec::new() },
        grpc: Vec::new(),
    };
    Retries {
        attempts: rng.below(6),
        per_try_timeout_ms: maybe(rng, |rng| 1 + rng.below_u64(300)),
        on,
        backoff_ms: maybe(rng, |rng| 1 + rng.below_u64(60)),
        allow_previous_hosts: rng.below(3) == 0,
    }
}

fn rules(number: usize, rng: &mut Rng) -> Resource {
    let rule = |path: &str, rng: &mut Rng| {
        let fault = maybe(rng, |rng| FaultRule {
            delay: Some(FaultDelay { delay_ms: 1 + rng.below_u64(800), per_million: 200_000 }),
            abort: Some(FaultAbort { status: 555, per_million: 100_000 }),
        });
        let mut destinations = Vec::new();
        for other in 0..HOSTS {
            if other == number || rng.below(4) == 0 {
                let (host, port, weight) = (host(other), Some(80), 1 + rng.below(3));
                destinations.push(WeightedDestination {
                    host,
                    port,
                    weight,
                    ..WeightedDestination::default()
                });
            }
        }
        let uri = StringMatch::Prefix(path.to_owned());
        HttpRule {
            name: format!("{number}{path}"),
            matches: vec![HttpMatch { uri: Some(uri), ..HttpMatch::default() }],
            action: HttpAction::Route { destinations },
            timeout_ms: maybe(rng, |rng| 1 + rng.below_u64(1_500)),
            retries: maybe(rng, retries),
            fault,
            ..HttpRule::default()
        }
    };
    let http = vec![rule("/a", rng), rule("/b", rng)];
    Resource::VirtualHost(VirtualHost { name: host(number), http, ..VirtualHost::default() })
}

fn limit(rng: &mut Rng) -> Resource {
    let limit = Limit { requests: 1 + rng.below_u64(50), unit_ms: 1_000, ..Limit::default() };
    Resource::RateLimit(RateLimit {
        name: "default/simulated".to_owned(),
        scope: LimitScope::Outbound { host: host(1) },
        limits: vec![limit],
    })
}
