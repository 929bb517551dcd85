//! What the mesh's objects are called in a cluster. These names are part of the interface: users write them.

/// The namespace of the controller and the gateway.
pub const SYSTEM_NAMESPACE: &str = "dromon-system";
/// The controller's Deployment, Service, account, roles and Lease.
pub const CONTROLLER: &str = "dromon-controller";
/// The ingress gateway's Deployment, Service and account.
pub const GATEWAY: &str = "dromon-gateway";
/// The egress gateway's, where it is asked for.
pub const EGRESS_GATEWAY: &str = "dromon-egress";
/// The Secret with the CA: `tls.crt`, `tls.key`, `ca.crt`.
pub const CA_SECRET: &str = "dromon-ca";
/// The ConfigMap whose key [`MESH_KEY`] holds the mesh's settings.
pub const MESH_CONFIG: &str = "dromon";
/// Key of the mesh's settings.
pub const MESH_KEY: &str = "mesh";
/// Key of the installation's values, which injection follows.
pub const VALUES_KEY: &str = "values";
/// Where the controller finds [`MESH_CONFIG`] mounted.
pub const CONFIG_DIR: &str = "/etc/dromon";
/// GatewayClass, IngressClass.
pub const CLASS: &str = "dromon";
/// `controllerName` of the GatewayClass.
pub const GATEWAY_CONTROLLER: &str = "dromon.io/controller";
/// `controller` of the IngressClass.
pub const INGRESS_CONTROLLER: &str = "dromon.io/ingress";
/// The mutating webhook configuration.
pub const INJECTOR_WEBHOOK: &str = "dromon-sidecar-injector";
/// The one for namespaces labelled in Istio's way, where that is asked for.
pub const INJECTOR_WEBHOOK_ISTIO: &str = "dromon-sidecar-injector-istio";
/// The validating webhook configuration.
pub const VALIDATOR_WEBHOOK: &str = "dromon-validator";
/// The feed over mutual TLS.
pub const FEED_PORT: u16 = 15012;
/// The webhooks, as the Service has them.
pub const WEBHOOK_SERVICE_PORT: u16 = 443;
/// The webhooks, as the pod has them.
pub const WEBHOOK_PORT: u16 = 9443;
/// The controller's metrics and health.
pub const STATUS_PORT: u16 = 15014;
/// Where a pod finds its certificate.
pub const CERTS_DIR: &str = "/var/run/secrets/dromon.io/certs";
/// Where a proxy keeps its last good configuration.
pub const STATE_DIR: &str = "/var/lib/dromon";
/// User and group of proxies; capture leaves alone what they send.
pub const PROXY_UID: i64 = 1337;
/// Label of everything that `dromonctl install` puts into a cluster.
pub const INSTALL_LABEL: &str = "dromon.io/install";
/// Its value.
pub const INSTALL_LABEL_VALUE: &str = "dromon";

/// The Secret with an account's certificate.
pub fn account_secret(account: &str) -> String {
    format!("dromon.{account}")
}

/// Where proxies find the feed.
pub fn feed_address() -> String {
    format!("{CONTROLLER}.{SYSTEM_NAMESPACE}.svc:{FEED_PORT}")
}
