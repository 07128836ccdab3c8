//! Printing a token: the stored one if it is good, else one refresh, else (where a person is present) a sign-in.
//!
//! This process only reads and waits. What changes the session is a worker's, or, at a terminal, the sign-in in
//! the foreground that Ctrl-C ends.

use crate::caller::{Caller, HelperContext, Host};
use crate::clock;
use crate::error::{Failure, Id, Result};
use crate::person::Person;
use crate::reader::Reader;
use crate::session::handed::Handed;
use crate::session::record::{IssuedToken, Record};
use crate::session::validity::Freshness;
use crate::store::keychain::Keychain;
use crate::store::{Prompting, SecretStore};
use crate::usecase::login;
use crate::worker::join::Join;
use crate::worker::start::Configuration;
use crate::writer::refresh::Need;
use crate::writer::sign_in::Way;
use crate::writer::{sign_in_required, without_session};

/// One request for a token.
pub struct TokenRequest<'a> {
    /// The effective configuration.
    pub configuration: Configuration<'a>,
    /// Who asks.
    pub caller: Caller,
    /// `--force-refresh`.
    pub force_refresh: bool,
    /// Who is told what happens.
    pub person: &'a dyn Person,
}

impl TokenRequest<'_> {
    /// Gives a token that may be printed.
    pub fn answer(&self) -> Result<IssuedToken> {
        let reader = Reader::open(self.configuration.settings)?;
        let cached = reader.cached();
        let Host::ClaudeDesktop(context) = self.caller.host else {
            return self.find(&reader, cached, self.force_refresh);
        };
        let handed = Handed::read(&reader.files);
        let refused = context == HelperContext::MidSessionRefresh
            && cached
                .as_ref()
                .is_some_and(|token| handed.was_refused(token));
        let token = self.find(&reader, cached, self.force_refresh || refused)?;
        handed.note(&reader.files, &token, refused);
        Ok(token)
    }

    fn find(
        &self,
        reader: &Reader<'_>,
        cached: Option<IssuedToken>,
        force: bool,
    ) -> Result<IssuedToken> {
        let need = Need {
            asked_at_ms: clock::now_millis(),
            force,
        };
        let cached = match cached {
            Some(token) if need.is_met_by(&token, reader) => {
                let left = token.life.left(clock::now_millis());
                log::info!("the cached token is good for {left} s");
                return Ok(token);
            }
            other => other,
        };
        match self.stored_or_refreshed(reader, cached, need) {
            Err(failure) if failure.id == Id::SignInRequired => self.sign_in(failure, need),
            result => result,
        }
    }

    fn stored_or_refreshed(
        &self,
        reader: &Reader<'_>,
        cached: Option<IssuedToken>,
        need: Need,
    ) -> Result<IssuedToken> {
        if let Some(failure) = without_session(&reader.state.session) {
            return Err(failure);
        }
        let keychain = self.keychain();
        let known = match cached {
            Some(token) => Some(token),
            None => {
                let record = self
                    .stored(reader, &keychain)?
                    .ok_or_else(|| sign_in_required("nobody is signed in"))?;
                let token = record.token_for(reader.settings).cloned();
                match token {
                    Some(token) if need.is_met_by(&token, reader) => {
                        if record.generation == reader.state.generation {
                            reader.cache.write(record.generation, &token);
                        }
                        return Ok(token);
                    }
                    other => other,
                }
            }
        };
        match (self.join(&keychain, need).refresh(), known) {
            // The caller's time was over before the provider answered; what is still valid is better than none.
            (Err(failure), Some(token))
                if failure.id == Id::Unavailable && !need.force && is_valid(&token) =>
            {
                log::warn!("{}; the stored token is still valid", failure.what);
                Ok(token)
            }
            (result, _) => result,
        }
    }

    /// The stored session. Reading takes no lock.
    fn stored(&self, reader: &Reader<'_>, store: &dyn SecretStore) -> Result<Option<Record>> {
        let name = reader.settings.profile.as_str();
        let bytes = store.read(name, self.caller.deadline.less(RESERVE))?;
        Ok(reader.accept(bytes.as_ref().map(|bytes| bytes.as_slice())))
    }

    /// Signs in for a caller that may be prompted; for any other the answer stays what it is.
    fn sign_in(&self, required: Failure, need: Need) -> Result<IssuedToken> {
        if !self.caller.may_prompt {
            return Err(required);
        }
        log::info!("a sign-in is needed: {}", required.what);
        let settings = self.configuration.settings;
        let at_terminal = self.caller.host.is_terminal();
        let way = login::way(settings, None, at_terminal)?;
        if at_terminal {
            let deadline = self.caller.deadline;
            if let Some(result) = login::foreground(settings, way, deadline, self.person)? {
                return result.map(|signed_in| signed_in.token);
            }
        }
        debug_assert!(at_terminal || way == Way::Browser);
        self.join(&self.keychain(), need).sign_in()
    }

    fn join<'s>(&'s self, store: &'s dyn SecretStore, need: Need) -> Join<'s> {
        Join {
            configuration: self.configuration,
            need,
            deadline: self.caller.deadline,
            store,
        }
    }

    /// A keychain prompt is for people who are known to be present.
    fn keychain(&self) -> Keychain {
        Keychain::new(if self.caller.may_prompt {
            Prompting::Allowed
        } else {
            Prompting::Forbidden
        })
    }
}

/// Time that is kept for the answer when the keychain does not give one.
const RESERVE: std::time::Duration = std::time::Duration::from_millis(500);

fn is_valid(token: &IssuedToken) -> bool {
    token.life.freshness(clock::now_millis(), 0) != Freshness::Expired
}
