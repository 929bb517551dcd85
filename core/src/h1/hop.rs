//! What ends at this hop: `Connection` and what it names, `TE`, `Upgrade` (R25, R26, R38).

use super::field::{Fields, Known, folds_to, list, same_name};
use super::request::RequestHead;
use super::response::ResponseHead;
use super::rule::{Reject, Rule};
use crate::fault::Reason;
use crate::limits::CONNECTION_TOKENS_MAX;

/// What the `Connection` lines of a head asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    pub(super) te: bool,
}

impl Options {
    /// What a lone `Connection` line says if it is one of the two that nearly all messages have.
    pub(super) fn of_usual(value: &[u8]) -> Option<Options> {
        let (keep_alive, close) = (folds_to(value, b"keep-alive"), folds_to(value, b"close"));
        (keep_alive || close).then(|| Options { keep_alive, close, ..Options::default() })
    }
}

/// Known fields that always end here; `Trailer` and `TE` are written anew where they may go on.
pub(super) const HOP_BY_HOP: u32 = Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::ProxyConnection.bit()
    | Known::Te.bit()
    | Known::Trailer.bit()
    | Known::TransferEncoding.bit()
    | Known::Upgrade.bit()
    | Known::Http2Settings.bit();

/// Whether a field always ends here.
pub(crate) fn is_hop_by_hop(known: Known) -> bool {
    known.bit() & HOP_BY_HOP != 0
}

/// Reads all `Connection` lines and marks the fields that they name as ending here (R25).
///
/// # Errors
/// R20 for too many tokens, R25 where a token is malformed or names a field that framing or routing rests on.
pub(super) fn connection(fields: &mut Fields, bytes: &[u8]) -> Result<Options, Reject> {
    let mut lines = fields.iter().filter(|field| field.known == Known::Connection);
    if let (Some(only), None) = (lines.next(), lines.next())
        && let Some(usual) = Options::of_usual(only.value.of_bytes(bytes))
    {
        return Ok(usual);
    }
    let mut options = Options::default();
    let mut tokens = 0;
    for index in 0..fields.slots.len() {
        let Some(field) = fields.slots.get(index).filter(|field| field.known == Known::Connection) else {
            continue;
        };
        for token in list(field.value.of_bytes(bytes)) {
            tokens += 1;
            if tokens > CONNECTION_TOKENS_MAX {
                return Err(Reject::with(Rule::R20, Reason::HeadTooLarge, "too many connection options"));
            }
            option(token, &mut options, fields, bytes)?;
        }
    }
    Ok(options)
}

fn option(token: &[u8], options: &mut Options, fields: &mut Fields, bytes: &[u8]) -> Result<(), Reject> {
    match Known::of(token) {
        Known::Host | Known::ContentLength | Known::TransferEncoding => {
            return Err(Reject::request(Rule::R25, "connection option names a framing field"));
        }
        Known::KeepAlive => options.keep_alive = true,
        Known::Upgrade => options.upgrade = true,
        Known::Te => options.te = true,
        known if known != Known::Other => mark(fields, |field| field.known == known),
        _ if same_name(token, b"close") => options.close = true,
        _ if !token.iter().copied().all(super::field::is_token_byte) => {
            return Err(Reject::request(Rule::R25, "malformed connection option"));
        }
        _ => mark(fields, |field| field.name.of_bytes(bytes).eq_ignore_ascii_case(token)),
    }
    Ok(())
}

fn mark(fields: &mut Fields, named: impl Fn(&super::field::Field) -> bool) {
    for field in fields.slots.iter_mut().filter(|field| named(field)) {
        field.hop = true;
    }
}

/// Whether a `TE` value accepts trailers; a weight of zero is a refusal (RFC 9110, 10.1.4).
pub(super) fn accepts_trailers(value: &[u8]) -> bool {
    list(value).any(|coding| same_name(coding, b"trailers"))
}

/// The protocols of an `Upgrade` value that may be offered on: all but h2c, which never crosses a proxy (R26).
pub(super) fn offered(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    list(value).filter(|protocol| !same_name(protocol, b"h2c"))
}

/// Checks a 101 against the request that asked for it.
///
/// # Errors
/// R29 where nothing was asked for, R26 where another protocol was chosen than one of those offered.
pub fn check_switch(request: (&RequestHead, &[u8]), response: (&ResponseHead, &[u8])) -> Result<(), Reject> {
    let (head, bytes) = request;
    if !head.wants_upgrade() {
        return Err(Reject::response(Rule::R29, "unsolicited 101"));
    }
    let (answer, answer_bytes) = response;
    let mut chosen = answer.fields().values("upgrade", answer_bytes).flat_map(list).peekable();
    let is_offered = |protocol: &[u8]| {
        head.fields()
            .values("upgrade", bytes)
            .flat_map(offered)
            .any(|offer| offer.eq_ignore_ascii_case(protocol))
    };
    if chosen.peek().is_none() || !answer.options().upgrade || !chosen.all(is_offered) {
        return Err(Reject::response(Rule::R26, "101 without an offered protocol"));
    }
    Ok(())
}
