use serde_json::json;

use super::*;
use crate::api::Object;
use crate::testing::told;

fn only(text: &str) -> Diagnostic {
    let mut found = super::text("a.yaml", text).diagnostics;
    assert_eq!(found.len(), 1, "{:#?}", told(&found));
    found.remove(0)
}

fn value(text: &str) -> Value {
    let mut found = yaml::documents(text);
    assert_eq!(found.len(), 1);
    found.remove(0).expect("readable").value
}

const VIRTUAL_SERVICE: &str =
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n";

#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    let text = "{a: yes, b: 'yes', c: 010, d: 0x1F, e: 1.5, f: ~, g: off, h: 1e3, i: 1.2.3, j: -7, k: !!str 7, l: .5}";
    let expected = json!({"a": true, "b": "yes", "c": 8, "d": 31, "e": 1.5, "f": null, "g": false, "h": 1000.0,
        "i": "1.2.3", "j": -7, "k": "7", "l": 0.5});
    assert_eq!(value(text), expected);
}

#[test]
fn anchors_merges_and_block_texts_are_read() {
    let text =
        "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\ntext: |\n  one\n  two\nfold: >-\n  one\n  two\n";
    let expected =
        json!({"base": {"a": 1, "b": 2}, "more": {"b": 3, "a": 1}, "text": "one\ntwo\n", "fold": "one two"});
    assert_eq!(value(text), expected);
}

#[test]
fn json_is_read() {
    assert_eq!(
        value("{\"a\": [1, true, null, \"x\\n\"],\n \"b\": {}}"),
        json!({"a": [1, true, null, "x\n"], "b": {}})
    );
}

#[test]
fn aliases_cannot_blow_up() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "));
    }
    let error = yaml::documents(&text).remove(0).expect_err("too much");
    assert!(error.message.contains("aliases expanded"), "{}", error.message);
}

#[test]
fn nesting_has_a_limit() {
    let text = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    let error = yaml::documents(&text).remove(0).expect_err("too deep");
    assert!(error.message.contains("deep"), "{}", error.message);
}

#[test]
fn a_key_given_twice_is_refused_with_its_line() {
    let error = yaml::documents("a:\n  b: 1\n  c: 2\n  b: 3\n").remove(0).expect_err("twice");
    assert_eq!((error.line, error.message.as_str()), (4, "`a.b` is given twice"));
}

#[test]
fn a_broken_document_takes_no_other_with_it() {
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {ports: [{port: 80, name: http}]}\n";
    let (a, b) = (service.replace("NAME", "a"), service.replace("NAME", "b"));
    let parsed = super::text("x.yaml", &format!("{a}---\nkind: [unclosed\n  more: {{\n---\n{b}"));
    let names: Vec<_> = parsed.objects.iter().map(|it| it.key.to_string()).collect();
    assert_eq!(names, ["Service/default/a", "Service/default/b"]);
    assert!(parsed.unreadable);
    let [diagnostic] = parsed.diagnostics.as_slice() else { panic!("{:#?}", parsed.diagnostics) };
    assert_eq!((diagnostic.severity, diagnostic.file.as_str()), (Severity::Error, "x.yaml"));
    assert!((6..=8).contains(&diagnostic.line.expect("a line")), "{diagnostic}");
}

#[test]
fn empty_documents_comments_and_directives_are_nothing() {
    let parsed = super::text("x.yaml", "# only a comment\n---\n---\n%YAML 1.2\n---\n# more\n...\n");
    assert_eq!((parsed.objects.len(), parsed.diagnostics.len(), parsed.unreadable), (0, 0, false));
}

#[test]
fn lists_are_unwrapped_with_the_lines_of_their_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n  spec:\n    ports: [{port: 80, name: http}]\n    portz: 1\n";
    let parsed = super::text("x.yaml", text);
    assert_eq!(parsed.objects.len(), 1);
    let [diagnostic] = parsed.diagnostics.as_slice() else { panic!("{:#?}", parsed.diagnostics) };
    assert_eq!((diagnostic.field.as_str(), diagnostic.line), ("spec.portz", Some(9)));
    assert_eq!(diagnostic.hint, "did you mean `ports`?");
}

