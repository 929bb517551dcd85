//! Why a request was answered from here instead of by its service: one table of reasons.
//!
//! A [`Reason`] fixes the status sent, the response flag of access logs (Envoy's letters, which dashboards know),
//! the label of metrics and of `x-dromon-reason`, whose doing it was and whether another try may help.

use thiserror::Error;

/// Whose doing a fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The client's.
    Downstream,
    /// The service's, or the network's on the way to it.
    Upstream,
    /// This proxy's, by a rule or by a limit.
    Local,
}

/// Whether another try may be made after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// No: it would not help, or the request is not the upstream's business.
    Never,
    /// Yes: the request provably was not processed.
    NotProcessed,
    /// Only where a rule asks, or where the request is idempotent and can be replayed (R40).
    MaybeProcessed,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $status:literal, $flag:literal, $origin:ident, $class:ident;)+) => {
        /// Why a response was made here. See [`Reason::facts`] for what follows from each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)+ }

        impl Reason {
            /// All reasons, in a fixed order: `Reason::ALL[r as usize] == r`.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// What follows from this reason.
            pub const fn facts(self) -> Facts {
                match self {
                    $(Reason::$name => Facts {
                        label: $label, status: $status, flag: $flag,
                        origin: Origin::$origin, retry: RetryClass::$class,
                    },)+
                }
            }
        }
    };
}

/// What follows from a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name in metrics, access logs (`%RESPONSE_CODE_DETAILS%`) and `x-dromon-reason`.
    pub label: &'static str,
    /// HTTP status sent unless a rule says otherwise; 0 where nothing can be sent any more.
    pub status: u16,
    /// Access-log response flag, `-` for none.
    pub flag: &'static str,
    /// Whose doing.
    pub origin: Origin,
    /// Whether another try may be made.
    pub retry: RetryClass,
}

reasons! {
    /// No rule of a known host matched.
    NoRoute = "route_not_found", 404, "NR", Local, Never;
    /// The host is unknown and the outbound policy is REGISTRY_ONLY (Istio's BlackHoleCluster).
    UnknownHost = "unknown_host", 502, "NR", Local, Never;
    /// A route names a destination or subset that does not exist.
    NoDestination = "destination_not_found", 503, "NC", Local, Never;
    /// The host's rules have not arrived from the controller.
    ConfigPending = "config_pending", 503, "NC", Local, Never;
    /// The destination has no endpoint that may be used.
    NoHealthyUpstream = "no_healthy_upstream", 503, "UH", Local, NotProcessed;
    /// A connection to an endpoint could not be made.
    ConnectFailed = "upstream_connect_failed", 503, "UF", Upstream, NotProcessed;
    /// A connection to an endpoint was not made in time.
    ConnectTimeout = "upstream_connect_timeout", 503, "UF", Upstream, NotProcessed;
    /// DNS has no address for the host's name, or none came in time.
    NameUnresolved = "dns_resolution_failure", 503, "DF", Upstream, Never;
    /// The TLS handshake with an endpoint failed: either side refused the other.
    TlsFailed = "upstream_tls_failed", 503, "UF", Upstream, NotProcessed;
    /// A cap on connections, pending requests or requests was reached.
    UpstreamOverflow = "upstream_overflow", 503, "UO", Local, Never;
    /// The upstream closed or reset the connection before its answer was complete.
    UpstreamReset = "upstream_reset", 503, "UC", Upstream, MaybeProcessed;
    /// The upstream refused the stream before it did any work on it (REFUSED_STREAM, or GOAWAY below its number).
    UpstreamRefused = "upstream_refused_stream", 503, "UR", Upstream, NotProcessed;
    /// The upstream's answer broke the protocol.
    UpstreamProtocol = "upstream_protocol_error", 502, "UPE", Upstream, Never;
    /// The request's time ran out.
    RequestTimeout = "request_timeout", 504, "UT", Upstream, MaybeProcessed;
    /// One try's time ran out.
    PerTryTimeout = "per_try_timeout", 504, "UT", Upstream, MaybeProcessed;
    /// Nothing was sent either way for the idle time of an upgraded or TCP connection.
    IdleTimeout = "stream_idle_timeout", 408, "SI", Local, Never;
    /// An answer that asked for another try came when all tries or the budget were used up.
    RetryLimit = "retry_limit_exceeded", 503, "URX", Upstream, Never;
    /// The answer came from a fault rule.
    FaultAbort = "fault_filter_abort", 503, "FI", Local, Never;
    /// A rate limit's share was used up.
    RateLimited = "request_rate_limited", 429, "RL", Local, Never;
    /// The client broke HTTP; the rule broken is logged beside it.
    BadRequest = "downstream_protocol_error", 400, "DPE", Downstream, Never;
    /// The request line is too long.
    UriTooLong = "uri_too_long", 414, "DPE", Downstream, Never;
    /// The head is too large.
    HeadTooLarge = "head_too_large", 431, "DPE", Downstream, Never;
    /// The head did not arrive in time.
    HeadTimeout = "head_timeout", 408, "DPE", Downstream, Never;
    /// An expectation other than 100-continue.
    ExpectationFailed = "expectation_failed", 417, "DPE", Downstream, Never;
    /// The host asked for has TLS settings other than those that the connection came by (RFC 9110, 15.5.20).
    Misdirected = "misdirected_request", 421, "DPE", Downstream, Never;
    /// A method this port does not serve (CONNECT, TRACE).
    MethodNotAllowed = "method_not_allowed", 405, "DPE", Downstream, Never;
    /// A transfer coding this proxy does not speak.
    NotImplemented = "transfer_coding_unknown", 501, "DPE", Downstream, Never;
    /// An HTTP version this proxy does not speak.
    VersionNotSupported = "version_not_supported", 505, "DPE", Downstream, Never;
    /// The client went away before the answer was complete.
    DownstreamClosed = "downstream_remote_disconnect", 0, "DC", Downstream, Never;
    /// The request came to the proxy that sent it: a routing loop.
    Loop = "routing_loop", 508, "NR", Local, Never;
    /// The proxy is out of a bounded resource of its own.
    Overload = "overload", 503, "OM", Local, Never;
    /// A rule's redirect.
    Redirect = "redirect", 301, "-", Local, Never;
    /// A rule's direct response.
    DirectResponse = "direct_response", 200, "-", Local, Never;
}

/// A fault on the data path: a reason and, where there is more to say, the text for the operator.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}: {detail}", reason.facts().label)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// What happened, to whom, and what to try; may be empty.
    pub detail: std::borrow::Cow<'static, str>,
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Fault {
        Fault { reason, detail: std::borrow::Cow::Borrowed("") }
    }
}
