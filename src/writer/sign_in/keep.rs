//! Keeping the session of a sign-in that succeeded.

use std::time::Duration;

use super::Before;
use super::endings::overtaken;
use super::needs::SignIn;
use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::secret::Secret;
use crate::session::record::Record;
use crate::session::state::{Session, StateFiles};
use crate::writer::install::{Outcome, SignedIn};
use crate::writer::{Budget, Writer, revocation};

/// Longest wait for the lock once the person is done: a refresh that is under way is waited for.
const LOCK: Duration = Duration::from_secs(60);

/// Longest time that is spent on telling another provider that its session was replaced.
const REVOCATION: Duration = Duration::from_secs(5);

impl SignIn<'_> {
    /// Replaces the stored session by the complete new one.
    pub(super) fn keep(
        &self,
        mut outcome: Outcome,
        files: &StateFiles,
        before: Before,
    ) -> Result<SignedIn> {
        let budget = Budget::of(Deadline::after(LOCK));
        let mut writer = Writer::take(self.settings, files, self.store, budget)?;
        let entry = writer.look()?;
        // A sign-in or sign-out in between raises the generation, or changes what is stored; a state file that was
        // lost does neither.
        let is_overtaken = writer.reader.state.generation > before.generation
            || entry.session.is_some() != before.signed_in;
        if is_overtaken {
            let signed_out = writer.reader.state.session == Session::None;
            drop(writer);
            if signed_out && self.settings.revoke_on_logout {
                self.revoke_unwanted(&outcome, files);
            }
            return Err(overtaken());
        }
        // Another issuer's session may have come meanwhile; the person was not asked about that one.
        self.replace.check(self.settings, &entry, self.person)?;
        outcome.secret_headers = self.all_secret_headers(entry.session.as_ref())?;
        let signed_in = writer.replace_session(outcome)?;
        drop(writer);
        if let Some(other) = entry.other {
            self.end_replaced(&other, files);
        }
        Ok(signed_in)
    }

    /// Revokes a session that was replaced and that belonged to another client: nobody will ever refresh it again.
    /// Another issuer's is left alone: nothing is sent to a provider by settings that are not its own.
    fn end_replaced(&self, other: &Record, files: &StateFiles) {
        let Some(refresh_token) = &other.refresh_token else {
            return;
        };
        if other.issuer != self.settings.issuer {
            self.person.replaced_without_revocation(&other.issuer);
            return;
        }
        if self.settings.revoke_on_logout {
            let secret = other.client_secret.as_ref();
            let settings = self.settings.as_client(&other.client_id, secret);
            revoke(&settings, files, &other.token_endpoint, refresh_token);
        }
    }

    /// Revokes what somebody signed in for while somebody signed out: nobody else would ever do it.
    fn revoke_unwanted(&self, outcome: &Outcome, files: &StateFiles) {
        let Some(refresh_token) = &outcome.grant.refresh_token else {
            return;
        };
        let endpoint = &outcome.token_endpoint;
        match &outcome.registered {
            Some(registered) => {
                let secret = registered.client_secret.as_ref();
                let settings = self.settings.as_client(&registered.client_id, secret);
                revoke(&settings, files, endpoint, refresh_token);
            }
            None => revoke(self.settings, files, endpoint, refresh_token),
        }
    }
}

/// Tells the provider that a session is over. Where that fails, nothing else depends on it.
fn revoke(settings: &Settings, files: &StateFiles, token_endpoint: &str, refresh_token: &Secret) {
    let deadline = Deadline::after(REVOCATION);
    match revocation::revoke(settings, files, token_endpoint, refresh_token, deadline) {
        Ok(revoked) => log::info!("the session at {} was revoked: {revoked}", settings.issuer),
        Err(failure) => log::warn!("the session at {}: {}", settings.issuer, failure.what),
    }
}
