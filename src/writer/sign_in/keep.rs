//! Keeping the session of a sign-in that succeeded.

use std::time::Duration;

use super::endings::overtaken;
use super::needs::SignIn;
use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::oidc::client;
use crate::oidc::discovery::Provider;
use crate::oidc::http::Http;
use crate::oidc::tokens;
use crate::session::record::Record;
use crate::session::state::StateFiles;
use crate::writer::install::{Outcome, SignedIn};
use crate::writer::{Budget, Writer};

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
        let told = || -> Result<bool> {
            let settings =
                Settings::of_session(&self.settings.profile, &before.issuer, &before.client_id)
                    .ok_or_else(|| Failure::internal("the old session names no issuer"))?;
            let files = StateFiles::open(&settings)?;
            let http = Http::new(&settings, Deadline::after(REVOCATION))?;
            let provider = Provider::kept_or_fetch(&http, &settings, &files)?;
            if provider.metadata.token_endpoint.as_str() != before.token_endpoint {
                return Ok(false);
            }
            let client = client::client(&settings, &provider.metadata)?;
            tokens::revoke(&http, &client, &provider.metadata, &settings, refresh_token)
        };
        match told() {
            Ok(revoked) => log::info!("the session at {} was revoked: {revoked}", before.issuer),
            Err(failure) => log::warn!("the session at {}: {}", before.issuer, failure.what),
        }
    }
}