#[test]
fn an_unknown_field_is_named_with_its_line_and_what_was_meant() {
    let text = format!(
        "{VIRTUAL_SERVICE}spec:\n  hosts: [a]\n  http:\n  - route:\n    - destination: {{host: a}}\n      wieght: 1\n    time_out: 1s\n"
    );
    let parsed = super::text("a.yaml", &text);
    let found: Vec<_> =
        parsed.diagnostics.iter().map(|it| (it.field.as_str(), it.line, it.hint.as_str())).collect();
    let expected = [
        ("spec.http[0].route[0].wieght", Some(9), "did you mean `weight`?"),
        ("spec.http[0].time_out", Some(10), "did you mean `timeout`?"),
    ];
    assert_eq!(found, expected);
    assert!(parsed.diagnostics.iter().all(|it| it.severity == Severity::Warning));
    assert_eq!(parsed.objects.len(), 1);
}

#[test]
fn a_field_that_does_not_fit_refuses_the_object_by_name() {
    let cases = [
        ("timeout: 5", "spec.http[0].timeout", "a duration with its unit"),
        ("timeout: 5 parsecs", "spec.http[0].timeout", "is not a duration"),
        ("timeout: -5s", "spec.http[0].timeout", "negative"),
        (
            "route: [{destination: {host: a, port: {number: 70000}}}]",
            "spec.http[0].route[0].destination.port.number",
            "70000",
        ),
        ("match: [{uri: {exact: /a, prefix: /b}}]", "spec.http[0].match[0].uri", "only one of"),
        ("redirect: {derivePort: FROM_REQUEST}", "spec.http[0].redirect.derivePort", "unknown variant"),
    ];
    for (field, path, message) in cases {
        let text = format!("{VIRTUAL_SERVICE}spec:\n  hosts: [a]\n  http:\n  - {field}\n");
        let parsed = super::text("a.yaml", &text);
        assert!(parsed.objects.is_empty(), "{field}");
        assert_eq!(
            parsed.refused.iter().map(Key::to_string).collect::<Vec<_>>(),
            ["VirtualService/default/a"]
        );
        let first = &parsed.diagnostics[0];
        assert_eq!((first.field.as_str(), first.line), (path, Some(7)), "{first}");
        assert!(first.message.contains(message), "{first}");
    }
}

#[test]
fn a_variant_that_is_nearly_right_is_hinted_at() {
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a, trafficPolicy: {loadBalancer: {simple: ROUNDROBIN}}}\n";
    let found = only(text);
    assert_eq!(found.field, "spec.trafficPolicy.loadBalancer.simple");
    assert_eq!(found.hint, "did you mean `ROUND_ROBIN`?");
}

#[test]
fn quotes_too_many_or_too_few_are_hinted_at() {
    let hint = |spec: &str| only(&format!("{VIRTUAL_SERVICE}spec: {spec}\n")).hint;
    let attempts = "{hosts: [a], http: [{retries: {attempts: '3'}, route: [{destination: {host: a}}]}]}";
    assert_eq!(hint(attempts), "a number, without quotes");
    assert_eq!(hint("{hosts: [5], http: [{directResponse: {status: 200}}]}"), "put the value in quotes");
}

#[test]
fn kinds_that_are_not_kept_say_what_to_use() {
    let error = Severity::Error;
    let cases = [
        ("type: route-rule\nname: a\nspec: {}", error, "VirtualService"),
        (
            "apiVersion: config.istio.io/v1alpha2\nkind: RouteRule\nmetadata: {name: a}",
            error,
            "VirtualService",
        ),
        (
            "apiVersion: config.istio.io/v1alpha2\nkind: DestinationPolicy\nmetadata: {name: a}",
            error,
            "DestinationRule",
        ),
        ("apiVersion: config.istio.io/v1alpha2\nkind: quota\nmetadata: {name: a}", error, "RateLimit"),
        (
            "apiVersion: networking.istio.io/v2\nkind: Gateway\nmetadata: {name: a}",
            error,
            "networking.istio.io/v1",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: a}",
            error,
            "`VirtualService`",
        ),
        (
            "apiVersion: istio.io/v1\nkind: VirtualService\nmetadata: {name: a}",
            error,
            "networking.istio.io/v1",
        ),
        ("kind: Service\nmetadata: {name: a}", error, "apiVersion"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}", error, ""),
        ("[1, 2]", error, "apiVersion"),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}",
            Severity::Warning,
            "rules.md",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: UDPRoute\nmetadata: {name: a}",
            Severity::Warning,
            "rules.md",
        ),
        (
            "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: a}",
            Severity::Warning,
            "networking.k8s.io/v1",
        ),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}", Severity::Info, "Process"),
        ("apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a}", Severity::Info, ""),
    ];
    for (text, severity, hint) in cases {
        let found = only(text);
        assert_eq!(found.severity, severity, "{found}");
        assert!(found.hint.contains(hint), "{found}");
    }
    let silent = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: a}\n";
    assert_eq!(super::text("a.yaml", silent).diagnostics, []);
}

