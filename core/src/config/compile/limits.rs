//! Rate limits: each limit compiled once, then attached to the places that its object guards.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::compile::Inputs;
use crate::config::model::{self, LimitKey, LimitScope, ListenerKind};
use crate::limit::LimitState;
use crate::limits::LIMIT_KEY_PARTS_MAX;
use crate::route::matcher::Matcher;
use crate::route::rule::CompiledLimit;

/// All rate limits of a proxy.
#[derive(Debug, Default)]
pub(crate) struct LimitSet {
    objects: BTreeMap<Arc<str>, LimitObject>,
}

#[derive(Debug)]
struct LimitObject {
    model: Arc<model::RateLimit>,
    limits: Vec<Arc<CompiledLimit>>,
}

/// Checks a limit and compiles its condition.
///
/// # Errors
/// The reason for the operator, with the field's name.
pub(crate) fn compile_limit(limit: &model::Limit) -> Result<Option<Matcher>, String> {
    if limit.per.len() > LIMIT_KEY_PARTS_MAX {
        return Err(format!("per: {} parts; at most {LIMIT_KEY_PARTS_MAX}", limit.per.len()));
    }
    for key in &limit.per {
        if let LimitKey::Header(name) = key
            && http::HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            return Err(format!("per: {name:?} is not a header name"));
        }
    }
    limit.when.as_ref().map(super::rules::compile_match).transpose().map_err(|why| format!("when.{why}"))
}

/// Compiles all rate limits; the whole set is kept where no object changed.
pub(super) fn compile_limits(inputs: &Inputs<'_>, previous: Option<&Arc<LimitSet>>) -> Arc<LimitSet> {
    let held = inputs.snapshot.rate_limits();
    if let Some(previous) = previous {
        let mut pairs = previous.objects.values().zip(held.values());
        if previous.objects.len() == held.len() && pairs.all(|(old, new)| Arc::ptr_eq(&old.model, new.body()))
        {
            return Arc::clone(previous);
        }
    }
    let objects = held.iter().map(|(name, held)| {
        let old = previous.and_then(|previous| previous.objects.get(name));
        let limits = held.body().limits.iter().enumerate().filter_map(|(index, limit)| {
            let old = old.and_then(|old| old.limits.get(index));
            compile_one(name, index, limit, old, inputs.seed)
        });
        let limits = limits.collect();
        (Arc::clone(name), LimitObject { model: Arc::clone(held.body()), limits })
    });
    Arc::new(LimitSet { objects: objects.collect() })
}

/// None cannot happen: the snapshot has compiled the condition when it took the object over.
fn compile_one(
    object: &Arc<str>,
    index: usize,
    limit: &model::Limit,
    old: Option<&Arc<CompiledLimit>>,
    seed: u64,
) -> Option<Arc<CompiledLimit>> {
    if let Some(old) = old.filter(|old| old.model == *limit) {
        return Some(Arc::clone(old));
    }
    let numbers = |limit: &model::Limit| (limit.requests, limit.unit_ms, limit.burst);
    let same =
        |old: &&Arc<CompiledLimit>| numbers(&old.model) == numbers(limit) && old.model.per == limit.per;
    let state = match old.filter(same) {
        Some(old) => Arc::clone(&old.state),
        None => Arc::new(LimitState::new(limit, seed)),
    };
    let when = compile_limit(limit).ok()?;
    Some(Arc::new(CompiledLimit { object: Arc::clone(object), index, model: limit.clone(), state, when }))
}

impl LimitSet {
    /// The objects, as configured.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Arc<model::RateLimit>> {
        self.objects.values().map(|object| &object.model)
    }

    fn of_scope(&self, mut guards: impl FnMut(&LimitScope) -> bool) -> Vec<Arc<CompiledLimit>> {
        let objects = self.objects.values().filter(|object| guards(&object.model.scope));
        objects.flat_map(|object| object.limits.iter().cloned()).collect()
    }

    /// Limits on what this workload sends to a host.
    pub(super) fn outbound(&self, name: &str) -> Vec<Arc<CompiledLimit>> {
        if self.objects.is_empty() {
            return Vec::new();
        }
        self.of_scope(|scope| matches!(scope, LimitScope::Outbound { host } if host == name))
    }

    /// Limits on what arrives at a listener.
    pub(super) fn arriving(&self, listener: &model::Listener) -> Vec<Arc<CompiledLimit>> {
        self.of_scope(|scope| match (&listener.kind, scope) {
            (ListenerKind::Inbound { .. } | ListenerKind::InboundCapture { .. }, LimitScope::Inbound) => true,
            (ListenerKind::Inbound { service, .. }, LimitScope::InboundService { host }) => {
                service.as_ref().is_some_and(|service| service.host == *host)
            }
            (ListenerKind::GatewayHttp | ListenerKind::GatewayTcp, LimitScope::Gateway { listeners }) => {
                listeners.contains(&listener.name)
            }
            _ => false,
        })
    }
}
