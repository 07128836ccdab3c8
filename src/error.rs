//! What can go wrong, as people, hosts and scripts see it.
//!
//! Every failure has a stable id, an exit code, one sentence on what happened and one thing to do next.

use std::fmt;

use crate::text;

/// The stable id of a failure. The ids and their exit codes are a promise to hosts and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// A defect in gatepass; standard output closed or full. Exit code 1.
    Internal,
    /// Wrong command line. Exit code 2.
    Usage,
    /// Configuration or policy missing, malformed, unsafe or contradictory. Exit code 3.
    Config,
    /// No usable session, and this caller may not be prompted. Exit code 4.
    SignInRequired,
    /// The person cancelled, was refused, or is not an allowed one. Exit code 5.
    SignInFailed,
    /// Network, DNS, TLS, time-out, 5xx, 429: try again later; the session is kept. Exit code 6.
    Unavailable,
    /// The secret store is missing, locked, denied, full, corrupt or silent. Exit code 7.
    Keychain,
    /// What the provider or the browser sent was understood and failed validation. Exit code 8.
    UntrustedResponse,
}

impl Id {
    const ALL: [Self; 8] = [
        Self::Internal,
        Self::Usage,
        Self::Config,
        Self::SignInRequired,
        Self::SignInFailed,
        Self::Unavailable,
        Self::Keychain,
        Self::UntrustedResponse,
    ];

    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::SignInRequired => 4,
            Self::SignInFailed => 5,
            Self::Unavailable => 6,
            Self::Keychain => 7,
            Self::UntrustedResponse => 8,
        }
    }

    /// The id as it is printed in brackets and kept in the state file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::SignInRequired => "sign-in-required",
            Self::SignInFailed => "sign-in-failed",
            Self::Unavailable => "unavailable",
            Self::Keychain => "keychain",
            Self::UntrustedResponse => "untrusted-response",
        }
    }

    /// The id that [`Id::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.as_str() == text)
    }
}

/// Whose failure it is: decides whether callers that waited for one attempt share its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The provider answered, or the user did: every caller that waited has the same answer.
    Provider,
    /// Something on this machine failed (keychain, browser, proxy, DNS): another caller may be better off.
    Local,
}

/// What a caller who may prompt can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Only what the remedy says.
    Remedy,
    /// A sign-in.
    SignIn,
}

/// A failure, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable id, from which the exit code follows.
    pub id: Id,
    /// What happened, in one sentence without a full stop.
    pub what: String,
    /// The one thing to do next.
    pub remedy: String,
    /// Whose failure it is.
    pub origin: Origin,
    /// Whether a sign-in would help.
    pub cure: Cure,
}

/// Shorthand for results that end in a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure on this machine. Both texts are cleaned of control characters: parts of them
    /// may come from a server, a file or the environment.
    pub fn new(id: Id, what: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self {
            id,
            what: text::printable(what.as_ref(), MESSAGE_CHARACTERS),
            remedy: text::printable(remedy.as_ref(), MESSAGE_CHARACTERS),
            origin: Origin::Local,
            cure: match id {
                Id::SignInRequired => Cure::SignIn,
                _ => Cure::Remedy,
            },
        }
    }

    /// Marks the failure as the provider's (or the person's) answer, which waiting callers share.
    #[must_use]
    pub fn told_by_provider(mut self) -> Self {
        self.origin = Origin::Provider;
        self
    }

    /// A configuration error.
    pub fn config(what: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(Id::Config, what, remedy)
    }

    /// A defect in gatepass or in its runtime environment.
    pub fn internal(what: impl AsRef<str>) -> Self {
        Self::new(
            Id::Internal,
            what,
            "run it again with GATEPASS_LOG=debug and report the lines it prints",
        )
    }

    /// Something that failed validation.
    pub fn untrusted(what: impl AsRef<str>) -> Self {
        Self::new(
            Id::UntrustedResponse,
            what,
            "tell your administrator; nothing was stored or printed",
        )
        .told_by_provider()
    }
}

/// Longest text of a failure, in characters: a message names things, it does not quote pages.
const MESSAGE_CHARACTERS: usize = 600;

impl fmt::Display for Failure {
    /// The last two lines that a failed run writes to standard error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gatepass: {} [{}]\n  try: {}",
            self.what,
            self.id.as_str(),
            self.remedy
        )
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::{Failure, Id};

    #[test]
    fn ids_codes_and_texts_stay_as_promised() {
        let promised = [
            ("internal", 1),
            ("usage", 2),
            ("config", 3),
            ("sign-in-required", 4),
            ("sign-in-failed", 5),
            ("unavailable", 6),
            ("keychain", 7),
            ("untrusted-response", 8),
        ];
        for ((text, code), id) in promised.into_iter().zip(Id::ALL) {
            assert_eq!((id.as_str(), id.exit_code()), (text, code));
            assert_eq!(Id::parse(text), Some(id));
        }
    }

    #[test]
    fn a_message_is_two_lines_whatever_it_quotes() {
        let failure = Failure::new(Id::Unavailable, "said \u{1b}[31m\r\nred", "wait\n\u{202e}x");
        assert_eq!(
            failure.to_string(),
            "gatepass: said [31m red [unavailable]\n  try: wait x"
        );
    }
}
