use super::*;
use crate::testing::{set, told};

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings}
spec: {selector: {app: ratings}, ports: [{name: http, port: 9080}, {name: http-b, port: 9081}]}
---
apiVersion: run.dromon.io/v1
kind: Process
metadata: {name: reviews-v1, labels: {app: reviews, version: v1}}
spec: {command: [x], ports: [{name: http, containerPort: 9080}]}
---
apiVersion: run.dromon.io/v1
kind: Process
metadata: {name: ratings-v1, labels: {app: ratings, version: v1}}
spec: {command: [x], ports: [{name: http, containerPort: 9080}, {name: b, containerPort: 9081}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
";

fn object(kind: &str, name: &str, spec: &str) -> String {
    let group = match kind {
        "RateLimit" => "policy.dromon.io/",
        "Telemetry" => "telemetry.istio.io/",
        "Process" => "run.dromon.io/",
        "Service" => "",
        _ => "networking.istio.io/",
    };
    format!("apiVersion: {group}v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

/// Every expected `Severity object field: part of message` must be found, and nothing else.
fn found(objects: &[String], expected: &[&str]) {
    let findings = analyze(&set(&format!("{SERVICES}{}", objects.concat())));
    let told = told(&findings);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for part in expected {
        let (head, message) = part.split_once(": ").expect("head: message");
        let is_it = |it: &String| {
            it.split_once(": ").is_some_and(|(its, text)| its == head && text.contains(message))
        };
        assert!(told.iter().any(is_it), "{part} is not among {told:#?}");
    }
    assert!(findings.iter().all(|it| it.file == "test.yaml" && it.line.is_some()), "{findings:#?}");
}

fn route(destination: &str) -> String {
    object(
        "VirtualService",
        "a",
        &format!("{{hosts: [reviews], http: [{{route: [{{destination: {destination}}}]}}]}}"),
    )
}

#[test]
fn a_sound_set_has_no_findings() {
    found(&[route("{host: reviews, subset: v1, port: {number: 9080}}")], &[]);
}

#[test]
fn destinations_that_are_not_there() {
    let at = "VirtualService/default/a spec.http[0].route[0].destination";
    let error = |field: &str, message: &str| format!("Error {at}{field}: {message}");
    for (destination, expected) in [
        ("{host: revievs}", error(".host", "did you mean `reviews`?")),
        ("{host: reviews.default}", error(".host", "did you mean `reviews.default.svc.cluster.local`?")),
        ("{host: nowhere.example}", error(".host", "add a Service or a ServiceEntry")),
        ("{host: reviews, port: {number: 80}}", error(".port.number", "its ports: 9080")),
        ("{host: reviews, subset: v2}", error(".subset", "did you mean `v1`?")),
        ("{host: ratings, subset: v1, port: {number: 9080}}", error(".subset", "add a DestinationRule")),
        ("{host: ratings}", format!("Info {at}: several ports")),
    ] {
        found(&[route(destination)], &[&expected]);
    }
}

#[test]
fn names_of_other_namespaces_are_hinted_at_in_full() {
    let two =
        |kind: &str, spec: &str| object(kind, "a", spec).replace("{name: a}", "{name: a, namespace: two}");
    let full = "did you mean `reviews.default.svc.cluster.local`?";
    for said in ["reviews", "revievs"] {
        let rules = format!("{{hosts: [{said}], http: [{{route: [{{destination: {{host: {said}}}}}]}}]}}");
        found(
            &[two("VirtualService", &rules), two("DestinationRule", &format!("{{host: {said}}}"))],
            &[
                &format!("Warning VirtualService/two/a spec.hosts[0]: {full}"),
                &format!("Error VirtualService/two/a spec.http[0].route[0].destination.host: {full}"),
                &format!("Warning DestinationRule/two/a spec.host: {full}"),
            ],
        );
    }
}

#[test]
fn subsets_and_selectors_that_choose_nothing() {
    let rule =
        object("DestinationRule", "r", "{host: ratings, subsets: [{name: v2, labels: {version: v2}}]}");
    let subset = "Info DestinationRule/default/r spec.subsets[0].labels: no endpoint";
    found(std::slice::from_ref(&rule), &[subset]);
    let to = route("{host: ratings, subset: v2, port: {number: 9080}}");
    let route = "Warning VirtualService/default/a spec.http[0].route[0].destination.subset: no endpoints";
    found(&[rule, to], &[subset, route]);
    found(
        &[object("Service", "s", "{selector: {app: reviewz}, ports: [{name: http, port: 80}]}")],
        &["Warning Service/default/s spec.selector: did you mean `app: reviews`?"],
    );
    let labels = "{hosts: [reviews], http: [{match: [{sourceLabels: {tier: x}}], route: [{destination: {host: reviews}}]}]}";
    found(
        &[object("VirtualService", "a", labels)],
        &[
            "Warning VirtualService/default/a spec.http[0].match[0].sourceLabels: no workload has the label `tier`",
        ],
    );
}

#[test]
fn shares_that_do_not_sum_to_a_hundred_are_mentioned() {
    let spec = "{hosts: [reviews], http: [{route: [{destination: {host: reviews}, weight: 1}, {destination: {host: reviews, subset: v1}, weight: 2}]}]}";
    found(
        &[object("VirtualService", "a", spec)],
        &["Info VirtualService/default/a spec.http[0].route: sum up to 3"],
    );
}

#[test]
fn rules_that_never_hold() {
    let rules = |http: &str| object("VirtualService", "a", &format!("{{hosts: [reviews], http: [{http}]}}"));
    let one = |condition: &str| format!("{{match: [{condition}], directResponse: {{status: 200}}}}");
    let never = "Warning VirtualService/default/a spec.http[1]: never holds: `spec.http[0]`";
    let all = "{directResponse: {status: 200}}".to_owned();
    for (first, second, hidden) in [
        (all.clone(), one("{uri: {exact: /a}}"), true),
        (one("{uri: {prefix: /}}"), all.clone(), true),
        (one("{uri: {prefix: /}}"), one("{uri: {exact: /a}, headers: {x: {}}}"), true),
        (one("{uri: {prefix: /a}}"), one("{uri: {prefix: /ab}}"), true),
        (one("{uri: {prefix: /ab}}"), one("{uri: {prefix: /a}}"), false),
        (one("{headers: {x: {}}}"), one("{headers: {x: {exact: y}}}"), true),
        (one("{headers: {x: {exact: y}}}"), one("{headers: {x: {exact: z}}}"), false),
        (one("{method: {exact: GET}}"), one("{uri: {exact: /a}, method: {exact: GET}}"), true),
        (one("{sourceLabels: {app: reviews}}"), one("{uri: {exact: /a}}"), false),
        (one("{withoutHeaders: {x: {}}}"), one("{headers: {x: {}}}"), false),
    ] {
        let expected: &[&str] = if hidden { &[never] } else { &[] };
        found(&[rules(&format!("{first}, {second}"))], expected);
    }
    let half = format!(
        "{}, {}",
        one("{uri: {exact: /a}}"),
        "{match: [{uri: {exact: /a}}, {uri: {exact: /b}}], directResponse: {status: 200}}"
    );
    found(
        &[rules(&half)],
        &["Warning VirtualService/default/a spec.http[1].match[0]: alternative never holds"],
    );
    let tcp = "{hosts: [reviews], tcp: [{route: [{destination: {host: reviews}}]}, {match: [{port: 1}], route: [{destination: {host: reviews}}]}]}";
    found(
        &[object("VirtualService", "a", tcp)],
        &["Warning VirtualService/default/a spec.tcp[1]: takes all connections"],
    );
}

#[test]
fn hosts_that_two_objects_claim() {
    let rules = |name: &str| {
        object("VirtualService", name, "{hosts: [reviews], http: [{directResponse: {status: 200}}]}")
    };
    found(
        &[rules("a"), rules("b")],
        &["Warning VirtualService/default/b spec.hosts[0]: VirtualService/default/a has rules"],
    );
    let entry =
        "{hosts: [reviews.default.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}]}";
    found(
        &[object("ServiceEntry", "e", entry)],
        &["Warning ServiceEntry/default/e spec.hosts: also that of Service/default/reviews"],
    );
    let misspelt =
        object("VirtualService", "a", "{hosts: [review], http: [{directResponse: {status: 200}}]}");
    found(&[misspelt], &["Warning VirtualService/default/a spec.hosts[0]: did you mean `reviews`?"]);
}

#[test]
fn gateways_and_what_names_them() {
    let server = "{port: {number: 80, protocol: HTTP}, hosts: [a.x]}";
    let gateway = |name: &str, server: &str| {
        object("Gateway", name, &format!("{{selector: {{i: g}}, servers: [{server}]}}"))
    };
    let rules = |gateway: &str, host: &str| {
        object(
            "VirtualService",
            "v",
            &format!(
                "{{hosts: [{host}], gateways: [{gateway}], http: [{{directResponse: {{status: 200}}}}]}}"
            ),
        )
    };
    found(&[gateway("gate", server), rules("gate", "a.x")], &[]);
    let unserved = "Warning Gateway/default/gate spec.servers[0]: answered 404";
    found(
        &[gateway("gate", server), rules("gatee", "a.x")],
        &["Error VirtualService/default/v spec.gateways[0]: did you mean `gate`?", unserved],
    );
    found(
        &[gateway("gate", server), rules("gate", "b.x")],
        &["Warning VirtualService/default/v spec.gateways[0]: no server", unserved],
    );
    found(
        &[
            gateway("gate", server),
            gateway("other", "{port: {number: 80, protocol: TCP}, hosts: ['*']}"),
            rules("gate", "a.x"),
        ],
        &[
            "Error Gateway/default/other spec.servers[0].port.protocol: speaks something else in Gateway/default/gate",
        ],
    );
    found(
        &[gateway("gate", server), gateway("other", server), rules("gate, other", "a.x")],
        &["Warning Gateway/default/other spec.servers[0].hosts[0]: is served by Gateway/default/gate"],
    );
    found(
        &[gateway("gate", "{port: {number: 81, protocol: TCP}, hosts: ['*']}")],
        &["Warning Gateway/default/gate spec.servers[0]: every connection is closed"],
    );
}

/// What a proxy's configuration brings up as well is then the same finding, and told once.
#[test]
fn a_port_of_two_protocols_is_one_finding() {
    let spec = "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*']}, {port: {number: 80, protocol: TCP}, hosts: ['*']}]}";
    let set = set(&object("Gateway", "gate", spec));
    let is_it = |it: &Diagnostic| it.field == "spec.servers[1].port.protocol";
    let across: Vec<_> = analyze(&set).into_iter().filter(is_it).collect();
    let view = crate::translate(&Mesh::new(&set), &crate::testing::gateway(&[80]));
    let of_proxy: Vec<_> = view.diagnostics.into_iter().map(|it| set.located(it)).filter(is_it).collect();
    assert_eq!((across.len(), &across), (1, &of_proxy));
    assert_eq!((across[0].file.as_str(), across[0].line), ("test.yaml", Some(4)));
}

#[test]
fn destination_rules_for_nothing_and_twice() {
    found(
        &[object("DestinationRule", "d", "{host: reviewz}")],
        &["Warning DestinationRule/default/d spec.host: did you mean `reviews`?"],
    );
    let twice =
        object("DestinationRule", "second", "{host: reviews, subsets: [{name: v1, labels: {version: v1}}]}");
    found(
        &[twice],
        &["Warning DestinationRule/default/second spec.subsets[0].name: defines `v1` of the same host"],
    );
    let port =
        "{host: reviews, trafficPolicy: {portLevelSettings: [{port: {number: 1}, tls: {mode: DISABLE}}]}}";
    found(
        &[object("DestinationRule", "d", port)],
        &[
            "Warning DestinationRule/default/d spec.trafficPolicy.portLevelSettings[0].port.number: its ports: 9080",
        ],
    );
}

#[test]
fn outlier_detection_that_never_ejects() {
    let more: String = (2..=10)
        .map(|at| {
            object(
                "Process",
                "p",
                "{command: [x], ports: [{name: http, containerPort: 9080}, {name: b, containerPort: 9081}]}",
            )
            .replace(
                "{name: p}",
                &format!("{{name: ratings-{at}, labels: {{app: ratings, version: v{}}}}}", at % 2),
            )
        })
        .collect();
    let rule = |policy: &str, more: &str| {
        object("DestinationRule", "d", &format!("{{host: ratings, trafficPolicy: {{{policy}}}{more}}}"))
    };
    let at = "Warning DestinationRule/default/d spec.trafficPolicy.outlierDetection";
    let host = "ratings.default.svc.cluster.local";
    found(
        &[rule("outlierDetection: {consecutive5xxErrors: 1}", "")],
        &[&format!(
            "{at}: 10 % of the endpoints is less than one, so none is ever ejected of {host} (1) (set `maxEjectionPercent: 100`"
        )],
    );
    found(
        &[rule("outlierDetection: {maxEjectionPercent: 99}", "")],
        &[&format!("{at}.maxEjectionPercent: 99 % of")],
    );
    found(&[rule("outlierDetection: {maxEjectionPercent: 100}", "")], &[]);
    found(&[more.clone(), rule("outlierDetection: {}", "")], &[]);
    let subset = ", subsets: [{name: odd, labels: {version: v1}}]";
    found(
        &[more.clone(), rule("outlierDetection: {}", subset)],
        &[&format!("{at}: ever ejected of {host} subset `odd` (5) (set `maxEjectionPercent: 20`")],
    );
    let own = ", subsets: [{name: odd, labels: {version: v1}, trafficPolicy: {outlierDetection: {maxEjectionPercent: 20}}}]";
    found(&[more.clone(), rule("outlierDetection: {}", own)], &[]);
    // A port's settings replace what stands above them.
    let of_port = "outlierDetection: {}, portLevelSettings: [{port: {number: 9081}, outlierDetection: {maxEjectionPercent: 5}}]";
    found(
        &[more, rule(of_port, "")],
        &[&format!(
            "Warning DestinationRule/default/d spec.trafficPolicy.portLevelSettings[0].outlierDetection.maxEjectionPercent: ever ejected of {host} (10) (set `maxEjectionPercent: 10`"
        )],
    );
}

#[test]
fn ports_that_are_not_there() {
    let service =
        |port: &str| object("Service", "s", &format!("{{selector: {{app: reviews}}, ports: [{port}]}}"));
    found(
        &[service("{name: http, port: 80, targetPort: web}")],
        &["Error Service/default/s spec.ports[0].targetPort: no port named `web`"],
    );
    found(
        &[service("{name: http, port: 80}")],
        &["Warning Service/default/s spec.ports[0].targetPort: declares no port 80"],
    );
    found(
        &[service("{name: web, port: 80, targetPort: 9080}")],
        &["Info Service/default/s spec.ports[0].name: declares no protocol"],
    );
    found(
        &[object("Service", "s", "{ports: [{name: http, port: 80}]}")],
        &["Warning Service/default/s spec.selector: neither a selector nor endpoints"],
    );
}

#[test]
fn endpoints_of_no_service() {
    let endpoints = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}}}\nsubsets: [{{addresses: [{{ip: 10.0.0.1}}], ports: [{{name: http, port: 9080}}]}}]\n---\n"
        )
    };
    let slice = |labels: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, labels: {{{labels}}}}}\naddressType: IPv4\nports: [{{name: http, port: 9080}}]\nendpoints: [{{addresses: [10.0.0.1]}}]\n---\n"
        )
    };
    found(&[endpoints("ratings")], &[]);
    found(
        &[endpoints("ratingz")],
        &["Warning Endpoints/default/ratingz metadata.name: did you mean `ratings`?"],
    );
    found(&[slice("kubernetes.io/service-name: ratings")], &[]);
    let at = "Warning EndpointSlice/default/s metadata.labels";
    found(&[slice("app: ratings")], &[&format!("{at}: `kubernetes.io/service-name` is missing")]);
    let nowhere = format!("{at}: there is no Service `nowhere` in namespace `default`");
    found(&[slice("kubernetes.io/service-name: nowhere")], &[&nowhere]);
    found(&["apiVersion: v1\nkind: Endpoints\nmetadata: {name: leader}\n---\n".to_owned()], &[]);
}

