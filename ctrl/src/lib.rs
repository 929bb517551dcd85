//! The control plane's processes: what `dromon-controller` and `dromonctl` are made of.
//!
//! [`source`] delivers objects, [`store`] keeps the last good ones, translates them and holds back what would break,
//! [`feed`] streams each proxy its view. [`run`] builds a local mesh around ordinary processes.
#![forbid(unsafe_code)]

pub mod feed;
pub mod source;
