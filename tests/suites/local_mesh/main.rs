//! `dromonctl run` as a platform engineer meets it: changes under load, broken input, crashes, and a clean end.

mod options;

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use dromon_tests::http::get;
use dromon_tests::load::{Load, Outcome};
use dromon_tests::mesh::{Mesh, Setup};
use dromon_tests::origin::Origin;
use dromon_tests::{eventually, free_port};
use serde_json::Value;

fn gateway() -> &'static str {
    "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}
"
}

fn entry(name: &str, origins: &[&Origin]) -> String {
    let endpoint = |it: &&Origin| {
        format!("  - {{address: {}, ports: {{http: {}}}}}\n", it.address.ip(), it.address.port())
    };
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: [{name}.local]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:
{}",
        origins.iter().map(endpoint).collect::<String>()
    )
}

fn route_to(name: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: default}}
spec:
  hosts: ['*']
  gateways: [front]
  http:
  - route:
    - destination: {{host: {name}.local, port: {{number: 80}}}}
"
    )
}

fn two_origins() -> (Origin, Origin, Setup) {
    let (red, blue) = (Origin::start("red"), Origin::start("blue"));
    let setup = Setup::new()
        .file("gateway.yaml", gateway())
        .file("entries.yaml", &(entry("red", &[&red]) + &entry("blue", &[&blue])))
        .file("route.yaml", &route_to("red"));
    (red, blue, setup)
}

fn body(mesh: &Mesh) -> String {
    get(mesh.ingress, "/", &[]).expect("an answer").text()
}

/// The controller's version, once every proxy has it.
fn in_force_everywhere(mesh: &Mesh) -> u64 {
    let controller = mesh.ready["controller"].as_str().and_then(|it| it.parse().ok()).expect("an address");
    eventually("a version everywhere", || {
        let status: Value = serde_json::from_slice(&get(controller, "/status", &[]).ok()?.body).ok()?;
        let version = status["version"].as_u64()?;
        let proxies = status["proxies"].as_array()?;
        proxies.iter().all(|it| it["synced"].as_u64() >= Some(version)).then_some(version)
    })
}

fn steady(mesh: &Mesh) -> Load {
    Load::start(mesh.ingress, 8, "/", Duration::from_millis(1), |answer| {
        let known = matches!(answer.text().as_str(), "red" | "blue");
        if answer.status == 200 && known {
            Ok(())
        } else {
            Err(format!("{} {}", answer.status, answer.text()))
        }
    })
}

fn assert_unharmed(outcome: &Outcome, least: u64) {
    assert_eq!(outcome.failures, Vec::<String>::new(), "{outcome:?}");
    assert_eq!(outcome.drained, 0, "no connection is drained because a rule changed");
    assert!(outcome.good >= least, "only {} answers", outcome.good);
}

/// Process ids of the children of `parent` with this program name.
fn children(parent: u32, program: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
            let Some((left, right)) = stat.rsplit_once(')') else { return false };
            let name = left.split_once('(').map(|(_, name)| name).unwrap_or_default();
            let parent_of = right.split_whitespace().nth(1).and_then(|it| it.parse::<u32>().ok());
            parent_of == Some(parent) && program.starts_with(name) && !name.is_empty()
        })
        .collect()
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.is_ok_and(|it| it.success()), "cannot kill {pid}");
}

#[test]
fn rules_change_under_load_without_a_failed_request_or_a_drained_connection() {
    for driver in ["io_uring", "epoll"] {
        let (red, blue, setup) = two_origins();
        let mesh = setup.arguments(&["--driver", driver, "--shards", "2"]).start();
        let load = steady(&mesh);
        for round in 0..30 {
            let name = if round % 2 == 0 { "blue" } else { "red" };
            let start = Instant::now();
            mesh.put("route.yaml", &route_to(name));
            eventually("the change to show", || (body(&mesh) == name).then_some(()));
            assert!(start.elapsed() < Duration::from_secs(2), "a change took {:?}", start.elapsed());
        }
        assert_unharmed(&load.stop(), 100);
        assert!(red.served() > 0 && blue.served() > 0);
    }
}

