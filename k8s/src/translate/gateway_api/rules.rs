//! Rules of an HTTPRoute or GRPCRoute in the model.
//!
//! Every alternative becomes a rule of its own, because alternatives of several routes are ordered among each other.
//! Where backends lead is the caller's matter, so that the very same code tells whether a route could be carried out at all.

use std::collections::BTreeMap;

use dromon_core::config::model::{
    HeaderChange, HeaderOps, HttpAction, HttpMatch, HttpRule, Redirect, RedirectPort, Retries, RetryOn,
    Rewrite, StringMatch, WeightedDestination,
};

use crate::api::gateway_api::{
    self as api, BackendObjectReference, HeaderMatch, HeaderModifier, HttpBackendRef, HttpFilter,
    NamedMatchType, PathMatchType, PathModifierType,
};
use crate::mesh::gateway_api::{RouteBody, is_carried_out};

use super::super::http::is_authority;
use super::rank::{Rank, Ranked};

/// What is answered where a backend leads nowhere, or there is none (HTTPRoute's specification).
const REFUSED: u16 = 500;
/// The same for gRPC: the status that becomes UNAVAILABLE.
const GRPC_REFUSED: u16 = 503;
/// Tries after the first of a rule with `timeouts.backendRequest` and no `retry`.
const ATTEMPTS: u32 = 2;

/// Where a backend leads: host and port, or what to tell of one that leads nowhere.
pub type Resolve<'a> = dyn FnMut(&BackendObjectReference) -> Result<(String, u16), String> + 'a;

/// The rules of a route in place `age` among all, named after `origin` (its key).
pub fn rules(body: &RouteBody, origin: &str, age: usize, resolve: &mut Resolve<'_>) -> Vec<Ranked> {
    let mut all = Vec::new();
    let mut add = |at: usize, parts: Parts<'_>| {
        let rule = parts.rule(format!("{origin} spec.rules[{at}]").trim_start().to_owned(), resolve);
        let keeps_prefix = replaces_prefix(parts.filters);
        for (alternative, mut condition) in parts.matches.into_iter().enumerate() {
            if keeps_prefix {
                condition.uri.get_or_insert_with(|| StringMatch::PathPrefix("/".to_owned()));
            }
            let rank = Rank::new(&condition, age, at, alternative);
            let matches = if condition == HttpMatch::default() { Vec::new() } else { vec![condition] };
            all.push(Ranked { rank, rule: HttpRule { matches, ..rule.clone() } });
        }
    };
    match body {
        RouteBody::Http(route) => {
            let default = [api::HttpRule::default()];
            let rules = route.spec.rules.as_deref().unwrap_or(&default);
            rules.iter().enumerate().for_each(|(at, rule)| add(at, http(rule)));
        }
        RouteBody::Grpc(route) => {
            let default = [api::GrpcRule::default()];
            let rules = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
            rules.iter().enumerate().for_each(|(at, rule)| add(at, grpc(rule)));
        }
        RouteBody::Tls(_) | RouteBody::Tcp(_) => {}
    }
    all
}

/// What rules of both kinds of route have.
struct Parts<'a> {
    name: &'a str,
    matches: Vec<HttpMatch>,
    filters: &'a [HttpFilter],
    backends: &'a [HttpBackendRef],
    timeouts: api::Timeouts,
    retry: Option<&'a api::Retry>,
    refused: u16,
}

fn http(rule: &api::HttpRule) -> Parts<'_> {
    let mut matches: Vec<HttpMatch> = rule.matches.iter().map(http_match).collect();
    if matches.is_empty() {
        matches.push(HttpMatch::default());
    }
    Parts {
        name: rule.name.as_deref().unwrap_or_default(),
        matches,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: rule.timeouts.unwrap_or_default(),
        retry: rule.retry.as_ref(),
        refused: REFUSED,
    }
}

fn grpc(rule: &api::GrpcRule) -> Parts<'_> {
    let mut matches: Vec<HttpMatch> = rule.matches.iter().map(grpc_match).collect();
    if matches.is_empty() {
        matches.push(HttpMatch::default());
    }
    Parts {
        name: rule.name.as_deref().unwrap_or_default(),
        matches,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: api::Timeouts::default(),
        retry: None,
        refused: GRPC_REFUSED,
    }
}

