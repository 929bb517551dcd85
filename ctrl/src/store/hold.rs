//! Make before break: a VirtualService that names something which does not exist yet stays as it was until it does.
//!
//! Files of one change often arrive apart, a route before the subset that it names. Were the route put in force at once, its
//! requests would fail until the rest is there. So the last version of a VirtualService whose destinations all exist goes on
//! in place of a newer one with destinations missing; one that never was whole is put in force as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use dromon_k8s::api::virtual_service::Destination;
use dromon_k8s::mesh::destination_rules::Client;
use dromon_k8s::mesh::{HeldVirtualService, Mesh, host};
use dromon_k8s::objects::{Key, ObjectSet, Sourced};

use super::files::Files;

/// Remembers whole versions and says which ones are held back.
#[derive(Debug, Default)]
pub struct Hold {
    /// The last whole version of each, with the text of the file that it stood in.
    whole: BTreeMap<Key, (Sourced, Option<Arc<str>>)>,
    /// What is missing for those whose last whole version is in force.
    held: BTreeMap<Key, Vec<String>>,
    /// What is missing for those that are in force all the same.
    broken: BTreeMap<Key, Vec<String>>,
}

impl Hold {
    /// Replaces what has to wait by its last whole version, in place; returns the index of the result.
    pub fn apply(&mut self, set: &mut ObjectSet, files: &Files) -> Mesh {
        let mut mesh = Mesh::new(set);
        let missing = unresolved(&mesh);
        let mut newer = Vec::new();
        for key in missing.keys() {
            let (Some(current), Some((whole, _))) = (set.get(key), self.whole.get(key)) else { continue };
            if current.object != whole.object {
                newer.push(current.clone());
                let file = current.file.clone();
                set.insert(Sourced { file, ..whole.clone() });
            }
        }
        let mut still = missing.clone();
        if !newer.is_empty() {
            mesh = Mesh::new(set);
            still = unresolved(&mesh);
            let in_vain: Vec<Sourced> = newer.extract_if(.., |it| still.contains_key(&it.key)).collect();
            if !in_vain.is_empty() {
                // What the old version needs is gone too: then the new one is no worse.
                for sourced in in_vain {
                    set.insert(sourced);
                }
                mesh = Mesh::new(set);
                still = unresolved(&mesh);
            }
        }
        self.held = newer
            .into_iter()
            .filter_map(|sourced| Some((sourced.key.clone(), missing.get(&sourced.key)?.clone())))
            .collect();
        self.remember(set, files, &still);
        self.broken = still;
        mesh
    }

    /// What waits, with what it waits for.
    pub fn held(&self) -> &BTreeMap<Key, Vec<String>> {
        &self.held
    }

    /// What is in force with destinations missing.
    pub fn broken(&self) -> &BTreeMap<Key, Vec<String>> {
        &self.broken
    }

    /// The texts that the whole versions now in force in place of newer ones came from, by file.
    pub fn texts(&self) -> BTreeMap<String, Arc<str>> {
        self.held
            .keys()
            .filter_map(|key| self.whole.get(key))
            .filter_map(|(whole, text)| Some((whole.file.to_string(), text.clone()?)))
            .collect()
    }

    fn remember(&mut self, set: &ObjectSet, files: &Files, broken: &BTreeMap<Key, Vec<String>>) {
        self.whole.retain(|key, _| set.get(key).is_some());
        for sourced in set.of_kind(dromon_k8s::api::Kind::VirtualService) {
            let known = self.whole.get(&sourced.key).is_some_and(|(whole, _)| whole.object == sourced.object);
            if !known && !broken.contains_key(&sourced.key) {
                self.whole.insert(sourced.key.clone(), (sourced.clone(), files.text(&sourced.file)));
            }
        }
    }
}

/// The VirtualServices that name what does not exist, with what that is.
fn unresolved(mesh: &Mesh) -> BTreeMap<Key, Vec<String>> {
    let with_missing = mesh.virtual_services.iter().filter_map(|it| {
        let missing = missing(mesh, it);
        (!missing.is_empty()).then(|| (it.held.key.clone(), missing))
    });
    with_missing.collect()
}

fn missing(mesh: &Mesh, virtual_service: &HeldVirtualService) -> Vec<String> {
    let spec = &virtual_service.held.rule.spec;
    let namespace = virtual_service.held.key.namespace.as_str();
    let http = spec.http.iter().flat_map(|rule| &rule.route);
    let tcp = spec.tcp.iter().flat_map(|rule| &rule.route);
    let mut missing: Vec<String> =
        http.chain(tcp).filter_map(|route| absent(mesh, namespace, &route.destination)).collect();
    missing.sort();
    missing.dedup();
    missing
}

/// What of a destination does not exist, if anything.
fn absent(mesh: &Mesh, namespace: &str, destination: &Destination) -> Option<String> {
    let host = host::resolve(&destination.host, namespace);
    let Some(service) = mesh.service(&host, namespace) else { return Some(format!("host {host}")) };
    if let Some(port) = destination.port
        && service.port(port.number).is_none()
    {
        return Some(format!("port {} of {host}", port.number));
    }
    if destination.subset.is_empty() {
        return None;
    }
    let labels = BTreeMap::new();
    let client = Client { namespace, labels: &labels };
    let policy = mesh.destination_rules.find(&client, &host, &service.namespace, &mesh.root_namespace);
    let known = policy.is_some_and(|policy| policy.subset(&destination.subset).is_some());
    (!known).then(|| format!("subset {} of {host}", destination.subset))
}
