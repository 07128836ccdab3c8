//! The person in front of the machine, as a sign-in sees them.

use std::time::Duration;

use url::Url;

use crate::error::{Failure, Id, Result};
use crate::oidc::device::Invitation;

/// Somebody (or nobody) who is told what happens during a sign-in.
pub trait Person {
    /// The browser was opened at this address.
    fn browser_opened(&self, address: &Url);

    /// No browser could be opened; the address must be opened by hand.
    ///
    /// # Errors
    /// Where nobody would see the address, the sign-in must not go on.
    fn browser_missing(&self, address: &Url, why: &str) -> Result<()>;

    /// A code must be typed at an address.
    fn invited(&self, invitation: &Invitation);

    /// Nothing has happened for this long; called several times a second.
    fn waiting(&self, so_far: Duration, at_most: Duration);

    /// The waiting is over.
    fn done(&self);
}

/// Nobody sees what we write: the caller is a program.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Person for Nobody {
    fn browser_opened(&self, _: &Url) {}
    fn browser_missing(&self, _: &Url, why: &str) -> Result<()> {
        Err(Failure::new(
            Id::SignInRequired,
            format!("a sign-in is needed, and {why}"),
            "gatepass login --device",
        ))
    }

    fn invited(&self, _: &Invitation) {}
    fn waiting(&self, _: Duration, _: Duration) {}
    fn done(&self) {}
}
