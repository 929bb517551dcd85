//! What one request costs the core, from routing to the choice of an endpoint, for the last of many hosts or rules. Run it
//! under an instruction counter that collects inside `measured`:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*measured*' --callgrind-out-file=/dev/null \
//!     target/release/examples/route_cost exact 10000 1000
//! ```
//!
//! Arguments: `hosts`, `exact` or `prefix`; how many; how many requests. `hosts` makes that many hosts of one rule each,
//! the others that many rules of one host. The requests are for the last one.

use std::sync::Arc;

use dromon_core::config::compile::{Answers, Inputs, compile};
use dromon_core::config::describe::Sample;
use dromon_core::config::model::{self, HttpAction, HttpMatch, HttpRule, Resource, StringMatch};
use dromon_core::config::snapshot::{Snapshot, Update};
use dromon_core::config::table::Table;
use dromon_core::exchange::{Arrival, Exchange, Step};
use dromon_core::rng::Rng;
use dromon_core::time::Tick;

/// Routes the request so many times.
#[inline(never)]
fn measured(table: &Table, arrival: &Arrival, request: &Sample, times: usize) {
    let path = request.path.as_bytes();
    let mut rng = Rng::new(1);
    for _ in 0..times {
        let (exchange, step) = Exchange::begin(table, arrival, request, path, Tick::ZERO, &mut rng);
        assert!(matches!(step, Step::Attempt(_)), "{step:?}");
        std::hint::black_box((exchange, step));
    }
}

fn rule(host: &str, uri: StringMatch) -> HttpRule {
    let destination = model::WeightedDestination { host: host.into(), weight: 1, ..Default::default() };
    HttpRule {
        matches: vec![HttpMatch { uri: Some(uri), ..Default::default() }],
        action: HttpAction::Route { destinations: vec![destination] },
        ..Default::default()
    }
}

fn add_host(to: &mut Vec<Resource>, name: &str, rules: Vec<HttpRule>) {
    let destination = model::destination_name(80, "", name);
    to.push(Resource::Host(model::Host {
        name: name.into(),
        ports: vec![model::HostPort { number: 80, protocol: model::Protocol::Http }],
        routed: true,
        ..Default::default()
    }));
    to.push(Resource::VirtualHost(model::VirtualHost {
        name: name.into(),
        http: rules,
        ..Default::default()
    }));
    to.push(Resource::Destination(model::Destination { name: destination.clone(), ..Default::default() }));
    let endpoint = |last: u8| model::Endpoint {
        address: format!("10.0.0.{last}"),
        port: 80,
        ..model::Endpoint::default()
    };
    to.push(Resource::Endpoints(model::Endpoints {
        name: destination,
        endpoints: vec![endpoint(1), endpoint(2)],
    }));
}

fn table(shape: &str, count: usize) -> (Arc<Table>, Sample) {
    let mut resources = vec![Resource::Proxy(model::Proxy {
        name: "sidecar~a.default".into(),
        listeners: vec![model::Listener::new(
            "outbound",
            std::net::SocketAddr::from(([127, 0, 0, 1], 15001)),
            15001,
            model::ListenerKind::Outbound,
        )],
        ..Default::default()
    })];
    let mut request = Sample::default();
    if shape == "hosts" {
        for index in 0..count {
            request.authority = format!("host-{index}.default.svc.cluster.local");
            request.path = "/".into();
            add_host(
                &mut resources,
                &request.authority,
                vec![rule(&request.authority, StringMatch::Prefix("/".into()))],
            );
        }
    } else {
        request.authority = "host.default.svc.cluster.local".into();
        // A slash ends each prefix, so that none is the start of another.
        let uri = |index: usize| match shape {
            "exact" => StringMatch::Exact(format!("/api/items/{index}")),
            _ => StringMatch::Prefix(format!("/api/items/{index}/")),
        };
        let end = if shape == "exact" { "" } else { "/details" };
        request.path = format!("/api/items/{}{end}", count - 1);
        let rules = (0..count).map(|index| rule(&request.authority, uri(index))).collect();
        add_host(&mut resources, &request.authority.clone(), rules);
    }
    let mut snapshot = Snapshot::new();
    let updates = resources.into_iter().map(|resource| Update { version: "1".into(), resource });
    let applied = snapshot.apply(updates, []);
    assert!(applied.rejected.is_empty(), "{:?}", applied.rejected);
    let answers = Answers::new();
    let inputs = Inputs { version: 1, snapshot: &snapshot, answers: &answers, previous: None, seed: 1 };
    (compile(&inputs), request)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shape, count, times] = &arguments[..] else {
        panic!("usage: route_cost hosts|exact|prefix COUNT TIMES")
    };
    let (table, request) = table(shape, count.parse().expect("COUNT"));
    let arrival = Arrival {
        listener: 0,
        arrived: Tick::ZERO,
        peer: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        original_destination: None,
        absolute_form: true,
        has_body: false,
        upgrade: false,
        shard: 0,
        server_tls: None,
    };
    measured(&table, &arrival, &request, times.parse().expect("TIMES"));
}