impl Parts<'_> {
    fn rule(&self, origin: String, resolve: &mut Resolve<'_>) -> HttpRule {
        let filter = |kind: &str| self.filters.iter().find(|it| it.kind == kind);
        let (headers, authority) = header_ops(self.filters);
        let mut rewrite = filter("URLRewrite").and_then(|it| it.url_rewrite.as_ref()).map(rewrite);
        if let Some(authority) = authority {
            rewrite.get_or_insert_default().authority.get_or_insert(authority);
        }
        HttpRule {
            name: self.name.to_owned(),
            origin,
            matches: Vec::new(),
            action: self.action(resolve),
            rewrite,
            timeout_ms: self.timeouts.request.map(|it| it.millis()).filter(|it| *it > 0),
            retries: self.retries(),
            fault: None,
            headers,
        }
    }

    fn action(&self, resolve: &mut Resolve<'_>) -> HttpAction {
        let refused = HttpAction::DirectResponse { status: self.refused, body: None };
        let on_backends = self.backends.iter().flat_map(|it| &it.filters);
        let is_whole = self.filters.iter().all(|it| is_carried_out(it, false)) && { on_backends }
            .all(|it| is_carried_out(it, true));
        if !is_whole {
            return refused;
        }
        if let Some(it) = self.filters.iter().find_map(|it| it.request_redirect.as_ref()) {
            return HttpAction::Redirect(redirect(it));
        }
        let destinations: Vec<WeightedDestination> =
            self.backends.iter().filter_map(|it| self.destination(it, resolve)).collect();
        if destinations.is_empty() { refused } else { HttpAction::Route { destinations } }
    }

    /// A backend with its share; none without a share.
    fn destination(
        &self,
        backend: &HttpBackendRef,
        resolve: &mut Resolve<'_>,
    ) -> Option<WeightedDestination> {
        let weight = backend.weight.unwrap_or(1);
        if weight == 0 {
            return None;
        }
        let (headers, _) = header_ops(&backend.filters);
        Some(match resolve(&backend.reference()) {
            Ok((host, port)) => {
                WeightedDestination { host, port: Some(port), weight, headers, ..<_>::default() }
            }
            Err(what) => {
                WeightedDestination { host: what, weight, refuse: Some(self.refused), ..<_>::default() }
            }
        })
    }

    /// `retry`, and the time of one try. With such a time alone, only what was not processed is tried again, as without.
    fn retries(&self) -> Option<Retries> {
        let per_try = self.timeouts.backend_request.map(|it| it.millis()).filter(|it| *it > 0);
        let unprocessed = RetryOn { connect_failure: true, refused_stream: true, ..RetryOn::default() };
        match self.retry {
            Some(retry) => Some(Retries {
                attempts: retry.attempts.unwrap_or(1),
                per_try_timeout_ms: per_try,
                on: RetryOn { statuses: retry.codes.clone(), reset: true, ..unprocessed },
                backoff_ms: retry.backoff.map(|it| it.millis()).filter(|it| *it > 0),
                ..Retries::default()
            }),
            None => per_try.map(|per_try| Retries {
                attempts: ATTEMPTS,
                per_try_timeout_ms: Some(per_try),
                on: unprocessed,
                ..Retries::default()
            }),
        }
    }
}

/// Whether what a condition took of the path is to be replaced, so that it must be known even where it took all.
fn replaces_prefix(filters: &[HttpFilter]) -> bool {
    let paths = filters.iter().filter_map(|it| {
        let redirect = it.request_redirect.as_ref().and_then(|it| it.path.as_ref());
        redirect.or_else(|| it.url_rewrite.as_ref().and_then(|it| it.path.as_ref()))
    });
    { paths }.any(|it| it.kind == PathModifierType::ReplacePrefixMatch)
}

fn http_match(from: &api::HttpMatch) -> HttpMatch {
    let uri = from.path.as_ref().map(|it| {
        let value = it.value.clone().unwrap_or_else(|| "/".to_owned());
        match it.kind {
            PathMatchType::Exact => StringMatch::Exact(value),
            PathMatchType::PathPrefix => StringMatch::PathPrefix(value),
            PathMatchType::RegularExpression => StringMatch::Regex(value),
        }
    });
    HttpMatch {
        // Every path has this prefix.
        uri: uri.filter(|it| *it != StringMatch::PathPrefix("/".to_owned())),
        method: from.method.clone().map(StringMatch::Exact),
        headers: conditions(&from.headers, true),
        query_params: conditions(&from.query_params, false),
        ..HttpMatch::default()
    }
}

