//! `http` routes of a VirtualService.

use dromon_core::config::compile::frames_message;
use dromon_core::config::model;
use dromon_core::limits::ATTEMPTS_MAX;
use dromon_core::route::rewrite;

use crate::api::scalar::StringMatch;
use crate::api::virtual_service::{
    DirectResponse, Fault, HeaderOperations, Headers, HttpMatch, HttpRoute, Redirect, Retries, Rewrite,
};
use crate::parse::spelling::nearest;
use crate::translate::{is_authority, retry_on};

use super::virtual_service::destinations;
use super::{Report, is_token};

/// Words of `retryOn` that Envoy knows and that mean nothing here yet.
const RETRY_NOT_YET: &[&str] =
    &["envoy-ratelimited", "retriable-headers", "reset-before-request", "http3-post-connect-failure"];
/// Words that are carried out, for hints.
const RETRY_WORDS: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "connect-failure",
    "refused-stream",
    "retriable-4xx",
    "retriable-status-codes",
    "cancelled",
    "deadline-exceeded",
    "resource-exhausted",
    "internal",
    "unavailable",
];

/// Looks one `http` route over; `path` is where it stands.
pub fn check(report: &mut Report, path: &str, route: &HttpRoute) {
    action(report, path, route);
    destinations(report, &format!("{path}.route"), &route.route);
    for (at, condition) in route.matches.iter().enumerate() {
        http_match(report, &format!("{path}.match[{at}]"), condition);
    }
    if let Some(it) = &route.redirect {
        redirect(report, &format!("{path}.redirect"), it);
    }
    if let Some(it) = &route.direct_response {
        direct_response(report, &format!("{path}.directResponse"), it);
    }
    if let Some(it) = &route.rewrite {
        rewrite(report, &format!("{path}.rewrite"), it);
    }
    if let Some(it) = &route.retries {
        retries(report, &format!("{path}.retries"), it, route);
    }
    if let Some(it) = &route.fault {
        fault(report, &format!("{path}.fault"), it);
    }
    if let Some(it) = &route.headers {
        headers(report, &format!("{path}.headers"), it);
    }
    for (at, destination) in route.route.iter().enumerate() {
        let path = format!("{path}.route[{at}].headers");
        let Some(it) = &destination.headers else { continue };
        headers(report, &path, it);
        let set = it.request.iter().flat_map(|it| it.set.keys());
        for name in set.filter(|it| is_authority(it)) {
            report.not_yet(format!("{path}.request.set.{name}"));
        }
    }
    let not_yet = [
        ("mirror", route.mirror.is_some()),
        ("mirrors", route.mirrors.is_some()),
        ("mirrorPercent", route.mirror_percent.is_some()),
        ("mirrorPercentage", route.mirror_percentage.is_some()),
        ("corsPolicy", route.cors_policy.is_some()),
    ];
    report.not_yet_if(path, &not_yet);
}

/// Exactly one thing can be done with a request.
fn action(report: &mut Report, path: &str, route: &HttpRoute) {
    let given = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let names: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
    match names.as_slice() {
        [] => report.error(
            path,
            "it says nothing to do",
            "give `route`, `redirect`, `directResponse` or `delegate`",
        ),
        [_] => {}
        several => {
            let message = format!("`{}` exclude each other", several.join("` and `"));
            report.error(path, message, "keep one of them");
        }
    }
    if route.redirect.is_some() && route.rewrite.is_some() {
        let hint = "`redirect.uri` and `redirect.authority` say where to";
        report.error(format!("{path}.rewrite"), "a redirect cannot rewrite as well", hint);
    }
}

fn http_match(report: &mut Report, path: &str, condition: &HttpMatch) {
    let fields = [
        ("uri", &condition.uri),
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ];
    for (name, it) in fields {
        if let Some(it) = it {
            report.string_match(format!("{path}.{name}"), it);
        }
    }
    if let Some(StringMatch::Exact(text) | StringMatch::Prefix(text)) = &condition.uri
        && !text.starts_with('/')
        && !(text.is_empty() && matches!(condition.uri, Some(StringMatch::Prefix(_))))
    {
        let message = format!("no path matches `{text}`: paths start with `/`");
        report.warning(format!("{path}.uri"), message, &format!("did you mean `/{text}`?"));
    }
    if condition.ignore_uri_case && matches!(condition.uri, Some(StringMatch::Regex(_))) {
        let message = "the case of a regular expression is its own matter";
        report.warning(format!("{path}.ignoreUriCase"), message, "start the expression with `(?i)`");
    }
    for (field, map) in [("headers", &condition.headers), ("withoutHeaders", &condition.without_headers)] {
        for (name, it) in map {
            let path = format!("{path}.{field}.{name}");
            header_condition(report, &path, name);
            report.presence_or_match(path, it);
        }
    }
    for (name, it) in &condition.query_params {
        report.presence_or_match(format!("{path}.queryParams.{name}"), it);
    }
    if let Some(port) = condition.port {
        report.port(format!("{path}.port"), port);
    }
    report.not_yet_if(path, &[("statPrefix", !condition.stat_prefix.is_empty())]);
}

