use std::collections::BTreeMap;

use clap::Parser;
use serde_json::json;

use super::{admin_of, explain, routes};
use crate::run::supervisor::Ready;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: explain::Options,
}

fn asked(arguments: &[&str]) -> serde_json::Value {
    let cli = Cli::parse_from([&["explain"], arguments].concat());
    explain::question(&cli.options).expect("a question")
}

#[test]
fn a_question_is_what_curl_would_send() {
    let question =
        asked(&["http://127.0.0.1:8080/a?b=c", "-H", "end-user: jason", "-H", "Host: shop.example"]);
    assert_eq!(question["authority"], "shop.example");
    assert_eq!(question["port"], 8080);
    assert_eq!(question["path"], "/a?b=c");
    assert_eq!(question["headers"], json!([["end-user", "jason"]]));
    let question = asked(&["http://reviews:9080", "-X", "POST", "--proxy", "productpage-v1"]);
    assert_eq!(question["authority"], "reviews:9080");
    assert_eq!((&question["method"], &question["path"]), (&json!("POST"), &json!("/")));
}

#[test]
fn proxies_are_found_by_short_names_where_these_are_clear() {
    let admin = BTreeMap::from([
        ("gateway".to_owned(), "127.0.0.1:15000".parse().unwrap()),
        ("a.one".to_owned(), "127.77.0.2:15000".parse().unwrap()),
        ("b.one".to_owned(), "127.77.0.3:15000".parse().unwrap()),
        ("b.two".to_owned(), "127.77.0.4:15000".parse().unwrap()),
    ]);
    let run = Ready {
        status: "ready".into(),
        listeners: Vec::new(),
        admin,
        processes: Vec::new(),
        controller: "127.0.0.1:15014".parse().unwrap(),
        run_dir: "/run".into(),
    };
    let of = |name: &str| admin_of(&run, name).map(|it| it.to_string()).map_err(|error| error.to_string());
    assert_eq!(of("gateway"), Ok("127.0.0.1:15000".into()));
    assert_eq!(of("a"), Ok("127.77.0.2:15000".into()));
    assert_eq!(of("b.two"), Ok("127.77.0.4:15000".into()));
    assert!(of("b").is_err_and(|error| error.contains("namespace")));
    assert!(of("c").is_err_and(|error| error.contains("a.one")));
}

#[test]
fn routes_are_told_in_order_with_conditions_and_shares() {
    let config = json!({
        "listeners": {"gateway/80": {"address": "127.0.0.1:8080", "error": "taken"}},
        "virtualHosts": [{
            "name": "gateway/80/*",
            "http": [
                {
                    "origin": "VirtualService/default/a spec.http[0]",
                    "matches": [{"uri": {"prefix": "/a"}, "headers": {"end-user": {"exact": "jason"}}}],
                    "action": {"type": "route", "destinations": [
                        {"host": "a.local", "subset": "v1", "port": 80, "weight": 75},
                        {"host": "a.local", "subset": "v2", "port": 80, "weight": 25},
                    ]},
                    "timeoutMs": 500,
                    "fault": {"abort": {"status": 500, "perMillion": 500_000}},
                },
                {"action": {"type": "directResponse", "status": 404}},
            ],
        }],
        "hosts": [{"name": "b.local", "routed": false}],
    });
    let text = routes::describe(&config);
    let expected = [
        "listener gateway/80 127.0.0.1:8080 is not open: taken",
        "0: uri /a*, header end-user = jason → a.local:80 subset v1 75 %, a.local:80 subset v2 25 %",
        "VirtualService/default/a spec.http[0]; timeout 500 ms; aborts 50 % with 500",
        "1: everything → 404 from here",
        "without rules: b.local",
    ];
    for line in expected {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
