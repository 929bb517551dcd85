mod tls;

use std::net::SocketAddr;
use std::sync::Weak;

use proptest::prelude::*;

use super::*;
use crate::config::describe::{Sample, dump, explain};
use crate::config::model::{HttpAction, HttpMatch, HttpRule, Resource, StringMatch, WeightedDestination};
use crate::config::snapshot::Update;
use crate::exchange::Arrival;
use crate::rng::Rng;
use crate::route::{Lookup, Routed};

fn update(resource: Resource) -> Update {
    Update { version: "1".into(), resource }
}

fn proxy() -> Resource {
    let address = "127.0.0.1:15001".parse().unwrap();
    let listener = |name: &str, kind| model::Listener::new(name, address, 80, kind);
    Resource::Proxy(model::Proxy {
        name: "sidecar~a.default".into(),
        listeners: vec![
            listener("outbound", model::ListenerKind::Outbound),
            listener("gateway", model::ListenerKind::GatewayHttp),
        ],
        ..Default::default()
    })
}

fn host(name: &str, ports: &[u16], routed: bool) -> Resource {
    let port = |number: &u16| model::HostPort { number: *number, protocol: model::Protocol::Http };
    let (name, ports) = (name.into(), ports.iter().map(port).collect());
    Resource::Host(model::Host { name, ports, routed, ..Default::default() })
}

fn destination(name: &str) -> Resource {
    Resource::Destination(model::Destination { name: name.into(), ..Default::default() })
}

fn endpoints(name: &str, addresses: &[&str]) -> Resource {
    let endpoint = |address: &&str| {
        let address: SocketAddr = address.parse().unwrap();
        model::Endpoint::new(address.ip().to_string(), address.port())
    };
    Resource::Endpoints(model::Endpoints {
        name: name.into(),
        endpoints: addresses.iter().map(endpoint).collect(),
    })
}

fn rules(name: &str, paths: &[(&str, &str)]) -> Resource {
    let rule = |(path, subset): &(&str, &str)| HttpRule {
        matches: vec![HttpMatch { uri: Some(StringMatch::Prefix((*path).into())), ..Default::default() }],
        action: HttpAction::Route {
            destinations: vec![WeightedDestination {
                host: name.into(),
                subset: (*subset).into(),
                weight: 1,
                ..Default::default()
            }],
        },
        ..Default::default()
    };
    let http = paths.iter().map(rule).collect();
    Resource::VirtualHost(model::VirtualHost { name: name.into(), http, ..Default::default() })
}

struct World {
    snapshot: Snapshot,
    answers: Answers,
    table: Option<Arc<Table>>,
    version: u64,
}

impl World {
    fn new() -> World {
        World { snapshot: Snapshot::new(), answers: Answers::new(), table: None, version: 0 }
    }

    fn compile(&mut self) -> Arc<Table> {
        self.version += 1;
        let table = compile(&Inputs {
            version: self.version,
            snapshot: &self.snapshot,
            answers: &self.answers,
            previous: self.table.as_deref(),
            seed: 1,
        });
        self.table = Some(Arc::clone(&table));
        table
    }

    fn apply(&mut self, updates: impl IntoIterator<Item = Resource>) -> Arc<Table> {
        let applied = self.snapshot.apply(updates.into_iter().map(update), []);
        assert_eq!(applied.rejected, []);
        self.compile()
    }
}

fn outbound() -> Arrival {
    Arrival {
        listener: 0,
        peer: "127.0.0.1:1".parse().unwrap(),
        original_destination: None,
        absolute_form: true,
        arrived: crate::time::Tick::ZERO,
        has_body: false,
        upgrade: false,
        shard: 0,
        server_tls: None,
    }
}

fn get(authority: &str, path: &str) -> Sample {
    Sample { authority: authority.into(), path: path.into(), ..Sample::default() }
}

