//! Everything that talks to the kernel past the standard library, and the only unsafe code of the mesh.
//!
//! Each file wraps one facility behind a safe interface: [`clock`] time, [`cpu`] affinity, [`runtime`] the driver
//! chosen by really building it, [`socket`] owned-buffer I/O with options and peeks, [`buffer`] what that I/O fills,
//! [`congestion`] what connections within the machine are spared, [`heap`] the allocator, [`loopback`] addresses of `lo`.
#![allow(unsafe_code)]

pub mod buffer;
pub mod clock;
pub mod congestion;
pub mod cpu;
pub mod heap;
pub mod listen;
pub mod loopback;
pub mod memory;
pub mod runtime;
pub mod socket;
