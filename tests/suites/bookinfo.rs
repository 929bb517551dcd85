//! Bookinfo end to end through the ingress: what Istio's documentation of the sample promises for each rule.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dromon_tests::eventually;
use dromon_tests::http::{Connection, Response, get};
use dromon_tests::mesh::{Mesh, Setup};

const JASON: &[(&str, &str)] = &[("Cookie", "user=jason")];
const NOBODY: &[(&str, &str)] = &[];
const NO_RATINGS: &str = "Ratings service is currently unavailable";
const NO_REVIEWS: &str = "Sorry, product reviews are currently unavailable for this book.";

fn page(mesh: &Mesh, headers: &[(&str, &str)]) -> (Response, Duration) {
    let start = Instant::now();
    let page = get(mesh.ingress, "/productpage", headers).expect("an answer");
    assert_eq!(page.status, 200, "{}", page.text());
    (page, start.elapsed())
}

fn stars(page: &Response) -> &'static str {
    let text = page.text();
    match (text.contains("color:black"), text.contains("color:red")) {
        (true, false) => "black",
        (false, true) => "red",
        (false, false) => "none",
        (true, true) => "both",
    }
}

/// Waits until three pages in a row show what a rule should bring about.
fn settled(mesh: &Mesh, what: &str, holds: impl Fn(&Mesh) -> bool) {
    eventually(what, || (0..3).all(|_| holds(mesh)).then_some(()));
}

/// Istio's rules and Gateway API's of the same meaning give the same results.
#[derive(Clone, Copy)]
enum Dialect {
    Istio,
    GatewayApi,
}

impl Dialect {
    fn try_rule(self, mesh: &Mesh, name: &str) {
        match self {
            Dialect::Istio => mesh.try_rule(&format!("virtual-service-{name}")),
            Dialect::GatewayApi => mesh.try_route(&format!("route-{name}")),
        }
    }
}

fn rules_route_by_version_user_and_weight(mesh: &Mesh, dialect: Dialect) {
    dialect.try_rule(mesh, "all-v1");
    settled(mesh, "pages without stars", |mesh| stars(&page(mesh, JASON).0) == "none");

    dialect.try_rule(mesh, "reviews-test-v2");
    settled(mesh, "black stars for jason", |mesh| stars(&page(mesh, JASON).0) == "black");
    for _ in 0..10 {
        assert_eq!(stars(&page(mesh, JASON).0), "black");
        assert_eq!(stars(&page(mesh, NOBODY).0), "none");
    }

    dialect.try_rule(mesh, "reviews-jason-v2-v3");
    settled(mesh, "red stars for others", |mesh| stars(&page(mesh, NOBODY).0) == "red");
    assert_eq!(stars(&page(mesh, JASON).0), "black");

    // Of n = 400 draws at p = 1/2, 4 standard deviations are 40: a false alarm once in 15,000 runs.
    dialect.try_rule(mesh, "reviews-50-v3");
    settled(mesh, "no black stars", |mesh| stars(&page(mesh, JASON).0) != "black");
    let mut red = 0;
    for _ in 0..400 {
        let reviews = get(mesh.ingress, "/api/v1/products/0/reviews", NOBODY).expect("an answer");
        assert_eq!(reviews.status, 200);
        red += u32::from(reviews.text().contains("\"red\""));
    }
    assert!((160..=240).contains(&red), "{red} of 400 went to v3, which has weight 50");
}

