//! A rule's header changes, as they meet a head on its way out.

use http::{HeaderName, HeaderValue};

use super::{Extra, line};
use crate::h1::field::{Known, same_name};
use crate::route::rule::Changes;

/// Fields that frame messages or belong to one connection. No rule may write or remove them, whatever it says.
const FRAMING: u32 =
    crate::h1::hop::HOP_BY_HOP | Known::Host.bit() | Known::ContentLength.bit() | Known::Expect.bit();

/// Whether rules may change the field of that name, in lower case.
pub(crate) fn may_change(name: &[u8]) -> bool {
    Known::of(name).bit() & FRAMING == 0
}

/// Whether a field of the message, of this kind and name, gives way: set anew or removed.
pub(super) fn displaces(change: &Changes, known: Known, name: &[u8]) -> bool {
    known.bit() & FRAMING == 0
        && (change.set.iter().any(|(set, _)| is(set, name))
            || change.remove.iter().any(|removed| is(removed, name)))
}

/// Appends the lines that a change sets and adds, as far as neither it removes them nor a later one displaces them.
pub(super) fn write(change: &Changes, later: &[&Changes], extra: Extra<'_>, out: &mut Vec<u8>) {
    let lines: [&[(HeaderName, HeaderValue)]; 2] = [&change.set, &change.add];
    for (name, value) in lines.into_iter().flatten() {
        let text = name.as_str().as_bytes();
        let known = Known::of(text);
        let gone = known.bit() & FRAMING != 0
            || change.remove.contains(name)
            || super::is_replaced(known, text, later, extra);
        if !gone {
            line(out, text, value.as_bytes());
        }
    }
}

fn is(lower: &HeaderName, name: &[u8]) -> bool {
    same_name(name, lower.as_str().as_bytes())
}
