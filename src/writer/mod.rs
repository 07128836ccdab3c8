//! The only place that changes a session.
//!
//! A [`Writer`] holds the profile's lock. Whatever it decides, it decides on what it read after it took the
//! lock: another process may have refreshed, signed in or signed out in between.

pub mod install;
mod issue;
#[cfg(test)]
mod model;
mod probe;
pub mod refresh;
pub mod renewal;
mod revocation;
pub mod sign_in;
pub mod sign_out;

use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::reader::Reader;
use crate::session::lock::{Lock, Purpose};
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Session, StateFiles};
use crate::store::{SecretStore, StoreError};

/// Longest wait for the store while others wait for the lock.
const KEYCHAIN: Duration = Duration::from_secs(20);

/// Tries to store a rotated refresh token before giving up.
const STORE_TRIES: u32 = 3;

/// The right and the means to change one profile's session.
pub struct Writer<'a> {
    reader: Reader<'a>,
    store: &'a dyn SecretStore,
    budget: Budget,
    lock: Lock,
}

/// Until when what may be waited for. One budget is handed through; nothing below adds time of its own.
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
        Self {
            answer_by: deadline,
            finish_by: deadline,
        }
    }
}

impl<'a> Writer<'a> {
    /// Takes the lock and reads the state anew.
    pub fn take(
        settings: &'a Settings,
        files: &StateFiles,
        store: &'a dyn SecretStore,
        budget: Budget,
    ) -> Result<Self> {
        let lock = Lock::take(files, Purpose::Write, budget.answer_by)?;
        files.sweep();
        Ok(Self {
            reader: Reader::with(settings, files.clone())?,
            store,
            budget,
            lock,
        })
    }

    fn settings(&self) -> &'a Settings {
        self.reader.settings
    }

    /// The name of this profile's entry in the secret store.
    fn entry(&self) -> &'a str {
        self.settings().profile.as_str()
    }

    /// The stored session, if there is one for this configuration.
    fn stored(&self) -> Result<Option<Record>> {
        self.stored_until(self.budget.answer_by.at_most(KEYCHAIN))
    }

    fn stored_until(&self, deadline: Deadline) -> Result<Option<Record>> {
        self.reader.stored(self.store, deadline)
    }

    /// Stores a record, trying again if the store fails for a moment.
    fn keep(&self, record: &Record) -> Result<(), StoreError> {
        let bytes = record.to_bytes();
        let mut tries = 1;
        loop {
            match self
                .store
                .write(self.entry(), &bytes, self.budget.finish_by)
            {
                Ok(()) => return Ok(()),
                Err(error) if tries == STORE_TRIES || self.budget.finish_by.passed() => {
                    return Err(error);
                }
                Err(error) => log::warn!("storing the session failed, trying again: {error:?}"),
            }
            tries += 1;
            std::thread::sleep(self.store.pause());
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

    /// Before what cannot be undone: others must still meet at our lock.
    fn check_lock(&self) -> Result<()> {
        if self.lock.is_in_force(&self.reader.files, Purpose::Write) {
            return Ok(());
        }
        Err(Failure::new(
            Id::Unavailable,
            "somebody has removed or replaced gatepass's lock while it was working",
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