fn faults_and_timeouts_do_what_they_say(mesh: &Mesh) {
    mesh.try_rule("virtual-service-reviews-test-v2");
    let delay = include_str!("../../examples/bookinfo/try/virtual-service-ratings-test-delay.yaml");
    mesh.put("ratings.yaml", delay);
    // 7 s of delay meet two tries of 3 s each: the page comes after 6 s, without reviews.
    settled(mesh, "stars without delay for others", |mesh| stars(&page(mesh, NOBODY).0) == "none");
    let (slow, took) = eventually("jason to be delayed", || {
        let (slow, took) = page(mesh, JASON);
        slow.text().contains(NO_REVIEWS).then_some((slow, took))
    });
    assert!(took > Duration::from_secs(5), "two tries of 3 s took only {took:?}: {}", slow.text());
    assert!(page(mesh, NOBODY).1 < took / 3, "other users are not to be delayed");

    let abort = include_str!("../../examples/bookinfo/try/virtual-service-ratings-test-abort.yaml");
    mesh.put("ratings.yaml", abort);
    settled(mesh, "ratings to be aborted for jason", |mesh| page(mesh, JASON).0.text().contains(NO_RATINGS));
    assert!(!page(mesh, NOBODY).0.text().contains(NO_RATINGS));

    // Reviews may take 0.5 s, ratings take 2 s: two tries, so the page comes after 1 s, without reviews.
    mesh.put(
        "ratings.yaml",
        include_str!("../../examples/bookinfo/try/virtual-service-ratings-delay-2s.yaml"),
    );
    mesh.try_rule("virtual-service-reviews-timeout");
    let took = eventually("reviews to time out", || {
        let (slow, took) = page(mesh, NOBODY);
        slow.text().contains(NO_REVIEWS).then_some(took)
    });
    assert!(took >= Duration::from_millis(1_000), "two tries of 0.5 s took only {took:?}");

    // v3 waits 2.5 s: a delay of 2 s is no error, one of 7 s is.
    mesh.try_rule("virtual-service-reviews-v3");
    settled(mesh, "red stars", |mesh| stars(&page(mesh, NOBODY).0) == "red");
    mesh.put("ratings.yaml", delay);
    eventually("ratings to be missed", || page(mesh, JASON).0.text().contains(NO_RATINGS).then_some(()));
    mesh.remove("ratings.yaml");
    mesh.try_rule("fault-injection-details-v1");
    settled(mesh, "details to fail", |mesh| {
        page(mesh, NOBODY).0.text().contains("Error fetching product details")
    });
    mesh.remove("rule.yaml");
    settled(mesh, "details to be back", |mesh| page(mesh, NOBODY).0.text().contains("PublisherA"));
}

fn a_rate_limit_admits_its_share(mesh: &Mesh) {
    mesh.put("limit.yaml", include_str!("../../examples/bookinfo/try/rate-limit-productpage.yaml"));
    settled(mesh, "the limit", |mesh| {
        get(mesh.ingress, "/productpage", NOBODY).is_ok_and(|it| it.status == 429)
    });
    // Another limit has tickets of its own, all of them, when it comes into force.
    let text = include_str!("../../examples/bookinfo/try/rate-limit-productpage.yaml");
    mesh.put("limit.yaml", &text.replace("productpage", "login"));
    settled(mesh, "the first limit to be gone", |mesh| {
        get(mesh.ingress, "/productpage", NOBODY).is_ok_and(|it| it.status == 200)
    });
    let start = Instant::now();
    let answers: Vec<Response> =
        (0..20).map(|_| get(mesh.ingress, "/login", NOBODY).expect("an answer")).collect();
    let admitted = answers.iter().filter(|it| it.status != 429).count() as u64;
    // A ticket more every twelve seconds, should this machine take that long.
    let most = 5 + start.elapsed().as_secs() / 12 + 1;
    assert!((5..most).contains(&admitted), "five pages a minute: {admitted}");
    let refused = answers.iter().find(|it| it.status == 429).expect("the sixth is refused");
    let wait: u64 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "Retry-After: {wait}");
    let products = get(mesh.ingress, "/api/v1/products", NOBODY).expect("an answer");
    assert_eq!(products.status, 200, "other paths have no limit");
    mesh.remove("limit.yaml");
    settled(mesh, "the limit to be gone", |mesh| {
        get(mesh.ingress, "/productpage", NOBODY).is_ok_and(|it| it.status == 200)
    });
}

/// Limits at both ends of a call, by path and method. Those of `/…/98` only tell that the file is in force.
const AT_BOTH_ENDS: &str = "\
apiVersion: policy.dromon.io/v1
kind: RateLimit
metadata: {name: details-in, namespace: default}
spec:
  targetRefs: [{kind: Service, name: details}]
  direction: Inbound
  limits:
  - {requests: 2, unit: Hour, per: [{path: {}}, {method: {}}]}
---
apiVersion: policy.dromon.io/v1
kind: RateLimit
metadata: {name: ratings-out, namespace: default}
spec:
  targetRefs: [{kind: Service, name: ratings}]
  direction: Outbound
  limits:
  - {requests: 3, unit: Hour, when: {path: {prefix: /ratings/7}}}
  - {requests: 1, unit: Hour, when: {path: {prefix: /ratings/98}}}
";

