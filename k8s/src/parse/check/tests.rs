mod tls;

use crate::diagnostic::Severity;
use crate::parse;
use crate::testing::told;

/// Reads a spec of a kind; every expected `severity field: part of message` must be found, and nothing else.
fn check(api: &str, kind: &str, spec: &str, expected: &[&str]) {
    let text = format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
    let parsed = parse::text("a.yaml", &text);
    let found = told(&parsed.diagnostics);
    assert_eq!(found.len(), expected.len(), "{spec}\n{found:#?}");
    for part in expected {
        let (head, message) = part.split_once(": ").expect("severity field: message");
        let (severity, field) = head.split_once(' ').expect("severity field");
        let is_it = |it: &&crate::Diagnostic| {
            format!("{:?}", it.severity) == severity && it.field == field && it.message.contains(message)
        };
        assert!(parsed.diagnostics.iter().any(|it| is_it(&it)), "{part} is not among {found:#?}");
    }
    let has_error = parsed.diagnostics.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(parsed.objects.is_empty(), has_error, "errors refuse, warnings do not: {spec}");
}

fn http(route: &str, expected: &[&str]) {
    check("networking.istio.io/v1", "VirtualService", &format!("{{hosts: [a], http: [{route}]}}"), expected);
}

const TO_A: &str = "route: [{destination: {host: a}}]";

#[test]
fn hosts() {
    let cases = [
        (
            "{hosts: ['*'], http: [{directResponse: {status: 200}}]}",
            "Error spec.hosts[0]: cannot be a host of sidecars",
        ),
        (
            "{hosts: ['a:80'], http: [{directResponse: {status: 200}}]}",
            "Error spec.hosts[0]: not a host name",
        ),
        (
            "{hosts: ['a.*.b'], http: [{directResponse: {status: 200}}]}",
            "Error spec.hosts[0]: not a host name",
        ),
        ("{hosts: [a], gateways: [b]}", "Error spec: no route"),
        ("{gateways: [b], http: [{directResponse: {status: 200}}]}", "Error spec.hosts: no host"),
    ];
    for (spec, expected) in cases {
        check("networking.istio.io/v1", "VirtualService", spec, &[expected]);
    }
    let fine =
        "{hosts: ['*.a.example', 10.0.0.1, b], gateways: [g], http: [{directResponse: {status: 200}}]}";
    check("networking.istio.io/v1", "VirtualService", fine, &[]);
}

#[test]
fn what_a_route_does() {
    http("{}", &["Error spec.http[0]: nothing to do"]);
    http(&format!("{{{TO_A}, redirect: {{uri: /b}}}}"), &["Error spec.http[0]: exclude each other"]);
    http("{redirect: {uri: /b}, rewrite: {uri: /c}}", &["Error spec.http[0].rewrite: cannot rewrite"]);
    http("{redirect: {}}", &["Error spec.http[0].redirect: leads back"]);
    http("{redirect: {uri: /b, redirectCode: 200}}", &["Error spec.http[0].redirect.redirectCode: 200"]);
    http("{redirect: {port: 80, derivePort: FROM_REQUEST_PORT}}", &["Error spec.http[0].redirect: exclude"]);
    http("{redirect: {scheme: ftp}}", &["Error spec.http[0].redirect.scheme: ftp"]);
    http("{directResponse: {status: 99}}", &["Error spec.http[0].directResponse.status: 99"]);
    http(
        "{directResponse: {status: 200, body: {bytes: YQ==}}}",
        &["Warning spec.http[0].directResponse.body.bytes: not carried"],
    );
    http(&format!("{{{TO_A}, rewrite: {{}}}}"), &["Error spec.http[0].rewrite: nothing to rewrite"]);
    http(
        &format!("{{{TO_A}, rewrite: {{uri: /b, uriRegexRewrite: {{match: /a, rewrite: /b}}}}}}"),
        &["Error spec.http[0].rewrite: exclude"],
    );
}