#[test]
fn limits_sidecars_and_telemetry() {
    let limit = |spec: &str| {
        object("RateLimit", "l", &format!("{{{spec}, limits: [{{requests: 1, unit: Second}}]}}"))
    };
    found(
        &[limit("targetRefs: [{kind: Service, name: review}]")],
        &["Error RateLimit/default/l spec.targetRefs[0].name: did you mean `reviews`?"],
    );
    found(
        &[limit("selector: {matchLabels: {app: x}}")],
        &["Warning RateLimit/default/l spec.selector.matchLabels: no workload"],
    );
    let general = |name: &str| object("Sidecar", name, "{egress: [{hosts: ['./*']}]}");
    found(
        &[general("a"), general("b")],
        &["Error Sidecar/default/b spec.workloadSelector: Sidecar/default/a is the namespace's"],
    );
    found(
        &[object("Sidecar", "a", "{egress: [{hosts: [./reviews]}]}")],
        &["Warning Sidecar/default/a spec.egress[0].hosts[0]: hosts are full names"],
    );
    found(
        &[object("Telemetry", "t", "{accessLogging: [{providers: [{name: envoi}]}]}")],
        &["Error Telemetry/default/t spec.accessLogging[0].providers[0].name: did you mean `envoy`?"],
    );
}

