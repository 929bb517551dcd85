//! The numbered safety rules, and a refusal that names the one broken.

use std::fmt;

use thiserror::Error;

use crate::fault::Reason;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A safety rule of the HTTP/1 codec. Refusals, logs and tests name rules by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])* $name,)+ }

        impl Rule {
            /// The rule's name, e.g. `R12`.
            pub const fn name(self) -> &'static str {
                match self { $(Rule::$name => stringify!($name),)+ }
            }
        }
    };
}

rules! {
    /// Lines end in CRLF; no bare CR or LF anywhere in a head, chunk line or trailer.
    R1,
    /// At most one CRLF before a request.
    R2,
    /// No obsolete line folding.
    R3,
    /// No space before a colon, no empty name, no line that starts with a space.
    R4,
    /// Names are tokens; values hold no control byte but HTAB.
    R5,
    /// No underscore look-alike of a framing name.
    R6,
    /// `method SP target SP HTTP/1.x`, single spaces, short method.
    R7,
    /// The target has one of the four forms and no forbidden byte.
    R8,
    /// Exactly one well-formed Host, consistent with the target.
    R9,
    /// Never Transfer-Encoding beside Content-Length.
    R10,
    /// No Transfer-Encoding in HTTP/1.0.
    R11,
    /// Transfer-Encoding is one line `chunked`.
    R12,
    /// One Content-Length of at most 19 digits.
    R13,
    /// Neither framing field: a request has no body.
    R14,
    /// A chunk size is 1 to 16 hexadecimal digits.
    R15,
    /// Chunk extensions are short, and dropped.
    R16,
    /// Chunk data ends in CRLF.
    R17,
    /// Trailers are few, small and never carry framing or routing.
    R18,
    /// Bytes after a message belong to the next one only on a connection that lives on.
    R19,
    /// Caps on head, line, fields and connection tokens.
    R20,
    /// The head must arrive by an absolute deadline.
    R21,
    /// A pipelined request waits for the current response.
    R22,
    /// An unread request body is drained within caps, else the connection closes.
    R23,
    /// Bytes after an upstream's complete response poison its connection.
    R24,
    /// Hop-by-hop fields, named by Connection or by nature, end here.
    R25,
    /// Upgrade only when asked properly and answered 101 with an offered protocol.
    R26,
    /// CONNECT is off.
    R27,
    /// `100-continue` is the only expectation.
    R28,
    /// Interim responses are relayed in order, capped; an unsolicited 101 is a fault.
    R29,
    /// HEAD, 1xx, 204 and 304 have no body whatever the head says.
    R30,
    /// A response with contradictory framing is a fault.
    R31,
    /// A close-delimited response is re-framed; a truncated one is never ended cleanly.
    R32,
    /// A status is three digits from 100 to 599; the reason phrase is harmless.
    R33,
    /// HTTP/1.0 clients get no chunks and no 1xx.
    R34,
    /// Forwarding fields are appended to or overwritten by trust.
    R35,
    /// TRACE, and a request at the end of its Max-Forwards, are answered 405.
    R36,
    /// A request by HTTP/2 is one that HTTP/1 could say: pseudo-header fields, Host, values, length.
    R37,
    /// What belongs to an HTTP/1 connection does not go on by HTTP/2.
    R38,
    /// Which tries may be repeated.
    R40,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A message refused: nothing of it may be forwarded, and its connection closes after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{rule}: {detail}")]
pub struct Reject {
    /// The rule broken.
    pub rule: Rule,
    /// What is answered.
    pub reason: Reason,
    /// What was wrong, for the operator's log.
    pub detail: &'static str,
}

impl Reject {
    /// A client's mistake, answered 400.
    pub(crate) const fn request(rule: Rule, detail: &'static str) -> Reject {
        Reject { rule, reason: Reason::BadRequest, detail }
    }

    /// A client's mistake with an answer of its own.
    pub(crate) const fn with(rule: Rule, reason: Reason, detail: &'static str) -> Reject {
        Reject { rule, reason, detail }
    }

    /// An upstream's mistake, answered 502.
    pub(crate) const fn response(rule: Rule, detail: &'static str) -> Reject {
        Reject { rule, reason: Reason::UpstreamProtocol, detail }
    }

    /// The same mistake, made by an upstream: answered 502.
    pub const fn by_upstream(self) -> Reject {
        Reject { reason: Reason::UpstreamProtocol, ..self }
    }
}
