//! The rules of one host, in order: the first that matches wins.
//!
//! Every alternative of every rule has a rank, its position in the order. Alternatives with an exact path stand in a hash
//! map, those with a prefix in a trie, the others (regular expressions, no path) in a list; a lookup takes the candidate of
//! least rank from the three until one holds. So the order is kept, and what cannot match by its path is never looked at.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::exchange::RequestView;
use crate::route::matcher::{Matcher, StringMatcher, Subject};
use crate::route::path::{Fit, Folded, Forward, Trie};
use crate::route::rule::CompiledRule;

/// What of the path a rule's condition took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// The whole path: exact, regular expression, or no condition on the path.
    Whole,
    /// Its first bytes.
    Prefix(usize),
    /// Its first segments, without the slash that follows.
    Segments(usize),
}

/// One alternative of one rule.
#[derive(Debug)]
struct Ranked {
    rule: u32,
    /// Position among the rule's alternatives; `None` for the rule that has none.
    matcher: Option<Matcher>,
}

/// The rules of one host, indexed.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Box<[Arc<CompiledRule>]>,
    ranked: Box<[Ranked]>,
    /// Path → ranks, ascending, in `exact_ranks`.
    exact: HashMap<Box<[u8]>, (u32, u32), FixedState>,
    exact_ranks: Box<[u32]>,
    prefixes: Trie,
    /// Exact and prefix paths whose letters' case is ignored, in lower case.
    folded: Trie,
    /// Ranks whose path is a regular expression or not asked about.
    others: Box<[u32]>,
}

impl RuleSet {
    /// Indexes rules with their alternatives; no alternatives: the rule takes everything.
    pub fn build(rules: Vec<(Arc<CompiledRule>, Vec<Matcher>)>) -> RuleSet {
        let mut ranked = Vec::new();
        let mut compiled = Vec::new();
        for (position, (rule, matchers)) in rules.into_iter().enumerate() {
            compiled.push(rule);
            if matchers.is_empty() {
                ranked.push(Ranked { rule: position as u32, matcher: None });
            }
            ranked.extend(matchers.into_iter().map(|it| Ranked { rule: position as u32, matcher: Some(it) }));
        }
        let mut exact: HashMap<Box<[u8]>, Vec<u32>, FixedState> = HashMap::default();
        let (mut prefixes, mut folded, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (rank, it) in ranked.iter().enumerate() {
            let rank = rank as u32;
            let ignore_case = it.matcher.as_ref().is_some_and(|matcher| matcher.ignore_uri_case);
            let (text, fit) = match it.matcher.as_ref().and_then(|matcher| matcher.uri.as_ref()) {
                Some(StringMatcher::Exact(text)) => (text, Fit::Whole),
                Some(StringMatcher::Prefix(text)) => (text, Fit::Prefix),
                Some(StringMatcher::Segments(text)) => (text, Fit::Segments),
                Some(StringMatcher::Regex(_)) | None => {
                    others.push(rank);
                    continue;
                }
            };
            match (ignore_case, fit) {
                (true, _) => folded.push((text.to_ascii_lowercase(), fit, rank)),
                (false, Fit::Whole) => exact.entry(text.clone()).or_default().push(rank),
                (false, _) => prefixes.push((text.to_vec(), fit, rank)),
            }
        }
        let (exact, exact_ranks) = flatten(exact);
        RuleSet {
            rules: compiled.into(),
            ranked: ranked.into(),
            exact,
            exact_ranks,
            prefixes: Trie::build(prefixes),
            folded: Trie::build(folded),
            others: others.into(),
        }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Arc<CompiledRule>] {
        &self.rules
    }

    /// The first rule that matches, and what of the path it took.
    pub fn first_match<R: RequestView>(
        &self,
        subject: &Subject<'_, R>,
    ) -> Option<(&Arc<CompiledRule>, Matched)> {
        let path = subject.path;
        let mut exact = match self.exact.get(path) {
            Some((from, to)) => &self.exact_ranks[*from as usize..*to as usize],
            None => &[],
        };
        let mut others = &*self.others;
        let mut floor = 0;
        let mut in_trie = self.least_in_tries(path, floor);
        loop {
            let from_exact = exact.first().copied().unwrap_or(u32::MAX);
            let from_others = others.first().copied().unwrap_or(u32::MAX);
            let rank = in_trie.min(from_exact).min(from_others);
            let candidate = self.ranked.get(rank as usize)?;
            let holds = match &candidate.matcher {
                None => true,
                // The index has seen to the path, except where it could not.
                Some(it) => (rank != from_others || it.uri_matches(path)) && it.rest_matches(subject),
            };
            if holds {
                return Some((&self.rules[candidate.rule as usize], matched(candidate.matcher.as_ref())));
            }
            floor = rank + 1;
            if rank == from_exact {
                exact = &exact[1..];
            } else if rank == from_others {
                others = &others[1..];
            } else {
                in_trie = self.least_in_tries(path, floor);
            }
        }
    }

    fn least_in_tries(&self, path: &[u8], floor: u32) -> u32 {
        let kept = self.prefixes.least(&Forward(path), floor, u32::MAX).unwrap_or(u32::MAX);
        if self.folded.is_empty() {
            return kept;
        }
        self.folded.least(&Folded(path), floor, kept).unwrap_or(kept)
    }

    /// Every alternative in order, as (rule's position, condition), for explanations.
    pub(crate) fn alternatives(&self) -> impl Iterator<Item = (usize, Option<&Matcher>)> {
        self.ranked.iter().map(|it| (it.rule as usize, it.matcher.as_ref()))
    }
}

fn matched(matcher: Option<&Matcher>) -> Matched {
    match matcher.and_then(|it| it.uri.as_ref()) {
        Some(StringMatcher::Prefix(text)) => Matched::Prefix(text.len()),
        Some(StringMatcher::Segments(text)) => Matched::Segments(text.len()),
        Some(StringMatcher::Exact(_) | StringMatcher::Regex(_)) | None => Matched::Whole,
    }
}

type ExactIndex = HashMap<Box<[u8]>, (u32, u32), FixedState>;

fn flatten(lists: HashMap<Box<[u8]>, Vec<u32>, FixedState>) -> (ExactIndex, Box<[u32]>) {
    let mut ranks = Vec::new();
    let mut index = ExactIndex::with_capacity_and_hasher(lists.len(), FixedState::default());
    for (path, list) in lists {
        let from = ranks.len() as u32;
        ranks.extend(list);
        index.insert(path, (from, ranks.len() as u32));
    }
    (index, ranks.into())
}

#[cfg(test)]
mod tests;
