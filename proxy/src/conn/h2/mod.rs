//! HTTP/2: what is common to connections of clients and to those of upstreams.

pub mod memio;
