//! Labels of namespaces, for listeners that let routes in by them.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::api::Kind;
use crate::mesh::workloads::Labels;
use crate::objects::ObjectSet;

/// The label that Kubernetes gives to every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Labels by namespace.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    labels: HashMap<String, Labels>,
}

impl Namespaces {
    /// Gathers the namespaces of a set. A folder need not have them as objects.
    pub fn new(set: &ObjectSet) -> Namespaces {
        let of = |it: &crate::objects::Sourced| {
            (it.key.name.clone(), it.object.meta().labels.clone().unwrap_or_default())
        };
        Namespaces { labels: set.of_kind(Kind::Namespace).map(of).collect() }
    }

    /// Whether a selector chooses a namespace.
    pub fn chosen(&self, selector: &LabelSelector, namespace: &str) -> bool {
        let labels = self.labels.get(namespace);
        let value = |label: &str| match labels.and_then(|it| it.get(label)) {
            Some(value) => Some(value.as_str()),
            None => (label == NAME_LABEL).then_some(namespace),
        };
        let has = |(label, wanted): (&String, &String)| value(label) == Some(wanted.as_str());
        selector.match_labels.iter().flatten().all(has)
            && selector.match_expressions.iter().flatten().all(|it| {
                let values = it.values.as_deref().unwrap_or_default();
                let found = value(&it.key);
                let is_in = || found.is_some_and(|found| values.iter().any(|value| value == found));
                match it.operator.as_str() {
                    "In" => is_in(),
                    "NotIn" => !is_in(),
                    "Exists" => found.is_some(),
                    "DoesNotExist" => found.is_none(),
                    _ => false,
                }
            })
    }
}
