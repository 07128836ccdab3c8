//! Lines in the system's log about who was let in and what was handed out, where the configuration asks for them.
//!
//! No line holds a secret. Names come from providers and configurations, so each value is cleaned and quoted: no
//! value can end its line or pretend to be another one.

use crate::caller::Host;
use crate::clock;
use crate::config::settings::{Audit, Settings};
use crate::error::{Failure, Origin};
use crate::platform::system_log::{self, Weight};
use crate::text;

/// Longest value, in characters.
const VALUE: usize = 200;

/// Something that an organisation may want to have on record.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A user signed in.
    SignedIn {
        /// The account.
        account: &'a str,
        /// How: `browser`, `device code`.
        by: &'a str,
    },
    /// A user was not let in.
    Refused(&'a Failure),
    /// The provider ended a session, or it was of no use any more.
    Ended(&'a str),
    /// The last answer to a refresh failed its checks: the session is kept, and nothing of it is printed.
    Unproven(&'a Failure, HeldSession<'a>),
    /// The provider did not renew a session, which is kept.
    NotRenewed(&'a Failure, HeldSession<'a>),
    /// A user signed out.
    SignedOut {
        /// The account, if it was known.
        account: Option<&'a str>,
        /// What became of the session at the provider.
        revocation: &'a str,
    },
    /// A background process works for a caller. (The caller's own process says which token it printed.)
    Worker {
        /// For whom.
        caller: Host,
        /// What it does: `refresh`, `sign-in`.
        task: &'a str,
    },
    /// A token is handed out.
    Token {
        /// To whom.
        caller: Host,
        /// Where it came from.
        reason: &'a str,
    },
}

/// Since when a session is kept that is not renewed, and what happens next.
#[derive(Clone, Copy, Debug)]
pub struct HeldSession<'a> {
    /// In seconds since 1970.
    pub since: u64,
    /// When it is tried again: a moment, `next call` or `next sign-in`.
    pub next: &'a str,
}

impl Event<'_> {
    /// From which setting on it is written.
    fn from(self) -> Audit {
        match self {
            Self::Token { .. } | Self::Worker { .. } => Audit::All,
            _ => Audit::Changes,
        }
    }

    fn weight(self) -> Weight {
        match self {
            Self::Refused(_) | Self::Ended(_) | Self::Unproven(..) | Self::NotRenewed(..) => {
                Weight::Warning
            }
            _ => Weight::Notice,
        }
    }
}

/// Writes the event, if the configuration asks for it. Otherwise this costs a comparison.
pub fn note(settings: &Settings, event: Event<'_>) {
    if settings.audit < event.from() {
        return;
    }
    let line = line(settings.profile.as_str(), &event, clock::now());
    if let Err(error) = system_log::write(event.weight(), &line) {
        log::warn!("the system's log did not take a line: {error}");
    }
}

/// How a sign-in ended. What prevented it before the user or the provider was asked is no refusal.
pub fn sign_in(settings: &Settings, account: Result<(&str, &str), &Failure>) {
    match account {
        Ok((account, by)) => note(settings, Event::SignedIn { account, by }),
        Err(failure) if failure.origin == Origin::Provider => {
            note(settings, Event::Refused(failure));
        }
        Err(_) => {}
    }
}

