//! Printing a token: the stored one if it is good, else one refresh, else (where a person is present) a sign-in.

use crate::caller::{Caller, Deadline};
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::person::Person;
use crate::session::reader::Reader;
use crate::session::record::IssuedToken;
use crate::store::keychain::Keychain;
use crate::store::{Prompting, SecretStore};
use crate::usecase::login;
use crate::writer::refresh::Need;
use crate::writer::{Writer, without_session};

/// Gives a token that may be printed.
pub fn token(
    settings: &Settings,
    caller: Caller,
    force_refresh: bool,
    person: &dyn Person,
) -> Result<IssuedToken> {
    let need = Need {
        obtained_after_ms: force_refresh.then(clock::now_millis),
    };
    let reader = Reader::open(settings)?;
    let cached = reader.cached();
    if let Some(token) = &cached
        && need.is_met_by(token)
        && reader.is_good(token)
    {
        return Ok(token.clone());
    }
    match stored_or_refreshed(settings, &reader, cached.is_some(), need, caller) {
        Err(failure) if failure.id == Id::SignInRequired => {
            sign_in(settings, caller, failure, person)
        }
        result => result,
    }
}

fn stored_or_refreshed(
    settings: &Settings,
    reader: &Reader<'_>,
    cache_had_one: bool,
    need: Need,
    caller: Caller,
) -> Result<IssuedToken> {
    if let Some(failure) = without_session(&reader.state.session) {
        return Err(failure);
    }
    let keychain = Keychain::new(prompting(caller));
    if !cache_had_one
        && need.obtained_after_ms.is_none()
        && let Some(token) = stored(settings, reader, &keychain, caller.deadline)?
    {
        reader.cache.write(reader.state.generation, &token);
        return Ok(token);
    }
    Writer::take(settings, &keychain, caller.deadline)?.refresh(need)
}

/// The stored token, if it is good. Reading takes no lock.
fn stored(
    settings: &Settings,
    reader: &Reader<'_>,
    store: &dyn SecretStore,
    deadline: Deadline,
) -> Result<Option<IssuedToken>> {
    let bytes = store.read(settings.profile.as_str(), deadline)?;
    let record = reader.accept(bytes.as_ref().map(|bytes| bytes.as_slice()));
    Ok(record
        .filter(|record| record.generation == reader.state.generation)
        .and_then(|record| record.token_for(settings).cloned())
        .filter(|token| reader.is_good(token)))
}

/// Signs in for a caller that may be prompted; for any other the answer stays what it is.
fn sign_in(
    settings: &Settings,
    caller: Caller,
    required: Failure,
    person: &dyn Person,
) -> Result<IssuedToken> {
    if !caller.may_prompt {
        return Err(required);
    }
    log::info!("a sign-in is needed: {}", required.what);
    let way = login::way(settings, None, caller.host.is_terminal())?;
    login::login(settings, way, caller.deadline, person).map(|signed_in| signed_in.token)
}

/// A keychain prompt is for people who are known to be present.
pub fn prompting(caller: Caller) -> Prompting {
    if caller.may_prompt {
        Prompting::Allowed
    } else {
        Prompting::Forbidden
    }
}
