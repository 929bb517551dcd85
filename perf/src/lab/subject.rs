//! What can stand between the generator and the origin.

use serde::{Deserialize, Serialize};

/// Something under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Nothing: the generator talks to the origin.
    Direct,
    /// The floor: our relay that parses nothing.
    Relay,
    /// Dromon with the driver it chooses (io_uring where the kernel allows it).
    Dromon,
    /// The same once more, so that the noise of the run shows.
    DromonAgain,
    /// Dromon on epoll.
    DromonEpoll,
    /// Envoy.
    Envoy,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// HAProxy with kernel splicing of answers.
    HaproxySplice,
    /// nghttpx.
    Nghttpx,
}

impl Subject {
    /// All of them, in the order of tables.
    pub const ALL: [Subject; 10] = [
        Subject::Direct,
        Subject::Relay,
        Subject::Dromon,
        Subject::DromonAgain,
        Subject::DromonEpoll,
        Subject::Haproxy,
        Subject::HaproxySplice,
        Subject::Nginx,
        Subject::Nghttpx,
        Subject::Envoy,
    ];

    /// The subject whose name in files this is.
    pub fn of(id: &str) -> Option<Subject> {
        Subject::ALL.into_iter().find(|subject| subject.id() == id)
    }

    /// Its name in files.
    pub const fn id(self) -> &'static str {
        match self {
            Subject::Direct => "direct",
            Subject::Relay => "relay",
            Subject::Dromon => "dromon",
            Subject::DromonAgain => "dromon-again",
            Subject::DromonEpoll => "dromon-epoll",
            Subject::Envoy => "envoy",
            Subject::Nginx => "nginx",
            Subject::Haproxy => "haproxy",
            Subject::HaproxySplice => "haproxy-splice",
            Subject::Nghttpx => "nghttpx",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Subject::Direct => "direct",
            Subject::Relay => "raw relay",
            Subject::Dromon => "Dromon",
            Subject::DromonAgain => "Dromon again",
            Subject::DromonEpoll => "Dromon, epoll",
            Subject::Envoy => "Envoy",
            Subject::Nginx => "nginx",
            Subject::Haproxy => "HAProxy",
            Subject::HaproxySplice => "HAProxy, splice",
            Subject::Nghttpx => "nghttpx",
        }
    }

    /// Whether it is Dromon, on whatever driver.
    pub const fn is_dromon(self) -> bool {
        matches!(self, Subject::Dromon | Subject::DromonAgain | Subject::DromonEpoll)
    }
}