#[test]
fn rewrites_that_cannot_be_carried_out() {
    let with = |rewrite: &str| format!("{{{TO_A}, rewrite: {{{rewrite}}}}}");
    http(
        &with("uriRegexRewrite: {match: '/a(', rewrite: /b}"),
        &["Error spec.http[0].rewrite.uriRegexRewrite: invalid regular expression"],
    );
    http(&with("uri: '/a b'"), &["Error spec.http[0].rewrite.uri: a byte that may not stand in a path"]);
    http(&with("uriRegexRewrite: {match: '/a/(.*)', rewrite: '/b/\\1'}"), &[]);
}

#[test]
fn destinations_and_weights() {
    http("{route: [{destination: {host: ''}}]}", &["Error spec.http[0].route[0].destination.host: empty"]);
    http(
        "{route: [{destination: {host: '*.a'}}]}",
        &["Error spec.http[0].route[0].destination.host: wildcard"],
    );
    http(
        "{route: [{destination: {host: a, port: {number: 0}}}]}",
        &["Error spec.http[0].route[0].destination.port.number: not a port"],
    );
    http(
        "{route: [{destination: {host: a}}, {destination: {host: b}}]}",
        &["Error spec.http[0].route: all weights"],
    );
    http(
        "{route: [{destination: {host: a}, weight: 1}, {destination: {host: b}}]}",
        &["Warning spec.http[0].route[1].weight: never gets"],
    );
    http(&format!("{{{TO_A}}}"), &[]);
    http("{route: [{destination: {host: a}, weight: 1}, {destination: {host: b}, weight: 0}]}", &[]);
}

#[test]
fn conditions() {
    let matching = |condition: &str| format!("{{match: [{condition}], {TO_A}}}");
    http(
        &matching("{uri: {regex: '/a('}}"),
        &["Error spec.http[0].match[0].uri.regex: not a regular expression"],
    );
    http(&matching("{uri: {}}"), &["Error spec.http[0].match[0].uri: says nothing"]);
    http(&matching("{uri: {prefix: a}}"), &["Warning spec.http[0].match[0].uri: paths start with"]);
    http(&matching("{uri: {regex: '/(?=a)'}}"), &["Error spec.http[0].match[0].uri.regex: look-around"]);
    http(
        &matching("{headers: {'a b': {exact: c}}}"),
        &["Error spec.http[0].match[0].headers.a b: header name"],
    );
    http(
        &matching("{withoutHeaders: {':path': {exact: /c}}}"),
        &["Error spec.http[0].match[0].withoutHeaders.:path: header name"],
    );
    http(
        &matching("{headers: {a: {regex: '['}}}"),
        &["Error spec.http[0].match[0].headers.a.regex: regular"],
    );
    http(
        &matching("{queryParams: {a: {regex: '['}}}"),
        &["Error spec.http[0].match[0].queryParams.a.regex: regular"],
    );
    http(&matching("{port: 0}"), &["Error spec.http[0].match[0].port: not a port"]);
    http(&matching("{gateways: [g]}"), &["Warning spec.http[0].match[0].gateways[0]: never matches"]);
    http(&matching("{statPrefix: s}"), &["Warning spec.http[0].match[0].statPrefix: not carried out yet"]);
    http(&matching("{headers: {a: {}}, withoutHeaders: {b: null}, ignoreUriCase: true}"), &[]);
}

