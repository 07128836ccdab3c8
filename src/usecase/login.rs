//! Signing in, now.

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::{Flow, Settings};
use crate::error::{Failure, Id, Result};
use crate::person::Person;
use crate::platform::{self, Desktop};
use crate::store::keychain::Keychain;
use crate::store::{Prompting, SecretStore};
use crate::writer::sign_in::{SignIn, SignedIn, Way};

/// Longest wait for a keychain that asks the person to unlock it.
const UNLOCK: Duration = Duration::from_secs(120);

/// Chooses the way: what was asked for, else what the configuration says, else what this session can do.
///
/// `code_is_seen` says whether somebody would read a device code: a host's standard error is a log file.
pub fn way(settings: &Settings, asked: Option<Flow>, code_is_seen: bool) -> Result<Way> {
    let way = match asked.unwrap_or(settings.flow) {
        Flow::Browser => Way::Browser,
        Flow::Device => Way::Device,
        Flow::Auto if !settings.browser.is_empty() => Way::Browser,
        Flow::Auto => match platform::desktop() {
            Desktop::Present => Way::Browser,
            Desktop::Remote | Desktop::Absent => Way::DeviceIfOffered,
        },
    };
    if way != Way::Browser && !code_is_seen {
        return Err(Failure::new(
            Id::SignInRequired,
            "a sign-in is needed, and no browser can be opened from here",
            "gatepass login --device",
        ));
    }
    Ok(way)
}

/// Signs in and stores the session.
pub fn login(
    settings: &Settings,
    way: Way,
    deadline: Deadline,
    person: &dyn Person,
) -> Result<SignedIn> {
    let keychain = Keychain::new(Prompting::Allowed);
    // A sign-in whose result cannot be kept is not begun.
    keychain.read(settings.profile.as_str(), deadline.at_most(UNLOCK))?;
    SignIn {
        settings,
        store: &keychain,
        deadline,
        person,
    }
    .run(way)
}
