//! ReferenceGrants: references into another namespace hold only where that namespace permits them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::gateway_api::ReferenceGrant;
use crate::api::{Kind, Object, Rule};
use crate::objects::ObjectSet;

/// The grants of a set, by the namespace that gives them.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    by_namespace: HashMap<String, Vec<Arc<Rule<ReferenceGrant>>>>,
}

/// Who refers.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct From<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
}

/// To what.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct To<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Grants {
    /// Gathers the grants of a set.
    pub fn new(set: &ObjectSet) -> Grants {
        let mut by_namespace: HashMap<String, Vec<_>> = HashMap::new();
        for sourced in set.of_kind(Kind::ReferenceGrant) {
            if let Object::ReferenceGrant(grant) = &sourced.object {
                by_namespace.entry(sourced.key.namespace.clone()).or_default().push(grant.clone());
            }
        }
        Grants { by_namespace }
    }

    /// Whether a reference holds: within a namespace always, else where one grant names both ends.
    pub fn permit(&self, from: From<'_>, to: To<'_>) -> bool {
        if from.namespace == to.namespace {
            return true;
        }
        let grants = self.by_namespace.get(to.namespace).map(Vec::as_slice).unwrap_or_default();
        grants.iter().any(|grant| {
            let is_from =
                grant.spec.from.iter().any(|it| {
                    it.group == from.group && it.kind == from.kind && it.namespace == from.namespace
                });
            let is_to = grant.spec.to.iter().any(|it| {
                let named = it.name.as_deref().filter(|name| !name.is_empty());
                it.group == to.group && it.kind == to.kind && named.is_none_or(|name| name == to.name)
            });
            is_from && is_to
        })
    }
}
