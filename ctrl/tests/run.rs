//! `dromonctl run` with real processes: how they come, change and go. This test's own executable plays the application.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A run; ended when dropped.
struct Run {
    process: Child,
    ready: Value,
    errors: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
    port: u16,
}

fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A free loopback port below those that the kernel gives to outgoing connections, each only once.
fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let free = |_| {
        let turn = std::process::id().wrapping_mul(101).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 18_000 + (turn % 14_000) as u16;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    };
    (0..14_000).find_map(free).expect("a loopback port is free")
}

impl Run {
    fn start(files: &[(&str, String)], more: &[&str]) -> Option<Run> {
        let bin = PathBuf::from(env!("CARGO_BIN_EXE_dromonctl"));
        if !bin.with_file_name("dromon-proxy").exists() {
            skip("dromon-proxy is not built: run `cargo build --workspace --bins` first");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let port = free_port();
        let mut process = Command::new(bin)
            .args(["run", "-o", "json", "--port-map", &format!("8080:{port}"), "--config"])
            .arg(folder.path())
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = keep(process.stderr.take().unwrap());
        let output = keep(process.stdout.take().unwrap());
        let ready = eventually("the run to be ready", || {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "ended: {:?}", errors.lock().unwrap());
            output.lock().unwrap().first().map(|line| serde_json::from_str(line).expect("JSON"))
        });
        Some(Run { process, ready, errors, folder, port })
    }

    fn put(&self, name: &str, text: &str) {
        let hidden = self.folder.path().join(format!(".{name}"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.folder.path().join(name)).unwrap();
    }

    fn said(&self, parts: &[&str]) -> String {
        eventually(&format!("standard error to say {parts:?}"), || {
            let lines = self.errors.lock().unwrap();
            lines.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned()
        })
    }

    /// What the gateway answers.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        get(([127, 0, 0, 1], self.port).into(), path)
    }

    fn body(&self, path: &str, wanted: &str) {
        eventually(&format!("{path} to say {wanted:?}"), || {
            self.get(path).filter(|(status, body)| *status == 200 && body == wanted)
        });
    }

    fn process(&self, name: &str) -> Value {
        let all = self.ready["processes"].as_array().expect("processes").clone();
        all.into_iter().find(|process| process["name"] == name).expect("a process of that name")
    }

    /// Everything that the run has started.
    fn descendants(&self) -> Vec<u32> {
        let mut found = vec![self.process.id()];
        let mut next = 0;
        while next < found.len() {
            let tasks = fs::read_dir(format!("/proc/{}/task", found[next])).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                found.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
            }
            next += 1;
        }
        found.split_off(1)
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("TERM");
            let start = Instant::now();
            while self.process.try_wait().is_ok_and(|it| it.is_none()) && start.elapsed() < DEADLINE {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.errors.lock().unwrap().join("\n"));
        }
    }
}

fn skip(why: &str) {
    eprintln!("skipped: {why}");
    let Some(list) = std::env::var_os("DROMON_SKIPS") else { return };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
    writeln!(file, "ctrl/tests/run.rs: {why}").unwrap();
}

fn keep(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().unwrap().push(line);
        }
    });
    lines
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}

fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(pid: u64) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// What the toy is told by its environment.
const TOY: &str = "DROMON_TEST_TOY";

/// Not a test: the application of the tests below, when one of them starts this executable again.
#[test]
#[ignore = "plays the application in the other tests"]
fn toy() {
    let Ok(answer) = std::env::var(TOY) else { return };
    let bind: IpAddr = match std::env::var("TOY_BIND") {
        Ok(bind) => bind.parse().unwrap(),
        Err(_) => std::env::var("DROMON_BIND").unwrap().parse().unwrap(),
    };
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind((bind, port)).unwrap();
    println!("{answer} serves");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap_or(0);
        let head = String::from_utf8_lossy(&request[..read]).into_owned();
        let body = match head.split(' ').nth(1) {
            Some(name) if name.starts_with("/env/") => std::env::var(&name[5..]).unwrap_or("<unset>".into()),
            Some("/slow") => {
                std::thread::sleep(Duration::from_millis(700));
                answer.clone()
            }
            _ => answer.clone(),
        };
        let length = body.len();
        let _ =
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    }
}