fn limits_hold_at_both_ends_of_a_call(mesh: &Mesh) {
    let details = SocketAddr::new(mesh.admin("details-v1.default").ip(), 9_080);
    let sender = SocketAddr::new(mesh.admin("reviews-v2.default").ip(), 15_001);
    let of_details = |method: &str, path: &str| {
        Connection::open(details)
            .and_then(|mut it| it.send(method, path, NOBODY, b""))
            .expect("an answer")
            .status
    };
    let of_ratings = |book: u32| {
        let url = format!("http://ratings:9080/ratings/{book}");
        get(sender, &url, &[("Host", "ratings:9080")]).expect("an answer").status
    };
    mesh.put("limit.yaml", AT_BOTH_ENDS);
    eventually("the limit of the receiver", || (of_details("GET", "/details/98") == 429).then_some(()));
    eventually("the limit of the sender", || (of_ratings(98) == 429).then_some(()));
    assert_eq!([(); 3].map(|()| of_details("GET", "/details/0")), [200, 200, 429]);
    assert_eq!(of_details("GET", "/details/1"), 200, "another path has a share of its own");
    assert_ne!(of_details("POST", "/details/0"), 429, "and so has another method");
    assert_eq!([(); 5].map(|()| of_ratings(7)), [200, 200, 200, 429, 429]);
    assert_eq!(of_ratings(1), 200, "what no limit speaks of");
    mesh.remove("limit.yaml");
    eventually("the limits to be gone", || (of_details("GET", "/details/0") == 200).then_some(()));
}

/// Every proxy logs, as JSON, the headers that the sample's services pass on.
const LOGGED_HEADERS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: dromon, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    accessLogEncoding: JSON
    accessLogFormat: '{\"logged\": \"%REQ(:PATH)%\", \"id\": \"%REQ(X-REQUEST-ID)%\", \"user\": \"%REQ(END-USER)%\",
      \"w3c\": \"%REQ(TRACEPARENT)%\", \"state\": \"%REQ(TRACESTATE)%\", \"b3\": \"%REQ(X-B3-TRACEID)%\",
      \"sampled\": \"%REQ(X-B3-SAMPLED)%\"}'
";

/// The request id that the gateway makes, the trace context of the client and the user that productpage knows all arrive at
/// ratings, two services on.
fn headers_are_passed_on(mesh: &Mesh) {
    mesh.try_rule("virtual-service-reviews-test-v2");
    mesh.put("mesh.yaml", LOGGED_HEADERS);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("Cookie", "user=jason"),
        ("traceparent", trace),
        ("tracestate", "congo=t61rcWkgMzE"),
        ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("x-b3-sampled", "1"),
    ];
    settled(mesh, "black stars for jason", |mesh| stars(&page(mesh, JASON).0) == "black");
    // The lines of a proxy that have come so far, of this trace.
    let lines = |proxy: &str| -> Vec<serde_json::Value> {
        let said = mesh.process.stderr();
        let own = said.iter().filter_map(|line| line.strip_prefix(proxy)?.strip_prefix(" | "));
        let logged = own.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        logged.filter(|line| line["w3c"] == trace).collect()
    };
    let at_ratings = eventually("ratings to be asked in this trace", || {
        page(mesh, &headers);
        lines("ratings-v1 sidecar").pop()
    });
    for (field, value) in [
        ("logged", "/ratings/0"),
        ("user", "jason"),
        ("state", "congo=t61rcWkgMzE"),
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("sampled", "1"),
    ] {
        assert_eq!(at_ratings[field], value, "{field} of {at_ratings:#}");
    }
    let id = &at_ratings["id"];
    assert!(id.as_str().is_some_and(|id| id.len() == 36), "{at_ratings:#}");
    for (proxy, path) in [
        ("gateway", "/productpage"),
        ("productpage-v1 sidecar", "/reviews/0"),
        ("reviews-v2 sidecar", "/reviews/0"),
        ("reviews-v2 sidecar", "/ratings/0"),
    ] {
        eventually(&format!("the request of this id at {proxy}"), || {
            lines(proxy).into_iter().find(|line| line["id"] == *id && line["logged"] == path)
        });
    }
    mesh.remove("mesh.yaml");
}

fn the_gateway_opens_the_listed_paths_only(mesh: &Mesh) {
    for (path, status) in
        [("/productpage", 200), ("/api/v1/products", 200), ("/nowhere", 404), ("/metrics", 404)]
    {
        assert_eq!(get(mesh.ingress, path, NOBODY).expect("an answer").status, status, "{path}");
    }
}

