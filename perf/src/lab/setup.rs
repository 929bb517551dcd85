//! The table that a proxy under test carries, and the requests that exercise it.

use crate::rig::load;

/// What is configured, the same for every proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Worker threads.
    pub workers: usize,
    /// Virtual hosts.
    pub hosts: usize,
    /// Routes of each host, told apart by path prefix.
    pub routes: usize,
    /// A rate limit over everything.
    pub limit: Option<RateLimit>,
}

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second.
    pub per_second: u64,
    /// Requests admitted at once beyond that.
    pub burst: u64,
}

impl Default for Setup {
    /// The setup that the goals are stated for: one worker, 100 routes.
    fn default() -> Setup {
        Setup { workers: 1, hosts: 100, routes: 1, limit: None }
    }
}

impl Setup {
    /// The name of a host.
    pub fn host(number: usize) -> String {
        format!("h{number:05}.lab.example")
    }

    /// The path prefix of a route; hosts with a single route match everything.
    pub fn prefix(&self, route: usize) -> String {
        if self.routes == 1 { "/".to_owned() } else { format!("/r{route:05}/") }
    }

    /// Requests for this answer that take every host in turn, or with `last` only the last host's last route.
    pub fn requests(&self, answer: &str, last: bool, close: bool) -> Vec<Vec<u8>> {
        let path = format!("{}{answer}", self.prefix(self.routes - 1));
        let first = if last { self.hosts - 1 } else { 0 };
        (first..self.hosts).map(|number| load::request(&Setup::host(number), &path, close)).collect()
    }
}
