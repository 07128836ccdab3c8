//! What the end of an attempt to refresh means for the session.
//!
//! Only the provider's word, the person or the organisation ends a session. Everything else is a reason not to print,
//! never a reason to forget. The person's sign-out, a newer sign-in and the organisation's recall are not attempts and
//! act by themselves; of everything that can come of an attempt, [`AttemptEnd::verdict`] decides, and nothing else
//! does.

use crate::error::{Cure, Failure, Id};

/// How an attempt to refresh ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The token endpoint refused with an error code of OAuth (RFC 6749 section 5.2), after it was looked whether
    /// another process had renewed the session.
    Refused {
        /// The error code.
        code: String,
        /// Entra's further code.
        suberror: Option<String>,
    },
    /// A correctly signed ID token names another person, or was issued for another client.
    AnotherPerson,
    /// The ID token's key, algorithm or signature is not the issuer's, by metadata that is fresh.
    UnknownSigner,
    /// The ID token's times fit the moment of the answer and not this machine's clock.
    ClockIsWrong,
    /// What came failed another check, or could not be understood.
    Untrusted,
    /// A session whose last answer failed its checks was renewed without an ID token: nothing can prove it any more.
    NoProof,
    /// The organisation does not allow this account (`required_claims`).
    AccountNotAllowed,
    /// The provider's token endpoint is not the one that issued the refresh token.
    EndpointMoved,
    /// No answer that could be understood: network, 5xx, 429, HTML.
    Unavailable,
}

/// What becomes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The provider has ended it: only a new sign-in helps.
    Ends,
    /// It is kept. If an answer came, nothing of it is printed before an ID token has passed every check.
    Unproven,
    /// It is kept as it is.
    Kept,
}

/// When the refresh token is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTry {
    /// By the next call.
    NextCall,
    /// After a back-off that grows, or once the clock, the configuration or a file that it names has changed.
    AfterBackOff,
    /// Not before the next sign-in.
    NextSignIn,
}

/// What an attempt's end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For the session.
    pub fate: Fate,
    /// For the caller, if no earlier token is still valid.
    pub id: Id,
    /// What a caller who may prompt can do about it.
    pub cure: Cure,
    /// For the next calls.
    pub next_try: NextTry,
    /// What a person can do.
    remedy: &'static str,
}

/// Entra's words for a refresh token that is no good any more. Others, such as `consent_required`, ask for the person.
const DEAD: [&str; 2] = ["bad_token", "token_expired"];

const SIGN_IN: &str = "gatepass login";
const ADMINISTRATOR: &str = "tell your administrator; you stay signed in, and nothing was printed";

impl AttemptEnd {
    /// The one place that decides what ends a session and what does not.
    pub fn verdict(&self) -> Verdict {
        use Fate::{Ends, Kept, Unproven};
        use NextTry::{AfterBackOff, NextCall, NextSignIn};
        let verdict = |fate, id, next_try, remedy| Verdict {
            fate,
            id,
            cure: match id {
                Id::SignInRequired => Cure::SignIn,
                _ => Cure::Remedy,
            },
            next_try,
            remedy,
        };
        match self {
            Self::Refused { code, suberror } => match code.as_str() {
                "invalid_grant" => match suberror.as_deref() {
                    Some(word) if !DEAD.contains(&word) => {
                        verdict(Kept, Id::SignInRequired, AfterBackOff, SIGN_IN)
                    }
                    _ => verdict(Ends, Id::SignInRequired, NextSignIn, SIGN_IN),
                },
                "interaction_required"
                | "login_required"
                | "consent_required"
                | "account_selection_required"
                | "mfa_required" => verdict(Kept, Id::SignInRequired, AfterBackOff, SIGN_IN),
                "access_denied" => verdict(
                    Kept,
                    Id::SignInFailed,
                    AfterBackOff,
                    "ask your administrator whether your account may use the gateway",
                ),
                "invalid_client" => verdict(
                    Kept,
                    Id::Config,
                    AfterBackOff,
                    "check `client_id`, `client_auth` and the client's secret or key with your administrator",
                ),
                "unauthorized_client" | "unsupported_grant_type" => verdict(
                    Kept,
                    Id::Config,
                    AfterBackOff,
                    "have your administrator allow the client the refresh token grant",
                ),
                "invalid_scope" => verdict(
                    Kept,
                    Id::Config,
                    AfterBackOff,
                    "set `scopes` to what the provider allows this client",
                ),
                "invalid_target" => verdict(
                    Kept,
                    Id::Config,
                    AfterBackOff,
                    "set `resource` or `audience` to what the provider knows",
                ),
                // A second demand for another nonce (RFC 9449 section 8) is the provider's own business.
                "server_error" | "temporarily_unavailable" | "use_dpop_nonce" => verdict(
                    Kept,
                    Id::Unavailable,
                    NextCall,
                    "run it again in a few minutes; you stay signed in",
                ),
                // `invalid_request` among them: some providers mean a refresh token that is no good any more.
                _ => Verdict {
                    cure: Cure::SignIn,
                    ..verdict(
                        Kept,
                        Id::Config,
                        AfterBackOff,
                        "check the configuration with your administrator; if it is right: gatepass login",
                    )
                },
            },
            Self::AnotherPerson => verdict(Ends, Id::UntrustedResponse, NextSignIn, SIGN_IN),
            Self::UnknownSigner | Self::Untrusted => {
                verdict(Unproven, Id::UntrustedResponse, AfterBackOff, ADMINISTRATOR)
            }
            Self::ClockIsWrong => verdict(
                Unproven,
                Id::Unavailable,
                AfterBackOff,
                "set this machine's clock",
            ),
            Self::NoProof => verdict(Unproven, Id::SignInRequired, NextSignIn, SIGN_IN),
            Self::AccountNotAllowed => verdict(
                Kept,
                Id::SignInFailed,
                AfterBackOff,
                "sign in with your organisation's account, or have your administrator correct `required_claims`",
            ),
            Self::EndpointMoved => verdict(Kept, Id::SignInRequired, AfterBackOff, SIGN_IN),
            Self::Unavailable => verdict(
                Kept,
                Id::Unavailable,
                NextCall,
                "run it again in a few minutes; you stay signed in",
            ),
        }
    }

