//! Finding a token that may be printed. Nothing here can change a session or reach the network.

use crate::clock;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Session, State, StateFiles};
use crate::session::validity::Freshness;
use crate::store::cache::Cache;

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

    /// Whether a token may be printed as it is.
    pub fn is_good(&self, token: &IssuedToken) -> bool {
        token
            .life
            .freshness(clock::now_millis(), self.settings.min_validity)
            == Freshness::Good
    }

    /// Whether a token has not ended yet, however little is left of it.
    pub fn is_valid(token: &IssuedToken) -> bool {
        token.life.freshness(clock::now_millis(), 0) != Freshness::Expired
    }

    /// Why this session must not be used, although it belongs to the configuration.
    pub fn unusable(&self, record: &Record) -> Option<String> {
        match self.state.over(record.generation) {
            Some(why) => Some(why.to_owned()),
            None => record.unusable(self.settings),
        }
    }

    /// The session, if these bytes hold one that belongs to the configuration.
    pub fn accept(&self, bytes: Option<&[u8]>) -> Option<Record> {
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
