use super::*;
use crate::testing::set;

const THEIRS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/other}
";

fn gateway(api: &str, spec: &str) -> String {
    format!(
        "apiVersion: {api}\nkind: Gateway\nmetadata: {{name: shop, namespace: default}}\nspec: {spec}\n---\n"
    )
}

#[test]
fn of_a_text_that_is_left_out_which_another_controller_judges() {
    let set = set(THEIRS);
    let of_class = |class: &str| {
        let spec = format!("{{gatewayClassName: {class}, listeners: []}}");
        gateway("gateway.networking.k8s.io/v1", &spec)
    };
    // One of Istio's has the same name.
    let istio = gateway("networking.istio.io/v1", "{servers: many}");
    assert_eq!(said_of_others(&(of_class("dromon") + &istio), &set), []);
    let said = said_of_others(&(of_class("theirs") + &istio), &set);
    let fields: Vec<&str> = said.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["spec.listeners"]);
}

#[test]
fn an_object_that_names_nothing_is_ours_to_read() {
    let of = |text: &str| Whose::of(&parse::values(text)[0]);
    let route = |spec: &str| {
        of(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a}}\nspec: {spec}\n"
        ))
    };
    for nothing in [
        "{}",
        "{parentRefs: []}",
        "{parentRefs: [{name: 7}]}",
        "{parentRefs: [{name: a}, {name: b, kind: Service, group: ''}]}",
    ] {
        assert_eq!(route(nothing), None, "{nothing}");
    }
    let key = Key { kind: Kind::KubeGateway, namespace: "default".to_owned(), name: "a".to_owned() };
    assert_eq!(route("{parentRefs: [{name: a}]}"), Some(Whose::Gateways(vec![key])));
    let annotated = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a, annotations: {kubernetes.io/ingress.class: b}}\n";
    assert_eq!(of(annotated), Some(Whose::IngressClass("b".to_owned())));
}
