//! How a sign-in tells the user what happens, and hears of them.

use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use crate::error::{Failure, Id, Result};
use crate::oidc::device::DeviceInstructions;

/// The address that must be opened in a browser.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationLink<'a> {
    /// Where to go.
    pub address: &'a Url,
    /// The redirect URI, if the user may paste the address that the browser was sent to.
    pub redirect: Option<&'a str>,
    /// What is special about this session, if anything is: follows "since".
    pub since: Option<&'static str>,
}

/// Tells the user what happens during a sign-in. What an implementation leaves out is done as if no user were there.
pub trait SignInUi {
    /// A sign-in begins; `why` it is needed, if the user did not ask for it by name.
    fn begins(&self, _why: Option<&str>) {}

    /// The browser was opened.
    fn browser_opened(&self, _link: AuthorizationLink<'_>) {}

    /// No browser could be opened; the address must be opened by hand.
    ///
    /// # Errors
    /// `sign-in-required` where the user would not see the address: the sign-in must not go on.
    fn browser_missing(&self, _link: AuthorizationLink<'_>, why: &str) -> Result<()> {
        Err(Failure::new(
            Id::SignInRequired,
            format!("a sign-in is needed, and {why}"),
            "gatepass login --device",
        ))
    }

    /// A code must be typed at an address; `since` says why it is a code, if the user did not ask for one.
    fn invited(&self, _instructions: &DeviceInstructions, _since: Option<&'static str>) {}

    /// Nothing has happened for this long; called several times a second.
    fn waiting(&self, _so_far: Duration, _at_most: Duration) {}

    /// The redirect's address, if the user has pasted one since the last question.
    fn handed_over(&self) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    /// What was pasted is not the address that belongs to this sign-in.
    fn not_the_address(&self) {}

    /// Whether the user has stopped the sign-in.
    fn has_stopped(&self) -> bool {
        false
    }

    /// The waiting is over.
    fn done(&self) {}

    /// Whether a stored session of another issuer may be replaced. Without a user it may not.
    fn may_replace(&self, _other_issuer: &str) -> bool {
        false
    }

    /// A session of another issuer was replaced, and that issuer has not been told.
    fn replaced_without_revocation(&self, _other_issuer: &str) {}
}

/// The caller is a program: no user sees what we write.
#[derive(Clone, Copy, Debug)]
pub struct NoUi;

impl SignInUi for NoUi {}
