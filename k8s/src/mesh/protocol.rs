//! What is spoken on a port, from its name and `appProtocol`.

use dromon_core::config::model::Protocol;

/// Ports that are TCP unless declared: their servers speak first, so waiting for the client would hang
/// (Istio's list: SMTP, DNS, MySQL, MongoDB).
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

/// Protocol of a port: `appProtocol` wins over the name's prefix; neither known: detected.
pub fn of_port(name: &str, app_protocol: Option<&str>, number: u16) -> Protocol {
    let by_app = app_protocol.and_then(|it| match it.to_ascii_lowercase().as_str() {
        "kubernetes.io/h2c" => Some(Protocol::Http2),
        "kubernetes.io/ws" => Some(Protocol::Http),
        "kubernetes.io/wss" => Some(Protocol::Tls),
        other => of_word(other),
    });
    let by_name = || of_name(name);
    let by_number = || SERVER_FIRST.contains(&number).then_some(Protocol::Tcp);
    by_app.or_else(by_name).or_else(by_number).unwrap_or(Protocol::Auto)
}

/// Protocol that a port's name declares: the whole name, or what comes before its first `-`.
fn of_name(name: &str) -> Option<Protocol> {
    let lower = name.to_ascii_lowercase();
    if lower == "grpc-web" || lower.starts_with("grpc-web-") {
        return Some(Protocol::Http);
    }
    of_word(lower.split('-').next().unwrap_or_default())
}

/// Protocol by its word, in any case; gRPC-Web travels over any HTTP.
pub fn of_word(word: &str) -> Option<Protocol> {
    Some(match word.to_ascii_lowercase().as_str() {
        "http" | "http_proxy" | "http-proxy" | "grpc-web" => Protocol::Http,
        "http2" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "https" | "tls" => Protocol::Tls,
        "tcp" | "mongo" | "redis" | "mysql" | "udp" => Protocol::Tcp,
        _ => return None,
    })
}

/// Whether requests on the port are routed as HTTP, or may turn out to be.
pub fn may_be_http(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Auto)
}

/// Whether connections on the port are relayed as they are, or may turn out to need it.
pub fn may_be_tcp(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Tls | Protocol::Auto)
}
