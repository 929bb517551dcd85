//! `dromonctl run` by its options: where the gateway listens, which processors it has, what is said when it is ready.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;

use dromon_tests::http::get;
use dromon_tests::mesh::{Mesh, Setup};
use dromon_tests::netns::{Namespace, obstacle};
use dromon_tests::origin::Origin;
use dromon_tests::{bin, eventually, skip};

use crate::{descendants, entry, gateway, route_to, two_origins};

/// A user without rights.
const NOBODY: u32 = 65_534;

#[test]
fn the_gateway_listens_on_the_address_that_bind_gives_and_there_only() {
    let (_red, _blue, setup) = two_origins();
    // Somebody else has the port of 127.0.0.1, and with it that of every address: the run wants neither.
    let _other = TcpListener::bind(("127.0.0.1", setup.port())).expect("a free port");
    let front = SocketAddr::from(([127, 0, 0, 2], setup.port()));
    let mesh = setup.arguments(&["--bind", "127.0.0.2"]).start();
    assert_eq!(mesh.ready["listeners"], serde_json::json!([front]), "{}", mesh.ready);
    assert_eq!(get(front, "/", &[]).expect("an answer").text(), "red");
}

/// The processors that each thread of a process may run on, by the thread's name.
fn processors(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let field =
            |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
        Some((field("Name:")?, field("Cpus_allowed_list:")?))
    };
    tasks.filter_map(of).collect()
}

/// The processors of the shards of the one proxy with this id.
fn of_shards(mesh: &Mesh, id: &str) -> BTreeSet<String> {
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == id.as_bytes())
    };
    let proxies: Vec<u32> = descendants(mesh.process.pid()).into_iter().filter(is_it).collect();
    assert_eq!(proxies.len(), 1, "one proxy {id}");
    let shards = processors(proxies[0]).into_iter().filter(|(name, _)| name.starts_with("shard-"));
    shards.map(|(_, allowed)| allowed).collect()
}

#[test]
fn pin_binds_the_gateways_shards_to_processors_and_leaves_sidecars_alone() {
    let own = processors(std::process::id()).remove(0).1;
    let last = own.rsplit([',', '-']).next().expect("one processor at least").to_owned();
    let process = "---
apiVersion: run.dromon.io/v1
kind: Process
metadata: {name: ratings, namespace: default}
spec: {command: [dromon-bookinfo, ratings], ports: [{name: http, containerPort: 9080}]}
";
    for (pin, expected) in [(last.as_str(), &last), ("off", &own)] {
        let (_red, _blue, setup) = two_origins();
        let setup = setup.file("process.yaml", process);
        let mesh = setup.arguments(&["--pin", pin, "--shards", "1"]).start();
        let gateway = of_shards(&mesh, "gateway~gateway.default");
        assert_eq!(gateway, BTreeSet::from([expected.clone()]), "--pin {pin}");
        assert_eq!(of_shards(&mesh, "sidecar~ratings.default"), BTreeSet::from([own.clone()]), "--pin {pin}");
    }
}

#[test]
fn in_words_the_run_says_how_long_it_took_where_it_answers_and_what_the_gateways_note() {
    let (_red, _blue, setup) = two_origins();
    let port = setup.port();
    let noted = gateway().replace(
        "namespace: default}",
        "namespace: default, annotations: {run.dromon.io/notes: 'Open http://{gateway}/'}}",
    );
    let (mesh, line) = setup.file("gateway.yaml", &noted).start_in_words();
    let took = line.strip_prefix("ready in ").and_then(|rest| rest.split_once(" s: "));
    let (seconds, rest) = took.unwrap_or_else(|| panic!("{line}"));
    assert!(seconds.parse::<f64>().is_ok_and(|it| it > 0.0), "{line}");
    assert_eq!(rest, format!("http://127.0.0.1:{port}/"), "the link answers: {line}");
    assert_eq!(get(mesh.ingress, "/", &[]).expect("an answer").text(), "red");
    let note = format!("Open http://127.0.0.1:{port}/");
    eventually("the Gateway's note", || mesh.process.stdout().contains(&note).then_some(()));
}

#[test]
fn a_port_below_1024_that_is_refused_opens_8000_higher_and_the_run_says_so() {
    if let Some(why) = obstacle(&[]) {
        return skip("a_port_below_1024_that_is_refused_opens_8000_higher_and_the_run_says_so", &why);
    }
    let namespace = Namespace::new();
    let (red, blue) = namespace.run(|| (Origin::start("red"), Origin::start("blue")));
    let home = tempfile::tempdir().expect("a temporary folder");
    chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
    let run_dir = home.path().join("run").display().to_string();
    let setup = Setup::new()
        .file("gateway.yaml", &gateway().replace("8080", "81"))
        .file("entries.yaml", &(entry("red", &[&red]) + &entry("blue", &[&blue])))
        .file("route.yaml", &route_to("red"))
        .arguments(&["--run-dir", &run_dir]);
    let command = namespace.command_as(NOBODY, NOBODY, bin("dromonctl"));
    let mut mesh = setup.start_by(command);
    assert_eq!(mesh.ready["listeners"], serde_json::json!(["127.0.0.1:8081"]), "{}", mesh.ready);
    mesh.process.expect_stderr(&["gateway port 81 needs rights", "open at 8081", "--port-map 81:PORT"]);
    let answer = namespace.run(|| get(([127, 0, 0, 1], 8_081).into(), "/", &[]));
    assert_eq!(answer.expect("an answer").text(), "red");
    // Drained and gone before its namespace is.
    drop(mesh);
}
