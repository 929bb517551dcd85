//! Faults between the API server and the traffic, over a real API server, by the controller with the rights of an installation:
//! whatever is lost, requests through the proxies that it feeds never notice, and what was applied meanwhile is in force afterwards.

mod pace;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dromon_core::limits::FEED_BACKOFF_MS_MIN;
use dromon_tests::eventually;
use dromon_tests::kube::controller::{SYSTEM, define};
use dromon_tests::kube::pod::Who;
use serde_json::{Value, json};
use world::{World, route, virtual_service};

/// Bytes of the API server's after which connections end: within the handshake, within lists of a few objects and after them,
/// within events of watches, within long lists.
const CUTS: [usize; 12] = [1, 700, 1_500, 2_200, 2_600, 3_200, 4_500, 6_500, 9_000, 15_000, 30_000, 80_000];
/// How long connections are waited for to be cut, where most say less than that.
const CUT_WAIT: Duration = Duration::from_millis(1_500);

#[test]
fn traffic_never_notices() {
    let Some(mut world) = World::start() else { return };
    world.changes(1);
    world.under_load("the API server crashes and is compacted", crash);
    world.under_load("the watch is cut at every point", cut_everywhere);
    world.under_load("definitions go and come back", definitions_go);
    world.under_load("two fight over the Lease, and Secrets are deleted", fight);
    world.under_load("replicas are killed", replica_killed);
}

/// The API server is gone for a while, and so is the history of what happened since it was last heard of: watches are told 410 and
/// list anew.
fn crash(world: &mut World) {
    world.apply(&route("doomed", 1));
    world.carries("doomed.example", Some(1));
    // Nobody hears of these.
    world.api.cut_after(Some(1));
    world.api.cut_all();
    world.kube.kubectl().delete(&route("doomed", 1));
    world.apply(&route("moving", 2));
    world.kube.kill();
    world.kube.compact();
    for replica in &mut world.replicas {
        replica.process.expect_stderr(&["the API server cannot be asked"]);
    }
    world.kube.restart();
    world.api.cut_after(None);
    world.carries("moving.example", Some(2));
    world.carries("doomed.example", None);
}