fn metrics_name_both_sides(mesh: &Mesh) {
    let stats = SocketAddr::new(mesh.admin("reviews-v3.default").ip(), 15_090);
    let text = get(stats, "/stats/prometheus", NOBODY).expect("an answer").text();
    for part in ["istio_requests_total{", "reporter=\"destination\"", "destination_service_name=\"reviews\""]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

fn whole_tour(driver: &str, security: &str, key: &str) {
    let arguments = ["--driver", driver, "--cert-key", key];
    let mesh = Setup::bookinfo().file("security.yaml", security).arguments(&arguments).start();
    the_gateway_opens_the_listed_paths_only(&mesh);
    rules_route_by_version_user_and_weight(&mesh, Dialect::Istio);
    faults_and_timeouts_do_what_they_say(&mesh);
    a_rate_limit_admits_its_share(&mesh);
    metrics_name_both_sides(&mesh);
    headers_are_passed_on(&mesh);
    if security.is_empty() {
        limits_hold_at_both_ends_of_a_call(&mesh);
    } else {
        sidecars_have_keys_of_this_kind(&mesh, key);
        ports_take_what_peer_authentication_says(&mesh);
    }
}

/// What all ports of the mesh take.
fn peer_authentication(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: istio-system}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
}

fn sidecars_have_keys_of_this_kind(mesh: &Mesh, key: &str) {
    let reviews = SocketAddr::new(mesh.admin("reviews-v1.default").ip(), 9_080);
    let mut command = std::process::Command::new("openssl");
    command.args(["s_client", "-alpn", "istio-http/1.1", "-connect", &reviews.to_string()]);
    let said = command.stdin(std::process::Stdio::null()).output().expect("openssl is installed");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let signed = if key == "rsa" { "Peer signature type: RSA-PSS" } else { "Peer signature type: ECDSA" };
    assert!(said.contains(signed), "{signed}: {said}");
}

/// A client without a sidecar calls the reviews' sidecar: refused with the reason under STRICT, else served; the mesh itself
/// goes on in each mode.
fn ports_take_what_peer_authentication_says(mesh: &Mesh) {
    let sidecar = mesh.admin("reviews-v1.default").ip();
    let (reviews, stats) = (SocketAddr::new(sidecar, 9_080), SocketAddr::new(sidecar, 15_090));
    let from_outside = || get(reviews, "/reviews/0", NOBODY);
    let metrics = || get(stats, "/stats/prometheus", NOBODY).expect("an answer").text();
    let text = metrics();
    assert!(text.contains("connection_security_policy=\"mutual_tls\""), "no mutual TLS in\n{text}");
    assert!(from_outside().is_err(), "plaintext is refused");
    let counted = metrics();
    let refused = "dromon_tls_handshakes_failed_total{side=\"downstream\",reason=\"plaintext\"}";
    assert!(counted.contains(refused), "no {refused} in\n{counted}");
    for mode in ["PERMISSIVE", "DISABLE"] {
        mesh.put("security.yaml", &peer_authentication(mode));
        settled(mesh, mode, |_| from_outside().is_ok_and(|it| it.status == 200));
        settled(mesh, mode, |mesh| page(mesh, NOBODY).0.text().contains("PublisherA"));
    }
    mesh.put("security.yaml", &peer_authentication("STRICT"));
    settled(mesh, "STRICT again", |_| from_outside().is_err());
    settled(mesh, "pages under STRICT", |mesh| page(mesh, NOBODY).0.text().contains("PublisherA"));
}

#[test]
fn bookinfo_in_gateway_api() {
    let mesh = Setup::bookinfo_in_gateway_api().start();
    the_gateway_opens_the_listed_paths_only(&mesh);
    rules_route_by_version_user_and_weight(&mesh, Dialect::GatewayApi);
    mesh.try_route("route-reviews-v3");
    settled(&mesh, "red stars for all", |mesh| stars(&page(mesh, JASON).0) == "red");
    mesh.remove("rule.yaml");
    settled(&mesh, "all versions again", |mesh| page(mesh, NOBODY).0.status == 200);
}

#[test]
fn bookinfo_over_io_uring() {
    whole_tour("io_uring", "", "ecdsa");
}

#[test]
fn bookinfo_over_epoll() {
    whole_tour("epoll", "", "ecdsa");
}

#[test]
fn bookinfo_under_strict_mutual_tls_over_io_uring() {
    whole_tour("io_uring", &peer_authentication("STRICT"), "ecdsa");
}

#[test]
fn bookinfo_under_strict_mutual_tls_over_epoll() {
    whole_tour("epoll", &peer_authentication("STRICT"), "rsa");
}
