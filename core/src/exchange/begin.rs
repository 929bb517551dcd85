//! The first step: route, draw faults, ask rate limits, then try.
//!
//! Whatever may have to wait for rules comes before anything that is drawn or counted, because `begin` is run again when
//! they have come. Rate limits are asked when the request arrives, before an injected delay is waited out: a refusal
//! need not wait, and the request is not at hand later.

use std::net::SocketAddr;
use std::sync::Arc;

use super::state::Phase;
use super::{Arrival, Exchange, Local, RequestView, Step, Target, TcpArrival};
use crate::config::model::{Balancer, Discovery, FaultRule, Kind};
use crate::config::table::{Destination, Table};
use crate::fault::Reason;
use crate::limit::{Refused, Source, Taken};
use crate::limits::FETCH_WAIT_MS;
use crate::retry::Method;
use crate::rng::Rng;
use crate::route::host::{as_address, split_authority};
use crate::route::rewrite::location;
use crate::route::rule::{Action, CompiledLimit, HeaderOps};
use crate::route::{Lookup, Passthrough, Route, Routed, RoutedTcp};
use crate::time::Tick;

/// What a request is matched and answered by.
struct Asked<'a, R> {
    arrival: &'a Arrival,
    request: &'a R,
    path: &'a [u8],
}

impl Exchange {
    /// Begins an HTTP exchange. `path` is the request's path without query, normalised for matching (R8).
    pub fn begin<R: RequestView>(
        table: &Table,
        arrival: &Arrival,
        request: &R,
        path: &[u8],
        now: Tick,
        rng: &mut Rng,
    ) -> (Exchange, Step) {
        Exchange::begin_within(table, arrival, request, path, Tick::NEVER, now, rng)
    }

    /// As [`Exchange::begin`], for a client that waits until `deadline` only (`grpc-timeout`); a shorter time of the rule
    /// counts all the same.
    pub fn begin_within<R: RequestView>(
        table: &Table,
        arrival: &Arrival,
        request: &R,
        path: &[u8],
        deadline: Tick,
        now: Tick,
        rng: &mut Rng,
    ) -> (Exchange, Step) {
        let method = Method::of(request.method(), arrival.upgrade);
        let mut exchange = Exchange::new(arrival.arrived, method, table.proxy.expose_reason);
        exchange.finish_by = deadline;
        let asked = Asked { arrival, request, path };
        if table.is_misdirected(arrival, request.authority()) {
            let step = exchange.respond(Local::misdirected(request.authority()));
            return (exchange, step);
        }
        let step = match table.route(arrival, request, path) {
            Routed::Rule(route) => exchange.take_rule(table, route, asked, now, rng),
            Routed::NotLoaded { host } => exchange.fetch(Kind::VirtualHost, host, now),
            Routed::NoRoute { host: Some(host) } => exchange.respond(Local::no_route(host, path)),
            Routed::NoRoute { host: None } => exchange.respond(Local::no_domain(request.authority())),
            Routed::UnknownHost => exchange.respond(Local::unknown_host(request.authority())),
            Routed::Passthrough(to) => {
                exchange.onward = Some(to.into());
                exchange.attempt(now, rng)
            }
        };
        (exchange, step)
    }

    /// Begins a TCP connection. Until the first [`Step::Forward`] the steps are those of an HTTP exchange; a
    /// [`Step::Respond`] means that the connection is to be reset.
    pub fn begin_tcp(table: &Table, arrival: &TcpArrival<'_>, now: Tick, rng: &mut Rng) -> (Exchange, Step) {
        let &TcpArrival { listener, original_destination, peer, hello, arrived } = arrival;
        let mut exchange = Exchange::new(arrived, Method { idempotent: false, tunnel: true }, false);
        exchange.tcp = true;
        let routed = match hello {
            Some(server_name) => table.route_tls(listener, original_destination, peer, server_name),
            None => table.route_tcp(listener, original_destination, peer),
        };
        let step = match routed {
            RoutedTcp::Route(route) => match route.choose(table, rng) {
                Some(Lookup::Here(destination)) => {
                    exchange.destination = Some(Arc::clone(destination));
                    exchange.onward = match destination.captured {
                        true => original_destination.map(Target::Address),
                        false => onward(destination, original_destination, b""),
                    };
                    exchange.attempt(now, rng)
                }
                Some(Lookup::NotLoaded(name)) => exchange.fetch(Kind::Destination, name, now),
                Some(Lookup::Absent(name) | Lookup::Refused(_, name)) => {
                    let origin = route.rule.map_or("", |rule| &rule.origin);
                    exchange.respond(Local::no_destination(name, origin))
                }
                None => exchange.respond(Local::no_destination(route.host, "")),
            },
            RoutedTcp::NotLoaded { host } => exchange.fetch(Kind::VirtualHost, host, now),
            RoutedTcp::NoRoute => {
                let detail = "no TCP rule takes this connection; see \"dromonctl routes\"";
                exchange.respond(Local::new(Reason::NoRoute, detail))
            }
            RoutedTcp::UnknownHost => {
                let whom = original_destination.map_or_else(|| "-".to_owned(), |it| it.to_string());
                exchange.respond(Local::unknown_host(whom.as_bytes()))
            }
            RoutedTcp::Passthrough(address) => {
                exchange.onward = Some(Target::Address(address));
                exchange.attempt(now, rng)
            }
        };
        (exchange, step)
    }