#[test]
fn limits_that_nobody_keeps() {
    let limit = |spec: &str| {
        object("RateLimit", "l", &format!("{{{spec}, limits: [{{requests: 1, unit: Second}}]}}"))
    };
    let entry = object(
        "ServiceEntry",
        "e",
        "{hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}",
    );
    let to_entry = |more: &str| limit(&format!("targetRefs: [{{kind: ServiceEntry, name: e}}]{more}"));
    found(&[entry.clone(), to_entry(", direction: Outbound")], &[]);
    found(
        &[entry.clone(), to_entry("")],
        &["Warning RateLimit/default/l spec.targetRefs[0]: stands behind ServiceEntry `default/e`"],
    );
    found(&[limit("targetRefs: [{kind: Service, name: reviews}]")], &[]);
    found(
        &[limit("targetRefs: [{kind: Service, name: reviews}], selector: {matchLabels: {app: ratings}}")],
        &["Warning RateLimit/default/l spec.selector.matchLabels: stands behind Service `default/reviews`"],
    );
    found(
        &[limit("direction: Gateway")],
        &["Warning RateLimit/default/l spec.direction: there is no Gateway"],
    );
    let elsewhere = |spec: &str| limit(spec).replace("{name: l}", "{name: l, namespace: two}");
    found(
        &[elsewhere("direction: Inbound")],
        &["Warning RateLimit/two/l spec: no sidecar of namespace `two` receives"],
    );
    found(
        &[elsewhere("direction: Outbound, targetRefs: [{kind: Service, name: reviews, namespace: default}]")],
        &["Warning RateLimit/two/l spec.direction: no sidecar of namespace `two` sends"],
    );
    found(
        &[elsewhere("targetRefs: [{kind: Service, name: reviews}]")],
        &["Error RateLimit/two/l spec.targetRefs[0].name: did you mean `name: reviews, namespace: default`?"],
    );
    let tcp = object("Service", "raw", "{selector: {app: reviews}, ports: [{name: tcp, port: 9080}]}");
    found(
        &[tcp, limit("targetRefs: [{kind: Service, name: raw}]")],
        &["Warning RateLimit/default/l spec.targetRefs[0]: speaks no HTTP"],
    );
}

