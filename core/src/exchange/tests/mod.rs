//! The exchange step by step, on small tables.

mod answers;
mod tries;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config::compile::{Inputs, compile};
use crate::config::model::{self, Resource};
use crate::config::snapshot::{Snapshot, Update};
use crate::config::table::Table;
use crate::rng::Rng;

const HOST: &str = "reviews.default.svc.cluster.local";

/// A request as a client sends it.
struct Sent {
    method: &'static str,
    path: &'static str,
    authority: &'static str,
    user: &'static str,
}

const GET: Sent = Sent { method: "GET", path: "/reviews/1?x=2", authority: "reviews:9080", user: "" };
const POST: Sent = Sent { method: "POST", ..GET };

impl RequestView for Sent {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn path_and_query(&self) -> &[u8] {
        self.path.as_bytes()
    }
    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }
    fn scheme(&self) -> &[u8] {
        b"http"
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "end-user" && !self.user.is_empty()).then_some(self.user.as_bytes())
    }
    fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.header(name).into_iter()
    }
}

/// A small mesh to be changed before it is compiled: one host, one rule, three endpoints.
struct Mesh {
    proxy: model::Proxy,
    host: model::Host,
    rule: model::HttpRule,
    destination: model::Destination,
    endpoints: Vec<&'static str>,
    limits: Vec<model::Limit>,
    send_rules: bool,
    send_destination: bool,
}

impl Mesh {
    fn new() -> Mesh {
        let address = "127.77.0.1:15001".parse().unwrap();
        let listener = |name: &str, kind| model::Listener::new(name, address, 9080, kind);
        let target = "127.78.0.1:9080".parse().unwrap();
        let inbound = model::ListenerKind::Inbound {
            protocol: model::Protocol::Http,
            target,
            service: None,
            pool: model::ConnectionPool::default(),
            mtls: model::MtlsMode::default(),
        };
        let tcp = model::ListenerKind::Service {
            host: HOST.to_owned(),
            port: 9080,
            protocol: model::Protocol::Tcp,
        };
        let to =
            model::WeightedDestination { host: HOST.to_owned(), ..model::WeightedDestination::default() };
        Mesh {
            proxy: model::Proxy {
                name: "sidecar~test.default".to_owned(),
                listeners: vec![
                    listener("outbound", model::ListenerKind::Outbound),
                    listener("inbound", inbound),
                    listener("tcp", tcp),
                ],
                expose_reason: true,
                ..model::Proxy::default()
            },
            host: model::Host {
                name: HOST.to_owned(),
                domains: vec!["reviews".to_owned(), HOST.to_owned()],
                ports: vec![model::HostPort { number: 9080, protocol: model::Protocol::Http }],
                routed: true,
                ..model::Host::default()
            },
            rule: model::HttpRule {
                name: "main".to_owned(),
                origin: "VirtualService/default/reviews spec.http[0]".to_owned(),
                action: model::HttpAction::Route {
                    destinations: vec![model::WeightedDestination { weight: 1, ..to }],
                },
                ..model::HttpRule::default()
            },
            destination: model::Destination {
                name: model::destination_name(9080, "", HOST),
                service: model::ServiceRef {
                    host: HOST.to_owned(),
                    name: "reviews".to_owned(),
                    namespace: "default".to_owned(),
                },
                ..model::Destination::default()
            },
            endpoints: vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"],
            limits: Vec::new(),
            send_rules: true,
            send_destination: true,
        }
    }

    fn with(change: impl FnOnce(&mut Mesh)) -> Bench {
        let mut mesh = Mesh::new();
        change(&mut mesh);
        mesh.bench()
    }

    fn bench(self) -> Bench {
        let endpoint = |address: &&str| model::Endpoint {
            address: (*address).to_owned(),
            port: 9080,
            ..model::Endpoint::default()
        };
        let endpoints = self.endpoints.iter().map(endpoint).collect();
        let mut resources = vec![Resource::Proxy(self.proxy), Resource::Host(self.host)];
        if self.send_destination {
            let name = self.destination.name.clone();
            resources.push(Resource::Endpoints(model::Endpoints { name, endpoints }));
            resources.push(Resource::Destination(self.destination));
        }
        if self.send_rules {
            let http = vec![self.rule];
            resources.push(Resource::VirtualHost(model::VirtualHost {
                name: HOST.to_owned(),
                http,
                ..model::VirtualHost::default()
            }));
        }
        if !self.limits.is_empty() {
            resources.push(Resource::RateLimit(model::RateLimit {
                name: "default/per-user".to_owned(),
                scope: model::LimitScope::Outbound { host: HOST.to_owned() },
                limits: self.limits,
            }));
        }
        let mut snapshot = Snapshot::new();
        let updates = resources.into_iter().map(|resource| Update { version: "1".to_owned(), resource });
        assert_eq!(snapshot.apply(updates, []).rejected, []);
        let answers = BTreeMap::new();
        let inputs = Inputs { version: 1, snapshot: &snapshot, answers: &answers, previous: None, seed: 1 };
        Bench { table: compile(&inputs), rng: Rng::new(5), now: Tick::from_millis(10_000) }
    }
}

/// A table and a clock to run exchanges on.
struct Bench {
    table: Arc<Table>,
    rng: Rng,
    now: Tick,
}

impl Bench {
    fn arrival(&self, listener: usize) -> Arrival {
        Arrival {
            listener,
            arrived: self.now,
            peer: "10.9.9.9:4000".parse().unwrap(),
            original_destination: None,
            absolute_form: listener == 0,
            has_body: false,
            upgrade: false,
            shard: 0,
            server_tls: None,
        }
    }

    fn begin(&mut self, sent: &Sent) -> (Exchange, Step) {
        let arrival = self.arrival(0);
        self.begin_as(sent, &arrival)
    }

    fn begin_as(&mut self, sent: &Sent, arrival: &Arrival) -> (Exchange, Step) {
        let path = sent.path.split('?').next().unwrap().as_bytes();
        let begun = Exchange::begin(&self.table, arrival, sent, path, self.now, &mut self.rng);
        begun.0.check_invariants();
        begun
    }

    fn handle(&mut self, exchange: &mut Exchange, input: Input) -> Step {
        let step = exchange.handle(input, self.now, &mut self.rng);
        exchange.check_invariants();
        step
    }

    /// Waits out a pause between tries.
    fn wait(&mut self, exchange: &mut Exchange, step: Step) -> Step {
        match step {
            Step::Wait(until) => {
                self.now = until;
                self.handle(exchange, Input::Timer)
            }
            other => other,
        }
    }

    fn destination(&self) -> Arc<crate::config::table::Destination> {
        Arc::clone(self.table.destination_named(&model::destination_name(9080, "", HOST)).unwrap())
    }

    fn active(&self) -> u32 {
        self.destination().endpoints.iter().map(|endpoint| endpoint.state.active()).sum()
    }
}

fn attempt(step: Step) -> Attempt {
    match step {
        Step::Attempt(attempt) => attempt,
        other => panic!("{other:?} is not a try"),
    }
}

fn answer(step: Step) -> Local {
    match step {
        Step::Respond(local) => local,
        other => panic!("{other:?} is not an answer"),
    }
}

fn refused() -> Input {
    failed(Reason::ConnectFailed, false)
}

fn failed(reason: Reason, request_bytes_sent: bool) -> Input {
    Input::AttemptFailed { reason, request_bytes_sent, connection_reused: false, replayable: true }
}

fn head(status: u16) -> Input {
    Input::ResponseHead { status, grpc_status: None, replayable: true }
}