#[test]
fn retries_and_faults() {
    let with = |fields: &str| format!("{{{TO_A}, {fields}}}");
    http(
        &with("retries: {attempts: 2, retryOn: '5xx,gatway-error'}"),
        &["Error spec.http[0].retries.retryOn: gatway-error"],
    );
    http(
        &with("retries: {attempts: 2, retryOn: 'retriable-headers'}"),
        &["Warning spec.http[0].retries.retryOn: not carried"],
    );
    http(
        &with("retries: {attempts: 99}"),
        &["Warning spec.http[0].retries.attempts: more than are ever made"],
    );
    http(
        &with("retries: {attempts: 0, retryOn: 5xx}"),
        &["Warning spec.http[0].retries.attempts: switch retries off"],
    );
    http(
        &with("timeout: 1s, retries: {attempts: 2, perTryTimeout: 2s}"),
        &["Warning spec.http[0].retries.perTryTimeout: whole exchange"],
    );
    http(&with("fault: {}"), &["Error spec.http[0].fault: names no fault"]);
    http(
        &with("fault: {delay: {percentage: {value: 1}}}"),
        &["Error spec.http[0].fault.delay.fixedDelay: missing"],
    );
    http(&with("fault: {delay: {fixedDelay: 1s}}"), &["Warning spec.http[0].fault.delay: no request"]);
    http(
        &with("fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}"),
        &["Error spec.http[0].fault.delay.percentage.value: not a percentage"],
    );
    http(
        &with("fault: {abort: {percentage: {value: 1}}}"),
        &["Error spec.http[0].fault.abort.httpStatus: missing"],
    );
    http(&with("fault: {abort: {httpStatus: 500}}"), &["Warning spec.http[0].fault.abort: no request"]);
    http(
        &with("fault: {abort: {httpStatus: 42, percentage: {value: 1}}}"),
        &["Error spec.http[0].fault.abort.httpStatus: 42"],
    );
}

#[test]
fn headers() {
    let with = |fields: &str| format!("{{{TO_A}, headers: {{{fields}}}}}");
    http(&with("request: {set: {'a b': c}}"), &["Error spec.http[0].headers.request.set: header name"]);
    http(
        &with("request: {add: {a: \"b\\r\\nc: d\"}}"),
        &["Error spec.http[0].headers.request.add.a: line ends"],
    );
    http(
        &with("request: {add: {host: b}}"),
        &["Warning spec.http[0].headers.request.add: cannot be changed"],
    );
    http(
        &with("response: {set: {a: '%REQ(b)%'}}"),
        &["Warning spec.http[0].headers.response.set.a: format operators"],
    );
    http(&with("request: {set: {host: b}}"), &[]);
    http(
        &with("response: {remove: [Transfer-Encoding]}"),
        &["Error spec.http[0].headers.response.remove: frames the message"],
    );
}

#[test]
fn tcp_routes() {
    let tcp = |route: &str, expected: &[&str]| {
        check(
            "networking.istio.io/v1",
            "VirtualService",
            &format!("{{hosts: [a], tcp: [{route}]}}"),
            expected,
        );
    };
    tcp("{}", &["Error spec.tcp[0].route: no destination"]);
    tcp(
        &format!("{{match: [{{destinationSubnets: [10.0.0.0/33], sourceSubnet: x}}], {TO_A}}}"),
        &[
            "Error spec.tcp[0].match[0].destinationSubnets[0]: neither",
            "Error spec.tcp[0].match[0].sourceSubnet: neither",
        ],
    );
    tcp(&format!("{{match: [{{port: 80, sourceSubnet: 10.0.0.1}}], {TO_A}}}"), &[]);
}

#[test]
fn destination_rules() {
    let rule =
        |spec: &str, expected: &[&str]| check("networking.istio.io/v1", "DestinationRule", spec, expected);
    rule("{host: ''}", &["Error spec.host: empty"]);
    rule(
        "{host: a, subsets: [{name: v1, labels: {a: b}}, {name: v1, labels: {a: c}}]}",
        &["Error spec.subsets[1].name: twice"],
    );
    rule("{host: a, subsets: [{name: v1}]}", &["Warning spec.subsets[0].labels: whole host"]);
    rule(
        "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101, interval: 0s}}}",
        &[
            "Error spec.trafficPolicy.outlierDetection.maxEjectionPercent: not a percentage",
            "Error spec.trafficPolicy.outlierDetection.interval: at least",
        ],
    );
    rule(
        "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}}",
        &["Warning spec.trafficPolicy.loadBalancer.consistentHash: not carried out yet"],
    );
    rule(
        "{host: a, trafficPolicy: {portLevelSettings: [{loadBalancer: {simple: RANDOM}}]}}",
        &["Error spec.trafficPolicy.portLevelSettings[0].port: missing"],
    );
}

