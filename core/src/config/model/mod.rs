//! The wire model: what travels on the feed, as JSON inside `Any`. Meaning is today's Istio unless said otherwise;
//! the controller has already resolved everything that depends on other objects or on who the proxy is
//! (source labels, `exportTo`, gateways, subset labels), so a proxy needs no Kubernetes knowledge.
//!
//! Unknown fields are tolerated (a newer controller), missing ones have the default that keeps the old meaning.
//! Durations are milliseconds, sizes bytes, shares parts per million.

use serde::{Deserialize, Serialize};

mod destination;
mod host;
mod proxy;
mod rate_limit;
mod route;
mod tls;

pub use destination::*;
pub use host::*;
pub use proxy::*;
pub use rate_limit::*;
pub use route::*;
pub use tls::*;

/// Type URLs of the feed, by [`Kind`].
pub const TYPE_URLS: [&str; 7] = [
    "type.dromon.io/v1.Proxy",
    "type.dromon.io/v1.Endpoints",
    "type.dromon.io/v1.Destination",
    "type.dromon.io/v1.RateLimit",
    "type.dromon.io/v1.VirtualHost",
    "type.dromon.io/v1.Host",
    "type.dromon.io/v1.Credential",
];

/// Which of [`TYPE_URLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// [`Proxy`]; always sent, exactly one, named by the proxy's id.
    Proxy,
    /// [`Endpoints`]; sent for subscribed names.
    Endpoints,
    /// [`Destination`]; sent for subscribed names.
    Destination,
    /// [`RateLimit`]; always sent.
    RateLimit,
    /// [`VirtualHost`]; sent for subscribed names to sidecars, always to gateways.
    VirtualHost,
    /// [`Host`], the index; always sent.
    Host,
    /// [`Credential`]; sent for subscribed names to sidecars, always to gateways.
    Credential,
}

impl Kind {
    /// All kinds, in feed order: what is referred to comes first.
    pub const ALL: [Kind; 7] = [
        Kind::Credential,
        Kind::Proxy,
        Kind::Endpoints,
        Kind::Destination,
        Kind::RateLimit,
        Kind::VirtualHost,
        Kind::Host,
    ];

    /// The kind's type URL.
    pub const fn type_url(self) -> &'static str {
        TYPE_URLS[self as usize]
    }

    /// The kind that a type URL names.
    pub fn from_type_url(url: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// Any object of the feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body")]
#[allow(missing_docs)]
pub enum Resource {
    Proxy(Proxy),
    Endpoints(Endpoints),
    Destination(Destination),
    RateLimit(RateLimit),
    VirtualHost(VirtualHost),
    Host(Host),
    Credential(Credential),
}

impl Resource {
    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Proxy(_) => Kind::Proxy,
            Resource::Endpoints(_) => Kind::Endpoints,
            Resource::Destination(_) => Kind::Destination,
            Resource::RateLimit(_) => Kind::RateLimit,
            Resource::VirtualHost(_) => Kind::VirtualHost,
            Resource::Host(_) => Kind::Host,
            Resource::Credential(_) => Kind::Credential,
        }
    }

    /// The object's name, unique within its kind.
    pub fn name(&self) -> &str {
        match self {
            Resource::Proxy(it) => &it.name,
            Resource::Endpoints(it) => &it.name,
            Resource::Destination(it) => &it.name,
            Resource::RateLimit(it) => &it.name,
            Resource::VirtualHost(it) => &it.name,
            Resource::Host(it) => &it.name,
            Resource::Credential(it) => &it.name,
        }
    }
}