/// Looks over the name of a header that a condition asks for.
pub(super) fn header_condition(report: &mut Report, field: &str, name: &str) {
    if is_token(name) {
        return;
    }
    let hint = match name {
        ":path" => "use `uri`, whose path has no query, and `queryParams`",
        ":method" => "use `method`",
        ":scheme" => "use `scheme`",
        ":authority" => "use `authority`",
        _ => "letters, digits and `-`",
    };
    report.error(field, format!("`{name}` is not a header name"), hint);
}

fn redirect(report: &mut Report, path: &str, redirect: &Redirect) {
    let code = redirect.redirect_code.unwrap_or(301);
    if !matches!(code, 0 | 301 | 302 | 303 | 307 | 308) {
        let message = format!("{code} is not a redirect's status");
        report.error(format!("{path}.redirectCode"), message, "301, 302, 303, 307 or 308");
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        report.error(path, "`port` and `derivePort` exclude each other", "keep one of them");
    }
    if let Some(port) = redirect.port {
        report.port(format!("{path}.port"), port);
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        let message = format!("`{}` is not a scheme", redirect.scheme);
        report.error(format!("{path}.scheme"), message, "`http` or `https`");
    }
    report.not_yet_if(path, &[("prefixRewrite", redirect.prefix_rewrite.is_some())]);
    let says_nothing = redirect.uri.is_empty()
        && redirect.authority.is_empty()
        && redirect.scheme.is_empty()
        && redirect.port.is_none()
        && redirect.derive_port.is_none()
        && redirect.prefix_rewrite.is_none();
    if says_nothing {
        report.error(
            path,
            "the redirect leads back to where it came from",
            "give `uri`, `authority`, `scheme` or `port`",
        );
    }
}

fn direct_response(report: &mut Report, path: &str, response: &DirectResponse) {
    if !(200..=599).contains(&response.status) {
        let message = format!("{} is not the status of a final answer", response.status);
        report.error(format!("{path}.status"), message, "200 to 599");
    }
    let Some(body) = &response.body else { return };
    if body.string.is_some() && body.bytes.is_some() {
        report.error(format!("{path}.body"), "`string` and `bytes` exclude each other", "keep one of them");
    }
    report.not_yet_if(&format!("{path}.body"), &[("bytes", body.bytes.is_some())]);
}

fn rewrite(report: &mut Report, path: &str, rewrite: &Rewrite) {
    let regex = rewrite.uri_regex_rewrite.as_ref();
    if regex.is_some() && !rewrite.uri.is_empty() {
        report.error(path, "`uri` and `uriRegexRewrite` exclude each other", "keep one of them");
    } else if regex.is_none() && rewrite.uri.is_empty() && rewrite.authority.is_empty() {
        report.error(path, "it says nothing to rewrite", "give `uri`, `uriRegexRewrite` or `authority`");
    }
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let model = model::Rewrite {
        uri: some(&rewrite.uri),
        authority: some(&rewrite.authority),
        uri_regex: regex.map(|it| (it.pattern.clone(), it.rewrite.clone())),
    };
    // The code that carries it out has the last word on what it can carry out.
    if let Err(why) = rewrite::Rewrite::compile(&model) {
        let (field, reason) = why.split_once(": ").unwrap_or(("rewrite", &why));
        let field = field.strip_prefix("rewrite").unwrap_or_default();
        report.error(format!("{path}{field}"), reason, "see docs/rules.md");
    }
}

