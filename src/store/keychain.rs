//! The operating system's keychain: Secret Service, macOS login keychain, Windows Credential Manager.
//!
//! A keychain may wait for the user, or for ever, so each call runs on a thread of its own and is given up when its
//! time is over. A thread given up ends with the process.

use std::collections::HashMap;
use std::sync::mpsc;
#[cfg(target_os = "macos")]
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use keyring_core::{Entry, Error};
#[cfg(target_os = "macos")]
use security_framework::os::macos::keychain::{KeychainUserInteractionLock, SecKeychain};
use zeroize::Zeroizing;

use super::chunked::{self, Entries};
#[cfg(target_os = "linux")]
use super::secret_service::{self, Home, ItemLookup};
use super::turn::Turn;
use super::{Prompting, SecretStore, StoreError};
use crate::caller::Deadline;

/// The service name under which all sessions are kept.
const SERVICE: &str = "gatepass";

/// After this time without an answer that needs no user, what is read is asked for once more: calls take milliseconds,
/// and an answer can get lost.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What a call does to the keychain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// It may be made twice.
    Read,
    /// It is made once: one of two could take effect late, over what another process has stored since.
    Change,
}

/// The keychain of this user.
#[derive(Clone, Copy, Debug)]
pub struct Keychain {
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

    /// Runs a call, at most until the deadline. A read that no user has to answer is made a second time where it takes
    /// long; what is answered first counts.
    fn bounded<T: Send + 'static>(
        self,
        kind: Call,
        deadline: Deadline,
        call: impl Fn() -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = mpsc::channel();
        let begin = |answer: mpsc::Sender<_>| {
            let call = call.clone();
            let ask = move || {
                #[cfg(target_os = "macos")]
                let _silence = match self.silence() {
                    Ok(silence) => silence,
                    Err(why) => return drop(answer.send(Err(why))),
                };
                // The caller does not listen any more if its time is over.
                let _ = answer.send(persistently(self.prompting, call));
            };
            let thread = thread::Builder::new().name("keychain".to_owned());
            thread
                .spawn(ask)
                .map_err(|error| StoreError::Other(error.to_string()))
        };
        // Ends when this returns, also where a call is given up and goes on. While the user may have to answer a prompt,
        // other processes are not kept waiting.
        let _turn = match self.prompting {
            Prompting::Forbidden => Some(Turn::wait(deadline)),
            Prompting::Allowed => None,
        };
        let is_repeated = kind == Call::Read && self.prompting == Prompting::Forbidden;
        if is_repeated && deadline.left() > ASK_AGAIN {
            begin(answer.clone())?;
            if let Ok(result) = wait.recv_timeout(ASK_AGAIN) {
                return result;
            }
            log::info!("the keychain has not answered yet, asking again");
        }
        begin(answer)?;
        // Where the second call is refused because of the first, the first may still be answered.
        let mut refusal = None;
        loop {
            match wait.recv_timeout(deadline.left()) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(why)) => refusal = Some(why),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(refusal.unwrap_or(StoreError::Silent));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let stopped = || StoreError::Other("its library stopped".to_owned());
                    return Err(refusal.unwrap_or_else(stopped));
                }
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

    /// The entry to be changed. The keychain's own library opens a prompt for what is locked, so the lock's state is
    /// asked first where none may appear.
    fn entry(self, name: &str) -> Result<Entry, StoreError> {
        #[cfg(target_os = "linux")]
        match secret_service::find(&attributes(name))? {
            ItemLookup::Locked(_) if self.prompting == Prompting::Forbidden => {
                return Err(StoreError::Locked);
            }
            ItemLookup::Nothing(Home::Nowhere) | ItemLookup::Locked(Home::Nowhere) => {
                return Err(StoreError::Absent(
                    "it has no collection in which a session could be kept".to_owned(),
                ));
            }
            ItemLookup::Nothing(Home::Collection(label))
            | ItemLookup::Locked(Home::Collection(label)) => {
                return entry(name, Some(&label));
            }
            _ => {}
        }
        entry(name, None)
    }

    /// The secret of an entry.
    fn get(self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        #[cfg(target_os = "linux")]
        match secret_service::find(&attributes(name))? {
            ItemLookup::Item(item) => return item.secret().map(Some),
            ItemLookup::Nothing(_) => return Ok(None),
            ItemLookup::Locked(_) if self.prompting == Prompting::Forbidden => {
                return Err(StoreError::Locked);
            }
            // The library shows the prompt, and encrypts.
            ItemLookup::Locked(_) | ItemLookup::FarItem => {}
        }
        match entry(name, None)?.get_secret() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(translate(error)),
        }
    }
}

/// Most tries where the keychain refuses for a passing reason: it is busy with another call, or two programs create
/// the same entry at once.
const TRIES: u32 = 3;

