//! What a status says of an object in one word and for people (`metav1.Condition`), before it has a time.

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type, e.g. `Accepted`.
    pub kind: &'static str,
    /// `True` or `False`.
    pub holds: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

impl Condition {
    /// One that holds.
    pub fn holds(kind: &'static str, reason: &str, message: impl Into<String>) -> Condition {
        Condition { kind, holds: true, reason: reason.to_owned(), message: message.into() }
    }

    /// One that does not.
    pub fn fails(kind: &'static str, reason: &str, message: impl Into<String>) -> Condition {
        Condition { kind, holds: false, reason: reason.to_owned(), message: message.into() }
    }
}
