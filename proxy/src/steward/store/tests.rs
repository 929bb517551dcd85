use dromon_core::config::model::{
    Destination, Endpoints, HostPort, HttpAction, HttpMatch, HttpRule, Protocol, Role, StringMatch,
    WeightedDestination,
};

use super::*;

fn update(version: &str, resource: Resource) -> Update {
    Update { version: version.into(), resource }
}

fn host(name: &str, routed: bool) -> Resource {
    let ports = vec![HostPort { number: 80, protocol: Protocol::Http }];
    let domains = vec![name.to_owned()];
    Resource::Host(Host { name: name.into(), domains, ports, routed, ..Host::default() })
}

fn rules_of(name: &str, to: &str, matches: Vec<HttpMatch>) -> Resource {
    let destinations = vec![WeightedDestination { host: to.into(), weight: 1, ..Default::default() }];
    let rule = HttpRule { action: HttpAction::Route { destinations }, matches, ..HttpRule::default() };
    let origins = vec![format!("VirtualService/default/{name}")];
    Resource::VirtualHost(VirtualHost {
        name: name.into(),
        http: vec![rule],
        origins,
        ..VirtualHost::default()
    })
}

fn rules(name: &str, to: &str) -> Resource {
    rules_of(name, to, Vec::new())
}

fn broken_rules(name: &str) -> Resource {
    let uri = Some(StringMatch::Regex("(".into()));
    rules_of(name, "x", vec![HttpMatch { uri, ..HttpMatch::default() }])
}

fn destination(host: &str) -> Resource {
    Resource::Destination(Destination { name: format!("outbound|80||{host}"), ..Destination::default() })
}

fn endpoints(host: &str) -> Resource {
    Resource::Endpoints(Endpoints { name: format!("outbound|80||{host}"), ..Endpoints::default() })
}

fn using(store: &Store, hosts: &[&str]) -> Interest {
    Interest::of(
        Role::Sidecar,
        &hosts.iter().map(|name| (Kind::VirtualHost, (*name).to_owned())).collect(),
        store,
    )
}

/// What the next table is made of.
fn next(store: &mut Store) -> Vec<String> {
    let snapshot = store.start_applying();
    let of_kind = |kind: Kind| {
        snapshot.versions(kind).into_iter().map(move |(name, version)| format!("{kind:?} {name} {version}"))
    };
    let names = Kind::ALL.into_iter().flat_map(of_kind).collect();
    store.settle();
    names
}

#[test]
fn a_refused_object_leaves_the_good_one_and_everything_else() {
    let mut store = Store::default();
    let everything = Interest::everything();
    store.put(update("1", rules("a", "x")));
    assert_eq!(store.take_held(&everything, false), []);
    store.put(update("2", broken_rules("a")));
    store.put(update("2", host("a", true)));
    let refused = store.take_held(&everything, false);
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].kind, refused[0].name.as_str()), (Kind::VirtualHost, "a"));
    assert_eq!(refused[0].origins, ["VirtualService/default/a"]);
    assert_eq!(next(&mut store), ["VirtualHost a 1", "Host a 2"]);
}

#[test]
fn what_comes_while_a_table_is_applied_is_news_for_the_next() {
    let mut store = Store::default();
    let everything = Interest::everything();
    store.put(update("1", host("a", false)));
    store.take_held(&everything, false);
    assert!(store.has_news());
    store.start_applying();
    store.put(update("1", host("b", false)));
    store.take_held(&everything, false);
    store.settle();
    assert!(store.has_news(), "the table in force does not have it");
    assert!(store.in_force().0 < store.generation());
    assert_eq!(next(&mut store), ["Host a 1", "Host b 1"]);
    assert!(!store.has_news());
    store.put(update("2", host("b", false)));
    store.take_held(&everything, false);
    assert!(!store.has_news(), "another version of an equal object is no news");
}

#[test]
fn rules_stay_back_until_their_destinations_and_endpoints_are_here() {
    let mut store = Store::default();
    store.put(update("1", host("a", true)));
    store.put(update("1", rules("a", "x")));
    let interest = using(&store, &["a"]);
    store.take_held(&interest, false);
    assert_eq!(next(&mut store), ["Host a 1"]);
    store.put(update("1", destination("x")));
    store.take_held(&interest, false);
    assert_eq!(next(&mut store), ["Host a 1"], "a destination without endpoints answers nothing");
    assert!(store.is_held(Kind::VirtualHost, "a"));
    store.put(update("1", endpoints("x")));
    store.take_held(&interest, false);
    assert!(!store.has_held());
    assert_eq!(
        next(&mut store),
        ["Endpoints outbound|80||x 1", "Destination outbound|80||x 1", "VirtualHost a 1", "Host a 1"]
    );
}

#[test]
fn what_the_controller_says_is_not_there_is_not_waited_for() {
    let mut store = Store::default();
    store.put(update("1", host("a", true)));
    store.put(update("1", rules("a", "x")));
    let interest = using(&store, &["a"]);
    store.take_held(&interest, false);
    assert!(store.has_held());
    store.remove(Kind::Destination, "outbound|80||x".into());
    store.take_held(&interest, false);
    assert!(!store.has_held());
    assert!(store.snapshot().is_absent(Kind::Destination, "outbound|80||x"));
}

