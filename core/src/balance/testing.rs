//! Destinations made by hand, for the tests of balancing, health, retries and exchanges.

use std::sync::Arc;

use super::{DestinationState, EndpointState};
use crate::config::model;
use crate::config::table::{Destination, Endpoint};

/// A destination with one endpoint for each weight, changed by `change`.
pub(crate) fn destination(weights: &[u32], change: impl FnOnce(&mut model::Destination)) -> Destination {
    let mut model = model::Destination {
        name: "outbound|9080||reviews.default.svc.cluster.local".to_owned(),
        service: model::ServiceRef {
            host: "reviews.default.svc.cluster.local".to_owned(),
            name: "reviews".to_owned(),
            namespace: "default".to_owned(),
        },
        ..model::Destination::default()
    };
    change(&mut model);
    let endpoint = |(place, weight): (usize, &u32)| {
        let model = model::Endpoint {
            address: format!("10.0.{}.{}", place / 250, place % 250 + 1),
            port: 9080,
            weight: *weight,
            ..model::Endpoint::default()
        };
        Endpoint {
            address: format!("{}:{}", model.address, model.port).parse().unwrap(),
            model: Arc::new(model),
            state: Arc::new(EndpointState::default()),
        }
    };
    let endpoints = weights.iter().enumerate().map(endpoint).collect();
    Destination::new(Arc::new(model), endpoints, Arc::new(DestinationState::default()))
}
