//! The only place that changes a session.
//!
//! A [`Writer`] holds the profile's lock. Whatever it decides, it decides on what it read after it took the
//! lock: another process may have refreshed, signed in or signed out in between.

pub mod install;
mod issue;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod lost_answers;
#[cfg(test)]
mod model;
mod probe;
pub mod refresh;
pub mod renewal;
pub mod revocation;
pub mod sign_in;
pub mod sign_out;

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::reader::{Entry, Held, Reader};
use crate::session::lock::{Lock, Purpose};
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Session, State, StateFiles};
use crate::store::cache::Cache;
use crate::store::parking::Parking;
use crate::store::{SecretStore, StoreError};

/// Longest wait for the store while other processes wait for the lock.
const KEYCHAIN: Duration = Duration::from_secs(20);

/// Tries to store a rotated refresh token before giving up.
const STORE_TRIES: u32 = 3;

/// Longest wait for a store that says nothing, where a renewed session can be parked instead: the caller has no token
/// before. Where there is no such place, storing is all that there is.
const STORE: Duration = Duration::from_secs(10);

/// The right and the means to change one profile's session.
pub struct Writer<'a> {
    reader: Reader<'a>,
    store: &'a dyn SecretStore,
    budget: Budget,
    lock: Lock,
    /// What the entry held when it was last read or written: nothing else is replaced.
    held: Held,
    /// A rotated refresh token of this attempt could be neither stored nor parked.
    is_unstored: bool,
}

/// Who waits while a record is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhoWaits {
    /// A caller that needs its token. The renewed session can be parked meanwhile.
    Caller,
    /// The user, who may have to answer the keychain's prompt.
    User,
}

/// What became of a record that was to be stored.
#[derive(Debug)]
enum Kept {
    /// It is in the store.
    Stored,
    /// The store did not take it.
    Refused(StoreError),
    /// The store holds another record than the one that was read: another process was faster, and its record stays.
    Overtaken,
}

/// Until when what may be waited for. It is handed through a whole attempt; what comes after the user's part of a
/// sign-in (storing, revoking what was replaced) has a budget of its own, with the constant beside it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The caller must have its answer by then: waiting for locks, reading the store and connecting end here.
    pub answer_by: Deadline,
    /// What was begun and cannot be undone (a request that was sent, storing its result) is finished by then,
    /// whether or not the caller still waits.
    pub finish_by: Deadline,
}

impl Budget {
    /// A caller that stays until the end.
    pub fn of(deadline: Deadline) -> Self {
        Self::finishing(deadline, deadline)
    }

    /// A caller that needs its answer by one moment, and work that is finished by another.
    pub fn finishing(answer_by: Deadline, finish_by: Deadline) -> Self {
        Self {
            answer_by,
            finish_by,
        }
    }
}

impl<'a> Writer<'a> {
    /// Takes the lock and reads the state anew.
    ///
    /// # Errors
    /// `unavailable` where another process holds the lock until the deadline; `config` where the state folder is not
    /// safe to use.
    pub fn take(
        settings: &'a Settings,
        files: &StateFiles,
        store: &'a dyn SecretStore,
        budget: Budget,
    ) -> Result<Self> {
        let lock = Lock::take(files, Purpose::Write, budget.answer_by)?;
        files.sweep();
        let mut reader = Reader::with(settings, files.clone())?;
        reader.parking = Parking::open(settings, files);
        Ok(Self {
            reader,
            store,
            budget,
            lock,
            held: Held::Unread,
            is_unstored: false,
        })
    }