/// Name of the destination that a request goes to, or what happens instead.
fn goes_to(table: &Table, authority: &str, path: &str) -> String {
    match table.route(&outbound(), &get(authority, path), path.as_bytes()) {
        Routed::Rule(route) => match route.choose(table, &mut Rng::new(0)) {
            Some((Lookup::Here(it), _)) => it.model.name.clone(),
            Some((Lookup::NotLoaded(name), _)) => format!("not loaded {name}"),
            Some((Lookup::Absent(name), _)) => format!("absent {name}"),
            Some((Lookup::Refused(status, what), _)) => format!("{status} {what}"),
            None => "none".into(),
        },
        Routed::NotLoaded { host } => format!("not loaded {host}"),
        Routed::NoRoute { .. } => "no route".into(),
        Routed::UnknownHost => "unknown".into(),
        Routed::Passthrough(to) => format!("{to:?}"),
    }
}

#[test]
fn first_use_is_told_from_what_does_not_exist() {
    let mut world = World::new();
    let table = world.apply([proxy(), host("a", &[80], true), host("b", &[80, 81], false)]);
    assert_eq!(goes_to(&table, "a", "/"), "not loaded a");
    assert_eq!(goes_to(&table, "b:81", "/"), "not loaded outbound|81||b");
    assert!(goes_to(&table, "b:82", "/").contains("Name"));
    let table = world.apply([rules("a", &[("/v1", "v1"), ("/v2", "v2")]), destination("outbound|80|v1|a")]);
    // Its endpoints have not come.
    assert_eq!(goes_to(&table, "a", "/v1"), "not loaded outbound|80|v1|a");
    let table = world.apply([endpoints("outbound|80|v1|a", &["10.0.0.1:1"])]);
    assert_eq!(goes_to(&table, "A:80", "/v1"), "outbound|80|v1|a");
    assert_eq!(goes_to(&table, "a", "/v3"), "no route");
    assert_eq!(goes_to(&table, "a", "/v2"), "not loaded outbound|80|v2|a");
    world.snapshot.apply([], [(Kind::Destination, "outbound|80|v2|a".into())]);
    assert_eq!(goes_to(&world.compile(), "a", "/v2"), "absent outbound|80|v2|a");
    let json = dump(world.table.as_ref().unwrap());
    assert_eq!(json["destinations"][0]["endpoints"][0]["address"], "10.0.0.1:1");
}

#[test]
fn an_endpoint_change_touches_its_destination_only() {
    let mut world = World::new();
    let (one, two) = ("outbound|80||a", "outbound|80||b");
    let old = world.apply([
        proxy(),
        host("a", &[80], true),
        host("b", &[80], false),
        rules("a", &[("/", "")]),
        destination(one),
        destination(two),
        endpoints(one, &["10.0.0.1:1", "10.0.0.2:1"]),
        endpoints(two, &["10.0.0.1:1"]),
    ]);
    let new = world.apply([endpoints(one, &["10.0.0.2:1", "10.0.0.3:1"])]);
    let at = |table: &Arc<Table>, name| Arc::clone(table.destination_named(name).unwrap());
    assert!(Arc::ptr_eq(&old.parts.hosts, &new.parts.hosts));
    assert!(Arc::ptr_eq(old.virtual_host_named("a").unwrap(), new.virtual_host_named("a").unwrap()));
    assert!(old.listeners.iter().zip(&new.listeners).all(|(old, new)| Arc::ptr_eq(old, new)));
    assert!(Arc::ptr_eq(&old.parts.names, &new.parts.names));
    assert!(Arc::ptr_eq(&at(&old, two), &at(&new, two)));
    let (before, after) = (at(&old, one), at(&new, one));
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(Arc::ptr_eq(&before.state, &after.state));
    assert!(Arc::ptr_eq(&before.endpoints[1].state, &after.endpoints[0].state));
    assert!(!Arc::ptr_eq(&before.endpoints[0].state, &after.endpoints[1].state));
}