fn process(name: &str, answer: &str, env: &[(&str, &str)]) -> String {
    let toy = std::env::current_exe().unwrap();
    let env: String = env.iter().map(|(name, value)| format!(", {name}: '{value}'")).collect();
    format!(
        "---
apiVersion: run.dromon.io/v1
kind: Process
metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}
spec:
  command: ['{}', '--ignored', '--exact', 'toy', '--nocapture']
  env: {{{TOY}: '{answer}'{env}}}
  ports: [{{name: http, containerPort: 9080}}]
  readiness: {{httpGet: {{path: /health, port: 9080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{ports: [{{name: http, port: 9080}}], selector: {{app: {name}}}}}
",
        toy.display()
    )
}

fn gateway(paths: &[(&str, &str)]) -> String {
    let rule = |(prefix, host): &(&str, &str)| {
        format!(
            "  - {{match: [{{uri: {{prefix: {prefix}}}}}], route: [{{destination: {{host: {host}}}}}]}}\n"
        )
    };
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: default}}
spec:
  servers: [{{port: {{number: 8080, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: default}}
spec:
  hosts: ['*']
  gateways: [front]
  http:
{}",
        paths.iter().map(rule).collect::<String>()
    )
}

#[test]
fn processes_are_added_changed_and_removed_while_the_mesh_runs() {
    let routes = gateway(&[("/one", "one"), ("/two", "two")]);
    let files = [("gateway.yaml", routes), ("one.yaml", process("one", "first", &[]))];
    let Some(run) = Run::start(&files, &[]) else { return };
    run.body("/one", "first");
    run.put("two.yaml", &process("two", "second", &[]));
    run.body("/two", "second");
    run.put("one.yaml", &process("one", "changed", &[]));
    run.body("/one", "changed");
    fs::remove_file(run.folder.path().join("two.yaml")).unwrap();
    run.said(&["two.default", "removed"]);
    eventually("the removed process's route to fail", || {
        run.get("/two").filter(|(status, _)| *status == 503)
    });
    run.body("/one", "changed");
}

#[test]
fn an_application_is_told_how_to_reach_the_mesh() {
    let routes = gateway(&[("/", "one")]);
    let both = process("one", "first", &[("OWN", "mine")]) + &process("two-words", "second", &[]);
    let Some(run) = Run::start(&[("gateway.yaml", routes), ("both.yaml", both)], &[]) else { return };
    let told = run.process("one.default");
    let (sidecar, application) = (told["sidecar"].as_str().unwrap(), told["application"].as_str().unwrap());
    assert_eq!(sidecar.replace("127.77.", "127.78."), application);
    let env = |name: &str| run.get(&format!("/env/{name}")).expect("an answer").1;
    let proxy = format!("http://{sidecar}:15001");
    let expected: BTreeMap<&str, &str> = [
        ("DROMON_BIND", application),
        ("PORT", "9080"),
        ("http_proxy", &proxy),
        ("HTTP_PROXY", &proxy),
        ("no_proxy", ""),
        ("NO_PROXY", ""),
        ("NODE_USE_ENV_PROXY", "1"),
        ("OWN", "mine"),
        ("TWO_WORDS_SERVICE_HOST", sidecar),
    ]
    .into();
    for (name, value) in expected {
        assert_eq!(env(name), value, "{name}");
    }
    assert!(env("JAVA_TOOL_OPTIONS").contains(&format!("-Dhttp.proxyHost={sidecar} -Dhttp.proxyPort=15001")));
    // And the listener that the variables name leads to the service.
    assert_eq!(env("TWO_WORDS_SERVICE_PORT"), env("TWO_WORDS_SERVICE_PORT_HTTP"));
    let listener = format!("{sidecar}:{}", env("TWO_WORDS_SERVICE_PORT")).parse().unwrap();
    eventually("the per-client listener", || get(listener, "/").filter(|(_, body)| body == "second"));
}

#[test]
fn a_crashed_process_leaves_the_mesh_at_once_and_comes_back() {
    let files = [("gateway.yaml", gateway(&[("/", "one")])), ("one.yaml", process("one", "first", &[]))];
    let Some(run) = Run::start(&files, &[]) else { return };
    run.body("/", "first");
    kill(run.process("one.default")["pid"].as_u64().unwrap());
    run.said(&["one.default", "ended with signal", "starting it again"]);
    run.body("/", "first");
    // The application's lines carry its name.
    run.said(&["one | first serves"]);
}

#[test]
fn an_application_that_ignores_its_address_is_a_named_error_and_gets_nothing() {
    let port = free_port().to_string();
    let stubborn =
        process("stubborn", "open", &[("TOY_BIND", "127.0.0.1"), ("PORT", &port)]).replace("9080", &port);
    let routes = gateway(&[("/one", "one"), ("/stubborn", "stubborn")]);
    let files = [("gateway.yaml", routes), ("a.yaml", process("one", "first", &[])), ("b.yaml", stubborn)];
    let Some(run) = Run::start(&files, &[]) else { return };
    run.said(&["stubborn.default", &format!("listens on 127.0.0.1:{port}"), "$DROMON_BIND"]);
    assert_eq!(run.process("stubborn.default")["ready"], false);
    run.body("/one", "first");
    assert_eq!(run.get("/stubborn").expect("an answer").0, 503);
}

#[test]
fn an_application_that_binds_every_address_is_told_which_one_is_its_own() {
    let open = process("open", "open", &[("TOY_BIND", "0.0.0.0")]);
    let files = [("gateway.yaml", gateway(&[("/", "open")])), ("open.yaml", open)];
    let Some(run) = Run::start(&files, &[]) else { return };
    let application = run.process("open.default")["application"].as_str().unwrap().to_owned();
    let line = run.said(&["open.default", &application, "$DROMON_BIND", "0.0.0.0"]);
    assert!(line.contains("9080"), "{line}");
    assert_eq!(run.process("open.default")["ready"], false);
}

#[test]
fn what_is_under_way_is_finished_when_a_process_is_removed_and_when_the_run_ends() {
    let routes = gateway(&[("/", "one")]);
    let files = [("gateway.yaml", routes), ("one.yaml", process("one", "first", &[]))];
    for what in ["remove", "end"] {
        let Some(mut run) = Run::start(&files, &[]) else { return };
        run.body("/", "first");
        let address = SocketAddr::from(([127, 0, 0, 1], run.port));
        let slow = std::thread::spawn(move || get(address, "/slow"));
        std::thread::sleep(Duration::from_millis(200));
        match what {
            "remove" => fs::remove_file(run.folder.path().join("one.yaml")).unwrap(),
            _ => run.signal("TERM"),
        }
        assert_eq!(slow.join().unwrap(), Some((200, "first".to_owned())), "{what}");
        if what == "end" {
            assert!(run.process.wait().unwrap().success());
        }
    }
}

#[test]
fn a_killed_proxy_is_started_again() {
    let files = [("gateway.yaml", gateway(&[("/", "one")])), ("one.yaml", process("one", "first", &[]))];
    let Some(run) = Run::start(&files, &[]) else { return };
    run.body("/", "first");
    let proxies = run.descendants().into_iter().filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "dromon-proxy")
    });
    let proxies: Vec<u32> = proxies.collect();
    assert_eq!(proxies.len(), 2, "a gateway and a sidecar");
    for pid in proxies {
        kill(pid.into());
    }
    run.said(&["the gateway ended with signal"]);
    run.said(&["the sidecar of one.default ended with signal"]);
    run.body("/", "first");
    // Where operators find them stays what was said at the start.
    for (name, address) in run.ready["admin"].as_object().unwrap() {
        let address = address.as_str().unwrap().parse().unwrap();
        eventually(name, || get(address, "/stats"));
    }
}

