use dromon_core::config::model::{
    Destination, Endpoints, HostPort, HttpAction, HttpRule, Protocol, Role, WeightedDestination,
};

use super::*;

fn object(version: &str, resource: Resource) -> Object {
    Object { version: version.into(), resource: Arc::new(resource) }
}

fn host(name: &str, routed: bool) -> Resource {
    let ports = vec![HostPort { number: 80, protocol: Protocol::Http }];
    Resource::Host(Host { name: name.into(), ports, routed, ..Host::default() })
}

fn rules(name: &str, to: &str) -> Resource {
    let destinations = vec![WeightedDestination { host: to.into(), weight: 1, ..Default::default() }];
    let rule = HttpRule { action: HttpAction::Route { destinations }, ..HttpRule::default() };
    Resource::VirtualHost(VirtualHost { name: name.into(), http: vec![rule], ..VirtualHost::default() })
}

fn destination(host: &str) -> Resource {
    Resource::Destination(Destination { name: format!("outbound|80||{host}"), ..Destination::default() })
}

fn endpoints(host: &str) -> Resource {
    Resource::Endpoints(Endpoints { name: format!("outbound|80||{host}"), ..Endpoints::default() })
}

fn using(store: &Store, hosts: &[&str]) -> Interest {
    Interest::of(Role::Sidecar, &hosts.iter().map(|name| (*name).to_owned()).collect(), store)
}

fn names(objects: &[Arc<Resource>]) -> Vec<String> {
    objects.iter().map(|object| format!("{:?} {}", object.kind(), object.name())).collect()
}

fn apply(store: &mut Store, interest: &Interest) -> Vec<String> {
    store.start_applying(interest, false);
    let names = names(&store.next_objects());
    store.settle();
    names
}

#[test]
fn a_refused_object_leaves_the_good_one_in_force() {
    let mut store = Store::default();
    let everything = Interest::everything();
    store.put(object("1", rules("a", "x")));
    apply(&mut store, &everything);
    store.put(object("2", rules("a", "y")));
    store.put(object("1", host("a", true)));
    store.start_applying(&everything, false);
    assert!(store.withdraw(&[(Kind::VirtualHost, "a".into())]));
    assert!(!store.withdraw(&[(Kind::VirtualHost, "a".into())]), "the good one cannot be withdrawn");
    assert_eq!(names(&store.next_objects()), ["VirtualHost a", "Host a"]);
    store.settle();
    assert_eq!(store.versions(Kind::VirtualHost).collect::<Vec<_>>(), [("a".into(), "1".into())]);
    assert_eq!(*store.newest(Kind::VirtualHost, "a").expect("held").resource, rules("a", "x"));
}

#[test]
fn what_comes_while_a_table_is_applied_waits_for_the_next() {
    let mut store = Store::default();
    store.put(object("1", host("a", false)));
    store.start_applying(&Interest::everything(), false);
    store.put(object("1", host("b", false)));
    store.remove(Kind::Host, "a".into());
    assert_eq!(names(&store.next_objects()), ["Host a"]);
    store.settle();
    assert!(store.has_waiting());
    assert_eq!(apply(&mut store, &Interest::everything()), ["Host b"]);
    assert!(!store.has_waiting());
}

#[test]
fn rules_stay_back_until_their_destinations_and_endpoints_are_here() {
    let mut store = Store::default();
    store.put(object("1", host("a", true)));
    store.put(object("1", rules("a", "x")));
    let interest = using(&store, &["a"]);
    assert_eq!(apply(&mut store, &interest), ["Host a"]);
    store.put(object("1", destination("x")));
    assert_eq!(apply(&mut store, &interest), ["Host a"], "a destination without endpoints answers nothing");
    assert!(store.is_waiting(Kind::VirtualHost, "a"));
    store.put(object("1", endpoints("x")));
    assert_eq!(
        apply(&mut store, &interest),
        ["Endpoints outbound|80||x", "Destination outbound|80||x", "VirtualHost a", "Host a"]
    );
    assert!(!store.is_waiting(Kind::VirtualHost, "a"));
}

#[test]
fn what_the_controller_says_is_not_there_is_not_waited_for() {
    let mut store = Store::default();
    store.put(object("1", host("a", true)));
    store.put(object("1", rules("a", "x")));
    store.remove(Kind::Destination, "outbound|80||x".into());
    let interest = using(&store, &["a"]);
    assert_eq!(apply(&mut store, &interest), ["VirtualHost a", "Host a"]);
    assert_eq!(store.all_absent(), [(Kind::Destination, "outbound|80||x".into())]);
}

#[test]
fn a_wait_that_lasts_too_long_is_ended() {
    let mut store = Store::default();
    store.put(object("1", host("a", true)));
    store.put(object("1", rules("a", "x")));
    let interest = using(&store, &["a"]);
    assert_eq!(store.start_applying(&interest, false), 1);
    assert_eq!(store.start_applying(&interest, true), 0);
    assert_eq!(names(&store.next_objects()), ["VirtualHost a", "Host a"]);
}

#[test]
fn a_replacement_removes_what_it_does_not_name_and_keeps_what_is_equal() {
    let mut store = Store::default();
    store.replace(vec![object("1", host("a", false)), object("1", host("b", false))]);
    apply(&mut store, &Interest::everything());
    let before = store.newest(Kind::Host, "a").expect("held").resource.clone();
    store.replace(vec![object("2", host("a", false))]);
    assert_eq!(apply(&mut store, &Interest::everything()), ["Host a"]);
    assert!(Arc::ptr_eq(&before, &store.newest(Kind::Host, "a").expect("held").resource));
}

#[test]
fn what_is_not_wanted_any_more_is_dropped() {
    let mut store = Store::default();
    store.put(object("1", host("a", false)));
    store.put(object("1", destination("a")));
    store.put(object("1", endpoints("a")));
    let interest = using(&store, &["a"]);
    apply(&mut store, &interest);
    assert!(!store.forget_unwanted(&interest));
    assert!(store.forget_unwanted(&using(&store, &[])));
    let interest = using(&store, &[]);
    assert_eq!(apply(&mut store, &interest), ["Host a"]);
}
