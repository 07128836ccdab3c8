//! How long the provider's tokens live, as far as this machine knows without asking the provider.

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::reader::Reader;
use crate::session::state::Session;
use crate::store::{self, Prompting};

/// Longest wait for the store. What is not known by then is not worth more.
const KEYCHAIN: Duration = Duration::from_secs(2);

/// The whole life of the last token that was issued, in seconds.
pub fn of_tokens(settings: &Settings) -> Option<u64> {
    let reader = Reader::open(settings).ok()?;
    let life = match reader.cached() {
        Some(token) => token.life,
        None if reader.state.session == Session::None => return None,
        None => {
            let store = store::open(settings, Prompting::Forbidden);
            let record = reader.stored(&*store, Deadline::after(KEYCHAIN)).ok()??;
            record.token_for(settings)?.life
        }
    };
    Some(life.expires_at_ms.saturating_sub(life.issued_at_ms) / 1000)
}
