//! Keeping the session of a sign-in that succeeded.

use std::time::Duration;

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
    pub(super) fn keep(&self, mut outcome: Outcome, files: &StateFiles) -> Result<SignedIn> {
        let budget = Budget::of(Deadline::after(LOCK));
        let mut writer = Writer::take(self.settings, files, self.store, budget)?;
        if writer.reader.state.generation != self.generation {
            let signed_out = writer.reader.state.session == Session::None;
            drop(writer);
            if signed_out && self.settings.revoke_on_logout {
                self.revoke_unwanted(&outcome, files);
            }
            return Err(overtaken());
        }
        let before = self
            .store
            .read(self.settings.profile.as_str(), budget.answer_by)?
            .and_then(|bytes| Record::from_bytes(&bytes));
        outcome.secret_headers = self.all_secret_headers(before.as_ref())?;
        let signed_in = writer.replace_session(outcome)?;
        drop(writer);
        if let Some(before) = before {
            self.revoke_foreign(&before, &signed_in.record);
        }
        Ok(signed_in)
    }

    /// Revokes what the new session has replaced, if that belonged to another issuer, client or token endpoint:
    /// nobody will ever refresh it again. (At the same provider a revocation could take the new session with it.)
    fn revoke_foreign(&self, before: &Record, now: &Record) {
        let same = before.issuer == now.issuer
            && before.client_id == now.client_id
            && before.token_endpoint == now.token_endpoint;
        let (false, Some(refresh_token)) = (same, &before.refresh_token) else {
            return;
        };
        let Some(settings) =
            Settings::of_session(&self.settings.profile, &before.issuer, &before.client_id)
        else {
            return;
        };
        match StateFiles::open(&settings) {
            Ok(files) => revoke(&settings, &files, &before.token_endpoint, refresh_token),
            Err(failure) => log::warn!("{}", failure.what),
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
