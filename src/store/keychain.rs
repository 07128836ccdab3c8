//! The operating system's keychain: Secret Service, macOS login keychain, Windows Credential Manager.
//!
//! A keychain may wait for a person or for ever, so every call runs on a thread of its own and is given up when
//! its time is over. A thread given up ends with the process.

use std::collections::HashMap;
use std::sync::mpsc;
#[cfg(target_os = "macos")]
use std::sync::{Mutex, PoisonError};
use std::thread;

use keyring_core::{Entry, Error};
#[cfg(target_os = "macos")]
use security_framework::os::macos::keychain::{KeychainUserInteractionLock, SecKeychain};
use zeroize::Zeroizing;

use super::chunked::{self, Entries};
#[cfg(target_os = "linux")]
use super::secret_service;
use super::{Prompting, SecretStore, StoreError};
use crate::caller::Deadline;

/// The service name under which all sessions are kept.
const SERVICE: &str = "gatepass";

/// The keychain of this user.
#[derive(Clone, Copy, Debug)]
pub struct Keychain {
    #[cfg_attr(
        windows,
        expect(dead_code, reason = "the Windows Credential Manager shows no prompt")
    )]
    prompting: Prompting,
}

impl Keychain {
    /// The keychain, which may or may not show prompts of its own.
    pub fn new(prompting: Prompting) -> Self {
        Self { prompting }
    }

    fn entries(self, deadline: Deadline) -> SingleEntries {
        SingleEntries {
            keychain: self,
            deadline,
        }
    }

    /// Runs a call, at most until the deadline.
    fn bounded<T: Send + 'static>(
        self,
        deadline: Deadline,
        call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = mpsc::channel();
        let spawned = thread::Builder::new()
            .name("keychain".to_owned())
            .spawn(move || {
                #[cfg(target_os = "macos")]
                let _silence = match self.silence() {
                    Ok(silence) => silence,
                    Err(why) => return drop(answer.send(Err(why))),
                };
                // Nobody listens any more if the time is over.
                let _ = answer.send(call());
            });
        if let Err(error) = spawned {
            return Err(StoreError::Other(error.to_string()));
        }
        match wait.recv_timeout(deadline.left()) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(StoreError::Silent),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(StoreError::Other("its library stopped".to_owned()))
            }
        }
    }

    /// Forbids the keychain to show a prompt, for as long as this is held: it then fails where it would need one.
    /// Where that cannot be had, nothing is asked of it.
    #[cfg(target_os = "macos")]
    fn silence(self) -> Result<Option<Silence>, StoreError> {
        match self.prompting {
            Prompting::Forbidden => Silence::begin().map(Some),
            Prompting::Allowed => Ok(None),
        }
    }

    /// The keychain's own library opens a prompt for what is locked, so ask first where none may appear.
    fn check_lock(self, name: &str) -> Result<(), StoreError> {
        #[cfg(target_os = "linux")]
        if self.prompting == Prompting::Forbidden
            && matches!(
                secret_service::find(&attributes(name))?,
                secret_service::Found::Locked
            )
        {
            return Err(StoreError::Locked);
        }
        let _ = name;
        Ok(())
    }

    /// The secret of an entry.
    fn get(self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        #[cfg(target_os = "linux")]
        match secret_service::find(&attributes(name))? {
            secret_service::Found::Item(item) => return item.secret().map(Some),
            secret_service::Found::Nothing => return Ok(None),
            secret_service::Found::Locked if self.prompting == Prompting::Forbidden => {
                return Err(StoreError::Locked);
            }
            // The library shows the prompt, and encrypts.
            secret_service::Found::Locked | secret_service::Found::FarItem => {}
        }
        match entry(name)?.get_secret() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(translate(error)),
        }
    }
}

/// What an entry is found by.
#[cfg(target_os = "linux")]
fn attributes(name: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", SERVICE), ("username", name)])
}

/// Prompts are switched off for the whole process at once. A call that was given up may still run when the next one
/// ends, so only the last one that ends switches them on again.
#[cfg(target_os = "macos")]
struct Silence;

/// How many calls need silence, and what keeps it.
#[cfg(target_os = "macos")]
static SILENCE: Mutex<(usize, Option<KeychainUserInteractionLock>)> = Mutex::new((0, None));

#[cfg(target_os = "macos")]
impl Silence {
    fn begin() -> Result<Self, StoreError> {
        let mut shared = SILENCE.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.1.is_none() {
            let lock = SecKeychain::disable_user_interaction().map_err(|error| {
                StoreError::Other(format!("its prompts cannot be switched off: {error}"))
            })?;
            shared.1 = Some(lock);
        }
        shared.0 += 1;
        Ok(Self)
    }
}