fn retries(report: &mut Report, path: &str, retries: &Retries, route: &HttpRoute) {
    for word in retry_on(&retries.retry_on).1 {
        let field = format!("{path}.retryOn");
        if RETRY_NOT_YET.contains(&word.as_str()) {
            report.warning(field, format!("`{word}` is not carried out yet"), super::RULES_PAGE);
            continue;
        }
        let hint = match nearest(&word, RETRY_WORDS.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a status code, or one of {}", RETRY_WORDS.join(", ")),
        };
        report.error(field, format!("`{word}` is not a condition for retries"), &hint);
    }
    if retries.attempts > ATTEMPTS_MAX {
        let message = format!("{} tries are more than are ever made", retries.attempts);
        report.warning(format!("{path}.attempts"), message, &format!("at most {ATTEMPTS_MAX} tries in all"));
    }
    if retries.attempts == 0 && (retries.per_try_timeout.is_some() || !retries.retry_on.is_empty()) {
        let message = "0 attempts switch retries off, so the other fields have no effect";
        report.warning(format!("{path}.attempts"), message, "set `attempts`, or leave the other fields out");
    }
    if let (Some(one), Some(all)) = (retries.per_try_timeout, route.timeout.filter(|it| it.millis() > 0))
        && one > all
    {
        let message = format!("one try may take {one}, but the whole exchange only {all}");
        report.warning(format!("{path}.perTryTimeout"), message, "`timeout` includes all tries");
    }
    report.not_yet_if(path, &[("retryRemoteLocalities", retries.retry_remote_localities.is_some())]);
}

fn fault(report: &mut Report, path: &str, fault: &Fault) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(path, "it names no fault", "give `delay` or `abort`");
    }
    if let Some(delay) = &fault.delay {
        let path = format!("{path}.delay");
        if delay.fixed_delay.is_none_or(|it| it.millis() == 0) {
            report.error(format!("{path}.fixedDelay"), "the delay is missing", "at least 1ms");
        }
        if let Some(percentage) = delay.percentage {
            report.share(format!("{path}.percentage.value"), percentage.value);
        } else if delay.percent.is_none() {
            report.warning(
                path.clone(),
                "without `percentage` no request is delayed",
                "set `percentage: {value: 100}`",
            );
        }
        if let Some(percent) = delay.percent {
            report.share(format!("{path}.percent"), f64::from(percent));
        }
        report.not_yet_if(&path, &[("exponentialDelay", delay.exponential_delay.is_some())]);
    }
    if let Some(abort) = &fault.abort {
        let path = format!("{path}.abort");
        match abort.http_status {
            Some(status) if !(200..=599).contains(&status) => {
                let message = format!("{status} is not the status of a final answer");
                report.error(format!("{path}.httpStatus"), message, "200 to 599");
            }
            None if abort.grpc_status.is_none() && abort.http2_error.is_none() => {
                report.error(format!("{path}.httpStatus"), "the status is missing", "200 to 599");
            }
            _ => {}
        }
        match abort.percentage {
            Some(percentage) => report.share(format!("{path}.percentage.value"), percentage.value),
            None => {
                let hint = "set `percentage: {value: 100}`";
                report.warning(path.clone(), "without `percentage` no request is aborted", hint);
            }
        }
        let not_yet =
            [("grpcStatus", abort.grpc_status.is_some()), ("http2Error", abort.http2_error.is_some())];
        report.not_yet_if(&path, &not_yet);
    }
}

fn headers(report: &mut Report, path: &str, headers: &Headers) {
    for (side, operations) in [("request", &headers.request), ("response", &headers.response)] {
        let Some(operations) = operations else { continue };
        for (what, name) in names(operations) {
            let field = format!("{path}.{side}.{what}");
            if is_authority(name) {
                if side == "response" || what != "set" {
                    let message = format!("`{name}` cannot be changed like this");
                    report.warning(field, message, "use `rewrite.authority`");
                }
            } else if !is_token(name) {
                report.error(field, format!("`{name}` is not a header name"), "letters, digits and `-`");
            } else if frames_message(name) {
                let message = format!("`{name}` frames the message or belongs to the connection");
                report.error(field, message, "leave it out: each connection has its own");
            }
        }
        let values =
            operations.set.iter().map(|it| ("set", it)).chain(operations.add.iter().map(|it| ("add", it)));
        for (what, (name, value)) in values {
            if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
                let message = "a header's value cannot hold line ends";
                report.error(format!("{path}.{side}.{what}.{name}"), message, "write it on one line");
            } else if value.contains('%') && value.matches('%').count() >= 2 {
                let message =
                    "format operators (`%…%`) in values are not carried out yet; the text is sent as it is";
                report.warning(format!("{path}.{side}.{what}.{name}"), message, super::RULES_PAGE);
            }
        }
    }
}

fn names(operations: &HeaderOperations) -> impl Iterator<Item = (&'static str, &String)> {
    let set = operations.set.keys().map(|it| ("set", it));
    let add = operations.add.keys().map(|it| ("add", it));
    set.chain(add).chain(operations.remove.iter().map(|it| ("remove", it)))
}
