//! Everything that talks to the kernel past the standard library, and the only unsafe code of the mesh.
#![allow(unsafe_code)]

pub mod clock;