#[test]
fn a_taken_port_is_told_once_and_so_is_its_coming_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let map = ["--port-map", &format!("8081:{port}")];
    let second = "servers: [{port: {number: 8081, name: http-2, protocol: HTTP}, hosts: ['*']}, ";
    let routes = gateway(&[("/", "one")]).replacen("servers: [", second, 1);
    let files = [("gateway.yaml", routes), ("one.yaml", process("one", "first", &[]))];
    let Some(run) = Run::start(&files, &map) else { return };
    let about = || -> Vec<String> {
        let lines = run.errors.lock().unwrap();
        lines.iter().filter(|line| line.contains(&port.to_string())).cloned().collect()
    };
    run.said(&[&format!("127.0.0.1:{port} is taken by"), "port 8081 of Gateway/default/front"]);
    run.body("/", "first");
    // The gateway starts again, and finds it as it was.
    let gateway = run.descendants().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("gateway~gateway.default")
    });
    kill(gateway.expect("a gateway").into());
    run.said(&["the gateway ended with signal"]);
    run.body("/", "first");
    drop(taken);
    run.said(&[&format!("127.0.0.1:{port} is free"), "port 8081 of Gateway/default/front"]);
    eventually("the port to be served", || get(([127, 0, 0, 1], port).into(), "/"));
    assert_eq!(about().len(), 2, "{:#?}", about());
}

