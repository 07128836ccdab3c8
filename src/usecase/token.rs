//! Printing a token: the stored one if it is good, else one refresh, else (where a user is present) a sign-in.
//!
//! This process reads and waits; of its own it only fills the cache and the note of what was printed last, and forgets
//! a session that the organisation has ended. A worker changes the session otherwise, or, at a terminal, the sign-in
//! in the foreground that Ctrl-C ends.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::caller::{Caller, HelperContext, Host, RecurringCall};
use crate::clock;
use crate::config::settings::Kind;
use crate::error::{Cure, Failure, Id, Result};
use crate::platform::environment::Environment;
use crate::reader::{Reader, Renew, TokenRequirement, sign_in_required, without_session};
use crate::session::last_printed::{GatewayRefusal, LastPrinted};
use crate::session::lock::{Lock, Purpose};
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Parked, Session, State};
use crate::sign_in_ui::SignInUi;
use crate::store::{self, Prompting, SecretStore};
use crate::usecase::login;
use crate::usecase::logout;
use crate::worker::client::WorkerClient;
use crate::worker::start::Configuration;
use crate::writer::sign_in::{Replace, SignInMethod, SignInRequest};

/// One request for a token.
pub struct TokenCommand<'a> {
    /// The effective configuration.
    pub configuration: Configuration<'a>,
    /// Which caller asks.
    pub caller: Caller,
    /// Which of the caller's calls this is, where that can be told.
    pub call: Option<RecurringCall>,
    /// `--force-refresh`.
    pub force_refresh: bool,
    /// How the user is told what happens.
    pub ui: &'a dyn SignInUi,
}

