use std::sync::Arc;

use dromon_core::config::model::{Destination, Endpoint, Endpoints, Host, Kind, Resource, VirtualHost};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse, Status};

use super::session::Session;
use super::view::{Pool, View};

fn host(name: &str, domain: &str) -> Resource {
    Resource::Host(Host { name: name.into(), domains: vec![domain.into()], ..Host::default() })
}

fn destination(name: &str) -> Resource {
    Resource::Destination(Destination { name: name.into(), ..Destination::default() })
}

fn endpoints(name: &str, port: u16) -> Resource {
    let endpoint = Endpoint { address: "10.0.0.1".into(), port, ..Endpoint::default() };
    Resource::Endpoints(Endpoints { name: name.into(), endpoints: vec![endpoint] })
}

fn virtual_host(name: &str) -> Resource {
    Resource::VirtualHost(VirtualHost { name: name.into(), ..VirtualHost::default() })
}

fn view(version: u64, resources: &[Resource]) -> Arc<View> {
    Arc::new(View::build(version, resources, None, &mut Pool::default()).expect("serializes"))
}

fn subscribe(session: &mut Session, kind: Kind, names: &[&str]) {
    let request = DeltaRequest {
        type_url: kind.type_url().into(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaRequest::default()
    };
    session.handle(request).expect("accepted");
}

fn answer(session: &mut Session, response: &DeltaResponse, error: Option<&str>) -> usize {
    let request = DeltaRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: error.map(|message| Status { code: 3, message: message.into() }),
        ..DeltaRequest::default()
    };
    session.handle(request).expect("accepted").len()
}

/// `kind +name … -name …` of each response.
fn told(responses: &[DeltaResponse]) -> Vec<String> {
    responses
        .iter()
        .map(|response| {
            let kind = Kind::from_type_url(&response.type_url).expect("a type of ours");
            let mut words = vec![format!("{kind:?}")];
            words.extend(response.resources.iter().map(|it| format!("+{}", it.name)));
            words.extend(response.removed_resources.iter().map(|name| format!("-{name}")));
            words.join(" ")
        })
        .collect()
}

#[test]
fn what_is_referred_to_comes_first_and_goes_last() {
    let mut session = Session::default();
    for kind in Kind::ALL {
        subscribe(&mut session, kind, &["*"]);
    }
    let all =
        [host("a", "a"), virtual_host("a"), destination("outbound|80||a"), endpoints("outbound|80||a", 1)];
    let told_first = told(&session.push(&view(1, &all)));
    assert_eq!(
        told_first,
        [
            "Endpoints +outbound|80||a",
            "Destination +outbound|80||a",
            "VirtualHost +a",
            "Host +a",
            "Credential",
            "Proxy",
            "RateLimit"
        ],
        "and an empty answer says that there is nothing more of a kind"
    );
    assert_eq!(
        told(&session.push(&view(2, &[]))),
        ["Host -a", "VirtualHost -a", "Destination -outbound|80||a", "Endpoints -outbound|80||a"]
    );
    assert!(session.push(&view(3, &[])).is_empty());
}

#[test]
fn only_what_changed_travels() {
    let mut session = Session::default();
    subscribe(&mut session, Kind::Host, &["*"]);
    session.push(&view(1, &[host("a", "a"), host("b", "b")]));
    assert_eq!(told(&session.push(&view(2, &[host("a", "a"), host("b", "b2")]))), ["Host +b"]);
    assert!(session.push(&view(3, &[host("a", "a"), host("b", "b2")])).is_empty());
}

#[test]
fn names_are_served_as_asked_and_absent_ones_are_told_once() {
    let mut session = Session::default();
    subscribe(&mut session, Kind::VirtualHost, &["a", "c"]);
    let first = view(1, &[virtual_host("a"), virtual_host("b")]);
    assert_eq!(told(&session.push(&first)), ["VirtualHost +a", "VirtualHost -c"]);
    assert!(session.push(&first).is_empty());
    let second = view(2, &[virtual_host("a"), virtual_host("b"), virtual_host("c")]);
    assert_eq!(told(&session.push(&second)), ["VirtualHost +c"]);
    let request = DeltaRequest {
        type_url: Kind::VirtualHost.type_url().into(),
        resource_names_subscribe: vec!["b".into()],
        resource_names_unsubscribe: vec!["a".into()],
        ..DeltaRequest::default()
    };
    session.handle(request).unwrap();
    assert_eq!(told(&session.push(&second)), ["VirtualHost +b"]);
    assert!(
        told(&session.push(&view(3, &[virtual_host("b"), virtual_host("c")]))).is_empty(),
        "a is not wanted"
    );
}