    fn take_rule<R: RequestView>(
        &mut self,
        table: &Table,
        route: Route<'_>,
        asked: Asked<'_, R>,
        now: Tick,
        rng: &mut Rng,
    ) -> Step {
        let Asked { arrival, request, path } = asked;
        let rule = route.rule;
        let listener = table.listeners.get(arrival.listener);
        self.inbound = listener.is_some_and(|it| it.inbound.is_some());
        self.rule = Some(Arc::clone(rule));
        if let Some(timeout_ms) = rule.timeout_ms {
            self.finish_by = self.finish_by.min(arrival.arrived.plus_millis(timeout_ms));
        }
        let chosen = route.choose(table, rng);
        if let Some((Lookup::NotLoaded(name), _)) = chosen {
            return self.fetch(Kind::Destination, name, now);
        }
        let (delay_ms, abort) = rule.fault.as_deref().map_or((None, None), |fault| draw_fault(fault, rng));
        let answer = match abort {
            Some(status) => Some(Local::fault(status, &rule.origin)),
            None => match ask_limits(&route, &asked, now) {
                Err((limit, refused)) => {
                    return self.respond(Local::rate_limited(&limit.object, limit.index, refused));
                }
                Ok(()) => self.by_action(&route, chosen, arrival, request),
            },
        };
        if answer.is_none() {
            self.path = rule.rewrite.as_deref().and_then(|rewrite| {
                let sent = request.path_and_query();
                let mut out = Vec::new();
                rewrite.path(&normalised(sent, path), route.matched, &mut out).then(|| out.into_boxed_slice())
            });
        }
        match (delay_ms, answer) {
            (Some(delay_ms), answer) => {
                self.delayed = true;
                // Envoy's fault filter comes before its router, whose timeout begins when the request reaches it.
                self.finish_by = Tick::NEVER;
                self.held_answer = answer.map(Box::new);
                self.phase = Phase::Delayed;
                self.wait(now.plus_millis(delay_ms))
            }
            (None, Some(answer)) => self.respond(answer),
            (None, None) => self.attempt(now, rng),
        }
    }

