//! Finding a token that may be printed. Nothing here can change a session or reach the network.

use crate::caller::{Deadline, TokenUse};
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::session::record::{IssuedToken, Proof, Record, RecordIdentity};
use crate::session::state::{Session, State, StateFiles};
use crate::session::validity::Freshness;
use crate::session::verdict::AttemptEnd;
use crate::store::SecretStore;
use crate::store::cache::Cache;
use crate::store::parking::Parking;

/// Why a caller wants another token than the one that is there, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renew {
    /// A stored token that is good will do.
    IfNeeded,
    /// The gateway has refused the token that is there.
    RefusedByGateway,
    /// The user insists (`--force-refresh`).
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

/// The failure `sign-in-required`: there is no session, or none that may be used.
pub fn sign_in_required(why: &str) -> Failure {
    Failure::new(Id::SignInRequired, why, "gatepass login").told_by_provider()
}

/// The failure that a state without a usable session stands for, if it does.
pub fn without_session(state: &State) -> Option<Failure> {
    if state.session == Session::None {
        return Some(sign_in_required("nobody is signed in"));
    }
    state.over(state.generation).map(sign_in_required)
}

/// What a profile's entry in the secret store holds.
#[derive(Debug)]
pub struct Entry {
    /// Which record it is, whatever issuer and client it belongs to.
    pub held: Held,
    /// The session of this configuration. It is the parked one where that was renewed later.
    pub session: Option<Record>,
    /// Whether it lies in the parking place and waits for the store.
    pub is_parked: bool,
    /// A session of another issuer or client.
    pub other: Option<Record>,
}

impl Entry {
    /// The issuer of the session that the entry holds, if it is another one than the configured.
    pub fn other_issuer(&self, settings: &Settings) -> Option<&str> {
        let other = self.other.as_ref()?;
        (other.issuer != settings.issuer).then_some(other.issuer.as_str())
    }
}

/// Which record an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The store could not be read.
    Unread,
    /// None, or none that can be read.
    Nothing,
    /// This one.
    Record(RecordIdentity),
}

impl Held {
    /// An entry whose content is this record, if it could be read as one.
    pub fn by(record: Option<&Record>) -> Self {
        record.map_or(Self::Nothing, |record| Self::Record(record.identity()))
    }
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
    /// Where a renewed session waits that the store did not take, if there is such a place.
    pub parking: Option<Parking>,
    /// The state file as it was when reading began.
    pub state: State,
}

impl<'s> Reader<'s> {
    /// Opens the profile's files and reads its state.
    ///
    /// # Errors
    /// `config` where the state folder or its files are not safe to use.
    pub fn open(settings: &'s Settings) -> Result<Self> {
        Self::with(settings, StateFiles::open(settings)?)
    }

    /// Reads the state from these files.
    ///
    /// # Errors
    /// `config` where the state file is not safe to use.
    pub fn with(settings: &'s Settings, files: StateFiles) -> Result<Self> {
        let cache = Cache::open(settings, &files);
        let state = files.read()?;
        Ok(Self {
            settings,
            cache,
            parking: state
                .parked
                .is_some()
                .then(|| Parking::open(settings, &files))
                .flatten(),
            files,
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
        Ok(self.entry(store, deadline)?.session)
    }

    /// What the profile's entry holds, and the session that was renewed since and waits for the store.
    ///
    /// # Errors
    /// As [`Reader::stored`]; where a session is parked, a store that fails is none.
    pub fn entry(&self, store: &dyn SecretStore, deadline: Deadline) -> Result<Entry> {
        let parked = self.parked();
        let bytes = match (
            store.read(self.settings.profile.as_str(), deadline),
            &parked,
        ) {
            (Ok(bytes), _) => bytes,
            (Err(error), Some(_)) => {
                log::warn!("{}; the parked session is used", Failure::from(error).what);
                return Ok(Entry {
                    held: Held::Unread,
                    session: parked,
                    is_parked: true,
                    other: None,
                });
            }
            (Err(error), None) => return Err(error.into()),
        };
        let record = bytes.as_ref().and_then(|bytes| Record::from_bytes(bytes));
        if bytes.is_some() && record.is_none() {
            log::warn!("the stored session cannot be read; it counts as absent");
        }
        let held = Held::by(record.as_ref());
        let (session, other) = match record {
            Some(record) if record.belongs_to(self.settings) => (Some(record), None),
            other => (None, other),
        };
        if other.is_some() {
            log::info!("the stored session belongs to another issuer or client");
        }
        let (session, is_parked) = match (session, parked) {
            (Some(stored), Some(parked))
                if parked.is_same_sign_in(&stored) && parked.rotations > stored.rotations =>
            {
                // The access token is not parked; the last one that was stored may still live.
                let token = stored.token;
                (Some(Record { token, ..parked }), true)
            }
            (session, _) => (session, false),
        };
        Ok(Entry {
            held,
            session: session.map(|session| self.without_withdrawn(session)),
            is_parked,
            other,
        })
    }

    /// The record without a token that was withdrawn when the store did not take the change.
    fn without_withdrawn(&self, mut record: Record) -> Record {
        if let Some(withdrawn) = &self.state.withdrawn {
            record.token = record
                .token
                .filter(|token| token.value_digest() != *withdrawn);
        }
        record
    }

    /// The session that waits for the store, if it belongs to the configuration.
    pub fn parked(&self) -> Option<Record> {
        let parked = self.state.parked.as_ref()?;
        let record = self.parking.as_ref()?.read(&parked.digest)?;
        record.belongs_to(self.settings).then_some(record)
    }

    /// Why the refresh token is not sent now, although there is a session.
    pub fn held_back(&self, record: Option<&Record>, renew: Renew) -> Option<Failure> {
        let unproven = record.and_then(|record| record.unproven.as_ref());
        if let Some(unproven) = unproven.filter(|unproven| unproven.proof == Proof::NextSignIn) {
            return Some(AttemptEnd::NoProof.failure(&unproven.why));
        }
        let back_off = self.state.back_off.as_ref()?;
        let configuration = self.settings.attempt_digest();
        match renew {
            Renew::Forced => back_off.in_force_for_insistence(&configuration),
            Renew::IfNeeded | Renew::RefusedByGateway => back_off.in_force(&configuration),
        }
    }
}