#[test]
fn gateways() {
    let gateway = |server: &str, expected: &[&str]| {
        check("networking.istio.io/v1", "Gateway", &format!("{{servers: [{server}]}}"), expected);
    };
    check("networking.istio.io/v1", "Gateway", "{servers: []}", &["Error spec.servers: no server"]);
    gateway("{port: {number: 80, protocol: HTTP}}", &["Error spec.servers[0].hosts: no host"]);
    gateway(
        "{port: {number: 80, protocol: HTTPP}, hosts: ['*']}",
        &["Error spec.servers[0].port.protocol: HTTPP"],
    );
    gateway("{port: {protocol: HTTP}, hosts: ['*']}", &["Error spec.servers[0].port.number: not a port"]);
    gateway(
        "{port: {number: 443, protocol: HTTPS}, hosts: ['*']}",
        &["Error spec.servers[0].tls: needs `tls`"],
    );
    gateway(
        "{port: {number: 80, protocol: HTTP}, hosts: ['a/b:80']}",
        &["Error spec.servers[0].hosts[0]: host name"],
    );
    gateway(
        "{port: {number: 80, protocol: http}, hosts: ['./*.a', '*/b', '*'], tls: {httpsRedirect: true}}",
        &[],
    );
}

#[test]
fn service_entries() {
    let entry =
        |spec: &str, expected: &[&str]| check("networking.istio.io/v1", "ServiceEntry", spec, expected);
    let ports = "ports: [{number: 80, name: http, protocol: HTTP}]";
    entry(
        &format!("{{hosts: [a.b], {ports}, resolution: STATIC}}"),
        &["Warning spec.endpoints: no endpoints"],
    );
    entry(
        &format!("{{hosts: [a.b], {ports}, resolution: STATIC, endpoints: [{{address: c.d}}]}}"),
        &["Error spec.endpoints[0].address: not an IP"],
    );
    entry(
        &format!("{{hosts: [a.b], {ports}, endpoints: [{{address: 10.0.0.1}}]}}"),
        &["Error spec.resolution: no meaning"],
    );
    entry(
        &format!("{{hosts: ['*.b'], {ports}, resolution: DNS}}"),
        &["Error spec.hosts[0]: cannot be looked up"],
    );
    entry(&format!("{{hosts: ['*'], {ports}}}"), &["Error spec.hosts[0]: every host"]);
    entry("{hosts: [a.b], resolution: DNS}", &["Error spec.ports: no port"]);
    entry(
        "{hosts: [a.b], resolution: DNS, ports: [{number: 80, name: a, protocol: HTTP}, {number: 80, name: a, protocol: X}]}",
        &[
            "Error spec.ports[1].number: twice",
            "Error spec.ports[1].name: twice",
            "Error spec.ports[1].protocol: not a protocol",
        ],
    );
    entry(
        &format!(
            "{{hosts: [a.b], {ports}, resolution: STATIC, endpoints: [{{address: 10.0.0.1, ports: {{tcp: 1}}}}]}}"
        ),
        &["Error spec.endpoints[0].ports.tcp: no port named"],
    );
    entry(
        &format!("{{hosts: [a.b], {ports}, resolution: STATIC, endpoints: [{{address: 'unix:///a'}}]}}"),
        &["Warning spec.endpoints[0].address: not carried out yet"],
    );
    entry(
        &format!("{{hosts: [a.b], {ports}, addresses: [nowhere], resolution: DNS}}"),
        &["Error spec.addresses[0]: neither"],
    );
}

