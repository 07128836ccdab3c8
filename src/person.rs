//! The person in front of the machine, as a sign-in sees them.

use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use crate::error::{Failure, Id, Result};
use crate::oidc::device::Invitation;

/// The address that must be opened in a browser.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Where to go.
    pub address: &'a Url,
    /// Where the browser comes back to, if the person may hand over that address in the browser's place.
    pub redirect: Option<&'a str>,
    /// What is special about this session, if anything is: follows "since".
    pub since: Option<&'static str>,
}

/// Somebody (or nobody) who is told what happens during a sign-in.
pub trait Person {
    /// A sign-in begins; `why` it is needed, if the person did not ask for it by name.
    fn begins(&self, why: Option<&str>);

    /// The browser was opened.
    fn browser_opened(&self, visit: Visit<'_>);

    /// No browser could be opened; the address must be opened by hand.
    ///
    /// # Errors
    /// Where nobody would see the address, the sign-in must not go on.
    fn browser_missing(&self, visit: Visit<'_>, why: &str) -> Result<()>;

    /// A code must be typed at an address; `since` says why it is a code, if nobody asked for one.
    fn invited(&self, invitation: &Invitation, since: Option<&'static str>);

    /// Nothing has happened for this long; called several times a second.
    fn waiting(&self, so_far: Duration, at_most: Duration);

    /// What the person has handed over in the browser's place since the last question.
    fn handed_over(&self) -> Option<Zeroizing<Vec<u8>>>;

    /// What was handed over is not the address that belongs to this sign-in.
    fn not_the_address(&self);

    /// Whether the person has stopped the sign-in.
    fn has_stopped(&self) -> bool;

    /// The waiting is over.
    fn done(&self);
}

/// Nobody sees what we write: the caller is a program.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Person for Nobody {
    fn begins(&self, _: Option<&str>) {}
    fn browser_opened(&self, _: Visit<'_>) {}
    fn browser_missing(&self, _: Visit<'_>, why: &str) -> Result<()> {
        Err(Failure::new(
            Id::SignInRequired,
            format!("a sign-in is needed, and {why}"),
            "gatepass login --device",
        ))
    }

    fn invited(&self, _: &Invitation, _: Option<&'static str>) {}
    fn waiting(&self, _: Duration, _: Duration) {}
    fn handed_over(&self) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    fn not_the_address(&self) {}
    fn has_stopped(&self) -> bool {
        false
    }

    fn done(&self) {}
}
