//! The access log as a proxy writes it: text and JSON say the same, line by line.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use dromon_core::config::model::{AccessLog, HttpRule, LogEncoding, Resource};
use dromon_tests::eventually;
use dromon_tests::scripted::{Answer, Scripted, Seen};
use serde_json::{Value, json};

use crate::start;

/// The fields that Istio's JSON encoding has.
const FIELDS: [&str; 24] = [
    "authority",
    "bytes_received",
    "bytes_sent",
    "connection_termination_details",
    "downstream_local_address",
    "downstream_remote_address",
    "duration",
    "method",
    "path",
    "protocol",
    "request_id",
    "requested_server_name",
    "response_code",
    "response_code_details",
    "response_flags",
    "route_name",
    "start_time",
    "upstream_cluster",
    "upstream_host",
    "upstream_local_address",
    "upstream_service_time",
    "upstream_transport_failure_reason",
    "user_agent",
    "x_forwarded_for",
];

/// Has the proxy of these resources write Istio's default fields to a file.
fn log_to(resources: &mut [Resource], file: &Path, encoding: LogEncoding) {
    for resource in resources {
        if let Resource::Proxy(proxy) = resource {
            let path = file.to_str().expect("a name in ASCII").to_owned();
            proxy.access_log = Some(AccessLog { path, encoding, ..AccessLog::default() });
        }
    }
}