#[test]
fn dns_answers_become_endpoints() {
    let mut world = World::new();
    let name = "outbound|80||a";
    let endpoint = |address: &str| model::Endpoint {
        address: address.into(),
        port: 8080,
        weight: 2,
        workload: Default::default(),
        ..model::Endpoint::default()
    };
    let list =
        model::Endpoints { name: name.into(), endpoints: vec![endpoint("x.org"), endpoint("10.0.0.1")] };
    let with = |discovery| {
        Resource::Destination(model::Destination { name: name.into(), discovery, ..Default::default() })
    };
    let addresses = |table: &Table| {
        let found = &table.destination_named(name).unwrap().endpoints;
        found.iter().map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>()
    };
    let table = world.apply([proxy(), with(model::Discovery::Dns), Resource::Endpoints(list)]);
    assert_eq!(world.snapshot.dns_names().into_iter().collect::<Vec<_>>(), ["x.org"]);
    assert_eq!(addresses(&table), ["10.0.0.1:8080"]);
    world.answers.insert("x.org".into(), vec!["10.0.0.9".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
    let table = world.compile();
    assert_eq!(addresses(&table), ["10.0.0.9:8080", "10.0.0.1:8080"]);
    let again = world.compile();
    assert!(Arc::ptr_eq(table.destination_named(name).unwrap(), again.destination_named(name).unwrap()));
    let table = world.apply([with(model::Discovery::DnsRoundRobin)]);
    assert_eq!(addresses(&table), ["10.0.0.9:8080", "10.0.0.1:8080"]);

    let names =
        |world: &World| world.snapshot.dns_names_in_turn().into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(&world), Vec::from(["10.0.0.1".to_owned(), "x.org".to_owned()]));
    let only = model::Endpoints { name: name.into(), endpoints: vec![endpoint("x.org")] };
    let first = world.apply([Resource::Endpoints(only)]);
    assert_eq!(addresses(&first), ["10.0.0.9:8080"], "one answer at a time");
    world.answers.insert("x.org".into(), vec!["10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()]);
    let second = world.compile();
    assert_eq!(addresses(&second), ["10.0.0.1:8080"], "the one that DNS names first");
    let state = |table: &Table| Arc::clone(&table.destination_named(name).unwrap().endpoints[0].state);
    assert!(Arc::ptr_eq(&state(&first), &state(&second)), "it stays one endpoint");
    world.apply([with(model::Discovery::Dns)]);
    assert_eq!(names(&world), Vec::<String>::new());
}

fn limit(object: &str, requests: u64, host: &str) -> Resource {
    let limit = |requests| model::Limit { requests, unit_ms: 1_000, ..Default::default() };
    Resource::RateLimit(model::RateLimit {
        name: object.into(),
        scope: model::LimitScope::Outbound { host: host.into() },
        limits: vec![limit(requests), limit(7)],
    })
}

#[test]
fn buckets_outlive_what_does_not_concern_them() {
    let mut world = World::new();
    let first = world.apply([proxy(), host("a", &[80], false), limit("n/l", 5, "a")]);
    let second = world.apply([limit("n/l", 6, "a"), limit("n/k", 1, "b")]);
    let limits = |table: &Table| table.hosts()[0].limits.clone();
    let (before, after) = (limits(&first), limits(&second));
    assert_eq!((before.len(), after.len()), (2, 2));
    assert!(!Arc::ptr_eq(&before[0].state, &after[0].state));
    assert!(Arc::ptr_eq(&before[1].state, &after[1].state));
    let explained = explain(&second, &outbound(), &get("a", "/"));
    assert_eq!(explained.limits, ["n/l limits[0]", "n/l limits[1]"]);
}

#[test]
fn a_thousand_swaps_leave_nothing_behind() {
    let mut world = World::new();
    let name = "outbound|80||a";
    world.apply([proxy(), host("a", &[80], true), rules("a", &[("/", "")]), destination(name)]);
    let mut tables: Vec<Weak<Table>> = Vec::new();
    let mut destinations = Vec::new();
    for round in 0..1_000 {
        let address = format!("10.0.{}.{}:80", round / 250, round % 250 + 1);
        let table = world.apply([endpoints(name, &[&address])]);
        tables.push(Arc::downgrade(&table));
        destinations.push(Arc::downgrade(table.destination_named(name).unwrap()));
    }
    assert_eq!(tables.iter().filter(|it| it.upgrade().is_some()).count(), 1);
    assert_eq!(destinations.iter().filter(|it| it.upgrade().is_some()).count(), 1);
    let table = world.table.as_ref().unwrap();
    assert_eq!(table.parts.names.destinations.len(), 1);
    assert_eq!(Arc::strong_count(table.virtual_host_named("a").unwrap()), 1);
    assert_eq!(Arc::strong_count(&table.destination_named(name).unwrap().state), 1);
    // The model's objects: one in the snapshot, one in the table.
    assert_eq!(Arc::strong_count(world.snapshot.endpoints()[name].body()), 2);
}

#[test]
fn names_long_gone_give_their_slots_back() {
    let mut world = World::new();
    world.apply([proxy()]);
    for round in 0..3_000 {
        let name = format!("outbound|80||h{round}");
        world.snapshot.apply([update(destination(&name)), update(endpoints(&name, &[]))], []);
        if round > 0 {
            let last = format!("outbound|80||h{}", round - 1);
            world.snapshot.forget(Kind::Destination, &last);
            world.snapshot.forget(Kind::Endpoints, &last);
        }
        let table = world.compile();
        assert!(table.parts.names.destinations.len() < 2_000);
        assert_eq!(table.destinations().count(), 1);
    }
}

// Compiling step by step comes to the same as compiling once from the final objects.

#[derive(Clone, Debug)]
enum Edit {
    Put(Box<Resource>),
    Remove(Kind, String),
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let target = || (80u16..82, prop_oneof![Just(""), Just("v1")], name());
    let slot = move || target().prop_map(|(port, subset, host)| model::destination_name(port, subset, host));
    let address = prop_oneof![Just("10.0.0.1:1"), Just("10.0.0.2:1"), Just("10.0.0.3:1")];
    prop_oneof![
        (name(), proptest::collection::btree_set(80u16..83, 0..3), any::<bool>()).prop_map(
            |(name, ports, routed)| {
                Edit::Put(Box::new(host(name, &ports.into_iter().collect::<Vec<_>>(), routed)))
            }
        ),
        (name(), proptest::collection::vec(prop_oneof![Just(("/", "")), Just(("/v", "v1"))], 0..3))
            .prop_map(|(name, paths)| Edit::Put(Box::new(rules(name, &paths)))),
        slot().prop_map(|name| Edit::Put(Box::new(destination(&name)))),
        (slot(), proptest::collection::vec(address, 0..3))
            .prop_map(|(name, addresses)| Edit::Put(Box::new(endpoints(&name, &addresses)))),
        (1u64..3, name()).prop_map(|(requests, name)| Edit::Put(Box::new(limit("n/l", requests, name)))),
        (prop_oneof![Just(Kind::Host), Just(Kind::VirtualHost)], name())
            .prop_map(|(kind, name)| Edit::Remove(kind, name.into())),
        (prop_oneof![Just(Kind::Destination), Just(Kind::Endpoints)], slot())
            .prop_map(|(kind, name)| Edit::Remove(kind, name)),
        Just(Edit::Remove(Kind::RateLimit, "n/l".into())),
    ]
}

/// Everything that can be asked of a table, with what it answers.
fn answers(table: &Table) -> Vec<String> {
    let mut said = vec![];
    for host in ["a", "b", "c", "d"] {
        for port in 80..83 {
            for path in ["/", "/v", "/x"] {
                let authority = format!("{host}:{port}");
                said.push(goes_to(table, &authority, path));
                said.push(explain(table, &outbound(), &get(&authority, path)).to_string());
            }
        }
    }
    let mut json = dump(table);
    json["version"] = 0.into();
    let mut destinations = json["destinations"].as_array().unwrap().clone();
    destinations.sort_by_key(ToString::to_string);
    json["destinations"] = destinations.into();
    let mut rules = json["virtualHosts"].as_array().unwrap().clone();
    rules.sort_by_key(ToString::to_string);
    json["virtualHosts"] = rules.into();
    said.push(json.to_string());
    said
}

proptest! {
    #[test]
    fn step_by_step_is_as_from_scratch(edits in proptest::collection::vec(proptest::collection::vec(edit(), 1..4), 1..25)) {
        let mut world = World::new();
        world.apply([proxy()]);
        for step in edits {
            for edit in step {
                let applied = match edit {
                    Edit::Put(resource) => world.snapshot.apply([update(*resource)], []),
                    Edit::Remove(kind, name) => world.snapshot.apply([], [(kind, name)]),
                };
                prop_assert_eq!(applied.rejected, []);
            }
            let table = world.compile();
            let inputs = Inputs { version: 1, snapshot: &world.snapshot, answers: &world.answers, previous: None, seed: 1 };
            prop_assert_eq!(answers(&table), answers(&compile(&inputs)));
        }
    }
}
