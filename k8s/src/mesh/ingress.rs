//! Kubernetes Ingresses of our class.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;

use crate::api::mesh_config::MeshConfig;
use crate::api::{Kind, Object};
use crate::objects::{Key, ObjectSet};

/// The IngressClass that an installation brings.
pub const CLASS: &str = "dromon";
/// The name by which IngressClasses say that Ingresses of theirs are ours.
pub const CONTROLLER: &str = "dromon.io/ingress";
/// What named the class before `ingressClassName` was.
pub(crate) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// The annotation of the IngressClass whose Ingresses need name none.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// An Ingress of ours.
#[derive(Clone, Debug)]
pub struct HeldIngress {
    /// The object.
    pub key: Key,
    /// As it was written.
    pub object: Arc<Ingress>,
}

/// The Ingresses of a set that are ours, oldest first.
pub fn ingresses(set: &ObjectSet, config: &MeshConfig) -> Vec<HeldIngress> {
    let (classes, is_default) = classes(set, config);
    let mut all: Vec<_> = set.of_kind(Kind::Ingress).collect();
    all.sort_by_key(|it| {
        let created = it.object.meta().creation_timestamp.as_ref().map(|it| it.0);
        (created, it.key.namespace.clone(), it.key.name.clone())
    });
    let held = |it: &crate::objects::Sourced| match &it.object {
        Object::Ingress(object) => Some(HeldIngress { key: it.key.clone(), object: object.clone() }),
        _ => None,
    };
    let ours = |it: &HeldIngress| match class_of(&it.object) {
        Some(class) => classes.contains(class),
        None => is_default,
    };
    all.into_iter().filter_map(held).filter(ours).collect()
}

/// The class that an Ingress names.
pub fn class_of(ingress: &Ingress) -> Option<&str> {
    let named = ingress.spec.as_ref().and_then(|it| it.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    named.or_else(|| annotations.and_then(|it| it.get(CLASS_ANNOTATION)).map(String::as_str))
}

/// Names of the classes that are ours, and whether one of them is the cluster's default. The class that an installation
/// brings is known without its object too; the mesh's settings may name another (`ingressClass`).
fn classes(set: &ObjectSet, config: &MeshConfig) -> (BTreeSet<String>, bool) {
    let mut names: BTreeSet<String> =
        config.ingress_class.iter().filter(|it| !it.is_empty()).cloned().collect();
    names.insert(CLASS.to_owned());
    let mut is_default = false;
    for sourced in set.of_kind(Kind::IngressClass) {
        let Object::IngressClass(class) = &sourced.object else { continue };
        let controller = class.spec.as_ref().and_then(|it| it.controller.as_deref());
        if controller != Some(CONTROLLER) {
            names.remove(&sourced.key.name);
            continue;
        }
        names.insert(sourced.key.name.clone());
        let annotation = class.metadata.annotations.as_ref().and_then(|it| it.get(DEFAULT_ANNOTATION));
        is_default |= annotation.is_some_and(|it| it == "true");
    }
    (names, is_default)
}
