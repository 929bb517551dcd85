use dromon_core::config::model::MtlsMode;

use crate::Mesh;
use crate::mesh::workloads::Labels;
use crate::testing::set;

/// A PeerAuthentication of a namespace, created in a second of one minute; `-` for none, as in files.
fn object(name: &str, namespace: &str, second: &str, spec: &str) -> String {
    let created = match second {
        "-" => String::new(),
        second => format!(", creationTimestamp: '2026-01-01T00:00:{second}Z'"),
    };
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}{created}}}\nspec: {spec}\n---\n"
    )
}

/// Mode and origin for port 80 of `app: a` in `default`, then of port 81.
fn decided(objects: &[String]) -> [(MtlsMode, String); 2] {
    let mesh = Mesh::new(&set(&objects.concat()));
    let labels: Labels = [("app".to_owned(), "a".to_owned())].into();
    [80, 81].map(|port| {
        let decision = mesh.peer_authentications.of("default", &labels, port);
        (decision.mode, decision.origin)
    })
}

const STRICT: &str = "{mtls: {mode: STRICT}}";
const DISABLE: &str = "{mtls: {mode: DISABLE}}";
const APP: &str = "selector: {matchLabels: {app: a}}";

#[test]
fn without_objects_it_is_permissive() {
    assert_eq!(decided(&[]), [80, 81].map(|_| (MtlsMode::Permissive, String::new())));
}

#[test]
fn the_workload_comes_before_the_namespace_before_the_mesh() {
    let mesh = object("m", "istio-system", "-", STRICT);
    let namespace = object("n", "default", "-", DISABLE);
    let other = object("o", "other", "-", DISABLE);
    let workload = object("w", "default", "-", &format!("{{{APP}, mtls: {{mode: PERMISSIVE}}}}"));
    let of = |objects: &[&String]| {
        let [first, _] = decided(&objects.iter().map(|it| it.to_string()).collect::<Vec<_>>());
        first
    };
    let strict = (MtlsMode::Strict, "PeerAuthentication/istio-system/m spec.mtls".to_owned());
    assert_eq!(of(&[&mesh, &other]), strict);
    assert_eq!(of(&[&mesh, &namespace]).0, MtlsMode::Disable);
    let permissive = (MtlsMode::Permissive, "PeerAuthentication/default/w spec.mtls".to_owned());
    assert_eq!(of(&[&mesh, &namespace, &workload]), permissive);
}

#[test]
fn what_is_unset_the_next_wider_says() {
    let mesh = object("m", "istio-system", "-", STRICT);
    for namespace in ["{}", "{mtls: {}}", "{mtls: {mode: UNSET}}"] {
        let objects = [mesh.clone(), object("n", "default", "-", namespace)];
        assert_eq!(decided(&objects)[0].0, MtlsMode::Strict, "{namespace}");
    }
    let ports =
        format!("{{{APP}, mtls: {{mode: UNSET}}, portLevelMtls: {{80: {{mode: DISABLE}}, 81: {{}}}}}}");
    let [one, other] = decided(&[mesh, object("w", "default", "-", &ports)]);
    assert_eq!(one, (MtlsMode::Disable, "PeerAuthentication/default/w spec.portLevelMtls.80".to_owned()));
    assert_eq!(other.0, MtlsMode::Strict);
}

#[test]
fn of_several_the_oldest_counts() {
    let young = object("a", "default", "30", STRICT);
    let old = object("z", "default", "10", DISABLE);
    assert_eq!(decided(&[young, old])[0].0, MtlsMode::Disable);
    let by_name = [object("a", "default", "-", STRICT), object("b", "default", "-", DISABLE)];
    assert_eq!(decided(&by_name)[0].0, MtlsMode::Strict);
}

#[test]
fn a_selector_in_the_root_namespace_has_no_effect() {
    let objects = [object("m", "istio-system", "-", &format!("{{{APP}, mtls: {{mode: STRICT}}}}"))];
    assert_eq!(decided(&objects)[0].0, MtlsMode::Permissive);
}