#[test]
fn subscribing_again_sends_again() {
    let mut session = Session::default();
    subscribe(&mut session, Kind::Destination, &["d"]);
    let only = view(1, &[destination("d")]);
    session.push(&only);
    subscribe(&mut session, Kind::Destination, &["d"]);
    assert_eq!(told(&session.push(&only)), ["Destination +d"]);
}

#[test]
fn a_proxy_that_reconnects_is_sent_the_difference() {
    let before = view(1, &[host("a", "a"), host("b", "b"), host("c", "c")]);
    let mut session = Session::default();
    let request = DeltaRequest {
        type_url: Kind::Host.type_url().into(),
        resource_names_subscribe: vec!["*".into()],
        initial_resource_versions: before
            .all(Kind::Host)
            .map(|(name, body)| (name.to_owned(), body.tag()))
            .collect(),
        ..DeltaRequest::default()
    };
    session.handle(request).unwrap();
    let now = view(9, &[host("a", "a"), host("b", "changed")]);
    assert_eq!(told(&session.push(&now)), ["Host +b", "Host -c"]);
}

#[test]
fn a_proxy_that_reconnects_with_everything_is_told_so() {
    let now = view(1, &[host("a", "a")]);
    let mut session = Session::default();
    let version = now.get(Kind::Host, "a").map(|body| body.tag()).unwrap();
    let request = DeltaRequest {
        type_url: Kind::Host.type_url().into(),
        resource_names_subscribe: vec!["*".into()],
        initial_resource_versions: [("a".to_owned(), version)].into(),
        ..DeltaRequest::default()
    };
    session.handle(request).unwrap();
    assert_eq!(told(&session.push(&now)), ["Host"]);
}

#[test]
fn acknowledgements_and_refusals_are_kept() {
    let mut session = Session::default();
    subscribe(&mut session, Kind::VirtualHost, &["*"]);
    let responses = session.push(&view(7, &[virtual_host("a"), virtual_host("b:80")]));
    assert_eq!(session.synced(), None);
    let refused = answer(&mut session, &responses[0], Some("VirtualHost b:80: rule 3: bad expression"));
    assert_eq!(refused, 1);
    assert_eq!(session.synced(), Some(7));
    let nack = &session.nacks()[0];
    assert_eq!((nack.name.as_str(), nack.reason.as_str()), ("b:80", "rule 3: bad expression"));
    assert_eq!(session.acked().get(&Kind::VirtualHost), None);

    let mut better = VirtualHost { name: "b:80".into(), ..VirtualHost::default() };
    better.domains.push("b".into());
    let responses = session.push(&view(8, &[virtual_host("a"), Resource::VirtualHost(better)]));
    assert_eq!(told(&responses), ["VirtualHost +b:80"], "what was refused is not sent again unchanged");
    assert_eq!(answer(&mut session, &responses[0], None), 0);
    assert!(session.nacks().is_empty());
    assert_eq!(session.acked().get(&Kind::VirtualHost).map(String::as_str), Some("8"));
}

#[test]
fn a_refused_resource_that_goes_away_is_forgotten() {
    let mut session = Session::default();
    subscribe(&mut session, Kind::VirtualHost, &["*"]);
    let responses = session.push(&view(1, &[virtual_host("a")]));
    answer(&mut session, &responses[0], Some("VirtualHost a: no"));
    session.push(&view(2, &[]));
    assert!(session.nacks().is_empty());
}

#[test]
fn large_answers_are_split() {
    let long = "x".repeat(dromon_core::limits::FEED_RESPONSE_BYTES / 2);
    let hosts: Vec<Resource> = (0..5).map(|at| host(&format!("h{at}"), &long)).collect();
    let mut session = Session::default();
    subscribe(&mut session, Kind::Host, &["*"]);
    assert_eq!(told(&session.push(&view(1, &hosts))).len(), 5);
    let small: Vec<Resource> = (0..5).map(|at| host(&format!("h{at}"), "short")).collect();
    assert_eq!(told(&session.push(&view(2, &small))).len(), 1);
}

#[test]
fn types_that_nobody_knows_are_passed_over() {
    let mut session = Session::default();
    let request = DeltaRequest { type_url: "type.dromon.io/v9.Novelty".into(), ..DeltaRequest::default() };
    assert_eq!(session.handle(request), Ok(Vec::new()));
}

#[test]
fn equal_resources_share_their_bytes_between_versions() {
    let mut pool = Pool::default();
    let first = View::build(1, &[host("a", "a"), host("b", "b")], None, &mut pool).unwrap();
    let second = View::build(2, &[host("a", "a"), host("b", "c")], Some(&first), &mut pool).unwrap();
    let bytes = |view: &View, name| view.get(Kind::Host, name).map(|body| body.value.as_ptr()).unwrap();
    assert_eq!(bytes(&first, "a"), bytes(&second, "a"));
    assert_ne!(bytes(&first, "b"), bytes(&second, "b"));
    assert!(!first.same_as(&second));
}