fn line<'a>(profile: &'a str, event: &Event<'a>, now: u64) -> String {
    let since = match event {
        Event::Unproven(_, held) | Event::NotRenewed(_, held) => text::moment(held.since),
        _ => String::new(),
    };
    let kept = |failure: &'a Failure, held: &HeldSession<'a>| {
        vec![
            ("id", failure.id.as_str()),
            ("reason", &*failure.what),
            ("since", since.as_str()),
            ("next", held.next),
        ]
    };
    let (word, mut fields) = match event {
        Event::SignedIn { account, by } => ("sign-in", vec![("account", *account), ("by", *by)]),
        Event::Refused(failure) => (
            "refused",
            vec![("id", failure.id.as_str()), ("reason", &failure.what)],
        ),
        Event::Unproven(failure, held) => ("session-unproven", kept(failure, held)),
        Event::NotRenewed(failure, held) => ("session-not-renewed", kept(failure, held)),
        Event::Ended(why) => ("session-ended", vec![("reason", *why)]),
        Event::SignedOut {
            account,
            revocation,
        } => {
            let account = account.map(|account| ("account", account));
            let mut fields: Vec<_> = account.into_iter().collect();
            fields.push(("provider", revocation));
            ("sign-out", fields)
        }
        Event::Token { caller, reason } => ("token", by(*caller, ("reason", *reason))),
        Event::Worker { caller, task } => ("worker", by(*caller, ("task", *task))),
    };
    fields.insert(0, ("profile", profile));
    let time = text::moment(now);
    fields.insert(0, ("time", &time));
    let mut line = format!("event={word}");
    for (name, value) in fields {
        // A JSON string: quotes and backslashes in it are escaped, and nothing else needs to be.
        let value = serde_json::Value::from(text::printable(value, VALUE));
        line.push_str(&format!(" {name}={value}"));
    }
    line
}

/// Who calls, why, and one field more.
fn by<'a>(caller: Host, more: (&'static str, &'a str)) -> Vec<(&'static str, &'a str)> {
    let (name, context) = caller.names();
    let mut fields = vec![("caller", name)];
    fields.extend(context.map(|context| ("context", context)));
    fields.push(more);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::HelperContext;
    use crate::error::Id;

    #[test]
    fn lines_say_what_happened_and_cannot_be_forged() {
        let refused = Failure::new(Id::SignInFailed, "the provider refused: \"no\"", "x");
        let token = |caller| Event::Token {
            caller,
            reason: "refreshed",
        };
        for (event, expected) in [
            (
                Event::SignedIn {
                    account: "ann\" event=token\nevent=x\u{202e}",
                    by: "browser",
                },
                r#"event=sign-in time="1970-01-01T00:00:00Z" profile="work" account="ann\" event=token event=x" by="browser""#,
            ),
            (
                Event::Refused(&refused),
                r#"event=refused time="1970-01-01T00:00:00Z" profile="work" id="sign-in-failed" reason="the provider refused: \"no\"""#,
            ),
            (
                Event::SignedOut {
                    account: None,
                    revocation: "revoked",
                },
                r#"event=sign-out time="1970-01-01T00:00:00Z" profile="work" provider="revoked""#,
            ),
            (
                Event::Unproven(
                    &refused,
                    HeldSession {
                        since: 60,
                        next: "next call",
                    },
                ),
                r#"event=session-unproven time="1970-01-01T00:00:00Z" profile="work" id="sign-in-failed" reason="the provider refused: \"no\"" since="1970-01-01T00:01:00Z" next="next call""#,
            ),
            (
                Event::NotRenewed(
                    &refused,
                    HeldSession {
                        since: 60,
                        next: "next sign-in",
                    },
                ),
                r#"event=session-not-renewed time="1970-01-01T00:00:00Z" profile="work" id="sign-in-failed" reason="the provider refused: \"no\"" since="1970-01-01T00:01:00Z" next="next sign-in""#,
            ),
            (
                token(Host::Codex),
                r#"event=token time="1970-01-01T00:00:00Z" profile="work" caller="codex" reason="refreshed""#,
            ),
            (
                Event::Worker {
                    caller: Host::Script,
                    task: "sign-in",
                },
                r#"event=worker time="1970-01-01T00:00:00Z" profile="work" caller="script" task="sign-in""#,
            ),
            (
                token(Host::ClaudeDesktop(HelperContext::MidSessionRefresh)),
                r#"event=token time="1970-01-01T00:00:00Z" profile="work" caller="claude-desktop" context="mid-session-refresh" reason="refreshed""#,
            ),
        ] {
            assert_eq!(line("work", &event, 0), expected);
        }
    }

    #[test]
    fn tokens_are_on_record_only_if_all_is_asked_for() {
        let token = Event::Token {
            caller: Host::Script,
            reason: "",
        };
        for (audit, changes, all) in [
            (Audit::Off, false, false),
            (Audit::Changes, true, false),
            (Audit::All, true, true),
        ] {
            assert_eq!(audit >= Event::Ended("").from(), changes);
            assert_eq!(audit >= token.from(), all);
        }
    }
}
