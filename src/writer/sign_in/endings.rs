//! How a sign-in ends that does not succeed.

use crate::error::{Failure, Id};
use crate::oidc::tokens::Refusal;

/// Another process signed in or out in the meantime; what was wanted last stands.
pub(super) fn overtaken() -> Failure {
    Failure::new(
        Id::SignInFailed,
        "another gatepass signed in or out before this sign-in was complete",
        "gatepass login",
    )
    .told_by_provider()
}

/// The user pressed Ctrl-C. That is no refusal by the provider, so hosts may ask again at once.
pub(super) fn stopped() -> Failure {
    Failure::new(
        Id::SignInFailed,
        "you stopped the sign-in; nothing has changed",
        "gatepass login",
    )
}

/// Another process asked for a sign-in of its own in place of this one.
pub(super) fn replaced() -> Failure {
    Failure::new(
        Id::SignInFailed,
        "another sign-in took the place of this one",
        "finish the newer sign-in",
    )
}

/// A code that the token endpoint does not take is no session that ended: the sign-in failed.
pub(super) fn code_refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Failure(failure) => failure,
        Refusal::GrantOver(said) => {
            sign_in_failed(&format!("the provider did not accept the sign-in: {said}"))
        }
    }
}

pub(super) fn sign_in_failed(what: &str) -> Failure {
    Failure::new(Id::SignInFailed, what, "gatepass login").told_by_provider()
}
