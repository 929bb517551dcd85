//! HTTP/2: connections of clients, and what is common to those and to connections of upstreams.
//!
//! A connection is one task (`server`) that moves bytes, keeps the budgets and takes new streams; each stream is a task of its
//! own (`stream`) that carries out what the core's exchange decides, over an HTTP/1 connection (`over_h1`) or a stream of
//! an HTTP/2 one (`over_h2`). A body is taken from one side as fast as the other takes it: the window that a peer has
//! used is given back once its bytes have been sent on.

mod account;
mod call;
pub mod memio;
mod onward;
mod over_h1;
mod over_h2;
mod reply;
mod server;
mod source;
mod stream;
mod unchunk;
mod upgrade;
mod workers;

use dromon_core::h2::PREFACE;

pub(super) use over_h2::connects;
pub(super) use server::serve;
pub use workers::Workers;

/// Whether a connection's first bytes are those of HTTP/2 with prior knowledge (RFC 9113, 3.3).
pub(super) fn is_preface(bytes: &[u8]) -> bool {
    // What may still become one line of HTTP/1 is that: no client sends less than this in one piece.
    bytes.get(..PREFACE.len().min(bytes.len())) == PREFACE.get(..bytes.len().min(PREFACE.len()))
        && bytes.len() >= b"PRI * HTTP/2.0".len()
}