#[test]
fn the_controller_dies_and_comes_back_under_load() {
    let (_red, _blue, setup) = two_origins();
    let mesh = setup.start();
    let load = steady(&mesh);
    let first = children(mesh.process.pid(), "dromon-controller");
    assert_eq!(first.len(), 1, "one controller");
    kill(first[0]);
    let before = load.good();
    eventually("requests without a controller", || (load.good() > before + 100).then_some(()));
    eventually("a new controller", || {
        let now = children(mesh.process.pid(), "dromon-controller");
        (now.len() == 1 && now != first).then_some(())
    });
    mesh.put("route.yaml", &route_to("blue"));
    eventually("the new controller's rule", || (body(&mesh) == "blue").then_some(()));
    assert_unharmed(&load.stop(), 100);
}

#[test]
fn a_broken_or_empty_file_keeps_its_last_good_objects_and_is_named() {
    let (_red, _blue, setup) = two_origins();
    let mut mesh = setup.start();
    let later = |mesh: &Mesh, than: u64| {
        eventually("a later version", || Some(in_force_everywhere(mesh)).filter(|version| *version > than))
    };
    let good = in_force_everywhere(&mesh);
    mesh.put("route.yaml", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: [broken");
    mesh.process.expect_stderr(&["route.yaml", "its last good object stays in force"]);
    let broken = later(&mesh, good);
    assert_eq!(body(&mesh), "red");
    mesh.put("route.yaml", "");
    mesh.process.expect_stderr(&["route.yaml", "it has no objects any more"]);
    later(&mesh, broken);
    assert_eq!(body(&mesh), "red");
    mesh.put("route.yaml", &route_to("blue"));
    eventually("the mended file", || (body(&mesh) == "blue").then_some(()));
    mesh.remove("route.yaml");
    eventually("the removed route", || (get(mesh.ingress, "/", &[]).ok()?.status == 404).then_some(()));
}

#[test]
fn a_taken_port_is_named_and_the_rest_goes_on() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let taken_port = taken.local_addr().expect("an address").port();
    let (_red, _blue, setup) = two_origins();
    let two_ports =
        gateway().to_owned() + "  - {port: {number: 9999, name: http-taken, protocol: HTTP}, hosts: ['*']}\n";
    let setup = setup.file("gateway.yaml", &two_ports);
    let mut mesh = setup.arguments(&["--port-map", &format!("9999:{taken_port}")]).start();
    mesh.process.expect_stderr(&[&taken_port.to_string()]);
    assert_eq!(body(&mesh), "red");
}

#[test]
fn a_crashed_process_is_named_started_again_and_nothing_is_left_at_the_end() {
    let mesh = Setup::bookinfo().start();
    let parent = mesh.process.pid();
    let details = children_below(parent, "details");
    assert_eq!(details.len(), 1, "one details process");
    kill(details[0]);
    let mut mesh = mesh;
    mesh.process.expect_stderr(&["details-v1"]);
    eventually("details to be back", || {
        let page = get(mesh.ingress, "/productpage", &[]).ok()?;
        (page.status == 200 && page.text().contains("PublisherA")).then_some(())
    });
    let everyone = descendants(parent);
    assert!(everyone.len() > 12, "six processes with a sidecar each: {everyone:?}");
    mesh.process.signal(2);
    assert!(mesh.process.wait().success(), "Ctrl-C ends with 0");
    eventually("every process to be gone", || everyone.iter().all(|pid| !alive(*pid)).then_some(()));
}

#[test]
fn no_gateway_port_below_1024_is_needed_for_the_mesh_to_start() {
    let (_red, _blue, setup) = two_origins();
    let port = free_port();
    let mesh = setup
        .file("gateway.yaml", &gateway().replace("8080", "80"))
        .arguments(&["--port-map", &format!("80:{port}")])
        .start();
    let listeners = mesh.ready["listeners"].to_string();
    assert!(listeners.contains(&port.to_string()), "{listeners}");
    let address = ([127, 0, 0, 1], port).into();
    assert_eq!(get(address, "/", &[]).expect("an answer").text(), "red");
}

fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut next = 0;
    while next < found.len() {
        let tasks = fs::read_dir(format!("/proc/{}/task", found[next])).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// Descendants whose command line has this argument.
fn children_below(of: u32, argument: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(15).any(|it| it == b"dromon-bookinfo")
            && line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())
    };
    descendants(of).into_iter().filter(has).collect()
}