    /// What the caller is told, with what happened in words.
    pub fn failure(&self, what: impl AsRef<str>) -> Failure {
        let verdict = self.verdict();
        Failure {
            cure: verdict.cure,
            ..Failure::new(verdict.id, what, verdict.remedy).told_by_provider()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cure::{Remedy, SignIn};
    use Fate::{Ends, Kept, Unproven};
    use NextTry::{AfterBackOff, NextCall, NextSignIn};

    fn refused(code: &str) -> AttemptEnd {
        AttemptEnd::Refused {
            code: code.to_owned(),
            suberror: None,
        }
    }

    fn with_suberror(suberror: &str) -> AttemptEnd {
        AttemptEnd::Refused {
            code: "invalid_grant".to_owned(),
            suberror: Some(suberror.to_owned()),
        }
    }

    #[test]
    fn what_ends_a_session_and_what_does_not() {
        let rows = [
            // what came, what becomes of the session, exit code, when it is tried again, what helps
            (refused("invalid_grant"), Ends, 4, NextSignIn, SignIn),
            (with_suberror("bad_token"), Ends, 4, NextSignIn, SignIn),
            (with_suberror("token_expired"), Ends, 4, NextSignIn, SignIn),
            (AttemptEnd::AnotherPerson, Ends, 8, NextSignIn, Remedy),
            (AttemptEnd::UnknownSigner, Unproven, 8, AfterBackOff, Remedy),
            (AttemptEnd::ClockIsWrong, Unproven, 6, AfterBackOff, Remedy),
            (AttemptEnd::Untrusted, Unproven, 8, AfterBackOff, Remedy),
            (AttemptEnd::NoProof, Unproven, 4, NextSignIn, SignIn),
            (AttemptEnd::AccountNotAllowed, Kept, 5, AfterBackOff, Remedy),
            (AttemptEnd::EndpointMoved, Kept, 4, AfterBackOff, SignIn),
            (
                refused("interaction_required"),
                Kept,
                4,
                AfterBackOff,
                SignIn,
            ),
            (refused("login_required"), Kept, 4, AfterBackOff, SignIn),
            (refused("consent_required"), Kept, 4, AfterBackOff, SignIn),
            (
                refused("account_selection_required"),
                Kept,
                4,
                AfterBackOff,
                SignIn,
            ),
            (refused("mfa_required"), Kept, 4, AfterBackOff, SignIn),
            (
                with_suberror("consent_required"),
                Kept,
                4,
                AfterBackOff,
                SignIn,
            ),
            (with_suberror("basic_action"), Kept, 4, AfterBackOff, SignIn),
            (refused("access_denied"), Kept, 5, AfterBackOff, Remedy),
            (refused("invalid_client"), Kept, 3, AfterBackOff, Remedy),
            (
                refused("unauthorized_client"),
                Kept,
                3,
                AfterBackOff,
                Remedy,
            ),
            (refused("invalid_scope"), Kept, 3, AfterBackOff, Remedy),
            (refused("invalid_target"), Kept, 3, AfterBackOff, Remedy),
            (
                refused("unsupported_grant_type"),
                Kept,
                3,
                AfterBackOff,
                Remedy,
            ),
            (refused("invalid_request"), Kept, 3, AfterBackOff, SignIn),
            (refused("invalid_token"), Kept, 3, AfterBackOff, SignIn),
            (refused("teapot"), Kept, 3, AfterBackOff, SignIn),
            (refused(""), Kept, 3, AfterBackOff, SignIn),
            (refused("INVALID_GRANT"), Kept, 3, AfterBackOff, SignIn),
            (refused("server_error"), Kept, 6, NextCall, Remedy),
            (refused("use_dpop_nonce"), Kept, 6, NextCall, Remedy),
            (
                refused("temporarily_unavailable"),
                Kept,
                6,
                NextCall,
                Remedy,
            ),
            (AttemptEnd::Unavailable, Kept, 6, NextCall, Remedy),
        ];
        for (end, fate, exit_code, next_try, cure) in rows {
            let verdict = end.verdict();
            assert_eq!(
                (
                    verdict.fate,
                    verdict.id.exit_code(),
                    verdict.next_try,
                    verdict.cure
                ),
                (fate, exit_code, next_try, cure),
                "{end:?}"
            );
            let failure = end.failure("it happened");
            assert_eq!((failure.id, failure.cure), (verdict.id, cure), "{end:?}");
            assert!(!failure.remedy.is_empty());
        }
    }
}
