//! Where secrets are kept.
//!
//! [`keychain`] holds the session record ([`keyutils`] or [`file`], where the configuration asks for it); [`cache`] the
//! short-lived token to print, where reading it costs microseconds; [`parking`] a renewed session that the keychain
//! does not take.

pub mod cache;
mod chunked;
pub mod file;
pub mod keychain;
pub mod keyutils;
pub mod parking;
pub mod probe;
mod turn;

#[cfg(target_os = "linux")]
mod kernel_keyring;
#[cfg(target_os = "linux")]
mod secret_service;

use std::time::Duration;

use zeroize::Zeroizing;

use crate::caller::Deadline;
use crate::config::settings::{Settings, StoreChoice};
use crate::error::{Failure, Id};

/// Why a secret store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It is there, but locked.
    Locked,
    /// There is none (no session bus, no service).
    Absent(String),
    /// It refused: the user dismissed its prompt, or its rules forbid it.
    Denied,
    /// The value is too large for it, or it is full.
    Full,
    /// It did not answer in time.
    Silent,
    /// Something else.
    Other(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (what, remedy) = match error {
            StoreError::Locked => (
                "the keychain is locked".to_owned(),
                "unlock it (sign in to your desktop, or open the keyring manager), then run it again",
            ),
            StoreError::Absent(why) => (
                format!("there is no keychain in this session: {why}"),
                if cfg!(target_os = "linux") {
                    "start a Secret Service such as gnome-keyring in your session, then run it again"
                } else {
                    "sign in to your desktop, then run it again"
                },
            ),
            StoreError::Denied => (
                "the keychain refused access".to_owned(),
                "allow gatepass in the keychain's prompt or settings, then run it again",
            ),
            StoreError::Full => (
                "the session is too large for the keychain".to_owned(),
                "ask your administrator to shorten the provider's tokens (fewer claims)",
            ),
            StoreError::Silent => (
                "the keychain did not answer in time".to_owned(),
                "restart the keychain service (or your session), then run it again",
            ),
            StoreError::Other(why) => (
                format!("the keychain failed: {why}"),
                "look at the keychain in your system's keyring manager, then run it again",
            ),
        };
        Failure::new(Id::Keychain, what, remedy)
    }
}

/// Whether the store may show a prompt of its own (to unlock, to allow access).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompting {
    /// The user waits for this process: it may.
    Allowed,
    /// The user would not see it: a store that needs a prompt counts as locked.
    Forbidden,
}

/// A place for session records. One implementation per kind of store; every call is bounded in time.
pub trait SecretStore {
    /// The secret under this name; `Ok(None)` if there is none.
    fn read(
        &self,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Creates or replaces the secret under this name.
    fn write(&self, name: &str, secret: &[u8], deadline: Deadline) -> Result<(), StoreError>;

    /// Pause before a write that failed is tried again: a keychain that starts anew needs a moment.
    fn pause(&self) -> Duration {
        Duration::from_millis(100)
    }

    /// Removes the secret; says whether there was one.
    fn remove(&self, name: &str, deadline: Deadline) -> Result<bool, StoreError>;
}

/// The store that the configuration names. There is no silent way from one to another.
pub fn open(settings: &Settings, prompting: Prompting) -> Box<dyn SecretStore> {
    match settings.store {
        StoreChoice::Keychain => Box::new(keychain::Keychain::new(prompting)),
        StoreChoice::Keyutils => Box::new(keyutils::Keyutils),
        StoreChoice::File => Box::new(file::FileStore),
    }
}

/// Removes what an earlier configuration has kept in the places that answer at once. (The keychain is asked only where
/// it is configured: it may not be there, or wait for a person.)
pub fn clear_others(settings: &Settings, name: &str, deadline: Deadline) {
    if settings.store != StoreChoice::File {
        let _ = file::FileStore.remove(name, deadline);
    }
    if settings.store != StoreChoice::Keyutils && cfg!(target_os = "linux") {
        let _ = keyutils::Keyutils.remove(name, deadline);
    }
}

/// The store's name, for people.
pub fn describe(choice: StoreChoice) -> &'static str {
    match choice {
        StoreChoice::Keychain => "keychain",
        StoreChoice::Keyutils => "kernel keyring",
        StoreChoice::File => "file",
    }
}
