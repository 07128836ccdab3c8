//! Signing in: browser or device code, validation, and only then a new session in place of the old one.
//!
//! [`SignInRequest::run`] is the whole of it, in the foreground and in a worker alike.

mod attempt;
mod by_browser;
mod by_device;
mod endings;
mod keep;
mod request;

use std::time::Duration;

use super::install::SignedIn;
use super::probe;
use crate::audit;
use crate::caller::Deadline;
use crate::error::{Failure, Result};
use crate::oidc::client_auth;
use crate::oidc::discovery::Provider;
use crate::reader::Reader;
use crate::session::active_sign_in::ActiveSignIn;
use crate::store::{self, Prompting, SecretStore};
use attempt::{CONNECT, REDEEM};
use by_browser::by_browser;
use by_device::by_device;
pub use request::{NotSignedIn, Replace, SignInMethod, SignInRequest};

/// Longest wait for a keychain that asks the user to unlock it.
const UNLOCK: Duration = Duration::from_secs(120);

/// The session as it was when the sign-in began: what other processes do meanwhile stands.
#[derive(Clone, Copy, Debug)]
struct Before {
    generation: u64,
    /// Whether a session was stored.
    signed_in: bool,
}

/// A sign-in that has begun.
struct SignIn<'a> {
    request: &'a SignInRequest<'a>,
    /// Where the session is kept.
    store: &'a dyn SecretStore,
    /// The right to have a sign-in open, and the profile's files.
    active: &'a ActiveSignIn,
}

impl SignInRequest<'_> {
    /// Signs in and stores the session; then the sign-in is no longer open, and other processes see how it ended.
    ///
    /// # Errors
    /// `keychain` where the store would not keep the result (nothing is begun then); `config` where the configuration
    /// or the provider's does not allow the sign-in, or the store holds a session of another issuer that must not be
    /// replaced; `sign-in-failed` where the user or the provider refuses, or time runs out; `unavailable` where the
    /// provider cannot be reached; `untrusted-response` where what it sends fails validation.
    pub fn run(&self, active: ActiveSignIn) -> Result<SignedIn, NotSignedIn> {
        self.ui.begins(self.why);
        let store = store::open(self.settings, Prompting::Allowed);
        let sign_in = SignIn {
            request: self,
            store: &*store,
            active: &active,
        };
        let result = sign_in.run();
        active.end(result.as_ref().err().map(|ended| &ended.failure));
        result
    }
}

impl SignIn<'_> {
    fn run(&self) -> Result<SignedIn, NotSignedIn> {
        let before = self.check_store()?;
        let result = self.attempt(before);
        audit::sign_in(
            self.request.settings,
            match &result {
                Ok(SignedIn { record, .. }) => {
                    Ok((record.account(), record.signed_in_by.in_words()))
                }
                Err(ended) => Err(&ended.failure),
            },
        );
        result
    }

    /// Tries whether the store would keep the result: a sign-in whose result cannot be kept is not begun.
    fn check_store(&self) -> Result<Before> {
        let request = self.request;
        let deadline = request.deadline.at_most(UNLOCK);
        let reader = Reader::with(request.settings, self.active.files().clone())?;
        let entry = reader.entry(self.store, deadline).map_err(|failure| {
            let what = format!(
                "{}, and a sign-in that cannot be kept is not begun",
                failure.what
            );
            Failure { what, ..failure }
        });
        // The probe tells best what is wrong with a store.
        let profile = &request.settings.profile;
        probe::check(self.store, profile, deadline, request.environment)?;
        let entry = entry?;
        request
            .replace
            .check(request.settings, &entry, request.ui)?;
        request.all_secret_headers(entry.session.as_ref())?;
        let stored = entry.session.as_ref().map_or(0, |record| record.generation);
        Ok(Before {
            generation: reader.state.generation.max(stored),
            signed_in: entry.session.is_some(),
        })
    }

    fn attempt(&self, before: Before) -> Result<SignedIn, NotSignedIn> {
        let request = self.request;
        request.settings.check_provider()?;
        // A code that came back in the last moment is still redeemed.
        let finish_by = Deadline::after(request.deadline.left() + REDEEM);
        let http = client_auth::provider_http(request.settings, finish_by)?
            .connecting_until(request.deadline.at_most(CONNECT));
        // Always fetched anew: what was kept may be what made the last sign-in fail.
        let provider = Provider::fetch(&http, request.settings, self.active.files())?;
        let offers_device_codes = provider.metadata.device_authorization_endpoint.is_some();
        match request.method {
            SignInMethod::Device => Ok(by_device(self, &http, provider, before, None)?),
            SignInMethod::Elsewhere if offers_device_codes => {
                let since = request.environment.in_words();
                Ok(by_device(self, &http, provider, before, Some(since))?)
            }
            SignInMethod::Browser | SignInMethod::Elsewhere => {
                by_browser(self, &http, provider, before)
            }
        }
    }
}
