//! The operating system's keychain: Secret Service, macOS login keychain, Windows Credential Manager.
//!
//! A keychain may wait for a person or for ever, so every call runs on a thread of its own and is given up when
//! its time is over. A thread given up ends with the process.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;

use keyring_core::{Entry, Error};
use zeroize::Zeroizing;

use super::{Prompting, SecretStore, StoreError};
use crate::caller::Deadline;

/// The service name under which all sessions are kept.
const SERVICE: &str = "gatepass";

/// The keychain of this user.
#[derive(Clone, Copy, Debug)]
pub struct Keychain {
    // The Windows Credential Manager shows no prompt. The macOS keychain may show one: nothing forbids that yet,
    // the call is only given up when its time is over.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(
            dead_code,
            reason = "only the Linux keychain is asked before it can prompt"
        )
    )]
    prompting: Prompting,
}

impl Keychain {
    /// The keychain, which may or may not show prompts of its own.
    pub fn new(prompting: Prompting) -> Self {
        Self { prompting }
    }

    /// Runs one keychain call, at most until the deadline.
    fn bounded<T: Send + 'static>(
        self,
        deadline: Deadline,
        name: &str,
        call: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = mpsc::channel();
        let name = name.to_owned();
        let spawned = thread::Builder::new()
            .name("keychain".to_owned())
            .spawn(move || {
                let result = self
                    .check_lock(&name)
                    .and_then(|()| entry(&name))
                    .and_then(|entry| call(&entry).map_err(translate));
                // Nobody listens any more if the time is over.
                let _ = answer.send(result);
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

    /// The keychain's own library opens a prompt for a locked collection, so ask first where none may appear.
    fn check_lock(self, name: &str) -> Result<(), StoreError> {
        #[cfg(target_os = "linux")]
        if self.prompting == Prompting::Forbidden {
            let attributes = HashMap::from([("service", SERVICE), ("username", name)]);
            return super::secret_service::check_unlocked(&attributes);
        }
        let _ = name;
        Ok(())
    }
}

impl SecretStore for Keychain {
    fn read(
        &self,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.bounded(deadline, name, |entry| match entry.get_secret() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn write(&self, name: &str, secret: &[u8], deadline: Deadline) -> Result<(), StoreError> {
        let secret = Zeroizing::new(secret.to_vec());
        self.bounded(deadline, name, move |entry| entry.set_secret(&secret))
    }

    fn remove(&self, name: &str, deadline: Deadline) -> Result<bool, StoreError> {
        self.bounded(deadline, name, |entry| match entry.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(error) => Err(error),
        })
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
        Error::TooLong(_, _) => StoreError::Full,
        Error::NoDefaultStore => StoreError::Absent("no store could be opened".to_owned()),
        Error::Ambiguous(_) => {
            StoreError::Other("it holds two gatepass entries of the same name".to_owned())
        }
        other => StoreError::Other(innermost(&other)),
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
