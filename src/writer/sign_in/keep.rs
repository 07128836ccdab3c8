//! Keeping the session of a sign-in that succeeded.

use std::time::Duration;

use super::endings::overtaken;
use super::{Before, SignIn};
use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::secret::Secret;
use crate::session::record::Record;
use crate::session::state::Session;
use crate::writer::install::{Outcome, SignedIn};
use crate::writer::revocation::{self, Revocation};
use crate::writer::{Budget, Writer};

/// Longest wait for the profile's lock once the user has signed in: a refresh that is under way is waited for.
const LOCK: Duration = Duration::from_secs(60);

/// Longest time that is spent on telling another provider that its session was replaced.
const REVOCATION: Duration = Duration::from_secs(5);

impl SignIn<'_> {
    /// Replaces the stored session by the complete new one.
    ///
    /// # Errors
    /// `sign-in-failed` where another process signed in or out meanwhile; `keychain` where the store does not take it.
    pub(super) fn keep(&self, mut outcome: Outcome, before: Before) -> Result<SignedIn> {
        let budget = Budget::of(Deadline::after(LOCK));
        let mut writer = Writer::take(
            self.request.settings,
            self.active.files(),
            self.store,
            budget,
        )?;
        let entry = writer.look()?;
        // A sign-in or sign-out in between raises the generation, or changes what is stored; a state file that was
        // lost does neither.
        let is_overtaken = writer.reader.state.generation > before.generation
            || entry.session.is_some() != before.signed_in;
        if is_overtaken {
            let signed_out = writer.reader.state.session == Session::None;
            drop(writer);
            if signed_out && self.request.settings.revoke_on_logout {
                self.revoke_unwanted(&outcome);
            }
            return Err(overtaken());
        }
        // Another issuer's session may have come meanwhile; the user was not asked about that one.
        self.request
            .replace
            .check(self.request.settings, &entry, self.request.ui)?;
        outcome.secret_headers = self.request.all_secret_headers(entry.session.as_ref())?;
        let signed_in = writer.replace_session(outcome, entry.other.as_ref())?;
        drop(writer);
        if let Some(other) = entry.other {
            self.end_replaced(&other);
        }
        Ok(signed_in)
    }

    /// Revokes a session that was replaced and that belonged to another client: it will never be refreshed again.
    fn end_replaced(&self, other: &Record) {
        let deadline = Deadline::after(REVOCATION);
        let (settings, files) = (self.request.settings, self.active.files());
        match revocation::revoke_other(settings, files, other, deadline) {
            Revocation::AnotherIssuers(issuer) => {
                self.request.ui.replaced_without_revocation(&issuer);
            }
            revocation => log::info!(
                "the session that was replaced: the provider {}",
                revocation.in_words()
            ),
        }
    }

    /// Revokes the new session where another process has signed out meanwhile: nothing else refers to it any more.
    fn revoke_unwanted(&self, outcome: &Outcome) {
        let Some(refresh_token) = &outcome.grant.refresh_token else {
            return;
        };
        let endpoint = &outcome.token_endpoint;
        match &outcome.registered {
            Some(registered) => {
                let secret = registered.client_secret.as_ref();
                let settings = self
                    .request
                    .settings
                    .as_client(&registered.client_id, secret);
                self.revoke(&settings, endpoint, refresh_token);
            }
            None => self.revoke(self.request.settings, endpoint, refresh_token),
        }
    }

    /// Tells the provider that a session is over. Where that fails, nothing else depends on it.
    fn revoke(&self, settings: &Settings, token_endpoint: &str, refresh_token: &Secret) {
        let (files, deadline) = (self.active.files(), Deadline::after(REVOCATION));
        match revocation::revoke(settings, files, token_endpoint, refresh_token, deadline) {
            Ok(revoked) => log::info!("the session at {} was revoked: {revoked}", settings.issuer),
            Err(failure) => log::warn!("the session at {}: {}", settings.issuer, failure.what),
        }
    }
}
