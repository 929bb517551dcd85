use std::collections::BTreeMap;

use dromon_core::config::model::{ClientTls, HostPort, HttpRule, Protocol, Redirect, TcpRule, TlsRule};

use super::*;

#[derive(Default)]
struct Index {
    hosts: BTreeMap<String, Host>,
    rules: BTreeMap<String, VirtualHost>,
    destinations: BTreeMap<String, Destination>,
}

impl Index {
    fn with_host(mut self, name: &str, ports: &[u16], routed: bool) -> Index {
        let ports = ports.iter().map(|&number| HostPort { number, protocol: Protocol::Http }).collect();
        self.hosts.insert(name.into(), Host { name: name.into(), ports, routed, ..Host::default() });
        self
    }

    fn with_rules(mut self, name: &str, http: Vec<HttpRule>, tcp: Vec<TcpRule>) -> Index {
        self.rules
            .insert(name.into(), VirtualHost { name: name.into(), http, tcp, ..VirtualHost::default() });
        self
    }
}

impl Known for Index {
    fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }
    fn virtual_host(&self, name: &str) -> Option<&VirtualHost> {
        self.rules.get(name)
    }
    fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.get(name)
    }
}

fn to(host: &str, subset: &str, port: Option<u16>) -> WeightedDestination {
    WeightedDestination { host: host.into(), subset: subset.into(), port, weight: 1, ..Default::default() }
}

fn route(destinations: Vec<WeightedDestination>) -> HttpRule {
    HttpRule { action: HttpAction::Route { destinations }, ..HttpRule::default() }
}

fn named(interest: &Interest, kind: Kind) -> Vec<&str> {
    match interest.wanted(kind) {
        Wanted::All => vec!["*"],
        Wanted::Named(names) => names.iter().map(String::as_str).collect(),
    }
}

fn rules_in_use(names: &[&str]) -> InUse {
    names.iter().map(|name| (Kind::VirtualHost, (*name).to_owned())).collect()
}

#[test]
fn a_gateway_wants_everything() {
    let interest = Interest::of(Role::Gateway, &rules_in_use(&[]), &Index::default());
    assert!(Kind::ALL.iter().all(|&kind| *interest.wanted(kind) == Wanted::All));
}

#[test]
fn an_idle_sidecar_wants_the_index_and_no_bodies() {
    let index = Index::default().with_host("reviews", &[9080], true);
    let interest = Interest::of(Role::Sidecar, &rules_in_use(&[]), &index);
    for kind in [Kind::Proxy, Kind::Host, Kind::RateLimit] {
        assert_eq!(named(&interest, kind), ["*"]);
    }
    for kind in [Kind::VirtualHost, Kind::Destination, Kind::Endpoints] {
        assert!(named(&interest, kind).is_empty(), "{kind:?}");
    }
}

#[test]
fn a_host_without_rules_needs_the_destination_of_the_port_in_use() {
    let index = Index::default().with_host("details", &[80, 9080], false);
    let in_use = InUse::from([(Kind::Destination, "outbound|9080||details".to_owned())]);
    let interest = Interest::of(Role::Sidecar, &in_use, &index);
    assert!(named(&interest, Kind::VirtualHost).is_empty());
    assert_eq!(named(&interest, Kind::Destination), ["outbound|9080||details"]);
    assert_eq!(named(&interest, Kind::Destination), named(&interest, Kind::Endpoints));
}

#[test]
fn a_host_in_use_that_gains_rules_or_loses_them_stays_in_use() {
    let index = Index::default().with_host("details", &[9080], true);
    let in_use = InUse::from([(Kind::Destination, "outbound|9080||details".to_owned())]);
    let gained = Interest::of(Role::Sidecar, &in_use, &index);
    assert_eq!(named(&gained, Kind::VirtualHost), ["details"]);
    assert_eq!(named(&gained, Kind::Destination), ["outbound|9080||details"]);
    let index = Index::default().with_host("reviews", &[80, 9080], false);
    let lost = Interest::of(Role::Sidecar, &rules_in_use(&["reviews"]), &index);
    assert!(named(&lost, Kind::VirtualHost).is_empty());
    assert_eq!(named(&lost, Kind::Destination), ["outbound|80||reviews", "outbound|9080||reviews"]);
}

#[test]
fn rules_bring_the_destinations_they_name_once_they_are_known() {
    let index = Index::default().with_host("reviews", &[9080], true);
    let first = Interest::of(Role::Sidecar, &rules_in_use(&["reviews"]), &index);
    assert_eq!(named(&first, Kind::VirtualHost), ["reviews"]);
    assert!(named(&first, Kind::Destination).is_empty());
    let index = index.with_rules(
        "reviews",
        vec![
            route(vec![to("reviews", "v1", None), to("reviews", "v2", Some(9080))]),
            HttpRule { action: HttpAction::Redirect(Redirect::default()), ..HttpRule::default() },
        ],
        vec![TcpRule { destinations: vec![to("mongo", "", Some(27017))], ..TcpRule::default() }],
    );
    let second = Interest::of(Role::Sidecar, &rules_in_use(&["reviews"]), &index);
    assert_eq!(
        named(&second, Kind::Endpoints),
        ["outbound|27017||mongo", "outbound|9080|v1|reviews", "outbound|9080|v2|reviews"]
    );
}

#[test]
fn a_host_that_left_the_index_is_wanted_no_more() {
    let interest = Interest::of(Role::Sidecar, &rules_in_use(&["gone"]), &Index::default());
    assert!(named(&interest, Kind::VirtualHost).is_empty());
}

#[test]
fn a_sidecar_wants_the_credentials_that_its_destinations_name() {
    let mut index = Index::default().with_host("a", &[443], false).with_host("b", &[443], false);
    for (host, credential) in [("a", "default/client"), ("b", "")] {
        let name = destination_name(443, "", host);
        let tls = Some(ClientTls { credential: credential.into(), ..ClientTls::default() });
        index.destinations.insert(name.clone(), Destination { name, tls, ..Destination::default() });
    }
    let interest = Interest::of(Role::Sidecar, &rules_in_use(&["b"]), &index);
    assert_eq!(named(&interest, Kind::Credential), [""; 0]);
    let interest = Interest::of(Role::Sidecar, &rules_in_use(&["a", "b"]), &index);
    assert_eq!(named(&interest, Kind::Credential), ["default/client"]);
}

#[test]
fn tls_rules_bring_their_destinations_into_use() {
    let mut index = Index::default().with_host("a", &[443], true).with_rules("a", vec![], vec![]);
    let rules = index.rules.get_mut("a").expect("just put there");
    rules.tls = vec![TlsRule { destinations: vec![to("b", "", None)], ..TlsRule::default() }];
    let interest = Interest::of(Role::Sidecar, &rules_in_use(&["a"]), &index);
    assert_eq!(named(&interest, Kind::Destination), ["outbound|443||b"]);
}
