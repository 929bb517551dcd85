use std::collections::BTreeMap;
use std::sync::Arc;

use dromon_core::config::model::{HttpAction, Kind, VirtualHost};
use dromon_k8s::diagnostic::Diagnostic;

use super::Store;
use crate::local::{Gateway, Local, Port, Workload};
use crate::source::folder::{Batch, Change, FileState};

const GATEWAY: &str = "gateway~gateway.default";

fn batch(files: &[(&str, Option<&str>)]) -> Batch {
    let state = |text: &Option<&str>| match text {
        Some(text) => FileState::Text(Arc::from(*text)),
        None => FileState::Removed,
    };
    let changes =
        files.iter().map(|(file, text)| Change { file: (*file).to_owned(), state: state(text) }).collect();
    Batch { changes, notes: Vec::new() }
}

fn local(ready: bool) -> Local {
    Local {
        revision: 1,
        gateway: Some(Gateway {
            name: "gateway".into(),
            namespace: "default".into(),
            bind: [127, 0, 0, 1].into(),
            ports: [(80, 8081)].into(),
            refused_below: 0,
            admin: None,
        }),
        workloads: vec![Workload {
            name: "app-v1".into(),
            namespace: "default".into(),
            labels: [("app".to_owned(), "app".to_owned()), ("version".to_owned(), "v1".to_owned())].into(),
            service_account: "default".into(),
            sidecar: [127, 77, 0, 2].into(),
            application: [127, 78, 0, 2].into(),
            ports: vec![Port { name: "http".into(), number: 9080 }],
            ready,
            admin: None,
            mtls: false,
            captured: false,
        }],
        service_ports: BTreeMap::new(),
        service_addresses: BTreeMap::new(),
    }
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec: {ports: [{name: http, port: 9080}], selector: {app: app}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec:
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

fn route(subset: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: default}}
spec:
  hosts: ['*']
  gateways: [front]
  http: [{{route: [{{destination: {{host: app, subset: '{subset}'}}}}]}}]
"
    )
}

fn subsets(names: &[&str]) -> String {
    let subsets: String =
        names.iter().map(|name| format!("  - {{name: {name}, labels: {{version: {name}}}}}\n")).collect();
    format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app, namespace: default}}
spec:
  host: app
  subsets:
{subsets}"
    )
}

/// A store as a running controller has it.
fn store(files: &[(&str, Option<&str>)]) -> Store {
    let (mut store, _) = Store::new(&batch(files), &BTreeMap::new());
    store.apply_local(local(true));
    store.rebuild();
    store
}

fn change(store: &mut Store, files: &[(&str, Option<&str>)]) -> Vec<Diagnostic> {
    let found = store.apply_folder(&batch(files));
    store.rebuild();
    found
}

/// The subset that the gateway's only route leads to; none without a route.
fn subset(store: &mut Store) -> Option<String> {
    let view = store.view(GATEWAY).expect("the gateway is known");
    let (_, body) = view.all(Kind::VirtualHost).next()?;
    let host: VirtualHost = serde_json::from_slice(&body.value).expect("a virtual host");
    match &host.http.first()?.action {
        HttpAction::Route { destinations } => destinations.first().map(|it| it.subset.clone()),
        _ => None,
    }
}

#[test]
fn a_view_has_what_files_and_the_run_say() {
    let mut store = store(&[("a.yaml", Some(SERVICE)), ("b.yaml", Some(&route("")))]);
    let view = store.view(GATEWAY).expect("known");
    let (_, proxy) = view.all(Kind::Proxy).next().expect("one proxy");
    assert!(String::from_utf8_lossy(&proxy.value).contains("127.0.0.1:8081"), "the mapped port is opened");
    let endpoints = |store: &mut Store| {
        let view = store.view(GATEWAY).expect("known");
        let found: Vec<String> =
            view.all(Kind::Endpoints).map(|(_, body)| String::from_utf8_lossy(&body.value).into()).collect();
        found.join("\n")
    };
    let ready = endpoints(&mut store);
    assert!(ready.contains("127.77.0.2") && !ready.contains("\"draining\":true"), "{ready}");
    store.apply_local(local(false));
    store.rebuild();
    let unready = endpoints(&mut store);
    assert!(!unready.contains("127.77.0.2") || unready.contains("\"draining\":true"), "{unready}");
    assert!(store.view("sidecar~app-v1.default").is_some());
    assert!(store.view("sidecar~stranger.default").is_none());
}

