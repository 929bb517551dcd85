use dromon_core::config::model::{
    Destination, Host, HostPort, HttpAction, HttpRule, Protocol, Redirect, VirtualHost, WeightedDestination,
};

use super::*;

const LIFE: Duration = Duration::from_secs(900);

#[derive(Default)]
struct Index {
    hosts: BTreeMap<String, Host>,
    rules: BTreeMap<String, VirtualHost>,
}

impl Index {
    fn with(mut self, name: &str, rules: Option<Vec<HttpAction>>) -> Index {
        let ports = vec![HostPort { number: 80, protocol: Protocol::Http }];
        let host = Host { name: name.into(), ports, routed: rules.is_some(), ..Host::default() };
        self.hosts.insert(name.into(), host);
        if let Some(actions) = rules {
            let http = actions.into_iter().map(|action| HttpRule { action, ..HttpRule::default() }).collect();
            self.rules.insert(name.into(), VirtualHost { name: name.into(), http, ..VirtualHost::default() });
        }
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
    fn destination(&self, _: &str) -> Option<&Destination> {
        None
    }
}

fn to(host: &str, subset: &str) -> HttpAction {
    let destination = WeightedDestination {
        host: host.into(),
        subset: subset.into(),
        port: Some(80),
        weight: 1,
        ..Default::default()
    };
    HttpAction::Route { destinations: vec![destination] }
}

fn in_use(entries: &[(Kind, &str)]) -> InUse {
    entries.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect()
}

fn needed(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_is_not_needed_for_long_is_forgotten() {
    let index = Index::default().with("a", None).with("b", None);
    let uses_of = in_use(&[(Kind::Destination, "outbound|80||a"), (Kind::Destination, "outbound|80||b")]);
    let start = Instant::now();
    let mut uses = Uses::new(LIFE, start);
    assert_eq!(uses.due(), Some(start + LIFE / 15));
    let at = |share: u32| start + LIFE / 15 * share;
    for share in 0..15 {
        assert_eq!(uses.look(&needed(&["outbound|80||b"]), &uses_of, &index, at(share)), []);
    }
    let gone = (Kind::Destination, "outbound|80||a".to_owned());
    assert_eq!(uses.look(&needed(&[]), &uses_of, &index, at(15)), [gone]);
    assert_eq!(uses.look(&needed(&["outbound|80||a"]), &uses_of, &index, at(16)), [], "needed at last");
    // What comes into use again begins anew.
    let only_b = in_use(&[(Kind::Destination, "outbound|80||b")]);
    uses.look(&needed(&["outbound|80||b"]), &only_b, &index, at(31));
    assert_eq!(uses.look(&needed(&["outbound|80||b"]), &uses_of, &index, at(32)), []);
    assert_eq!(uses.look(&needed(&["outbound|80||b"]), &uses_of, &index, at(46)), []);
    assert_eq!(uses.look(&needed(&["outbound|80||b"]), &uses_of, &index, at(47)).len(), 1);
}

#[test]
fn rules_are_needed_as_long_as_a_destination_is_or_they_answer_themselves() {
    let index = Index::default()
        .with("split", Some(vec![to("one", "v1"), to("two", "")]))
        .with("idle", Some(vec![to("three", "")]))
        .with("redirects", Some(vec![HttpAction::Redirect(Redirect::default())]))
        .with("gained", Some(vec![to("four", "")]));
    let all = [
        (Kind::VirtualHost, "split"),
        (Kind::VirtualHost, "idle"),
        (Kind::VirtualHost, "redirects"),
        (Kind::Destination, "outbound|80||gained"),
    ];
    let (all, start) = (in_use(&all), Instant::now());
    let mut uses = Uses::new(LIFE, start);
    let marked = needed(&["outbound|80||two", "outbound|80||four"]);
    uses.look(&marked, &all, &index, start);
    assert_eq!(uses.look(&marked, &all, &index, start + LIFE), [(Kind::VirtualHost, "idle".to_owned())]);
}

#[test]
fn a_life_of_zero_never_ends() {
    let (index, all) = (Index::default().with("a", None), in_use(&[(Kind::Destination, "outbound|80||a")]));
    let mut uses = Uses::new(Duration::ZERO, Instant::now());
    assert_eq!(uses.due(), None);
    assert_eq!(uses.look(&needed(&[]), &all, &index, Instant::now() + LIFE * 100), []);
}