/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls until there is an answer that will stay the same. A prompt that was dismissed is shown once more: another
/// program's prompt may have been in its way, and what is to be stored may be the only copy.
fn persistently<T>(
    prompting: Prompting,
    call: impl Fn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut dismissed = false;
    let mut tries = 1;
    loop {
        match call() {
            Err(StoreError::Locked) if prompting == Prompting::Allowed && !dismissed => {
                dismissed = true;
            }
            Err(StoreError::Other(why)) if tries < TRIES => {
                log::debug!("the keychain refuses ({why}), trying again");
                tries += 1;
                thread::sleep(PAUSE);
            }
            result => return result,
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
        keychain.bounded(Call::Read, self.deadline, move || keychain.get(&name))
    }

    fn set(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (keychain, name) = (self.keychain, name.to_owned());
        let bytes = Zeroizing::new(bytes.to_vec());
        keychain.bounded(Call::Change, self.deadline, move || {
            let entry = keychain.entry(&name)?;
            entry.set_secret(&bytes).map_err(translate)
        })
    }

    fn delete(&self, name: &str) -> Result<bool, StoreError> {
        let (keychain, name) = (self.keychain, name.to_owned());
        keychain.bounded(Call::Change, self.deadline, move || {
            match keychain.entry(&name)?.delete_credential() {
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
///
/// `collection` is the Secret Service's collection in which a new one is made, where that is not the default one.
fn entry(name: &str, collection: Option<&str>) -> Result<Entry, StoreError> {
    if let Err(error) = keyring::Entry::store_status() {
        return Err(StoreError::Absent(innermost(error)));
    }
    let label = format!("gatepass session ({name})");
    let modifiers = if cfg!(windows) {
        // Without this the session would roam to every machine that the user signs in to.
        HashMap::from([("persistence", "Local")])
    } else if cfg!(target_os = "macos") {
        HashMap::new()
    } else {
        let collection = collection.map(|collection| ("target", collection));
        let label = ("label", label.as_str());
        std::iter::once(label).chain(collection).collect()
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
    /// `errSecUserCanceled`, `errSecAuthFailed`: the user said no, or the access list does.
    const SAYS_NO: [i32; 2] = [-128, -25293];
    match cause.downcast_ref::<security_framework::base::Error>() {
        Some(error) if NEEDS_A_PROMPT.contains(&error.code()) => StoreError::Locked,
        Some(error) if SAYS_NO.contains(&error.code()) => StoreError::Denied,
        _ => StoreError::Other(cause.to_string()),
    }
}

/// The cause at the end of an error's chain: the only part that helps the user. No keychain error carries a
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_change_is_made_once_however_long_it_takes() {
        let keychain = Keychain::new(Prompting::Forbidden);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let deadline = Deadline::after(ASK_AGAIN + Duration::from_secs(1));
        let answer: Result<(), _> = keychain.bounded(Call::Change, deadline, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_secs(600));
            Ok(())
        });
        assert_eq!(answer, Err(StoreError::Silent));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_read_whose_answer_is_lost_is_made_once_more() {
        let keychain = Keychain::new(Prompting::Forbidden);
        let deadline = Deadline::after(Duration::from_secs(60));
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let answer = keychain.bounded(Call::Read, deadline, move || {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_secs(600));
            }
            Ok("answered")
        });
        assert_eq!(answer, Ok("answered"));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_second_read_that_is_refused_does_not_end_the_first() {
        let keychain = Keychain::new(Prompting::Forbidden);
        let deadline = Deadline::after(Duration::from_secs(60));
        let calls = Arc::new(AtomicU32::new(0));
        let answer = keychain.bounded(Call::Read, deadline, move || {
            if calls.fetch_add(1, Ordering::SeqCst) > 0 {
                return Err(StoreError::Other("another read is under way".to_owned()));
            }
            thread::sleep(ASK_AGAIN + Duration::from_secs(2));
            Ok("answered")
        });
        assert_eq!(answer, Ok("answered"));
    }

    #[test]
    fn a_refusal_is_no_silence() {
        let keychain = Keychain::new(Prompting::Forbidden);
        let deadline = Deadline::after(Duration::from_secs(60));
        let answer: Result<(), _> =
            keychain.bounded(Call::Read, deadline, || Err(StoreError::Locked));
        assert_eq!(answer, Err(StoreError::Locked));
    }

    #[test]
    fn a_refusal_that_may_pass_is_met_again_and_a_dismissed_prompt_once() {
        let busy = || StoreError::Other("busy".to_owned());
        for (prompting, errors, calls, succeeds) in [
            (Prompting::Forbidden, vec![], 1, true),
            (Prompting::Forbidden, vec![busy(), busy()], 3, true),
            (Prompting::Forbidden, vec![busy(), busy(), busy()], 3, false),
            (Prompting::Forbidden, vec![StoreError::Locked], 1, false),
            (Prompting::Allowed, vec![StoreError::Locked], 2, true),
            (
                Prompting::Allowed,
                vec![StoreError::Locked, StoreError::Locked],
                2,
                false,
            ),
            (Prompting::Allowed, vec![StoreError::Full], 1, false),
        ] {
            let called = Cell::new(0);
            let result = persistently(prompting, || {
                let nth = called.replace(called.get() + 1);
                errors.get(nth).cloned().map_or(Ok(()), Err)
            });
            assert_eq!(called.get(), calls, "{prompting:?} {errors:?}");
            assert_eq!(result.is_ok(), succeeds, "{prompting:?} {errors:?}");
        }
    }
}