#[cfg(target_os = "macos")]
impl Drop for Silence {
    fn drop(&mut self) {
        let mut shared = SILENCE.lock().unwrap_or_else(PoisonError::into_inner);
        shared.0 = shared.0.saturating_sub(1);
        if shared.0 == 0 {
            shared.1 = None;
        }
    }
}

/// The keychain's single entries, which have a largest size on Windows.
struct SingleEntries {
    keychain: Keychain,
    deadline: Deadline,
}

impl Entries for SingleEntries {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (keychain, name) = (self.keychain, name.to_owned());
        keychain.bounded(self.deadline, move || keychain.get(&name))
    }

    fn set(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (keychain, name) = (self.keychain, name.to_owned());
        let bytes = Zeroizing::new(bytes.to_vec());
        keychain.bounded(self.deadline, move || {
            keychain.check_lock(&name)?;
            entry(&name)?.set_secret(&bytes).map_err(translate)
        })
    }

    fn delete(&self, name: &str) -> Result<bool, StoreError> {
        let (keychain, name) = (self.keychain, name.to_owned());
        keychain.bounded(self.deadline, move || {
            keychain.check_lock(&name)?;
            match entry(&name)?.delete_credential() {
                Ok(()) => Ok(true),
                Err(Error::NoEntry) => Ok(false),
                Err(error) => Err(translate(error)),
            }
        })
    }
}

/// Whether the keychain's entries are too small for a session.
const SMALL_ENTRIES: bool = cfg!(windows);

impl SecretStore for Keychain {
    fn read(
        &self,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let entries = self.entries(deadline);
        if SMALL_ENTRIES {
            chunked::read(&entries, name)
        } else {
            entries.get(name)
        }
    }

    fn write(&self, name: &str, secret: &[u8], deadline: Deadline) -> Result<(), StoreError> {
        let entries = self.entries(deadline);
        if SMALL_ENTRIES {
            chunked::write(&entries, name, secret)
        } else {
            entries.set(name, secret)
        }
    }

    fn remove(&self, name: &str, deadline: Deadline) -> Result<bool, StoreError> {
        let entries = self.entries(deadline);
        if SMALL_ENTRIES {
            chunked::remove(&entries, name)
        } else {
            entries.delete(name)
        }
    }
}

/// The keychain's entry for a session.
fn entry(name: &str) -> Result<Entry, StoreError> {
    if let Err(error) = keyring::Entry::store_status() {
        return Err(StoreError::Absent(innermost(error)));
    }
    let label = format!("gatepass session ({name})");
    let modifiers = if cfg!(windows) {
        // Without this the session would roam to every machine that the person signs in to.
        HashMap::from([("persistence", "Local")])
    } else if cfg!(target_os = "macos") {
        HashMap::new()
    } else {
        HashMap::from([("label", label.as_str())])
    };
    Entry::new_with_modifiers(SERVICE, name, &modifiers).map_err(translate)
}

fn translate(error: Error) -> StoreError {
    match error {
        // A prompt was needed: it was dismissed, or nothing could show it.
        Error::NoStorageAccess(_) => StoreError::Locked,
        #[cfg(target_os = "macos")]
        Error::PlatformFailure(cause) => translate_macos(cause.as_ref()),
        Error::TooLong(_, _) => StoreError::Full,
        Error::NoDefaultStore => StoreError::Absent("no store could be opened".to_owned()),
        Error::Ambiguous(_) => {
            StoreError::Other("it holds two gatepass entries of the same name".to_owned())
        }
        other => StoreError::Other(innermost(&other)),
    }
}

/// What macOS says by number (`SecBase.h`).
#[cfg(target_os = "macos")]
fn translate_macos(cause: &(dyn std::error::Error + 'static)) -> StoreError {
    /// `errSecInteractionNotAllowed`, `errSecInteractionRequired`: a prompt was needed where none may appear.
    const NEEDS_A_PROMPT: [i32; 2] = [-25308, -25315];
    /// `errSecUserCanceled`, `errSecAuthFailed`: the person said no, or the access list does.
    const SAYS_NO: [i32; 2] = [-128, -25293];
    match cause.downcast_ref::<security_framework::base::Error>() {
        Some(error) if NEEDS_A_PROMPT.contains(&error.code()) => StoreError::Locked,
        Some(error) if SAYS_NO.contains(&error.code()) => StoreError::Denied,
        _ => StoreError::Other(cause.to_string()),
    }
}

/// The cause at the end of an error's chain: the only part that helps a person. No keychain error carries a
/// secret in its text (`BadEncoding` carries one in its data, which is not shown).
fn innermost(error: &Error) -> String {
    if matches!(error, Error::BadEncoding(_)) {
        return "it gave something that is not what gatepass stored".to_owned();
    }
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}
