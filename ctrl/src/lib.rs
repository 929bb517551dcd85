//! The control plane's processes: what `dromon-controller` and `dromonctl` are made of.
//!
//! [`source`] delivers objects, [`store`] keeps the last good ones, translates them and holds back what would break,
//! [`feed`] streams each proxy its view, [`ca`] gives each its certificates; [`controller`] joins them. [`run`] builds a local mesh around ordinary processes,
//! and tells the controller about it through [`local`].
#![forbid(unsafe_code)]

pub mod analyze;
pub mod background;
pub mod ca;
pub mod cluster;
pub mod controller;
pub mod feed;
pub mod inject;
pub mod inspect;
pub mod install;
pub mod local;
pub mod run;
pub mod source;
pub mod store;
pub mod webhook;
