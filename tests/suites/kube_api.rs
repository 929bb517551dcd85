//! The harness's own promises, against the real API server: RBAC is on, users are who they say, a crash loses nothing, and
//! versions older than a compaction are gone.

use dromon_tests::kube::api_server::{ApiServer, Setup};
use dromon_tests::kube::kubectl::Kubectl;
use dromon_tests::{eventually, kube};

const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
";

const MAP: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: default}, data: {is: 'one'}}";

#[test]
fn an_account_may_do_what_its_role_gives_and_no_more() {
    let Some(kube) = ApiServer::start("kube_api") else { return };
    kube.kubectl().apply(READER);
    kube.kubectl().apply(MAP);
    let reader = Kubectl::new(&kube.account("default", "reader"));
    let map = eventually("the role to be in force", || reader.get(&["configmap", "one"]));
    assert_eq!(map["data"]["is"], "one");
    assert!(reader.refused(MAP.replace("is: 'one'", "is: 'two'").as_str()).contains("forbidden"));
    let secrets = reader.call(&["get", "secrets"], "");
    assert!(
        secrets.err.contains(r#"User "system:serviceaccount:default:reader" cannot list resource "secrets""#),
        "{secrets:?}"
    );
}

#[test]
fn a_crash_of_the_server_keeps_the_objects_and_old_versions_are_gone_after_a_compaction() {
    let Some(mut kube) = ApiServer::start("kube_api") else { return };
    kube.kubectl().apply(MAP);
    let version =
        kube.kubectl().get(&["configmap", "one"]).expect("it is there")["metadata"]["resourceVersion"]
            .clone();
    kube.kubectl().apply(&MAP.replace("is: 'one'", "is: 'two'"));
    kube.compact();
    kube.kill();
    assert!(!kube.kubectl().call(&["get", "configmaps"], "").ok, "nothing answers after the crash");
    kube.restart();
    assert_eq!(kube.kubectl().get(&["configmap", "one"]).expect("etcd kept it")["data"]["is"], "two");
    let version = version.as_str().expect("a version");
    let path =
        format!("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&resourceVersion={version}");
    let watch = kube.kubectl().call(&["get", "--raw", &path], "");
    assert!(format!("{watch:?}").contains("410"), "{watch:?}");
}

#[test]
fn with_the_controller_manager_namespaces_get_accounts_and_end() {
    let Some(kube) = Setup::default().controller_manager().start("kube_api") else { return };
    kube.kubectl().run(&["create", "namespace", "short"]);
    kube.kubectl().wait(&["serviceaccount", "default", "-n", "short"], |it| Some(it.clone()));
    kube.kubectl().run(&["delete", "namespace", "short", "--wait=false"]);
    kube.kubectl().wait_gone(&["namespace", "short"]);
}

#[test]
fn others_definitions_are_taken_as_they_are_published() {
    let Some(kube) = ApiServer::start("kube_api") else { return };
    for name in ["gateway-api.yaml", "istio.yaml"] {
        let path = kube::definitions(name);
        let path = path.to_str().expect("a path of text");
        kube.kubectl().run(&["apply", "--server-side", "-f", path]);
    }
    let kinds = ["gateways.gateway.networking.k8s.io", "virtualservices.networking.istio.io"];
    for kind in kinds {
        kube.kubectl().run(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{kind}")]);
    }
}
