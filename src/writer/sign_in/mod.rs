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
use crate::error::Result;
use crate::oidc::client_auth;
use crate::oidc::discovery::Provider;
use crate::session::record::Record;
use crate::session::state::StateFiles;
use attempt::{CONNECT, REDEEM};
use by_browser::by_browser;
use by_device::by_device;
pub use needs::{SignIn, Way};

/// Longest wait for a keychain that asks the person to unlock it.
const UNLOCK: Duration = Duration::from_secs(120);

impl SignIn<'_> {
    /// Tries whether the store would keep the result: a sign-in whose result cannot be kept is not begun.
    pub fn check_store(&self) -> Result<()> {
        let deadline = self.deadline.at_most(UNLOCK);
        let profile = &self.settings.profile;
        if !self.settings.secret_headers.is_empty() {
            let before = self.store.read(profile.as_str(), deadline)?;
            let before = before.and_then(|bytes| Record::from_bytes(&bytes));
            self.all_secret_headers(before.as_ref())?;
        }
        probe::check(self.store, profile, deadline, self.environment)
    }

    /// Signs in and stores the session.
    pub fn run(&self, way: Way) -> Result<SignedIn> {
        let result = self.attempt(way);
        audit::sign_in(
            self.settings,
            result.as_ref().map(|signed_in| {
                let record = &signed_in.record;
                (record.account(), record.signed_in_by.in_words())
            }),
        );
        result
    }

    fn attempt(&self, way: Way) -> Result<SignedIn> {
        self.settings.check_provider()?;
        let files = StateFiles::open(self.settings)?;
        // What the person has done in the last moment is still redeemed.
        let finish_by = Deadline::after(self.deadline.left() + REDEEM);
        let http = client_auth::provider_http(self.settings, finish_by)?
            .connecting_until(self.deadline.at_most(CONNECT));
        // Always fetched anew: what was kept may be what made the last sign-in fail.
        let provider = Provider::fetch(&http, self.settings, &files)?;
        let offers_device_codes = provider.metadata.device_authorization_endpoint.is_some();
        match way {
            Way::Device => by_device(self, &http, provider, &files, None),
            Way::Elsewhere if offers_device_codes => {
                let since = self.environment.in_words();
                by_device(self, &http, provider, &files, Some(since))
            }
            Way::Browser | Way::Elsewhere => by_browser(self, &http, provider, &files),
        }
    }
}
