//! The state file beside a session: what must be known without asking the secret store. Nothing in it is secret.

use serde::{Deserialize, Serialize};

use super::back_off::BackOff;
use super::kept_failure::KeptFailure;
use crate::clock;
use crate::config::profile::ProfileName;
use crate::config::settings::{self, Settings};
use crate::error::{Failure, Origin, Result};
use crate::platform::files::{PrivateDir, Unsafe};
use crate::platform::{paths, variables};
use crate::text;

/// Version of the file's format.
const FORMAT: u32 = 1;

/// Largest state file that is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// Files of earlier versions that no version reads any more.
const OUTDATED: [&str; 1] = ["in-order"];

/// Most warnings that are kept; older ones give way.
const WARNINGS: usize = 10;

/// What is known about the session without asking the secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Session {
    /// Nothing is known: ask the secret store.
    #[default]
    Unknown,
    /// There is none.
    None,
    /// There is one.
    Stored,
    /// There is one, but it is of no use any more: only a new sign-in helps.
    Ended {
        /// Why, in words for people.
        why: String,
        /// Generation of the last session of which this is true. A sign-in that died before it could note its success
        /// has stored one of a later generation.
        #[serde(default = "any_generation")]
        generation: u64,
    },
}

fn any_generation() -> u64 {
    u64::MAX
}

/// When a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// In seconds since 1970.
    pub at: u64,
    /// When the user signed in, in seconds since 1970.
    pub began: u64,
    /// Whether a refresh moves the end; not known before the first one.
    #[serde(rename = "slides")]
    pub sliding_expiry: Option<bool>,
}

impl Ends {
    /// Whether the last stretch of the session has come. It is never more than half of the session, so that people
    /// with short ones are not asked all the time.
    pub fn is_near(self, now: u64, renew_before: u64) -> bool {
        let stretch = renew_before.min(self.at.saturating_sub(self.began) / 2);
        now >= self.at.saturating_sub(stretch)
    }
}

/// Something the user should know that a host's call has no place to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What.
    pub text: String,
}

/// How an attempt ended, for the callers that waited for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why it failed, if it did.
    pub failure: Option<KeptFailure>,
    /// Digest of the attempt's environment (proxy, session bus, display): a failure of these is the answer for
    /// callers that have the same. Missing in files of the first versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    environment: String,
}

impl Ended {
    /// The end of an attempt, now.
    pub fn now(failure: Option<&Failure>) -> Self {
        Self {
            at_ms: clock::now_millis(),
            failure: failure.map(KeptFailure::from),
            environment: variables::digest(),
        }
    }

    /// The failure, if it is the answer for a caller that waited: the provider's always is; what failed in the
    /// attempt's own environment is, where the caller has the same one.
    pub fn shared_failure(&self) -> Option<Failure> {
        let failure = Failure::from(self.failure.clone()?);
        let is_shared = failure.origin == Origin::Provider
            || (!self.environment.is_empty() && self.environment == variables::digest());
        is_shared.then_some(failure)
    }
}

/// A refresh request that was sent and whose answer has not been stored yet. If this is found at the start of
/// a run, the process that sent it died in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// When it was sent, in seconds since 1970.
    pub sent_at: u64,
    /// Digest of the refresh token that was sent.
    pub refresh_token: String,
}

/// A renewed session that waits until the secret store takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Since when the store has not taken it, in seconds since 1970.
    pub since: u64,
    /// When the store was last tried, in seconds since 1970.
    pub tried_at: u64,
    /// Digest of the parked bytes: others are not believed.
    pub digest: String,
    /// Why the store did not take it, in words for people.
    pub why: String,
}

/// For how long a refused exchange is not tried again, in seconds.
const REFUSED_FOR: u64 = 60;

/// The exchange's service does not take this account: hosts that call in a loop would ask it, and the provider, all
/// the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedExchange {
    /// When, in seconds since 1970.
    at: u64,
    /// The generation of the session that was refused; a sign-in makes another one.
    generation: u64,
    /// Digest of the configuration that was refused.
    digest: String,
    failure: KeptFailure,
}

