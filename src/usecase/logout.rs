//! Signing out.

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::store::Prompting;
use crate::store::keychain::Keychain;
use crate::writer::Writer;
use crate::writer::sign_out::SignedOut;

/// Longest time that signing out may take.
const TIME: Duration = Duration::from_secs(60);

/// Ends a profile's session at the provider and on this machine.
pub fn logout(settings: &Settings, prompting: Prompting) -> Result<SignedOut> {
    let keychain = Keychain::new(prompting);
    Writer::take(settings, &keychain, Deadline::after(TIME))?.sign_out()
}