/// The log once it has so many whole lines.
fn lines(file: &Path, count: usize) -> Vec<String> {
    eventually("the access log", || {
        let text = fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// Sends raw bytes, and reads until the other side closes; the client's own address.
fn raw(front: SocketAddr, request: &str) -> SocketAddr {
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let own = stream.local_addr().expect("connected");
    stream.write_all(request.as_bytes()).expect("open");
    let mut answer = Vec::new();
    // Closed in whatever way; what was answered, the log tells.
    let _ = stream.read_to_end(&mut answer);
    own
}

/// A name that is no good in a log, a body each way, a refused head, and an upstream that hangs up.
const REQUESTS: [&str; 4] = [
    "GET /hello?x=1 HTTP/1.1\r\nHost: a.example:81\r\nUser-Agent: a\"b\\c\td\u{e9}\r\nX-Request-Id: one\r\n\
     Connection: close\r\n\r\n",
    "POST /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: two\r\nContent-Length: 5\r\n\r\n12345",
    "GET /refused HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "POST /gone HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
];

/// What a gateway with this encoding has written of [`REQUESTS`].
struct Told {
    lines: Vec<String>,
    front: SocketAddr,
    upstream: SocketAddr,
    clients: Vec<SocketAddr>,
    /// What the upstream saw of the requests that reached it.
    seen: Vec<Seen>,
}

impl Told {
    /// Whence the request with this line came to the upstream.
    fn sent_from(&self, line: &str) -> String {
        let seen = self.seen.iter().find(|seen| seen.head.starts_with(line));
        seen.unwrap_or_else(|| panic!("no {line} in {:#?}", self.seen)).client.to_string()
    }
}

fn tell(driver: &str, encoding: LogEncoding) -> Told {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("access.log");
    let upstream = Scripted::start();
    upstream.answer(|seen| {
        let body = match seen.head.split(' ').nth(1) {
            Some("/gone") => return Answer::close(""),
            Some("/long") => "x".repeat(1_000),
            _ => "hello".to_owned(),
        };
        Answer::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let logged = |resources: &mut Vec<Resource>| log_to(resources, &file, encoding);
    let (_proxy, front) = start(driver, &[upstream.address], HttpRule::default(), logged);
    let clients = REQUESTS.map(|request| raw(front, request)).into();
    let lines = lines(&file, REQUESTS.len());
    assert_eq!(lines.len(), REQUESTS.len(), "a line each: {lines:#?}");
    Told { lines, front, upstream: upstream.address, clients, seen: upstream.seen() }
}

/// Istio's fields, each line an object by itself, numbers as numbers and what there is not as null.
pub fn json(driver: &str) {
    let told = tell(driver, LogEncoding::Json);
    let parsed: Vec<Value> = told
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &parsed {
        let names: BTreeSet<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(FIELDS), "{line:#}");
        let time = line["start_time"].as_str().expect("a text");
        assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{line:#}");
        assert!(line["duration"].is_u64(), "{line:#}");
        assert_eq!(line["downstream_local_address"], told.front.to_string(), "{line:#}");
    }
    let of = |at: usize, code: u64| {
        let client = told.clients[at].to_string();
        let line = parsed.iter().find(|line| line["downstream_remote_address"] == client.as_str());
        let line = line.unwrap_or_else(|| panic!("no line of {client} in {parsed:#?}"));
        assert_eq!(line["response_code"], code, "{line:#}");
        line
    };
    let has = |line: &Value, wanted: Value| {
        for (name, value) in wanted.as_object().expect("an object") {
            assert_eq!(&line[name], value, "{name} of {line:#}");
        }
    };
    let hello = of(0, 200);
    has(
        hello,
        json!({
            "authority": "a.example:81", "method": "GET", "path": "/hello?x=1", "protocol": "HTTP/1.1",
            "request_id": "one", "user_agent": "a\"b\\c\td\u{e9}", "x_forwarded_for": "127.0.0.1",
            "bytes_received": 0, "bytes_sent": 5, "response_flags": "-",
            "response_code_details": "via_upstream", "upstream_host": told.upstream.to_string(),
            "upstream_local_address": told.sent_from("GET /hello"), "route_name": null,
            "upstream_cluster": "outbound|80||origin.local", "requested_server_name": null,
            "connection_termination_details": null, "upstream_transport_failure_reason": null,
        }),
    );
    has(
        of(1, 200),
        json!({
            "method": "POST", "request_id": "two", "user_agent": null, "bytes_received": 5, "bytes_sent": 1_000,
            "upstream_local_address": told.sent_from("POST /long"),
        }),
    );
    has(
        of(2, 400),
        json!({
            "response_flags": "DPE", "upstream_host": null, "upstream_cluster": null, "upstream_service_time": null,
            "upstream_local_address": null, "method": null, "protocol": null, "route_name": null,
        }),
    );
    has(of(3, 503), json!({ "response_flags": "UC", "path": "/gone" }));
}

/// Istio's line, of the same requests.
pub fn text(driver: &str) {
    let told = tell(driver, LogEncoding::Text);
    let of = |at: usize| {
        let client = format!(" {} ", told.clients[at]);
        let line = told.lines.iter().find(|line| line.contains(&client));
        line.unwrap_or_else(|| panic!("no line of {client} in {:#?}", told.lines))
    };
    for (at, parts) in [
        (
            0,
            vec![
                "\"GET /hello?x=1 HTTP/1.1\" 200 - via_upstream - \"-\" 0 5 ",
                "\"a\\\"b\\\\c\\x09d\\xc3\\xa9\"",
            ],
        ),
        (
            1,
            vec![
                "\"POST /long HTTP/1.1\" 200 - via_upstream - \"-\" 5 1000 ",
                "\"127.0.0.1\" \"-\" \"two\" \"a\"",
            ],
        ),
        (2, vec!["400 DPE ", "{R13}"]),
        (3, vec!["\"POST /gone HTTP/1.1\" 503 UC "]),
    ] {
        let line = of(at);
        assert!(line.starts_with("[20") && line.contains("Z] \""), "{line}");
        for part in parts {
            assert!(line.contains(part), "no {part} in {line}");
        }
        let front = format!(" {} ", told.front);
        assert!(line.contains(&front), "no {front} in {line}");
    }
    let (upstream, local) = (told.upstream, told.sent_from("GET /hello"));
    let upstream =
        format!("\"{upstream}\" outbound|80||origin.local {local} {} {}", told.front, told.clients[0]);
    assert!(of(0).contains(&upstream), "no {upstream} in {}", of(0));
    assert!(of(0).ends_with(" - -"), "neither a server name nor a route's: {}", of(0));
}