#[test]
fn processes_that_nothing_selects_and_delegates_that_nobody_uses() {
    found(
        &[object("Process", "p", "{command: [x], ports: [{name: http, containerPort: 80}]}")],
        &["Info Process/default/p metadata.labels: nothing is sent to it by name"],
    );
    let delegate = |name: &str| {
        object(
            "VirtualService",
            "v",
            &format!("{{hosts: [reviews], http: [{{delegate: {{name: {name}}}}}]}}"),
        )
    };
    let leaf = object("VirtualService", "leaf", "{http: [{directResponse: {status: 200}}]}");
    found(&[delegate("leaf"), leaf.clone()], &[]);
    found(
        &[delegate("none"), leaf],
        &[
            "Error VirtualService/default/v spec.http[0].delegate: there is no VirtualService/default/none",
            "Warning VirtualService/default/leaf spec.hosts: no VirtualService delegates to it",
        ],
    );
}

#[test]
fn an_object_in_two_files_is_reported_where_it_is_hidden() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}], selector: {app: a}}\n";
    let mut set = ObjectSet::new();
    for file in ["b.yaml", "a.yaml"] {
        crate::parse::text(file, text).objects.into_iter().for_each(|it| set.insert(it));
    }
    let findings = analyze(&set);
    let [only] = findings.as_slice() else { panic!("{findings:#?}") };
    assert_eq!((only.file.as_str(), only.object.as_str()), ("a.yaml", "Service/default/a"));
    assert!(only.message.contains("b.yaml has this object too"), "{only}");
}