#[test]
fn every_field_of_every_kind_is_known() {
    let parsed = super::text("all.yaml", include_str!("../../tests/fields/all.yaml"));
    assert!(!parsed.unreadable);
    let unknown: Vec<_> = parsed.diagnostics.iter().filter(|it| it.message.contains("not known")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let refused: Vec<_> = parsed.diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
    let fields: Vec<_> = refused.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, [] as [&str; 0], "{:#?}", told(&parsed.diagnostics));
    let not_yet = parsed.diagnostics.iter().filter(|it| it.message.contains("not carried out yet"));
    let fields: Vec<_> =
        not_yet.map(|it| format!("{} {}", it.object.split('/').next().unwrap_or(""), it.field)).collect();
    for field in [
        "VirtualService spec.http[0].mirror",
        "VirtualService spec.http[0].corsPolicy",
        "VirtualService spec.http[0].fault.abort.grpcStatus",
        "VirtualService spec.http[0].retries.retryRemoteLocalities",
        "DestinationRule spec.trafficPolicy.loadBalancer.warmup",
        "DestinationRule spec.trafficPolicy.tls.caCrl",
        "DestinationRule spec.trafficPolicy.portLevelSettings[0].loadBalancer.consistentHash",
        "DestinationRule spec.subsets[0].trafficPolicy.tunnel",
        "Gateway spec.servers[0].tls.verifyCertificateSpki",
        "Gateway spec.servers[0].bind",
        "Sidecar spec.ingress",
        "Telemetry spec.tracing",
        "Telemetry spec.accessLogging[0].filter",
        "Gateway spec.allowedListeners",
        "Gateway spec.infrastructure.labels",
        "HTTPRoute spec.rules[0].sessionPersistence",
        "BackendTLSPolicy spec.options",
    ] {
        assert!(fields.contains(&field.to_owned()), "{field} is not among {fields:#?}");
    }
}

#[test]
fn an_object_as_an_api_server_sends_it_is_read() {
    let object = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "a", "namespace": "b", "managedFields": [{"manager": "x"}], "uid": "1"},
        "spec": {"ports": [{"port": 80, "name": "http"}]}, "status": {"loadBalancer": {}}});
    let parsed = super::json(object);
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.objects[0].key.to_string(), "Service/b/a");
}

#[test]
fn an_object_that_stands_twice_in_a_file_is_reported() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";
    let found = only(&format!("{text}---\n{text}"));
    assert!(found.message.contains("twice"), "{found}");
    assert_eq!(found.line, Some(6));
}

#[test]
fn a_list_without_items_is_reported() {
    for (text, at) in [
        ("apiVersion: networking.istio.io/v1\nkind: VirtualServiceList\nitems: {a: b}\n", "not a list"),
        ("apiVersion: v1\nkind: List\n", "missing"),
    ] {
        let found = only(text);
        assert_eq!((found.severity, found.field.as_str()), (Severity::Error, "items"), "{found}");
        assert!(found.message.contains(at) && found.line.is_some(), "{found}");
        assert!(super::text("a.yaml", text).unreadable, "what the list held stays in force");
    }
    let parsed = super::text("a.yaml", "kind: List\n");
    assert_eq!(parsed.diagnostics.len(), 2, "{:#?}", told(&parsed.diagnostics));
    let bare = "kind: List\nitems:\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}\n";
    assert_eq!(only(bare).field, "apiVersion");
    assert_eq!(super::text("a.yaml", bare).objects.len(), 1);
    let empty = super::text(
        "a.yaml",
        "apiVersion: v1\nkind: List\nitems: null\n---\napiVersion: v1\nkind: List\nitems: []\n",
    );
    assert!(empty.diagnostics.is_empty() && !empty.unreadable, "{:#?}", told(&empty.diagnostics));
    let foreign = only("apiVersion: firewall.example/v1\nkind: AllowList\nmetadata: {name: a}\nspec: {}\n");
    assert_eq!(foreign.severity, Severity::Info, "{foreign}");
}

