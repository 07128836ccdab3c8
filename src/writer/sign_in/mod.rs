//! Signing in: browser or device code, validation, and only then a new session in place of the old one.

mod attempt;
mod by_browser;
mod by_device;
mod endings;
mod keep;
mod needs;

use std::time::Duration;

use super::install::SignedIn;
use super::probe;
use crate::audit;
use crate::caller::Deadline;
use crate::error::{Failure, Result};
use crate::oidc::client_auth;
use crate::oidc::discovery::Provider;
use crate::reader::Reader;
use crate::session::state::StateFiles;
use attempt::{CONNECT, REDEEM};
use by_browser::by_browser;
use by_device::by_device;
pub use needs::{Replace, SignIn, Way};

/// Longest wait for a keychain that asks the person to unlock it.
const UNLOCK: Duration = Duration::from_secs(120);

/// The session as it was when the sign-in began: what others do meanwhile stands.
#[derive(Clone, Copy, Debug)]
struct Before {
    generation: u64,
    /// Whether a session was stored.
    signed_in: bool,
}

impl SignIn<'_> {
    /// Signs in and stores the session.
    ///
    /// # Errors
    /// `keychain` where the store would not keep the result (nothing is begun then), `config` where it holds a session
    /// of another issuer that must not be replaced; else what the provider's answers and the person's mean.
    pub fn run(&self, way: Way) -> Result<SignedIn> {
        let files = StateFiles::open(self.settings)?;
        let before = self.check_store(&files)?;
        let result = self.attempt(way, &files, before);
        audit::sign_in(
            self.settings,
            result.as_ref().map(|signed_in| {
                let record = &signed_in.record;
                (record.account(), record.signed_in_by.in_words())
            }),
        );
        result
    }

    /// Tries whether the store would keep the result: a sign-in whose result cannot be kept is not begun.
    fn check_store(&self, files: &StateFiles) -> Result<Before> {
        let deadline = self.deadline.at_most(UNLOCK);
        let reader = Reader::with(self.settings, files.clone())?;
        let entry = reader.entry(self.store, deadline).map_err(|failure| {
            let what = format!(
                "{}, and a sign-in that cannot be kept is not begun",
                failure.what
            );
            Failure { what, ..failure }
        });
        // The probe tells best what is wrong with a store.
        let profile = &self.settings.profile;
        probe::check(self.store, profile, deadline, self.environment)?;
        let entry = entry?;
        self.replace.check(self.settings, &entry, self.person)?;
        self.all_secret_headers(entry.session.as_ref())?;
        let stored = entry.session.as_ref().map_or(0, |record| record.generation);
        Ok(Before {
            generation: reader.state.generation.max(stored),
            signed_in: entry.session.is_some(),
        })
    }

    fn attempt(&self, way: Way, files: &StateFiles, before: Before) -> Result<SignedIn> {
        self.settings.check_provider()?;
        // What the person has done in the last moment is still redeemed.
        let finish_by = Deadline::after(self.deadline.left() + REDEEM);
        let http = client_auth::provider_http(self.settings, finish_by)?
            .connecting_until(self.deadline.at_most(CONNECT));
        // Always fetched anew: what was kept may be what made the last sign-in fail.
        let provider = Provider::fetch(&http, self.settings, files)?;
        let offers_device_codes = provider.metadata.device_authorization_endpoint.is_some();
        match way {
            Way::Device => by_device(self, &http, provider, files, before, None),
            Way::Elsewhere if offers_device_codes => {
                let since = self.environment.in_words();
                by_device(self, &http, provider, files, before, Some(since))
            }
            Way::Browser | Way::Elsewhere => by_browser(self, &http, provider, files, before),
        }
    }
}
