//! Signing out: revoke at the provider, then forget, whatever the provider says.

use std::time::Duration;

use super::Writer;
use super::revocation::{self, Revocation};
use crate::audit;
use crate::error::Result;
use crate::session::record::Record;
use crate::session::state::Session;
use crate::store;

/// Longest time that the provider gets.
const REVOCATION: Duration = Duration::from_secs(10);

/// What becomes of a session of another issuer or client that the profile's entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It stays for a sign-out by settings of its own.
    Stay,
    /// It is forgotten as well.
    Forgotten,
}

/// Whose session it is that was left in the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The issuer.
    pub issuer: String,
    /// The client.
    pub client_id: String,
}

/// What signing out did.
#[derive(Debug)]
pub struct SignedOut {
    /// Whose session it was, if that is known.
    pub account: Option<String>,
    /// At the provider.
    pub revocation: Revocation,
    /// Whether there was something to forget on this machine.
    pub forgotten: bool,
    /// The session of another issuer or client that stays ([`Others::Stay`]).
    pub left: Option<Left>,
}

impl Writer<'_> {
    /// Ends the session: at the provider (RFC 7009), in the caches, in the parking place and in the store.
    ///
    /// # Errors
    /// `keychain` where the store does not remove the session. That the provider could not be told is in the result.
    pub fn sign_out(&mut self, others: Others) -> Result<SignedOut> {
        let parked = self.reader.parked();
        self.forget_tokens();
        let (record, other) = match (self.look(), parked) {
            (Ok(entry), parked) => {
                let record = match (entry.session, parked) {
                    (Some(stored), Some(parked)) if parked.rotations > stored.rotations => {
                        Some(parked)
                    }
                    (stored, parked) => stored.or(parked),
                };
                (record, entry.other)
            }
            // What was parked is forgotten by now, and nothing else will ever revoke it.
            (Err(failure), parked) => {
                if let Some(parked) = parked {
                    self.revoke(&parked);
                }
                return Err(failure);
            }
        };
        let revocation = match (&record, &other) {
            (Some(record), _) => self.revoke(record),
            (None, Some(other)) if others == Others::Forgotten => revocation::revoke_other(
                self.settings(),
                &self.reader.files,
                other,
                self.budget.answer_by.at_most(REVOCATION),
            ),
            (None, _) => Revocation::Nothing,
        };
        if let (Some(other), Others::Stay) = (&other, others) {
            self.note(Session::None)?;
            return Ok(SignedOut {
                account: None,
                revocation,
                forgotten: false,
                left: Some(Left {
                    issuer: other.issuer.clone(),
                    client_id: other.client_id.clone(),
                }),
            });
        }
        if let Some(other) = &other {
            self.withdraw_tokens_of(other);
        }
        let forgotten = self.forget_session()?;
        if let Some(other) = &other {
            self.forget_files_of(other);
        }
        let account = record.or(other).map(|record| record.account().to_owned());
        if forgotten {
            let event = audit::Event::SignedOut {
                account: account.as_deref(),
                revocation: revocation.in_words(),
            };
            audit::note(self.settings(), event);
        }
        Ok(SignedOut {
            account,
            revocation,
            forgotten,
            left: None,
        })
    }

    /// The same for a session that is older than the organisation allows (remote sign-out, `session_not_before`). One
    /// that was signed in for since it was read stays; cached tokens of before are of no use already, since their digest
    /// has the moment in it.
    ///
    /// # Errors
    /// `keychain` where the store does not remove the session.
    pub fn forget_recalled(&mut self) -> Result<bool> {
        let settings = self.settings();
        let entry = self.look()?;
        if !entry
            .session
            .is_some_and(|record| record.is_recalled(settings))
        {
            return Ok(false);
        }
        self.reader.cache.clear();
        if self.reader.state.parked.is_some() {
            // Whatever the store does next: what is parked is not found any more.
            self.unpark();
            self.write_state()?;
        }
        self.forget_session()
    }

    /// Ends the session on this machine without a word to the provider: the organisation has
    /// disabled gatepass (remote sign-out).
    ///
    /// # Errors
    /// `keychain` where the store does not remove the session.
    pub fn forget(&mut self) -> Result<bool> {
        self.forget_tokens();
        self.forget_session()
    }

    /// First no caller finds a token any more, then the rest may take its time. A state file that cannot be written
    /// does not prevent the sign-out; the caches are cleared in any case.
    fn forget_tokens(&mut self) {
        self.reader.raise_generation();
        self.unpark();
        if let Err(failure) = self.write_state() {
            log::warn!("{}", failure.what);
        }
        self.reader.cache.clear();
    }

    /// Removes the session from the store; says whether there was one.
    fn forget_session(&mut self) -> Result<bool> {
        let forgotten = self.store.remove(self.entry(), self.budget.finish_by)?;
        store::clear_others(self.settings(), self.entry(), self.budget.finish_by);
        let files = &self.reader.files;
        let _ = files.dir().remove(&files.name("provider"));
        self.reader.state.warnings.clear();
        self.reader.state.in_flight = None;
        self.reader.state.ends = None;
        self.reader.state.back_off = None;
        self.note(Session::None)?;
        Ok(forgotten)
    }

    fn revoke(&self, record: &Record) -> Revocation {
        let Some(refresh_token) = &record.refresh_token else {
            return Revocation::Nothing;
        };
        if !self.settings().revoke_on_logout {
            return Revocation::Off;
        }
        revocation::revoke(
            &self.settings().as_client_of(record),
            &self.reader.files,
            &record.token_endpoint,
            refresh_token,
            self.budget.answer_by.at_most(REVOCATION),
        )
        .into()
    }
}
