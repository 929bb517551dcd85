//! Which of several rules comes first where several match, as Gateway API and Ingress specify it.

use std::cmp::Reverse;

use dromon_core::config::model::{HttpMatch, HttpRule, StringMatch};

/// A rule's place in the order: the smaller, the earlier. An exact path comes before an expression and that before a prefix,
/// the longer before the shorter; then a method, more headers, more query parameters; then the older route, and its
/// earlier rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    path: Reverse<(u8, usize)>,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query_params: Reverse<usize>,
    age: usize,
    rule: usize,
    alternative: usize,
}

/// A rule with its place.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Its place.
    pub rank: Rank,
    /// The rule, of one alternative.
    pub rule: HttpRule,
}

impl Rank {
    /// The place after all others: of what takes whatever nothing else does.
    pub fn last(age: usize) -> Rank {
        let none = Rank::new(&HttpMatch::default(), age, usize::MAX, 0);
        Rank { path: Reverse((0, 0)), ..none }
    }

    /// The place of one alternative of a rule of a route; `age` is the route's place among all.
    pub fn new(condition: &HttpMatch, age: usize, rule: usize, alternative: usize) -> Rank {
        let path = match &condition.uri {
            Some(StringMatch::Exact(path)) => (3, path.len()),
            Some(StringMatch::Regex(path)) => (2, path.len()),
            Some(StringMatch::PathPrefix(path)) => (1, path.trim_end_matches('/').len()),
            Some(StringMatch::Prefix(path)) => (1, path.len()),
            None => (1, 0),
        };
        Rank {
            path: Reverse(path),
            method: Reverse(condition.method.is_some()),
            headers: Reverse(condition.headers.len()),
            query_params: Reverse(condition.query_params.len()),
            age,
            rule,
            alternative,
        }
    }
}

/// Rules in their order.
pub fn in_order(mut ranked: Vec<Ranked>) -> Vec<HttpRule> {
    ranked.sort_by(|a, b| a.rank.cmp(&b.rank));
    ranked.into_iter().map(|it| it.rule).collect()
}
