//! Host names: short names, wildcards, overlap.

/// Suffix of a cluster's services.
pub const SERVICE_DOMAIN: &str = "svc.cluster.local";

/// A Service's full name.
pub fn service_host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.{SERVICE_DOMAIN}").to_ascii_lowercase()
}

/// A host as a rule of `namespace` means it: a name without a dot is a Service's of that namespace.
pub fn resolve(host: &str, namespace: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.contains('.') || host.contains('*') || host.contains(':') {
        host
    } else {
        service_host(&host, namespace)
    }
}

/// Whether `pattern` (exact, `*.suffix` or `*`) covers `host`, which may be a wildcard itself.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => match host.strip_prefix('*') {
            Some(other) => other.ends_with(suffix),
            None => host.len() > suffix.len() && host.ends_with(suffix),
        },
        None => pattern == host,
    }
}

/// What two patterns have in common: the narrower one, or nothing.
pub fn intersection<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if covers(a, b) {
        Some(b)
    } else if covers(b, a) {
        Some(a)
    } else {
        None
    }
}

/// Order of search: exact names first, then wildcards, the longest first.
pub fn specificity(pattern: &str) -> (bool, usize) {
    (!pattern.starts_with('*'), pattern.len())
}