/// Each time something comes, changes and goes.
fn cut_everywhere(world: &mut World) {
    for (at, bytes) in CUTS.into_iter().enumerate() {
        let before = world.api.cuts();
        world.api.cut_after(Some(bytes));
        world.api.cut_all();
        world.apply(&(route(&format!("cut-{at}"), at) + &route("moving", 100 + at)));
        if at > 0 {
            world.kube.kubectl().delete(&route(&format!("cut-{}", at - 1), 0));
        }
        let since = Instant::now();
        // A list is longer than most of these; what is longer than everything that is said is waited for in vain.
        while world.api.cuts() < before + 6 && since.elapsed() < CUT_WAIT {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    world.api.cut_after(None);
    world.api.cut_all();
    eprintln!("{} connections were cut", world.api.cuts());
    assert!(world.api.cuts() > 3 * CUTS.len(), "hardly anything was cut");
    let last = CUTS.len() - 1;
    world.carries(&format!("cut-{last}.example"), Some(last));
    world.carries("moving.example", Some(100 + last));
    for at in 0..last {
        world.carries(&format!("cut-{at}.example"), None);
    }
}

/// Kinds with objects in force, of both dialects: their objects go with them, others stay.
fn definitions_go(world: &mut World) {
    world.apply(&virtual_service("one", 1));
    world.carries("one.istio.example", Some(1));
    let names = ["virtualservices.networking.istio.io", "destinationrules.networking.istio.io"];
    world.kube.kubectl().run(&[&["delete", "crd"][..], &names].concat());
    world.carries("one.istio.example", None);
    world.changes(200);
    define(&world.kube, "istio.yaml", names[0]);
    world.apply(&virtual_service("two", 2));
    world.carries("two.istio.example", Some(2));
    world.carries("one.istio.example", None);
}

/// The Lease is given to another replica again and again, so that two believe to hold it at times, while Secrets of an account and
/// of the CA are deleted by hand.
fn fight(world: &mut World) {
    let kubectl = world.kube.kubectl().clone();
    let secret = |name: &str, key: &str, before: &str| {
        kubectl.wait(&["secret", name, "-n", SYSTEM], |it| {
            it["data"][key].as_str().filter(|now| *now != before).map(str::to_owned)
        })
    };
    let names: Vec<String> = world
        .replicas
        .iter()
        .zip(["one", "two", "three"])
        .map(|(it, name)| format!("{name}_{}", it.process.pid()))
        .collect();
    let root = secret("dromon-ca", "ca.crt", "");
    let key = secret("dromon.dromon-gateway", "key.pem", "");
    for turn in 0..8 {
        let to = json!({"spec": {"holderIdentity": &names[turn % 3]}}).to_string();
        kubectl.run(&["patch", "lease", "dromon-controller", "-n", SYSTEM, "--type", "merge", "-p", &to]);
        match turn {
            2 => drop(kubectl.run(&["delete", "secret", "dromon.dromon-gateway", "-n", SYSTEM])),
            4 => drop(kubectl.run(&["delete", "secret", "dromon-ca", "-n", SYSTEM])),
            _ => world.changes(300 + turn),
        }
    }
    eventually("one to lead", || (world.replicas.iter().filter(|it| it.leads()).count() == 1).then_some(()));
    assert_eq!(secret("dromon-ca", "ca.crt", ""), root, "the CA comes back as it was");
    let new = secret("dromon.dromon-gateway", "key.pem", &key);
    let renewed = world.replicas.iter().map(|it| it.page("/certs")["roots"].clone()).collect::<Vec<_>>();
    assert!(renewed.iter().all(|it| *it == renewed[0]), "{renewed:?}");
    // What is in the Secret now is good for the feed, from every replica.
    for (proxy, (pod, address)) in world.proxies.iter().zip(world::PODS) {
        proxy.mount(&world.kube, Who::gateway(pod, address));
    }
    world.feed.cut_all();
    world.changes(310);
    assert_eq!(secret("dromon.dromon-gateway", "key.pem", ""), new, "it was made once");
}

/// How long a proxy may be without the feed, as the median of several.
const OUTAGE_MAX: Duration = Duration::from_secs(1);

/// Proxies that took the feed of a replica that is killed are answered by another within a second, from the kill on.
fn replica_killed(world: &mut World) {
    let mut outages = Vec::new();
    for name in ["four", "five", "six"] {
        outages.extend(outages_of_a_kill(world, name));
        world.changes(400 + outages.len());
    }
    outages.sort_unstable();
    // Four tries fall into it, whichever of them meets a replica that lives.
    let pauses: u64 = (0..4).map(|doubled| FEED_BACKOFF_MS_MIN << doubled).sum();
    assert!(u128::from(pauses) < OUTAGE_MAX.as_millis(), "{pauses} ms");
    let median = outages[outages.len() / 2];
    assert!(median < OUTAGE_MAX, "without the feed for {outages:?}");
}

/// Kills the replica that has most streams, and puts another, `name`, in its place: how long after the kill each of its proxies was
/// answered by one of the other two. On a machine that others keep busy, by the share of it that this test gets.
fn outages_of_a_kill(world: &mut World, name: &str) -> Vec<Duration> {
    let streams = world.streams();
    let (busiest, count) = streams.iter().max_by_key(|(_, count)| **count).expect("replicas");
    assert!(*count > 0, "{streams:?}");
    let many = |it: &Value| it["streams"].as_u64().unwrap_or_default();
    let before: Vec<u64> = world.proxies.iter().map(|it| many(&it.feed())).collect();
    let waits = pace::stretch();
    let killed = Instant::now();
    world.replicas[*busiest].process.signal(9);
    let (mut back, mut said, mut crowds) = (BTreeMap::new(), Vec::new(), Vec::new());
    eventually("all streams of it to be opened again", || {
        crowds.push(pace::crowd());
        for (at, proxy) in world.proxies.iter().enumerate() {
            let feed = proxy.feed();
            let is_back =
                feed["connected"] == true && many(&feed) > before[at] && feed["lastOutageMs"].is_u64();
            if is_back && !back.contains_key(&at) {
                back.insert(at, killed.elapsed());
                said.push(feed["lastOutageMs"].clone());
            }
        }
        (back.len() == *count).then_some(())
    });
    let crowd = crowds.iter().sum::<f64>() / crowds.len() as f64;
    let stretch = waits.max(pace::stretch()).max(crowd);
    eprintln!("of {streams:?}, replica {busiest} was killed; proxies were answered after {back:?}");
    eprintln!("they say {said:?} ms; everything takes {stretch:.1} times as long as alone");
    world.replicas[*busiest].process.wait();
    world.replace(*busiest, name);
    back.into_values().map(|it| it.div_f64(stretch)).collect()
}
