//! Rules of one VirtualService that can never hold, because an earlier one takes all that they would.

use std::collections::BTreeMap;

use crate::api::scalar::StringMatch;
use crate::api::virtual_service::{HttpMatch, HttpRoute};
use crate::diagnostic::Diagnostic;
use crate::mesh::HeldVirtualService;

use super::Analysis;

/// Looks for rules of one VirtualService that an earlier one hides.
pub fn analyze(analysis: &mut Analysis<'_>, virtual_service: &HeldVirtualService) {
    let spec = &virtual_service.held.rule.spec;
    let everything = HttpMatch::default();
    let alternatives = |route: &HttpRoute| match route.matches.is_empty() {
        true => vec![everything.clone()],
        false => route.matches.clone(),
    };
    let mut earlier: Vec<(usize, HttpMatch)> = Vec::new();
    for (at, route) in spec.http.iter().enumerate() {
        let own = alternatives(route);
        let hidden: Vec<Option<usize>> = own
            .iter()
            .map(|later| earlier.iter().find(|(_, it)| takes_all_of(it, later)).map(|(rule, _)| *rule))
            .collect();
        if hidden.iter().all(Option::is_some) {
            let by = hidden.iter().flatten().min().copied().unwrap_or_default();
            let message = format!("this rule never holds: `spec.http[{by}]` takes all that it would");
            let diagnostic = Diagnostic::warning(format!("spec.http[{at}]"), message);
            analysis.report(
                &virtual_service.held.key,
                diagnostic.hint("the first rule that matches wins: move it up"),
            );
        } else {
            for (alternative, by) in hidden.iter().enumerate().filter_map(|(n, by)| by.map(|by| (n, by))) {
                let field = format!("spec.http[{at}].match[{alternative}]");
                let message =
                    format!("this alternative never holds: `spec.http[{by}]` takes all that it would");
                analysis.report(&virtual_service.held.key, Diagnostic::warning(field, message));
            }
        }
        earlier.extend(own.into_iter().map(|it| (at, it)));
    }
    let catch_all = spec.tcp.iter().position(|it| it.matches.is_empty());
    if let Some(by) = catch_all.filter(|by| by + 1 < spec.tcp.len()) {
        let message = format!("this rule never holds: `spec.tcp[{by}]` takes all connections");
        let diagnostic = Diagnostic::warning(format!("spec.tcp[{}]", by + 1), message);
        analysis.report(
            &virtual_service.held.key,
            diagnostic.hint("the first rule that matches wins: move it up"),
        );
    }
}

/// Whether every request that `later` takes is taken by `earlier` already; false where that is not certain.
fn takes_all_of(earlier: &HttpMatch, later: &HttpMatch) -> bool {
    let whole = |it: &Option<StringMatch>| matches!(it, Some(StringMatch::Prefix(prefix)) if prefix == "/");
    let uri = earlier.uri.is_none()
        || whole(&earlier.uri)
        || (earlier.ignore_uri_case == later.ignore_uri_case && is_wider(&earlier.uri, &later.uri));
    uri && is_wider(&earlier.scheme, &later.scheme)
        && is_wider(&earlier.method, &later.method)
        && is_wider(&earlier.authority, &later.authority)
        && are_wider(&earlier.headers, &later.headers)
        && earlier.without_headers.iter().all(|(name, it)| later.without_headers.get(name) == Some(it))
        && are_wider(&earlier.query_params, &later.query_params)
        && (earlier.port.is_none() || earlier.port == later.port)
        && earlier.source_labels.iter().all(|(name, it)| later.source_labels.get(name) == Some(it))
        && (earlier.source_namespace.is_empty() || earlier.source_namespace == later.source_namespace)
        && (earlier.gateways.is_empty()
            || (!later.gateways.is_empty() && later.gateways.iter().all(|it| earlier.gateways.contains(it))))
}

type Conditions = BTreeMap<String, Option<StringMatch>>;

fn are_wider(earlier: &Conditions, later: &Conditions) -> bool {
    earlier.iter().all(|(name, it)| match (it, later.get(name)) {
        (_, None) => false,
        (None | Some(StringMatch::Present), Some(_)) => true,
        (it, Some(later)) => is_wider(it, later),
    })
}

fn is_wider(earlier: &Option<StringMatch>, later: &Option<StringMatch>) -> bool {
    match (earlier, later) {
        (None, _) => true,
        (Some(StringMatch::Prefix(wide)), Some(StringMatch::Prefix(text) | StringMatch::Exact(text))) => {
            text.starts_with(wide.as_str())
        }
        (earlier, later) => earlier == later,
    }
}