#[test]
fn a_running_mesh_is_asked_what_it_does() {
    let files = [("gateway.yaml", gateway(&[("/one", "one")])), ("one.yaml", process("one", "first", &[]))];
    let Some(run) = Run::start(&files, &[]) else { return };
    let ask = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dromonctl"))
            .args(arguments)
            .args(["--run-dir", run.ready["runDir"].as_str().unwrap()])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned(), errors)
    };
    let status = eventually("all to be well", || Some(ask(&["status"])).filter(|(well, ..)| *well)).1;
    assert!(status.contains("one.default") && status.contains("has what is in force"), "{status}");
    let routes = ask(&["routes"]).1;
    assert!(routes.contains("uri /one* → one.default.svc.cluster.local"), "{routes}");
    let url = format!("http://127.0.0.1:{}/one", run.port);
    let taken = ask(&["explain", &url]).1;
    assert!(taken.contains("rule 0 (VirtualService/default/front spec.http[0]): takes it"), "{taken}");
    let missed = ask(&["explain", &url.replace("/one", "/two"), "-o", "json"]).1;
    let missed: Value = serde_json::from_str(&missed).expect("JSON");
    assert_eq!(missed["outcome"]["type"], "noRoute", "{missed}");
    let (well, _, why) = ask(&["routes", "nobody"]);
    assert!(!well && why.contains("one.default"), "{why}");
    // A route that names what does not exist is in force nowhere, and that is told.
    run.put("two.yaml", &gateway(&[("/one", "nowhere")]).replace("name: front", "name: other"));
    // Until every proxy has the newest version, that alone makes the status no success.
    let status = eventually("it to be told", || {
        Some(ask(&["status"])).filter(|(well, said, _)| !*well && said.contains("nowhere"))
    });
    assert!(status.1.contains("VirtualService/default/other"), "{}", status.1);
}

#[test]
fn a_program_that_does_not_exist_is_named_and_the_rest_goes_on() {
    let missing = process("missing", "x", &[]).replace("  command: [", "  command: [no-such-program, ");
    let files = [
        ("gateway.yaml", gateway(&[("/", "one")])),
        ("a.yaml", process("one", "first", &[])),
        ("b.yaml", missing),
    ];
    let Some(run) = Run::start(&files, &[]) else { return };
    run.said(&["missing", "no-such-program"]);
    run.body("/", "first");
}

#[test]
fn nothing_is_left_whether_the_run_is_asked_to_end_or_killed() {
    for how in ["INT", "KILL"] {
        let files = [("gateway.yaml", gateway(&[("/", "one")])), ("one.yaml", process("one", "first", &[]))];
        let Some(mut run) = Run::start(&files, &[]) else { return };
        let everyone = run.descendants();
        assert!(everyone.len() >= 5, "guard, controller, two proxies, one application: {everyone:?}");
        let run_dir = PathBuf::from(run.ready["runDir"].as_str().unwrap());
        assert!(run_dir.exists());
        run.signal(how);
        let status = run.process.wait().unwrap();
        assert_eq!(status.success(), how == "INT", "{status}");
        eventually("every process to be gone", || everyone.iter().all(|pid| !alive(*pid)).then_some(()));
        eventually("the run directory to be gone", || (!run_dir.exists()).then_some(()));
    }
}

#[test]
fn a_daemon_that_leaves_its_group_is_ended_with_its_run() {
    for how in ["INT", "KILL"] {
        let note = tempfile::tempdir().unwrap();
        let pid_file = note.path().join("pid");
        // A program that starts another one in a session of its own, and then serves.
        let toy = std::env::current_exe().unwrap();
        let script = format!(
            "setsid sleep 600 & echo $! > {}; exec {} --ignored --exact toy --nocapture",
            pid_file.display(),
            toy.display()
        );
        let text = process("one", "first", &[]);
        let command = text.lines().find(|line| line.contains("command:")).unwrap().to_owned();
        let text = text.replace(&command, &format!("  command: [sh, -c, '{script}']"));
        let files = [("gateway.yaml", gateway(&[("/", "one")])), ("one.yaml", text)];
        let Some(mut run) = Run::start(&files, &[]) else { return };
        run.body("/", "first");
        let daemon: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        assert!(alive(daemon));
        run.signal(how);
        run.process.wait().unwrap();
        eventually("the daemon to be gone", || (!alive(daemon)).then_some(()));
    }
}

#[test]
fn two_runs_side_by_side_do_not_meet() {
    let files = [("gateway.yaml", gateway(&[("/", "one")])), ("one.yaml", process("one", "first", &[]))];
    let Some(first) = Run::start(&files, &[]) else { return };
    let other = [("gateway.yaml", gateway(&[("/", "one")])), ("one.yaml", process("one", "second", &[]))];
    let Some(second) = Run::start(&other, &[]) else { return };
    first.body("/", "first");
    second.body("/", "second");
    let addresses = |run: &Run| run.ready["admin"].as_object().unwrap().values().cloned().collect::<Vec<_>>();
    let (one, two) = (addresses(&first), addresses(&second));
    assert!(one.iter().all(|address| !two.contains(address)), "{one:?} {two:?}");
    let run_dir = Path::new(first.ready["runDir"].as_str().unwrap());
    let refused = Command::new(env!("CARGO_BIN_EXE_dromonctl"))
        .args(["run", "--config"])
        .arg(first.folder.path())
        .arg("--run-dir")
        .arg(run_dir)
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("another `dromonctl run` uses"), "{why}");
}
