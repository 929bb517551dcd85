//! A rule's header changes, carried out on an HTTP/2 head.

use http::{HeaderMap, HeaderName};

use crate::h1::encode::may_change;
use crate::route::rule::Changes;

/// Carries out changes in order: the destination's, then the rule's. Fields that frame messages or belong to one
/// connection stay as they are, whatever a rule says; the authority is no header here and is the caller's matter.
pub fn edit(headers: &mut HeaderMap, changes: &[&Changes]) {
    let allowed = |name: &HeaderName| may_change(name.as_str().as_bytes());
    for change in changes {
        for (name, value) in change.set.iter().filter(|(name, _)| allowed(name)) {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in change.add.iter().filter(|(name, _)| allowed(name)) {
            // A head at the limit of the map keeps what it has.
            let _ = headers.try_append(name.clone(), value.clone());
        }
        for name in change.remove.iter().filter(|name| allowed(name)) {
            headers.remove(name);
        }
    }
}