fn fields(text: &str) -> Vec<String> {
    let parsed = super::text("a.yaml", text);
    assert!(parsed.objects.is_empty() && parsed.refused.len() == 1, "{text}");
    parsed.diagnostics.iter().map(|it| format!("{:?} {}", it.severity, it.field)).collect()
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let text = format!(
        "{VIRTUAL_SERVICE}spec:
  hosts: [a]
  http:
  - timeout: 3
    retries: {{attempts: \"3\"}}
    fault: {{delay: {{fixedDelay: 1s, percentage: {{value: 150}}}}, abort: {{httpStatus: 700, percentage: {{value: 1}}}}}}
    mirror: {{host: b}}
    rout: []
    route: [{{destination: {{host: a, port: {{number: web}}}}}}]
"
    );
    let found = fields(&text);
    let expected = [
        "Warning spec.http[0].rout",
        "Error spec.http[0].retries.attempts",
        "Error spec.http[0].route[0].destination.port.number",
        "Error spec.http[0].timeout",
        "Error spec.http[0].fault.delay.percentage.value",
        "Error spec.http[0].fault.abort.httpStatus",
        "Warning spec.http[0].mirror",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(expected.iter().all(|it| found.contains(&it.to_string())), "{found:#?}");
}

#[test]
fn what_does_not_fit_makes_no_further_errors() {
    for (spec, expected) in [
        ("{hosts: 5, gateways: [g], http: [{directResponse: {status: 200}}]}", "Error spec.hosts"),
        ("{hosts: [a], http: x}", "Error spec.http"),
        ("{hosts: [a], http: [{route: 5}]}", "Error spec.http[0].route"),
        ("{hosts: [a], http: [7]}", "Error spec.http[0]"),
        ("{hosts: [a], http: [{redirect: {uri: 5}}]}", "Error spec.http[0].redirect.uri"),
        (
            "{hosts: [a], http: [{match: [{uri: {exact: 5}}], directResponse: {status: 200}}]}",
            "Error spec.http[0].match[0].uri.exact",
        ),
        ("5", "Error spec"),
    ] {
        let found = fields(&format!("{VIRTUAL_SERVICE}spec: {spec}\n"));
        assert_eq!(found, [expected], "{spec}");
    }
    let limits = |limits: &str| {
        format!(
            "apiVersion: policy.dromon.io/v1\nkind: RateLimit\nmetadata: {{name: a}}\nspec: {{limits: [{limits}]}}\n"
        )
    };
    assert_eq!(fields(&limits("{requests: 1, unit: Fortnight}")), ["Error spec.limits[0].unit"]);
    assert_eq!(
        fields(&limits("{requests: x}, {requests: x, unit: Day}")),
        ["Error spec.limits[0].requests", "Error spec.limits[0]"],
        "a missing field is another error, and what it takes with it is not read"
    );
}

#[test]
fn only_so_many_faults_of_one_object_are_told() {
    let hosts = ["7"; 100].join(", ");
    let found = fields(&format!("{VIRTUAL_SERVICE}spec: {{hosts: [{hosts}]}}\n"));
    assert_eq!(found.len(), 16, "{found:#?}");
}

#[test]
fn a_probe_may_name_its_port() {
    let process = |probe: &str| {
        format!(
            "apiVersion: run.dromon.io/v1\nkind: Process\nmetadata: {{name: a}}\nspec: {{command: [a], ports: [{{name: http, containerPort: 81}}, {{name: web, containerPort: 80}}], readiness: {{{probe}}}}}\n"
        )
    };
    let port = |probe: &str| {
        let parsed = super::text("a.yaml", &process(probe));
        assert_eq!(parsed.diagnostics, [], "{probe}");
        let Object::Process(process) = &parsed.objects[0].object else { panic!("{probe}") };
        let probe = process.spec.readiness.clone().expect("given");
        (probe.http_get.map(|it| it.port), probe.tcp_socket.map(|it| it.port))
    };
    assert_eq!(port("httpGet: {path: /, port: web}"), (Some(80), None));
    assert_eq!(port("httpGet: {path: /, port: 8080}"), (Some(8080), None));
    assert_eq!(port("httpGet: {path: /, port: '8080'}"), (Some(8080), None));
    assert_eq!(port("tcpSocket: {port: http}"), (None, Some(81)));
    let unknown = only(&process("httpGet: {path: /, port: wep}"));
    assert_eq!((unknown.severity, unknown.field.as_str()), (Severity::Error, "spec.readiness.httpGet.port"));
    assert_eq!(unknown.hint, "did you mean `web`?", "{unknown}");
    let none = only(&process("tcpSocket: {}"));
    assert_eq!((none.severity, none.field.as_str()), (Severity::Error, "spec.readiness.tcpSocket.port"));
}

#[test]
fn a_peer_authentication_that_says_nothing_leaves_it_to_the_next_wider() {
    for rest in ["", "spec:\n", "spec: {}\n"] {
        let manifest =
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}\n";
        let parsed = text("a.yaml", &format!("{manifest}{rest}"));
        assert!(parsed.diagnostics.is_empty(), "{rest:?}: {:?}", parsed.diagnostics);
        assert_eq!(parsed.objects.len(), 1, "{rest:?}");
    }
}