fn grpc_match(from: &api::GrpcMatch) -> HttpMatch {
    let some = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
    let uri = from.method.as_ref().and_then(|it| match (it.kind, some(&it.service), some(&it.method)) {
        (_, None, None) => None,
        (NamedMatchType::Exact, Some(service), Some(method)) => {
            Some(StringMatch::Exact(format!("/{service}/{method}")))
        }
        (NamedMatchType::Exact, Some(service), None) => Some(StringMatch::Prefix(format!("/{service}/"))),
        (NamedMatchType::Exact, None, Some(method)) => {
            Some(StringMatch::Regex(format!("/[^/]+/{}", escaped(&method))))
        }
        (NamedMatchType::RegularExpression, service, method) => {
            let or_any = |it: Option<String>| it.map_or_else(|| "[^/]+".to_owned(), |it| format!("(?:{it})"));
            Some(StringMatch::Regex(format!("/{}/{}", or_any(service), or_any(method))))
        }
    });
    HttpMatch { uri, headers: conditions(&from.headers, true), ..HttpMatch::default() }
}

/// Text as an expression that matches it only. Names of gRPC methods are of letters, digits, `_` and `.`.
fn escaped(text: &str) -> String {
    text.replace('.', r"\.")
}

/// Conditions on headers or query parameters; of several on one name the first counts (the specification's word).
fn conditions(from: &[HeaderMatch], fold: bool) -> BTreeMap<String, Option<StringMatch>> {
    let mut all = BTreeMap::new();
    for it in from {
        let name = if fold { it.name.to_ascii_lowercase() } else { it.name.clone() };
        let value = match it.kind {
            NamedMatchType::Exact => StringMatch::Exact(it.value.clone()),
            NamedMatchType::RegularExpression => StringMatch::Regex(it.value.clone()),
        };
        all.entry(name).or_insert(Some(value));
    }
    all
}

/// Header changes of filters, and the authority that they set.
fn header_ops(filters: &[HttpFilter]) -> (HeaderOps, Option<String>) {
    let of = |kind: &str, field: fn(&HttpFilter) -> Option<&HeaderModifier>| {
        filters.iter().find(|it| it.kind == kind).and_then(field)
    };
    let request = of("RequestHeaderModifier", |it| it.request_header_modifier.as_ref());
    let response = of("ResponseHeaderModifier", |it| it.response_header_modifier.as_ref());
    let set = request.into_iter().flat_map(|it| &it.set).find(|it| is_authority(&it.name));
    let ops = HeaderOps {
        request: request.map(change).unwrap_or_default(),
        response: response.map(change).unwrap_or_default(),
    };
    (ops, set.map(|it| it.value.clone()))
}

fn change(modifier: &HeaderModifier) -> HeaderChange {
    let list = |from: &[api::HeaderValue]| {
        let named = from.iter().filter(|it| !is_authority(&it.name));
        named.map(|it| (it.name.to_ascii_lowercase(), it.value.clone())).collect()
    };
    HeaderChange {
        set: list(&modifier.set),
        add: list(&modifier.add),
        remove: modifier.remove.iter().map(|it| it.to_ascii_lowercase()).collect(),
    }
}

fn redirect(from: &api::RequestRedirect) -> Redirect {
    let (mut uri, mut prefix) = (None, None);
    if let Some(path) = &from.path {
        match path.kind {
            PathModifierType::ReplaceFullPath => uri = path.replace_full_path.clone(),
            PathModifierType::ReplacePrefixMatch => prefix = path.replace_prefix_match.clone(),
        }
    }
    Redirect {
        uri,
        prefix,
        authority: from.hostname.clone(),
        scheme: from.scheme.clone(),
        // The port of the scheme that is named, else the listener's; neither is spelled out where the scheme implies it.
        port: match (from.port, &from.scheme) {
            (Some(port), _) => RedirectPort::Number(port),
            (None, Some(_)) => RedirectPort::ProtocolDefault,
            (None, None) => RedirectPort::RequestPort,
        },
        code: from.status_code.unwrap_or(302),
    }
}

fn rewrite(from: &api::UrlRewrite) -> Rewrite {
    let (mut uri, mut uri_regex) = (None, None);
    if let Some(path) = &from.path {
        match path.kind {
            PathModifierType::ReplacePrefixMatch => {
                uri = path
                    .replace_prefix_match
                    .clone()
                    .map(|it| if it.is_empty() { "/".to_owned() } else { it });
            }
            // Of the whole path whatever the condition took of it.
            PathModifierType::ReplaceFullPath => {
                let with = path.replace_full_path.clone().unwrap_or_default().replace('\\', r"\\");
                uri_regex = Some((r"(?s)\A.*\z".to_owned(), with));
            }
        }
    }
    Rewrite { uri, authority: from.hostname.clone(), uri_regex }
}