#[test]
fn a_file_that_turns_broken_or_empty_keeps_its_objects_until_it_is_removed() {
    let mut store = store(&[("a.yaml", Some(SERVICE)), ("b.yaml", Some(&route("")))]);
    for text in ["kind: [broken", "", "# nothing\n"] {
        let found = change(&mut store, &[("b.yaml", Some(text))]);
        assert!(subset(&mut store).is_some(), "{text:?}");
        assert!(found.iter().any(|it| it.file == "b.yaml"), "{text:?} is reported: {found:?}");
        assert!(change(&mut store, &[]).is_empty(), "once");
    }
    change(&mut store, &[("b.yaml", None)]);
    assert_eq!(subset(&mut store), None);
}

#[test]
fn a_refused_object_keeps_its_last_good_version_and_takes_nothing_else_with_it() {
    let both = subsets(&["v1"]) + "---" + &route("v1");
    let mut store = store(&[("a.yaml", Some(SERVICE)), ("b.yaml", Some(&both))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v1"));
    let bad = subsets(&["v1", "v2"]) + "---" + &route("v2").replace("hosts: ['*']", "hosts: 7");
    let found = change(&mut store, &[("b.yaml", Some(&bad))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v1"), "the last good route");
    assert!(found.iter().any(|it| it.object == "VirtualService/default/app"), "{found:?}");
    let good = subsets(&["v1", "v2"]) + "---" + &route("v2");
    change(&mut store, &[("b.yaml", Some(&good))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v2"));
}

#[test]
fn a_route_waits_for_the_subset_that_it_names() {
    let files = [("a.yaml", Some(SERVICE)), ("dr.yaml", Some(subsets(&["v1"]).leak() as &str))];
    let mut store = store(&files);
    change(&mut store, &[("vs.yaml", Some(&route("v1")))]);
    change(&mut store, &[("vs.yaml", Some(&route("v2")))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v1"), "v2 does not exist yet");
    assert_eq!(store.held().len(), 1, "and that is known: {:?}", store.held());
    change(&mut store, &[("dr.yaml", Some(&subsets(&["v1", "v2"])))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v2"));
    assert!(store.held().is_empty());
}

#[test]
fn a_route_that_never_was_whole_is_in_force_as_it_is() {
    let mut store = store(&[("a.yaml", Some(SERVICE)), ("vs.yaml", Some(&route("v1")))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v1"));
    assert_eq!(store.broken().len(), 1);
    // Nor does it wait for an old version whose destinations are gone as well.
    change(&mut store, &[("dr.yaml", Some(&subsets(&["v1"])))]);
    assert!(store.broken().is_empty());
    let elsewhere = SERVICE.replace("name: app,", "name: elsewhere,");
    change(&mut store, &[("a.yaml", Some(&elsewhere)), ("vs.yaml", Some(&route("v2")))]);
    assert_eq!(subset(&mut store).as_deref(), Some("v2"));
}

#[test]
fn a_route_and_its_subset_that_break_together_both_stay() {
    let dr = subsets(&["v1"]);
    let mut store =
        store(&[("a.yaml", Some(SERVICE)), ("dr.yaml", Some(&dr)), ("vs.yaml", Some(&route("v1")))]);
    change(&mut store, &[("dr.yaml", Some(&subsets(&["v2"]))), ("vs.yaml", Some(&route("v3")))]);
    assert_eq!((subset(&mut store).as_deref(), endpoints(&mut store, "v1")), (Some("v1"), 1));
    assert_eq!((store.held().len(), store.kept().len()), (1, 1));
    change(&mut store, &[("vs.yaml", Some(&route("v2")))]);
    assert_eq!((subset(&mut store).as_deref(), store.kept().len()), (Some("v2"), 0));
}

#[test]
fn a_restart_changes_nothing_that_is_in_force() {
    let dr = subsets(&["v1"]);
    let mut store =
        store(&[("a.yaml", Some(SERVICE)), ("dr.yaml", Some(&dr)), ("vs.yaml", Some(&route("v1")))]);
    let now = [
        ("a.yaml", Some("kind: [broken")),
        ("dr.yaml", Some(dr.as_str())),
        ("vs.yaml", Some(route("v2").leak() as &str)),
    ];
    change(&mut store, &now);
    assert_eq!(subset(&mut store).as_deref(), Some("v1"));
    let saved = store.last_good();
    assert_eq!(saved.keys().map(String::as_str).collect::<Vec<_>>(), ["a.yaml", "vs.yaml"]);
    let (mut again, _) = Store::new(&batch(&now), &saved);
    again.apply_local(local(true));
    again.rebuild();
    assert_eq!(subset(&mut again).as_deref(), Some("v1"));
    let (before, after) = (store.view(GATEWAY).unwrap(), again.view(GATEWAY).unwrap());
    assert!(before.same_as(&after), "so that proxies are sent nothing");
}

#[test]
fn one_object_in_two_files_is_one_object() {
    let dr = subsets(&["v1", "v2"]);
    let mut store = store(&[
        ("a.yaml", Some(SERVICE)),
        ("dr.yaml", Some(&dr)),
        ("vs-1.yaml", Some(&route("v1"))),
        ("vs-2.yaml", Some(&route("v2"))),
    ]);
    assert_eq!(subset(&mut store).as_deref(), Some("v2"), "as if the files had been applied in order");
    change(&mut store, &[("vs-2.yaml", None)]);
    assert_eq!(subset(&mut store).as_deref(), Some("v1"), "the other comes into its own");
}

/// How many endpoints the gateway has of a subset; the only one there is is of version v1.
fn endpoints(store: &mut Store, subset: &str) -> usize {
    let view = store.view(GATEWAY).expect("the gateway is known");
    let name = format!("outbound|9080|{subset}|app.default.svc.cluster.local");
    let Some(body) = view.get(Kind::Endpoints, &name) else { return 0 };
    let found: dromon_core::config::model::Endpoints =
        serde_json::from_slice(&body.value).expect("endpoints");
    found.endpoints.len()
}

#[test]
fn a_subset_that_is_taken_away_stays_until_no_route_names_it() {
    let both = subsets(&["v1", "v2"]);
    let files =
        [("a.yaml", Some(SERVICE)), ("dr.yaml", Some(both.as_str())), ("vs.yaml", Some(&route("v1")))];
    for taken in [Some(subsets(&["v2"])), None] {
        let mut store = store(&files);
        assert_eq!(endpoints(&mut store, "v1"), 1);
        change(&mut store, &[("dr.yaml", taken.as_deref())]);
        assert_eq!(
            (subset(&mut store).as_deref(), endpoints(&mut store, "v1")),
            (Some("v1"), 1),
            "{taken:?}"
        );
        assert!(store.broken().is_empty() && store.held().is_empty());
        let [kept] = store.kept() else { panic!("{:?}", store.kept()) };
        assert_eq!(
            kept.to_string(),
            "DestinationRule/default/app: subset v1 of app.default.svc.cluster.local"
        );
        assert!(kept.routes.iter().any(|key| key.to_string() == "VirtualService/default/app"), "{kept:?}");
        // What else changes is in force at once, and another version of the route does not lose it.
        change(&mut store, &[("vs.yaml", Some(&route("v1").replace("name: app", "name: renamed")))]);
        assert_eq!((endpoints(&mut store, "v1"), store.kept().len()), (1, 1));
        change(&mut store, &[("vs.yaml", Some(&route("")))]);
        assert_eq!((endpoints(&mut store, "v1"), store.kept().len()), (0, 0), "{taken:?}");
        // And it is not known any more.
        change(&mut store, &[("vs.yaml", Some(&route("v1")))]);
        assert_eq!((endpoints(&mut store, "v1"), store.held().len()), (0, 1), "the route waits as any other");
    }
}

#[test]
fn a_kept_subset_is_as_it_was_last_and_comes_back_as_it_is_defined() {
    let dr = subsets(&["v1"]);
    let mut store =
        store(&[("a.yaml", Some(SERVICE)), ("dr.yaml", Some(&dr)), ("vs.yaml", Some(&route("v1")))]);
    let wrong = dr.replace("labels: {version: v1}", "labels: {version: v9}");
    change(&mut store, &[("dr.yaml", Some(&wrong))]);
    assert_eq!(endpoints(&mut store, "v1"), 0, "a changed definition is in force");
    change(&mut store, &[("dr.yaml", Some(&dr))]);
    change(&mut store, &[("dr.yaml", None)]);
    assert_eq!(endpoints(&mut store, "v1"), 1, "the last one");
    // The same host is spoken of by another rule: the subset is laid over it.
    let other = subsets(&["v2"]).replace("name: app", "name: other");
    change(&mut store, &[("other.yaml", Some(&other))]);
    assert_eq!((endpoints(&mut store, "v1"), store.kept().len()), (1, 1));
    // Its own rule speaks of another host now.
    change(
        &mut store,
        &[("dr.yaml", Some(&dr.replace("host: app", "host: elsewhere"))), ("other.yaml", None)],
    );
    assert_eq!((endpoints(&mut store, "v1"), store.kept().len()), (1, 1));
    change(&mut store, &[("dr.yaml", Some(&wrong))]);
    assert_eq!((endpoints(&mut store, "v1"), store.kept().len()), (0, 0));
}

#[test]
fn a_restart_keeps_a_subset_that_was_taken_away() {
    let dr = subsets(&["v1"]);
    let mut store =
        store(&[("a.yaml", Some(SERVICE)), ("dr.yaml", Some(&dr)), ("vs.yaml", Some(&route("v1")))]);
    change(&mut store, &[("dr.yaml", None)]);
    let saved = store.last_good();
    assert_eq!(saved.keys().map(String::as_str).collect::<Vec<_>>(), ["dr.yaml"]);
    let now = [("a.yaml", Some(SERVICE)), ("vs.yaml", Some(route("v1").leak() as &str))];
    let (mut again, _) = Store::new(&batch(&now), &saved);
    again.apply_local(local(true));
    again.rebuild();
    let (before, after) = (store.view(GATEWAY).unwrap(), again.view(GATEWAY).unwrap());
    assert!(before.same_as(&after), "so that proxies are sent nothing");
    assert_eq!(again.kept().len(), 1);
}

/// A route that delegates to a VirtualService of that name.
fn delegating(to: &str) -> String {
    route("").replace("route: [{destination: {host: app, subset: ''}}]", &format!("delegate: {{name: {to}}}"))
}

/// A VirtualService to delegate to.
fn leaf(name: &str, subset: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec:
  http: [{{route: [{{destination: {{host: app, subset: '{subset}'}}}}]}}]
"
    )
}

#[test]
fn delegated_routes_wait_for_subsets_as_others_do() {
    let files = [
        ("a.yaml", Some(SERVICE)),
        ("dr.yaml", Some(subsets(&["v1"]).leak() as &str)),
        ("leaf.yaml", Some(leaf("leaf", "v1").leak() as &str)),
        ("vs.yaml", Some(delegating("leaf").leak() as &str)),
    ];
    let mut first = store(&files);
    assert_eq!(subset(&mut first).as_deref(), Some("v1"));
    change(&mut first, &[("leaf.yaml", Some(&leaf("leaf", "v2")))]);
    assert_eq!(subset(&mut first).as_deref(), Some("v1"), "the delegated routes wait");
    assert_eq!(first.held().len(), 1, "{:?}", first.held());
    change(&mut first, &[("dr.yaml", Some(&subsets(&["v1", "v2"])))]);
    assert_eq!(subset(&mut first).as_deref(), Some("v2"));
    // What delegates to routes that were never whole, or to nothing, waits as well.
    let mut second = store(&files);
    change(&mut second, &[("other.yaml", Some(&leaf("other", "v2")))]);
    for to in ["other", "nothing"] {
        change(&mut second, &[("vs.yaml", Some(&delegating(to)))]);
        assert_eq!(subset(&mut second).as_deref(), Some("v1"), "{to}");
        assert!(second.held().keys().any(|key| key.name == "app"), "{to}: {:?}", second.held());
    }
    // A subset of delegated routes that is taken away stays.
    let mut third = store(&files);
    change(&mut third, &[("dr.yaml", None)]);
    assert_eq!((endpoints(&mut third, "v1"), third.kept().len()), (1, 1));
}

#[test]
fn a_credential_that_a_proxy_lacks_is_told_of_once() {
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: default}
spec: {hosts: [api.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api, namespace: default}
spec: {host: api.example, trafficPolicy: {tls: {mode: MUTUAL, credentialName: of-client}}}
";
    let mut store = store(&[("a.yaml", Some(SERVICE)), ("api.yaml", Some(entry))]);
    assert!(store.view_diagnostics().is_empty(), "nobody is connected who could be concerned");
    for proxy in ["sidecar~app-v1.default", GATEWAY] {
        store.view(proxy).expect("a view");
        let told = store.view_diagnostics();
        let told: Vec<_> = told.iter().map(|it| (it.object.as_str(), it.message.as_str())).collect();
        assert_eq!(
            told,
            [("DestinationRule/default/api", "there is no Secret `of-client` in default")],
            "{proxy}"
        );
    }
    store.retain_views(&[]);
    assert!(store.view_diagnostics().is_empty());
}

#[test]
fn what_a_route_lacks_stays_known_while_others_change() {
    let named = |name: &str, host: &str| {
        route("")
            .replace("name: app,", &format!("name: {name},"))
            .replace("host: app,", &format!("host: {host},"))
    };
    let (lost, other) = (named("lost", "nowhere"), named("other", "app"));
    let mut store = store(&[("a.yaml", Some(SERVICE)), ("lost.yaml", Some(&lost)), ("o.yaml", Some(&other))]);
    let broken = |store: &Store| store.broken().keys().map(|key| key.name.clone()).collect::<Vec<_>>();
    assert_eq!(broken(&store), ["lost"]);
    // Routes alone: nothing else is looked at.
    change(&mut store, &[("o.yaml", Some(&other.replace("front", "back")))]);
    assert_eq!(broken(&store), ["lost"]);
    change(&mut store, &[("second.yaml", Some(&named("second", "nowhere")))]);
    assert_eq!(broken(&store), ["lost", "second"]);
    change(&mut store, &[("lost.yaml", Some(&named("lost", "app")))]);
    assert_eq!(broken(&store), ["second"]);
    // What was whole is held from now on.
    change(&mut store, &[("lost.yaml", Some(&lost))]);
    assert_eq!(broken(&store), ["second"]);
    assert_eq!(store.held().keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["lost"]);
    change(&mut store, &[("lost.yaml", None), ("second.yaml", None)]);
    assert!(broken(&store).is_empty() && store.held().is_empty(), "{:?}", store.held());
    // One that is gone was whole in vain: the next of its name is a new one.
    change(&mut store, &[("lost.yaml", Some(&lost))]);
    assert_eq!((broken(&store), store.held().len()), (vec!["lost".to_owned()], 0));
}
