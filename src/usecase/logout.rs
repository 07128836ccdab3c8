//! Signing out.

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::session::open_sign_in;
use crate::session::state::StateFiles;
use crate::store::{self, Prompting};
use crate::writer::sign_out::SignedOut;
use crate::writer::{Budget, Writer};

/// Longest time that signing out may take.
const TIME: Duration = Duration::from_secs(60);

/// Ends a profile's session at the provider and on this machine.
pub fn logout(settings: &Settings, prompting: Prompting) -> Result<SignedOut> {
    // A sign-in that somebody still has open would undo this.
    let files = StateFiles::open(settings)?;
    open_sign_in::ask_to_stop(&files);
    let store = store::open(settings, prompting);
    let budget = Budget::of(Deadline::after(TIME));
    Writer::take(settings, &files, &*store, budget)?.sign_out()
}

/// Longest time that forgetting may take where somebody waits for another answer.
const FORGET: Duration = Duration::from_secs(3);

/// Ends a profile's session on this machine, since the organisation has ended it from afar. The provider is not told.
/// A sign-in that is newer, or still open, stays unless nobody may use gatepass at all.
pub fn forget(settings: &Settings, deadline: Deadline) -> Result<()> {
    let files = StateFiles::open(settings)?;
    let is_disabled = settings.disabled.is_some();
    if is_disabled {
        open_sign_in::ask_to_stop(&files);
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
