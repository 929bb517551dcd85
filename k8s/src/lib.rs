//! The Kubernetes and Istio dialect as pure code: objects → model.
#![forbid(unsafe_code)]
