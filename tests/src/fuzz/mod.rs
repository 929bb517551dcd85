//! Fuzz targets: what no peer's bytes may do to the code that reads them first.
//!
//! A target takes any bytes and panics where a property is broken, so a panic of the code under test and a broken promise
//! are found alike. `tests/fuzz` runs each under libFuzzer (`tests/fuzz/run`, with a nightly compiler); the suite
//! `fuzz` feeds every file of the corpora and mutations of it to the same functions, in `make test`.

mod certificate;
mod chain;
mod first_bytes;
mod h1;
mod h2;
mod mutate;

pub use certificate::certificate;
pub use chain::certificate_chain;
pub use first_bytes::{proxy_protocol, sniffing};
pub use h1::{h1_chunked, h1_request, h1_response};
pub use h2::{h1_to_h2, h2_meter, h2_to_h1};
pub use mutate::mutate;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name; each has a file of that name in `tests/fuzz/fuzz_targets` and a folder in `tests/fuzz/corpus`.
pub const TARGETS: [(&str, Target); 10] = [
    ("certificate", certificate),
    ("certificate_chain", certificate_chain),
    ("h1_chunked", h1_chunked),
    ("h1_request", h1_request),
    ("h1_response", h1_response),
    ("h1_to_h2", h1_to_h2),
    ("h2_meter", h2_meter),
    ("h2_to_h1", h2_to_h1),
    ("proxy_protocol", proxy_protocol),
    ("sniffing", sniffing),
];

/// Cuts bytes into pieces whose lengths the bytes themselves tell.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = 1 + usize::from(*rest.first()?) % 13;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}