    fn settings(&self) -> &'a Settings {
        self.reader.settings
    }

    /// The name of this profile's entry in the secret store.
    fn entry(&self) -> &'a str {
        self.settings().profile.as_str()
    }

    /// What the entry holds, read while other processes wait for the lock.
    fn look(&mut self) -> Result<Entry> {
        self.look_until(self.budget.answer_by.at_most(KEYCHAIN))
    }

    fn look_until(&mut self, deadline: Deadline) -> Result<Entry> {
        let entry = self.reader.entry(self.store, deadline)?;
        self.held = entry.held.clone();
        if let Some(record) = &entry.session {
            // A state file that was lost starts again from what the record knows.
            let state = &mut self.reader.state;
            state.generation = state.generation.max(record.generation);
        }
        Ok(entry)
    }

    /// Stores a record in place of the one that was read, trying again if the store fails for a moment.
    ///
    /// # Errors
    /// `internal` where the record cannot be written at all.
    fn keep(&mut self, record: &Record, who: WhoWaits) -> Result<Kept> {
        let bytes = record.to_bytes()?;
        let mut tries = 1;
        loop {
            match self.keep_once(record, &bytes, who) {
                Ok(true) => {
                    self.held = Held::Record(record.identity());
                    return Ok(Kept::Stored);
                }
                Ok(false) => {
                    log::warn!("the entry was replaced meanwhile; the newer session stays");
                    return Ok(Kept::Overtaken);
                }
                Err(error) if self.is_last_try(tries, &error, who) => {
                    return Ok(Kept::Refused(error));
                }
                Err(error) => log::warn!("storing the session failed, trying again: {error:?}"),
            }
            tries += 1;
            std::thread::sleep(self.store.pause());
        }
    }

    /// Whether to give up after this try. A store that says nothing has had its time; where the session can be parked, it
    /// is not asked again while a caller waits.
    fn is_last_try(&self, tries: u32, error: &StoreError, who: WhoWaits) -> bool {
        let is_parked_instead = *error == StoreError::Silent && self.can_park(who);
        tries == STORE_TRIES || is_parked_instead || self.budget.finish_by.passed()
    }

    fn can_park(&self, who: WhoWaits) -> bool {
        who == WhoWaits::Caller && self.reader.parking.is_some()
    }

    /// `false` if the entry is not the one that was read. The lock keeps other processes of this home folder away, and
    /// no others: one with another home folder has another lock and the same keychain.
    fn keep_once(&self, record: &Record, bytes: &[u8], who: WhoWaits) -> Result<bool, StoreError> {
        let until = if self.can_park(who) {
            self.budget.finish_by.at_most(STORE)
        } else {
            self.budget.finish_by
        };
        let now = self.store.read(self.entry(), until)?;
        let before = now.as_ref().and_then(|bytes| Record::from_bytes(bytes));
        let held = Held::by(before.as_ref());
        let is_as_read = held == self.held
            // An earlier try has reached the store after all.
            || held == Held::Record(record.identity())
            // The store could not be read before. What it holds is the same sign-in, renewed fewer times.
            || (self.held == Held::Unread
                && before.is_some_and(|before| {
                    before.is_same_sign_in(record) && before.rotations < record.rotations
                }));
        if is_as_read {
            self.store.write(self.entry(), bytes, until)?;
        }
        Ok(is_as_read)
    }

    /// Forgets what is parked: it is in the store by now, or it may not be used any more. Also where the configuration
    /// no longer allows the place.
    fn unpark(&mut self) {
        if self.reader.state.parked.take().is_none() {
            return;
        }
        let places = [
            self.reader.parking.clone(),
            Parking::place(&self.reader.files),
        ];
        places.iter().flatten().for_each(Parking::clear);
    }

    /// The files of a session of another issuer or client. A client that registered itself has none in their name.
    fn files_of(&self, other: &Record) -> impl Iterator<Item = StateFiles> {
        let files = &self.reader.files;
        let profile = &self.settings().profile;
        let of = |client_id: &str| files.of_another(profile, &other.issuer, client_id);
        let own = files.key().to_owned();
        [of(&other.client_id), of("")]
            .into_iter()
            .filter(move |files| files.key() != own)
    }

    /// No cached token of a session of another issuer or client is found any more: this profile's entry is about to be
    /// another's. The session itself stays.
    fn withdraw_tokens_of(&self, other: &Record) {
        for files in self.files_of(other) {
            if let Err(failure) = files.change(State::raise_generation) {
                log::warn!("{}", failure.what);
            }
            Cache::clear_for(&files);
        }
    }

    /// The entry no longer holds this session of another issuer or client: what is parked and noted of it is of no use.
    fn forget_files_of(&self, other: &Record) {
        for files in self.files_of(other) {
            let changed = files.change(|state| {
                if state.parked.take().is_some()
                    && let Some(place) = Parking::place(&files)
                {
                    place.clear();
                }
                state.session = Session::None;
                state.in_flight = None;
                state.ends = None;
                state.back_off = None;
                state.warnings.clear();
            });
            if let Err(failure) = changed {
                log::warn!("{}", failure.what);
            }
        }
    }

    /// Notes what is known about the session.
    fn note(&mut self, session: Session) -> Result<()> {
        if self.reader.state.session != session {
            self.reader.state.session = session;
            self.write_state()?;
        }
        Ok(())
    }

    /// Asked before what cannot be undone: other processes must still meet at our lock.
    fn check_lock(&self) -> Result<()> {
        if self.lock.is_in_force(&self.reader.files, Purpose::Write) {
            return Ok(());
        }
        Err(Failure::new(
            Id::Unavailable,
            "another process has removed or replaced gatepass's lock file",
            "run it again, and leave the state folder alone while gatepass runs",
        ))
    }

    fn write_state(&self) -> Result<()> {
        self.reader.files.write(self.settings(), &self.reader.state)
    }

    /// Makes a token of the current generation known to the readers.
    fn publish(&self, token: &IssuedToken) {
        self.reader.cache.write(self.reader.state.generation, token);
    }
}

/// The entry was replaced while this attempt was under way: what another process has stored stands.
fn overtaken() -> Failure {
    Failure::new(
        Id::Unavailable,
        "another gatepass has just changed this session",
        "run it again in a moment",
    )
}
