//! Signing out.

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::session::active_sign_in::ControlRequest;
use crate::session::state::StateFiles;
use crate::store::{self, Prompting};
use crate::writer::sign_out::{Others, SignedOut};
use crate::writer::{Budget, Writer};

/// Longest time that signing out may take.
const TIME: Duration = Duration::from_secs(60);

/// Ends a profile's session at the provider and on this machine.
///
/// # Errors
/// As [`Writer::sign_out`]; `unavailable` where another process works on the session for longer than a minute.
pub fn logout(settings: &Settings, prompting: Prompting, others: Others) -> Result<SignedOut> {
    // A sign-in that another process still has open would undo this.
    let files = StateFiles::open(settings)?;
    ControlRequest::Stop.leave(&files);
    let store = store::open(settings, prompting);
    let budget = Budget::of(Deadline::after(TIME));
    Writer::take(settings, &files, &*store, budget)?.sign_out(others)
}

/// Longest time that forgetting may take: the caller waits for another answer.
const FORGET: Duration = Duration::from_secs(3);

/// Ends a profile's session on this machine, since the organisation has signed it out remotely. The provider is not
/// told. A sign-in that is newer, or still open, stays unless the policy disables gatepass altogether.
///
/// # Errors
/// `unavailable` and `keychain`, as [`logout`].
pub fn forget(settings: &Settings, deadline: Deadline) -> Result<()> {
    let files = StateFiles::open(settings)?;
    let is_disabled = settings.disabled.is_some();
    if is_disabled {
        ControlRequest::Stop.leave(&files);
    }
    let store = store::open(settings, Prompting::Forbidden);
    let budget = Budget::of(deadline.at_most(FORGET));
    let mut writer = Writer::take(settings, &files, &*store, budget)?;
    if is_disabled {
        writer.forget().map(drop)
    } else {
        writer.forget_recalled().map(drop)
    }
}