/// The state file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    v: u32,
    /// Whose state this is, so that `logout --all` finds sessions that no configuration names any more.
    pub profile: String,
    /// The issuer it belongs to.
    pub issuer: String,
    /// The client it belongs to.
    pub client_id: String,
    /// The store of which `session` speaks.
    pub store: String,
    /// Grows with each sign-in and sign-out; cached tokens of another generation are not used.
    pub generation: u64,
    /// What is known about the session.
    pub session: Session,
    /// When the session ends, if that is known.
    pub ends: Option<Ends>,
    /// How the last refresh ended.
    pub refreshed: Option<Ended>,
    /// A refresh whose answer has not been stored.
    pub in_flight: Option<InFlight>,
    /// Why no refresh token is sent at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "pause")]
    pub back_off: Option<BackOff>,
    /// Digest of a token that must not be printed any more, although the store may still hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// The renewed session that the secret store did not take and that lies in the parking place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<Parked>,
    /// An exchange that was refused a moment ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_exchange: Option<RefusedExchange>,
    /// The generation of the session about whose end the person has been notified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_told: Option<u64>,
    /// What `status` and `doctor` should tell.
    pub warnings: Vec<Warning>,
}

impl State {
    /// Raises the generation. Milliseconds, so that a state file that was lost is not taken for the old one.
    pub fn raise_generation(&mut self) {
        self.generation = (self.generation + 1).max(clock::now_millis());
    }

    /// The session is of no use any more.
    pub fn end(&mut self, why: &str) {
        self.session = Session::Ended {
            why: why.to_owned(),
            generation: self.generation,
        };
    }

    /// Why a session of this generation is of no use any more, if it is not.
    pub fn over(&self, generation: u64) -> Option<&str> {
        match &self.session {
            Session::Ended {
                why,
                generation: last,
            } if generation <= *last => Some(why),
            _ => None,
        }
    }

    /// Notes that the exchange refused this session under this configuration.
    pub fn exchange_refused(&mut self, failure: &Failure, digest: &str) {
        self.refused_exchange = Some(RefusedExchange {
            at: clock::now(),
            generation: self.generation,
            digest: digest.to_owned(),
            failure: failure.into(),
        });
    }

    /// What the exchange said a moment ago, if nothing has changed since.
    pub fn still_refused(&self, digest: &str) -> Option<Failure> {
        let refused = self.refused_exchange.as_ref()?;
        // A moment in the future was noted before a clock was set back.
        let age = clock::now().checked_sub(refused.at)?;
        let same = refused.generation == self.generation && refused.digest == digest;
        (same && age < REFUSED_FOR).then(|| {
            let mut failure = Failure::from(refused.failure.clone());
            failure.what = format!(
                "{}; it is not asked again until {} (--force-refresh asks now)",
                failure.what,
                text::moment(refused.at + REFUSED_FOR)
            );
            failure
        })
    }

    /// Adds a warning.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.warnings.retain(|warning| warning.text != text);
        self.warnings.push(Warning {
            at: clock::now(),
            text,
        });
        let surplus = self.warnings.len().saturating_sub(WARNINGS);
        self.warnings.drain(..surplus);
    }
}

/// The folder in which one profile's state, lock and provider snapshot lie.
#[derive(Clone, Debug)]
pub struct StateFiles {
    dir: PrivateDir,
    key: String,
    profile_key: String,
    store: &'static str,
}

impl StateFiles {
    /// Opens the folder, creating it if need be.
    ///
    /// # Errors
    /// `config` where the folder is not safe to use or cannot be made.
    pub fn open(settings: &Settings) -> Result<Self> {
        let path = paths::state_dir()?;
        let dir = PrivateDir::create(&path).map_err(|reason| unusable(&path, &reason))?;
        Ok(Self {
            dir,
            key: settings.key(),
            profile_key: settings.profile.key(),
            store: settings.store.as_str(),
        })
    }

    /// Opens the folder if it is there, and creates nothing.
    ///
    /// # Errors
    /// `config` where the folder is not safe to use.
    pub fn existing(settings: &Settings) -> Result<Option<Self>> {
        let path = paths::state_dir()?;
        let dir = PrivateDir::open(&path).map_err(|reason| unusable(&path, &reason))?;
        Ok(dir.map(|dir| Self {
            dir,
            key: settings.key(),
            profile_key: settings.profile.key(),
            store: settings.store.as_str(),
        }))
    }

    /// Files in another folder than the user's own.
    #[cfg(test)]
    pub(crate) fn at(path: &std::path::Path, key: &str) -> Result<Self> {
        let dir =
            PrivateDir::create(&path.join("state")).map_err(|reason| unusable(path, &reason))?;
        Ok(Self {
            dir,
            key: key.to_owned(),
            profile_key: "profile".to_owned(),
            store: "keychain",
        })
    }

    /// The folder of all profiles' files.
    pub fn dir(&self) -> &PrivateDir {
        &self.dir
    }

    /// Removes what writers that died have left behind, and what earlier versions kept here.
    pub fn sweep(&self) {
        self.dir.sweep();
        for name in OUTDATED {
            let _ = self.dir.remove(name);
        }
    }