    /// Takes the chosen destination, or gives the rule's answer.
    fn by_action<R: RequestView>(
        &mut self,
        route: &Route<'_>,
        chosen: Option<(Lookup<'_>, Option<&HeaderOps>)>,
        arrival: &Arrival,
        request: &R,
    ) -> Option<Local> {
        match (&route.rule.action, chosen) {
            (_, Some((Lookup::Here(destination), ops))) => {
                self.destination = Some(Arc::clone(destination));
                self.choice = ops.map_or(0, |ops| place_of(ops, &route.rule.action));
                // Where a captured request for the application goes is not the client's to say.
                self.onward = match destination.captured {
                    true => arrival.original_destination.map(Target::Address),
                    false => onward(destination, captured(arrival), request.authority()),
                };
                None
            }
            (_, Some((Lookup::Absent(name) | Lookup::NotLoaded(name), _))) => {
                Some(Local::no_destination(name, &route.rule.origin))
            }
            (_, Some((Lookup::Refused(status, what), _))) => {
                Some(Local { status, ..Local::no_destination(what, &route.rule.origin) })
            }
            (Action::Redirect(redirect), None) => {
                let to = location(
                    redirect,
                    request.scheme(),
                    request.authority(),
                    route.port,
                    request.path_and_query(),
                    route.matched,
                );
                let status = if redirect.code == 0 { 301 } else { redirect.code };
                let changes = route.rule.headers.response.clone();
                Some(Local { status, location: Some(to), changes, ..Local::new(Reason::Redirect, "") })
            }
            (Action::DirectResponse { status, body }, None) => {
                let body = Some(body.to_string());
                let changes = route.rule.headers.response.clone();
                Some(Local { status: *status, body, changes, ..Local::new(Reason::DirectResponse, "") })
            }
            (Action::Forward(_) | Action::HostDefault, None) => Some(Local::no_destination(
                &format!("for port {} of {}", route.port, route.host),
                &route.rule.origin,
            )),
        }
    }

    /// Waits for an object of the feed, as long as that makes sense.
    fn fetch(&mut self, kind: Kind, name: &Arc<str>, now: Tick) -> Step {
        let until = self.arrived.plus_millis(FETCH_WAIT_MS).min(self.finish_by);
        if now >= until {
            return self.respond(Local::config_pending(name));
        }
        self.phase = Phase::Fetching;
        self.wake_at = until;
        Step::Fetch { kind, name: Arc::clone(name), until }
    }
}

impl From<Passthrough> for Target {
    fn from(to: Passthrough) -> Target {
        match to {
            Passthrough::Address(address) => Target::Address(address),
            Passthrough::Name { host, port } => Target::Name { host, port },
        }
    }
}

fn draw_fault(fault: &FaultRule, rng: &mut Rng) -> (Option<u64>, Option<u16>) {
    let delay = fault.delay.filter(|delay| rng.chance(delay.per_million)).map(|delay| delay.delay_ms);
    let abort = fault.abort.filter(|abort| rng.chance(abort.per_million)).map(|abort| abort.status);
    (delay, abort)
}

/// Takes from every limit that applies; where one refuses, gives back what the others gave.
fn ask_limits<'t, R: RequestView>(
    route: &Route<'t>,
    asked: &Asked<'_, R>,
    now: Tick,
) -> Result<(), (&'t CompiledLimit, Refused)> {
    if route.limits.is_empty() {
        return Ok(());
    }
    let source = Source {
        address: asked.arrival.peer.ip(),
        principal: asked.request.principal(),
        shard: asked.arrival.shard,
    };
    let mut taken: smallvec::SmallVec<[(&CompiledLimit, Taken); 4]> = smallvec::SmallVec::new();
    for limit in route.limits {
        if !limit.applies(asked.request, asked.path, route.port) {
            continue;
        }
        match limit.state.take(asked.request, asked.path, source, now) {
            Ok(share) => taken.push((limit, share)),
            Err(refused) => {
                for (limit, share) in taken {
                    limit.state.give_back(share);
                }
                return Err((limit, refused));
            }
        }
    }
    Ok(())
}

/// Where a request goes whose destination is wherever it was going: `resolution: NONE`, or PASSTHROUGH with nothing to
/// pick from but the client's own choice. None: an endpoint is picked.
fn onward(destination: &Destination, captured: Option<SocketAddr>, authority: &[u8]) -> Option<Target> {
    let model = &destination.model;
    let unresolved = model.discovery == Discovery::OriginalDestination;
    if !unresolved && (model.balancer != Balancer::Passthrough || captured.is_none()) {
        return None;
    }
    if let Some(address) = captured {
        return Some(Target::Address(address));
    }
    let (host, _) = split_authority(authority)?;
    let port = model.name.split('|').nth(1)?.parse().ok()?;
    Some(match as_address(host) {
        Some(address) => Target::Address(SocketAddr::new(address, port)),
        None => Target::Name { host: std::str::from_utf8(host).ok()?.to_ascii_lowercase().into(), port },
    })
}

/// Where a captured client was going; an explicit proxy's client was going to the proxy.
fn captured(arrival: &Arrival) -> Option<SocketAddr> {
    arrival.original_destination.filter(|_| !arrival.absolute_form)
}

/// One more than the place of the target whose header changes these are.
fn place_of(ops: &HeaderOps, action: &Action) -> u16 {
    let Action::Forward(targets) = action else { return 0 };
    let place = targets.entries.iter().position(|target| std::ptr::eq(&target.headers, ops));
    place.and_then(|place| u16::try_from(place + 1).ok()).unwrap_or(0)
}

/// Path and query with the path as it was matched, so that what was matched is what a rewrite replaces.
fn normalised<'a>(path_and_query: &'a [u8], path: &[u8]) -> std::borrow::Cow<'a, [u8]> {
    let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (sent, query) = path_and_query.split_at(end);
    match sent == path {
        true => path_and_query.into(),
        false => [path, query].concat().into(),
    }
}