impl TokenCommand<'_> {
    /// Gives a token that may be printed.
    ///
    /// # Errors
    /// `config` where the policy or the configuration stops the call; `sign-in-required` where there is no usable
    /// session and this caller may not be prompted; `sign-in-failed` where a sign-in was refused; `unavailable` where
    /// the provider cannot be reached and no valid token is stored; `keychain` where the store does not give the
    /// session; `untrusted-response` where the provider's answer fails validation.
    pub fn answer(&self) -> Result<IssuedToken> {
        let settings = self.configuration.settings;
        let reader = Reader::open(settings)?;
        if let Err(failure) = settings.check_enabled() {
            self.forget(&reader);
            return Err(failure);
        }
        let asked_at_ms = clock::now_millis();
        // There is no other key than the pasted one.
        let call = self.call.filter(|_| settings.kind != Kind::Key);
        let last = call.and_then(|call| LastPrinted::open(&reader.files, call, asked_at_ms));
        let mut token = self.find(&reader, last.as_ref())?;
        if self.caller.host == Host::ClaudeDesktop(HelperContext::Interactive) {
            token = self.renewed_early(&reader, token)?;
        }
        if let Some(last) = last {
            last.note(&token);
        }
        Ok(token)
    }

    /// Forgets what the organisation has signed out remotely. That it could not be forgotten changes nothing: it is not
    /// used any more in any case.
    fn forget(&self, reader: &Reader<'_>) {
        if reader.state.session == Session::None {
            return;
        }
        let deadline = self.caller.deadline.less(FORGOTTEN_BEFORE);
        if let Err(failure) = logout::forget(reader.settings, deadline) {
            log::warn!("{}", failure.what);
        }
    }

    /// A token of a new session, if the old one is in its last stretch and a user is there to sign in: so no turn
    /// is cut off later. If the user does not, the token at hand is as good as before.
    fn renewed_early(&self, reader: &Reader<'_>, mut token: IssuedToken) -> Result<IssuedToken> {
        if !self.caller.may_prompt || !self.ends_soon(&reader.state) {
            return Ok(token);
        }
        // This very call may have refreshed, or signed in, since the state was read.
        let state = reader.files.read()?;
        if !self.ends_soon(&state) {
            return Ok(token);
        }
        let mut need = TokenRequirement {
            asked_at_ms: clock::now_millis(),
            renew: Renew::Forced,
            token_use: self.caller.host.token_use(),
        };
        // Whether a refresh moves the end is known after the first one.
        let is_unknown =
            |state: &State| state.ends.is_some_and(|ends| ends.sliding_expiry.is_none());
        if is_unknown(&state) {
            let store = self.store();
            let refreshed = self.client(&*store, need).refresh();
            let state = reader.files.read()?;
            token = refreshed.unwrap_or(token);
            if is_unknown(&state) || !self.ends_soon(&state) {
                return Ok(token);
            }
        }
        need.asked_at_ms = clock::now_millis();
        let required = sign_in_required("the session ends soon");
        Ok(self.sign_in(required, need).unwrap_or_else(|failure| {
            log::info!("no early sign-in: {}", failure.what);
            token
        }))
    }

    fn ends_soon(&self, state: &State) -> bool {
        let settings = self.configuration.settings;
        state.ends.is_some_and(|ends| {
            ends.sliding_expiry != Some(true)
                && ends.is_near(clock::now(), settings.session_renew_before)
        })
    }

    /// Whether the caller shows by asking again that the gateway has refused this token, and a newer one may be had.
    /// Then only that one will do.
    fn was_refused(
        reader: &Reader<'_>,
        last: Option<&LastPrinted>,
        token: &IssuedToken,
        need: &mut TokenRequirement,
    ) -> bool {
        // An ended session is not renewed.
        let Some(last) = last.filter(|_| without_session(&reader.state).is_none()) else {
            return false;
        };
        match last.refusal(token) {
            GatewayRefusal::None => return false,
            GatewayRefusal::RefreshDue => {}
            // Its result is waited for, but no further refresh begun.
            GatewayRefusal::RefreshBegun(at_ms)
                if Lock::is_held(&reader.files, Purpose::Write).unwrap_or(false) =>
            {
                need.asked_at_ms = at_ms;
            }
            GatewayRefusal::RefreshBegun(_) | GatewayRefusal::InVain => {
                log::info!("the gateway has refused the token; a refresh was tried a moment ago");
                return false;
            }
        }
        log::info!("the gateway has refused the token that this caller was given last");
        need.renew = Renew::RefusedByGateway;
        true
    }

    fn find(&self, reader: &Reader<'_>, last: Option<&LastPrinted>) -> Result<IssuedToken> {
        let mut need = TokenRequirement {
            asked_at_ms: clock::now_millis(),
            // There is no other key than the pasted one.
            renew: if self.force_refresh && self.configuration.settings.kind != Kind::Key {
                Renew::Forced
            } else {
                Renew::IfNeeded
            },
            token_use: self.caller.host.token_use(),
        };
        let cached = match reader.cached() {
            Some(token) if need.is_met_by(&token, reader) => {
                if !Self::was_refused(reader, last, &token, &mut need) {
                    let left = token.life.left(clock::now_millis());
                    log::info!("the cached token is good for {left} s");
                    self.bring_home_what_is_parked(reader, need);
                    return Ok(token);
                }
                Some(token)
            }
            other => other,
        };
        let mut known = cached;
        let result = self
            .stored_or_refreshed(reader, &mut known, &mut need, last)
            .or_else(|failure| match failure.cure {
                Cure::SignIn => self.sign_in(failure, need),
                Cure::Remedy => Err(failure),
            });
        match (result, known) {
            // No better one is to be had now; what passed before and is still valid is better than none.
            (Err(failure), Some(known)) if need.renew != Renew::Forced => {
                let token = self.still_in_hand(known).ok_or_else(|| failure.clone())?;
                log::warn!("{}; the stored token is still valid", failure.what);
                Ok(token)
            }
            (result, _) => result,
        }
    }

    /// The token that was there before an attempt, if the attempt has left it in its place: a sign-out, another
    /// person's answer, and an account that is not allowed any more take it away.
    fn still_in_hand(&self, known: IssuedToken) -> Option<IssuedToken> {
        let reader = Reader::open(self.configuration.settings).ok()?;
        if reader.state.session == Session::None {
            return None;
        }
        let found = match reader.cached() {
            Some(token) => Some(token),
            None => match self.stored(&reader, &*self.store()) {
                Ok(record) => record?.token_for(reader.settings),
                // The keychain has just given it.
                Err(failure) if failure.id == Id::Keychain => Some(known),
                Err(_) => None,
            },
        };
        found.filter(Reader::is_valid)
    }

    /// A session that the keychain did not take is stored by a later call's worker. No caller waits for that.
    fn bring_home_what_is_parked(&self, reader: &Reader<'_>, need: TokenRequirement) {
        let is_due = |parked: &Parked| clock::now().abs_diff(parked.tried_at) >= STORE_AGAIN;
        if reader.state.parked.as_ref().is_some_and(is_due) {
            let store = self.store();
            self.client(&*store, need).in_background();
        }
    }

    /// `known` is the best token that is known, `need` says in the end why another one was asked for.
    fn stored_or_refreshed(
        &self,
        reader: &Reader<'_>,
        known: &mut Option<IssuedToken>,
        need: &mut TokenRequirement,
        last: Option<&LastPrinted>,
    ) -> Result<IssuedToken> {
        if let Some(failure) = without_session(&reader.state) {
            return Err(failure);
        }
        let store = self.store();
        if known.is_none() {
            let record = self
                .stored(reader, &*store)?
                .ok_or_else(|| sign_in_required("nobody is signed in"))?;
            *known = match record.token_for(reader.settings) {
                Some(token) if need.is_met_by(&token, reader) => {
                    if !Self::was_refused(reader, last, &token, need) {
                        Self::cache(reader, record.generation, &token);
                        return Ok(token);
                    }
                    Some(token)
                }
                other => other,
            };
            if let Some(failure) = reader.held_back(Some(&record), need.renew) {
                return Err(failure);
            }
        } else if let Some(failure) = reader.held_back(None, need.renew) {
            return Err(failure);
        }
        self.client(&*store, *need).refresh()
    }

    /// Caches what the store has, unless the user signed out while it was read.
    fn cache(reader: &Reader<'_>, generation: u64, token: &IssuedToken) {
        if generation != reader.state.generation {
            return;
        }
        reader.cache.write(generation, token);
        if reader
            .files
            .read()
            .is_ok_and(|state| state.generation != generation)
        {
            reader.cache.clear();
        }
    }

    /// The stored session, if it may be used.
    fn stored(&self, reader: &Reader<'_>, store: &dyn SecretStore) -> Result<Option<Record>> {
        let most = if self.caller.may_prompt {
            UNLOCK
        } else {
            KEYCHAIN
        };
        let deadline = self.caller.deadline.less(RESERVE).at_most(most);
        let Some(record) = reader.stored(store, deadline)? else {
            return Ok(None);
        };
        if let Some(why) = reader.unusable(&record) {
            if record.is_recalled(reader.settings) {
                self.forget(reader);
            }
            return Err(sign_in_required(&why));
        }
        Ok(Some(record))
    }

    /// Signs in for a caller that may be prompted; for any other the answer stays what it is.
    fn sign_in(&self, required: Failure, need: TokenRequirement) -> Result<IssuedToken> {
        if !self.caller.may_prompt {
            return Err(required);
        }
        let settings = self.configuration.settings;
        // What the user has to type is asked for by `gatepass login` alone.
        if settings.kind == Kind::Key {
            return Err(required);
        }
        log::info!("a sign-in is needed: {}", required.what);
        let at_terminal = self.caller.host.is_terminal();
        let environment = Environment::look();
        let method = login::method(settings, None, environment, at_terminal)?;
        if at_terminal {
            let request = SignInRequest {
                settings,
                method,
                host: Host::Terminal,
                environment,
                why: Some(&required.what),
                deadline: self.caller.deadline,
                ui: self.ui,
                replace: Replace::IfConfirmed,
                secret_headers: BTreeMap::new(),
            };
            if let Some(signed_in) = login::foreground(&request)? {
                return Ok(signed_in.token);
            }
        }
        // A worker shows no device code: at a terminal that wants one, the open sign-in is only waited for.
        let store = self.store();
        self.client(&*store, need)
            .sign_in(method == SignInMethod::Browser)
    }

    fn client<'s>(
        &'s self,
        store: &'s dyn SecretStore,
        need: TokenRequirement,
    ) -> WorkerClient<'s> {
        WorkerClient {
            configuration: self.configuration,
            need,
            caller: self.caller,
            store,
        }
    }

    /// A keychain may show a prompt only where the user is known to be present.
    fn store(&self) -> Box<dyn SecretStore> {
        let prompting = if self.caller.may_prompt {
            Prompting::Allowed
        } else {
            Prompting::Forbidden
        };
        store::open(self.configuration.settings, prompting)
    }
}

/// Time that is kept for the answer when a session is forgotten that the organisation has ended.
const FORGOTTEN_BEFORE: Duration = Duration::from_secs(1);

/// After how many seconds the keychain is tried again that did not take a session.
const STORE_AGAIN: u64 = 60;

/// Time that is kept for the answer when the keychain does not give one.
const RESERVE: Duration = Duration::from_millis(500);

/// Longest wait for an unlocked keychain, and for one that asks the user to unlock it.
const KEYCHAIN: Duration = Duration::from_secs(20);
const UNLOCK: Duration = Duration::from_secs(120);
