//! Finding a token that may be printed. Nothing here can change a session or reach the network.

use crate::caller::{Deadline, TokenUse};
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Session, State, StateFiles};
use crate::session::validity::Freshness;
use crate::store::SecretStore;
use crate::store::cache::Cache;

/// Why a caller wants another token than the one that is there, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renew {
    /// A stored token that is good will do.
    IfNeeded,
    /// The gateway has refused the token that is there.
    RefusedByGateway,
    /// The person insists (`--force-refresh`).
    Forced,
}

/// What a caller needs of the token.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequirement {
    /// When the caller asked, in milliseconds since 1970. A token that arrived later is always good enough:
    /// callers that wait for one refresh share its result.
    pub asked_at_ms: u64,
    /// Whether only such a token will do.
    pub renew: Renew,
    /// What the caller does with it.
    pub token_use: TokenUse,
}

impl TokenRequirement {
    /// Whether this token may be given to the caller.
    pub fn is_met_by(self, token: &IssuedToken, reader: &Reader<'_>) -> bool {
        let newer = clock::has_been_since(token.obtained_at_ms, self.asked_at_ms)
            && Reader::is_valid(token);
        newer || (self.renew == Renew::IfNeeded && reader.is_good(token, self.token_use))
    }
}

/// There is no session, or none that may be used ([`Id::SignInRequired`]).
pub fn sign_in_required(why: &str) -> Failure {
    Failure::new(Id::SignInRequired, why, "gatepass login").from_provider()
}

/// The failure that a state without a usable session stands for, if it does.
pub fn without_session(state: &State) -> Option<Failure> {
    if state.session == Session::None {
        return Some(sign_in_required("nobody is signed in"));
    }
    state.over(state.generation).map(sign_in_required)
}

/// One profile's session, seen from the side that only reads.
#[derive(Debug)]
pub struct Reader<'s> {
    /// The effective configuration.
    pub settings: &'s Settings,
    /// Where state and lock lie.
    pub files: StateFiles,
    /// The cache of the token to print.
    pub cache: Cache,
    /// The state file as it was when reading began.
    pub state: State,
}

impl<'s> Reader<'s> {
    /// Opens the profile's files and reads its state.
    pub fn open(settings: &'s Settings) -> Result<Self> {
        Self::with(settings, StateFiles::open(settings)?)
    }

    /// Reads the state from these files.
    pub fn with(settings: &'s Settings, files: StateFiles) -> Result<Self> {
        let cache = Cache::open(settings, &files);
        let state = files.read()?;
        Ok(Self {
            settings,
            files,
            cache,
            state,
        })
    }

    /// Raises the generation, so that no cached token is found any more. What is known of the session stays,
    /// except that a session that was not there may be there soon.
    pub fn raise_generation(&mut self) {
        self.state.raise_generation();
        if self.state.session == Session::None {
            self.state.session = Session::Unknown;
        }
    }

    /// The cached token, however short its remaining life.
    pub fn cached(&self) -> Option<IssuedToken> {
        if self.state.session == Session::None {
            return None;
        }
        self.cache.read(self.state.generation, self.settings)
    }

    /// Whether a token may be printed as it is for a caller that uses it like this.
    pub fn is_good(&self, token: &IssuedToken, token_use: TokenUse) -> bool {
        token
            .life
            .freshness(clock::now_millis(), self.settings.min_validity, token_use)
            == Freshness::Good
    }

    /// Whether a token has not ended yet, however little is left of it.
    pub fn is_valid(token: &IssuedToken) -> bool {
        token.life.freshness(clock::now_millis(), 0, TokenUse::Kept) != Freshness::Expired
    }

    /// Why this session must not be used, although it belongs to the configuration.
    pub fn unusable(&self, record: &Record) -> Option<String> {
        match self.state.over(record.generation) {
            Some(why) => Some(why.to_owned()),
            None => record.unusable(self.settings),
        }
    }

    /// The stored session, if there is one that belongs to the configuration. Reading takes no lock.
    ///
    /// # Errors
    /// [`Id::Keychain`] where the store does not answer until the deadline, is locked or missing.
    pub fn stored(&self, store: &dyn SecretStore, deadline: Deadline) -> Result<Option<Record>> {
        let bytes = store.read(self.settings.profile.as_str(), deadline)?;
        Ok(self.accept(bytes.as_ref().map(|bytes| bytes.as_slice())))
    }

    /// The session, if these bytes hold one that belongs to the configuration.
    fn accept(&self, bytes: Option<&[u8]>) -> Option<Record> {
        let record = bytes.and_then(Record::from_bytes);
        if bytes.is_some() && record.is_none() {
            log::warn!("the stored session cannot be read; it counts as absent");
        }
        record.filter(|record| {
            let fits = record.belongs_to(self.settings);
            if !fits {
                log::info!("the stored session belongs to another issuer or client");
            }
            fits
        })
    }
}
