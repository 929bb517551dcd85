//! Where objects come from. A source delivers files or objects as they are; what they mean is decided behind it.

pub mod folder;
pub mod kube;