    /// What all of this profile's files are called: see [`Settings::key`].
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Name of one of this profile's files.
    pub fn name(&self, kind: &str) -> String {
        format!("{}.{kind}", self.key)
    }

    /// Name of a file of the profile, whatever issuer and client it is configured for: they share one entry in the
    /// secret store.
    pub fn profile_name(&self, kind: &str) -> String {
        format!("{}.{kind}", self.profile_key)
    }

    /// The files of a session of another issuer or client that has taken, or had, the same profile's entry.
    #[must_use]
    pub fn of_another(&self, profile: &ProfileName, issuer: &str, client_id: &str) -> Self {
        Self {
            key: settings::key(profile, issuer, client_id),
            ..self.clone()
        }
    }

    /// Changes a state that is there, whatever configuration it belongs to. Only the holder of the lock may call this.
    ///
    /// # Errors
    /// As [`StateFiles::write`].
    pub fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = read(&self.dir, &self.name("state"))?;
        if state.v == 0 {
            return Ok(());
        }
        change(&mut state);
        self.replace(&state)
    }

    /// Reads the state. A damaged or newer file counts as one that knows nothing; an unsafe one is an error.
    pub fn read(&self) -> Result<State> {
        let mut state = read(&self.dir, &self.name("state"))?;
        // What is known of another store says nothing about this one.
        if !state.store.is_empty() && state.store != self.store {
            state.session = Session::Unknown;
        }
        Ok(state)
    }

    /// Replaces the state in one step. Only the holder of the lock may call this.
    pub fn write(&self, settings: &Settings, state: &State) -> Result<()> {
        let state = State {
            v: FORMAT,
            profile: settings.profile.to_string(),
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            store: settings.store.as_str().to_owned(),
            ..state.clone()
        };
        self.replace(&state)
    }

    fn replace(&self, state: &State) -> Result<()> {
        // An empty file would forget what is known; nothing is written in its place.
        let bytes = serde_json::to_vec(state)
            .map_err(|error| Failure::internal(format!("the state cannot be written: {error}")))?;
        self.dir
            .replace(&self.name("state"), &bytes)
            .map_err(|error| unusable(self.dir.path(), &Unsafe::Io(error)))
    }
}

fn read(dir: &PrivateDir, name: &str) -> Result<State> {
    let bytes = dir
        .read(name, LIMIT)
        .map_err(|reason| unusable(&dir.path().join(name), &reason))?;
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok())
        .filter(|state| state.v <= FORMAT)
        .unwrap_or_default())
}

/// Every profile that has a state file, with issuer and client.
pub fn all() -> Result<Vec<(ProfileName, State)>> {
    let path = paths::state_dir()?;
    let Some(dir) = PrivateDir::open(&path).map_err(|reason| unusable(&path, &reason))? else {
        return Ok(Vec::new());
    };
    let entries =
        std::fs::read_dir(dir.path()).map_err(|error| unusable(&path, &Unsafe::Io(error)))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".state")) else {
            continue;
        };
        let state = read(&dir, name)?;
        if let Ok(profile) = ProfileName::parse(&state.profile) {
            found.push((profile, state));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn unusable(path: &std::path::Path, reason: &Unsafe) -> Failure {
    let shown = path.display();
    Failure::config(
        format!("the state folder is not safe to use: {shown}: {reason}"),
        match reason {
            Unsafe::Mode => format!("chmod -R go= '{shown}'"),
            Unsafe::Owner => "set HOME to your own home folder".to_owned(),
            _ => format!("make sure that you can write to '{shown}'"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{BackOff, Ends, OUTDATED, State, StateFiles};
    use crate::error::Failure;

    #[test]
    fn names_in_the_file_are_those_of_every_version() {
        let failure = Failure::config("a", "b");
        let state = State {
            back_off: Some(BackOff::after(None, &failure, "c".to_owned())),
            ends: Some(Ends {
                at: 2,
                began: 1,
                sliding_expiry: Some(true),
            }),
            ..State::default()
        };
        let file = serde_json::to_value(state).unwrap();
        assert_eq!(file["pause"]["attempts"], 1);
        assert_eq!(file["ends"]["slides"], true);
    }

    #[test]
    fn what_earlier_versions_kept_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let files = StateFiles::at(home.path(), "a").unwrap();
        for name in OUTDATED.into_iter().chain(["a.state", "a.lock"]) {
            files.dir().replace(name, b"x").unwrap();
        }
        files.sweep();
        let left = |name: &str| files.dir().path().join(name).exists();
        assert!(!left("in-order"));
        assert!(left("a.state") && left("a.lock"));
    }
}
