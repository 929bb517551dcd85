//! Raw bytes in, decisions and raw bytes out: each rule's accepted and refused side.

mod chunked;
mod requests;