#[test]
fn rate_limits() {
    let limit = |spec: &str, expected: &[&str]| check("policy.dromon.io/v1", "RateLimit", spec, expected);
    let one = "limits: [{requests: 1, unit: Second}]";
    limit("{targetRefs: [{kind: Service, name: a}]}", &["Error spec.limits: no limit"]);
    limit(
        &format!("{{targetRefs: [{{kind: Pod, name: a}}], {one}}}"),
        &["Error spec.targetRefs[0].kind: cannot be a target"],
    );
    limit(
        &format!("{{targetRefs: [{{kind: Gateway, name: a}}], direction: Inbound, {one}}}"),
        &["Error spec.targetRefs[0].kind: no target of direction"],
    );
    limit(&format!("{{direction: Outbound, {one}}}"), &["Error spec.targetRefs: not to what"]);
    limit(
        "{limits: [{requests: 1, unit: Second, per: [{header: a, path: {}}]}]}",
        &["Error spec.limits[0].per[0]: exactly one key"],
    );
    limit(
        "{limits: [{requests: 1, unit: Second, when: {path: {regex: '['}}}]}",
        &["Error spec.limits[0].when.path.regex: regular expression"],
    );
    limit(
        "{limits: [{requests: 1, unit: Second, when: {headers: {':method': {exact: GET}}}}]}",
        &["Error spec.limits[0].when.headers.:method: header name"],
    );
    limit("{limits: [{requests: 1, unit: Fortnight}]}", &["Error spec.limits[0].unit: unknown variant"]);
    limit("{limits: [{requests: 0, unit: Day}]}", &["Warning spec.limits[0].requests: refuses every"]);
    limit(&format!("{{targetRefs: [{{kind: Gateway, name: a}}], {one}}}"), &[]);
    let burst = |burst: &str, expected: &[&str]| {
        limit(&format!("{{limits: [{{requests: 5, unit: Minute, burst: {burst}}}]}}"), expected);
    };
    burst("1", &[]);
    burst("5", &[]);
    burst("~", &[]);
    burst("0", &["Error spec.limits[0].burst: admit nothing"]);
    burst("6", &["Info spec.limits[0].burst: 6 may come at once, more than the 5 of a Minute"]);
    let keys = ["{path: {}}"; 9].join(", ");
    limit(
        &format!("{{limits: [{{requests: 5, unit: Minute, per: [{keys}]}}]}}"),
        &["Error spec.limits[0].per: at most 8"],
    );
}

#[test]
fn processes() {
    let process = |spec: &str, expected: &[&str]| check("run.dromon.io/v1", "Process", spec, expected);
    process("{command: []}", &["Error spec.command: nothing to run"]);
    process(
        "{command: [a], ports: [{containerPort: 80}, {containerPort: 80}]}",
        &["Error spec.ports[1].containerPort: twice"],
    );
    process(
        "{command: [a], ports: [{containerPort: 15001}]}",
        &["Error spec.ports[0].containerPort: sidecar itself"],
    );
    process("{command: [a], readiness: {periodSeconds: 1}}", &["Error spec.readiness: exactly one way"]);
}

#[test]
fn services_sidecars_and_settings() {
    check(
        "v1",
        "Service",
        "{ports: [{port: 53, protocol: UDP, name: dns}]}",
        &["Info spec.ports[0].protocol: outside the mesh"],
    );
    check(
        "v1",
        "Service",
        "{type: ExternalName, ports: [{port: 80}]}",
        &["Error spec.externalName: missing"],
    );
    check("v1", "Service", "{selector: {a: b}}", &["Warning spec.ports: no ports"]);
    check(
        "v1",
        "Service",
        "{ports: [{port: 80}], sessionAffinity: ClientIP}",
        &["Warning spec.sessionAffinity: not carried"],
    );
    check(
        "networking.istio.io/v1",
        "Sidecar",
        "{egress: [{hosts: [a.b]}]}",
        &["Error spec.egress[0].hosts[0]: no namespace"],
    );
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: \"accessLogfile: /dev/stdout\\nconnectTimeout: soon\"}\n";
    let found = parse::text("a.yaml", text).diagnostics;
    let fields: Vec<_> = found.iter().map(|it| (it.field.as_str(), it.hint.as_str())).collect();
    assert_eq!(fields[0], ("data.mesh.accessLogfile", "did you mean `accessLogFile`?"), "{found:#?}");
    assert_eq!(fields[1].0, "data.mesh.connectTimeout");
}
