//! The index of a set that differs from an earlier one's in few objects: what these do not touch is taken over as it is.
//!
//! Routes and endpoints change all the time and touch little: one service's endpoints, one route's place. Whatever else changes
//! makes the index anew. That both give the same is what `tests.rs` checks over random changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::virtual_service::VirtualService;
use crate::api::{Kind, Object};
use crate::objects::{Key, ObjectSet};

use super::{
    Held, HeldVirtualService, Mesh, age, by_gateway, exported, kube_services, naming, virtual_service,
};

/// Routes of Gateway API.
pub(super) const ROUTES: [Kind; 4] = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];

impl Mesh {
    /// The index of `set`, this being that of `before`, from which it differs in these objects alone.
    pub fn renewed(&self, set: &ObjectSet, before: &ObjectSet, changed: &BTreeSet<Key>) -> Mesh {
        let of =
            |kinds: &[Kind]| -> Vec<&Key> { changed.iter().filter(|it| kinds.contains(&it.kind)).collect() };
        let (rules, slices, routes) = (of(&[Kind::VirtualService]), of(&[Kind::EndpointSlice]), of(&ROUTES));
        if rules.len() + slices.len() + routes.len() < changed.len() {
            return self.anew(set);
        }
        let mut mesh = self.clone();
        if !rules.is_empty() && !mesh.renew_virtual_services(set, &rules) {
            return self.anew(set);
        }
        if !slices.is_empty() {
            mesh.renew_endpoints(set, before, &slices);
        }
        if !routes.is_empty() {
            mesh.gateway_api = Arc::new(mesh.gateway_api.renewed(set, mesh.known(), &routes));
        }
        mesh
    }

    /// The index of a set, made anew; what is as it was is the same as before, so that [`Mesh::since`] finds little.
    fn anew(&self, set: &ObjectSet) -> Mesh {
        let mut mesh = Mesh::new(set);
        let is_same = |(one, two): (&Arc<HeldVirtualService>, &Arc<HeldVirtualService>)| {
            Arc::ptr_eq(&one.held.rule, &two.held.rule) && !delegates(&one.held.rule.spec)
        };
        let (now, before) = (&mesh.virtual_services, &self.virtual_services);
        if now.len() == before.len() && now.iter().zip(before.iter()).all(is_same) {
            mesh.virtual_services = self.virtual_services.clone();
        }
        Arc::make_mut(&mut mesh.gateway_api).adopt(&self.gateway_api);
        mesh
    }

    /// False where VirtualServices delegate to each other: then one may concern all.
    fn renew_virtual_services(&mut self, set: &ObjectSet, changed: &[&Key]) -> bool {
        let mut all = self.virtual_services.as_ref().clone();
        if all.iter().any(|it| delegates(&it.held.rule.spec)) {
            return false;
        }
        all.retain(|it| !changed.contains(&&it.held.key));
        for key in changed {
            let Some(sourced) = set.get(key) else { continue };
            let Object::VirtualService(rule) = &sourced.object else { continue };
            if delegates(&rule.spec) {
                return false;
            }
            let held = Held { key: sourced.key.clone(), rule: rule.clone() };
            let new = virtual_service(&exported(held, &self.config), &[]);
            let is_older = |it: &Arc<HeldVirtualService>| {
                set.get(&it.held.key).is_some_and(|other| age(other) < age(sourced))
            };
            all.insert(all.partition_point(is_older), Arc::new(new));
        }
        self.by_gateway = Arc::new(by_gateway(&all));
        self.virtual_services = Arc::new(all);
        true
    }

    /// Endpoints of the Services that these EndpointSlices are or were of.
    fn renew_endpoints(&mut self, set: &ObjectSet, before: &ObjectSet, changed: &[&Key]) {
        let of = |set: &ObjectSet, key: &Key| kube_services::service_of_slice(set.get(key)?);
        let services: BTreeSet<(&str, String)> = changed
            .iter()
            .flat_map(|key| [of(set, key), of(before, key)].map(|it| Some((key.namespace.as_str(), it?))))
            .flatten()
            .collect();
        let mut all = self.services.as_ref().clone();
        for (namespace, name) in services {
            let Some(new) = kube_services::one(set, &self.workloads, &self.config, namespace, &name) else {
                continue;
            };
            let mut new = [new];
            naming::identify(&mut new, &self.peer_authentications, &self.config);
            let [new] = new;
            let places = self.by_host.get(&new.host).map(Vec::as_slice).unwrap_or_default();
            for at in places {
                if let Some(held) = all.get_mut(*at).filter(|it| it.origin == new.origin) {
                    *held = Arc::new(new.clone());
                }
            }
        }
        self.services = Arc::new(all);
    }
}

/// Whether a VirtualService delegates, or is there to be delegated to.
fn delegates(it: &VirtualService) -> bool {
    it.hosts.is_empty() || it.http.iter().any(|it| it.delegate.is_some())
}