/// A controller drops a subset from its view when no rule names it. Rules that name it again may arrive before it does.
#[test]
fn what_was_absent_while_nobody_asked_is_waited_for_again() {
    let mut store = Store::default();
    store.put(update("1", host("a", true)));
    for name in ["x", "y"] {
        store.put(update("1", destination(name)));
        store.put(update("1", endpoints(name)));
    }
    store.put(update("1", rules("a", "x")));
    let to_x = using(&store, &["a"]);
    store.take_held(&to_x, false);
    assert!(!store.has_held());
    store.put(update("2", rules("a", "y")));
    store.remove(Kind::Destination, "outbound|80||x".into());
    store.remove(Kind::Endpoints, "outbound|80||x".into());
    let to_y = using(&store, &["a"]);
    store.ask_anew(&to_x, &to_y);
    store.take_held(&to_y, false);
    assert!(store.snapshot().is_absent(Kind::Destination, "outbound|80||x"));
    store.put(update("3", rules("a", "x")));
    let to_x = using(&store, &["a"]);
    store.ask_anew(&to_y, &to_x);
    store.take_held(&to_x, false);
    assert!(store.is_held(Kind::VirtualHost, "a"), "x may exist again");
    store.put(update("1", destination("x")));
    store.put(update("1", endpoints("x")));
    store.take_held(&to_x, false);
    assert!(!store.has_held());
}

#[test]
fn absence_of_what_nobody_wants_is_forgotten() {
    let mut store = Store::default();
    store.put(update("1", host("a", false)));
    let nothing = using(&store, &[]);
    store.remove(Kind::Destination, "outbound|80||a".into());
    store.take_held(&using(&store, &["a"]), false);
    assert!(store.snapshot().is_absent(Kind::Destination, "outbound|80||a"));
    store.forget_unwanted(&nothing);
    assert!(!store.snapshot().is_absent(Kind::Destination, "outbound|80||a"));
}

#[test]
fn a_wait_that_lasts_too_long_is_ended() {
    let mut store = Store::default();
    store.put(update("1", host("a", true)));
    store.put(update("1", rules("a", "x")));
    let interest = using(&store, &["a"]);
    store.take_held(&interest, false);
    assert!(store.has_held());
    store.take_held(&interest, true);
    assert_eq!(next(&mut store), ["VirtualHost a 1", "Host a 1"]);
}

#[test]
fn a_replacement_removes_what_it_does_not_name() {
    let mut store = Store::default();
    let everything = Interest::everything();
    store.replace(vec![update("1", host("a", false)), update("1", host("b", false))]);
    store.take_held(&everything, false);
    assert_eq!(next(&mut store), ["Host a 1", "Host b 1"]);
    store.replace(vec![update("2", host("a", false))]);
    store.take_held(&everything, false);
    assert_eq!(next(&mut store), ["Host a 2"]);
}

#[test]
fn what_is_in_force_keeps_its_destinations_until_the_new_rules_have_theirs() {
    let mut store = Store::default();
    for object in [host("a", true), rules("a", "old"), destination("old"), endpoints("old")] {
        store.put(update("1", object));
    }
    let interest = using(&store, &["a"]);
    store.take_held(&interest, false);
    let before = next(&mut store);
    store.put(update("2", rules("a", "new")));
    store.remove(Kind::Destination, "outbound|80||old".into());
    store.remove(Kind::Endpoints, "outbound|80||old".into());
    let interest = using(&store, &["a"]);
    store.take_held(&interest, false);
    store.forget_unwanted(&interest);
    assert_eq!(next(&mut store), before);
    store.put(update("2", destination("new")));
    store.put(update("2", endpoints("new")));
    store.take_held(&interest, false);
    assert_eq!(
        next(&mut store),
        ["Endpoints outbound|80||new 2", "Destination outbound|80||new 2", "VirtualHost a 2", "Host a 1"]
    );
}

#[test]
fn a_host_in_use_gains_and_loses_rules_without_a_gap() {
    let mut store = Store::default();
    for object in [host("a", false), destination("a"), endpoints("a")] {
        store.put(update("1", object));
    }
    let in_use = [(Kind::Destination, "outbound|80||a".to_owned())].into();
    let interest = Interest::of(Role::Sidecar, &in_use, &store);
    store.take_held(&interest, false);
    assert_eq!(next(&mut store).len(), 3);

    store.put(update("2", host("a", true)));
    let interest = Interest::of(Role::Sidecar, &in_use, &store);
    assert!(interest.wanted(Kind::VirtualHost).covers("a"));
    store.take_held(&interest, false);
    assert!(next(&mut store).contains(&"Host a 1".to_owned()), "its rules are not here yet");
    store.put(update("2", rules("a", "a")));
    store.take_held(&interest, false);
    assert!(next(&mut store).contains(&"Host a 2".to_owned()));

    let in_use = [(Kind::VirtualHost, "a".to_owned())].into();
    store.put(update("3", host("a", false)));
    store.remove(Kind::VirtualHost, "a".into());
    let interest = Interest::of(Role::Sidecar, &in_use, &store);
    store.take_held(&interest, false);
    store.forget_unwanted(&interest);
    assert_eq!(
        next(&mut store),
        ["Endpoints outbound|80||a 1", "Destination outbound|80||a 1", "Host a 3"],
        "the default destination was here already"
    );
}

#[test]
fn what_is_not_wanted_any_more_is_dropped() {
    let mut store = Store::default();
    store.put(update("1", host("a", false)));
    store.put(update("1", destination("a")));
    store.put(update("1", endpoints("a")));
    let interest = using(&store, &["a"]);
    store.take_held(&interest, false);
    store.forget_unwanted(&interest);
    assert_eq!(next(&mut store).len(), 3);
    let interest = using(&store, &[]);
    store.forget_unwanted(&interest);
    assert_eq!(next(&mut store), ["Host a 1"]);
}
